/* dequant_avx2.c - stored types to f32 with AVX2 and F16C, the same bits as the references.
 * References: ../dequant_basic.c, ../dequant_k.c.  No fused multiply-add here: it would round
 * once where the reference rounds twice. */
#include "kernels/x86/x86.h"

/* Bytes 8j .. 8j+7 of v, signed, as floats. */
#define BYTES_F32(v, j) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(                        \
    (j) == 0 ? _mm256_castsi256_si128(v) :                                              \
    (j) == 1 ? _mm_srli_si128(_mm256_castsi256_si128(v), 8) :                           \
    (j) == 2 ? _mm256_extracti128_si256(v, 1) :                                         \
               _mm_srli_si128(_mm256_extracti128_si256(v, 1), 8)))

/* out[32] = scale[half] * q */
static void put32_scaled(float *out, __m256i q, float scale0, float scale1)
{
    __m256 s0 = _mm256_set1_ps(scale0), s1 = _mm256_set1_ps(scale1);

    _mm256_storeu_ps(out, _mm256_mul_ps(s0, BYTES_F32(q, 0)));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(s0, BYTES_F32(q, 1)));
    _mm256_storeu_ps(out + 16, _mm256_mul_ps(s1, BYTES_F32(q, 2)));
    _mm256_storeu_ps(out + 24, _mm256_mul_ps(s1, BYTES_F32(q, 3)));
}

/* out[32] = scale * q + offset */
static void put32_offset(float *out, __m256i q, float scale, float offset)
{
    __m256 s = _mm256_set1_ps(scale), o = _mm256_set1_ps(offset);

    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_mul_ps(s, BYTES_F32(q, 0)), o));
    _mm256_storeu_ps(out + 8, _mm256_add_ps(_mm256_mul_ps(s, BYTES_F32(q, 1)), o));
    _mm256_storeu_ps(out + 16, _mm256_add_ps(_mm256_mul_ps(s, BYTES_F32(q, 2)), o));
    _mm256_storeu_ps(out + 24, _mm256_add_ps(_mm256_mul_ps(s, BYTES_F32(q, 3)), o));
}

static void dequant_f16_avx2(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, half_to_f32x8(p + 2 * i));
    dequant_f16(out + i, p + 2 * i, n - i);
}

static void dequant_bf16_avx2(float *out, const void *x, int64_t n)
{
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, bf16_to_f32x8(p + 2 * i));
    dequant_bf16(out + i, p + 2 * i, n - i);
}

/* A code's exponent and fraction are the top of a half's, 2^8 too small; subnormal ones too. */
static void dequant_f8_e4m3_avx2(float *out, const void *x, int64_t n)
{
    const __m256i low = _mm256_set1_epi16(0x7f), nan = _mm256_set1_epi16(0x7e00);
    const __m256 factor = _mm256_set1_ps(256);
    const uint8_t *p = x;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16) {
        __m256i b = _mm256_cvtepu8_epi16(load16(p + i)), code = _mm256_and_si256(b, low);
        __m256i h = _mm256_or_si256(_mm256_slli_epi16(code, 7),
                                    _mm256_slli_epi16(_mm256_andnot_si256(low, b), 8));
        h = _mm256_or_si256(h, _mm256_and_si256(_mm256_cmpeq_epi16(code, low), nan));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(h)),
                                                factor));
        _mm256_storeu_ps(out + i + 8, _mm256_mul_ps(
            _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)), factor));
    }
    dequant_f8_e4m3(out + i, p + i, n - i);
}

static void dequant_q4_0_avx2(float *out, const void *x, int64_t n)
{
    for (const struct block_q4_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        float d = _cvtsh_ss(b->d);
        put32_scaled(out, _mm256_sub_epi8(nibbles32(b->qs), _mm256_set1_epi8(8)), d, d);
    }
}

static void dequant_q4_1_avx2(float *out, const void *x, int64_t n)
{
    for (const struct block_q4_1 *b = x; n > 0; n -= 32, out += 32, b++)
        put32_offset(out, nibbles32(b->qs), _cvtsh_ss(b->d), _cvtsh_ss(b->m));
}

static void dequant_q5_0_avx2(float *out, const void *x, int64_t n)
{
    for (const struct block_q5_0 *b = x; n > 0; n -= 32, out += 32, b++) {
        __m256i q = _mm256_or_si256(nibbles32(b->qs), spread_bits32(b->qh, 16));
        float d = _cvtsh_ss(b->d);
        put32_scaled(out, _mm256_sub_epi8(q, _mm256_set1_epi8(16)), d, d);
    }
}

static void dequant_q8_0_avx2(float *out, const void *x, int64_t n)
{
    for (const struct block_q8_0 *b = x; n > 0; n -= 32, out += 32, b++)
        put32_scaled(out, load32(b->q), _cvtsh_ss(b->d), _cvtsh_ss(b->d));
}

static void dequant_q4_k_avx2(float *out, const void *x, int64_t n)
{
    struct scales_min s;

    for (const struct block_q4_k *b = x; n > 0; n -= 256, b++) {
        scales_min_k8(&s, b->scales, _cvtsh_ss(b->d), _cvtsh_ss(b->dmin));
        UNROLL for (int j = 0; j < 8; j++, out += 32)
            put32_offset(out, q4_k_nibbles(b->qs, j), s.scale[j], s.offset[j]);
    }
}

static void dequant_q5_k_avx2(float *out, const void *x, int64_t n)
{
    struct scales_min s;

    for (const struct block_q5_k *b = x; n > 0; n -= 256, b++) {
        scales_min_k8(&s, b->scales, _cvtsh_ss(b->d), _cvtsh_ss(b->dmin));
        UNROLL for (int j = 0; j < 8; j++, out += 32)
            put32_offset(out, _mm256_or_si256(q4_k_nibbles(b->qs, j), bit_of_part(b->qh, j, 16)),
                         s.scale[j], s.offset[j]);
    }
}

static void dequant_q6_k_avx2(float *out, const void *x, int64_t n)
{
    for (const struct block_q6_k *b = x; n > 0; n -= 256, b++) {
        float d = _cvtsh_ss(b->d);
        UNROLL for (int j = 0; j < 8; j++, out += 32)
            put32_scaled(out, _mm256_sub_epi8(q6_k_values(b, j), _mm256_set1_epi8(32)),
                         d * (float)b->scales[2 * j], d * (float)b->scales[2 * j + 1]);
    }
}

void kernels_add_dequant_avx2(struct kernels *k)
{
    k->dequant[QTYPE_f16] = dequant_f16_avx2;
    k->dequant[QTYPE_bf16] = dequant_bf16_avx2;
    k->dequant[QTYPE_f8_e4m3] = dequant_f8_e4m3_avx2;
    k->dequant[QTYPE_q4_0] = dequant_q4_0_avx2;
    k->dequant[QTYPE_q4_1] = dequant_q4_1_avx2;
    k->dequant[QTYPE_q5_0] = dequant_q5_0_avx2;
    k->dequant[QTYPE_q8_0] = dequant_q8_0_avx2;
    k->dequant[QTYPE_q4_k] = dequant_q4_k_avx2;
    k->dequant[QTYPE_q5_k] = dequant_q5_k_avx2;
    k->dequant[QTYPE_q6_k] = dequant_q6_k_avx2;
}
