/* tile_open.h - opening tiles: what fast products share, written once in GNU C vectors.
 *
 * A file for one instruction set includes this after defining
 *   VEC_BYTES                  64, 32 or 16: a vector holds VEC_BYTES / 4 rows
 *   vec_half(p)                as many half floats at p as f32
 *   vec_bytes(p)               as many bytes at p as lanes
 *   vec_place(v, center)       the bytes of v, stored numbers with that center, as the file's
 *                              products want them (center 128: signed bytes)
 * A panel is a chunk of one group opened: for each four elements a vector of 16 rows times four
 * bytes, and per 32 elements (per 16 where the type has it so) a scale and an offset for each row.
 * `open_<type>(panel, at, tile, r)` opens rows r .. r + VEC_ROWS - 1 of one tile; `at` is where
 * its elements begin in the panel, in 32s.  Offsets into a tile are 16 times those of the block.
 */
#ifndef KERNELS_TILE_OPEN_H
#define KERNELS_TILE_OPEN_H

#include "kernels/blocks_act.h"
#include "kernels/ref.h"
#include "kernels/tile.h"

#include <string.h>

enum { VEC_ROWS = VEC_BYTES / 4 };

typedef uint32_t vec_u __attribute__((vector_size(VEC_BYTES)));
typedef int32_t vec_i __attribute__((vector_size(VEC_BYTES)));
typedef float vec_f __attribute__((vector_size(VEC_BYTES)));
typedef uint16_t vec_u16 __attribute__((vector_size(2 * VEC_ROWS)));

struct panel {
    uint8_t q[TILE_CHUNK / 4][TILE_ROWS][4];
    float scale[TILE_CHUNK / 16][TILE_ROWS], offset[TILE_CHUNK / 16][TILE_ROWS];
} __attribute__((aligned(64)));

/* Before a short loop whose index chooses shifts. */
#ifdef __clang__
#define TILE_UNROLL _Pragma("unroll")
#else
#define TILE_UNROLL _Pragma("GCC unroll 8")
#endif

#define TILE_INLINE static inline __attribute__((always_inline))

static vec_f vec_half(const uint8_t *p);
#ifdef vec_spread
static vec_u vec_spread(vec_u v, int i, uint32_t as);
#endif
static vec_u vec_bytes(const uint8_t *p);
static vec_u vec_place(vec_u v, unsigned center);

TILE_INLINE vec_u vec_load(const uint8_t *p)
{
    vec_u v;
    memcpy(&v, p, sizeof(v));
    return v;
}

TILE_INLINE void put_quad(struct panel *p, int quad, int r, vec_u v, unsigned center)
{
    v = vec_place(v, center);
    memcpy(p->q[quad][r], &v, sizeof(v));
}

TILE_INLINE void put_f(float *to, vec_f v)
{
    memcpy(to, &v, sizeof(v));
}

/* Byte j of each lane as f32. */
TILE_INLINE vec_f byte_f(vec_u v, int j)
{
    return __builtin_convertvector((vec_i)(v >> 8 * j & 255), vec_f);
}

/* One signed byte a row as f32. */
TILE_INLINE vec_f rows_i8_f(const uint8_t *p)
{
    return __builtin_convertvector((vec_i)(vec_bytes(p) << 24) >> 24, vec_f);
}

/* Bits 4i .. 4i + 3 as bytes, each `as` (a power of two) or 0. */
#ifndef vec_spread
TILE_INLINE vec_u vec_spread(vec_u v, int i, uint32_t as)
{
    v = v >> 4 * i & 15;
    return ((v | v << 7 | v << 14 | v << 21) & 0x01010101) * as;
}
#endif

/* Of each type whose numbers can be had four at a time: scales_<id>, the scales and offsets of a
 * tile's rows r .., and quad_<id>, elements 4i .. 4i + 3 of the tile's s-th 32, as stored. */
typedef float tile_scales[TILE_ROWS];

TILE_INLINE vec_u nibble(vec_u v, bool high)
{
    return (high ? v >> 4 : v) & 0x0f0f0f0f;
}

TILE_INLINE vec_u quad_q4_0(const uint8_t *tile, int r, int s, int i)
{
    (void)s;
    return nibble(vec_load(tile + 16 * 2 + 64 * (i % 4) + 4 * r), i >= 4);
}

TILE_INLINE void scales_q4_0(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    (void)offset;
    put_f(scale[0] + r, vec_half(tile + 2 * r));
}

TILE_INLINE vec_u quad_q4_1(const uint8_t *tile, int r, int s, int i)
{
    return quad_q4_0(tile + 16 * 2, r, s, i);
}

TILE_INLINE void scales_q4_1(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    put_f(scale[0] + r, vec_half(tile + 2 * r));
    put_f(offset[0] + r, vec_half(tile + 16 * 2 + 2 * r));
}

TILE_INLINE vec_u quad_q5_0(const uint8_t *tile, int r, int s, int i)
{
    vec_u high = vec_load(tile + 16 * 2 + 4 * r);
    return quad_q4_0(tile + 16 * 4, r, s, i) | vec_spread(high, i, 16);
}

TILE_INLINE void scales_q5_0(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    scales_q4_0(scale, offset, tile, r);
}

TILE_INLINE vec_u quad_q5_1(const uint8_t *tile, int r, int s, int i)
{
    return quad_q5_0(tile + 16 * 2, r, s, i);
}

