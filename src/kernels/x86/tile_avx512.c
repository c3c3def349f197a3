/* tile_avx512.c - products with tiles, with AVX-512 VNNI.  Reference: ../tile_ref.c.
 *
 * A vector is four elements of 16 rows.  vpdpbusd multiplies unsigned weights with signed
 * activations, so weights stand 128 too high in the panel and a sum starts at -128 times the
 * activations' sum, which the block holds.
 */
#include <immintrin.h>

#define VEC_BYTES 64
#define vec_spread vec_spread
#include "kernels/tile_open.h"
#include "kernels/x86/x86.h"

/* A byte is tested for its bit. */
TILE_INLINE vec_u vec_spread(vec_u v, int i, uint32_t as)
{
    __m512i at = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    __m512i bit = _mm512_set1_epi32(i % 2 ? (int)0x80402010 : 0x08040201);

    at = _mm512_add_epi8(at, _mm512_set1_epi8((char)(i / 2)));
    v = (vec_u)_mm512_shuffle_epi8((__m512i)v, at);
    return (vec_u)_mm512_maskz_set1_epi8(_mm512_test_epi8_mask((__m512i)v, bit), (char)as);
}

TILE_INLINE vec_f vec_half(const uint8_t *p)
{
    return (vec_f)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

TILE_INLINE vec_u vec_bytes(const uint8_t *p)
{
    return (vec_u)_mm512_cvtepu8_epi32(load16(p));
}

/* No carry between bytes: an unsigned number has at most six bits, and a center at most 32. */
TILE_INLINE vec_u vec_place(vec_u v, unsigned center)
{
    return center == 128 ? v ^ 0x80808080u : v + (128 - center) * 0x01010101u;
}

TILE_INLINE vec_u vec_shuffle(vec_u v, vec_u at)
{
    return (vec_u)_mm512_shuffle_epi8((__m512i)v, (__m512i)at);
}
#define vec_shuffle vec_shuffle

TILE_INLINE vec_u vec_negate(vec_u v, vec_u s, uint32_t bits)
{
    __mmask64 minus = _mm512_test_epi8_mask((__m512i)s, _mm512_set1_epi32((int)bits));
    return (vec_u)_mm512_mask_sub_epi8((__m512i)v, minus, _mm512_setzero_si512(), (__m512i)v);
}
#define vec_negate vec_negate

/* The row in one of two halves of the grid, which differ in one bit of the number. */
#define GRID(half, n)                                                                       \
TILE_INLINE __m512i grid_##n(const uint16_t *grid, __m512i at)                              \
{                                                                                           \
    __mmask32 upper = _mm512_test_epi16_mask(at, _mm512_set1_epi16(half));                  \
    return _mm512_mask_blend_epi16(upper, grid_##half(grid, at),                            \
                                   grid_##half(grid + (half), at));                         \
}

TILE_INLINE __m512i grid_64(const uint16_t *grid, __m512i at)
{
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(grid), at, _mm512_loadu_si512(grid + 32));
}
GRID(64, 128)
GRID(128, 256)
GRID(256, 512)
GRID(512, 1024)

#define vec_grid vec_grid
#include "kernels/tile_open_iq.h"

/* Up to 1024 rows two permutes read 64 of them at once; of more, loads are faster. */
TILE_INLINE void vec_grid(union grid_rows *g, int n_vec, const uint16_t *grid, int n)
{
    if (n > 1024)
        rows_loaded(g, n_vec, grid);
    for (int i = 0; i < n_vec && n <= 1024; i++) {
        __m512i at = (__m512i)g->v[i];
        g->v[i] = (vec_u)(n == 256 ? grid_256(grid, at) : n == 512 ? grid_512(grid, at) :
                          grid_1024(grid, at));
    }
}

enum { TOK = 4 };

TILE_INLINE __m512i words(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

/* n_p panels times n_t activation rows, both constants; 32 elements at a time. */
TILE_INLINE void add_block(const struct panel *p, int n_p, const struct block_q8a *const *x,
                           int n_t, int n_block, float *acc, int64_t ld, int kind)
{
    __m512 sum[2][TOK];

    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++)
            sum[g][t] = _mm512_loadu_ps(acc + t * ld + g * TILE_ROWS);
    for (int b = 0; b < n_block; b++) {
        __m512 half[2][TOK];
        UNROLL for (int h = 0; h < 2; h++) {
            __m512i d[2][TOK];
            int s = kind & 1 ? 2 * b + h : b;
            UNROLL for (int t = 0; t < n_t; t++)
                UNROLL for (int g = 0; g < n_p; g++)
                    d[g][t] = _mm512_set1_epi32(x[t][b].bias[h]);
            UNROLL for (int i = 0; i < 4; i++) {
                __m512i w[2];
                UNROLL for (int g = 0; g < n_p; g++)
                    w[g] = _mm512_load_si512(p[g].q[8 * b + 4 * h + i]);
                UNROLL for (int t = 0; t < n_t; t++) {
                    __m512i q = words(x[t][b].q + 16 * h + 4 * i);
                    UNROLL for (int g = 0; g < n_p; g++)
                        d[g][t] = _mm512_dpbusd_epi32(d[g][t], w[g], q);
                }
            }
            UNROLL for (int t = 0; t < n_t; t++) {
                __m512 scale = _mm512_set1_ps(x[t][b].scale[h]);
                UNROLL for (int g = 0; g < n_p; g++) {
                    __m512 f = _mm512_cvtepi32_ps(d[g][t]);
                    if (kind & 1)
                        sum[g][t] = _mm512_fmadd_ps(_mm512_load_ps(p[g].scale[s]),
                                                    _mm512_mul_ps(f, scale), sum[g][t]);
                    else
                        half[g][t] = h ? _mm512_fmadd_ps(f, scale, half[g][t]) :
                                         _mm512_mul_ps(f, scale);
                    if (kind == 3)
                        sum[g][t] = _mm512_fmadd_ps(_mm512_load_ps(p[g].offset[s]),
                                                    _mm512_set1_ps(x[t][b].sum[h]), sum[g][t]);
                }
            }
        }
        if (kind & 1)
            continue;
        UNROLL for (int g = 0; g < n_p; g++) {
            __m512 scale = _mm512_load_ps(p[g].scale[b]);
            UNROLL for (int t = 0; t < n_t; t++)
                sum[g][t] = _mm512_fmadd_ps(scale, half[g][t], sum[g][t]);
            if (kind & 2) {
                __m512 offset = _mm512_load_ps(p[g].offset[b]);
                UNROLL for (int t = 0; t < n_t; t++)
                    sum[g][t] = _mm512_fmadd_ps(offset, _mm512_set1_ps(x[t][b].sum32),
                                                sum[g][t]);
            }
        }
    }
    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++)
            _mm512_storeu_ps(acc + t * ld + g * TILE_ROWS, sum[g][t]);
}

