/* tile_open_iq.h - opening tiles of the types with code books, grids and ternary digits.
 *
 * Included after tile_open.h.  A file for one instruction set may define three steps itself,
 * each announced by a macro of its name; the others are taken from here:
 *   vec_shuffle(v, at)         byte i is the byte at[i] (0 .. 15) of the 16 bytes of v around i
 *   vec_negate(v, s, bits)     v with those bytes negated whose byte of s has the bit in the byte
 *                              of `bits`, four bytes with one bit each
 *   vec_grid(g, n_vec, grid, n)   the row numbers in the first vectors of g become the rows of a
 *                              grid of n
 * Values come from tables that were placed once (vec_place), so what is added to them afterwards is
 * added byte by byte, and a placed signed number (center 128) is negated like a plain one.
 */
#ifndef KERNELS_TILE_OPEN_IQ_H
#define KERNELS_TILE_OPEN_IQ_H

#include "kernels/iq_grids.h"
#include "kernels/tile_open.h"

typedef uint8_t vec_b __attribute__((vector_size(VEC_BYTES)));

#ifndef vec_shuffle
TILE_INLINE vec_u vec_shuffle(vec_u v, vec_u at)
{
    vec_b from = (vec_b)v, to = (vec_b)at;

    for (int i = 0; i < VEC_BYTES; i++)
        to[i] = from[i / 16 * 16 + to[i]];
    return (vec_u)to;
}
#endif

#ifndef vec_negate
TILE_INLINE vec_u vec_negate(vec_u v, vec_u s, uint32_t bits)
{
    vec_b minus = (vec_b)((vec_b)(s & bits) == (vec_b)(bits + (vec_u){ 0 }));
    return (vec_u)(((vec_b)v ^ minus) - minus);
}
#endif

/* Row numbers of a tile's elements, then the rows: two to a lane. */
union grid_rows { vec_u v[32]; uint16_t w[32 * VEC_BYTES / 2]; };

/* Through memory, a tile's at once: a vector is then read long after its parts were stored. */
TILE_INLINE void rows_loaded(union grid_rows *g, int n_vec, const uint16_t *grid)
{
    typedef uint16_t eight __attribute__((vector_size(16)));

    for (int i = 0; i < n_vec * VEC_BYTES / 2; i += 8) {
        const uint16_t *w = g->w + i;
        eight row = { grid[w[0]], grid[w[1]], grid[w[2]], grid[w[3]], grid[w[4]], grid[w[5]],
                      grid[w[6]], grid[w[7]] };
        memcpy(g->w + i, &row, sizeof(row));
    }
}

#ifdef vec_grid
static void vec_grid(union grid_rows *g, int n_vec, const uint16_t *grid, int n);
#else
TILE_INLINE void vec_grid(union grid_rows *g, int n_vec, const uint16_t *grid, int n)
{
    (void)n;
    rows_loaded(g, n_vec, grid);
}
#endif

TILE_INLINE void put_placed(struct panel *p, int quad, int r, vec_u v)
{
    memcpy(p->q[quad][r], &v, sizeof(v));
}

/* A table for vec_shuffle, and one whose values are placed. */
TILE_INLINE vec_u plain_table(const int8_t values[16])
{
    vec_u v;

    for (int i = 0; i < VEC_BYTES / 16; i++)
        memcpy((uint8_t *)&v + 16 * i, values, 16);
    return v;
}

TILE_INLINE vec_u placed_table(const int8_t values[16], unsigned center)
{
    return vec_place(plain_table(values), center);
}

/* In each lane the four bytes of it that `bytes` names, lowest first. */
TILE_INLINE vec_u vec_pick(vec_u v, uint32_t bytes)
{
    static const uint32_t lane[16] __attribute__((aligned(64))) = {
        0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c,
        0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c };
    return vec_shuffle(v, vec_load((const uint8_t *)lane) + bytes);
}

/* Four bytes of each lane as words: the first and third, the second and fourth. */
TILE_INLINE void put_numbers(vec_u *to, vec_u v)
{
    to[0] = v & 0x00ff00ff;
    to[1] = v >> 8 & 0x00ff00ff;
}

TILE_INLINE vec_u vec_select(uint32_t mask, vec_u a, vec_u b)
{
    return (a & mask) | (b & ~mask);
}

TILE_INLINE vec_f lanes_f(vec_u v)
{
    return __builtin_convertvector((vec_i)v, vec_f);
}

