/* peak_avx512.c - the peaks of AVX-512 with VNNI.  Reference: ../peak.c. */
#include "kernels/peak.h"

#include <immintrin.h>
#include <stdbool.h>

enum { SUMS = 16, INT8_OPS = 2 * 64, F32_OPS = 2 * 16 };

static int64_t mul_int8_avx512(int64_t n, double *sum)
{
    __m512i acc[SUMS], x = _mm512_set1_epi8(1);
    int64_t rounds = (n + SUMS * INT8_OPS - 1) / (SUMS * INT8_OPS);

    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+v"(x));
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++)
            acc[i] = _mm512_dpbusd_epi32(acc[i], x, x);
    }
    *sum = 0;
    for (int i = 0; i < SUMS; i++)
        *sum += _mm512_reduce_add_epi32(acc[i]);
    return rounds * SUMS * INT8_OPS;
}

static int64_t mul_f32_avx512(int64_t n, double *sum)
{
    __m512 acc[SUMS], x = _mm512_set1_ps(1);
    int64_t rounds = (n + SUMS * F32_OPS - 1) / (SUMS * F32_OPS);

    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+v"(x));
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++)
            acc[i] = _mm512_fmadd_ps(x, x, acc[i]);
    }
    *sum = 0;
    for (int i = 0; i < SUMS; i++)
        *sum += (double)_mm512_reduce_add_ps(acc[i]);
    return rounds * SUMS * F32_OPS;
}

static inline uint64_t read_lines(const void *p, size_t bytes, bool ahead)
{
    const char *at = p, *end = at + bytes;
    __m512i x[4] = { _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                     _mm512_setzero_si512() };
    uint64_t word[8], all = 0;

    for (; at < end; at += 256)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            if (ahead)
                _mm_prefetch(at + PEAK_AHEAD + 64 * k, _MM_HINT_T0);
            x[k] = _mm512_xor_si512(x[k], _mm512_load_si512(at + 64 * k));
        }
    x[0] = _mm512_xor_si512(_mm512_xor_si512(x[0], x[1]), _mm512_xor_si512(x[2], x[3]));
    _mm512_storeu_si512(word, x[0]);
    for (int k = 0; k < 8; k++)
        all ^= word[k];
    return all;
}

static uint64_t read_avx512(const void *p, size_t bytes)
{
    return read_lines(p, bytes, false);
}

static uint64_t read_ahead_avx512(const void *p, size_t bytes)
{
    return read_lines(p, bytes, true);
}

void peaks_add_avx512(struct peaks *p)
{
    p->mul[PEAK_int8] = mul_int8_avx512;
    p->mul[PEAK_f32] = mul_f32_avx512;
    p->read = read_avx512;
    p->read_ahead = read_ahead_avx512;
}
