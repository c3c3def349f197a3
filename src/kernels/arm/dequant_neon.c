/* dequant_neon.c - stored types to f32 with NEON, the same bits as the references.
 * References: ../dequant_basic.c, ../dequant_k.c.  No fused multiply-add here: it would round
 * once where the reference rounds twice. */
#include "kernels/arm/arm.h"
#include "kernels/blocks.h"
#include "kernels/ref.h"
#include "kernels/unpack.h"

/* Numbers 4j .. 4j + 3 of q as f32. */
static void four_by_four(float32x4_t v[4], int8x16_t q)
{
    int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);

    v[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    v[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    v[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    v[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

/* out[16] = scale * q */
static void put16_scaled(float *out, uint8x16_t q, float scale)
{
    float32x4_t v[4];

    four_by_four(v, vreinterpretq_s8_u8(q));
    UNROLL for (int i = 0; i < 4; i++)
        vst1q_f32(out + 4 * i, vmulq_n_f32(v[i], scale));
}

/* out[16] = scale * q + offset */
static void put16_offset(float *out, uint8x16_t q, float scale, float offset)
{
    float32x4_t v[4];

    four_by_four(v, vreinterpretq_s8_u8(q));
    UNROLL for (int i = 0; i < 4; i++)
        vst1q_f32(out + 4 * i, vaddq_f32(vmulq_n_f32(v[i], scale), vdupq_n_f32(offset)));
}

static uint8x16_t low_nibbles(uint8x16_t v)
{
    return vandq_u8(v, vdupq_n_u8(15));
}

static uint8x16_t minus(uint8x16_t v, uint8_t center)
{
    return vsubq_u8(v, vdupq_n_u8(center));
}

/* Bits 0 .. 15 as bytes: `value` where the bit is set, else 0. */
static uint8x16_t spread_bits16(uint32_t bits, uint8_t value)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    uint8x16_t v = vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8)));

    return vandq_u8(vtstq_u8(v, bit), vdupq_n_u8(value));
}

static void dequant_f16_neon(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, half_to_f32x4(p + 2 * i));
    dequant_f16(out + i, p + 2 * i, n - i);
}

static void dequant_bf16_neon(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, bf16_to_f32x4(p + 2 * i));
    dequant_bf16(out + i, p + 2 * i, n - i);
}

static void dequant_q4_0_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q4_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        uint8x16_t v = load_u8(b->qs);
        float d = half_to_f32(b->d);
        put16_scaled(out, minus(low_nibbles(v), 8), d);
        put16_scaled(out + 16, minus(vshrq_n_u8(v, 4), 8), d);
    }
}

static void dequant_q4_1_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q4_1 *b = x; n > 0; n -= 32, out += 32, b++) {
        uint8x16_t v = load_u8(b->qs);
        float d = half_to_f32(b->d), m = half_to_f32(b->m);
        put16_offset(out, low_nibbles(v), d, m);
        put16_offset(out + 16, vshrq_n_u8(v, 4), d, m);
    }
}

static void dequant_q5_0_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q5_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        uint8x16_t v = load_u8(b->qs);
        uint32_t high = b->qh;
        float d = half_to_f32(b->d);
        put16_scaled(out, minus(low_nibbles(v) | spread_bits16(high, 16), 16), d);
        put16_scaled(out + 16, minus(vshrq_n_u8(v, 4) | spread_bits16(high >> 16, 16), 16), d);
    }
}

static void dequant_q8_0_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q8_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        float d = half_to_f32(b->d);
        put16_scaled(out, load_u8(b->q), d);
        put16_scaled(out + 16, load_u8(b->q + 16), d);
    }
}

/* 32 elements of q4_k or q5_k with sub-block j's scale; high[2] are the bits above the nibbles. */
static void put_k(float *out, const uint8_t *qs, const uint8x16_t high[2], const uint8_t *scales,
                  int j, float d, float dmin)
{
    uint8_t sc, mn;

    scale_min_k(&sc, &mn, scales, j);
    for (int i = 0; i < 2; i++) {
        uint8x16_t v = load_u8(qs + 32 * (j / 2) + 16 * i);
        v = j & 1 ? vshrq_n_u8(v, 4) : low_nibbles(v);
        put16_offset(out + 16 * i, v | high[i], d * (float)sc, -(dmin * (float)mn));
    }
}

static void dequant_q4_k_neon(float *out, const void *x, int64_t n)
{
    const uint8x16_t none[2] = { vdupq_n_u8(0), vdupq_n_u8(0) };

    for (const struct block_q4_k *b = x; n > 0; n -= 256, b++) {
        float d = half_to_f32(b->d), dmin = half_to_f32(b->dmin);
        for (int j = 0; j < 8; j++, out += 32)
            put_k(out, b->qs, none, b->scales, j, d, dmin);
    }
}

static void dequant_q5_k_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q5_k *b = x; n > 0; n -= 256, b++) {
        float d = half_to_f32(b->d), dmin = half_to_f32(b->dmin);
        for (int j = 0; j < 8; j++, out += 32) {
            uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << j)), high[2];
            for (int i = 0; i < 2; i++)
                high[i] = vandq_u8(vtstq_u8(load_u8(b->qh + 16 * i), bit), vdupq_n_u8(16));
            put_k(out, b->qs, high, b->scales, j, d, dmin);
        }
    }
}

/* Elements 16 part .. 16 part + 15 of q6_k, -32 .. 31. */
static uint8x16_t q6_k_values(const struct block_q6_k *b, int part)
{
    int half = part / 8, t = part / 2 % 4, i = part % 2;
    uint8x16_t low = load_u8(b->ql + 64 * half + 32 * (t & 1) + 16 * i);
    uint8x16_t high = vshlq_u8(load_u8(b->qh + 32 * half + 16 * i), vdupq_n_s8((int8_t)(-2 * t)));

    low = t < 2 ? low_nibbles(low) : vshrq_n_u8(low, 4);
    return minus(low | vshlq_n_u8(vandq_u8(high, vdupq_n_u8(3)), 4), 32);
}

static void dequant_q6_k_neon(float *out, const void *x, int64_t n)
{
    for (const struct block_q6_k *b = x; n > 0; n -= 256, b++) {
        float d = half_to_f32(b->d);
        for (int j = 0; j < 16; j++, out += 16)
            put16_scaled(out, q6_k_values(b, j), d * (float)b->scales[j]);
    }
}

void kernels_add_dequant_neon(struct kernels *k)
{
    k->dequant[QTYPE_f16] = dequant_f16_neon;
    k->dequant[QTYPE_bf16] = dequant_bf16_neon;
    k->dequant[QTYPE_q4_0] = dequant_q4_0_neon;
    k->dequant[QTYPE_q4_1] = dequant_q4_1_neon;
    k->dequant[QTYPE_q5_0] = dequant_q5_0_neon;
    k->dequant[QTYPE_q8_0] = dequant_q8_0_neon;
    k->dequant[QTYPE_q4_k] = dequant_q4_k_neon;
    k->dequant[QTYPE_q5_k] = dequant_q5_k_neon;
    k->dequant[QTYPE_q6_k] = dequant_q6_k_neon;
}
