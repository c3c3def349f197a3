/* bench_serve_run.c - one level of `croft bench serve`: requests on their way, and what is measured
 * of each.
 *
 *   closed: client i --send--> runs --end--> send ...      (after a failure it rests for REST_S)
 *   open:   arrival --send--> runs --end                   (the next arrival knows nothing of it)
 *
 * Both stop sending when the level has its requests or its time, and the level ends with the last
 * request.  An open loop's times count from when a request was due, also when it was sent late. */
#include "cmd/bench_serve.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { FAIL_BYTES = 4096 };
static const double rest_s = 0.1, tick_s = 0.1;

struct level_run;

struct asking {
    struct level_run *run;
    struct asking *next, *prev;
    struct client_req *r;
    char *body;
    int client;                         /* -1: of an open loop */
    double due, last;                   /* when it should have been sent; its last piece, or 0 */
    int64_t n_piece, prompt_tok, cached_tok, output_tok;
    bool has_usage, done, error, cancelled;
    struct buf fail;                    /* the body of a refusal */
    char message[LOAD_TEXT];
};

/* A client of a closed loop that rests after a failure. */
struct rest { struct level_run *run; struct loop_timer *timer; int client; };

struct level_run {
    struct load *l;
    struct load_level *level;
    struct asking *asking;              /* on their way */
    int n_asking, n_resting;
    struct rest *rest;                  /* [n_client] */
    struct loop_timer *arrival, *tick;
    double began, ends, next_due;       /* ends 0: by number */
    int64_t n_due;                      /* arrivals so far */
    bool stopped;                       /* nothing more is sent */
    enum err failed;                    /* of ours: memory */
    struct err_record record;
};

static void give_up(struct level_run *run, enum err e)
{
    if (!run->failed) {
        run->failed = e;
        err_save(&run->record, e);
    }
    run->stopped = true;
}

static bool sends_more(const struct level_run *run)
{
    if (run->stopped)
        return false;
    return run->ends > 0 ? clock_s() < run->ends
                         : run->level->n_sent + run->level->n_late < run->l->n_request;
}

static void end_if_done(struct level_run *run)
{
    if (run->n_asking || run->n_resting)
        return;
    if (run->level->n_client || !sends_more(run))
        loop_stop(run->l->loop);
}

/* Kinds beyond the places there are count with the last one, as `other`. */
static void count_error(struct load_level *level, const char *name, const char *text)
{
    int i = 0;

    while (i < level->n_error && strcmp(level->error[i].name, name))
        i++;
    if (i == LOAD_ERRORS_MAX) {
        name = "other";
        i--;
    }
    if (i == level->n_error)
        level->n_error++;
    snprintf(level->error[i].name, LOAD_NAME, "%s", name);
    level->error[i].n++;
    if (!*level->first_error)
        snprintf(level->first_error, LOAD_TEXT, "%s", text);
}

/* ---- one request ---- */

static void sample(struct level_run *run, struct samples *s, double seconds)
{
    enum err e = samples_add(s, seconds);

    if (e == ERR_LIMIT) {
        run->level->full = true;
        run->stopped = true;
    } else if (e) {
        give_up(run, e);
    }
}

static void on_event(void *arg, const char *name, const char *data, size_t len)
{
    struct asking *q = arg;
    struct load_event ev;
    double now = clock_s();

    (void)name;
    load_event_read(&ev, data, len);
    q->done = q->done || ev.done;
    if (ev.error && !q->error) {
        q->error = true;
        snprintf(q->message, sizeof(q->message), "%s", ev.message);
    }
    if (ev.has_usage) {
        q->has_usage = true;
        q->prompt_tok = ev.prompt_tok;
        q->cached_tok = ev.cached_tok;
        q->output_tok = ev.output_tok;
    }
    if (!ev.text)
        return;
    if (q->n_piece++)
        sample(q->run, &q->run->level->gap, now - q->last);
    else
        sample(q->run, &q->run->level->first, now - q->due);
    q->last = now;
}

