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

void tile_pack(enum qtype q, void *group, const void *rows, uint64_t row_bytes, int n_row,
               int64_t n)
{
    int64_t bytes = qtype_info[q].block_bytes, n_block = n / qtype_info[q].block_elems;
    uint8_t *tile = group;

    if (n_row < TILE_ROWS)
        memset(group, 0, tile_group_bytes(q, n));
    for (int64_t b = 0; b < n_block; b++, tile += TILE_ROWS * bytes)
        for (int r = 0; r < n_row; r++) {
            const uint8_t *from = (const uint8_t *)rows + (uint64_t)r * row_bytes + b * bytes;
            int64_t o = 0;
            for (const struct tile_unit *u = tile_info[q].unit; u->size; u++) {
                copy_units(tile + TILE_ROWS * o + r * u->size, TILE_ROWS * u->size, from + o,
                           u->size, u->count, u->size);
                o += u->size * u->count;
            }
        }
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
