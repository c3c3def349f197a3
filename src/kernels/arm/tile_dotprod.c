/* tile_dotprod.c - products with tiles with the dot product instructions of ARMv8.2. */
#define VEC_BYTES 16
#include "kernels/tile_open.h"
#include "kernels/arm/tile_arm.h"

TILE_INLINE int32x4_t dot16(const int8x16_t w[4], int8x16_t x)
{
    int32x4_t d = vdupq_n_s32(0);

    d = vdotq_laneq_s32(d, w[0], x, 0);
    d = vdotq_laneq_s32(d, w[1], x, 1);
    d = vdotq_laneq_s32(d, w[2], x, 2);
    return vdotq_laneq_s32(d, w[3], x, 3);
}

TILE_ARM(dotprod)