static void on_body(void *arg, const char *bytes, size_t len)
{
    struct asking *q = arg;
    size_t room = FAIL_BYTES - q->fail.len;

    buf_add(&q->fail, bytes, len < room ? len : room);
}

/* NULL when the reply was whole, or what kind of failure it is; its sentence in q->message. */
static const char *failure(struct asking *q, enum client_end end, char name[LOAD_NAME])
{
    int status = client_status(q->r);

    if (end != CLIENT_OK) {
        snprintf(q->message, sizeof(q->message), "%s", client_reason(q->r));
        return client_end_name(end);
    }
    if (status != 200) {
        load_error_text(q->message, buf_text(&q->fail), q->fail.len);
        snprintf(name, LOAD_NAME, "%d", status);
        return name;
    }
    if (q->error)
        return "error_event";
    if (q->done)
        return NULL;
    snprintf(q->message, sizeof(q->message), q->fail.len
             ? "the reply is no stream of events" : "the stream ended without [DONE]");
    return q->fail.len ? "no_stream" : "no_done";
}

static void count_whole(struct asking *q)
{
    struct load_level *level = q->run->level;

    sample(q->run, &level->whole, clock_s() - q->due);
    level->n_ok++;
    level->prompt_tok += q->prompt_tok;
    level->cached_tok += q->cached_tok;
    level->output_tok += q->has_usage ? q->output_tok : q->n_piece;
    level->n_without_usage += !q->has_usage;
}

static void asking_free(struct asking *q)
{
    if (q->next)
        q->next->prev = q->prev;
    if (q->prev)
        q->prev->next = q->next;
    else if (q->run->asking == q)
        q->run->asking = q->next;
    buf_release(&q->fail);
    free(q->body);
    free(q);
}

static void send_one(struct level_run *run, int client, double due);

static void rest_begin(struct level_run *run, int client)
{
    enum err e = loop_timer_set(run->rest[client].timer, rest_s);

    if (e)
        give_up(run, e);
    else
        run->n_resting++;
}

static void on_end(void *arg, enum client_end end)
{
    struct asking *q = arg;
    struct level_run *run = q->run;
    char name[LOAD_NAME];
    const char *why = q->cancelled ? NULL : failure(q, end, name);
    int client = q->client;

    run->level->seconds = clock_s() - run->began;
    if (q->cancelled) {
        run->level->n_cancelled++;
    } else if (why) {
        run->level->n_failed++;
        count_error(run->level, why, q->message);
    } else {
        count_whole(q);
    }
    asking_free(q);
    run->n_asking--;
    if (client >= 0 && sends_more(run)) {
        if (why)
            rest_begin(run, client);
        else
            send_one(run, client, clock_s());
    }
    end_if_done(run);
}

static void send_one(struct level_run *run, int client, double due)
{
    struct load *l = run->l;
    struct asking *q = calloc(1, sizeof(*q));
    struct client_field field[2];
    struct buf url = { 0 };
    struct client_ask a = load_ask(l, l->chat ? "/chat/completions" : "/completions", &url, field);
    enum err e = q ? buf_ok(&url) : err_set(ERR_NOMEM, "BSERVE-20", "no memory for a request");

    if (q) {
        *q = (struct asking){ .run = run, .client = client, .due = due };
        a.arg = q;
        a.on_body = on_body;
        a.on_event = on_event;
        a.on_end = on_end;
    }
    if (!e)
        e = load_body(&q->body, l);
    if (!e) {
        a.body = q->body;
        a.body_len = strlen(q->body);
        e = client_send(&q->r, l->client, &a);
    }
    buf_release(&url);
    if (e) {
        give_up(run, e);
        if (q)
            asking_free(q);
        return;
    }
    if ((q->next = run->asking))
        run->asking->prev = q;
    run->asking = q;
    run->n_asking++;
    run->level->n_sent++;
}

/* ---- when to send ---- */

