/* dequant_iq.c - what the bytes of the IQ types mean: rows of a grid with signs and scales. */
#include "kernels/ref.h"
#include "kernels/blocks.h"
#include "kernels/iq_grids.h"
#include "base/f16.h"

#include <string.h>

static const int8_t levels_iq2[4] = { 8, 25, 43, 0 };
static const int8_t levels_iq3_xxs[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };
static const int8_t levels_iq3_s[8] = { 1, 3, 5, 7, 9, 11, 13, 15 };
static const int8_t levels_iq1[4] = { -1, 0, 1, 0 };
static const int8_t levels_iq4[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                       1, 13, 25, 38, 53, 69, 89, 113 };

/* Seven stored signs and an eighth that makes the number of minus signs even. */
static unsigned even_signs(unsigned seven)
{
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

/* One grid row of 8 elements, 2 bits each; bit j of signs makes element j negative. */
static void put_row8(float *out, float scale, unsigned row, unsigned signs)
{
    for (int j = 0; j < 8; j++) {
        float v = scale * (float)levels_iq2[row >> 2 * j & 3];
        out[j] = signs >> j & 1 ? -v : v;
    }
}

/* One grid row of 4 elements, 3 bits each. */
static void put_row4(float *out, float scale, const int8_t *levels, unsigned row, unsigned signs)
{
    for (int j = 0; j < 4; j++) {
        float v = scale * (float)levels[row >> 3 * j & 7];
        out[j] = signs >> j & 1 ? -v : v;
    }
}

void dequant_iq2_xxs(float *out, const void *x, int64_t n)
{
    const struct block_iq2_xxs *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 8; g++) {
            uint32_t w;
            memcpy(&w, b->group[g].signs_scale, 4);
            float scale = f16_to_f32(b->d) * (0.5f + (float)(w >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++, out += 8)
                put_row8(out, scale, grid_iq2_xxs[b->group[g].index[l]],
                         even_signs(w >> 7 * l & 127));
        }
    }
}

void dequant_iq2_xs(float *out, const void *x, int64_t n)
{
    const struct block_iq2_xs *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 32; g++, out += 8) {
            int nib = b->scales[g / 4] >> (g % 4 < 2 ? 0 : 4) & 15;
            float scale = f16_to_f32(b->d) * (0.5f + (float)nib) * 0.25f;
            put_row8(out, scale, grid_iq2_xs[b->qs[g] & 511], even_signs(b->qs[g] >> 9));
        }
    }
}

void dequant_iq2_s(float *out, const void *x, int64_t n)
{
    const struct block_iq2_s *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 32; g++, out += 8) {
            int nib = b->scales[g / 4] >> (g % 4 < 2 ? 0 : 4) & 15;
            int index = b->qs[g] | (b->qh[g / 4] >> 2 * (g % 4) & 3) << 8;
            float scale = f16_to_f32(b->d) * (0.5f + (float)nib) * 0.25f;
            put_row8(out, scale, grid_iq2_s[index], b->signs[g]);
        }
    }
}

void dequant_iq3_xxs(float *out, const void *x, int64_t n)
{
    const struct block_iq3_xxs *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 8; g++) {
            uint32_t w = b->signs_scale[g];
            float scale = f16_to_f32(b->d) * (0.5f + (float)(w >> 28)) * 0.5f;
            for (int l = 0; l < 4; l++, out += 8) {
                const uint8_t *index = &b->qs[8 * g + 2 * l];
                unsigned signs = even_signs(w >> 7 * l & 127);
                put_row4(out, scale, levels_iq3_xxs, grid_iq3_xxs[index[0]], signs);
                put_row4(out + 4, scale, levels_iq3_xxs, grid_iq3_xxs[index[1]], signs >> 4);
            }
        }
    }
}

void dequant_iq3_s(float *out, const void *x, int64_t n)
{
    const struct block_iq3_s *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 64; g++, out += 4) {
            int nib = b->scales[g / 16] >> (g / 8 % 2 ? 4 : 0) & 15;
            int index = b->qs[g] | (b->qh[g / 8] >> g % 8 & 1) << 8;
            float scale = f16_to_f32(b->d) * (float)(1 + 2 * nib);
            put_row4(out, scale, levels_iq3_s, grid_iq3_s[index],
                     (unsigned)b->signs[g / 2] >> (g % 2 ? 4 : 0));
        }
    }
}

static void put_iq1(float *out, float scale, int index, float delta)
{
    for (int j = 0; j < 8; j++)
        out[j] = scale * ((float)levels_iq1[grid_iq1[index] >> 2 * j & 3] + delta);
}

void dequant_iq1_s(float *out, const void *x, int64_t n)
{
    const struct block_iq1_s *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 32; g++, out += 8) {
            int high = b->qh[g / 4], index = b->qs[g] | (high >> 3 * (g % 4) & 7) << 8;
            float scale = f16_to_f32(b->d) * (float)(2 * (high >> 12 & 7) + 1);
            put_iq1(out, scale, index, high & 0x8000 ? -0.125f : 0.125f);
        }
    }
}

/* The block's half float is spread over the top four bits of its four scale words. */
void dequant_iq1_m(float *out, const void *x, int64_t n)
{
    const struct block_iq1_m *b = x;

    for (; n > 0; n -= 256, b++) {
        const uint16_t s[4] = { b->scales[0], b->scales[1], b->scales[2], b->scales[3] };
        float d = f16_to_f32((uint16_t)(s[0] >> 12 | (s[1] >> 12) << 4 | (s[2] >> 12) << 8 |
                                        (s[3] >> 12) << 12));
        for (int g = 0; g < 32; g++, out += 8) {
            int nib = b->qh[g / 2] >> (g % 2 ? 4 : 0) & 15, index = b->qs[g] | (nib & 7) << 8;
            float scale = d * (float)(2 * (s[g / 8] >> 3 * (g / 2 % 4) & 7) + 1);
            put_iq1(out, scale, index, nib & 8 ? -0.125f : 0.125f);
        }
    }
}

/* 32 elements in nibble order, through the table of 16 levels. */
static void put_iq4(float *out, float scale, const uint8_t *qs)
{
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)levels_iq4[qs[i] & 15];
        out[i + 16] = scale * (float)levels_iq4[qs[i] >> 4];
    }
}

void dequant_iq4_nl(float *out, const void *x, int64_t n)
{
    const struct block_iq4_nl *b = x;

    for (; n > 0; n -= 32, out += 32, b++)
        put_iq4(out, f16_to_f32(b->d), b->qs);
}

void dequant_iq4_xs(float *out, const void *x, int64_t n)
{
    const struct block_iq4_xs *b = x;

    for (; n > 0; n -= 256, b++) {
        for (int g = 0; g < 8; g++, out += 32) {
            int low = b->scales_l[g / 2] >> (g % 2 ? 4 : 0) & 15;
            int s = low | (b->scales_h >> 2 * g & 3) << 4;
            put_iq4(out, f16_to_f32(b->d) * (float)(s - 32), b->qs + 16 * g);
        }
    }
}