TILE_INLINE void add_rows(const struct tile_mul *m, const struct panel *p, int n_p, int64_t x_at,
                          int n, float *acc, int64_t ld, int kind)
{
    int64_t i = 0;

    for (; i < m->n_x; i += TOK) {
        const struct block_q8a *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const struct block_q8a *)m->x[i + t] + x_at / 32;
        switch (n_t) {
        case 1: add_block(p, n_p, x, 1, n / 32, acc + i * ld, ld, kind); break;
        case 2: add_block(p, n_p, x, 2, n / 32, acc + i * ld, ld, kind); break;
        case 3: add_block(p, n_p, x, 3, n / 32, acc + i * ld, ld, kind); break;
        default: add_block(p, n_p, x, TOK, n / 32, acc + i * ld, ld, kind);
        }
    }
}

#define ADD(kind)                                                                           \
static __attribute__((noinline)) void add_kind_##kind(const struct tile_mul *m,             \
    const struct panel *p, int n_p, int64_t x_at, int n, float *acc, int64_t ld)            \
{                                                                                           \
    if (n_p == 1)                                                                           \
        add_rows(m, p, 1, x_at, n, acc, ld, kind);                                          \
    else                                                                                    \
        add_rows(m, p, 2, x_at, n, acc, ld, kind);                                          \
}
ADD(0)
ADD(1)
ADD(2)
ADD(3)

