/* tile_ref.c - products with tiles: the definition of tile.h, row by row. */
#include "kernels/ref.h"
#include "kernels/blocks_act.h"
#include "kernels/tile.h"
#include "kernels/unpack.h"

#include <math.h>

/* One block of a weight row with its part of an activation row. */
static float add_block(float y, const struct unpacked *u, const struct tile_info *info,
                       const struct block_q8a *x)
{
    for (int j = 0; j < info->elems / 32; j++, x++) {
        float t = 0;
        for (int h = 0; h < 2; h++) {
            int g = 2 * j + h, sum = 0;
            for (int i = 0; i < 16; i++)
                sum += u->q[16 * g + i] * x->q[16 * h + i];
            if (info->per == 16)
                y = fmaf(u->scale[g], (float)sum * x->scale[h], y);
            else
                t = h ? fmaf((float)sum, x->scale[h], t) : (float)sum * x->scale[h];
            if (info->per == 16 && info->offset)
                y = fmaf(u->offset[g], x->sum[h], y);
        }
        if (info->per == 32)
            y = fmaf(u->scale[2 * j], t, y);
        if (info->per == 32 && info->offset)
            y = fmaf(u->offset[2 * j], x->sum32, y);
    }
    return y;
}

typedef void unpack_fn(struct unpacked *u, const void *block);

static void mul_integer(const struct tile_mul *m, enum qtype q, unpack_fn *unpack)
{
    const struct tile_info *info = &tile_info[q];
    int64_t n_block = m->n / info->elems, tile_bytes = TILE_ROWS * qtype_info[q].block_bytes;
    uint8_t block[256];
    struct unpacked u;

    for (int64_t i = 0; i < m->n_x; i++)
        for (int r = 0; r < m->n_group * TILE_ROWS; r++)
            m->y[i][r] = 0;
    for (int r = 0; r < m->n_group * TILE_ROWS; r++)
        for (int64_t b = 0; b < n_block; b++) {
            int64_t tile = r / TILE_ROWS * n_block + b;
            tile_unpack_row(q, block, m->group + tile * tile_bytes, r % TILE_ROWS, info->elems);
            unpack(&u, block);
            for (int64_t i = 0; i < m->n_x; i++)
                m->y[i][r] = add_block(m->y[i][r], &u, info,
                                       (const struct block_q8a *)m->x[i] + b * info->elems / 32);
        }
}

static void mul_float(const struct tile_mul *m, enum qtype q, dequant_fn *dequant)
{
    int64_t size = qtype_info[q].block_bytes;
    uint8_t raw[4 * TILE_CHUNK];
    float w[TILE_CHUNK];

    for (int r = 0; r < m->n_group * TILE_ROWS; r++)
        for (int64_t at = 0, n; at < m->n || at == 0; at += TILE_CHUNK) {
            int64_t first = r / TILE_ROWS * m->n + at;
            n = m->n - at < TILE_CHUNK ? m->n - at : TILE_CHUNK;
            tile_unpack_row(q, raw, m->group + first * TILE_ROWS * size, r % TILE_ROWS, n);
            dequant(w, raw, n);
            for (int64_t i = 0; i < m->n_x; i++) {
                const float *x = (const float *)m->x[i] + at;
                float c = 0;
                for (int64_t k = 0; k < n; k++)
                    c = fmaf(w[k], x[k], c);
                m->y[i][r] = (at ? m->y[i][r] : 0) + c;
            }
        }
}

#define MUL_INTEGER(id)                                                                 \
static void unpack_any_##id(struct unpacked *u, const void *block)                      \
{                                                                                       \
    unpack_##id(u, block);                                                              \
}                                                                                       \
void tile_mul_##id(const struct tile_mul *m)                                            \
{                                                                                       \
    mul_integer(m, QTYPE_##id, unpack_any_##id);                                        \
}
#define MUL_FLOAT(id)                                                                   \
void tile_mul_##id(const struct tile_mul *m)                                            \
{                                                                                       \
    mul_float(m, QTYPE_##id, dequant_##id);                                             \
}
MUL_FLOAT(f32)
MUL_FLOAT(f16)
MUL_FLOAT(bf16)
MUL_INTEGER(q4_0)
MUL_INTEGER(q4_1)
MUL_INTEGER(q5_0)
MUL_INTEGER(q5_1)
MUL_INTEGER(q8_0)
MUL_INTEGER(q2_k)
MUL_INTEGER(q3_k)
MUL_INTEGER(q4_k)
MUL_INTEGER(q5_k)
MUL_INTEGER(q6_k)
MUL_INTEGER(iq4_nl)
MUL_INTEGER(iq4_xs)
MUL_INTEGER(mxfp4)
MUL_INTEGER(iq2_xxs)
MUL_INTEGER(iq2_xs)
MUL_INTEGER(iq2_s)
MUL_INTEGER(iq3_xxs)
MUL_INTEGER(iq3_s)
MUL_INTEGER(iq1_s)
MUL_INTEGER(iq1_m)
MUL_INTEGER(tq1_0)
MUL_INTEGER(tq2_0)
