/* batch_json.c - a line of a batch's output.
 *
 * Nothing in it depends on when, how fast or beside what it was made: a job that was killed and
 * resumed writes the same bytes as one that was not. */
#include "cmd/run_batch.h"

#include "cmd/json_text.h"

#include <string.h>

static json_t *usage(const struct answer *a)
{
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)a->n_prompt,
                     "completion_tokens", (json_int_t)a->n_tok, "total_tokens",
                     (json_int_t)(a->n_prompt + a->n_tok));
}

static json_t *text_of(const struct buf *b)
{
    return json_text(buf_text(b), b->len);
}

static json_t *thinking(const struct batch_line *b)
{
    return b->a.n_think_tok ? text_of(&b->texts.think) : json_null();
}

static json_t *tokens(const struct batch_line *b, const struct batch_job *job)
{
    return b->ao.keep_tokens ? answer_tokens_json(&b->a, &b->ao, job->l->tok) : json_null();
}

/* Of a line that was not understood only the number is known. */
static json_t *id_of(const struct batch_line *b)
{
    return b->id ? json_incref(b->id) : json_null();
}

static json_t *error_of(const struct batch_line *b)
{
    const char *text = b->failed.text;

    return json_pack("{s:s, s:s, s:o, s:I}", "code", err_name(b->failed.code), "id", b->failed.id,
                     "message", json_text(text, strlen(text)), "line", (json_int_t)b->number);
}

static json_t *plain(const struct batch_line *b, const struct batch_job *job)
{
    json_t *o;

    if (b->failed.code)
        return json_pack("{s:o, s:I, s:o}", "id", id_of(b), "line", (json_int_t)b->number,
                         "error", error_of(b));
    o = json_pack("{s:o, s:I, s:o, s:o, s:s, s:o, s:I}", "id", id_of(b), "line",
                  (json_int_t)b->number, "text", text_of(&b->texts.answer), "thinking", thinking(b),
                  "finish_reason", run_json_reason(b->a.end), "usage", usage(&b->a), "seed",
                  (json_int_t)b->ao.sampling.seed);
    if (o && b->ao.keep_tokens && json_object_set_new(o, "tokens", tokens(b, job))) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* As the chat and completions endpoints answer. */
static json_t *choice(const struct batch_line *b, const struct batch_job *job)
{
    json_t *log = json_null();

    if (b->ao.keep_tokens)
        log = json_pack("{s:o}", "content", tokens(b, job));
    if (b->shape == BATCH_OPENAI_TEXT)
        return json_pack("{s:i, s:o, s:o, s:s}", "index", 0, "text", text_of(&b->texts.answer),
                         "logprobs", log, "finish_reason", run_json_reason(b->a.end));
    return json_pack("{s:i, s:{s:s, s:o, s:o}, s:o, s:s}", "index", 0, "message", "role",
                     "assistant", "content", text_of(&b->texts.answer), "reasoning_content",
                     thinking(b), "logprobs", log, "finish_reason", run_json_reason(b->a.end));
}

static json_t *openai(const struct batch_line *b, const struct batch_job *job)
{
    const char *path = job->l->path;
    char id[40], request[40];
    json_t *body;

    snprintf(id, sizeof(id), "batch_req_%lld", (long long)b->number);
    if (b->failed.code)
        return json_pack("{s:s, s:o, s:n, s:o}", "id", id, "custom_id", id_of(b), "response",
                         "error", error_of(b));
    snprintf(request, sizeof(request), "req_%lld", (long long)b->number);
    body = json_pack("{s:s, s:s, s:i, s:o, s:[o], s:o}", "id", request, "object",
                     b->shape == BATCH_OPENAI_TEXT ? "text_completion" : "chat.completion",
                     "created", 0, "model", json_text(path, strlen(path)), "choices",
                     choice(b, job), "usage", usage(&b->a));
    return json_pack("{s:s, s:o, s:{s:i, s:s, s:o}, s:n}", "id", id, "custom_id", id_of(b),
                     "response", "status_code", 200, "request_id", request, "body", body, "error");
}

enum err batch_line_write(struct buf *out, const struct batch_line *b, const struct batch_job *job)
{
    enum err e = json_put(out, b->shape == BATCH_PLAIN ? plain(b, job) : openai(b, job), true);

    buf_puts(out, "\n");
    return e == OK ? buf_ok(out) : e;
}