/* The half in the low 16 bits of each lane. */
TILE_INLINE vec_f lanes_half(vec_u v)
{
    vec_u16 h = __builtin_convertvector(v, vec_u16);
    uint8_t raw[sizeof(h)];

    memcpy(raw, &h, sizeof(h));
    return vec_half(raw);
}

static const int8_t open_levels_iq4[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                            1, 13, 25, 38, 53, 69, 89, 113 };
static const int8_t open_levels_mxfp4[16] = { 16, 17, 18, 19, 20, 22, 24, 28,
                                              16, 15, 14, 13, 12, 10, 8, 4 };

/* 32 elements in nibble order through a table. */
TILE_INLINE void open_code_book(struct panel *p, int at, const uint8_t *qs, int r, vec_u table)
{
    for (int i = 0; i < 4; i++) {
        vec_u v = vec_load(qs + 64 * i + 4 * r);
        put_placed(p, at * 8 + i, r, vec_shuffle(table, v & 0x0f0f0f0f));
        put_placed(p, at * 8 + 4 + i, r, vec_shuffle(table, v >> 4 & 0x0f0f0f0f));
    }
}

TILE_INLINE void open_iq4_nl(struct panel *p, int at, const uint8_t *tile, int r)
{
    put_f(p->scale[at] + r, vec_half(tile + 2 * r));
    open_code_book(p, at, tile + 16 * 2, r, placed_table(open_levels_iq4, 128));
}

TILE_INLINE void open_iq4_xs(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r);
    vec_u low = vec_load(tile + 16 * 4 + 4 * r), table = placed_table(open_levels_iq4, 128);
    vec_u16 high;

    memcpy(&high, tile + 16 * 2 + 2 * r, sizeof(high));
    vec_u top = __builtin_convertvector(high, vec_u);
    for (int g = 0; g < 8; g++, low >>= 4, top >>= 2) {
        put_f(p->scale[at + g] + r, d * (lanes_f((low & 15) | (top & 3) << 4) - 32));
        open_code_book(p, at + g, tile + 16 * (8 + 16 * g), r, table);
    }
}

TILE_INLINE void open_mxfp4(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_u e = vec_bytes(tile + r), tiny = (vec_u)(e < 2);

    put_f(p->scale[at] + r, (vec_f)((tiny & 0x00200000u << (e & 1)) | (~tiny & (e - 1) << 23)));
    open_code_book(p, at, tile + 16, r, placed_table(open_levels_mxfp4, 16));
}

/* Digits of base 3, see unpack_tq1_0: the bytes of v are stepped on, and the digits returned. */
struct digits { vec_u even, odd; };

TILE_INLINE struct digits digits_of(vec_u v)
{
    return (struct digits){ v & 0x00ff00ff, v >> 8 & 0x00ff00ff };
}

TILE_INLINE vec_u next_digits(struct digits *d)
{
    vec_u even = d->even + (d->even << 1), odd = d->odd + (d->odd << 1);

    *d = (struct digits){ even & 0x00ff00ff, odd & 0x00ff00ff };
    return (even >> 8 & 0x00030003) | (odd & 0x03000300);
}

TILE_INLINE void open_tq1_0(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 52 + 2 * r);

    for (int g = 0; g < 8; g++)
        put_f(p->scale[at + g] + r, d);
    for (int u = 0; u < 13; u++) {
        struct digits v = digits_of(vec_load(tile + 64 * u + 4 * r));
        int quad = u < 8 ? u : u < 12 ? 40 + u - 8 : 60, apart = u < 8 ? 8 : u < 12 ? 4 : 1;
        for (int i = 0; i < (u < 12 ? 5 : 4); i++)
            put_quad(p, at * 8 + quad + i * apart, r, next_digits(&v), 1);
    }
}

TILE_INLINE void open_tq2_0(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 16 * 64 + 2 * r);

    for (int g = 0; g < 8; g++)
        put_f(p->scale[at + g] + r, d);
    for (int u = 0; u < 16; u++) {
        vec_u v = vec_load(tile + 64 * u + 4 * r);
        TILE_UNROLL for (int s = 0; s < 4; s++)
            put_quad(p, at * 8 + u / 8 * 32 + s * 8 + u % 8, r, v >> 2 * s & 0x03030303, 1);
    }
}

/* Bytes of seven signs, each with an eighth that makes their number even. */
TILE_INLINE vec_u even_bytes(vec_u s)
{
    static const int8_t odd[16] = { 0, -128, -128, 0, -128, 0, 0, -128,
                                    -128, 0, 0, -128, 0, -128, -128, 0 };
    return s | vec_shuffle(plain_table(odd), (s ^ s >> 4) & 0x0f0f0f0f);
}

