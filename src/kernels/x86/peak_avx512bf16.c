/* peak_avx512bf16.c - the peak of bfloat16 dot products.  Reference: f32 in ../peak.c. */
#include "kernels/peak.h"

#include <immintrin.h>

enum { SUMS = 16, BF16_OPS = 2 * 32, BF16_ONE = 0x3f80 };

static int64_t mul_bf16_avx512bf16(int64_t n, double *sum)
{
    __m512 acc[SUMS];
    __m512i x = _mm512_set1_epi16(BF16_ONE);
    int64_t rounds = (n + SUMS * BF16_OPS - 1) / (SUMS * BF16_OPS);

    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+v"(x));
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++)
            acc[i] = _mm512_dpbf16_ps(acc[i], (__m512bh)x, (__m512bh)x);
    }
    *sum = 0;
    for (int i = 0; i < SUMS; i++)
        *sum += (double)_mm512_reduce_add_ps(acc[i]);
    return rounds * SUMS * BF16_OPS;
}

void peaks_add_avx512bf16(struct peaks *p)
{
    p->mul[PEAK_bf16] = mul_bf16_avx512bf16;
}
