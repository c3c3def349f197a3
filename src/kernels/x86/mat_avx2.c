/* mat_avx2.c - products of small f32 matrices with AVX2 and FMA.  Reference: ../mat.c.
 *
 * An element is one chain of fused multiply-adds in rising k, held in one lane of a register.
 * Between two blocks of k the chain waits in memory: cutting k changes nothing. */
#include "kernels/x86/x86.h"

enum { K_BLOCK = 128, ROWS_MAX = 12 };

#define UNROLL_12 _Pragma("GCC unroll 12")

/* What the tiles of one strip of columns share; `last` masks the last vector if `cut`. */
struct strip {
    float *c;
    const float *a, *b;
    int64_t ld_c, ld_a, ld_b, k;
    __m256i last;
    bool add;
};

static inline __attribute__((always_inline))
__m256 load_part(const float *p, __m256i last, const bool cut)
{
    return cut ? _mm256_maskload_ps(p, last) : _mm256_loadu_ps(p);
}

static inline __attribute__((always_inline))
void tile(const struct strip *t, int64_t row, const int R, const int V, const bool cut)
{
    const float *a = t->a + row * t->ld_a, *b = t->b;
    const int64_t ld_a = t->ld_a, ld_b = t->ld_b, ld_c = t->ld_c, k = t->k;
    const __m256i last = t->last;
    const bool add = t->add;
    float *c = t->c + row * ld_c;
    __m256 s[12], v[2];

    UNROLL_12 for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++)
            s[r * V + j] = add ? load_part(c + r * ld_c + 8 * j, last, cut && j == V - 1)
                                  : _mm256_setzero_ps();
    for (int64_t p = 0; p < k; p++, b += ld_b) {
        UNROLL for (int j = 0; j < V; j++)
            v[j] = load_part(b + 8 * j, last, cut && j == V - 1);
        UNROLL_12 for (int r = 0; r < R; r++) {
            __m256 w = _mm256_set1_ps(a[r * ld_a + p]);
            UNROLL for (int j = 0; j < V; j++)
                s[r * V + j] = _mm256_fmadd_ps(w, v[j], s[r * V + j]);
        }
    }
    UNROLL_12 for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++) {
            if (cut && j == V - 1)
                _mm256_maskstore_ps(c + r * ld_c + 8 * j, last, s[r * V + j]);
            else
                _mm256_storeu_ps(c + r * ld_c + 8 * j, s[r * V + j]);
        }
}

typedef void tile_fn(const struct strip *t, int64_t row);

#define TILE(R, V)                                                                        \
static void whole_##R##_##V(const struct strip *t, int64_t row) { tile(t, row, R, V, false); } \
static void cut_##R##_##V(const struct strip *t, int64_t row) { tile(t, row, R, V, true); }
#define SIX(V) TILE(1, V) TILE(2, V) TILE(3, V) TILE(4, V) TILE(5, V) TILE(6, V)
#define TWELVE(V) SIX(V) TILE(7, V) TILE(8, V) TILE(9, V) TILE(10, V) TILE(11, V) TILE(12, V)
TWELVE(1) SIX(2)

#define SIX_OF(x, V) NULL, x##_1_##V, x##_2_##V, x##_3_##V, x##_4_##V, x##_5_##V, x##_6_##V
#define TWELVE_OF(x, V) SIX_OF(x, V), x##_7_##V, x##_8_##V, x##_9_##V, x##_10_##V, \
    x##_11_##V, x##_12_##V
static tile_fn *const tiles[2][3][ROWS_MAX + 1] = {
    { { NULL }, { TWELVE_OF(whole, 1) }, { SIX_OF(whole, 2) } },
    { { NULL }, { TWELVE_OF(cut, 1) }, { SIX_OF(cut, 2) } },
};

static void mat_mul_avx2(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                         int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add)
{
    for (int64_t j = 0, cols; j < n; j += cols) {
        cols = n - j < 16 ? n - j : 16;
        int64_t n_vec = (cols + 7) / 8, rows_max = n_vec > 1 ? 6 : ROWS_MAX, p = 0;
        int64_t n_tile = (m + rows_max - 1) / rows_max;
        __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        __m256i last = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(cols - 8 * n_vec + 8)), at);
        do {
            int64_t block = n_tile > 2 && k - p >= 2 * K_BLOCK ? K_BLOCK : k - p;
            struct strip t = { c + j, a + p, b + p * ld_b + j, ld_c, ld_a, ld_b, block, last,
                               add || p > 0 };
            for (int64_t i = 0, row = 0; i < n_tile; i++) {
                int64_t rows = (m - row + n_tile - i - 1) / (n_tile - i);
                tiles[cols % 8 != 0][n_vec][rows](&t, row);
                row += rows;
            }
            p += block;
        } while (p < k);
    }
}

static void transpose8(float *out, int64_t ld_out, const float *x, int64_t ld_x)
{
    __m256 r[8], t[8];

    UNROLL for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(x + i * ld_x);
    UNROLL for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * ld_out, _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
        _mm256_storeu_ps(out + (4 + i) * ld_out, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
    }
}

static void transpose_avx2(float *out, int64_t ld_out, const float *x, int64_t ld_x, int64_t m,
                           int64_t n)
{
    int64_t m8 = m / 8 * 8, n8 = n / 8 * 8;

    for (int64_t i = 0; i < m8; i += 8)
        for (int64_t j = 0; j < n8; j += 8)
            transpose8(out + j * ld_out + i, ld_out, x + i * ld_x + j, ld_x);
    transpose(out + n8 * ld_out, ld_out, x + n8, ld_x, m8, n - n8);
    transpose(out + m8, ld_out, x + m8 * ld_x, ld_x, m - m8, n);
}

void kernels_add_mat_avx2(struct kernels *k)
{
    k->mat_mul = mat_mul_avx2;
    k->transpose = transpose_avx2;
}
