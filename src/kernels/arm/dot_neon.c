/* dot_neon.c - the product of two f32 rows with NEON.  Reference: ../dot.c. */
#include "kernels/arm/arm.h"
#include "kernels/ref.h"

/* Four independent sums hide the latency of the multiply-add; which one an element goes to
 * depends on n alone. */
static float dot_f32_neon(const void *w, const void *x, int64_t n)
{
    const float *a = w, *b = x;
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    float tail = 0;

    for (; n >= 16; n -= 16, a += 16, b += 16) {
        s0 = vfmaq_f32(s0, vld1q_f32(a), vld1q_f32(b));
        s1 = vfmaq_f32(s1, vld1q_f32(a + 4), vld1q_f32(b + 4));
        s2 = vfmaq_f32(s2, vld1q_f32(a + 8), vld1q_f32(b + 8));
        s3 = vfmaq_f32(s3, vld1q_f32(a + 12), vld1q_f32(b + 12));
    }
    for (; n >= 4; n -= 4, a += 4, b += 4)
        s0 = vfmaq_f32(s0, vld1q_f32(a), vld1q_f32(b));
    for (; n > 0; n--, a++, b++)
        tail += *a * *b;
    return vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3))) + tail;
}

void kernels_add_dot_neon(struct kernels *k)
{
    k->dot[QTYPE_f32] = dot_f32_neon;
}
