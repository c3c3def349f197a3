/* dequant_k.c - what the bytes of the K types mean: 256 elements, scales of sub-blocks. */
#include "kernels/ref.h"
#include "kernels/unpack.h"
#include "base/f16.h"

/* Element i of 256 in the 2-bit arrangement: each byte holds elements 32 apart. */
static int two_bits(const uint8_t *qs, int i)
{
    return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

/* Element i of 256 in the 4-bit arrangement: each byte holds elements 32 apart. */
static int four_bits(const uint8_t *qs, int i)
{
    return qs[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
}

void unpack_q2_k(struct unpacked *u, const struct block_q2_k *b)
{
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);

    for (int j = 0; j < 16; j++) {
        u->scale[j] = d * (float)(b->scales[j] & 15);
        u->offset[j] = -(dmin * (float)(b->scales[j] >> 4));
    }
    for (int i = 0; i < 256; i++)
        u->q[i] = (int8_t)two_bits(b->qs, i);
}

void unpack_q3_k(struct unpacked *u, const struct block_q3_k *b)
{
    float d = f16_to_f32(b->d);

    for (int j = 0; j < 16; j++) {
        int low = j < 8 ? b->scales[j] & 15 : b->scales[j - 8] >> 4;
        int high = b->scales[8 + j % 4] >> 2 * (j / 4) & 3;
        u->scale[j] = d * (float)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++)
        u->q[i] = (int8_t)(two_bits(b->qs, i) - (b->hmask[i % 32] >> i / 32 & 1 ? 0 : 4));
}

static void unpack_scale_min_k(struct unpacked *u, const uint8_t *scales, float d, float dmin)
{
    for (int j = 0; j < 8; j++) {
        uint8_t sc, mn;
        scale_min_k(&sc, &mn, scales, j);
        u->scale[2 * j] = u->scale[2 * j + 1] = d * (float)sc;
        u->offset[2 * j] = u->offset[2 * j + 1] = -(dmin * (float)mn);
    }
}

void unpack_q4_k(struct unpacked *u, const struct block_q4_k *b)
{
    unpack_scale_min_k(u, b->scales, f16_to_f32(b->d), f16_to_f32(b->dmin));
    for (int i = 0; i < 256; i++)
        u->q[i] = (int8_t)four_bits(b->qs, i);
}

void unpack_q5_k(struct unpacked *u, const struct block_q5_k *b)
{
    unpack_scale_min_k(u, b->scales, f16_to_f32(b->d), f16_to_f32(b->dmin));
    for (int i = 0; i < 256; i++)
        u->q[i] = (int8_t)(four_bits(b->qs, i) | (b->qh[i % 32] >> i / 32 & 1) << 4);
}

void unpack_q6_k(struct unpacked *u, const struct block_q6_k *b)
{
    float d = f16_to_f32(b->d);

    for (int j = 0; j < 16; j++)
        u->scale[j] = d * (float)b->scales[j];
    for (int i = 0; i < 256; i++) {
        int half = i / 128, t = i % 128 / 32, l = i % 32;
        int low = b->ql[64 * half + 32 * (t & 1) + l] >> (t < 2 ? 0 : 4) & 15;
        u->q[i] = (int8_t)((low | (b->qh[32 * half + l] >> 2 * t & 3) << 4) - 32);
    }
}

DEQUANT(q2_k, 256, + u.offset[i / 16])
DEQUANT(q3_k, 256, )
DEQUANT(q4_k, 256, + u.offset[i / 16])
DEQUANT(q5_k, 256, + u.offset[i / 16])
DEQUANT(q6_k, 256, )
