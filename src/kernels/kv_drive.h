/* kv_drive.h - queries against rows of the KV cache, written once for every instruction set.
 *
 * Included by a file that defines
 *   vec, VEC                              a vector of VEC floats
 *   kv_load(p), kv_store(p, v), kv_set(x), kv_fma(a, b, c)     c + a * b
 *   kv_open_<type>(row, i, j)             VEC elements of a row as f32, from VEC * (2 * i + j) on,
 *                                         j 0 or 1: so that a block's scale serves both
 *   kv_reduce(s)                          VEC sums: lane l is that of all lanes of s[l]
 *   KV_TOKS * KV_HEADS                    scores of a tile, a multiple of VEC
 *   2                               vectors of a value tile of KV_HEADS queries
 *
 *   KV_KEEP(v)                            keeps v in a register, where gcc would read it twice
 *
 * A row is widened in registers and meets KV_HEADS queries there: nothing is unpacked to memory.
 * A score is summed in VEC lanes, in rising element, then the lanes in one order, then the tails.
 * A tile at the edge repeats its last query or token and keeps one result. */
#ifndef KERNELS_KV_DRIVE_H
#define KERNELS_KV_DRIVE_H

#include "kernels/ref.h"

#include <string.h>

#define KV_INLINE static inline __attribute__((always_inline))

typedef vec kv_open_fn(const uint8_t *row, int64_t i, int j);

/* Elements after the last whole vector: only types of single elements have such rows. */
KV_INLINE int64_t tail_of(enum qtype type, int64_t n)
{
    return type == QTYPE_q8_0 ? 0 : n % VEC;
}

/* The tail, and zeros. */
KV_INLINE vec open_tail(enum qtype type, kv_open_fn *open, const uint8_t *row, int64_t n)
{
    int64_t bytes = qtype_info[type].block_bytes, i = n / VEC * VEC;
    uint8_t left[VEC * sizeof(float)] = { 0 };

    memcpy(left, row + i * bytes, (size_t)((n - i) * bytes));
    return open(left, 0, 0);
}

KV_INLINE vec load_tail(const float *x, int64_t n)
{
    float left[VEC] = { 0 };

    memcpy(left, x + n / VEC * VEC, (size_t)(n % VEC) * sizeof(*x));
    return kv_load(left);
}

/* s += the products of vector 2 * i + j of the rows and the queries. */
KV_INLINE void score_step(vec *s, const uint8_t *const *row, const float *const *q, int64_t i,
                          int j, kv_open_fn *open)
{
    vec k[KV_TOKS];

    UNROLL_16 for (int t = 0; t < KV_TOKS; t++)
        k[t] = open(row[t], i, j);
    UNROLL_16 for (int h = 0; h < KV_HEADS; h++) {
        vec x = kv_load(q[h] + VEC * (2 * i + j));
        KV_KEEP(x);
        UNROLL_16 for (int t = 0; t < KV_TOKS; t++)
            s[h * KV_TOKS + t] = kv_fma(x, k[t], s[h * KV_TOKS + t]);
    }
}

KV_INLINE void score_tile(const struct kv_block *b, enum qtype type, kv_open_fn *open,
                          int64_t head, int64_t tok)
{
    const float *q[KV_HEADS];
    vec s[KV_HEADS * KV_TOKS];
    float out[KV_HEADS * KV_TOKS];
    int64_t ask_bytes = b->seg[1].ahead ? qtype_row_bytes(type, b->seg[1].n) : 0;

    UNROLL_16 for (int h = 0; h < KV_HEADS; h++)
        q[h] = b->q + (head + h < b->n_q ? head + h : b->n_q - 1) * b->ld_q;
    UNROLL_16 for (int i = 0; i < KV_HEADS * KV_TOKS; i++)
        s[i] = kv_set(0);
    for (int seg = 0; seg < 2; seg++) {
        const uint8_t *row[KV_TOKS];
        int64_t n = b->seg[seg].n;
        UNROLL_16 for (int t = 0; t < KV_TOKS; t++)
            row[t] = (const uint8_t *)b->seg[seg].row +
                     (tok + t < b->n_tok ? tok + t : b->n_tok - 1) * b->seg[seg].row_bytes;
        for (int64_t at = 0; seg == 1 && head == 0 && at < ask_bytes; at += 64)
            UNROLL_16 for (int t = 0; t < KV_TOKS; t++)
                __builtin_prefetch(row[t] + b->seg[1].ahead + at, 0, 2);
        for (int64_t i = 0; i < n / (2 * VEC); i++) {
            score_step(s, row, q, i, 0, open);
            score_step(s, row, q, i, 1, open);
        }
        if (n / VEC % 2)
            score_step(s, row, q, n / (2 * VEC), 0, open);
        UNROLL_16 for (int h = 0; h < KV_HEADS; h++)
            q[h] += n;
    }
    UNROLL_16 for (int i = 0; i < KV_HEADS * KV_TOKS; i += VEC)
        kv_store(out + i, kv_reduce(s + i));
    for (int64_t h = 0; h < KV_HEADS && head + h < b->n_q; h++)
        for (int64_t t = 0; t < KV_TOKS && tok + t < b->n_tok; t++)
            b->out[(head + h) * b->ld_out + tok + t] = out[h * KV_TOKS + t];
}

