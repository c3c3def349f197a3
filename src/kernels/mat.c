/* mat.c - small matrices of f32, as attention multiplies them: the definition. */
#include "kernels/ref.h"

void mat_mul(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
             int64_t m, int64_t n, int64_t k, bool add)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n && !add; j++)
            c[i * ld_c + j] = 0;
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < n; j++)
                c[i * ld_c + j] += a[i * ld_a + p] * b[p * ld_b + j];
    }
}

void transpose(float *out, int64_t ld_out, const float *x, int64_t ld_x, int64_t m, int64_t n)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            out[j * ld_out + i] = x[i * ld_x + j];
}
