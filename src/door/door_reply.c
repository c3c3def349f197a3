/* door_reply.c - what an upstream says, to the client.
 *
 *   its event -> wire_answer_event -> take() -> wire_reply_event -> made      (another dialect)
 *            `-------------------------------------------> frames            (the same: as it came)
 *
 * The events are read in either case: they tell what is visible, what was used, how it ended.  The
 * start of a stream is held for HOLD_MS, until something is visible, so that an error before that
 * can be mended by another attempt; what was written by `reply` so far is known to it, so that
 * another attempt goes on where the one before broke off.  Where an upstream says nothing at all
 * the reply is opened after QUIET_MS: see reply_quiet(). */
#include "door/door_form.h"

#include "gateway/exact.h"
#include "http/sse.h"

#include <stdio.h>
#include <string.h>

enum { SAID_BYTES_MAX = 4 << 20, PIECE_BYTES = 16 << 10 };

/* ---- events --------------------------------------------------------------------------------- */

static unsigned seen_of(const struct wire_event *e)
{
    return e->kind == WIRE_TEXT ? SEEN_TEXT : e->kind == WIRE_THINK || e->kind == WIRE_SEAL
           ? SEEN_REASONING : e->kind == WIRE_CALL || e->kind == WIRE_ARGS ? SEEN_CALL : 0;
}

static enum err begin(struct ask *a)
{
    struct wire_event e = { .kind = WIRE_BEGIN, .usage = a->try.begin };

    return a->reply.begun ? OK : wire_reply_event(&a->reply, &a->made, &e);
}

static enum err take(void *arg, const struct wire_event *e)
{
    struct ask *a = arg;
    struct try *t = &a->try;
    enum err code;

    if (e->kind == WIRE_FAIL) {
        t->failed = true;
        t->why = *e->error;
        return OK;
    }
    t->begun = true;
    if (e->kind == WIRE_BEGIN) {
        t->begin = e->usage;
        return OK;
    }
    if (e->kind == WIRE_DONE) {         /* written when it is settled: finish() */
        t->done = true;
        t->usage = e->usage;
        return begin(a);
    }
    kept_hear(a, e);
    t->n_ended += e->kind == WIRE_END;
    t->seen |= seen_of(e);
    t->n_seen += seen_of(e) ? e->len : 0;
    if (e->kind == WIRE_TEXT && a->attempts.may_continue && a->said.len < SAID_BYTES_MAX)
        buf_add(&a->said, e->text, e->len);
    code = begin(a);
    return code ? code : wire_reply_event(&a->reply, &a->made, e);
}

static void fail_here(struct ask *a, enum err e)
{
    a->try.failed = true;
    wire_error_set(&a->try.why, e == ERR_LIMIT ? WIRE_E_UPSTREAM : WIRE_E_NO_MEMORY, NULL,
                   e == ERR_LIMIT ? "The answer is larger than is kept; let it be streamed."
                                  : NULL);
}

/* ---- the client's head ---------------------------------------------------------------------- */

static void put_notes(const struct ask *a, struct buf *note)
{
    const struct try *t = &a->try;
    int soft = t->grant.n ? store_soft(a->w->books->store, &t->grant) : -1;

    for (size_t i = 0; i < t->notes.n; i++)
        buf_printf(note, "%s%s", i ? ", " : "dropped: ", t->notes.name[i]);
    if (soft >= 0)
        buf_printf(note, "%sbudget %s is used up", note->len ? "; " : "",
                   a->w->books->budget[soft].name);
}

static void put_head(struct ask *a, const char *cost)
{
    struct buf note = { 0 };

    call_header(a->call, "x-croft-model", a->w->c->models[a->try.step.model].name);
    if (cost && *cost)
        call_header(a->call, "x-croft-cost", cost);
    put_notes(a, &note);
    if (note.len && !note.broken)
        call_header(a->call, "x-croft-note", buf_text(&note));
    buf_release(&note);
}

