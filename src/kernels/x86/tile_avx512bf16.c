/* tile_avx512bf16.c - products of bf16 tiles with bf16 activations.
 *
 * The one product whose activations are rounded further than the reference's: vdpbf16ps takes
 * pairs of bf16 and adds both products in f32, twice as many as f32 arithmetic can.  Per 256
 * elements the pairs are added in rising order, then the 256s, as in ../tile.h; a row's result
 * does not depend on what is computed beside it.  Denormal numbers count as zero.
 */
#include "kernels/tile.h"
#include "kernels/x86/x86.h"

enum { TOK = 6, PAIRS = TILE_CHUNK / 2 };

#define INLINE static inline __attribute__((always_inline))

/* Columns k and k + 1 of 16 rows as pairs in 32-bit lanes; a last odd column has zeros beside. */
INLINE __m512i column_pair(const uint8_t *tile, int k, int n)
{
    __m512i a = _mm512_cvtepu16_epi32(load32(tile + k * 32));

    if (k + 1 == n)
        return a;
    return _mm512_or_si512(a, _mm512_slli_epi32(_mm512_cvtepu16_epi32(load32(tile + (k + 1) * 32)),
                                                16));
}

static void open_pairs(uint32_t (*w)[TILE_ROWS], const uint8_t *tile, int n)
{
    for (int k = 0; k < n; k += 2)
        _mm512_store_si512(w[k / 2], column_pair(tile, k, n));
}

INLINE __m512bh pair(const uint16_t *x, int k, int n)
{
    uint32_t v = 0;
    memcpy(&v, x + k, k + 1 < n ? 4 : 2);
    return (__m512bh)_mm512_set1_epi32((int)v);
}

/* n_p panels times n_t activation rows, both constants. */
INLINE void add_block(uint32_t (*w)[PAIRS][TILE_ROWS], int n_p, const uint16_t *const *x, int n_t,
                      int n, float *acc, int64_t ld)
{
    __m512 sum[2][TOK];

    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++)
            sum[g][t] = _mm512_setzero_ps();
    for (int k = 0; k + 1 < n; k += 2)
        UNROLL for (int t = 0; t < n_t; t++) {
            __m512bh v = pair(x[t], k, k + 2);
            UNROLL for (int g = 0; g < n_p; g++)
                sum[g][t] = _mm512_dpbf16_ps(sum[g][t],
                                             (__m512bh)_mm512_load_si512(w[g][k / 2]), v);
        }
    if (n % 2)
        for (int t = 0; t < n_t; t++)
            for (int g = 0; g < n_p; g++)
                sum[g][t] = _mm512_dpbf16_ps(sum[g][t],
                                             (__m512bh)_mm512_load_si512(w[g][n / 2]),
                                             pair(x[t], n - 1, n));
    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++) {
            float *to = acc + t * ld + g * TILE_ROWS;
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum[g][t]));
        }
}

INLINE void add_rows(const struct tile_mul *m, uint32_t (*w)[PAIRS][TILE_ROWS], int n_p,
                     int64_t at, int n, float *acc)
{
    int64_t ld = m->n_group * TILE_ROWS;

    for (int64_t i = 0; i < m->n_x; i += TOK, acc += TOK * ld) {
        const uint16_t *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const uint16_t *)m->x[i + t] + at;
        switch (n_t) {
        case 1: add_block(w, n_p, x, 1, n, acc, ld); break;
        case 2: add_block(w, n_p, x, 2, n, acc, ld); break;
        case 3: add_block(w, n_p, x, 3, n, acc, ld); break;
        case 4: add_block(w, n_p, x, 4, n, acc, ld); break;
        case 5: add_block(w, n_p, x, 5, n, acc, ld); break;
        default: add_block(w, n_p, x, TOK, n, acc, ld);
        }
    }
}

/* One activation row, without a panel: two groups side by side, because one chain of sums would
 * wait for itself. */
static void one_row(const struct tile_mul *m)
{
    uint64_t group = tile_group_bytes(QTYPE_bf16, m->n);
    const uint16_t *x = m->x[0];

    for (int g = 0; g < m->n_group; g += 2) {
        const uint8_t *a = m->group + (uint64_t)g * group, *b = g + 1 < m->n_group ? a + group : a;
        __m512 sum_a = _mm512_setzero_ps(), sum_b = sum_a;
        for (int64_t at = 0; at < m->n; at += TILE_CHUNK) {
            int n = m->n - at < TILE_CHUNK ? (int)(m->n - at) : TILE_CHUNK;
            __m512 add_a = _mm512_setzero_ps(), add_b = add_a;
            for (int k = 0; k < n; k += 2) {
                __m512bh v = k + 1 < n ? pair(x + at, k, k + 2) : pair(x + at, k, k + 1);
                __builtin_prefetch(a + k * 32 + TILE_PREFETCH_BYTES, 0, 3);
                __builtin_prefetch(b + k * 32 + TILE_PREFETCH_BYTES, 0, 3);
                add_a = _mm512_dpbf16_ps(add_a, (__m512bh)column_pair(a, k, n), v);
                add_b = _mm512_dpbf16_ps(add_b, (__m512bh)column_pair(b, k, n), v);
            }
            sum_a = _mm512_add_ps(sum_a, add_a);
            sum_b = _mm512_add_ps(sum_b, add_b);
            a += TILE_CHUNK * 32;
            b += TILE_CHUNK * 32;
        }
        _mm512_storeu_ps(m->y[0] + g * TILE_ROWS, sum_a);
        if (g + 1 < m->n_group)
            _mm512_storeu_ps(m->y[0] + (g + 1) * TILE_ROWS, sum_b);
    }
}

static void tile_mul_bf16_avx512bf16(const struct tile_mul *m)
{
    uint32_t w[2][PAIRS][TILE_ROWS] __attribute__((aligned(64)));
    uint64_t group_bytes = tile_group_bytes(QTYPE_bf16, m->n);

    if (m->n_x == 1) {
        one_row(m);
        return;
    }
    memset(m->acc, 0, (size_t)(m->n_x * m->n_group * TILE_ROWS) * sizeof(float));
    for (int64_t at = 0; at < m->n; at += TILE_CHUNK) {
        int n = m->n - at < TILE_CHUNK ? (int)(m->n - at) : TILE_CHUNK;
        for (int g = 0; g < m->n_group; g += 2) {
            int n_p = m->n_group - g < 2 ? 1 : 2;
            for (int i = 0; i < n_p; i++)
                open_pairs(w[i], m->group + (uint64_t)(g + i) * group_bytes +
                           (uint64_t)(at * TILE_ROWS * 2), n);
            if (n_p == 1)
                add_rows(m, w, 1, at, n, m->acc + g * TILE_ROWS);
            else
                add_rows(m, w, 2, at, n, m->acc + g * TILE_ROWS);
        }
    }
    for (int64_t i = 0; i < m->n_x; i++)
        memcpy(m->y[i], m->acc + i * m->n_group * TILE_ROWS,
               (size_t)m->n_group * TILE_ROWS * sizeof(float));
}

void kernels_add_tile_avx512bf16(struct kernels *k)
{
    k->mul_bf16 = tile_mul_bf16_avx512bf16;
}
