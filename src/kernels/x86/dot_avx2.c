/* dot_avx2.c - dot products with AVX2, FMA and F16C.  Reference: ../dot.c. */
#include "kernels/x86/x86.h"

/* 32 products of unsigned u (at most 128) and signed s, summed in groups of four: the 16-bit
 * sums of pairs stay below 2 * 128 * 127. */
static __m256i dot_u8i8(__m256i u, __m256i s)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
}

/* The same for two signed operands: the sign of a moves onto b, whose values are -127..127. */
static __m256i dot_i8i8(__m256i a, __m256i b)
{
    return dot_u8i8(_mm256_sign_epi8(a, a), _mm256_sign_epi8(b, a));
}

/* k * (sum of the block's q) in lane 0, zero elsewhere: what an offset of k adds. */
static __m256i offset_sum(const struct block_q8a *b, short k)
{
    int sums;

    memcpy(&sums, b->sum, 4);
    return _mm256_zextsi128_si256(_mm_madd_epi16(_mm_cvtsi32_si128(sums), _mm_set1_epi16(k)));
}

static __m256 add_scaled(__m256 sum, float scale, __m256i v)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(v), sum);
}

static float dot_q4_0_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q4_0 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        __m256i p = dot_u8i8(nibbles32(a->qs), load32(b->q));
        p = _mm256_sub_epi32(p, offset_sum(b, 8));
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale, p);
    }
    return sum_f32x8(sum);
}

static float dot_q4_1_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q4_1 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        __m256i p = dot_u8i8(nibbles32(a->qs), load32(b->q));
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale, p);
        offset = add_scaled(offset, _cvtsh_ss(a->m) * b->scale, offset_sum(b, 1));
    }
    return sum_f32x8(_mm256_add_ps(sum, offset));
}

static float dot_q5_0_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q5_0 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        __m256i q = _mm256_or_si256(nibbles32(a->qs), spread_bits32(a->qh, 16));
        __m256i p = _mm256_sub_epi32(dot_u8i8(q, load32(b->q)), offset_sum(b, 16));
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale, p);
    }
    return sum_f32x8(sum);
}

static float dot_q8_0_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q8_0 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++)
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale, dot_i8i8(load32(a->q), load32(b->q)));
    return sum_f32x8(sum);
}

static float dot_q4_k_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q4_k *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();
    float scale8[8], min8[8];

    for (; n > 0; n -= 256, a++, b += 8) {
        scales_min_k8(scale8, min8, a->scales, _cvtsh_ss(a->d), _cvtsh_ss(a->dmin));
        for (int j = 0; j < 8; j++) {
            __m256i p = dot_u8i8(q4_k_part(a->qs, j), load32(b[j].q));
            sum = add_scaled(sum, scale8[j] * b[j].scale, p);
            offset = add_scaled(offset, min8[j] * b[j].scale, offset_sum(&b[j], 1));
        }
    }
    return sum_f32x8(_mm256_sub_ps(sum, offset));
}

static float dot_q5_k_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q5_k *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();
    float scale8[8], min8[8];

    for (; n > 0; n -= 256, a++, b += 8) {
        scales_min_k8(scale8, min8, a->scales, _cvtsh_ss(a->d), _cvtsh_ss(a->dmin));
        for (int j = 0; j < 8; j++) {
            __m256i q = _mm256_or_si256(q4_k_part(a->qs, j), q5_k_high(a->qh, j));
            sum = add_scaled(sum, scale8[j] * b[j].scale, dot_u8i8(q, load32(b[j].q)));
            offset = add_scaled(offset, min8[j] * b[j].scale, offset_sum(&b[j], 1));
        }
    }
    return sum_f32x8(_mm256_sub_ps(sum, offset));
}

/* The 8-bit scales 2j and 2j + 1 as 16-bit factors of the low and the high 128 bits. */
static __m256i two_scales(__m128i scales, int j)
{
    const __m128i first = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __m128i at = _mm_add_epi8(first, _mm_set1_epi8((char)(2 * j)));
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, at));
}

static float dot_q6_k_avx2(const void *w, const void *x, int64_t n)
{
    const struct block_q6_k *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 256, a++, b += 8) {
        __m128i scales = load16(a->scales);
        float d = _cvtsh_ss(a->d);
        for (int j = 0; j < 8; j++) {
            __m256i q = _mm256_sub_epi8(q6_k_part(a, j), _mm256_set1_epi8(32));
            __m256i pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(q, q),
                                                 _mm256_sign_epi8(load32(b[j].q), q));
            sum = add_scaled(sum, d * b[j].scale, _mm256_madd_epi16(pairs, two_scales(scales, j)));
        }
    }
    return sum_f32x8(sum);
}

/* Four independent sums hide the latency of the multiply-add; the order is fixed by n. */
#define DOT_FLOAT(id, bytes, LOAD8, ONE)                                                \
static float dot_##id##_avx2(const void *w, const void *x, int64_t n)                   \
{                                                                                       \
    const uint8_t *a = w;                                                               \
    const float *b = x;                                                                 \
    __m256 s[4] = { _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),      \
                    _mm256_setzero_ps() };                                              \
    float tail = 0;                                                                     \
    int64_t i = 0;                                                                      \
                                                                                        \
    for (; i + 32 <= n; i += 32)                                                        \
        for (int j = 0; j < 4; j++)                                                     \
            s[j] = _mm256_fmadd_ps(LOAD8(a + (i + 8 * j) * (bytes)),                    \
                                   _mm256_loadu_ps(b + i + 8 * j), s[j]);               \
    for (; i + 8 <= n; i += 8)                                                          \
        s[0] = _mm256_fmadd_ps(LOAD8(a + i * (bytes)), _mm256_loadu_ps(b + i), s[0]);   \
    for (; i < n; i++)                                                                  \
        tail += ONE(a + i * (bytes)) * b[i];                                            \
    s[0] = _mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3]));         \
    return sum_f32x8(s[0]) + tail;                                                      \
}

static __m256 load_f32x8(const void *p)
{
    return _mm256_loadu_ps(p);
}

static float one_f32(const void *p)
{
    float f;
    memcpy(&f, p, 4);
    return f;
}

static float one_f16(const void *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _cvtsh_ss(h);
}

static float one_bf16(const void *p)
{
    uint32_t bits = 0;
    float f;
    memcpy((uint8_t *)&bits + 2, p, 2);
    memcpy(&f, &bits, 4);
    return f;
}

DOT_FLOAT(f32, 4, load_f32x8, one_f32)
DOT_FLOAT(f16, 2, half_to_f32x8, one_f16)
DOT_FLOAT(bf16, 2, bf16_to_f32x8, one_bf16)

void kernels_add_dot_avx2(struct kernels *k)
{
    k->dot[QTYPE_f32] = dot_f32_avx2;
    k->dot[QTYPE_f16] = dot_f16_avx2;
    k->dot[QTYPE_bf16] = dot_bf16_avx2;
    k->dot[QTYPE_q4_0] = dot_q4_0_avx2;
    k->dot[QTYPE_q4_1] = dot_q4_1_avx2;
    k->dot[QTYPE_q5_0] = dot_q5_0_avx2;
    k->dot[QTYPE_q8_0] = dot_q8_0_avx2;
    k->dot[QTYPE_q4_k] = dot_q4_k_avx2;
    k->dot[QTYPE_q5_k] = dot_q5_k_avx2;
    k->dot[QTYPE_q6_k] = dot_q6_k_avx2;
}