/* Onto the score of a query and a token. */
static void score_tail(const struct kv_block *b, enum qtype type, kv_open_fn *open, int64_t head,
                       int64_t tok)
{
    const float *q = b->q + head * b->ld_q;
    float *out = b->out + head * b->ld_out + tok;

    for (int seg = 0; seg < 2; q += b->seg[seg++].n) {
        const uint8_t *row = (const uint8_t *)b->seg[seg].row + tok * b->seg[seg].row_bytes;
        int64_t n = b->seg[seg].n, left = tail_of(type, n);
        float v[VEC];
        if (left)
            kv_store(v, open_tail(type, open, row, n));
        for (int64_t e = 0; e < left; e++)
            *out += q[n - left + e] * v[e];
    }
}

/* KV_HEADS queries, V (1 or 2) vectors of elements from `at` on, a multiple of two vectors.  With
 * `ask` the lines met are asked for `ahead`, one at a time: a burst of them would stall.  The first
 * segment's are asked for here and not by the scores, whose tiles go along the rows. */
KV_INLINE void value_tile(const struct kv_block *b, enum qtype type, kv_open_fn *open,
                          int64_t head, int64_t at, const int V, bool ask)
{
    const uint8_t *row = b->seg[0].row;
    const uint8_t *next = row + b->seg[0].ahead + qtype_row_bytes(type, at);
    const float *p[KV_HEADS];
    vec s[KV_HEADS * 2], v[2];
    int64_t n_q = b->n_q - head < KV_HEADS ? b->n_q - head : KV_HEADS;
    float *out = b->out + head * b->ld_out + at;

    UNROLL_16 for (int h = 0; h < KV_HEADS; h++) {
        int64_t i = h < n_q ? h : n_q - 1;
        p[h] = b->q + (head + i) * b->ld_q;
        UNROLL_16 for (int j = 0; j < V; j++)
            s[h * V + j] = kv_load(out + i * b->ld_out + VEC * j);
    }
    for (int64_t t = 0; t < b->n_tok; t++, row += b->seg[0].row_bytes) {
        if (ask) {
            __builtin_prefetch(next, 0, 2);
            next += b->seg[0].row_bytes;
        }
        UNROLL_16 for (int j = 0; j < V; j++)
            v[j] = open(row, at / (2 * VEC), j);
        UNROLL_16 for (int h = 0; h < KV_HEADS; h++) {
            vec w = kv_set(p[h][t]);
            UNROLL_16 for (int j = 0; j < V; j++)
                s[h * V + j] = kv_fma(w, v[j], s[h * V + j]);
        }
    }
    UNROLL_16 for (int h = 0; h < KV_HEADS; h++)
        UNROLL_16 for (int j = 0; j < V; j++)
            if (h < n_q)
                kv_store(out + h * b->ld_out + VEC * j, s[h * V + j]);
}

static void value_tail(const struct kv_block *b, enum qtype type, kv_open_fn *open)
{
    int64_t n = b->seg[0].n, left = n % VEC;

    for (int64_t i = 0; i < b->n_q; i++) {
        float *out = b->out + i * b->ld_out, sum[VEC];
        vec s = load_tail(out, n);
        for (int64_t t = 0; t < b->n_tok; t++)
            s = kv_fma(kv_set(b->q[i * b->ld_q + t]),
                       open_tail(type, open, (const uint8_t *)b->seg[0].row +
                                             t * b->seg[0].row_bytes, n), s);
        kv_store(sum, s);
        memcpy(out + n - left, sum, (size_t)left * sizeof(*out));
    }
}

#define KV_DRIVE(id)                                                                        \
static void score_##id(const struct kv_block *b)                                            \
{                                                                                           \
    for (int64_t head = 0; head < b->n_q; head += KV_HEADS)                                 \
        for (int64_t tok = 0; tok < b->n_tok; tok += KV_TOKS)                               \
            score_tile(b, QTYPE_##id, kv_open_##id, head, tok);                             \
    if (tail_of(QTYPE_##id, b->seg[0].n) || tail_of(QTYPE_##id, b->seg[1].n))               \
        for (int64_t i = 0; i < b->n_q * b->n_tok; i++)                                     \
            score_tail(b, QTYPE_##id, kv_open_##id, i / b->n_tok, i % b->n_tok);            \
}                                                                                           \
static void value_##id(const struct kv_block *b)                                            \
{                                                                                           \
    int64_t n = b->seg[0].n, at;                                                            \
                                                                                            \
    for (int64_t head = 0; head < b->n_q; head += KV_HEADS) {                               \
        bool ask = b->seg[0].ahead && head == 0;                                            \
        for (at = 0; n - at >= 2 * VEC && ask; at += 2 * VEC)                               \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, 2, true);                     \
        for (; n - at >= 2 * VEC; at += 2 * VEC)                                            \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, 2, false);                    \
        for (; n - at >= VEC; at += VEC)                                                    \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, 1, ask);                      \
    }                                                                                       \
    if (tail_of(QTYPE_##id, n))                                                             \
        value_tail(b, QTYPE_##id, kv_open_##id);                                            \
}
KV_TYPES(KV_DRIVE)

#define KV_SLOTS(id) k->kv_score[QTYPE_##id] = score_##id; k->kv_value[QTYPE_##id] = value_##id;

#endif
