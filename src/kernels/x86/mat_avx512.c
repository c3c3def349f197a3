/* mat_avx512.c - products of small f32 matrices with AVX-512.  Reference: ../mat.c.
 *
 * An element is one chain of fused multiply-adds in rising k, held in one lane of a register; a
 * tile holds R rows of V vectors, so that 8 or more chains hide the latency.  Between two blocks
 * of k the chain waits in memory: cutting k changes nothing. */
#include "kernels/x86/x86.h"

enum { K_BLOCK = 128, ROWS_MAX = 12 };

#define UNROLL_16 _Pragma("GCC unroll 16")

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
                s[r * V + j] = _mm512_fmadd_ps(w, v[j], s[r * V + j]);
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

static void mat_mul_avx512(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
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

/* Sixteen rows of sixteen as sixteen columns. */
static inline __attribute__((always_inline)) void transpose16(__m512 r[16])
{
    __m512 t[16];

    UNROLL_16 for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 2]);
        __m512d c = _mm512_castps_pd(t[4 * i + 1]), d = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    UNROLL for (int i = 0; i < 4; i++) {        /* quarter q of r[4g + i]: column 4q + i */
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
        r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
    }
}

static void transpose_avx512(float *out, int64_t ld_out, const float *x, int64_t ld_x, int64_t m,
                             int64_t n)
{
    __m512 r[16];

    for (int64_t i = 0; i < m; i += 16)
        for (int64_t j = 0; j < n; j += 16) {
            int64_t rows = m - i < 16 ? m - i : 16, cols = n - j < 16 ? n - j : 16;
            __mmask16 mask_in = (__mmask16)(0xffff >> (16 - cols));
            __mmask16 mask_out = (__mmask16)(0xffff >> (16 - rows));
            const float *from = x + i * ld_x + j;
            float *to = out + j * ld_out + i;
            if (rows == 16 && cols == 16) {
                UNROLL_16 for (int l = 0; l < 16; l++)
                    r[l] = _mm512_loadu_ps(from + l * ld_x);
                transpose16(r);
                UNROLL_16 for (int l = 0; l < 16; l++)
                    _mm512_storeu_ps(to + l * ld_out, r[l]);
                continue;
            }
            for (int64_t l = 0; l < 16; l++)
                r[l] = l < rows ? _mm512_maskz_loadu_ps(mask_in, from + l * ld_x)
                                : _mm512_setzero_ps();
            transpose16(r);
            for (int64_t l = 0; l < cols; l++)
                _mm512_mask_storeu_ps(to + l * ld_out, mask_out, r[l]);
        }
}

void kernels_add_mat_avx512(struct kernels *k)
{
    k->mat_mul = mat_mul_avx512;
    k->transpose = transpose_avx512;
}
