/* mat_neon.c - products of small f32 matrices with NEON.  Reference: ../mat.c.
 *
 * An element is one chain of fused multiply-adds in rising k, held in one lane of a register. */
#include "kernels/arm/arm.h"
#include "kernels/ref.h"

enum { ROWS = 4 };

/* R rows of c times V vectors of columns. */
static inline __attribute__((always_inline))
void tile(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b, int64_t ld_b,
          int64_t k, bool add, const int R, const int V)
{
    float32x4_t s[ROWS][4];

    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++)
            s[r][j] = add ? vld1q_f32(c + r * ld_c + 4 * j) : vdupq_n_f32(0);
    for (int64_t p = 0; p < k; p++, b += ld_b) {
        float32x4_t v[4];
        UNROLL for (int j = 0; j < V; j++)
            v[j] = vld1q_f32(b + 4 * j);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int j = 0; j < V; j++)
                s[r][j] = vfmaq_n_f32(s[r][j], v[j], a[r * ld_a + p]);
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < V; j++)
            vst1q_f32(c + r * ld_c + 4 * j, s[r][j]);
}

#define TILES(V)                                                                            \
static void rows_##V(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,  \
                     int64_t ld_b, int64_t m, int64_t k, bool add)                          \
{                                                                                           \
    for (; m >= ROWS; m -= ROWS, c += ROWS * ld_c, a += ROWS * ld_a)                        \
        tile(c, ld_c, a, ld_a, b, ld_b, k, add, ROWS, V);                                   \
    switch (m) {                                                                            \
    case 3: tile(c, ld_c, a, ld_a, b, ld_b, k, add, 3, V); break;                           \
    case 2: tile(c, ld_c, a, ld_a, b, ld_b, k, add, 2, V); break;                           \
    case 1: tile(c, ld_c, a, ld_a, b, ld_b, k, add, 1, V); break;                           \
    default: break;                                                                         \
    }                                                                                       \
}
TILES(4)
TILES(1)

static void mat_mul_neon(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                         int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add)
{
    int64_t j = 0;

    for (; j + 16 <= n; j += 16)
        rows_4(c + j, ld_c, a, ld_a, b + j, ld_b, m, k, add);
    for (; j + 4 <= n; j += 4)
        rows_1(c + j, ld_c, a, ld_a, b + j, ld_b, m, k, add);
    for (; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            float s = add ? c[i * ld_c + j] : 0;
            for (int64_t p = 0; p < k; p++)
                s = __builtin_fmaf(a[i * ld_a + p], b[p * ld_b + j], s);
            c[i * ld_c + j] = s;
        }
}

static void transpose4(float *out, int64_t ld_out, const float *x, int64_t ld_x)
{
    float32x4x2_t p = vtrnq_f32(vld1q_f32(x), vld1q_f32(x + ld_x));
    float32x4x2_t q = vtrnq_f32(vld1q_f32(x + 2 * ld_x), vld1q_f32(x + 3 * ld_x));

    UNROLL for (int i = 0; i < 2; i++) {
        vst1q_f32(out + i * ld_out, vcombine_f32(vget_low_f32(p.val[i]), vget_low_f32(q.val[i])));
        vst1q_f32(out + (2 + i) * ld_out,
                  vcombine_f32(vget_high_f32(p.val[i]), vget_high_f32(q.val[i])));
    }
}

static void transpose_neon(float *out, int64_t ld_out, const float *x, int64_t ld_x, int64_t m,
                           int64_t n)
{
    int64_t m4 = m / 4 * 4, n4 = n / 4 * 4;

    for (int64_t i = 0; i < m4; i += 4)
        for (int64_t j = 0; j < n4; j += 4)
            transpose4(out + j * ld_out + i, ld_out, x + i * ld_x + j, ld_x);
    transpose(out + n4 * ld_out, ld_out, x + n4, ld_x, m4, n - n4);
    transpose(out + m4, ld_out, x + m4 * ld_x, ld_x, m - m4, n);
}

void kernels_add_mat_neon(struct kernels *k)
{
    k->mat_mul = mat_mul_neon;
    k->transpose = transpose_neon;
}