TILE_INLINE void add_panels(const struct tile_mul *m, const struct panel *p, int n_p, int col,
                            int64_t x_at, int n, float *acc, int kind, int center)
{
    int64_t ld = m->n_group * TILE_ROWS;

    (void)center;
    acc += col * TILE_ROWS;
    switch (kind) {
    case 0: add_kind_0(m, p, n_p, x_at, n, acc, ld); break;
    case 1: add_kind_1(m, p, n_p, x_at, n, acc, ld); break;
    case 2: add_kind_2(m, p, n_p, x_at, n, acc, ld); break;
    default: add_kind_3(m, p, n_p, x_at, n, acc, ld);
    }
}

enum { TOK_FLOAT = 6 };

TILE_INLINE void add_float_block(const float *w, int n_p, const float *const *x, int n_t, int n,
                                 float *acc, int64_t ld)
{
    __m512 sum[2][TOK_FLOAT];

    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++)
            sum[g][t] = _mm512_setzero_ps();
    for (int k = 0; k < n; k++)
        UNROLL for (int g = 0; g < n_p; g++) {
            __m512 v = _mm512_load_ps(w + (g * n + k) * TILE_ROWS);
            UNROLL for (int t = 0; t < n_t; t++)
                sum[g][t] = _mm512_fmadd_ps(v, _mm512_set1_ps(x[t][k]), sum[g][t]);
        }
    UNROLL for (int g = 0; g < n_p; g++)
        UNROLL for (int t = 0; t < n_t; t++) {
            float *to = acc + t * ld + g * TILE_ROWS;
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum[g][t]));
        }
}

TILE_INLINE void add_float_rows(const struct tile_mul *m, const float *w, int n_p, int64_t x_at,
                                int n, float *acc, int64_t ld)
{
    for (int64_t i = 0; i < m->n_x; i += TOK_FLOAT) {
        const float *x[TOK_FLOAT];
        int n_t = m->n_x - i < TOK_FLOAT ? (int)(m->n_x - i) : TOK_FLOAT;
        for (int t = 0; t < n_t; t++)
            x[t] = (const float *)m->x[i + t] + x_at;
        switch (n_t) {
        case 1: add_float_block(w, n_p, x, 1, n, acc + i * ld, ld); break;
        case 2: add_float_block(w, n_p, x, 2, n, acc + i * ld, ld); break;
        case 3: add_float_block(w, n_p, x, 3, n, acc + i * ld, ld); break;
        case 4: add_float_block(w, n_p, x, 4, n, acc + i * ld, ld); break;
        case 5: add_float_block(w, n_p, x, 5, n, acc + i * ld, ld); break;
        default: add_float_block(w, n_p, x, TOK_FLOAT, n, acc + i * ld, ld);
        }
    }
}

static __attribute__((noinline)) void add_floats(const struct tile_mul *m, const float *w, int n_p,
                                                 int col, int64_t x_at, int n, float *acc)
{
    int64_t ld = m->n_group * TILE_ROWS;

    if (n_p == 1)
        add_float_rows(m, w, 1, x_at, n, acc + col * TILE_ROWS, ld);
    else
        add_float_rows(m, w, 2, x_at, n, acc + col * TILE_ROWS, ld);
}

TILE_INLINE vec_f vec_float_f32(const uint8_t *p)
{
    return (vec_f)_mm512_loadu_ps((const float *)(const void *)p);
}

TILE_INLINE vec_f vec_float_f16(const uint8_t *p)
{
    return vec_half(p);
}

TILE_INLINE vec_f vec_float_bf16(const uint8_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (vec_f)_mm512_slli_epi32(v, 16);
}

#include "kernels/tile_drive.h"
#include "kernels/x86/tile_few.h"

