/* wire_completions.c - the dialect of OpenAI's /v1/completions. */
#include "wire/form.h"

#include <math.h>
#include <string.h>

static enum err check(struct wire_request *r, struct wire_error *why)
{
    r->logprobs = r->top_logprobs != WIRE_ABSENT;
    if (!r->logprobs)
        r->top_logprobs = 0;
    if (r->best_of == WIRE_ABSENT)
        r->best_of = r->n;
    if (r->best_of < r->n)
        return wire_refuse(why, WIRE_E_VALUE, "best_of", "Invalid 'best_of': %lld is less than "
                           "'n', %lld.", (long long)r->best_of, (long long)r->n);
    if (r->best_of > r->n && r->stream)
        return wire_refuse(why, WIRE_E_VALUE, "best_of", "Invalid 'best_of': the best of %lld "
                           "cannot be known while they are streamed.", (long long)r->best_of);
    if (r->best_of * (int64_t)r->n_prompt > WIRE_CHOICE_MAX)
        return wire_refuse(why, WIRE_E_INT_HIGH, r->best_of > r->n ? "best_of" : "n", "Invalid "
                           "'%s': %zu prompts with %lld answers each are more than %d.",
                           r->best_of > r->n ? "best_of" : "n", r->n_prompt,
                           (long long)r->best_of, (int)WIRE_CHOICE_MAX);
    return OK;
}

/* This route has no bytes beside its tokens: one that is not whole characters is spelt out, so that
 * two of them stay two keys. */
static void put_token(struct buf *out, const struct wire_top *t)
{
    enum wire_utf8 state = WIRE_UTF8_WHOLE;

    for (size_t at = 0; at < t->len && state == WIRE_UTF8_WHOLE;)
        at += wire_utf8_next(&state, t->bytes + at, t->len - at);
    if (state == WIRE_UTF8_WHOLE) {
        wire_put_string(out, t->bytes, t->len);
        return;
    }
    buf_puts(out, "\"bytes:");
    for (size_t i = 0; i < t->len; i++)
        buf_printf(out, "\\\\x%02x", (unsigned char)t->bytes[i]);
    buf_puts(out, "\"");
}

static bool same_bytes(const struct wire_top *a, const struct wire_top *b)
{
    return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

/* An object by text: of two tokens with the same text the first, which is the likelier, is kept.
 * The token itself, behind the others, is always in it. */
static void put_tops(struct buf *out, const struct wire_logprob *l)
{
    bool first = true;

    buf_puts(out, "{");
    for (size_t i = 0; i <= l->n_top; i++) {
        const struct wire_top *t = i < l->n_top ? &l->top[i] : &l->token;
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = same_bytes(&l->top[k], t);
        if (seen)
            continue;
        buf_puts(out, first ? "" : ",");
        first = false;
        put_token(out, t);
        buf_puts(out, ":");
        wire_put_float(out, t->logprob);
    }
    buf_puts(out, "}");
}

/* Characters that begin in a token: several tokens may share one. */
static int64_t characters(const struct wire_top *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < t->len; i++)
        n += ((unsigned char)t->bytes[i] & 0xc0) != 0x80;
    return n;
}

enum { TOKENS, LOGPROBS, TOPS, OFFSETS };

static void logprob(struct wire_choice *c, const struct wire_logprob *l)
{
    for (size_t i = 0; c->n_list && i < 4; i++)
        buf_puts(&c->list[i], ",");
    c->n_list++;
    put_token(&c->list[TOKENS], &l->token);
    if (isnan(l->token.logprob)) {
        buf_puts(&c->list[LOGPROBS], "null");
        buf_puts(&c->list[TOPS], "null");
    } else {
        wire_put_float(&c->list[LOGPROBS], l->token.logprob);
        put_tops(&c->list[TOPS], l);
    }
    buf_printf(&c->list[OFFSETS], "%lld", (long long)c->n_char);
    c->n_char += characters(&l->token);
}

static void put_logprobs(struct buf *out, const struct wire_choice *c, bool wanted)
{
    static const char *const names[] = { "{\"tokens\":[", "],\"token_logprobs\":[",
                                         "],\"top_logprobs\":[", "],\"text_offset\":[" };

    buf_puts(out, ",\"logprobs\":");
    for (size_t i = 0; i < 4 && wanted; i++) {
        buf_puts(out, names[i]);
        buf_add(out, buf_text(&c->list[i]), c->list[i].len);
    }
    buf_puts(out, wanted ? "]}" : "null");
}

static void put_head(struct wire_reply *w, struct buf *out)
{
    buf_puts(out, "{\"id\":\"cmpl-");
    buf_puts(out, w->about.id);
    buf_printf(out, "\",\"object\":\"text_completion\",\"created\":%lld,\"model\":",
               (long long)w->about.created);
    wire_put_text(out, w->about.model);
    buf_puts(out, ",\"choices\":[");
}

static void put_choice(struct wire_reply *w, struct buf *out, size_t choice, bool logprobs,
                       const char *finish)
{
    const struct wire_choice *c = &w->choice[choice];

    buf_puts(out, "{\"text\":");
    wire_put_string(out, buf_text(&c->text), c->text.len);
    buf_printf(out, ",\"index\":%zu", choice);
    put_logprobs(out, c, logprobs);
    buf_printf(out, ",\"finish_reason\":%s}", finish);
}

static void put_fingerprint(struct wire_reply *w, struct buf *out)
{
    wire_openai_fingerprint(out, w);
    buf_puts(out, "}");
}

static void put_chunk(struct wire_reply *w, struct buf *out, size_t choice, bool logprobs,
                      const char *finish)
{
    buf_puts(out, "data: ");
    put_head(w, out);
    put_choice(w, out, choice, logprobs, finish);
    buf_puts(out, w->include_usage ? "],\"usage\":null" : "]");
    put_fingerprint(w, out);
    buf_puts(out, "\n\n");
}

static void begin(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    (void)w;
    (void)u;
    buf_puts(out, wire_dialect_completions.beat);
}

static void piece(struct wire_reply *w, struct buf *out, size_t choice)
{
    put_chunk(w, out, choice, w->choice[choice].n_list > 0, "null");
}

static void end(struct wire_reply *w, struct buf *out, size_t choice)
{
    buf_cut(&w->choice[choice].text, 0);
    put_chunk(w, out, choice, false, wire_openai_finish(w->choice[choice].finish));
}

static void done(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    if (w->stream && !w->include_usage) {
        buf_puts(out, "data: [DONE]\n\n");
        return;
    }
    buf_puts(out, w->stream ? "data: " : "");
    put_head(w, out);
    for (size_t i = 0; i < w->n_choice && !w->stream; i++) {
        buf_puts(out, i ? "," : "");
        put_choice(w, out, i, w->logprobs, wire_openai_finish(w->choice[i].finish));
    }
    buf_puts(out, "],\"usage\":");
    wire_openai_usage(out, u);
    put_fingerprint(w, out);
    buf_puts(out, w->stream ? "\n\ndata: [DONE]\n\n" : "");
}

const struct wire_dialect wire_dialect_completions = {
    .beat = ": ping\n\n", .beat_whole = "\n", .check = check,
    .piece = piece, .end = end, .begin = begin, .done = done, .logprob = logprob,
    .error = wire_openai_error, .fail = wire_openai_fail,
};
