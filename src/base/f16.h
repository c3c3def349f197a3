/* f16.h - half precision (IEEE 754) and bfloat16 in portable C: one value at a time, exact. */
#ifndef BASE_F16_H
#define BASE_F16_H

#include <stdint.h>
#include <string.h>

static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, mant = h & 1023, bits;
    float f;

    if (exp == 31) {
        bits = sign | 0x7f800000u | mant << 13;
    } else if (exp) {
        bits = sign | (exp + 112) << 23 | mant << 13;
    } else {                                    /* zero or subnormal: mant * 2^-24 */
        f = (float)mant * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, 4);
    return f;
}

/* Round to nearest, ties to even; too large becomes infinity. */
static inline uint16_t f16_from_f32(float f)
{
    uint32_t bits, sign, mant;
    int exp;

    memcpy(&bits, &f, 4);
    sign = bits >> 16 & 0x8000;
    exp = (int)(bits >> 23 & 255) - 112;
    mant = bits & 0x7fffff;
    if (exp >= 31)
        return (uint16_t)(sign | 0x7c00 | (exp == 143 && mant ? 0x200 : 0));
    if (exp <= 0) {
        if (exp < -10)
            return (uint16_t)sign;
        mant |= 0x800000;
        int shift = 14 - exp;
        uint32_t half = mant >> shift, rest = mant & ((1u << shift) - 1), mid = 1u << (shift - 1);
        return (uint16_t)(sign | (half + (rest > mid || (rest == mid && (half & 1)))));
    }
    uint32_t half = (uint32_t)exp << 10 | mant >> 13, rest = mant & 0x1fff;
    return (uint16_t)(sign | (half + (rest > 0x1000 || (rest == 0x1000 && (half & 1)))));
}

static inline float bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;

    memcpy(&f, &bits, 4);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_f32(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
