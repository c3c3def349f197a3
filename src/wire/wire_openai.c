/* wire_openai.c - what OpenAI's routes share: errors, usage, and the list of models. */
#include "wire/form.h"

#include <string.h>
#include <time.h>

static const struct { const char *type, *code; } errors[] = {
#define ERROR(id, status, type, code, retry) [WIRE_E_##id] = { type, code },
#include "wire/error.def"
#undef ERROR
};

static const char *null_if_empty(const char *text)
{
    return *text ? text : NULL;
}

void wire_openai_error(struct buf *out, const struct wire_error *why)
{
    buf_puts(out, "{\"error\":{\"message\":");
    wire_put_error_text(out, why, WIRE_WORDS_OPENAI);
    buf_puts(out, ",\"type\":");
    wire_put_text(out, errors[why->code].type);
    buf_puts(out, ",\"param\":");
    wire_put_text(out, null_if_empty(why->param));
    buf_puts(out, ",\"code\":");
    wire_put_text(out, null_if_empty(errors[why->code].code));
    buf_puts(out, "}}");
}

/* The only thing a stream may still say; clients raise it, so no [DONE] follows. */
void wire_openai_fail(struct wire_reply *w, struct buf *out, const struct wire_error *why)
{
    (void)w;
    buf_puts(out, "data: ");
    wire_openai_error(out, why);
    buf_puts(out, "\n\n");
}

void wire_openai_usage(struct buf *out, const struct wire_usage *u)
{
    buf_printf(out, "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%lld,\"audio_tokens\":0},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":%lld,\"audio_tokens\":0,"
               "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
               (long long)u->prompt_tok, (long long)u->answer_tok,
               (long long)(u->prompt_tok + u->answer_tok), (long long)u->cached_tok,
               (long long)u->think_tok);
}

void wire_openai_fingerprint(struct buf *out, const struct wire_reply *w)
{
    if (!w->about.fingerprint)
        return;
    buf_puts(out, ",\"system_fingerprint\":");
    wire_put_text(out, w->about.fingerprint);
}

const char *wire_openai_finish(enum wire_finish f)
{
    switch (f) {
    case WIRE_FINISH_LENGTH:
    case WIRE_FINISH_FULL:   return "\"length\"";
    case WIRE_FINISH_CALLS:  return "\"tool_calls\"";
    case WIRE_FINISH_FILTER: return "\"content_filter\"";
    default:                 return "\"stop\"";
    }
}

static void put_time(struct buf *out, int64_t unix_s)
{
    time_t t = (time_t)unix_s;
    char text[32];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_puts(out, text);
}

/* One row for the packages of OpenAI and of Anthropic. */
void wire_model_write(struct buf *out, const struct wire_model *m)
{
    buf_puts(out, "{\"id\":");
    wire_put_text(out, m->id);
    buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":", (long long)m->created);
    wire_put_text(out, m->owner);
    if (m->n_ctx)
        buf_printf(out, ",\"max_model_len\":%lld,\"context_length\":%lld,"
                   "\"max_input_tokens\":%lld", (long long)m->n_ctx, (long long)m->n_ctx,
                   (long long)m->n_ctx);
    if (m->n_out)
        buf_printf(out, ",\"max_tokens\":%lld", (long long)m->n_out);
    buf_puts(out, ",\"type\":\"model\",\"display_name\":");
    wire_put_text(out, m->id);
    buf_puts(out, ",\"created_at\":\"");
    put_time(out, m->created);
    buf_puts(out, "\"}");
}

void wire_models_write(struct buf *out, const struct wire_model *m, size_t n)
{
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? "," : "");
        wire_model_write(out, &m[i]);
    }
    buf_puts(out, "],\"has_more\":false,\"first_id\":");
    wire_put_text(out, n ? m[0].id : NULL);
    buf_puts(out, ",\"last_id\":");
    wire_put_text(out, n ? m[n - 1].id : NULL);
    buf_puts(out, "}");
}
