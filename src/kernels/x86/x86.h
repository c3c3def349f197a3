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

#endif
