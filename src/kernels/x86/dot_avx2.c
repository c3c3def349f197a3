/* dot_avx2.c - the product of two f32 rows with AVX2 and FMA.  Reference: ../dot.c. */
#include "kernels/x86/x86.h"

/* Four independent sums hide the latency of the multiply-add; which one an element goes to
 * depends on n alone. */
static float dot_f32_avx2(const void *w, const void *x, int64_t n)
{
    const float *a = w, *b = x;
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    float tail = 0;

    for (; n >= 32; n -= 32, a += 32, b += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + 8), _mm256_loadu_ps(b + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + 16), _mm256_loadu_ps(b + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + 24), _mm256_loadu_ps(b + 24), s3);
    }
    for (; n >= 8; n -= 8, a += 8, b += 8)
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), s0);
    for (; n > 0; n--, a++, b++)
        tail += *a * *b;
    s0 = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));
    return sum_f32x8(s0) + tail;
}

void kernels_add_dot_avx2(struct kernels *k)
{
    k->dot[QTYPE_f32] = dot_f32_avx2;
}
