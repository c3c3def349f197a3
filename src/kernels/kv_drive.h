/* kv_drive.h - queries against rows of the KV cache, written once for every instruction set.
 *
 * Included by a file that defines
 *   vec, VEC                              a vector of VEC floats
 *   kv_load(p), kv_store(p, v), kv_set(x), kv_fma(a, b, c)     c + a * b
 *   kv_open_<type>(row, i, j)             VEC elements of a row as f32, from VEC * (2 * i + j) on,
 *                                         j 0 or 1: so that a block's scale serves both
 *   kv_reduce(s)                          VEC sums: lane l is that of all lanes of s[l]
 *   KV_HEADS, KV_TOKS                     queries and tokens of a tile of scores, together a
 *                                         multiple of VEC; half the queries get twice the tokens
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

/* What of b->ask is still to be asked for: `each` lines with every tile of scores, or with every
 * ASK_TOKS tokens of a tile of values, because a burst of them would stall. */
enum { ASK_TOKS = 16 };
struct kv_ask { const uint8_t *row; int64_t at, n_row, each; };

static struct kv_ask ask_begin(const struct kv_block *b, int64_t n_time)
{
    int64_t lines = b->ask.n_row * ((b->ask.bytes + 63) / 64);

    return (struct kv_ask){ .row = b->ask.row, .n_row = b->ask.n_row,
                            .each = (lines + n_time - 1) / n_time };
}

KV_INLINE void ask_some(const struct kv_block *b, struct kv_ask *a)
{
    for (int64_t i = 0; i < a->each && a->n_row > 0; i++) {
        __builtin_prefetch(a->row + a->at, 0, 3);
        a->at += 64;
        if (a->at >= b->ask.bytes) {
            a->at = 0;
            a->row += b->ask.row_bytes;
            a->n_row--;
        }
    }
}

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

/* s += the products of vector 2 * i + j of T rows and H queries. */
KV_INLINE void score_step(vec *s, const uint8_t *const *row, const float *const *q, int64_t i,
                          int j, kv_open_fn *open, const int H, const int T)
{
    vec k[2 * KV_TOKS];

    UNROLL_16 for (int t = 0; t < T; t++)
        k[t] = open(row[t], i, j);
    UNROLL_16 for (int h = 0; h < H; h++) {
        vec x = kv_load(q[h] + VEC * (2 * i + j));
        KV_KEEP(x);
        UNROLL_16 for (int t = 0; t < T; t++)
            s[h * T + t] = kv_fma(x, k[t], s[h * T + t]);
    }
}

