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
void unpack_iq4_nl(struct unpacked *u, const struct block_iq4_nl *b);
void unpack_iq4_xs(struct unpacked *u, const struct block_iq4_xs *b);
void unpack_mxfp4(struct unpacked *u, const struct block_mxfp4 *b);
void unpack_iq2_xxs(struct unpacked *u, const struct block_iq2_xxs *b);
void unpack_iq2_xs(struct unpacked *u, const struct block_iq2_xs *b);
void unpack_iq2_s(struct unpacked *u, const struct block_iq2_s *b);
void unpack_iq3_xxs(struct unpacked *u, const struct block_iq3_xxs *b);
void unpack_iq3_s(struct unpacked *u, const struct block_iq3_s *b);
void unpack_iq1_s(struct unpacked *u, const struct block_iq1_s *b);
void unpack_iq1_m(struct unpacked *u, const struct block_iq1_m *b);
void unpack_tq1_0(struct unpacked *u, const struct block_tq1_0 *b);
void unpack_tq2_0(struct unpacked *u, const struct block_tq2_0 *b);

/* Defines dequant_<id>: blocks of n elements, unpacked and multiplied out; offset_expr is empty
 * for types without an offset. */
#define DEQUANT(id, n_elem, offset_expr)                                \
void dequant_##id(float *out, const void *x, int64_t n)                 \
{                                                                       \
    const struct block_##id *b = x;                                     \
    struct unpacked u;                                                  \
                                                                        \
    for (; n > 0; n -= (n_elem), out += (n_elem), b++) {                \
        unpack_##id(&u, b);                                             \
        for (int i = 0; i < (n_elem); i++)                              \
            out[i] = u.scale[i / 16] * (float)u.q[i] offset_expr;       \
    }                                                                   \
}

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
