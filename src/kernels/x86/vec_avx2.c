/* vec_avx2.c - norm, activation and sums with AVX2 and FMA.  Reference: ../vec.c. */
#include "kernels/x86/x86.h"

#include <math.h>

/* The squares are added in double, as in the reference: rows may be huge. */
static void rmsnorm_avx2(float *out, const float *x, const float *gain, int64_t n, float eps)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = _mm256_setzero_pd();
    double lane[4], sum;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256d lo = _mm256_cvtps_pd(_mm_loadu_ps(x + i));
        __m256d hi = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
        s0 = _mm256_fmadd_pd(lo, lo, s0);
        s1 = _mm256_fmadd_pd(hi, hi, s1);
    }
    _mm256_storeu_pd(lane, _mm256_add_pd(s0, s1));
    sum = lane[0] + lane[1] + lane[2] + lane[3];
    for (; i < n; i++)
        sum += (double)x[i] * x[i];
    float inv = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inv));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(v, _mm256_loadu_ps(gain + i)));
    }
    for (; i < n; i++)
        out[i] = x[i] * inv * gain[i];
}

static void axpy_avx2(float *y, float a, const float *x, int64_t n)
{
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(_mm256_set1_ps(a), _mm256_loadu_ps(x + i),
                                                _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] = __builtin_fmaf(a, x[i], y[i]);       /* as above: position must not matter */
}

static void scale_avx2(float *y, float a, int64_t n)
{
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(y + i), _mm256_set1_ps(a)));
    scale(y + i, a, n - i);
}

/* e^v: 2^k times e^r with |r| <= ln 2 / 2, a Taylor polynomial of degree 7 (2e-8 relative).
 * Above 88.5 infinity, below -87.3 the smallest normal; NaN becomes a number. */
static __m256 exp_f32x8(__m256 v)
{
    const __m256 ln2_high = _mm256_set1_ps(0.693359375f);
    const __m256 ln2_low = _mm256_set1_ps(-2.12194440e-4f);
    static const float c[6] = { 1 / 720.0f, 1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 0.5f, 1 };
    __m256 over = _mm256_cmp_ps(v, _mm256_set1_ps(88.5f), _CMP_GT_OQ);

    v = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(88.0f)), _mm256_set1_ps(-87.3f));
    __m256 k = _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(1.44269504f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(k, ln2_low, _mm256_fnmadd_ps(k, ln2_high, v));
    __m256 p = _mm256_set1_ps(1 / 5040.0f);
    UNROLL for (int i = 0; i < 6; i++)
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(c[i]));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(k),
                                                       _mm256_set1_epi32(127)), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
    return _mm256_blendv_ps(p, _mm256_set1_ps(INFINITY), over);
}

static __m256 swiglu_f32x8(__m256 gate, __m256 up)
{
    const __m256 one = _mm256_set1_ps(1);
    __m256 e = exp_f32x8(_mm256_xor_ps(gate, _mm256_set1_ps(-0.0f)));
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}

static void swiglu_avx2(float *out, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, swiglu_f32x8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i < n) {                                    /* the same arithmetic for the last few */
        float g[8] = { 0 }, u[8] = { 0 };
        memcpy(g, gate + i, (size_t)(n - i) * 4);
        memcpy(u, up + i, (size_t)(n - i) * 4);
        _mm256_storeu_ps(g, swiglu_f32x8(_mm256_loadu_ps(g), _mm256_loadu_ps(u)));
        memcpy(out + i, g, (size_t)(n - i) * 4);
    }
}

/* e^v for v <= 0, as the softmax wants it. */
static __m256 weight_f32x8(__m256 v)
{
    __m256 e = exp_f32x8(v);

    e = _mm256_andnot_ps(_mm256_cmp_ps(v, _mm256_set1_ps(-87), _CMP_LT_OQ), e);
    return _mm256_blendv_ps(e, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

static float softmax_avx2(float *x, int64_t n, float scale, float *max)
{
    const __m256 s = _mm256_set1_ps(scale);
    __m256 top = _mm256_set1_ps(*max), sum = _mm256_setzero_ps();
    float lane[8], largest = *max;
    int64_t i = 0, tail = n % 8;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), s);
        _mm256_storeu_ps(x + i, v);
        top = _mm256_max_ps(v, top);                /* a NaN leaves `top` as it was */
    }
    _mm256_storeu_ps(lane, top);
    for (int l = 0; l < 8; l++)
        largest = lane[l] > largest ? lane[l] : largest;
    for (; i < n; i++) {
        x[i] *= scale;
        largest = x[i] > largest ? x[i] : largest;
    }
    *max = largest;
    top = _mm256_set1_ps(largest);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 e = weight_f32x8(_mm256_sub_ps(_mm256_loadu_ps(x + i), top));
        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    if (tail) {
        for (int l = 0; l < 8; l++)
            lane[l] = l < tail ? x[i + l] : -INFINITY;
        __m256 e = weight_f32x8(_mm256_sub_ps(_mm256_loadu_ps(lane), top));
        _mm256_storeu_ps(lane, e);
        memcpy(x + i, lane, (size_t)tail * sizeof(float));
        sum = _mm256_add_ps(sum, e);
    }
    return sum_f32x8(sum);
}

static bool all_finite_avx2(const float *x, int64_t n)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff), limit = _mm256_set1_epi32(0x7f7fffff);
    __m256i bad = _mm256_setzero_si256();
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        bad = _mm256_or_si256(bad, _mm256_cmpgt_epi32(_mm256_and_si256(load32(x + i), mask),
                                                      limit));
    return _mm256_testz_si256(bad, bad) && all_finite(x + i, n - i);
}

void kernels_add_vec_avx2(struct kernels *k)
{
    k->rmsnorm = rmsnorm_avx2;
    k->axpy = axpy_avx2;
    k->scale = scale_avx2;
    k->swiglu = swiglu_avx2;
    k->softmax = softmax_avx2;
    k->all_finite = all_finite_avx2;
}
