/* dequant_avx512.c - the types of the KV cache to f32 with AVX-512, the same bits as the
 * references in ../dequant_basic.c. */
#include "kernels/x86/x86.h"

static void dequant_f16_avx512(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(load32(p + 2 * i)));
    if (i < n) {
        __mmask16 tail = (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, tail,
                              _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(tail, p + 2 * i)));
    }
}

static inline __m512 bf16_to_f32x16(__m256i v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

static void dequant_bf16_avx512(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, bf16_to_f32x16(load32(p + 2 * i)));
    if (i < n) {
        __mmask16 tail = (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, tail,
                              bf16_to_f32x16(_mm256_maskz_loadu_epi16(tail, p + 2 * i)));
    }
}

static void dequant_q8_0_avx512(float *out, const void *x, int64_t n)
{
    for (const struct block_q8_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        __m512 d = _mm512_set1_ps(_cvtsh_ss(b->d));
        __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(b->q)));
        __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(b->q + 16)));
        _mm512_storeu_ps(out, _mm512_mul_ps(d, low));
        _mm512_storeu_ps(out + 16, _mm512_mul_ps(d, high));
    }
}

void kernels_add_dequant_avx512(struct kernels *k)
{
    k->dequant[QTYPE_f16] = dequant_f16_avx512;
    k->dequant[QTYPE_bf16] = dequant_bf16_avx512;
    k->dequant[QTYPE_q8_0] = dequant_q8_0_avx512;
}