static void on_rested(void *arg)
{
    struct rest *rest = arg;

    rest->run->n_resting--;
    if (sends_more(rest->run))
        send_one(rest->run, rest->client, clock_s());
    end_if_done(rest->run);
}

/* All that are due, and a timer for the next one. */
static void on_arrival(void *arg)
{
    struct level_run *run = arg;
    double now = clock_s();
    enum err e = OK;

    while (sends_more(run) && run->next_due <= now) {
        if (run->n_asking < LOAD_CLIENTS_MAX)
            send_one(run, -1, run->next_due);
        else
            run->level->n_late++;
        run->next_due += load_arrival(run->l->seed, run->n_due++) / run->level->rate;
    }
    /* One that is due after the end would keep the level waiting for nothing. */
    if (run->ends > 0 && run->next_due >= run->ends)
        run->stopped = true;
    if (sends_more(run))
        e = loop_timer_set(run->arrival, run->next_due - now);
    if (e)
        give_up(run, e);
    end_if_done(run);
}

static void cancel_all(struct level_run *run)
{
    run->stopped = true;
    for (int i = 0; run->rest && i < run->level->n_client; i++)
        if (run->rest[i].timer)
            loop_timer_stop(run->rest[i].timer);
    run->n_resting = 0;
    while (run->asking) {
        run->asking->cancelled = true;
        client_cancel(run->asking->r);
    }
}

static void show_progress(struct level_run *run)
{
    struct load *l = run->l;
    double elapsed = clock_s() - run->began, done;

    if (run->ends > 0)
        done = elapsed < l->duration ? elapsed : l->duration;
    else
        done = (double)(run->level->n_ok + run->level->n_failed + run->level->n_late);
    progress_update(&l->progress, (int64_t)(l->progress_done + done));
}

static void on_tick(void *arg)
{
    struct level_run *run = arg;
    enum err e;

    show_progress(run);
    if (term_interrupted() && !run->l->interrupted) {
        run->l->interrupted = true;
        cancel_all(run);
    }
    if (run->failed)
        cancel_all(run);
    e = loop_timer_set(run->tick, tick_s);
    if (e)
        give_up(run, e);
    end_if_done(run);
}

/* ---- the level ---- */

static enum err make_timers(struct level_run *run)
{
    enum err e = loop_timer_new(&run->tick, run->l->loop, on_tick, run);

    if (!e)
        e = loop_timer_new(&run->arrival, run->l->loop, on_arrival, run);
    if (!e && !(run->rest = calloc((size_t)run->level->n_client + 1, sizeof(*run->rest))))
        e = err_set(ERR_NOMEM, "BSERVE-21", "no memory for %d clients", run->level->n_client);
    for (int i = 0; i < run->level->n_client && !e; i++) {
        run->rest[i] = (struct rest){ .run = run, .client = i };
        e = loop_timer_new(&run->rest[i].timer, run->l->loop, on_rested, &run->rest[i]);
    }
    if (!e)
        e = loop_timer_set(run->tick, tick_s);
    return e;
}

enum err load_run(struct load *l, struct load_level *level)
{
    struct level_run run = { .l = l, .level = level };
    enum err e = make_timers(&run);

    run.began = clock_s();
    run.ends = l->duration > 0 ? run.began + l->duration : 0;
    if (!e && level->n_client) {
        for (int i = 0; i < level->n_client && sends_more(&run); i++)
            send_one(&run, i, clock_s());
    } else if (!e) {
        run.next_due = run.began;
        e = loop_timer_set(run.arrival, 0);
    }
    if (!e && !run.failed)
        e = loop_run(l->loop);
    cancel_all(&run);
    if (!e && run.failed)
        e = err_restore(&run.record);
    l->progress_done += l->duration > 0 ? l->duration : (double)l->n_request;
    loop_timer_free(run.tick);
    loop_timer_free(run.arrival);
    for (int i = 0; run.rest && i < level->n_client; i++)
        loop_timer_free(run.rest[i].timer);
    free(run.rest);
    return e;
}
