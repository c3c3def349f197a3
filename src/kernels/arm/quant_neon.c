/* quant_neon.c - f32 to f16, bf16, q8_0 and q8a, the same bytes as ../quant.c. */
#include "kernels/arm/arm.h"
#include "kernels/blocks.h"
#include "kernels/blocks_act.h"
#include "kernels/ref.h"

#include <math.h>

static void quant_f16_neon(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;
    int64_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1_u8(o + 2 * i, vreinterpret_u8_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    quant_f16(o + 2 * i, x + i, n - i);
}

static void quant_bf16_neon(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;
    int64_t i = 0;

    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        uint32x4_t bits = vreinterpretq_u32_f32(v), high = vshrq_n_u32(bits, 16);
        uint32x4_t r = vshrq_n_u32(bits + (high & 1) + 0x7fff, 16);
        r = vbslq_u32(vceqq_f32(v, v), r, high | 0x40);
        vst1_u8(o + 2 * i, vreinterpret_u8_u16(vmovn_u32(r)));
    }
    quant_bf16(o + 2 * i, x + i, n - i);
}

static void load16(float32x4_t v[4], const float *x)
{
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = vld1q_f32(x + 4 * j);
}

/* The largest magnitude of 16 values as bits: NaN stands above infinity. */
static uint32_t peak_bits(const float32x4_t v[4])
{
    uint32x4_t a[4];

    UNROLL for (int j = 0; j < 4; j++)
        a[j] = vreinterpretq_u32_f32(vabsq_f32(v[j]));
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(a[0], a[1]), vmaxq_u32(a[2], a[3])));
}

/* As a number, infinity for NaN. */
static float peak_value(uint32_t bits)
{
    float f;

    bits = bits > 0x7f800000 ? 0x7f800000 : bits;
    memcpy(&f, &bits, 4);
    return f;
}

/* Sixteen integers, -128 .. 127, as bytes. */
static int8x16_t pack16(const int32x4_t q[4])
{
    int16x8_t low = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1]));
    int16x8_t high = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));

    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

static void quant_q8_0_neon(void *out, const float *x, int64_t n)
{
    for (struct block_q8_0 *b = out; n > 0; n -= 32, x += 32, b++) {
        float32x4_t v[2][4];
        int32x4_t q[4];
        load16(v[0], x);
        load16(v[1], x + 16);
        uint32_t p0 = peak_bits(v[0]), p1 = peak_bits(v[1]);
        float peak = peak_value(p0 > p1 ? p0 : p1);
        float scale8 = peak / 127, inv = scale8 > 0 ? 1 / scale8 : 0;
        if (isinf(peak) || isinf(inv) || !(inv > 0)) {
            memset(b, 0, sizeof(*b));
            b->d = isinf(peak) ? 0x7e00 : 0;
            continue;
        }
        b->d = vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(scale8))), 0);
        UNROLL for (int h = 0; h < 2; h++) {
            UNROLL for (int j = 0; j < 4; j++)
                q[j] = vcvtaq_s32_f32(vmulq_n_f32(v[h][j], inv));
            vst1q_s8(b->q + 16 * h, pack16(q));
        }
    }
}

/* Half h of a block.  A conversion makes 0 of NaN, which is what zero times infinity gives. */
static void quant_q8a_half(struct block_q8a *b, int h, const float *x)
{
    float32x4_t v[4];
    int32x4_t q[4];

    load16(v, x);
    float peak = peak_value(peak_bits(v));
    float scale8 = isinf(peak) ? NAN : peak < 0x1p-100f ? 0 : peak / 127;
    float inv = scale8 > 0 ? 127 / peak : 0;
    UNROLL for (int j = 0; j < 4; j++)
        q[j] = vcvtnq_s32_f32(vmulq_n_f32(v[j], inv));
    int8x16_t bytes = pack16(q);
    int sum = vaddlvq_s8(bytes);
    vst1q_s8(b->q + 16 * h, bytes);
    b->scale[h] = scale8;
    b->bias[h] = -128 * sum;
    b->sum[h] = scale8 * (float)sum;
}

static void quant_q8a_neon(void *out, const float *x, int64_t n)
{
    for (struct block_q8a *b = out; n > 0; n -= 32, x += 32, b++) {
        quant_q8a_half(b, 0, x);
        quant_q8a_half(b, 1, x + 16);
        b->sum32 = b->sum[0] + b->sum[1];
        b->zero = 0;
    }
}

void kernels_add_quant_neon(struct kernels *k)
{
    k->quant[QTYPE_f16] = quant_f16_neon;
    k->quant[QTYPE_bf16] = quant_bf16_neon;
    k->quant[QTYPE_q8_0] = quant_q8_0_neon;
    k->quant[QTYPE_q8a] = quant_q8a_neon;
}
