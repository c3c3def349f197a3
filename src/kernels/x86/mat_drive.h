/* mat_drive.h - products of small matrices with AVX-512, for floats and for pairs of bf16.
 *
 * Included after MAT_ADD(s, w, v), s + w * v, where w and v are vectors of f32 or of pairs.  An
 * element is one chain in rising k, held in one lane of a register; a tile holds R rows of V
 * vectors, so that 8 or more chains hide the latency.  Between two blocks of k the chain waits in
 * memory: cutting k changes nothing. */
#ifndef KERNELS_X86_MAT_DRIVE_H
#define KERNELS_X86_MAT_DRIVE_H

#include "kernels/x86/x86.h"

#define UNROLL_16 _Pragma("GCC unroll 16")

enum { K_BLOCK = 128, ROWS_MAX = 12 };

/* What the tiles of one strip of columns share; `last` masks the last vector. */
struct strip {
    float *c;
    const float *a, *b;
    int64_t ld_c, ld_a, ld_b, k;
    __mmask16 last;
    bool add;
};

static inline __attribute__((always_inline))
void tile(const struct strip *t, int64_t row, const int R, const int V)
{
    const float *a = t->a + row * t->ld_a, *b = t->b;
    const int64_t ld_a = t->ld_a, ld_b = t->ld_b, ld_c = t->ld_c, k = t->k;
    const __mmask16 last = t->last;
    const bool add = t->add;
    float *c = t->c + row * ld_c;
    __m512 s[24], v[4];

    UNROLL_16 for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++)
            s[r * V + j] = add ? _mm512_maskz_loadu_ps(j == V - 1 ? last : 0xffff,
                                                          c + r * ld_c + 16 * j)
                                  : _mm512_setzero_ps();
    for (int64_t p = 0; p < k; p++, b += ld_b) {
        UNROLL for (int j = 0; j < V; j++)
            v[j] = j == V - 1 ? _mm512_maskz_loadu_ps(last, b + 16 * j)
                              : _mm512_loadu_ps(b + 16 * j);
        UNROLL_16 for (int r = 0; r < R; r++) {
            __m512 w = _mm512_set1_ps(a[r * ld_a + p]);
            UNROLL for (int j = 0; j < V; j++)
                s[r * V + j] = MAT_ADD(s[r * V + j], w, v[j]);
        }
    }
    UNROLL_16 for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++)
            _mm512_mask_storeu_ps(c + r * ld_c + 16 * j, j == V - 1 ? last : 0xffff,
                                  s[r * V + j]);
}

typedef void tile_fn(const struct strip *t, int64_t row);

#define TILE(R, V) \
static void tile_##R##_##V(const struct strip *t, int64_t row) { tile(t, row, R, V); }
#define SIX(V) TILE(1, V) TILE(2, V) TILE(3, V) TILE(4, V) TILE(5, V) TILE(6, V)
#define TWELVE(V) SIX(V) TILE(7, V) TILE(8, V) TILE(9, V) TILE(10, V) TILE(11, V) TILE(12, V)
TWELVE(1) TWELVE(2) SIX(3) SIX(4)

#define SIX_OF(V) NULL, tile_1_##V, tile_2_##V, tile_3_##V, tile_4_##V, tile_5_##V, tile_6_##V
#define TWELVE_OF(V) SIX_OF(V), tile_7_##V, tile_8_##V, tile_9_##V, tile_10_##V, tile_11_##V, \
    tile_12_##V
static tile_fn *const tiles[5][ROWS_MAX + 1] = {
    { NULL }, { TWELVE_OF(1) }, { TWELVE_OF(2) }, { SIX_OF(3) }, { SIX_OF(4) },
};

static void mat_tiles(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                           int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add)
{
    for (int64_t j = 0, cols; j < n; j += cols) {
        cols = n - j < 64 ? n - j : 64;
        int64_t n_vec = (cols + 15) / 16, rows_max = n_vec > 2 ? 6 : ROWS_MAX, p = 0;
        int64_t n_tile = (m + rows_max - 1) / rows_max;
        do {
            int64_t block = n_tile > 2 && k - p >= 2 * K_BLOCK ? K_BLOCK : k - p;
            struct strip t = { c + j, a + p, b + p * ld_b + j, ld_c, ld_a, ld_b, block,
                               (__mmask16)(0xffff >> (16 * n_vec - cols)), add || p > 0 };
            for (int64_t i = 0, row = 0; i < n_tile; i++) {
                int64_t rows = (m - row + n_tile - i - 1) / (n_tile - i);
                tiles[n_vec][rows](&t, row);
                row += rows;
            }
            p += block;
        } while (p < k);
    }
}

#endif