/* Four times seven signs in the low 28 bits of each lane, as bytes of eight. */
TILE_INLINE vec_u signs_28(vec_u w)
{
    return even_bytes((w & 0x7f) | (w << 1 & 0x7f00) | (w << 2 & 0x7f0000) |
                      (w << 3 & 0x7f000000));
}

/* The eight levels of 2 bits in a grid row, the lower or upper word of w: v[0] is the first four.
 * A level stands in bits 0 and 1 or in bits 2 and 3 of its byte, and so twice in the table. */
struct pair { vec_u v[2]; };

TILE_INLINE struct pair row_of_8(vec_u w, int upper, vec_u table)
{
    vec_u t = upper ? vec_select(0xffff, w >> 16, w >> 4) : vec_select(0xffff, w, w << 12);
    return (struct pair){ { vec_shuffle(table, vec_pick(t, 0x02020000) & 0x0c030c03),
                            vec_shuffle(table, vec_pick(t, 0x03030101) & 0x0c030c03) } };
}

/* The same four levels of 3 bits in a row. */
TILE_INLINE vec_u row_of_4(vec_u w, int upper, vec_u table)
{
    vec_u t = upper ? vec_select(0xffff, w >> 16, w >> 6) : vec_select(0xffff, w, w << 10);
    return vec_shuffle(table, vec_select(0x00ff00ff, t, t << 5) & 0x07070707);
}

static const int8_t open_levels_iq2[16] = { 8, 25, 43, 0, 25, 0, 0, 0, 43 };
static const int8_t open_levels_iq3_xxs[16] = { 4, 12, 20, 28, 36, 44, 52, 62 };
static const int8_t open_levels_iq3_s[16] = { 1, 3, 5, 7, 9, 11, 13, 15 };

/* A row of 8 with its signs, byte s of the lanes of signs. */
TILE_INLINE void put_iq2(struct panel *p, int quad, int r, struct pair row, vec_u signs, int s)
{
    vec_u sign = vec_pick(signs, 0x01010101u * (unsigned)s);

    put_placed(p, quad, r, vec_negate(row.v[0], sign, 0x08040201));
    put_placed(p, quad + 1, r, vec_negate(row.v[1], sign, 0x80402010));
}

/* 32 elements: row[0] is the first and third row of 8, row[1] the second and fourth. */
TILE_INLINE void put_iq2_4(struct panel *p, int at, int r, const vec_u *row, vec_u signs,
                           vec_u table)
{
    put_iq2(p, 8 * at, r, row_of_8(row[0], 0, table), signs, 0);
    put_iq2(p, 8 * at + 2, r, row_of_8(row[1], 0, table), signs, 1);
    put_iq2(p, 8 * at + 4, r, row_of_8(row[0], 1, table), signs, 2);
    put_iq2(p, 8 * at + 6, r, row_of_8(row[1], 1, table), signs, 3);
}

TILE_INLINE void open_iq2_xxs(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r);
    vec_u table = placed_table(open_levels_iq2, 128);
    union grid_rows row;

    for (int g = 0; g < 8; g++)
        put_numbers(row.v + 2 * g, vec_load(tile + 16 * (2 + 8 * g) + 4 * r));
    vec_grid(&row, 16, grid_iq2_xxs, 256);
    for (int g = 0; g < 8; g++) {
        vec_u w = vec_load(tile + 16 * (6 + 8 * g) + 4 * r);
        put_f(p->scale[at + g] + r, d * (lanes_f(w >> 28) + 0.5f) * 0.25f);
        put_iq2_4(p, at + g, r, row.v + 2 * g, signs_28(w), table);
    }
}

/* The sixteen scales of iq2_xs and iq2_s. */
TILE_INLINE void open_scales_iq2(struct panel *p, int at, const uint8_t *scales, int r, vec_f d)
{
    for (int g = 0; g < 16; g++) {
        vec_u s = vec_load(scales + g / 8 * 64 + 4 * r) >> g % 8 * 4 & 15;
        put_f(p->scale[2 * at + g] + r, d * (lanes_f(s) + 0.5f) * 0.25f);
    }
}

