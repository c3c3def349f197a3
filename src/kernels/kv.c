/* kv.c - queries against rows of the KV cache: the definition. */
#include "kernels/ref.h"

enum { PIECE = 256 };

/* n elements of row t of a segment from element `at` on, as f32. */
static void unpack(enum qtype type, dequant_fn *dequant, float *out, const struct kv_block *b,
                   int seg, int64_t t, int64_t at, int64_t n)
{
    const uint8_t *row = b->seg[seg].row;

    dequant(out, row + t * b->seg[seg].row_bytes + qtype_row_bytes(type, at), n);
}

static void score(enum qtype type, dequant_fn *dequant, const struct kv_block *b, int64_t t)
{
    float row[PIECE];
    const float *q = b->q;

    for (int64_t i = 0; i < b->n_q; i++)
        b->out[i * b->ld_out + t] = 0;
    for (int seg = 0; seg < 2; q += b->seg[seg++].n)
        for (int64_t at = 0, n; at < b->seg[seg].n; at += n) {
            n = b->seg[seg].n - at < PIECE ? b->seg[seg].n - at : PIECE;
            unpack(type, dequant, row, b, seg, t, at, n);
            for (int64_t i = 0; i < b->n_q; i++)
                for (int64_t e = 0; e < n; e++)
                    b->out[i * b->ld_out + t] += q[i * b->ld_q + at + e] * row[e];
        }
}

static void value(enum qtype type, dequant_fn *dequant, const struct kv_block *b, int64_t t)
{
    float row[PIECE];

    for (int64_t at = 0, n; at < b->seg[0].n; at += n) {
        n = b->seg[0].n - at < PIECE ? b->seg[0].n - at : PIECE;
        unpack(type, dequant, row, b, 0, t, at, n);
        for (int64_t i = 0; i < b->n_q; i++)
            for (int64_t e = 0; e < n; e++)
                b->out[i * b->ld_out + at + e] += b->q[i * b->ld_q + t] * row[e];
    }
}

#define KV(id)                                                                              \
void kv_score_##id(const struct kv_block *b)                                                \
{                                                                                           \
    for (int64_t t = 0; t < b->n_tok; t++)                                                  \
        score(QTYPE_##id, dequant_##id, b, t);                                              \
}                                                                                           \
void kv_value_##id(const struct kv_block *b)                                                \
{                                                                                           \
    for (int64_t t = 0; t < b->n_tok; t++)                                                  \
        value(QTYPE_##id, dequant_##id, b, t);                                              \
}
KV_TYPES(KV)