/* Two groups side by side, because one chain of sums would wait for itself. */
#define ONE_ROW_FLOAT(id, size)                                                             \
TILE_INLINE bool direct_##id(const struct tile_mul *m)                                     \
{                                                                                           \
    const int64_t group = m->n * TILE_ROWS * (size);                                        \
                                                                                            \
    for (int g = 0; g < m->n_group && m->n_x == 1; g += 2) {                                \
        const float *x = m->x[0];                                                           \
        const uint8_t *a = m->group + g * group, *b = g + 1 < m->n_group ? a + group : a;   \
        __m512 sum_a = _mm512_setzero_ps(), sum_b = sum_a;                                  \
        for (int64_t at = 0; at < m->n; at += TILE_CHUNK) {                                 \
            int n = m->n - at < TILE_CHUNK ? (int)(m->n - at) : TILE_CHUNK;                 \
            __m512 add_a = _mm512_setzero_ps(), add_b = add_a;                              \
            for (int k = 0; k < n; k++, a += TILE_ROWS * (size), b += TILE_ROWS * (size)) { \
                __m512 v = _mm512_set1_ps(x[at + k]);                                       \
                __builtin_prefetch(a + TILE_PREFETCH_BYTES, 0, 3);                          \
                __builtin_prefetch(b + TILE_PREFETCH_BYTES, 0, 3);                          \
                add_a = _mm512_fmadd_ps((__m512)vec_float_##id(a), v, add_a);               \
                add_b = _mm512_fmadd_ps((__m512)vec_float_##id(b), v, add_b);               \
            }                                                                               \
            sum_a = _mm512_add_ps(sum_a, add_a);                                            \
            sum_b = _mm512_add_ps(sum_b, add_b);                                            \
        }                                                                                   \
        _mm512_storeu_ps(m->y[0] + g * TILE_ROWS, sum_a);                                   \
        if (g + 1 < m->n_group)                                                             \
            _mm512_storeu_ps(m->y[0] + (g + 1) * TILE_ROWS, sum_b);                         \
    }                                                                                       \
    return m->n_x == 1;                                                                     \
}
ONE_ROW_FLOAT(f32, 4)
ONE_ROW_FLOAT(f16, 2)
ONE_ROW_FLOAT(bf16, 2)

/* Up to the number of rows from which on it pays to open once: soon where that is much work. */
DIRECT(q4_0, 64) DIRECT(q4_1, 64) DIRECT(q4_k, 64) DIRECT(q8_0, 64)
DIRECT(q5_0, 8) DIRECT(q5_1, 8) DIRECT(q2_k, 8) DIRECT(q3_k, 8) DIRECT(q5_k, 8) DIRECT(q6_k, 8)

NO_DIRECT(iq4_nl) NO_DIRECT(iq4_xs) NO_DIRECT(mxfp4) NO_DIRECT(iq2_xxs) NO_DIRECT(iq2_xs)
NO_DIRECT(iq2_s) NO_DIRECT(iq3_xxs) NO_DIRECT(iq3_s) NO_DIRECT(iq1_s) NO_DIRECT(iq1_m)
NO_DIRECT(tq1_0) NO_DIRECT(tq2_0)

#define F(id) DRIVE_FLOAT(id, avx512)
#define I(id) DRIVE_INTEGER(id, avx512)
F(f32) F(f16) F(bf16)
I(q4_0) I(q4_1) I(q5_0) I(q5_1) I(q8_0) I(q2_k) I(q3_k) I(q4_k) I(q5_k) I(q6_k)
I(iq4_nl) I(iq4_xs) I(mxfp4) I(iq2_xxs) I(iq2_xs) I(iq2_s) I(iq3_xxs)
I(iq3_s) I(iq1_s) I(iq1_m) I(tq1_0) I(tq2_0)

void kernels_add_tile_avx512(struct kernels *k)
{
#define TILE(id, ...) k->mul[QTYPE_##id] = tile_mul_##id##_avx512;
#include "kernels/tile.def"
#undef TILE
}
