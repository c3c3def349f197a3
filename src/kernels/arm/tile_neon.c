/* tile_neon.c - products with tiles on any 64-bit ARM. */
#define VEC_BYTES 16
#include "kernels/tile_open.h"
#include "kernels/arm/tile_arm.h"

/* Products of signed bytes fit 16 bits in pairs: 2 * 128 * 127 < 2^15, an activation being above
 * -128.  Rows 0 and 1 are in `low`, 2 and 3 in `high`, two sums each until the end. */
TILE_INLINE int32x4_t dot16(const int8x16_t w[4], int8x16_t x)
{
    int32x4_t low = vdupq_n_s32(0), high = low, quads = vreinterpretq_s32_s8(x);

    UNROLL for (int i = 0; i < 2; i++) {
        int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(quads[2 * i]));
        int8x16_t b = vreinterpretq_s8_s32(vdupq_n_s32(quads[2 * i + 1]));
        int16x8_t l = vmull_s8(vget_low_s8(w[2 * i]), vget_low_s8(a));
        int16x8_t h = vmull_high_s8(w[2 * i], a);
        l = vmlal_s8(l, vget_low_s8(w[2 * i + 1]), vget_low_s8(b));
        h = vmlal_high_s8(h, w[2 * i + 1], b);
        low = vpadalq_s16(low, l);
        high = vpadalq_s16(high, h);
    }
    return vpaddq_s32(low, high);
}

TILE_ARM(neon)
