/* quant_avx2.c - f32 to f16, bf16, q8_0 and q8a, the same bytes as ../quant.c. */
#include "kernels/x86/x86.h"

#include <math.h>

static void quant_f16_avx2(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(o + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    quant_f16(o + 2 * i, x + i, n - i);
}

static void quant_bf16_avx2(void *out, const float *x, int64_t n)
{
    uint8_t *o = out;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        __m256i bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
        __m256i half = _mm256_add_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)),
                                        _mm256_set1_epi32(0x7fff));
        __m256i r = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
        __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        r = _mm256_blendv_epi8(r, quiet, nan);
        r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
        _mm_storeu_si128((__m128i *)(void *)(o + 2 * i), _mm256_castsi256_si128(r));
    }
    quant_bf16(o + 2 * i, x + i, n - i);
}

/* The largest magnitude of 32 values, compared as integers: NaN stands above infinity. */
static float block_peak(const __m256 v[4])
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i peak = _mm256_setzero_si256();
    float f;
    int bits;

    UNROLL for (int j = 0; j < 4; j++)
        peak = _mm256_max_epi32(peak, _mm256_and_si256(_mm256_castps_si256(v[j]), mask));
    __m128i p = _mm_max_epi32(_mm256_castsi256_si128(peak), _mm256_extracti128_si256(peak, 1));
    p = _mm_max_epi32(p, _mm_shuffle_epi32(p, 0x4e));
    p = _mm_max_epi32(p, _mm_shuffle_epi32(p, 0xb1));
    bits = _mm_cvtsi128_si32(p);
    bits = bits > 0x7f800000 ? 0x7f800000 : bits;
    memcpy(&f, &bits, 4);
    return f;
}

/* Four vectors of eight 32-bit values as 32 bytes in order. */
static __m256i pack_i8x32(const __m256i q[4])
{
    __m256i v = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]),
                                   _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static void load_block(__m256 v[4], const float *x)
{
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = _mm256_loadu_ps(x + 8 * j);
}

/* roundf(): ties away from zero.  v - trunc(v) is exact, so the comparison is too. */
static __m256i round_away(__m256 v)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 whole = _mm256_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    __m256 rest = _mm256_andnot_ps(sign, _mm256_sub_ps(v, whole));
    __m256 up = _mm256_and_ps(_mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_GE_OQ),
                              _mm256_set1_ps(1));
    return _mm256_cvttps_epi32(_mm256_add_ps(whole, _mm256_or_ps(up, _mm256_and_ps(v, sign))));
}

static void quant_q8_0_avx2(void *out, const float *x, int64_t n)
{
    for (struct block_q8_0 *b = out; n > 0; n -= 32, x += 32, b++) {
        __m256 v[4];
        __m256i q[4];
        load_block(v, x);
        float peak = block_peak(v), scale8 = peak / 127, inv = scale8 > 0 ? 1 / scale8 : 0;
        if (isinf(peak) || isinf(inv) || !(inv > 0)) {
            memset(b, 0, sizeof(*b));
            b->d = isinf(peak) ? 0x7e00 : 0;
            continue;
        }
        b->d = (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(scale8),
                                                        _MM_FROUND_TO_NEAREST_INT), 0);
        UNROLL for (int j = 0; j < 4; j++)
            q[j] = round_away(_mm256_mul_ps(v[j], _mm256_set1_ps(inv)));
        _mm256_storeu_si256((__m256i *)(void *)b->q, pack_i8x32(q));
    }
}

/* The largest magnitude of values 0..15 in the low four lanes, of 16..31 in the high four; a NaN
 * where there is one. */
static __m256 half_peaks(const __m256 v[4])
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256i a[4];

    UNROLL for (int j = 0; j < 4; j++)
        a[j] = _mm256_castps_si256(_mm256_andnot_ps(sign, v[j]));
    __m256i p0 = _mm256_max_epi32(a[0], a[1]), p1 = _mm256_max_epi32(a[2], a[3]);
    __m256i p = _mm256_max_epi32(_mm256_permute2x128_si256(p0, p1, 0x20),
                                 _mm256_permute2x128_si256(p0, p1, 0x31));
    p = _mm256_max_epi32(p, _mm256_shuffle_epi32(p, 0x4e));
    p = _mm256_max_epi32(p, _mm256_shuffle_epi32(p, 0xb1));
    return _mm256_castsi256_ps(p);
}

static void quant_q8a_avx2(void *out, const float *x, int64_t n)
{
    const __m256i one8 = _mm256_set1_epi8(1), one16 = _mm256_set1_epi16(1);
    const __m256 top = _mm256_set1_ps(127);

    for (struct block_q8a *b = out; n > 0; n -= 32, x += 32, b++) {
        __m256 v[4];
        __m256i q[4];
        load_block(v, x);
        __m256 peak = half_peaks(v), inv = _mm256_div_ps(top, peak);
        __m256 broken = _mm256_cmp_ps(peak, _mm256_set1_ps(INFINITY), _CMP_NLT_UQ);
        __m256 scale = _mm256_blendv_ps(_mm256_div_ps(peak, top), _mm256_set1_ps(NAN), broken);
        __m256 large = _mm256_cmp_ps(peak, _mm256_set1_ps(0x1p-100f), _CMP_NLT_UQ);
        scale = _mm256_and_ps(scale, large);
        __m256 inv0 = _mm256_permute2f128_ps(inv, inv, 0x00);
        __m256 inv1 = _mm256_permute2f128_ps(inv, inv, 0x11);
        UNROLL for (int j = 0; j < 4; j++)
            q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v[j], j < 2 ? inv0 : inv1));
        /* Whole halves are zero where the scale is zero or NaN. */
        __m256i keep = _mm256_castps_si256(_mm256_andnot_ps(broken, large));
        __m256i bytes = _mm256_and_si256(pack_i8x32(q), keep);
        __m256i s = _mm256_madd_epi16(_mm256_maddubs_epi16(one8, bytes), one16);
        s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0x4e));
        s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0xb1));
        __m256 sum = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(s));
        __m256i bias = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(s, 7));
        /* The rest of the block as one vector: both lanes' first elements, side by side. */
        __m128 lo = _mm256_castps256_ps128(sum), hi = _mm256_extractf128_ps(sum, 1);
        __m128 both = _mm_unpacklo_ps(lo, hi), total = _mm_add_ss(lo, hi);
        __m128 sb = _mm_unpacklo_ps(_mm256_castps256_ps128(scale),
                                    _mm256_extractf128_ps(scale, 1));
        __m128i bb = _mm_unpacklo_epi32(_mm256_castsi256_si128(bias),
                                        _mm256_extracti128_si256(bias, 1));
        _mm_storeu_ps((float *)(void *)((char *)b + 32), _mm_movelh_ps(sb, _mm_castsi128_ps(bb)));
        total = _mm_blend_ps(_mm_setzero_ps(), total, 1);
        _mm_storeu_ps((float *)(void *)((char *)b + 48), _mm_movelh_ps(both, total));
        _mm256_storeu_si256((__m256i *)(void *)b->q, bytes);
    }
}

void kernels_add_quant_avx2(struct kernels *k)
{
    k->quant[QTYPE_f16] = quant_f16_avx2;
    k->quant[QTYPE_bf16] = quant_bf16_avx2;
    k->quant[QTYPE_q8_0] = quant_q8_0_avx2;
    k->quant[QTYPE_q8a] = quant_q8a_avx2;
}
