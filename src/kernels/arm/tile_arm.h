/* tile_arm.h - products with tiles for both ARM levels, which differ in one step, dot16().
 *
 * A file for one level includes tile_open.h with VEC_BYTES 16, then this, defines dot16() and
 * expands TILE_ARM.  Weights are placed as signed bytes, the stored number less its center, so a
 * product needs neither bias nor a wide and a narrow form.  Reference: ../tile_ref.c.
 */
#ifndef KERNELS_TILE_ARM_H
#define KERNELS_TILE_ARM_H

#include "kernels/blocks.h"
#include "kernels/arm/arm.h"

/* Sums of 16 products for four rows: w[i] has four elements of each row, x sixteen elements. */
static int32x4_t dot16(const int8x16_t w[4], int8x16_t x);

/* Activation rows and vectors of weight rows that are multiplied at a time. */
enum { TOK = 4, ROW_VECS = 2 };

TILE_INLINE vec_f vec_half(const uint8_t *p)
{
    return (vec_f)half_to_f32x4(p);
}

TILE_INLINE vec_u vec_bytes(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return (vec_u)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(v))));
}

TILE_INLINE vec_u vec_place(vec_u v, unsigned center)
{
    if (center == 128)                  /* signed already */
        return v;
    return (vec_u)vsubq_u8(vreinterpretq_u8_u32((uint32x4_t)v), vdupq_n_u8((uint8_t)center));
}

TILE_INLINE vec_u vec_shuffle(vec_u v, vec_u at)
{
    return (vec_u)vqtbl1q_u8(vreinterpretq_u8_u32((uint32x4_t)v),
                             vreinterpretq_u8_u32((uint32x4_t)at));
}
#define vec_shuffle vec_shuffle
#include "kernels/tile_open_iq.h"

/* What follows the products of a block: y += scale * half, y += offset * sum. */
TILE_INLINE float32x4_t add_scaled(float32x4_t y, const float *scale, const float *offset,
                                   float32x4_t half, float sum, int kind)
{
    y = vfmaq_f32(y, vld1q_f32(scale), half);
    return kind & 2 ? vfmaq_n_f32(y, vld1q_f32(offset), sum) : y;
}

/* Rows r .. r + 7 of a panel times n_t activation rows, a constant. */
TILE_INLINE void add_block(const struct panel *p, int r, const struct block_q8a *const *x, int n_t,
                           int n_block, float *acc, int64_t ld, int kind)
{
    float32x4_t y[ROW_VECS][TOK];

    UNROLL for (int v = 0; v < ROW_VECS; v++)
        UNROLL for (int t = 0; t < n_t; t++)
            y[v][t] = vld1q_f32(acc + t * ld + 4 * v);
    for (int b = 0; b < n_block; b++) {
        float32x4_t half[ROW_VECS][TOK];
        UNROLL for (int h = 0; h < 2; h++)
            UNROLL for (int v = 0; v < ROW_VECS; v++) {
                int at = r + 4 * v, s = 2 * b + h;
                int8x16_t w[4];
                UNROLL for (int i = 0; i < 4; i++)
                    w[i] = load_i8(p->q[8 * b + 4 * h + i][at]);
                UNROLL for (int t = 0; t < n_t; t++) {
                    const struct block_q8a *a = &x[t][b];
                    float32x4_t d = vcvtq_f32_s32(dot16(w, load_i8(a->q + 16 * h)));
                    if (kind & 1)
                        y[v][t] = add_scaled(y[v][t], p->scale[s] + at, p->offset[s] + at,
                                             vmulq_n_f32(d, a->scale[h]), a->sum[h], kind);
                    else
                        half[v][t] = h ? vfmaq_n_f32(half[v][t], d, a->scale[h]) :
                                         vmulq_n_f32(d, a->scale[h]);
                }
            }
        if (kind & 1)
            continue;
        UNROLL for (int v = 0; v < ROW_VECS; v++)
            UNROLL for (int t = 0; t < n_t; t++)
                y[v][t] = add_scaled(y[v][t], p->scale[b] + r + 4 * v, p->offset[b] + r + 4 * v,
                                     half[v][t], x[t][b].sum32, kind);
    }
    UNROLL for (int v = 0; v < ROW_VECS; v++)
        UNROLL for (int t = 0; t < n_t; t++)
            vst1q_f32(acc + t * ld + 4 * v, y[v][t]);
}

TILE_INLINE void add_rows(const struct tile_mul *m, const struct panel *p, int n_p, int64_t x_at,
                          int n, float *acc, int kind)
{
    int64_t ld = m->n_group * TILE_ROWS;

    for (int64_t i = 0; i < m->n_x; i += TOK) {
        const struct block_q8a *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const struct block_q8a *)m->x[i + t] + x_at / 32;
        for (int r = 0; r < n_p * TILE_ROWS; r += ROW_VECS * VEC_ROWS) {
            const struct panel *from = p + r / TILE_ROWS;
            float *to = acc + i * ld + r;
            int n_b = n / 32, row = r % TILE_ROWS;
            switch (n_t) {
            case 1: add_block(from, row, x, 1, n_b, to, ld, kind); break;
            case 2: add_block(from, row, x, 2, n_b, to, ld, kind); break;
            case 3: add_block(from, row, x, 3, n_b, to, ld, kind); break;
            default: add_block(from, row, x, TOK, n_b, to, ld, kind);
            }
        }
    }
}

