/* tile_avx2.c - products with tiles, with AVX2 and FMA.  Reference: ../tile_ref.c.
 *
 * A vector is four elements of 8 rows.  maddubs adds two products of an unsigned weight and a
 * signed activation in 16 bits.  Weights of up to five bits leave room for four such pairs,
 * weights of six bits for two; signed ones give their sign to the activation, and fill the room.
 */
#include <immintrin.h>

#define VEC_BYTES 32
#include "kernels/tile_open.h"
#include "kernels/x86/x86.h"

TILE_INLINE vec_f vec_half(const uint8_t *p)
{
    return (vec_f)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

TILE_INLINE vec_u vec_bytes(const uint8_t *p)
{
    return (vec_u)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

TILE_INLINE vec_u vec_place(vec_u v, unsigned center)
{
    (void)center;
    return v;
}

TILE_INLINE vec_u vec_shuffle(vec_u v, vec_u at)
{
    return (vec_u)_mm256_shuffle_epi8((__m256i)v, (__m256i)at);
}
#define vec_shuffle vec_shuffle
#include "kernels/tile_open_iq.h"

enum { TOK = 4 };

/* How wide a stored number is: up to 5 bits, 6 bits, signed bytes. */
enum width { NARROW, WIDE, SIGNED };

TILE_INLINE __m256i words(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

/* Sixteen products in each lane's row. */
TILE_INLINE __m256i sum16(const __m256i w[4], const int8_t *x, enum width width)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i m[4];

    UNROLL for (int i = 0; i < 4; i++) {
        __m256i a = words(x + 4 * i);
        m[i] = width == SIGNED ? _mm256_maddubs_epi16(_mm256_sign_epi8(w[i], w[i]),
                                                      _mm256_sign_epi8(a, w[i])) :
                                 _mm256_maddubs_epi16(w[i], a);
    }
    if (width == SIGNED) {
        UNROLL for (int i = 0; i < 4; i++)
            m[i] = _mm256_madd_epi16(m[i], one);
        return _mm256_add_epi32(_mm256_add_epi32(m[0], m[1]), _mm256_add_epi32(m[2], m[3]));
    }
    m[0] = _mm256_add_epi16(m[0], m[1]);
    m[2] = _mm256_add_epi16(m[2], m[3]);
    if (width == NARROW)
        return _mm256_madd_epi16(_mm256_add_epi16(m[0], m[2]), one);
    return _mm256_add_epi32(_mm256_madd_epi16(m[0], one), _mm256_madd_epi16(m[2], one));
}

/* Rows r .. r + 7 of a panel times n_t activation rows, a constant.  `shift` makes of a block's
 * bias the center times the sum. */
TILE_INLINE void add_block(const struct panel *p, int r, const struct block_q8a *const *x, int n_t,
                           int n_block, float *acc, int64_t ld, int kind, enum width width,
                           __m128i shift)
{
    __m256 sum[TOK];

    UNROLL for (int t = 0; t < n_t; t++)
        sum[t] = _mm256_loadu_ps(acc + t * ld);
    for (int b = 0; b < n_block; b++) {
        __m256 half[TOK];
        UNROLL for (int h = 0; h < 2; h++) {
            int s = kind & 1 ? 2 * b + h : b;
            __m256i w[4];
            UNROLL for (int i = 0; i < 4; i++)
                w[i] = load32(p->q[8 * b + 4 * h + i][r]);
            UNROLL for (int t = 0; t < n_t; t++) {
                __m256i d = sum16(w, x[t][b].q + 16 * h, width);
                __m256 scale = _mm256_set1_ps(x[t][b].scale[h]);
                if (width != SIGNED && !(kind & 2))
                    d = _mm256_add_epi32(d, _mm256_sra_epi32(_mm256_set1_epi32(x[t][b].bias[h]),
                                                             shift));
                __m256 f = _mm256_cvtepi32_ps(d);
                if (kind & 1)
                    sum[t] = _mm256_fmadd_ps(_mm256_loadu_ps(p->scale[s] + r),
                                             _mm256_mul_ps(f, scale), sum[t]);
                else
                    half[t] = h ? _mm256_fmadd_ps(f, scale, half[t]) : _mm256_mul_ps(f, scale);
                if (kind == 3)
                    sum[t] = _mm256_fmadd_ps(_mm256_loadu_ps(p->offset[s] + r),
                                             _mm256_set1_ps(x[t][b].sum[h]), sum[t]);
            }
        }
        if (kind & 1)
            continue;
        __m256 scale = _mm256_loadu_ps(p->scale[b] + r);
        UNROLL for (int t = 0; t < n_t; t++) {
            sum[t] = _mm256_fmadd_ps(scale, half[t], sum[t]);
            if (kind & 2)
                sum[t] = _mm256_fmadd_ps(_mm256_loadu_ps(p->offset[b] + r),
                                         _mm256_set1_ps(x[t][b].sum32), sum[t]);
        }
    }
    UNROLL for (int t = 0; t < n_t; t++)
        _mm256_storeu_ps(acc + t * ld, sum[t]);
}

TILE_INLINE void add_rows(const struct tile_mul *m, const struct panel *p, int n_p, int64_t x_at,
                          int n, float *acc, int kind, enum width width, int center)
{
    int64_t ld = m->n_group * TILE_ROWS;
    __m128i shift = _mm_cvtsi32_si128(center ? 7 - __builtin_ctz((unsigned)center) : 0);

    for (int64_t i = 0; i < m->n_x; i += TOK) {
        const struct block_q8a *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const struct block_q8a *)m->x[i + t] + x_at / 32;
        for (int r = 0; r < n_p * TILE_ROWS; r += VEC_ROWS) {
            const struct panel *from = p + r / TILE_ROWS;
            float *to = acc + i * ld + r;
            int n_b = n / 32, row = r % TILE_ROWS;
            switch (n_t) {
            case 1: add_block(from, row, x, 1, n_b, to, ld, kind, width, shift); break;
            case 2: add_block(from, row, x, 2, n_b, to, ld, kind, width, shift); break;
            case 3: add_block(from, row, x, 3, n_b, to, ld, kind, width, shift); break;
            default: add_block(from, row, x, TOK, n_b, to, ld, kind, width, shift);
            }
        }
    }
}

#define ADD(kind, width)                                                                    \
static __attribute__((noinline)) void add_##kind##_##width(const struct tile_mul *m,        \
    const struct panel *p, int n_p, int64_t x_at, int n, float *acc, int center)            \
{                                                                                           \
    add_rows(m, p, n_p, x_at, n, acc, kind, width, center);                                 \
}
ADD(0, NARROW)
ADD(0, SIGNED)
ADD(1, NARROW)
ADD(1, WIDE)
ADD(1, SIGNED)
ADD(2, NARROW)
ADD(2, SIGNED)
ADD(3, NARROW)
ADD(3, SIGNED)

