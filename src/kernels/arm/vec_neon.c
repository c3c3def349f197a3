/* vec_neon.c - norm, activation, softmax and sums with NEON.  Reference: ../vec.c. */
#include "kernels/arm/arm.h"
#include "kernels/ref.h"

#include <math.h>

/* The squares are added in double, as in the reference: rows may be huge. */
static void rmsnorm_neon(float *out, const float *x, const float *gain, int64_t n, float eps)
{
    float64x2_t s[4] = { vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0) };
    double sum;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        UNROLL for (int j = 0; j < 4; j++) {
            float64x2_t v = vcvt_f64_f32(vld1_f32(x + i + 2 * j));
            s[j] = vfmaq_f64(s[j], v, v);
        }
    sum = vaddvq_f64(vaddq_f64(vaddq_f64(s[0], s[1]), vaddq_f64(s[2], s[3])));
    for (; i < n; i++)
        sum += (double)x[i] * x[i];
    float inv = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (i = 0; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), inv), vld1q_f32(gain + i)));
    for (; i < n; i++)
        out[i] = x[i] * inv * gain[i];
}

static void axpy_neon(float *y, float a, const float *x, int64_t n)
{
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), a));
    for (; i < n; i++)
        y[i] = __builtin_fmaf(a, x[i], y[i]);       /* as above: position must not matter */
}

static void scale_neon(float *y, float a, int64_t n)
{
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_n_f32(vld1q_f32(y + i), a));
    scale(y + i, a, n - i);
}

/* e^v: 2^k times e^r with |r| <= ln 2 / 2, a Taylor polynomial of degree 7 (2e-8 relative).
 * Above 88.5 infinity, below -87.3 the smallest normal. */
static float32x4_t exp_f32x4(float32x4_t v)
{
    static const float c[7] = { 1 / 720.0f, 1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 0.5f, 1, 1 };
    uint32x4_t over = vcgtq_f32(v, vdupq_n_f32(88.5f));

    v = vmaxq_f32(vminq_f32(v, vdupq_n_f32(88.0f)), vdupq_n_f32(-87.3f));
    float32x4_t k = vrndnq_f32(vmulq_n_f32(v, 1.44269504f));
    float32x4_t r = vfmsq_n_f32(vfmsq_n_f32(v, k, 0.693359375f), k, -2.12194440e-4f);
    float32x4_t p = vdupq_n_f32(1 / 5040.0f);
    UNROLL for (int i = 0; i < 7; i++)
        p = vfmaq_f32(vdupq_n_f32(c[i]), p, r);
    int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(k), vdupq_n_s32(127)), 23);
    p = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vbslq_f32(over, vdupq_n_f32(INFINITY), p);
}

/* e^v for v <= 0, as the softmax wants it: 0 below e^-87.  A NaN stays one. */
static float32x4_t weight_f32x4(float32x4_t v)
{
    return vbslq_f32(vcltq_f32(v, vdupq_n_f32(-87)), vdupq_n_f32(0), exp_f32x4(v));
}

static float softmax_neon(float *x, int64_t n, float scale, float *max)
{
    float32x4_t top = vdupq_n_f32(*max), sum = vdupq_n_f32(0);
    float last[4], largest;
    int64_t i = 0, tail = n % 4;

    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vmulq_n_f32(vld1q_f32(x + i), scale);
        vst1q_f32(x + i, v);
        top = vmaxnmq_f32(top, v);                  /* of a NaN and a number the number */
    }
    largest = vmaxnmvq_f32(top);
    for (; i < n; i++) {
        x[i] *= scale;
        largest = x[i] > largest ? x[i] : largest;
    }
    *max = largest;
    top = vdupq_n_f32(largest);
    for (i = 0; i + 4 <= n; i += 4) {
        float32x4_t e = weight_f32x4(vsubq_f32(vld1q_f32(x + i), top));
        vst1q_f32(x + i, e);
        sum = vaddq_f32(sum, e);
    }
    if (tail) {
        for (int l = 0; l < 4; l++)
            last[l] = l < tail ? x[i + l] : -INFINITY;
        float32x4_t e = weight_f32x4(vsubq_f32(vld1q_f32(last), top));
        vst1q_f32(last, e);
        memcpy(x + i, last, (size_t)tail * sizeof(float));
        sum = vaddq_f32(sum, e);
    }
    return vaddvq_f32(sum);
}

static float32x4_t swiglu_f32x4(float32x4_t gate, float32x4_t up)
{
    float32x4_t e = exp_f32x4(vnegq_f32(gate));
    return vmulq_f32(vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1), e)), up);
}

static void swiglu_neon(float *out, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, swiglu_f32x4(vld1q_f32(gate + i), vld1q_f32(up + i)));
    if (i < n) {                                    /* the same arithmetic for the last few */
        float g[4] = { 0 }, u[4] = { 0 };
        memcpy(g, gate + i, (size_t)(n - i) * 4);
        memcpy(u, up + i, (size_t)(n - i) * 4);
        vst1q_f32(g, swiglu_f32x4(vld1q_f32(g), vld1q_f32(u)));
        memcpy(out + i, g, (size_t)(n - i) * 4);
    }
}

static bool all_finite_neon(const float *x, int64_t n)
{
    uint32x4_t bad = vdupq_n_u32(0);
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        bad = vorrq_u32(bad, vcgeq_u32(vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))),
                                       vdupq_n_u32(0x7f800000)));
    return vmaxvq_u32(bad) == 0 && all_finite(x + i, n - i);
}

void kernels_add_vec_neon(struct kernels *k)
{
    k->rmsnorm = rmsnorm_neon;
    k->axpy = axpy_neon;
    k->scale = scale_neon;
    k->swiglu = swiglu_neon;
    k->softmax = softmax_neon;
    k->all_finite = all_finite_neon;
}
