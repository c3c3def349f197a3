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

/* The four lowest bits as bytes 0 or 1. */
TILE_INLINE vec_u spread4(vec_u bits)
{
    bits &= 15;
    return (bits | bits << 7 | bits << 14 | bits << 21) & 0x01010101;
}

TILE_INLINE void open_nibbles(struct panel *p, int at, const uint8_t *qs, int r, unsigned center)
{
    for (int i = 0; i < 4; i++) {
        vec_u v = vec_load(qs + 64 * i + 4 * r);
        put_quad(p, at * 8 + i, r, v & 0x0f0f0f0f, center);
        put_quad(p, at * 8 + 4 + i, r, v >> 4 & 0x0f0f0f0f, center);
    }
}

TILE_INLINE void open_nibbles_5(struct panel *p, int at, const uint8_t *qh, const uint8_t *qs,
                                int r, unsigned center)
{
    vec_u high = vec_load(qh + 4 * r);

    for (int i = 0; i < 4; i++) {
        vec_u v = vec_load(qs + 64 * i + 4 * r);
        put_quad(p, at * 8 + i, r, (v & 0x0f0f0f0f) | spread4(high >> 4 * i) << 4, center);
        put_quad(p, at * 8 + 4 + i, r,
                 (v >> 4 & 0x0f0f0f0f) | spread4(high >> (16 + 4 * i)) << 4, center);
    }
}

TILE_INLINE void open_q4_0(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    open_nibbles(p, at, tile + 16 * 2, r, 8);
}

TILE_INLINE void open_q4_1(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    put_f(p->offset[at] + r, vec_half(tile + 16 * 2 + 2 * r));
    open_nibbles(p, at, tile + 16 * 4, r, 0);
}

TILE_INLINE void open_q5_0(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    open_nibbles_5(p, at, tile + 16 * 2, tile + 16 * 6, r, 16);
}

TILE_INLINE void open_q5_1(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    put_f(p->offset[at] + r, vec_half(tile + 16 * 2 + 2 * r));
    open_nibbles_5(p, at, tile + 16 * 4, tile + 16 * 8, r, 0);
}

TILE_INLINE void open_q8_0(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    for (int i = 0; i < 8; i++)
        put_quad(p, at * 8 + i, r, vec_load(tile + 16 * 2 + 64 * i + 4 * r), 128);
}

TILE_INLINE void open_q2_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 80 + 2 * r), dmin = vec_half(tile + 16 * 82 + 2 * r);

    for (int g = 0; g < 16; g++) {
        vec_u s = vec_bytes(tile + 16 * g + r);
        put_f(p->scale[at * 2 + g] + r, d * __builtin_convertvector((vec_i)(s & 15), vec_f));
        put_f(p->offset[at * 2 + g] + r,
              -(dmin * __builtin_convertvector((vec_i)(s >> 4), vec_f)));
    }
    for (int u = 0; u < 16; u++) {
        vec_u v = vec_load(tile + 16 * 16 + 64 * u + 4 * r);
        TILE_UNROLL for (int s = 0; s < 4; s++)
            put_quad(p, at * 8 + u / 8 * 32 + s * 8 + u % 8, r, v >> 2 * s & 0x03030303, 0);
    }
}

TILE_INLINE void open_q3_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    const uint8_t *sc = tile + 16 * 96 + 4 * r;
    vec_f d = vec_half(tile + 16 * 108 + 2 * r);
    vec_u low[2] = { vec_load(sc), vec_load(sc + 64) }, top = vec_load(sc + 128);

    for (int g = 0; g < 16; g++) {
        vec_u s = (low[g / 4 % 2] >> g / 8 * 4 & 0x0f0f0f0f) |
                  (top >> g / 4 * 2 & 0x03030303) << 4;
        put_f(p->scale[at * 2 + g] + r, d * (byte_f(s, g % 4) - 32));
    }
    for (int u = 0; u < 16; u++) {
        vec_u v = vec_load(tile + 16 * 32 + 64 * u + 4 * r);
        vec_u high = vec_load(tile + 64 * (u % 8) + 4 * r);
        TILE_UNROLL for (int s = 0; s < 4; s++)
            put_quad(p, at * 8 + u / 8 * 32 + s * 8 + u % 8, r, (v >> 2 * s & 0x03030303) |
                     (high >> (u / 8 * 4 + s) & 0x01010101) << 2, 4);
    }
}

/* The eight scales and minima of q4_k and q5_k, and their factors. */
TILE_INLINE void open_scales_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r), dmin = vec_half(tile + 16 * 2 + 2 * r);
    vec_u a = vec_load(tile + 16 * 4 + 4 * r), b = vec_load(tile + 16 * 8 + 4 * r);
    vec_u c = vec_load(tile + 16 * 12 + 4 * r);
    vec_u scale[2] = { a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4 };
    vec_u min[2] = { b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4 };

    for (int g = 0; g < 8; g++) {
        put_f(p->scale[at + g] + r, d * byte_f(scale[g / 4], g % 4));
        put_f(p->offset[at + g] + r, -(dmin * byte_f(min[g / 4], g % 4)));
    }
}

TILE_INLINE void open_q4_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    open_scales_k(p, at, tile, r);
    for (int u = 0; u < 32; u++) {
        vec_u v = vec_load(tile + 16 * 16 + 64 * u + 4 * r);
        int quad = at * 8 + u / 8 * 16 + u % 8;
        put_quad(p, quad, r, v & 0x0f0f0f0f, 0);
        put_quad(p, quad + 8, r, v >> 4 & 0x0f0f0f0f, 0);
    }
}

TILE_INLINE void open_q5_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    open_scales_k(p, at, tile, r);
    for (int u = 0; u < 32; u++) {
        vec_u v = vec_load(tile + 16 * 48 + 64 * u + 4 * r);
        vec_u high = vec_load(tile + 16 * 16 + 64 * (u % 8) + 4 * r) >> u / 8 * 2;
        int quad = at * 8 + u / 8 * 16 + u % 8;
        put_quad(p, quad, r, (v & 0x0f0f0f0f) | (high & 0x01010101) << 4, 0);
        put_quad(p, quad + 8, r, (v >> 4 & 0x0f0f0f0f) | (high >> 1 & 0x01010101) << 4, 0);
    }
}

TILE_INLINE void open_q6_k(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 208 + 2 * r);

    for (int g = 0; g < 16; g++)
        put_f(p->scale[at * 2 + g] + r, d * rows_i8_f(tile + 16 * (192 + g) + r));
    for (int u = 0; u < 16; u++) {
        const uint8_t *ql = tile + 64 * (u / 8 * 16 + u % 8) + 4 * r;
        vec_u a = vec_load(ql), b = vec_load(ql + 64 * 8);
        vec_u high = vec_load(tile + 16 * 128 + 64 * u + 4 * r);
        int quad = at * 8 + u / 8 * 32 + u % 8;
        put_quad(p, quad, r, (a & 0x0f0f0f0f) | (high & 0x03030303) << 4, 32);
        put_quad(p, quad + 8, r, (b & 0x0f0f0f0f) | (high >> 2 & 0x03030303) << 4, 32);
        put_quad(p, quad + 16, r, (a >> 4 & 0x0f0f0f0f) | (high >> 4 & 0x03030303) << 4, 32);
        put_quad(p, quad + 24, r, (b >> 4 & 0x0f0f0f0f) | (high >> 6 & 0x03030303) << 4, 32);
    }
}

#endif