TILE_INLINE void scales_q5_1(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    scales_q4_1(scale, offset, tile, r);
}

TILE_INLINE vec_u quad_q8_0(const uint8_t *tile, int r, int s, int i)
{
    (void)s;
    return vec_load(tile + 16 * 2 + 64 * i + 4 * r);
}

TILE_INLINE void scales_q8_0(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    scales_q4_0(scale, offset, tile, r);
}

TILE_INLINE vec_u quad_q2_k(const uint8_t *tile, int r, int s, int i)
{
    return vec_load(tile + 16 * 16 + 64 * (s / 4 * 8 + i) + 4 * r) >> s % 4 * 2 & 0x03030303;
}

TILE_INLINE void scales_q2_k(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 80 + 2 * r), dmin = vec_half(tile + 16 * 82 + 2 * r);

    for (int g = 0; g < 16; g++) {
        vec_u v = vec_bytes(tile + 16 * g + r);
        put_f(scale[g] + r, d * __builtin_convertvector((vec_i)(v & 15), vec_f));
        put_f(offset[g] + r, -(dmin * __builtin_convertvector((vec_i)(v >> 4), vec_f)));
    }
}

TILE_INLINE vec_u quad_q3_k(const uint8_t *tile, int r, int s, int i)
{
    vec_u high = vec_load(tile + 64 * i + 4 * r) >> s & 0x01010101;
    return quad_q2_k(tile + 16 * 16, r, s, i) | high << 2;
}

TILE_INLINE void scales_q3_k(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    const uint8_t *at = tile + 16 * 96 + 4 * r;
    vec_f d = vec_half(tile + 16 * 108 + 2 * r);
    vec_u low[2] = { vec_load(at), vec_load(at + 64) }, top = vec_load(at + 128);

    (void)offset;
    for (int g = 0; g < 16; g++) {
        vec_u v = (low[g / 4 % 2] >> g / 8 * 4 & 0x0f0f0f0f) |
                  (top >> g / 4 * 2 & 0x03030303) << 4;
        put_f(scale[g] + r, d * (byte_f(v, g % 4) - 32));
    }
}

TILE_INLINE vec_u quad_q4_k(const uint8_t *tile, int r, int s, int i)
{
    return nibble(vec_load(tile + 16 * 16 + 64 * (s / 2 * 8 + i) + 4 * r), s % 2);
}

TILE_INLINE void scales_q4_k(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r), dmin = vec_half(tile + 16 * 2 + 2 * r);
    vec_u a = vec_load(tile + 16 * 4 + 4 * r), b = vec_load(tile + 16 * 8 + 4 * r);
    vec_u c = vec_load(tile + 16 * 12 + 4 * r);
    vec_u sc[2] = { a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4 };
    vec_u mn[2] = { b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4 };

    TILE_UNROLL for (int g = 0; g < 8; g++) {
        put_f(scale[g] + r, d * byte_f(sc[g / 4], g % 4));
        put_f(offset[g] + r, -(dmin * byte_f(mn[g / 4], g % 4)));
    }
}

TILE_INLINE vec_u quad_q5_k(const uint8_t *tile, int r, int s, int i)
{
    vec_u high = vec_load(tile + 16 * 16 + 64 * i + 4 * r) >> s & 0x01010101;
    return quad_q4_k(tile + 16 * 32, r, s, i) | high << 4;
}

TILE_INLINE void scales_q5_k(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    scales_q4_k(scale, offset, tile, r);
}

TILE_INLINE vec_u quad_q6_k(const uint8_t *tile, int r, int s, int i)
{
    int half = s / 4, part = s % 4;
    vec_u low = vec_load(tile + 64 * (half * 16 + part % 2 * 8 + i) + 4 * r);
    vec_u high = vec_load(tile + 16 * 128 + 64 * (half * 8 + i) + 4 * r);
    return nibble(low, part >= 2) | (high >> part * 2 & 0x03030303) << 4;
}

TILE_INLINE void scales_q6_k(tile_scales *scale, tile_scales *offset, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 208 + 2 * r);

    (void)offset;
    for (int g = 0; g < 16; g++)
        put_f(scale[g] + r, d * rows_i8_f(tile + 16 * (192 + g) + r));
}

/* What tile.def says of each type, as constants. */
enum {
#define TILE(id, elems, center, per, offset, ...) \
    id##_ELEMS = elems, id##_KIND = (per == 16) | (offset) << 1, id##_CENTER = center,
#include "kernels/tile.def"
#undef TILE
};

#define OPEN(id)                                                                            \
TILE_INLINE void open_##id(struct panel *p, int at, const uint8_t *tile, int r)             \
{                                                                                           \
    int first = id##_KIND & 1 ? 2 * at : at;                                                \
                                                                                            \
    scales_##id(p->scale + first, p->offset + first, tile, r);                              \
    TILE_UNROLL for (int s = 0; s < id##_ELEMS / 32; s++)                                   \
        TILE_UNROLL for (int i = 0; i < 8; i++)                                             \
            put_quad(p, (at + s) * 8 + i, r, quad_##id(tile, r, s, i), id##_CENTER);        \
}
OPEN(q4_0) OPEN(q4_1) OPEN(q5_0) OPEN(q5_1) OPEN(q8_0)
OPEN(q2_k) OPEN(q3_k) OPEN(q4_k) OPEN(q5_k) OPEN(q6_k)
#undef OPEN

#endif
