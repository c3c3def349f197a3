/* mat_avx512bf16.c - products of small matrices of bf16 pairs with AVX-512 BF16. */
#include <immintrin.h>

#define MAT_ADD(s, w, v) _mm512_dpbf16_ps(s, (__m512bh)(v), (__m512bh)(w))
#include "kernels/x86/mat_drive.h"

void kernels_add_mat_avx512bf16(struct kernels *k)
{
    k->mat_mul_bf16 = mat_tiles;
}
