/* wire_chat.c - the dialect of OpenAI's /v1/chat/completions. */
#include "wire/form.h"

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

static void begin(struct wire_reply *w, struct buf *out)
{
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
    if (c->text.len || c->n_list) {
        open_chunk(w, out, choice);
        buf_puts(out, "\"content\":");
        wire_put_string(out, buf_text(&c->text), c->text.len);
        close_chunk(w, out, c, "null");
    }
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
        const struct wire_choice *c = &w->choice[i];
        buf_printf(out, "%s{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":",
                   i ? "," : "", i);
        wire_put_string(out, buf_text(&c->text), c->text.len);
        if (c->thought) {
            buf_puts(out, ",\"reasoning_content\":");
            wire_put_string(out, buf_text(&c->think), c->think.len);
        }
        buf_puts(out, ",\"refusal\":null,\"annotations\":[]}");
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
    .thinks = true, .beat = ": ping\n\n", .beat_whole = "\n", .check = check,
    .piece = piece, .end = end, .begin = begin, .done = done, .logprob = logprob,
    .error = wire_openai_error, .fail = wire_openai_fail,
};
