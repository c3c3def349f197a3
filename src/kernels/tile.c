/* tile.c - packing rows into tiles and back: every type by its line in tile.def. */
#include "kernels/tile.h"

#include <string.h>

const struct tile_info tile_info[QTYPE_COUNT] = {
#define TILE(id, elems, center, per, offset, ...) \
    [QTYPE_##id] = { elems, center, per, offset, { __VA_ARGS__ } },
#include "kernels/tile.def"
#undef TILE
};

/* Copy `count` units of `size` bytes, from_ld and to_ld bytes apart. */
static void copy_units(uint8_t *to, int64_t to_ld, const uint8_t *from, int64_t from_ld, int count,
                       int size)
{
    for (int u = 0; u < count; u++, to += to_ld, from += from_ld)
        switch (size) {                 /* constant sizes, so that each is one move */
        case 1: *to = *from; break;
        case 2: memcpy(to, from, 2); break;
        default: memcpy(to, from, 4);
        }
}

/* Interleave `count` units of a constant size: unit by unit, so that the tile is written in one
 * run. */
static inline __attribute__((always_inline))
void interleave(uint8_t *to, const uint8_t *const *row, int64_t at, int n_row, int64_t count,
                size_t size)
{
    for (int64_t u = 0; u < count; u++, at += (int64_t)size, to += TILE_ROWS * size)
        for (int r = 0; r < n_row; r++)
            memcpy(to + (size_t)r * size, row[r] + at, size);
}

static inline __attribute__((always_inline))
void pack_rows(enum qtype q, uint8_t *tile, const uint8_t *const *row, int n_row, int64_t n_block)
{
    bool plain = tile_info[q].elems == 1;       /* a block is one unit: the row is one run */
    int64_t at = 0;

    for (int64_t b = 0; b < n_block; b += plain ? n_block : 1)
        for (const struct tile_unit *u = tile_info[q].unit; u->size; u++) {
            uint8_t *to = tile + TILE_ROWS * at;
            int64_t count = plain ? n_block : u->count;
            switch (u->size) {
            case 1:  interleave(to, row, at, n_row, count, 1); break;
            case 2:  interleave(to, row, at, n_row, count, 2); break;
            default: interleave(to, row, at, n_row, count, 4);
            }
            at += u->size * count;
        }
}

void tile_pack(enum qtype q, void *group, const void *rows, uint64_t row_bytes, int n_row,
               int64_t n)
{
    int64_t n_block = n / qtype_info[q].block_elems;
    const uint8_t *row[TILE_ROWS];

    for (int r = 0; r < n_row; r++)
        row[r] = (const uint8_t *)rows + (uint64_t)r * row_bytes;
    if (n_row == TILE_ROWS) {           /* a constant, for the compiler's sake */
        pack_rows(q, group, row, TILE_ROWS, n_block);
        return;
    }
    memset(group, 0, tile_group_bytes(q, n));
    pack_rows(q, group, row, n_row, n_block);
}

void tile_unpack_row(enum qtype q, void *row, const void *group, int r, int64_t n)
{
    int64_t bytes = qtype_info[q].block_bytes, n_block = n / qtype_info[q].block_elems;
    const uint8_t *tile = group;
    uint8_t *to = row;

    for (int64_t b = 0; b < n_block; b++, tile += TILE_ROWS * bytes, to += bytes) {
        int64_t o = 0;
        for (const struct tile_unit *u = tile_info[q].unit; u->size; u++) {
            copy_units(to + o, u->size, tile + TILE_ROWS * o + r * u->size, TILE_ROWS * u->size,
                       u->count, u->size);
            o += u->size * u->count;
        }
    }
}
