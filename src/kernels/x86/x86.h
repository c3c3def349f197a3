/* x86.h - small steps that several AVX2 kernels share. */
#ifndef KERNELS_X86_H
#define KERNELS_X86_H

#include "kernels/blocks.h"
#include "kernels/blocks_act.h"
#include "kernels/ref.h"
#include "kernels/unpack.h"

#include <immintrin.h>
#include <string.h>

/* Before a loop of constant length whose index selects registers or shifts. */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* All eight lanes, added in one fixed order. */
static inline float sum_f32x8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __m128i load16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256 half_to_f32x8(const void *p)
{
    return _mm256_cvtph_ps(load16(p));
}

static inline __m256 bf16_to_f32x8(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16));
}

/* 16 bytes as 32 values 0..15 in element order: low nibbles, then high nibbles. */
static inline __m256i nibbles32(const void *p)
{
    __m128i packed = load16(p);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(packed, 4), packed);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* 32 bits as 32 bytes: `value` where the bit is set, else 0. */
static inline __m256i spread_bits32(uint32_t bits, char value)
{
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                            0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte);
    __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
    return _mm256_and_si256(set, _mm256_set1_epi8(value));
}

/* What the parts of q4_k and q5_k share: w = scale * q + offset. */
struct scales_min { float scale[8], offset[8]; };

/* The eight scales and minima of a q4_k or q5_k block, multiplied out. */
static inline void scales_min_k8(struct scales_min *out, const uint8_t *packed, float d,
                                 float dmin)
{
    uint32_t a, b, c;
    uint64_t sc, mn;

    memcpy(&a, packed, 4);
    memcpy(&b, packed + 4, 4);
    memcpy(&c, packed + 8, 4);
    /* Four bytes at a time: unpack.h's scale_min_k() for j < 4 and for j >= 4. */
    sc = (uint64_t)((c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4) << 32 | (a & 0x3f3f3f3f);
    mn = (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4) << 32 | (b & 0x3f3f3f3f);
    __m256i sc32 = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)sc));
    __m256i mn32 = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)mn));
    _mm256_storeu_ps(out->scale, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(sc32)));
    _mm256_storeu_ps(out->offset, _mm256_mul_ps(_mm256_set1_ps(-dmin), _mm256_cvtepi32_ps(mn32)));
}

/* 32 elements of q6_k as values 0..63; `part` is i / 32, 0..7. */
static inline __m256i q6_k_values(const struct block_q6_k *b, int part)
{
    int half = part / 4, t = part % 4;
    __m256i low = load32(b->ql + 64 * half + 32 * (t & 1));
    __m256i high = load32(b->qh + 32 * half);

    low = _mm256_and_si256(t < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    high = t == 0 ? _mm256_slli_epi16(high, 4) : t == 1 ? _mm256_slli_epi16(high, 2) :
           t == 2 ? high : _mm256_srli_epi16(high, 2);
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
}

/* 32 elements of q4_k or q5_k's nibbles, 0..15; `part` is i / 32, 0..7. */
static inline __m256i q4_k_nibbles(const uint8_t *qs, int part)
{
    __m256i v = load32(qs + 32 * (part / 2));
    return _mm256_and_si256(part & 1 ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

/* 32 bytes that are `value` where bit `part` of p's byte is set, else 0: the high bits of q5_k
 * and q3_k. */
static inline __m256i bit_of_part(const uint8_t *p, int part, char value)
{
    __m256i bit = _mm256_set1_epi8((char)(1 << part)), v = load32(p);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit),
                            _mm256_set1_epi8(value));
}

/* 32 elements of q2_k or q3_k's low bits, 0..3; `part` is i / 32, 0..7. */
static inline __m256i two_bits_part(const uint8_t *qs, int part)
{
    __m256i v = _mm256_srli_epi16(load32(qs + part / 4 * 32), part % 4 * 2);
    return _mm256_and_si256(v, _mm256_set1_epi8(3));
}

/* The scales of activations as the sums of their products lie: half 0's in the low four lanes,
 * half 1's in the high four. */
static inline __m256 act_scales(const struct block_q8a *b)
{
    long long two;

    memcpy(&two, b->scale, 8);
    return _mm256_permutevar_ps(_mm256_castsi256_ps(_mm256_set1_epi64x(two)),
                                _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* Both halves' scales, times the weights' `scale`, times v, which has four lanes of each half. */
static inline __m256 add_scaled(__m256 sum, float scale, const struct block_q8a *b, __m256i v)
{
    __m256 s = _mm256_mul_ps(_mm256_set1_ps(scale), act_scales(b));
    return _mm256_fmadd_ps(s, _mm256_cvtepi32_ps(v), sum);
}

/* A lane for each half and zero in the others: the half's sum of q times its 16 bits of k, half
 * 0's being the low ones; what an offset adds. */
static inline __m256i half_sums(const struct block_q8a *b, int k)
{
    const __m256i mine = _mm256_setr_epi32(0xffff, 0, 0, 0, (int)0xffff0000, 0, 0, 0);
    int sums;

    memcpy(&sums, b->sum, 4);
    return _mm256_madd_epi16(_mm256_set1_epi32(sums), _mm256_and_si256(_mm256_set1_epi32(k), mine));
}

/* The same with one k for both halves. */
static inline __m256i offset_sum(const struct block_q8a *b, short k)
{
    return half_sums(b, k * 0x10001);
}

/* A product from `id`_block(sum, a, b), which adds one block of 32.  Four independent sums hide
 * the latency of the multiply-add; which one a block goes to depends on n alone. */
#define DOT_32(id, isa)                                                                 \
static float dot_##id##_##isa(const void *w, const void *x, int64_t n)                  \
{                                                                                       \
    const struct block_##id *a = w;                                                     \
    const struct block_q8a *b = x;                                                      \
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                         \
                                                                                        \
    for (; n >= 128; n -= 128, a += 4, b += 4) {                                        \
        s0 = id##_block(s0, a, b);                                                      \
        s1 = id##_block(s1, a + 1, b + 1);                                              \
        s2 = id##_block(s2, a + 2, b + 2);                                              \
        s3 = id##_block(s3, a + 3, b + 3);                                              \
    }                                                                                   \
    for (; n > 0; n -= 32, a++, b++)                                                    \
        s0 = id##_block(s0, a, b);                                                      \
    return sum_f32x8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));      \
}

/* The same from `id`_part(sum, a, b, j, scales), which adds elements 32j .. 32j+31 of a block
 * of 256, after `id`_scales(scales, a) has unpacked what the eight parts share. */
#define DOT_256(id, isa, scales_type)                                                   \
static float dot_##id##_##isa(const void *w, const void *x, int64_t n)                  \
{                                                                                       \
    const struct block_##id *a = w;                                                     \
    const struct block_q8a *b = x;                                                      \
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                         \
    scales_type scales;                                                                 \
                                                                                        \
    for (; n > 0; n -= 256, a++, b += 8) {                                              \
        id##_scales(&scales, a);                                                        \
        UNROLL for (int j = 0; j < 8; j += 4) {                                         \
            s0 = id##_part(s0, a, b + j, j, &scales);                                   \
            s1 = id##_part(s1, a, b + j + 1, j + 1, &scales);                           \
            s2 = id##_part(s2, a, b + j + 2, j + 2, &scales);                           \
            s3 = id##_part(s3, a, b + j + 3, j + 3, &scales);                           \
        }                                                                               \
    }                                                                                   \
    return sum_f32x8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));      \
}

#endif
