/* quant.c - from f32 to the types the program itself writes: KV cache and activations. */
#include "kernels/ref.h"
#include "kernels/blocks.h"
#include "kernels/blocks_act.h"
#include "base/f16.h"

#include <math.h>
#include <string.h>

void quant_f32(void *out, const float *x, int64_t n)
{
    if (n > 0)
        memcpy(out, x, (size_t)n * sizeof(float));
}

void quant_f16(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;

    for (int64_t i = 0; i < n; i++) {
        uint16_t h = f16_from_f32(x[i]);
        memcpy(o + 2 * i, &h, 2);
    }
}

void quant_bf16(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;

    for (int64_t i = 0; i < n; i++) {
        uint16_t h = bf16_from_f32(x[i]);
        memcpy(o + 2 * i, &h, 2);
    }
}

/* The largest magnitude of n values; infinity when any is infinite or NaN.  Without their
 * sign, floats order as integers do, and NaN stands above infinity. */
static float peak_of(const float *x, int n)
{
    uint32_t peak = 0, bits;
    float f;

    for (int i = 0; i < n; i++) {
        memcpy(&bits, &x[i], 4);
        bits &= 0x7fffffff;
        peak = bits > peak ? bits : peak;
    }
    peak = peak > 0x7f800000 ? 0x7f800000 : peak;
    memcpy(&f, &peak, 4);
    return f;
}

/* As ggml does it, so that a cache is comparable: roundf, ties away from zero. */
void quant_q8_0(void *out, const float *x, int64_t n)
{
    struct block_q8_0 *b = out;

    for (; n > 0; n -= 32, x += 32, b++) {
        float peak = peak_of(x, 32), scale = peak / 127, inv = scale > 0 ? 1 / scale : 0;
        /* A scale whose inverse overflows is zero as a half; so are its quants here. */
        if (isinf(inv) || isinf(peak))
            inv = 0;
        b->d = isinf(peak) ? 0x7e00 : f16_from_f32(scale);
        for (int i = 0; i < 32; i++)
            b->q[i] = inv > 0 ? (int8_t)roundf(x[i] * inv) : 0;
    }
}

/* Half h of a block, from 16 values. */
static void quant_q8a_half(struct block_q8a *b, int h, const float *x)
{
    float peak = peak_of(x, 16), inv = peak > 0 ? 127 / peak : 0;
    int sum = 0;

    b->scale[h] = isinf(peak) ? NAN : peak < 0x1p-100f ? 0 : peak / 127;
    for (int i = 0; i < 16; i++) {
        int8_t q = b->scale[h] > 0 ? (int8_t)rintf(x[i] * inv) : 0;
        b->q[16 * h + i] = q;
        sum += q;
    }
    b->bias[h] = -128 * sum;
    b->sum[h] = b->scale[h] * (float)sum;
}

void quant_q8a(void *out, const float *x, int64_t n)
{
    struct block_q8a *b = out;

    for (; n > 0; n -= 32, x += 32, b++) {
        quant_q8a_half(b, 0, x);
        quant_q8a_half(b, 1, x + 16);
        b->sum32 = b->sum[0] + b->sum[1];
        b->zero = 0;
    }
}