TILE_INLINE void open_iq2_xs(struct panel *p, int at, const uint8_t *tile, int r)
{
    const uint8_t *qs = tile + 16 * 2 + 4 * r;
    vec_u table = placed_table(open_levels_iq2, 128);
    union grid_rows row;

    open_scales_iq2(p, at, tile + 16 * 66, r, vec_half(tile + 2 * r));
    for (int u = 0; u < 16; u++)
        row.v[u] = vec_load(qs + 64 * u) & 0x01ff01ff;
    vec_grid(&row, 16, grid_iq2_xs, 512);
    for (int u = 0; u < 16; u++) {
        vec_u signs = even_bytes(vec_load(qs + 64 * u) >> 9 & 0x007f007f);
        put_iq2(p, 8 * at + 4 * u, r, row_of_8(row.v[u], 0, table), signs, 0);
        put_iq2(p, 8 * at + 4 * u + 2, r, row_of_8(row.v[u], 1, table), signs, 2);
    }
}

TILE_INLINE void open_iq2_s(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_u table = placed_table(open_levels_iq2, 128);
    union grid_rows row;

    open_scales_iq2(p, at, tile + 16 * 74, r, vec_half(tile + 2 * r));
    for (int g = 0; g < 8; g++) {
        vec_u h = vec_load(tile + 16 * (66 + g / 4 * 4) + 4 * r) >> g % 4 * 8;
        put_numbers(row.v + 2 * g, vec_load(tile + 16 * 2 + 64 * g + 4 * r));
        row.v[2 * g] |= (h << 8 & 0x300) | (h << 20 & 0x03000000);
        row.v[2 * g + 1] |= (h << 6 & 0x300) | (h << 18 & 0x03000000);
    }
    vec_grid(&row, 16, grid_iq2_s, 1024);
    for (int g = 0; g < 8; g++)
        put_iq2_4(p, at + g, r, row.v + 2 * g, vec_load(tile + 16 * 34 + 64 * g + 4 * r), table);
}

/* 16 elements: row[0] is the first and third row of 4, row[1] the second and fourth; bytes s and
 * s + 1 of the lanes are their signs. */
TILE_INLINE void put_iq3(struct panel *p, int quad, int r, const vec_u *row, vec_u signs, int s,
                         vec_u table)
{
    vec_u s0 = vec_pick(signs, 0x01010101u * (unsigned)s);
    vec_u s1 = vec_pick(signs, 0x01010101u * (unsigned)(s + 1));

    put_placed(p, quad, r, vec_negate(row_of_4(row[0], 0, table), s0, 0x08040201));
    put_placed(p, quad + 1, r, vec_negate(row_of_4(row[1], 0, table), s0, 0x80402010));
    put_placed(p, quad + 2, r, vec_negate(row_of_4(row[0], 1, table), s1, 0x08040201));
    put_placed(p, quad + 3, r, vec_negate(row_of_4(row[1], 1, table), s1, 0x80402010));
}

TILE_INLINE void open_iq3_xxs(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r);
    vec_u table = placed_table(open_levels_iq3_xxs, 128);
    union grid_rows row;

    for (int u = 0; u < 16; u++)
        put_numbers(row.v + 2 * u, vec_load(tile + 16 * 2 + 64 * u + 4 * r));
    vec_grid(&row, 32, grid_iq3_xxs, 256);
    for (int g = 0; g < 8; g++) {
        vec_u w = vec_load(tile + 16 * (66 + 4 * g) + 4 * r), signs = signs_28(w);
        put_f(p->scale[at + g] + r, d * (lanes_f(w >> 28) + 0.5f) * 0.5f);
        put_iq3(p, 8 * (at + g), r, row.v + 4 * g, signs, 0, table);
        put_iq3(p, 8 * (at + g) + 4, r, row.v + 4 * g + 2, signs, 2, table);
    }
}

TILE_INLINE void open_iq3_s(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r);
    vec_u table = placed_table(open_levels_iq3_s, 128), scales = vec_load(tile + 16 * 106 + 4 * r);
    union grid_rows row;

    for (int u = 0; u < 16; u++) {
        vec_u h = vec_load(tile + 16 * (66 + u / 8 * 4) + 4 * r) >> u % 8 * 4;
        put_numbers(row.v + 2 * u, vec_load(tile + 16 * 2 + 64 * u + 4 * r));
        row.v[2 * u] |= (h << 8 & 0x100) | (h << 22 & 0x01000000);
        row.v[2 * u + 1] |= (h << 7 & 0x100) | (h << 21 & 0x01000000);
    }
    vec_grid(&row, 32, grid_iq3_s, 512);
    for (int g = 0; g < 8; g++) {
        vec_u signs = vec_load(tile + 16 * (74 + 4 * g) + 4 * r);
        put_f(p->scale[at + g] + r, d * (lanes_f(scales >> 4 * g & 15) * 2 + 1));
        put_iq3(p, 8 * (at + g), r, row.v + 4 * g, signs, 0, table);
        put_iq3(p, 8 * (at + g) + 4, r, row.v + 4 * g + 2, signs, 2, table);
    }
}

