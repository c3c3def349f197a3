/* blocks_act.h - the one form activations are rounded to before an integer product.
 *
 * 32 values in 44 bytes, as two halves of 16.  In half h, x[i] = scale[h] * q[i], q in
 * -127..127, scale[h] = max|x| / 127 in f32; sum[h] is the sum of its q, so that a weight block
 * with an offset needs no second pass: sum of (d*w - m) * x = scale * (d * sum(w*q) - m * sum(q)).
 * A half whose max|x| is below 2^-100 is all zero; one with a NaN or an infinity has scale
 * NaN, so that the product shows it.  Packed: a row may start at any address.
 * Halves, because one outlier costs its neighbours their precision: a scale for all 32 values
 * gave log-probabilities with larger errors than llama.cpp has. */
#ifndef KERNELS_BLOCKS_ACT_H
#define KERNELS_BLOCKS_ACT_H

#include <stdint.h>

struct block_q8a {
    float scale[2];
    int16_t sum[2];
    int8_t q[32];
} __attribute__((packed));

_Static_assert(sizeof(struct block_q8a) == 44, "q8a is 44 bytes");

#endif
