/* dequant_basic.c - what the bytes of the plain and the 32-element types mean; ternary too. */
#include "kernels/ref.h"
#include "kernels/blocks_act.h"
#include "kernels/unpack.h"
#include "base/f16.h"

#include <string.h>

void dequant_f32(float *out, const void *x, int64_t n)
{
    if (n > 0)
        memcpy(out, x, (size_t)n * sizeof(float));
}

void dequant_f16(float *out, const void *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)x + 2 * i, 2);
        out[i] = f16_to_f32(h);
    }
}

void dequant_bf16(float *out, const void *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)x + 2 * i, 2);
        out[i] = bf16_to_f32(h);
    }
}

/* OCP 8-bit floating point, E4M3: bias 7, no infinities, NaN is 0x7F and 0xFF.  The scale of its
 * 128 x 128 block is the caller's to apply. */
void dequant_f8_e4m3(float *out, const void *x, int64_t n)
{
    const uint8_t *b = x;

    for (int64_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(b[i] & 0x80) << 24, code = b[i] & 0x7f;
        float subnormal = (float)code * 0x1p-9f;
        uint32_t bits = code == 0x7f ? 0x7fc00000 : (code << 20) + (120u << 23);
        if (code < 8)
            memcpy(&bits, &subnormal, sizeof(bits));
        bits |= sign;
        memcpy(&out[i], &bits, sizeof(bits));
    }
}

/* Element i of 32 in nibble order. */
static int nibble(const uint8_t *qs, int i)
{
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

void unpack_q4_0(struct unpacked *u, const struct block_q4_0 *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        u->q[i] = (int8_t)(nibble(b->qs, i) - 8);
}

void unpack_q4_1(struct unpacked *u, const struct block_q4_1 *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    u->offset[0] = u->offset[1] = f16_to_f32(b->m);
    for (int i = 0; i < 32; i++)
        u->q[i] = (int8_t)nibble(b->qs, i);
}

void unpack_q5_0(struct unpacked *u, const struct block_q5_0 *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    for (int i = 0; i < 32; i++)
        u->q[i] = (int8_t)((nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4) - 16);
}

void unpack_q5_1(struct unpacked *u, const struct block_q5_1 *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    u->offset[0] = u->offset[1] = f16_to_f32(b->m);
    for (int i = 0; i < 32; i++)
        u->q[i] = (int8_t)(nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4);
}

void unpack_q8_0(struct unpacked *u, const struct block_q8_0 *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    memcpy(u->q, b->q, 32);
}

DEQUANT(q4_0, 32, )
DEQUANT(q4_1, 32, + u.offset[i / 16])
DEQUANT(q5_0, 32, )
DEQUANT(q5_1, 32, + u.offset[i / 16])
DEQUANT(q8_0, 32, )

void dequant_q8a(float *out, const void *x, int64_t n)
{
    const struct block_q8a *b = x;

    for (; n > 0; n -= 32, out += 32, b++)
        for (int i = 0; i < 32; i++)
            out[i] = b->scale[i / 16] * (float)b->q[i];
}

/* Four-bit floats (e2m1), doubled to be integers, with a power of two for each 32. */
void unpack_mxfp4(struct unpacked *u, const struct block_mxfp4 *b)
{
    static const int8_t value[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

    u->scale[0] = u->scale[1] = mxfp4_half_scale(b->e);
    for (int i = 0; i < 32; i++)
        u->q[i] = value[nibble(b->qs, i)];
}
DEQUANT(mxfp4, 32, )

/* Five base-3 digits in a byte, most significant first: the byte is ceil(number * 256 / 243),
 * so that times 3 the next digit stands above bit 8. */
static int8_t *put_digits(int8_t *out, const uint8_t *qs, int n_byte, int n_digit)
{
    static const uint8_t pow3[5] = { 1, 3, 9, 27, 81 };

    for (int digit = 0; digit < n_digit; digit++) {
        for (int i = 0; i < n_byte; i++) {
            uint8_t q = (uint8_t)(qs[i] * pow3[digit]);
            *out++ = (int8_t)((q * 3 >> 8) - 1);
        }
    }
    return out;
}

void unpack_tq1_0(struct unpacked *u, const struct block_tq1_0 *b)
{
    int8_t *out = u->q;

    for (int g = 0; g < 16; g++)
        u->scale[g] = f16_to_f32(b->d);
    out = put_digits(out, b->qs, 32, 5);
    out = put_digits(out, b->qs + 32, 16, 5);
    put_digits(out, b->qh, 4, 4);
}
DEQUANT(tq1_0, 256, )

void unpack_tq2_0(struct unpacked *u, const struct block_tq2_0 *b)
{
    for (int g = 0; g < 16; g++)
        u->scale[g] = f16_to_f32(b->d);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, k = i % 128;
        u->q[i] = (int8_t)((b->qs[32 * half + k % 32] >> 2 * (k / 32) & 3) - 1);
    }
}
DEQUANT(tq2_0, 256, )
