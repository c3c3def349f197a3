/* tile.h - weights in tiles: sixteen rows whose blocks are interleaved, and products with them.
 *
 * A matrix of n_row rows is ceil(n_row / 16) groups, one after another; a group is one tile per
 * block of its rows, from the first column on, so that a product with a group reads one linear
 * run.  A tile has the bytes of its 16 blocks (tile.def), in another order; missing rows of the
 * last group are zero bytes.  So a packed matrix is as large as the file's, and unpacking a row
 * gives the file's bytes back.
 *
 * The product of a row with an activation row (struct block_q8a, or f32 for the float types) is
 * defined down to the bit, by tile_ref.c.  For a quantised type, per 32 elements in rising order,
 * all in f32 with fused multiply-adds, D0 and D1 the integer sums of the two halves:
 *
 *   one scale   t = D0 * s0;  t = fma(D1, s1, t);  y = fma(scale, t, y);
 *               y = fma(offset, sum32, y)                                     if it has offsets
 *   a scale per 16, for each half:  y = fma(scale, D * s, y);  y = fma(offset, sum, y)
 *
 * For a float type: per 256 elements c = 0, c = fma(w, x, c) in rising order, then y += c.
 * Every version gives these bits, whatever it computes beside it: rows stay apart, each in a lane
 * of its own, so no sum is ever split.  mul_bf16 alone, with activations rounded to bf16, keeps
 * an order of its own.
 */
#ifndef KERNELS_TILE_H
#define KERNELS_TILE_H

#include "kernels/kernels.h"

enum { TILE_ROWS = 16, TILE_GROUPS_MAX = 4, TILE_TOK_MAX = 512, TILE_CHUNK = 256,
       TILE_FEW = 4 };                  /* activation rows that memory, not arithmetic, limits */

struct tile_unit { uint8_t size, count; };

struct tile_info {
    uint16_t elems;                     /* 0: the type has no tiles */
    uint8_t center, per;
    bool offset;
    struct tile_unit unit[4];           /* ends with size 0 */
};
extern const struct tile_info tile_info[QTYPE_COUNT];

static inline bool tile_has(enum qtype q) { return tile_info[q].elems != 0; }

/* The bytes of a group of 16 rows of n elements, and of a whole matrix. */
static inline uint64_t tile_group_bytes(enum qtype q, int64_t n)
{
    return (uint64_t)(TILE_ROWS * qtype_row_bytes(q, n));
}

static inline uint64_t tile_bytes(enum qtype q, int64_t n_row, int64_t n)
{
    return (uint64_t)((n_row + TILE_ROWS - 1) / TILE_ROWS) * tile_group_bytes(q, n);
}

/* group <- n_row (1 .. 16) rows of n elements, row_bytes apart. */
void tile_pack(enum qtype q, void *group, const void *rows, uint64_t row_bytes, int n_row,
               int64_t n);

/* row <- row r (0 .. 15) of the group: the file's bytes. */
void tile_unpack_row(enum qtype q, void *row, const void *group, int r, int64_t n);

/* How far ahead products with few activation rows ask for tiles: 2 to 8 KiB read alike, 0 and 32
 * less (Zen 5, two threads over 1.2 GB). */
#define TILE_PREFETCH_BYTES 4096

/* y[i][r] = product of row r of the groups with x[i], for n_x (1 .. TILE_TOK_MAX) activation
 * rows and n_group (1 .. TILE_GROUPS_MAX) groups of 16 rows; n elements.  acc is scratch for
 * n_x * n_group * 16 values, 64-byte aligned.  Contract as in kernels.h, and the bits are those
 * of the reference.  x rows: block_q8a, or f32 for the float types. */
struct tile_mul {
    float *const *y;
    const void *const *x;
    int64_t n_x;
    const uint8_t *group;
    int n_group;
    int64_t n;
    float *acc;
};

#endif
