/* dot_avx512.c - dot products with AVX-512 VNNI on 256-bit vectors.  Reference: ../dot.c.
 *
 * dpbusd multiplies unsigned by signed bytes and adds groups of four in one instruction.
 * A constant subtracted from the unsigned side is a second dpbusd with that constant. */
#include "kernels/x86/x86.h"

static __m256i dot_u8i8(__m256i u, __m256i s)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s);
}

static __m256i dot_u8i8_minus(__m256i u, __m256i s, char k)
{
    return _mm256_sub_epi32(dot_u8i8(u, s), dot_u8i8(_mm256_set1_epi8(k), s));
}

static __m256i offset_sum(const struct block_q8a *b)
{
    int sums;

    memcpy(&sums, b->sum, 4);
    return _mm256_zextsi128_si256(_mm_madd_epi16(_mm_cvtsi32_si128(sums), _mm_set1_epi16(1)));
}

static __m256 add_scaled(__m256 sum, float scale, __m256i v)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(v), sum);
}

static float dot_q4_0_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q4_0 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++)
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale,
                         dot_u8i8_minus(nibbles32(a->qs), load32(b->q), 8));
    return sum_f32x8(sum);
}

static float dot_q4_1_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q4_1 *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale,
                         dot_u8i8(nibbles32(a->qs), load32(b->q)));
        offset = add_scaled(offset, _cvtsh_ss(a->m) * b->scale, offset_sum(b));
    }
    return sum_f32x8(_mm256_add_ps(sum, offset));
}

static float dot_q5_0_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q5_0 *a = w;
    const struct block_q8a *b = x;
    const __m256i bit = _mm256_set1_epi8(16);
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        __m256i q = _mm256_or_si256(nibbles32(a->qs), _mm256_maskz_mov_epi8(a->qh, bit));
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale, dot_u8i8_minus(q, load32(b->q), 16));
    }
    return sum_f32x8(sum);
}

/* Flipping the top bit of a signed byte adds 128 and makes it unsigned. */
static float dot_q8_0_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q8_0 *a = w;
    const struct block_q8a *b = x;
    const __m256i top = _mm256_set1_epi8((char)0x80);
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 32, a++, b++) {
        __m256i u = _mm256_xor_si256(load32(a->q), top);
        sum = add_scaled(sum, _cvtsh_ss(a->d) * b->scale,
                         dot_u8i8_minus(u, load32(b->q), (char)0x80));
    }
    return sum_f32x8(sum);
}

static float dot_q4_k_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q4_k *a = w;
    const struct block_q8a *b = x;
    __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();
    float scale8[8], min8[8];

    for (; n > 0; n -= 256, a++, b += 8) {
        scales_min_k8(scale8, min8, a->scales, _cvtsh_ss(a->d), _cvtsh_ss(a->dmin));
        for (int j = 0; j < 8; j++) {
            sum = add_scaled(sum, scale8[j] * b[j].scale,
                             dot_u8i8(q4_k_part(a->qs, j), load32(b[j].q)));
            offset = add_scaled(offset, min8[j] * b[j].scale, offset_sum(&b[j]));
        }
    }
    return sum_f32x8(_mm256_sub_ps(sum, offset));
}

static float dot_q5_k_avx512(const void *w, const void *x, int64_t n)
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
            offset = add_scaled(offset, min8[j] * b[j].scale, offset_sum(&b[j]));
        }
    }
    return sum_f32x8(_mm256_sub_ps(sum, offset));
}

static float dot_q6_k_avx512(const void *w, const void *x, int64_t n)
{
    const struct block_q6_k *a = w;
    const struct block_q8a *b = x;
    const __m512i four = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m256 sum = _mm256_setzero_ps();

    for (; n > 0; n -= 256, a++, b += 8) {
        __m512 scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(a->scales)));
        scales = _mm512_mul_ps(scales, _mm512_set1_ps(_cvtsh_ss(a->d)));
        for (int j = 0; j < 8; j++) {
            __m512i at = _mm512_add_epi32(four, _mm512_set1_epi32(2 * j));
            __m256 two = _mm512_castps512_ps256(_mm512_permutexvar_ps(at, scales));
            __m256i p = dot_u8i8_minus(q6_k_part(a, j), load32(b[j].q), 32);
            two = _mm256_mul_ps(two, _mm256_set1_ps(b[j].scale));
            sum = _mm256_fmadd_ps(two, _mm256_cvtepi32_ps(p), sum);
        }
    }
    return sum_f32x8(sum);
}

void kernels_add_dot_avx512(struct kernels *k)
{
    k->dot[QTYPE_q4_0] = dot_q4_0_avx512;
    k->dot[QTYPE_q4_1] = dot_q4_1_avx512;
    k->dot[QTYPE_q5_0] = dot_q5_0_avx512;
    k->dot[QTYPE_q8_0] = dot_q8_0_avx512;
    k->dot[QTYPE_q4_k] = dot_q4_k_avx512;
    k->dot[QTYPE_q5_k] = dot_q5_k_avx512;
    k->dot[QTYPE_q6_k] = dot_q6_k_avx512;
}
