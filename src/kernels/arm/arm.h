/* arm.h - small steps that several NEON kernels share.  Vectors are also GNU C vectors: + - * and
 * comparisons are elementwise. */
#ifndef KERNELS_ARM_H
#define KERNELS_ARM_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

/* Before a loop of constant length whose index selects registers or shifts. */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Rows may start at any address: an element's pointer type would promise more. */
static inline uint8x16_t load_u8(const void *p)
{
    return vld1q_u8(p);
}

static inline int8x16_t load_i8(const void *p)
{
    return vld1q_s8(p);
}

/* Four halves, or bfloat16 numbers, as f32. */
static inline float32x4_t half_to_f32x4(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

static inline float32x4_t bf16_to_f32x4(const void *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

/* One half as f32; the same for all kernels. */
static inline float half_to_f32(uint16_t h)
{
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

#endif
