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

static inline __m256 q4_0_block(__m256 sum, const struct block_q4_0 *a, const struct block_q8a *b)
{
    __m256i p = dot_u8i8(nibbles32(a->qs), load32(b->q));
    return add_scaled(sum, _cvtsh_ss(a->d), b, _mm256_sub_epi32(p, offset_sum(b, 8)));
}

static inline __m256 q4_1_block(__m256 sum, const struct block_q4_1 *a, const struct block_q8a *b)
{
    __m256i p = dot_u8i8(nibbles32(a->qs), load32(b->q));
    sum = add_scaled(sum, _cvtsh_ss(a->d), b, p);
    return add_scaled(sum, _cvtsh_ss(a->m), b, offset_sum(b, 1));
}

static inline __m256 q5_0_block(__m256 sum, const struct block_q5_0 *a, const struct block_q8a *b)
{
    __m256i q = _mm256_or_si256(nibbles32(a->qs), spread_bits32(a->qh, 16));
    __m256i p = _mm256_sub_epi32(dot_u8i8(q, load32(b->q)), offset_sum(b, 16));
    return add_scaled(sum, _cvtsh_ss(a->d), b, p);
}

static inline __m256 q5_1_block(__m256 sum, const struct block_q5_1 *a, const struct block_q8a *b)
{
    __m256i q = _mm256_or_si256(nibbles32(a->qs), spread_bits32(a->qh, 16));
    sum = add_scaled(sum, _cvtsh_ss(a->d), b, dot_u8i8(q, load32(b->q)));
    return add_scaled(sum, _cvtsh_ss(a->m), b, offset_sum(b, 1));
}

static inline __m256 q8_0_block(__m256 sum, const struct block_q8_0 *a, const struct block_q8a *b)
{
    return add_scaled(sum, _cvtsh_ss(a->d), b, dot_i8i8(load32(a->q), load32(b->q)));
}

DOT_32(q4_0, avx2)
DOT_32(q4_1, avx2)
DOT_32(q5_0, avx2)
DOT_32(q5_1, avx2)
DOT_32(q8_0, avx2)

#include "kernels/x86/dot_offset.h"

/* The block's scale and its sixteen 8-bit factors. */
struct factors { float d; __m128i factor; };

/* Factors 2j and 2j + 1 as 16-bit numbers in the low and the high 128 bits. */
static inline __m256i two_factors(__m128i factor, int j)
{
    __m128i at = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    at = _mm_add_epi8(at, _mm_set1_epi8((char)(2 * j)));
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(factor, at));
}

/* 32 products of signed q with x, each half of them times its factor. */
static inline __m256i dot_factors(__m256i q, __m256i x, __m128i factor, int j)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(q, q), _mm256_sign_epi8(x, q));
    return _mm256_madd_epi16(pairs, two_factors(factor, j));
}

static inline void q6_k_scales(struct factors *s, const struct block_q6_k *a)
{
    s->d = _cvtsh_ss(a->d);
    s->factor = load16(a->scales);
}

static inline __m256 q6_k_part(__m256 sum, const struct block_q6_k *a, const struct block_q8a *b,
                               int j, const struct factors *s)
{
    __m256i q = _mm256_sub_epi8(q6_k_values(a, j), _mm256_set1_epi8(32));
    return add_scaled(sum, s->d, b, dot_factors(q, load32(b->q), s->factor, j));
}

/* Four of the sixteen 6-bit factors at a time, as unpack_q3_k() takes them one by one. */
static inline void q3_k_scales(struct factors *s, const struct block_q3_k *a)
{
    uint32_t lo, hi, top, f[4];

    memcpy(&lo, a->scales, 4);
    memcpy(&hi, a->scales + 4, 4);
    memcpy(&top, a->scales + 8, 4);
    f[0] = (lo & 0x0f0f0f0f) | (top & 0x03030303) << 4;
    f[1] = (hi & 0x0f0f0f0f) | (top >> 2 & 0x03030303) << 4;
    f[2] = (lo >> 4 & 0x0f0f0f0f) | (top >> 4 & 0x03030303) << 4;
    f[3] = (hi >> 4 & 0x0f0f0f0f) | (top >> 6 & 0x03030303) << 4;
    s->d = _cvtsh_ss(a->d);
    s->factor = _mm_sub_epi8(load16(f), _mm_set1_epi8(32));
}