#define ADD(kind)                                                                           \
static __attribute__((noinline)) void add_##kind(const struct tile_mul *m,                  \
    const struct panel *p, int n_p, int64_t x_at, int n, float *acc)                        \
{                                                                                           \
    add_rows(m, p, n_p, x_at, n, acc, kind);                                                \
}
ADD(0)
ADD(1)
ADD(2)
ADD(3)

TILE_INLINE void add_panels(const struct tile_mul *m, const struct panel *p, int n_p, int col,
                            int64_t x_at, int n, float *acc, int kind, int center)
{
    (void)center;
    acc += col * TILE_ROWS;
    (kind == 0 ? add_0 : kind == 1 ? add_1 : kind == 2 ? add_2 : add_3)(m, p, n_p, x_at, n, acc);
}

TILE_INLINE void add_float_block(const float *w, const float *const *x, int n_t, int n, float *acc,
                                 int64_t ld)
{
    float32x4_t sum[TOK][4];

    UNROLL for (int t = 0; t < n_t; t++)
        UNROLL for (int v = 0; v < 4; v++)
            sum[t][v] = vdupq_n_f32(0);
    for (int k = 0; k < n; k++) {
        float32x4_t a[4];
        UNROLL for (int v = 0; v < 4; v++)
            a[v] = vld1q_f32(w + k * TILE_ROWS + 4 * v);
        UNROLL for (int t = 0; t < n_t; t++)
            UNROLL for (int v = 0; v < 4; v++)
                sum[t][v] = vfmaq_n_f32(sum[t][v], a[v], x[t][k]);
    }
    UNROLL for (int t = 0; t < n_t; t++)
        UNROLL for (int v = 0; v < 4; v++) {
            float *to = acc + t * ld + 4 * v;
            vst1q_f32(to, vaddq_f32(vld1q_f32(to), sum[t][v]));
        }
}

static __attribute__((noinline)) void add_floats(const struct tile_mul *m, const float *w, int n_p,
                                                 int col, int64_t x_at, int n, float *acc)
{
    int64_t ld = m->n_group * TILE_ROWS;

    for (int64_t i = 0; i < m->n_x; i += TOK) {
        const float *x[TOK];
        int n_t = m->n_x - i < TOK ? (int)(m->n_x - i) : TOK;
        for (int t = 0; t < n_t; t++)
            x[t] = (const float *)m->x[i + t] + x_at;
        for (int g = 0; g < n_p; g++) {
            const float *from = w + g * n * TILE_ROWS;
            float *to = acc + i * ld + (col + g) * TILE_ROWS;
            switch (n_t) {
            case 1: add_float_block(from, x, 1, n, to, ld); break;
            case 2: add_float_block(from, x, 2, n, to, ld); break;
            case 3: add_float_block(from, x, 3, n, to, ld); break;
            default: add_float_block(from, x, TOK, n, to, ld);
            }
        }
    }
}

TILE_INLINE vec_f vec_float_f32(const uint8_t *p)
{
    return (vec_f)vec_load(p);
}

TILE_INLINE vec_f vec_float_f16(const uint8_t *p)
{
    return vec_half(p);
}

TILE_INLINE vec_f vec_float_bf16(const uint8_t *p)
{
    return (vec_f)bf16_to_f32x4(p);
}

#include "kernels/tile_drive.h"

/* The types that have a product here, and kernels_add_tile_<isa>(). */
#define TILE_ARM_TYPES(F, I, isa)                                                           \
    F(f32, isa) F(f16, isa) F(bf16, isa)                                                    \
    I(q4_0, isa) I(q4_1, isa) I(q5_0, isa) I(q5_1, isa) I(q8_0, isa)                        \
    I(q2_k, isa) I(q3_k, isa) I(q4_k, isa) I(q5_k, isa) I(q6_k, isa)                        \
    I(iq4_nl, isa) I(iq4_xs, isa) I(mxfp4, isa) I(tq1_0, isa) I(tq2_0, isa)                 \
    I(iq2_xxs, isa) I(iq2_xs, isa) I(iq2_s, isa) I(iq3_xxs, isa) I(iq3_s, isa)              \
    I(iq1_s, isa) I(iq1_m, isa)
#define TILE_ARM_FLOAT(id, isa) NO_DIRECT(id) DRIVE_FLOAT(id, isa)
#define TILE_ARM_INTEGER(id, isa) NO_DIRECT(id) DRIVE_INTEGER(id, isa)
#define TILE_ARM_SET(id, isa) k->mul[QTYPE_##id] = tile_mul_##id##_##isa;

#define TILE_ARM(isa)                                                                       \
TILE_ARM_TYPES(TILE_ARM_FLOAT, TILE_ARM_INTEGER, isa)                                       \
void kernels_add_tile_##isa(struct kernels *k)                                              \
{                                                                                           \
    TILE_ARM_TYPES(TILE_ARM_SET, TILE_ARM_SET, isa)                                         \
}

#endif