/* Dollars; "" where they are not known. */
static void cost_text(const struct ask *a, char out[EXACT_TEXT_BYTES])
{
    *out = '\0';
    if (a->try.cost >= 0 && a->w->price[a->try.step.model])
        exact_text(out, a->try.cost);
}

/* ---- a stream ------------------------------------------------------------------------------- */

/* Its frames are shown: what we may have to say behind them has its id. */
static void take_id(struct ask *a)
{
    static const char *const prefixes[] = { "chatcmpl-", "msg_", "resp_" };
    const char *id = buf_text(&a->try.answer.id);

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
        if (!strncmp(id, prefixes[i], strlen(prefixes[i]))) {
            id += strlen(prefixes[i]);
            break;
        }
    if (*id && strlen(id) < sizeof(a->reply_id) &&
        !id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
        snprintf(a->reply_id, sizeof(a->reply_id), "%s", id);
}

static void open_reply(struct ask *a)
{
    put_head(a, NULL);
    call_stream(a->call, 200, a->r.stream ? "text/event-stream; charset=utf-8"
                                          : "application/json", wire_heartbeat(a->in, a->r.stream));
    a->streaming = true;
}

/* Write the first `len` bytes of what waits. */
static void flush_some(struct ask *a, struct buf *from, size_t len)
{
    struct try *t = &a->try;
    bool room = true;

    if (from->broken) {
        fail_here(a, ERR_NOMEM);
        return;
    }
    if (a->call && len) {
        if (!a->streaming) {
            if (t->raw)
                take_id(a);
            open_reply(a);
        }
        room = call_write(a->call, from->data, len);
    }
    if (len)
        memmove(from->data, from->data + len, from->len - len);
    buf_cut(from, from->len - len);
    if (!room && t->req && !a->full) {
        a->full = true;
        client_pause(t->req);
    }
}

static void flush(struct ask *a)
{
    struct buf *from = a->try.raw ? &a->frames : &a->made;

    flush_some(a, from, from->len);
    buf_cut(a->try.raw ? &a->made : &a->frames, 0);
    a->try.n_neutral = 0;
}

/* A whole reply behind a head that is long gone: in pieces, as there is room. */
static void write_rest(struct ask *a)
{
    struct call *c = a->call;
    bool room = true;

    while (room && a->at < a->frames.len) {
        size_t n = a->frames.len - a->at;
        n = n < PIECE_BYTES ? n : PIECE_BYTES;
        room = call_write(c, a->frames.data + a->at, n);
        a->at += n;
    }
    if (a->at < a->frames.len)
        return;
    a->call = NULL;
    call_end(c);
    ask_end(a);
}

void reply_room(void *ask)
{
    struct ask *a = ask;

    if (a->resting) {
        write_rest(a);
        return;
    }
    if (a->full && a->try.req)
        client_resume(a->try.req);
    a->full = false;
}

/* Nothing visible came in time.  First what only begins a stream is shown, after which another
 * attempt can still go on; long after that all of it, and then none can. */
void reply_hold_over(struct ask *a)
{
    struct try *t = &a->try;

    if (!a->held || t->failed || !a->r.stream)
        return;
    if (a->replying && begin(a)) {
        fail_here(a, ERR_NOMEM);
    } else if (!t->raw) {
        flush(a);
    } else if (a->shown_begin) {
        attempts_visible(&a->attempts, SEEN_CALL);
        flush(a);
    } else {
        flush_some(a, &a->frames, t->n_neutral);
        buf_cut(&a->made, 0);
        t->n_neutral = 0;
        a->shown_begin = true;
        ask_timer(a, HOLD_LONG_MS);
        return;
    }
    a->held = false;
}

/* Clients give up on silence: the head goes out, and heartbeats follow by the server's clock.  A
 * stream begins with our own beginning, and what the upstream may still say is written behind it.
 * An error that comes later has no status any more: it is the event, or the body. */
void reply_quiet(struct ask *a)
{
    struct try *t = &a->try;

    if (!a->call || a->streaming || t->failed || t->done || a->state == ASK_NEW ||
        a->state == ASK_OVER)
        return;
    if (!a->r.stream || !a->replying) {
        open_reply(a);
    } else if (begin(a)) {
        fail_here(a, ERR_NOMEM);
    } else {
        t->raw = a->held = false;
        flush(a);
    }
}

/* Frames that open nothing: a message's beginning. */
static bool is_neutral(const struct ask *a, const char *name)
{
    static const char *const names[] = { "message_start", "ping", "response.created",
                                         "response.queued", "response.in_progress" };

    if (!strcmp(wire_dialect_name(a->in), "chat"))
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (name && !strcmp(name, names[i]))
            return true;
    return false;
}

static void put_frame(struct ask *a, const char *name, const char *data, size_t len)
{
    bool all = a->try.n_neutral == a->frames.len && is_neutral(a, name);

    sse_event(&a->frames, name, data, len);
    if (all)
        a->try.n_neutral = a->frames.len;
}

/* Tell attempts.h what the client will see.  True: it may see it now. */
static bool may_show(struct ask *a)
{
    struct try *t = &a->try;

    if (!t->well)
        attempts_well(&a->attempts, door_now_ms());
    t->well = true;
    if (t->seen)
        attempts_visible(&a->attempts, t->seen);
    if (t->seen || t->done || (a->streaming && !a->held && !t->raw))
        return true;
    if (!a->held && a->state == ASK_SENT)
        ask_timer(a, a->shown_begin ? HOLD_LONG_MS : HOLD_MS);
    a->held = true;
    return false;
}

static void put_cost(struct ask *a, struct buf *out)
{
    char cost[EXACT_TEXT_BYTES];
    char line[64];

    cost_text(a, cost);
    if (!*cost)
        return;
    snprintf(line, sizeof(line), "x-croft-cost: %s", cost);
    sse_comment(out, line);
}

static void end_stream(struct ask *a)
{
    struct call *c;

    flush(a);
    c = a->call;
    a->call = NULL;
    if (c && !a->streaming)             /* what was to be shown is lost: no memory */
        call_fail(c, FAULT_memory);
    else if (c && a->try.failed)
        call_cut(c);
    else if (c)
        call_end(c);
    ask_end(a);
}

/* DONE was heard: settled first, so that the cost stands before the last event. */
static void finish_stream(struct ask *a, const char *name, const char *data, size_t len)
{
    struct try *t = &a->try;
    struct wire_event done = { .kind = WIRE_DONE, .usage = t->usage };

    try_done(a);
    put_cost(a, t->raw ? &a->frames : &a->made);
    if (t->raw && data)
        sse_event(&a->frames, name, data, len);
    else if (!t->raw && wire_reply_event(&a->reply, &a->made, &done))
        a->made.broken = true;
    end_stream(a);
}

/* A chunk that has usage alone, which this client did not ask for. */
static bool is_unasked(const struct ask *a, const char *data, size_t len)
{
    const char *at = memmem(data, len, "\"choices\"", 9), *end = data + len;

    if (a->r.include_usage || !at || strcmp(wire_dialect_name(a->in), "messages") == 0)
        return false;
    for (at += 9; at < end && strchr(" \t:", *at); at++)
        ;
    if (at >= end || *at++ != '[')
        return false;
    while (at < end && strchr(" \t", *at))
        at++;
    return at < end && *at == ']';
}

/* ---- completions: frames pass, only errors, usage and the end are read ---------------------- */

static void take_plain(struct ask *a, const char *data, size_t len)
{
    struct try *t = &a->try;

    if (len == 6 && !memcmp(data, "[DONE]", 6)) {
        t->done = true;
        return;
    }
    if (body_fails(data, len)) {
        t->failed = wire_error_read(&t->why, t->answer.dialect, 0, data, len) == OK;
        return;
    }
    t->answer.usage_whole |= body_usage(&t->answer.usage_json, data, len);
    t->begun = true;
    t->seen |= SEEN_TEXT;
    t->n_seen += len;
}

/* ---- from the client of http ---------------------------------------------------------------- */

void reply_on_head(void *ask)
{
    struct ask *a = ask;
    struct try *t = &a->try;
    const char *again = client_reply_field(t->req, "x-should-retry");

    t->status = client_status(t->req);
    t->retry_after_ms = client_retry_after_ms(t->req);
    t->should_retry = !again ? -1 : !strcmp(again, "true") ? 1 : !strcmp(again, "false") ? 0 : -1;
    t->answer = (struct wire_answer){
        .dialect = a->w->upstream[t->step.upstream].dialect, .emit = take, .arg = a,
        .n_max = (size_t)a->r.best_of };
}

static bool is_good(const struct try *t)
{
    return t->status >= 200 && t->status < 300;
}

/* All of the answer is there, and only its last event or its usage is not: it is whole.  In
 * responses both are one event. */
static bool is_told(const struct ask *a)
{
    return a->replying && a->r.stream && a->try.n_ended == a->r.best_of &&
           strcmp(wire_dialect_name(a->try.answer.dialect), "responses");
}

static void finish_told(struct ask *a)
{
    static const char stop[] = "{\"type\":\"message_stop\"}";
    struct try *t = &a->try;
    bool chat = !strcmp(wire_dialect_name(t->answer.dialect), "chat");

    t->failed = false;
    t->usage = t->answer.usage;
    may_show(a);
    if (chat)
        finish_stream(a, NULL, "[DONE]", 6);
    else
        finish_stream(a, "message_stop", stop, strlen(stop));
}

static void fail_stream(struct ask *a)
{
    struct try *t = &a->try;
    bool spoke = t->begun || t->well;

    if (is_told(a)) {
        finish_told(a);
        return;
    }
    buf_cut(&a->frames, 0);             /* what is held was never shown */
    buf_cut(&a->made, 0);
    try_outcome(a, spoke ? END_STREAM_ERROR : END_STATUS, try_class(&t->why, 0));
}

void reply_on_event(void *ask, const char *name, const char *data, size_t len)
{
    struct ask *a = ask;
    struct try *t = &a->try;
    const char *shown = *name && strcmp(name, "message") ? name : NULL;
    enum err e = OK;

    if (!is_good(t)) {
        if (t->whole.len < ERROR_BYTES_MAX)
            buf_add(&t->whole, data, len);
        return;
    }
    if (t->failed || t->done || a->state == ASK_OVER)   /* told whole: what follows is too much */
        return;
    if (!a->replying)
        take_plain(a, data, len);
    else if ((e = wire_answer_event(&t->answer, data, len)))
        fail_here(a, e);
    if (t->failed) {
        fail_stream(a);
    } else if (t->done) {
        may_show(a);
        finish_stream(a, shown, data, len);
    } else {
        if (t->raw && !is_unasked(a, data, len))
            put_frame(a, shown, data, len);
        if (may_show(a))
            flush(a);
        if (t->failed)
            fail_stream(a);
    }
}

void reply_on_body(void *ask, const char *bytes, size_t len)
{
    struct ask *a = ask;
    struct try *t = &a->try;
    size_t max = is_good(t) ? WIRE_REPLY_BYTES_MAX : ERROR_BYTES_MAX;

    if (a->state == ASK_OVER)
        return;
    if (t->whole.len + len <= max)
        buf_add(&t->whole, bytes, len);
    else if (is_good(t) && !t->failed)
        fail_here(a, ERR_LIMIT);
}

/* ---- a whole reply -------------------------------------------------------------------------- */

static void send_whole(struct ask *a, struct buf *body)
{
    struct call *c = a->call;
    char cost[EXACT_TEXT_BYTES];

    cost_text(a, cost);
    if (c && a->streaming && !body->broken) {
        buf_release(&a->frames);
        a->frames = *body;
        *body = (struct buf){ 0 };
        a->state = ASK_OVER;
        a->resting = true;
        write_rest(a);
        return;
    }
    if (c && a->streaming) {
        a->call = NULL;
        call_end(c);
    } else if (c) {
        put_head(a, cost);
        a->call = NULL;
        if (body->broken)
            call_fail(c, FAULT_memory);
        else
            call_reply(c, 200, "application/json", buf_text(body), body->len);
    }
    ask_end(a);
}

/* A body that is an answer, or an error that was sent as one. */
static void read_whole(struct ask *a)
{
    struct try *t = &a->try;
    const char *text = buf_text(&t->whole);
    struct wire_event done = { .kind = WIRE_DONE };
    enum err e = buf_ok(&t->whole);
    int64_t n = -1;

    if (t->failed)
        ;
    else if (!e && a->kind == PATH_count_tokens) {
        e = wire_count_read(&n, text, t->whole.len);
        t->done = n >= 0;
    } else if (!e && !a->replying) {
        take_plain(a, text, t->whole.len);
        t->done = !t->failed && body_answers(a->in, text, t->whole.len);
    } else if (!e) {
        t->raw = t->raw && !a->r.stream;
        e = wire_answer_whole(&t->answer, text, t->whole.len);
    }
    if (e)
        fail_here(a, e);
    if (!t->done && !t->failed) {
        t->failed = true;
        wire_error_set(&t->why, WIRE_E_UPSTREAM, NULL, "The model's server gave an answer that "
                       "cannot be used.");
    }
    if (t->failed) {
        try_outcome(a, END_STATUS, try_class(&t->why, 0));
        return;
    }
    may_show(a);
    if (a->r.stream && a->replying) {
        finish_stream(a, NULL, NULL, 0);
        return;
    }
    try_done(a);
    done.usage = t->usage;
    if (!t->raw && wire_reply_event(&a->reply, &a->made, &done))
        a->made.broken = true;
    send_whole(a, t->raw ? &t->whole : &a->made);
}

static void read_error(struct ask *a)
{
    struct try *t = &a->try;
    const struct wire_dialect *d = a->w->upstream[t->step.upstream].dialect;

    if (wire_error_read(&t->why, d, t->status, buf_text(&t->whole), t->whole.len))
        fail_here(a, ERR_NOMEM);
    try_outcome(a, END_STATUS, try_class(&t->why, t->status));
}

/* The stream ended by itself. */
static void end_events(struct ask *a)
{
    struct try *t = &a->try;
    bool chat = !strcmp(wire_dialect_name(t->answer.dialect), "chat");
    enum err e = OK;

    if (a->replying)
        e = wire_answer_end(&t->answer);
    else
        t->failed = true;
    if (e)
        fail_here(a, e);
    if (t->done)
        finish_stream(a, NULL, chat ? "[DONE]" : NULL, 6);
    else
        fail_stream(a);
}

void reply_on_end(void *ask, enum client_end end)
{
    static const enum attempts_end ends[CLIENT_END_COUNT] = {
        [CLIENT_OK] = END_CLOSED, [CLIENT_DNS] = END_DNS, [CLIENT_CONNECT] = END_CONNECT,
        [CLIENT_TLS] = END_TLS, [CLIENT_FIRST_BYTE] = END_FIRST_BYTE, [CLIENT_IDLE] = END_IDLE,
        [CLIENT_TOTAL] = END_TOTAL, [CLIENT_TOO_LARGE] = END_TOO_LARGE,
        [CLIENT_CLOSED] = END_CLOSED, [CLIENT_PROTOCOL] = END_PROTOCOL,
        [CLIENT_CANCELLED] = END_CLOSED, [CLIENT_NOMEM] = END_CLOSED,
    };
    struct ask *a = ask;
    struct try *t = &a->try;
    struct client_req *req = t->req;

    if (t->cutting)
        return;
    t->req = NULL;
    a->full = false;
    if (a->state == ASK_OVER) {
        ask_end(a);
    } else if (end == CLIENT_OK && !is_good(t)) {
        read_error(a);
    } else if (end == CLIENT_OK && a->r.stream && !t->whole.len) {
        end_events(a);
    } else if (end == CLIENT_OK) {
        read_whole(a);
    } else if (is_told(a)) {
        finish_told(a);
    } else {
        term_verbose("request %s: %s: %s", a->id, client_end_name(end), client_reason(req));
        try_outcome(a, ends[end], CLASS_FAILED);
    }
}
