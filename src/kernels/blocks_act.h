/* blocks_act.h - the one form activations are rounded to before an integer product.
 *
 * 32 values in 64 bytes, as two halves of 16.  In half h, x[i] = scale[h] * q[i], q in
 * -127..127, scale[h] = max|x| / 127 in f32.  The rest follows from these and is stored because
 * every product needs it: with s the sum of a half's q, bias[h] = -128 * s (weights are kept
 * unsigned, 128 too high), sum[h] = scale[h] * s and sum32 = sum[0] + sum[1] (for weights with an
 * offset, in f32).
 * A half whose max|x| is below 2^-100 is all zero; one with a NaN or an infinity has scale
 * NaN, so that the product shows it.  Packed: a row may start at any address.
 * Halves, because one outlier costs its neighbours their precision: a scale for all 32 values
 * gave log-probabilities with larger errors than llama.cpp has. */
#ifndef KERNELS_BLOCKS_ACT_H
#define KERNELS_BLOCKS_ACT_H

#include <stdint.h>

struct block_q8a {
    int8_t q[32];
    float scale[2];
    int32_t bias[2];
    float sum[2], sum32;
    uint32_t zero;
} __attribute__((packed));

_Static_assert(sizeof(struct block_q8a) == 64, "q8a is a cache line");

#endif
