/* peak_avx2.c - the peaks of AVX2 and FMA: eight running sums hide the latency of four cycles on
 * two units.  Reference: ../peak.c. */
#include "kernels/peak.h"

#include <immintrin.h>
#include <stdbool.h>

enum { SUMS = 8, INT8_OPS = 2 * 32, F32_OPS = 2 * 8 };

/* maddubs adds pairs of products into 16 bits, madd pairs of those into 32. */
static int64_t mul_int8_avx2(int64_t n, double *sum)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[SUMS], x = _mm256_set1_epi8(1);
    int64_t rounds = (n + SUMS * INT8_OPS - 1) / (SUMS * INT8_OPS);
    int32_t lane[8];

    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm256_setzero_si256();
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++) {
            __asm__ volatile("" : "+x"(x));
            __m256i pairs = _mm256_maddubs_epi16(x, x);
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
        }
    *sum = 0;
    for (int i = 0; i < SUMS; i++) {
        _mm256_storeu_si256((void *)lane, acc[i]);
        for (int k = 0; k < 8; k++)
            *sum += lane[k];
    }
    return rounds * SUMS * INT8_OPS;
}

static int64_t mul_f32_avx2(int64_t n, double *sum)
{
    __m256 acc[SUMS], x = _mm256_set1_ps(1);
    int64_t rounds = (n + SUMS * F32_OPS - 1) / (SUMS * F32_OPS);
    float lane[8];

    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm256_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+x"(x));
#pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++)
            acc[i] = _mm256_fmadd_ps(x, x, acc[i]);
    }
    *sum = 0;
    for (int i = 0; i < SUMS; i++) {
        _mm256_storeu_ps(lane, acc[i]);
        for (int k = 0; k < 8; k++)
            *sum += (double)lane[k];
    }
    return rounds * SUMS * F32_OPS;
}

static inline uint64_t read_lines(const void *p, size_t bytes, bool ahead)
{
    const char *at = p, *end = at + bytes;
    __m256i x[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                     _mm256_setzero_si256() };
    uint64_t word[4];

    for (; at < end; at += 128) {
        if (ahead) {
            _mm_prefetch(at + PEAK_AHEAD, _MM_HINT_T0);
            _mm_prefetch(at + PEAK_AHEAD + 64, _MM_HINT_T0);
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            x[k] = _mm256_xor_si256(x[k], _mm256_load_si256((const void *)(at + 32 * k)));
    }
    x[0] = _mm256_xor_si256(_mm256_xor_si256(x[0], x[1]), _mm256_xor_si256(x[2], x[3]));
    _mm256_storeu_si256((void *)word, x[0]);
    return word[0] ^ word[1] ^ word[2] ^ word[3];
}

static uint64_t read_avx2(const void *p, size_t bytes)
{
    return read_lines(p, bytes, false);
}

static uint64_t read_ahead_avx2(const void *p, size_t bytes)
{
    return read_lines(p, bytes, true);
}

void peaks_add_avx2(struct peaks *p)
{
    p->mul[PEAK_int8] = mul_int8_avx2;
    p->mul[PEAK_f32] = mul_f32_avx2;
    p->read = read_avx2;
    p->read_ahead = read_ahead_avx2;
}
