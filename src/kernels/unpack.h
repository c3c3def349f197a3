/* unpack.h - a block of an integer type as small integers with scales: the step that the
 * dequantising and the multiplying references share, so that the bits are read in one place.
 *
 *   w[i] = scale[i / 16] * q[i]                        the types without an offset
 *   w[i] = scale[i / 16] * q[i] + offset[i / 16]       q4_1, q5_1, q2_k, q4_k, q5_k
 */
#ifndef KERNELS_UNPACK_H
#define KERNELS_UNPACK_H

#include "kernels/blocks.h"

struct unpacked {
    int8_t q[256];
    float scale[16], offset[16];        /* offset is not set for types without one */
};

void unpack_q4_0(struct unpacked *u, const struct block_q4_0 *b);
void unpack_q4_1(struct unpacked *u, const struct block_q4_1 *b);
void unpack_q5_0(struct unpacked *u, const struct block_q5_0 *b);
void unpack_q5_1(struct unpacked *u, const struct block_q5_1 *b);
void unpack_q8_0(struct unpacked *u, const struct block_q8_0 *b);
void unpack_q2_k(struct unpacked *u, const struct block_q2_k *b);
void unpack_q3_k(struct unpacked *u, const struct block_q3_k *b);
void unpack_q4_k(struct unpacked *u, const struct block_q4_k *b);
void unpack_q5_k(struct unpacked *u, const struct block_q5_k *b);
void unpack_q6_k(struct unpacked *u, const struct block_q6_k *b);

/* The 6-bit scale and minimum of sub-block j (0..7) of q4_k and q5_k. */
static inline void scale_min_k(uint8_t *scale, uint8_t *min, const uint8_t *s, int j)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
    }
}

/* The scale of 32 mxfp4 values, halved because their table holds doubled values. */
static inline float mxfp4_half_scale(uint8_t e)
{
    union { uint32_t bits; float f; } u;

    u.bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    return u.f;
}

#endif
