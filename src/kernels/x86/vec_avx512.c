/* vec_avx512.c - softmax and the search for NaN with AVX-512.  Reference: ../vec.c. */
#include "kernels/x86/x86.h"

/* e^v for v <= 0, 0 below -87: 2^k times e^r with |r| <= ln 2 / 2, a Taylor polynomial of degree
 * 7 (2e-8 relative).  A NaN stays one. */
static inline __m512 weight_f32x16(__m512 v)
{
    static const float c[7] = { 1 / 720.0f, 1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 0.5f, 1, 1 };
    __mmask16 keep = _mm512_cmp_ps_mask(v, _mm512_set1_ps(-87), _CMP_NLT_UQ);
    __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(v, _mm512_set1_ps(1.44269504f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), v), p;

    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
    p = _mm512_set1_ps(1 / 5040.0f);
    UNROLL for (int i = 0; i < 7; i++)
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c[i]));
    return _mm512_maskz_scalef_ps(keep, p, k);
}

static float softmax_avx512(float *x, int64_t n, float scale, float *max)
{
    const __m512 s = _mm512_set1_ps(scale);
    const __mmask16 tail = (__mmask16)((1u << n % 16) - 1);
    __m512 top = _mm512_set1_ps(*max), sum = _mm512_setzero_ps(), v;
    float largest;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16) {
        v = _mm512_mul_ps(_mm512_loadu_ps(x + i), s);
        _mm512_storeu_ps(x + i, v);
        top = _mm512_max_ps(v, top);                /* a NaN leaves `top` as it was */
    }
    if (tail) {
        v = _mm512_mul_ps(_mm512_maskz_loadu_ps(tail, x + i), s);
        _mm512_mask_storeu_ps(x + i, tail, v);
        top = _mm512_mask_max_ps(top, tail, v, top);
    }
    largest = _mm512_reduce_max_ps(top);
    *max = largest > *max ? largest : *max;         /* of 0 and -0 the one that was there */
    top = _mm512_set1_ps(*max);
    for (i = 0; i + 16 <= n; i += 16) {
        v = weight_f32x16(_mm512_sub_ps(_mm512_loadu_ps(x + i), top));
        _mm512_storeu_ps(x + i, v);
        sum = _mm512_add_ps(sum, v);
    }
    if (tail) {
        v = weight_f32x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(tail, x + i), top));
        _mm512_mask_storeu_ps(x + i, tail, v);
        sum = _mm512_mask_add_ps(sum, tail, sum, v);
    }
    return sum_f32x8(_mm256_add_ps(_mm512_castps512_ps256(sum),
                                   _mm512_extractf32x8_ps(sum, 1)));
}

static bool all_finite_avx512(const float *x, int64_t n)
{
    enum { NAN_OR_INFINITY = 0x99 };
    __mmask16 bad = 0;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        bad |= _mm512_fpclass_ps_mask(_mm512_loadu_ps(x + i), NAN_OR_INFINITY);
    return bad == 0 && all_finite(x + i, n - i);
}

void kernels_add_vec_avx512(struct kernels *k)
{
    k->softmax = softmax_avx512;
    k->all_finite = all_finite_avx512;
}
