/* kv_neon.c - queries against rows of the KV cache with NEON.  Reference: ../kv.c. */
#include "kernels/arm/arm.h"
#include "kernels/blocks.h"

#define UNROLL_16 _Pragma("GCC unroll 16")
#define KV_KEEP(x) __asm__("" : "+w"(x))

typedef float32x4_t vec;
enum { VEC = 4, KV_TOKS = 2, KV_HEADS = 8 };

static inline vec kv_load(const float *p) { return vld1q_f32(p); }
static inline void kv_store(float *p, vec v) { vst1q_f32(p, v); }
static inline vec kv_set(float x) { return vdupq_n_f32(x); }
static inline vec kv_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }

static inline vec kv_open_f32(const uint8_t *row, int64_t i, int j)
{
    return vreinterpretq_f32_u8(load_u8(row + 16 * (2 * i + j)));
}

static inline vec kv_open_f16(const uint8_t *row, int64_t i, int j)
{
    return half_to_f32x4(row + 8 * (2 * i + j));
}

static inline vec kv_open_bf16(const uint8_t *row, int64_t i, int j)
{
    return bf16_to_f32x4(row + 8 * (2 * i + j));
}

static inline vec kv_open_q8_0(const uint8_t *row, int64_t i, int j)
{
    const struct block_q8_0 *b = (const struct block_q8_0 *)row + i / 4;
    int32_t four;

    memcpy(&four, b->q + 8 * (i & 3) + 4 * j, sizeof(four));
    int16x8_t wide = vmovl_s8(vcreate_s8((uint32_t)four));
    return vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), half_to_f32(b->d));
}

/* Each step adds the halves of what is left of two sums. */
static inline __attribute__((always_inline)) vec kv_reduce(const vec *s)
{
    float32x4_t a = vaddq_f32(vzip1q_f32(s[0], s[2]), vzip2q_f32(s[0], s[2]));
    float32x4_t b = vaddq_f32(vzip1q_f32(s[1], s[3]), vzip2q_f32(s[1], s[3]));

    return vaddq_f32(vzip1q_f32(a, b), vzip2q_f32(a, b));
}

#include "kernels/kv_drive.h"

void kernels_add_kv_neon(struct kernels *k)
{
    KV_TYPES(KV_SLOTS)
}
