/* wire_chat.c - the dialect of OpenAI's /v1/chat/completions. */
#include "wire/hear.h"
#include "wire/put.h"

static enum err check(struct wire_request *r, struct wire_error *why)
{
    if (r->top_logprobs == WIRE_ABSENT)
        r->top_logprobs = 0;
    if (r->top_logprobs && !r->logprobs)
        return wire_refuse(why, WIRE_E_VALUE, "top_logprobs", "Invalid 'top_logprobs': it needs "
                           "'logprobs' to be true.");
    r->best_of = r->n;
    return OK;
}

static void put_top(struct buf *out, const struct wire_top *t)
{
    buf_puts(out, "{\"token\":");
    wire_put_string(out, t->bytes, t->len);
    buf_puts(out, ",\"logprob\":");
    wire_put_float(out, t->logprob);
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < t->len; i++)
        buf_printf(out, "%s%d", i ? "," : "", (unsigned char)t->bytes[i]);
    buf_puts(out, "]");
}

static void logprob(struct wire_choice *c, const struct wire_logprob *l)
{
    struct buf *out = &c->list[0];

    buf_puts(out, c->n_list++ ? "," : "");
    put_top(out, &l->token);
    buf_puts(out, ",\"top_logprobs\":[");
    for (size_t i = 0; i < l->n_top; i++) {
        buf_puts(out, i ? "," : "");
        put_top(out, &l->top[i]);
        buf_puts(out, "}");
    }
    buf_puts(out, "]}");
}

static void put_logprobs(struct buf *out, const struct wire_choice *c, bool wanted)
{
    if (!wanted) {
        buf_puts(out, ",\"logprobs\":null");
        return;
    }
    buf_puts(out, ",\"logprobs\":{\"content\":[");
    buf_add(out, buf_text(&c->list[0]), c->list[0].len);
    buf_puts(out, "],\"refusal\":null}");
}

static void put_head(struct wire_reply *w, struct buf *out, const char *object)
{
    buf_puts(out, "{\"id\":\"chatcmpl-");
    buf_puts(out, w->about.id);
    buf_printf(out, "\",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
               (long long)w->about.created);
    wire_put_text(out, w->about.model);
}

/* A chunk up to its delta, and from there. */
static void open_chunk(struct wire_reply *w, struct buf *out, size_t choice)
{
    buf_puts(out, "data: ");
    put_head(w, out, "chat.completion.chunk");
    buf_puts(out, ",\"service_tier\":\"default\"");
    wire_openai_fingerprint(out, w);
    buf_printf(out, ",\"choices\":[{\"index\":%zu,\"delta\":{", choice);
}

static void close_chunk(struct wire_reply *w, struct buf *out, const struct wire_choice *c,
                        const char *finish)
{
    buf_puts(out, "}");
    put_logprobs(out, c, c && c->n_list);
    buf_printf(out, ",\"finish_reason\":%s}]%s}\n\n", finish,
               w->include_usage ? ",\"usage\":null" : "");
}