static inline __m256 q3_k_part(__m256 sum, const struct block_q3_k *a, const struct block_q8a *b,
                               int j, const struct factors *s)
{
    __m256i q = _mm256_or_si256(two_bits_part(a->qs, j), bit_of_part(a->hmask, j, 4));
    q = _mm256_sub_epi8(q, _mm256_set1_epi8(4));
    return add_scaled(sum, s->d, b, dot_factors(q, load32(b->q), s->factor, j));
}

struct scales_q2_k { float d, dmin; __m128i factor; int16_t min[16]; };

static inline void q2_k_scales(struct scales_q2_k *s, const struct block_q2_k *a)
{
    __m128i v = load16(a->scales), mask = _mm_set1_epi8(15);

    s->d = _cvtsh_ss(a->d);
    s->dmin = _cvtsh_ss(a->dmin);
    s->factor = _mm_and_si128(v, mask);
    _mm256_storeu_si256((__m256i *)(void *)s->min,
                        _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(v, 4), mask)));
}

static inline __m256 q2_k_part(__m256 sum, const struct block_q2_k *a, const struct block_q8a *b,
                               int j, const struct scales_q2_k *s)
{
    __m256i pairs = _mm256_maddubs_epi16(two_bits_part(a->qs, j), load32(b->q));
    __m256i p = _mm256_madd_epi16(pairs, two_factors(s->factor, j));
    int mins;

    memcpy(&mins, &s->min[2 * j], 4);
    sum = add_scaled(sum, s->d, b, p);
    return add_scaled(sum, -s->dmin, b, half_sums(b, mins));
}

DOT_256(q2_k, avx2, struct scales_q2_k)
DOT_256(q3_k, avx2, struct factors)
DOT_256(q4_k, avx2, struct scales_min)
DOT_256(q5_k, avx2, struct scales_min)
DOT_256(q6_k, avx2, struct factors)

/* A product of floats, with the sums as in DOT_32. */
#define DOT_FLOAT(id, bytes, LOAD8, ONE)                                                \
static float dot_##id##_avx2(const void *w, const void *x, int64_t n)                   \
{                                                                                       \
    const uint8_t *a = w;                                                               \
    const float *b = x;                                                                 \
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                         \
    float tail = 0;                                                                     \
                                                                                        \
    for (; n >= 32; n -= 32, a += 32 * (bytes), b += 32) {                              \
        s0 = _mm256_fmadd_ps(LOAD8(a), _mm256_loadu_ps(b), s0);                         \
        s1 = _mm256_fmadd_ps(LOAD8(a + 8 * (bytes)), _mm256_loadu_ps(b + 8), s1);       \
        s2 = _mm256_fmadd_ps(LOAD8(a + 16 * (bytes)), _mm256_loadu_ps(b + 16), s2);     \
        s3 = _mm256_fmadd_ps(LOAD8(a + 24 * (bytes)), _mm256_loadu_ps(b + 24), s3);     \
    }                                                                                   \
    for (; n >= 8; n -= 8, a += 8 * (bytes), b += 8)                                    \
        s0 = _mm256_fmadd_ps(LOAD8(a), _mm256_loadu_ps(b), s0);                         \
    for (; n > 0; n--, a += (bytes), b++)                                               \
        tail += ONE(a) * *b;                                                            \
    s0 = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));                   \
    return sum_f32x8(s0) + tail;                                                        \
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
    k->dot[QTYPE_q5_1] = dot_q5_1_avx2;
    k->dot[QTYPE_q8_0] = dot_q8_0_avx2;
    k->dot[QTYPE_q2_k] = dot_q2_k_avx2;
    k->dot[QTYPE_q3_k] = dot_q3_k_avx2;
    k->dot[QTYPE_q4_k] = dot_q4_k_avx2;
    k->dot[QTYPE_q5_k] = dot_q5_k_avx2;
    k->dot[QTYPE_q6_k] = dot_q6_k_avx2;
}
