/* vec.c - row-wise arithmetic that is not a product: norm, activation, sums. */
#include "kernels/ref.h"

#include <math.h>

void rmsnorm(float *out, const float *x, const float *gain, int64_t n, float eps)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float inv = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * inv * gain[i];
}

void axpy(float *y, float a, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

void scale(float *y, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] *= a;
}

void swiglu(float *out, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

float softmax(float *x, int64_t n, float scale, float *max)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        x[i] *= scale;
        *max = x[i] > *max ? x[i] : *max;
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] - *max < -87 ? 0 : expf(x[i] - *max);
        sum += x[i];
    }
    return (float)sum;
}

bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}
