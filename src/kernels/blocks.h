/* blocks.h - byte layout of the quantised blocks, shared by all kernel versions.
 *
 * Fields stand in file order, little-endian; d, m and dmin are half floats.  "Nibble order" is:
 * the low nibbles of 16 bytes are elements 0..15, the high nibbles 16..31.  The formulas are in
 * dequant_*.c.  Source: GGUF, ggml-common.h.  All are packed: a row may start at any address. */
#ifndef KERNELS_BLOCKS_H
#define KERNELS_BLOCKS_H

#include <stdint.h>

#define BLOCK(id, bytes, ...)                                                  \
    struct block_##id { __VA_ARGS__ } __attribute__((packed));                 \
    _Static_assert(sizeof(struct block_##id) == (bytes), #id " is a file format")

/* 32 elements */
BLOCK(q4_0,   18, uint16_t d; uint8_t qs[16];);
BLOCK(q4_1,   20, uint16_t d, m; uint8_t qs[16];);
BLOCK(q5_0,   22, uint16_t d; uint32_t qh; uint8_t qs[16];);
BLOCK(q5_1,   24, uint16_t d, m; uint32_t qh; uint8_t qs[16];);
BLOCK(q8_0,   34, uint16_t d; int8_t q[32];);
BLOCK(iq4_nl, 18, uint16_t d; uint8_t qs[16];);
BLOCK(mxfp4,  17, uint8_t e; uint8_t qs[16];);

/* 256 elements */
BLOCK(q2_k,    84, uint8_t scales[16], qs[64]; uint16_t d, dmin;);
BLOCK(q3_k,   110, uint8_t hmask[32], qs[64], scales[12]; uint16_t d;);
BLOCK(q4_k,   144, uint16_t d, dmin; uint8_t scales[12], qs[128];);
BLOCK(q5_k,   176, uint16_t d, dmin; uint8_t scales[12], qh[32], qs[128];);
BLOCK(q6_k,   210, uint8_t ql[128], qh[64]; int8_t scales[16]; uint16_t d;);
BLOCK(iq2_xxs, 66, uint16_t d; struct { uint8_t index[4]; uint8_t signs_scale[4]; } group[8];);
BLOCK(iq2_xs,  74, uint16_t d; uint16_t qs[32]; uint8_t scales[8];);
BLOCK(iq2_s,   82, uint16_t d; uint8_t qs[32], signs[32], qh[8], scales[8];);
BLOCK(iq3_xxs, 98, uint16_t d; uint8_t qs[64]; uint32_t signs_scale[8];);
BLOCK(iq3_s,  110, uint16_t d; uint8_t qs[64], qh[8], signs[32], scales[4];);
BLOCK(iq1_s,   50, uint16_t d; uint8_t qs[32]; uint16_t qh[8];);
BLOCK(iq1_m,   56, uint8_t qs[32], qh[16]; uint16_t scales[4];);
BLOCK(iq4_xs, 136, uint16_t d, scales_h; uint8_t scales_l[4], qs[128];);
BLOCK(tq1_0,   54, uint8_t qs[48], qh[4]; uint16_t d;);
BLOCK(tq2_0,   66, uint8_t qs[64]; uint16_t d;);

#undef BLOCK

#endif
