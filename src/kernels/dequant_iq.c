/* dequant_iq.c - what the bytes of the IQ types mean: rows of a grid with signs and scales. */
#include "kernels/ref.h"
#include "kernels/iq_grids.h"
#include "kernels/unpack.h"
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
static void put_row8(int8_t *q, unsigned row, unsigned signs)
{
    for (int j = 0; j < 8; j++) {
        int v = levels_iq2[row >> 2 * j & 3];
        q[j] = (int8_t)(signs >> j & 1 ? -v : v);
    }
}

/* One grid row of 4 elements, 3 bits each. */
static void put_row4(int8_t *q, const int8_t *levels, unsigned row, unsigned signs)
{
    for (int j = 0; j < 4; j++) {
        int v = levels[row >> 3 * j & 7];
        q[j] = (int8_t)(signs >> j & 1 ? -v : v);
    }
}

void unpack_iq2_xxs(struct unpacked *u, const struct block_iq2_xxs *b)
{
    for (int g = 0; g < 8; g++) {
        uint32_t w;
        memcpy(&w, b->group[g].signs_scale, 4);
        u->scale[2 * g] = u->scale[2 * g + 1] =
            f16_to_f32(b->d) * (0.5f + (float)(w >> 28)) * 0.25f;
        for (int l = 0; l < 4; l++)
            put_row8(u->q + 32 * g + 8 * l, grid_iq2_xxs[b->group[g].index[l]],
                     even_signs(w >> 7 * l & 127));
    }
}

/* The sixteen scales of four bits of iq2_xs and iq2_s. */
static void unpack_scales_iq2(struct unpacked *u, const uint8_t *scales, float d)
{
    for (int g = 0; g < 16; g++)
        u->scale[g] = d * (0.5f + (float)(scales[g / 2] >> 4 * (g % 2) & 15)) * 0.25f;
}

void unpack_iq2_xs(struct unpacked *u, const struct block_iq2_xs *b)
{
    unpack_scales_iq2(u, b->scales, f16_to_f32(b->d));
    for (int g = 0; g < 32; g++)
        put_row8(u->q + 8 * g, grid_iq2_xs[b->qs[g] & 511], even_signs(b->qs[g] >> 9));
}

void unpack_iq2_s(struct unpacked *u, const struct block_iq2_s *b)
{
    unpack_scales_iq2(u, b->scales, f16_to_f32(b->d));
    for (int g = 0; g < 32; g++) {
        int index = b->qs[g] | (b->qh[g / 4] >> 2 * (g % 4) & 3) << 8;
        put_row8(u->q + 8 * g, grid_iq2_s[index], b->signs[g]);
    }
}

void unpack_iq3_xxs(struct unpacked *u, const struct block_iq3_xxs *b)
{
    for (int g = 0; g < 8; g++) {
        uint32_t w = b->signs_scale[g];
        u->scale[2 * g] = u->scale[2 * g + 1] =
            f16_to_f32(b->d) * (0.5f + (float)(w >> 28)) * 0.5f;
        for (int l = 0; l < 8; l++)
            put_row4(u->q + 32 * g + 4 * l, levels_iq3_xxs, grid_iq3_xxs[b->qs[8 * g + l]],
                     even_signs(w >> 7 * (l / 2) & 127) >> 4 * (l % 2));
    }
}

void unpack_iq3_s(struct unpacked *u, const struct block_iq3_s *b)
{
    for (int g = 0; g < 16; g++) {
        int nib = b->scales[g / 4] >> (g / 2 % 2 ? 4 : 0) & 15;
        u->scale[g] = f16_to_f32(b->d) * (float)(1 + 2 * nib);
    }
    for (int g = 0; g < 64; g++) {
        int index = b->qs[g] | (b->qh[g / 8] >> g % 8 & 1) << 8;
        put_row4(u->q + 4 * g, levels_iq3_s, grid_iq3_s[index],
                 (unsigned)b->signs[g / 2] >> (g % 2 ? 4 : 0));
    }
}

/* A level and an eighth more or less, in eighths. */
static void put_iq1(int8_t *q, int index, bool less)
{
    for (int j = 0; j < 8; j++)
        q[j] = (int8_t)(8 * levels_iq1[grid_iq1[index] >> 2 * j & 3] + (less ? -1 : 1));
}

void unpack_iq1_s(struct unpacked *u, const struct block_iq1_s *b)
{
    for (int g = 0; g < 32; g++) {
        int high = b->qh[g / 4];
        u->scale[g / 2] = f16_to_f32(b->d) * (float)(2 * (high >> 12 & 7) + 1) * 0.125f;
        put_iq1(u->q + 8 * g, b->qs[g] | (high >> 3 * (g % 4) & 7) << 8, high & 0x8000);
    }
}

/* The block's half float is spread over the top four bits of its four scale words. */
void unpack_iq1_m(struct unpacked *u, const struct block_iq1_m *b)
{
    const uint16_t s[4] = { b->scales[0], b->scales[1], b->scales[2], b->scales[3] };
    float d = f16_to_f32((uint16_t)(s[0] >> 12 | (s[1] >> 12) << 4 | (s[2] >> 12) << 8 |
                                    (s[3] >> 12) << 12));

    for (int g = 0; g < 16; g++)
        u->scale[g] = d * (float)(2 * (s[g / 4] >> 3 * (g % 4) & 7) + 1) * 0.125f;
    for (int g = 0; g < 32; g++) {
        int nib = b->qh[g / 2] >> (g % 2 ? 4 : 0) & 15;
        put_iq1(u->q + 8 * g, b->qs[g] | (nib & 7) << 8, nib & 8);
    }
}

/* 32 elements in nibble order, through the table of 16 levels. */
static void put_iq4(int8_t *q, const uint8_t *qs)
{
    for (int i = 0; i < 16; i++) {
        q[i] = levels_iq4[qs[i] & 15];
        q[i + 16] = levels_iq4[qs[i] >> 4];
    }
}

void unpack_iq4_nl(struct unpacked *u, const struct block_iq4_nl *b)
{
    u->scale[0] = u->scale[1] = f16_to_f32(b->d);
    put_iq4(u->q, b->qs);
}

void unpack_iq4_xs(struct unpacked *u, const struct block_iq4_xs *b)
{
    for (int g = 0; g < 8; g++) {
        int low = b->scales_l[g / 2] >> (g % 2 ? 4 : 0) & 15;
        int s = low | (b->scales_h >> 2 * g & 3) << 4;
        u->scale[2 * g] = u->scale[2 * g + 1] = f16_to_f32(b->d) * (float)(s - 32);
        put_iq4(u->q + 32 * g, b->qs + 16 * g);
    }
}

DEQUANT(iq2_xxs, 256, )
DEQUANT(iq2_xs, 256, )
DEQUANT(iq2_s, 256, )
DEQUANT(iq3_xxs, 256, )
DEQUANT(iq3_s, 256, )
DEQUANT(iq1_s, 256, )
DEQUANT(iq1_m, 256, )
DEQUANT(iq4_nl, 32, )
DEQUANT(iq4_xs, 256, )
