/* run_json.c - `croft run --json`: an answer as one JSON object on standard output. */
#include "cmd/run_json.h"

#include "base/term.h"
#include "cmd/json_text.h"

#include <string.h>

enum err answer_texts_add(void *arg, enum chat_part part, const char *text, size_t len,
                          int64_t n_think_tok)
{
    struct answer_texts *t = arg;

    if (part == CHAT_PART_THINK) {
        buf_add(&t->think, text, len);
        return buf_ok(&t->think);
    }
    while (!t->answer.len && n_think_tok && len && *text == '\n') {    /* the gap behind thinking */
        text++;
        len--;
    }
    buf_add(&t->answer, text, len);
    return buf_ok(&t->answer);
}

void answer_texts_release(struct answer_texts *t)
{
    buf_release(&t->answer);
    buf_release(&t->think);
}

/* The OpenAI API's words, and one more. */
const char *run_json_reason(enum answer_end end)
{
    switch (end) {
    case ANSWER_DONE:
    case ANSWER_STOP:      return "stop";
    case ANSWER_MAX:
    case ANSWER_FULL:      return "length";
    case ANSWER_INTERRUPT: return "interrupted";
    }
    return "stop";
}

static json_t *usage(const struct answer *a)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)a->n_prompt,
                     "completion_tokens", (json_int_t)a->n_tok, "total_tokens",
                     (json_int_t)(a->n_prompt + a->n_tok), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)a->n_reused, "completion_tokens_details",
                     "reasoning_tokens", (json_int_t)a->n_think_tok);
}

/* n per second, null when nothing was timed. */
static json_t *rate(int64_t n, double seconds)
{
    return n > 0 && seconds > 0 ? json_real((double)n / seconds) : json_null();
}

static json_t *timing(const struct answer *a)
{
    return json_pack("{s:f, s:f, s:o, s:o}", "prompt_s", a->prompt_s, "answer_s", a->gen_s,
                     "prompt_tok_per_s", rate(a->n_prompt - a->n_reused, a->prompt_s),
                     "answer_tok_per_s", rate(a->n_step, a->gen_s));
}

static json_t *drafts(const struct speculate_stats *d)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "steps", (json_int_t)d->n_step, "drafted",
                     (json_int_t)d->n_draft, "accepted", (json_int_t)d->n_right, "left_alone",
                     (json_int_t)d->n_passed, "tokens_per_step",
                     rate(d->n_tok, (double)d->n_step));
}

json_t *run_json_object(const struct answer *a, const struct answer_options *o,
                        const struct answer_texts *texts, const struct loaded *l)
{
    const char *path = l->path;
    json_t *think = json_null();

    if (a->n_think_tok)
        think = json_text(buf_text(&texts->think), texts->think.len);
    return json_pack("{s:o, s:o, s:o, s:s, s:o, s:I, s:o, s:o, s:o}",
                     "model", json_text(path, strlen(path)),
                     "answer", json_text(buf_text(&texts->answer), texts->answer.len),
                     "thinking", think, "finish_reason", run_json_reason(a->end),
                     "usage", usage(a), "seed", (json_int_t)o->sampling.seed,
                     "timing", timing(a), "drafts", drafts(&a->draft),
                     "tokens", answer_tokens_json(a, o, l->tok));
}

enum err run_json_out(json_t *value)
{
    struct buf out = { 0 };
    enum err e = json_put(&out, value, true);

    buf_puts(&out, "\n");
    if (e == OK)
        e = out_write(buf_text(&out), out.len);
    if (e == OK)
        e = out_flush();
    buf_release(&out);
    return e;
}