KV_INLINE void score_tile(const struct kv_block *b, kv_open_fn *open,
                          int64_t head, int64_t tok, const int H, const int T, struct kv_ask *ask)
{
    const float *q[KV_HEADS];
    vec s[KV_HEADS * KV_TOKS];
    float out[KV_HEADS * KV_TOKS];

    ask_some(b, ask);
    UNROLL_16 for (int h = 0; h < H; h++)
        q[h] = b->q + (head + h < b->n_q ? head + h : b->n_q - 1) * b->ld_q;
    UNROLL_16 for (int i = 0; i < KV_HEADS * KV_TOKS; i++)
        s[i] = kv_set(0);
    for (int seg = 0; seg < 2; seg++) {
        const uint8_t *row[2 * KV_TOKS];
        int64_t n = b->seg[seg].n;
        UNROLL_16 for (int t = 0; t < T; t++)
            row[t] = (const uint8_t *)b->seg[seg].row +
                     (tok + t < b->n_tok ? tok + t : b->n_tok - 1) * b->seg[seg].row_bytes;
        for (int64_t i = 0; i < n / (2 * VEC); i++) {
            score_step(s, row, q, i, 0, open, H, T);
            score_step(s, row, q, i, 1, open, H, T);
        }
        if (n / VEC % 2)
            score_step(s, row, q, n / (2 * VEC), 0, open, H, T);
        UNROLL_16 for (int h = 0; h < H; h++)
            q[h] += n;
    }
    UNROLL_16 for (int i = 0; i < KV_HEADS * KV_TOKS; i += VEC)
        kv_store(out + i, kv_reduce(s + i));
    for (int64_t h = 0; h < H && head + h < b->n_q; h++)
        for (int64_t t = 0; t < T && tok + t < b->n_tok; t++)
            b->out[(head + h) * b->ld_out + tok + t] = out[h * T + t];
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

/* H queries, V (1, 2 or 4) vectors of elements from `at` on, a multiple of two vectors. */
KV_INLINE void value_tile(const struct kv_block *b, enum qtype type, kv_open_fn *open,
                          int64_t head, int64_t at, const int H, const int V, struct kv_ask *ask)
{
    const int64_t in_block = at % 32 / (2 * VEC), row_bytes = b->seg[0].row_bytes;
    const uint8_t *row = (const uint8_t *)b->seg[0].row + qtype_row_bytes(type, at / 32 * 32);
    const float *p[KV_HEADS];
    vec s[KV_HEADS * 2], v[4];
    int64_t n_q = b->n_q - head < H ? b->n_q - head : H;
    float *out = b->out + head * b->ld_out + at;

    UNROLL_16 for (int h = 0; h < H; h++) {
        int64_t i = h < n_q ? h : n_q - 1;
        p[h] = b->q + (head + i) * b->ld_q;
        UNROLL_16 for (int j = 0; j < V; j++)
            s[h * V + j] = kv_load(out + i * b->ld_out + VEC * j);
    }
    for (int64_t t = 0, end; t < b->n_tok; t = end) {
        end = t + ASK_TOKS < b->n_tok ? t + ASK_TOKS : b->n_tok;
        ask_some(b, ask);
        for (int64_t i = t; i < end; i++, row += row_bytes) {
            UNROLL_16 for (int j = 0; j < V; j++)
                v[j] = open(row, in_block + j / 2, j % 2);
            UNROLL_16 for (int h = 0; h < H; h++) {
                vec w = kv_set(p[h][i]);
                UNROLL_16 for (int j = 0; j < V; j++)
                    s[h * V + j] = kv_fma(w, v[j], s[h * V + j]);
            }
        }
    }
    UNROLL_16 for (int h = 0; h < H; h++)
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

/* Values for H queries from `head` on, in tiles of V vectors. */
#define VALUE_HEADS(id, head, H, V)                                                         \
    do {                                                                                    \
        int64_t at = 0;                                                                     \
        for (; n - at >= (V) * VEC; at += (V) * VEC)                                        \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, H, V, &ask);                  \
        for (; n - at >= 2 * VEC; at += 2 * VEC)                                            \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, H, 2, &ask);                  \
        for (; n - at >= VEC; at += VEC)                                                    \
            value_tile(b, QTYPE_##id, kv_open_##id, head, at, H, 1, &ask);                  \
    } while (0)

#define KV_DRIVE(id)                                                                        \
static void score_##id(const struct kv_block *b)                                            \
{                                                                                           \
    enum { HALF = KV_HEADS / 2, TWICE = 2 * KV_TOKS };                                      \
    int64_t passes = (b->n_q + HALF - 1) / KV_HEADS, head = 0;                              \
    struct kv_ask ask = ask_begin(b, passes ? passes * ((b->n_tok + KV_TOKS - 1) / KV_TOKS) : \
                                     (b->n_tok + TWICE - 1) / TWICE);                       \
                                                                                            \
    for (; b->n_q - head > HALF; head += KV_HEADS)                                          \
        for (int64_t tok = 0; tok < b->n_tok; tok += KV_TOKS)                               \
            score_tile(b, kv_open_##id, head, tok, KV_HEADS, KV_TOKS, &ask);                \
    for (int64_t tok = 0; tok < b->n_tok && head < b->n_q; tok += TWICE)                    \
        score_tile(b, kv_open_##id, head, tok, HALF, TWICE, &ask);                          \
    if (tail_of(QTYPE_##id, b->seg[0].n) || tail_of(QTYPE_##id, b->seg[1].n))               \
        for (int64_t i = 0; i < b->n_q * b->n_tok; i++)                                     \
            score_tail(b, QTYPE_##id, kv_open_##id, i / b->n_tok, i % b->n_tok);            \
}                                                                                           \
static void value_##id(const struct kv_block *b)                                            \
{                                                                                           \
    int64_t n = b->seg[0].n, passes = (b->n_q + KV_HEADS / 2 - 1) / KV_HEADS, head = 0;     \
    int64_t tiles = passes ? passes * ((n + 2 * VEC - 1) / (2 * VEC)) :                     \
                             (n + 4 * VEC - 1) / (4 * VEC);                                 \
    struct kv_ask ask = ask_begin(b, tiles * ((b->n_tok + ASK_TOKS - 1) / ASK_TOKS));       \
                                                                                            \
    for (; b->n_q - head > KV_HEADS / 2; head += KV_HEADS)                                  \
        VALUE_HEADS(id, head, KV_HEADS, 2);                                                 \
    if (head < b->n_q)                                                                      \
        VALUE_HEADS(id, head, KV_HEADS / 2, 4);                                             \
    if (tail_of(QTYPE_##id, n))                                                             \
        value_tail(b, QTYPE_##id, kv_open_##id);                                            \
}
KV_TYPES(KV_DRIVE)

#define KV_SLOTS(id) k->kv_score[QTYPE_##id] = score_##id; k->kv_value[QTYPE_##id] = value_##id;

#endif