/* Eighths: 8 times the level above -1; what is added is 7 or 9, with the center of 16. */
static const int8_t open_levels_iq1[16] = { 0, 8, 16, 0, 8, 0, 0, 0, 16 };

/* Row l of 8 of 32 elements; byte l of the lanes of `add` is what an eighth more or less adds. */
TILE_INLINE void put_iq1(struct panel *p, int at, int r, struct pair row, vec_u add, int l)
{
    vec_b eighth = (vec_b)vec_pick(add, 0x01010101u * (unsigned)l);

    put_placed(p, 8 * at + 2 * l, r, (vec_u)((vec_b)row.v[0] + eighth));
    put_placed(p, 8 * at + 2 * l + 1, r, (vec_u)((vec_b)row.v[1] + eighth));
}

TILE_INLINE void put_iq1_4(struct panel *p, int at, int r, const vec_u *row, vec_u add,
                           vec_u table)
{
    put_iq1(p, at, r, row_of_8(row[0], 0, table), add, 0);
    put_iq1(p, at, r, row_of_8(row[1], 0, table), add, 1);
    put_iq1(p, at, r, row_of_8(row[0], 1, table), add, 2);
    put_iq1(p, at, r, row_of_8(row[1], 1, table), add, 3);
}

/* What put_iq1 adds, where a byte of `less` is 1 for an eighth less. */
TILE_INLINE vec_u eighths(vec_u less)
{
    return vec_place(0x09090909 - (less << 1), 16);
}

TILE_INLINE void open_iq1_s(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_f d = vec_half(tile + 2 * r);
    vec_u table = plain_table(open_levels_iq1), add[8];
    union grid_rows row;

    for (int g = 0; g < 8; g++) {
        vec_u h = vec_load(tile + 16 * (34 + g / 2 * 4) + 4 * r) >> g % 2 * 16;
        put_f(p->scale[at + g] + r, d * (lanes_f(h >> 12 & 7) * 2 + 1) * 0.125f);
        put_numbers(row.v + 2 * g, vec_load(tile + 16 * (2 + 4 * g) + 4 * r));
        row.v[2 * g] |= (h << 8 & 0x700) | (h << 18 & 0x07000000);
        row.v[2 * g + 1] |= (h << 5 & 0x700) | (h << 15 & 0x07000000);
        add[g] = eighths(-(h >> 15 & 1) & 0x01010101);
    }
    vec_grid(&row, 16, grid_iq1, 2048);
    for (int g = 0; g < 8; g++)
        put_iq1_4(p, at + g, r, row.v + 2 * g, add[g], table);
}

/* The half float is spread over the top four bits of the four words of scales. */
TILE_INLINE void open_iq1_m(struct panel *p, int at, const uint8_t *tile, int r)
{
    vec_u s[2] = { vec_load(tile + 16 * 48 + 4 * r), vec_load(tile + 16 * 52 + 4 * r) };
    vec_u table = plain_table(open_levels_iq1), add[8];
    vec_f d = lanes_half((s[0] >> 12 & 15) | (s[0] >> 24 & 0xf0) | (s[1] >> 4 & 0xf00) |
                         (s[1] >> 16 & 0xf000));
    union grid_rows row;

    for (int g = 0; g < 16; g++) {
        vec_u scale = s[g / 8] >> (g / 4 % 2 * 16 + g % 4 * 3) & 7;
        put_f(p->scale[2 * at + g] + r, d * (lanes_f(scale) * 2 + 1) * 0.125f);
    }
    for (int g = 0; g < 8; g++) {
        vec_u h = vec_load(tile + 16 * (32 + g / 2 * 4) + 4 * r) >> g % 2 * 16;
        put_numbers(row.v + 2 * g, vec_load(tile + 64 * g + 4 * r));
        row.v[2 * g] |= (h << 8 & 0x700) | (h << 16 & 0x07000000);
        row.v[2 * g + 1] |= (h << 4 & 0x700) | (h << 12 & 0x07000000);
        add[g] = eighths((h >> 3 & 1) | (h << 1 & 0x100) | (h << 5 & 0x10000) |
                         (h << 9 & 0x01000000));
    }
    vec_grid(&row, 16, grid_iq1, 2048);
    for (int g = 0; g < 8; g++)
        put_iq1_4(p, at + g, r, row.v + 2 * g, add[g], table);
}

#endif
