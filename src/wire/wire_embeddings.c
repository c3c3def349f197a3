/* wire_embeddings.c - the dialect of OpenAI's /v1/embeddings. */
#include "wire/form.h"

#include <string.h>

static enum err check(struct wire_request *r, struct wire_error *why)
{
    (void)why;
    r->top_logprobs = 0;
    r->best_of = r->n;
    return OK;
}

/* Little-endian float32, whatever this machine's order. */
static void put_packed(struct buf *out, const float *x, size_t n)
{
    struct buf bytes = { 0 };

    for (size_t i = 0; i < n; i++) {
        unsigned char b[4];
        uint32_t u;
        memcpy(&u, &x[i], sizeof(u));
        for (int k = 0; k < 4; k++)
            b[k] = (unsigned char)(u >> 8 * k & 255);
        buf_add(&bytes, b, 4);
    }
    buf_puts(out, "\"");
    wire_put_base64(out, buf_text(&bytes), bytes.len);
    buf_puts(out, "\"");
    out->broken = out->broken || bytes.broken;
    buf_release(&bytes);
}

static void put_list(struct buf *out, const float *x, size_t n)
{
    buf_puts(out, "[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? "," : "");
        wire_put_float(out, x[i]);
    }
    buf_puts(out, "]");
}

void wire_embeddings_write(struct buf *out, const char *model, const float *vector, size_t n,
                           size_t n_dim, int64_t prompt_tok, bool base64)
{
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "",
                   i);
        (base64 ? put_packed : put_list)(out, vector + i * n_dim, n_dim);
        buf_puts(out, "}");
    }
    buf_puts(out, "],\"model\":");
    wire_put_text(out, model);
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}",
               (long long)prompt_tok, (long long)prompt_tok);
}

const struct wire_dialect wire_dialect_embeddings = {
    .beat = "", .beat_whole = "\n", .check = check, .error = wire_openai_error,
    .fail = wire_openai_fail,
};
