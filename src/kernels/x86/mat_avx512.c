/* mat_avx512.c - products and transposition of small f32 matrices with AVX-512.
 * Reference: ../mat.c. */
#include <immintrin.h>

#define MAT_ADD(s, w, v) _mm512_fmadd_ps(w, v, s)
#include "kernels/x86/mat_drive.h"

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
    k->mat_mul = mat_tiles;
    k->transpose = transpose_avx512;
}