/* Types of six bits have a scale per 16; types with an offset have no center. */
TILE_INLINE void add_panels(const struct tile_mul *m, const struct panel *p, int n_p, int col,
                            int64_t x_at, int n, float *acc, int kind, int center)
{
    acc += col * TILE_ROWS;
    if (center == 128)
        (kind == 0 ? add_0_SIGNED : kind == 1 ? add_1_SIGNED : kind == 2 ? add_2_SIGNED :
         add_3_SIGNED)(m, p, n_p, x_at, n, acc, center);
    else if (center == 32)
        add_1_WIDE(m, p, n_p, x_at, n, acc, center);
    else
        (kind == 0 ? add_0_NARROW : kind == 1 ? add_1_NARROW : kind == 2 ? add_2_NARROW :
         add_3_NARROW)(m, p, n_p, x_at, n, acc, center);
}

TILE_INLINE void add_float_block(const float *w, const float *const *x, int n_t, int n, float *acc,
                                 int64_t ld)
{
    __m256 sum[2][TOK];

    UNROLL for (int t = 0; t < n_t; t++)
        sum[0][t] = sum[1][t] = _mm256_setzero_ps();
    for (int k = 0; k < n; k++) {
        __m256 a = _mm256_loadu_ps(w + k * TILE_ROWS), b = _mm256_loadu_ps(w + k * TILE_ROWS + 8);
        UNROLL for (int t = 0; t < n_t; t++) {
            __m256 v = _mm256_set1_ps(x[t][k]);
            sum[0][t] = _mm256_fmadd_ps(a, v, sum[0][t]);
            sum[1][t] = _mm256_fmadd_ps(b, v, sum[1][t]);
        }
    }
    UNROLL for (int t = 0; t < n_t; t++)
        UNROLL for (int h = 0; h < 2; h++) {
            float *to = acc + t * ld + 8 * h;
            _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum[h][t]));
        }
}

static __attribute__((noinline)) void add_floats(const struct tile_mul *m, const float *w, int n_p,
                                                 int col, int64_t x_at, int n, float *acc)
{
    int64_t ld = m->n_group * TILE_ROWS;

    for (int64_t i = 0; i < m->n_x; i += TOK) {
        const float *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const float *)m->x[i + t] + x_at;
        for (int g = 0; g < n_p; g++) {
            const float *from = w + g * n * TILE_ROWS;
            float *to = acc + i * ld + (col + g) * TILE_ROWS;
            switch (n_t) {
            case 1: add_float_block(from, x, 1, n, to, ld); break;
            case 2: add_float_block(from, x, 2, n, to, ld); break;
            case 3: add_float_block(from, x, 3, n, to, ld); break;
            default: add_float_block(from, x, TOK, n, to, ld);
            }
        }
    }
}

TILE_INLINE vec_f vec_float_f32(const uint8_t *p)
{
    return (vec_f)_mm256_loadu_ps((const float *)(const void *)p);
}

TILE_INLINE vec_f vec_float_f16(const uint8_t *p)
{
    return vec_half(p);
}

TILE_INLINE vec_f vec_float_bf16(const uint8_t *p)
{
    return (vec_f)bf16_to_f32x8(p);
}

#include "kernels/tile_drive.h"

#define F(id) NO_DIRECT(id) DRIVE_FLOAT(id, avx2)
#define I(id) NO_DIRECT(id) DRIVE_INTEGER(id, avx2)
F(f32) F(f16) F(bf16)
I(q4_0) I(q4_1) I(q5_0) I(q5_1) I(q8_0) I(q2_k) I(q3_k) I(q4_k) I(q5_k) I(q6_k)
I(iq4_nl) I(iq4_xs) I(mxfp4) I(iq2_xxs) I(iq2_xs) I(iq2_s) I(iq3_xxs)
I(iq3_s) I(iq1_s) I(iq1_m) I(tq1_0) I(tq2_0)

void kernels_add_tile_avx2(struct kernels *k)
{
#define TILE(id, ...) k->mul[QTYPE_##id] = tile_mul_##id##_avx2;
#include "kernels/tile.def"
#undef TILE
}
