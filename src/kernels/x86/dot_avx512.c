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

static inline __m256 q4_0_block(__m256 sum, const struct block_q4_0 *a, const struct block_q8a *b)
{
    __m256i p = dot_u8i8_minus(nibbles32(a->qs), load32(b->q), 8);
    return add_scaled(sum, _cvtsh_ss(a->d), b, p);
}

static inline __m256 q4_1_block(__m256 sum, const struct block_q4_1 *a, const struct block_q8a *b)
{
    sum = add_scaled(sum, _cvtsh_ss(a->d), b, dot_u8i8(nibbles32(a->qs), load32(b->q)));
    return add_scaled(sum, _cvtsh_ss(a->m), b, offset_sum(b, 1));
}

static inline __m256 q5_0_block(__m256 sum, const struct block_q5_0 *a, const struct block_q8a *b)
{
    __m256i high = _mm256_maskz_mov_epi8(a->qh, _mm256_set1_epi8(16));
    __m256i p = dot_u8i8_minus(_mm256_or_si256(nibbles32(a->qs), high), load32(b->q), 16);
    return add_scaled(sum, _cvtsh_ss(a->d), b, p);
}

/* Flipping the top bit of a signed byte adds 128 and makes it unsigned. */
static inline __m256 q8_0_block(__m256 sum, const struct block_q8_0 *a, const struct block_q8a *b)
{
    const __m256i top = _mm256_set1_epi8((char)0x80);
    __m256i p = dot_u8i8_minus(_mm256_xor_si256(load32(a->q), top), load32(b->q), (char)0x80);
    return add_scaled(sum, _cvtsh_ss(a->d), b, p);
}

DOT_32(q4_0, avx512)
DOT_32(q4_1, avx512)
DOT_32(q5_0, avx512)
DOT_32(q8_0, avx512)

#include "kernels/x86/dot_offset.h"

static inline void q6_k_scales(__m512 *s, const struct block_q6_k *a)
{
    __m512 factor = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(a->scales)));
    *s = _mm512_mul_ps(factor, _mm512_set1_ps(_cvtsh_ss(a->d)));
}

static inline __m256 q6_k_part(__m256 sum, const struct block_q6_k *a, const struct block_q8a *b,
                               int j, const __m512 *s)
{
    /* Scales 2j and 2j + 1 in the low and the high four lanes. */
    __m512i at = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    at = _mm512_add_epi32(at, _mm512_set1_epi32(2 * j));
    __m256 two = _mm512_castps512_ps256(_mm512_permutexvar_ps(at, *s));
    __m256i p = dot_u8i8_minus(q6_k_values(a, j), load32(b->q), 32);
    return _mm256_fmadd_ps(_mm256_mul_ps(two, act_scales(b)), _mm256_cvtepi32_ps(p), sum);
}

DOT_256(q4_k, avx512, struct scales_min)
DOT_256(q5_k, avx512, struct scales_min)
DOT_256(q6_k, avx512, __m512)

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