static void begin(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    (void)u;
    for (size_t i = 0; i < w->n_choice; i++) {
        open_chunk(w, out, i);
        buf_puts(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
        close_chunk(w, out, NULL, "null");
    }
}

static void piece(struct wire_reply *w, struct buf *out, size_t choice)
{
    const struct wire_choice *c = &w->choice[choice];

    if (c->think.len) {
        open_chunk(w, out, choice);
        buf_puts(out, "\"reasoning_content\":");
        wire_put_string(out, c->think.data, c->think.len);
        close_chunk(w, out, NULL, "null");
    }
    if (c->list[3].len) {
        open_chunk(w, out, choice);
        buf_puts(out, "\"refusal\":");
        wire_put_string(out, c->list[3].data, c->list[3].len);
        close_chunk(w, out, NULL, "null");
    }
    if (c->text.len || c->n_list) {
        open_chunk(w, out, choice);
        buf_puts(out, "\"content\":");
        wire_put_string(out, buf_text(&c->text), c->text.len);
        close_chunk(w, out, c, "null");
    }
}

enum { CALLS = 1, ARGUMENTS = 2, REFUSAL = 3 };         /* of list[] */

/* The arguments of a call in a whole reply are complete. */
static void finish_call(struct wire_choice *c)
{
    if (c->n_call) {
        wire_put_string(&c->list[CALLS], buf_text(&c->list[ARGUMENTS]), c->list[ARGUMENTS].len);
        buf_puts(&c->list[CALLS], "}}");
    }
    buf_cut(&c->list[ARGUMENTS], 0);
}

static void begin_call(struct buf *out, const struct wire_event *e)
{
    buf_puts(out, "\"id\":");
    wire_put_text(out, e->id);
    buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    wire_put_text(out, e->name);
    buf_puts(out, ",\"arguments\":");
}

static void call(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    struct wire_choice *c = &w->choice[e->choice];
    struct buf *args = &c->list[ARGUMENTS];

    if (!w->stream && e->kind == WIRE_CALL) {
        finish_call(c);
        buf_puts(&c->list[CALLS], c->n_call++ ? ",{" : "{");
        begin_call(&c->list[CALLS], e);
    }
    if (!w->stream || (e->kind == WIRE_ARGS && !args->len))
        return;
    c->n_call += e->kind == WIRE_CALL;
    open_chunk(w, out, e->choice);
    buf_printf(out, "\"tool_calls\":[{\"index\":%zu,", c->n_call - 1);
    if (e->kind == WIRE_CALL) {
        begin_call(out, e);
        buf_puts(out, "\"\"");
    } else {
        buf_puts(out, "\"function\":{\"arguments\":");
        wire_put_string(out, args->data, args->len);
    }
    buf_puts(out, "}}]");
    close_chunk(w, out, NULL, "null");
}

static void end(struct wire_reply *w, struct buf *out, size_t choice)
{
    open_chunk(w, out, choice);
    close_chunk(w, out, NULL, wire_openai_finish(w->choice[choice].finish));
}

static void done_stream(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    if (w->include_usage) {
        buf_puts(out, "data: ");
        put_head(w, out, "chat.completion.chunk");
        buf_puts(out, ",\"service_tier\":\"default\"");
        wire_openai_fingerprint(out, w);
        buf_puts(out, ",\"choices\":[],\"usage\":");
        wire_openai_usage(out, u);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

static void done(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    if (w->stream) {
        done_stream(w, out, u);
        return;
    }
    put_head(w, out, "chat.completion");
    buf_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < w->n_choice; i++) {
        struct wire_choice *c = &w->choice[i];
        buf_printf(out, "%s{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":",
                   i ? "," : "", i);
        if (!c->text.len && (c->n_call || c->list[REFUSAL].len))
            buf_puts(out, "null");
        else
            wire_put_string(out, buf_text(&c->text), c->text.len);
        if (c->thought) {
            buf_puts(out, ",\"reasoning_content\":");
            wire_put_string(out, buf_text(&c->think), c->think.len);
        }
        if (c->n_call) {
            finish_call(c);
            buf_puts(out, ",\"tool_calls\":[");
            buf_add(out, buf_text(&c->list[CALLS]), c->list[CALLS].len);
            buf_puts(out, "]");
            out->broken = out->broken || c->list[CALLS].broken;
        }
        buf_puts(out, ",\"refusal\":");
        if (c->list[REFUSAL].len)
            wire_put_string(out, c->list[REFUSAL].data, c->list[REFUSAL].len);
        buf_puts(out, c->list[REFUSAL].len ? ",\"annotations\":[]}"
                                           : "null,\"annotations\":[]}");
        put_logprobs(out, c, w->logprobs);
        buf_printf(out, ",\"finish_reason\":%s}", wire_openai_finish(c->finish));
    }
    buf_puts(out, "],\"usage\":");
    wire_openai_usage(out, u);
    buf_puts(out, ",\"service_tier\":\"default\"");
    wire_openai_fingerprint(out, w);
    buf_puts(out, "}");
}

const struct wire_dialect wire_dialect_chat = {
    .thinks = true, .refuses = true, .beat = ": ping\n\n", .beat_whole = "\n", .check = check,
    .piece = piece, .end = end, .begin = begin, .done = done, .logprob = logprob,
    .error = wire_openai_error, .fail = wire_openai_fail, .call = call,
    .take_messages = wire_take_messages, .take_tools = wire_chat_take_tools,
    .take_choice = wire_chat_take_choice, .take_format = wire_chat_take_format,
    .write = wire_chat_write, .hear = wire_chat_hear, .hear_whole = wire_chat_hear_whole,
};
