/* kv_avx512.c - queries against rows of the KV cache with AVX-512.  Reference: ../kv.c. */
#include "kernels/x86/x86.h"

#define UNROLL_16 _Pragma("GCC unroll 16")
#define KV_KEEP(x) __asm__("" : "+v"(x))

typedef __m512 vec;
enum { VEC = 16, KV_TOKS = 2, KV_HEADS = 8 };

static inline vec kv_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void kv_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline vec kv_set(float x) { return _mm512_set1_ps(x); }
static inline vec kv_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

static inline vec kv_open_f32(const uint8_t *row, int64_t i, int j)
{
    return _mm512_loadu_ps(row + 64 * (2 * i + j));
}

static inline vec kv_open_f16(const uint8_t *row, int64_t i, int j)
{
    return _mm512_cvtph_ps(load32(row + 32 * (2 * i + j)));
}

static inline vec kv_open_bf16(const uint8_t *row, int64_t i, int j)
{
    __m512i v = _mm512_cvtepu16_epi32(load32(row + 32 * (2 * i + j)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

static inline vec kv_open_q8_0(const uint8_t *row, int64_t i, int j)
{
    const struct block_q8_0 *b = (const struct block_q8_0 *)row + i;
    __m512 scale = _mm512_set1_ps(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(b->d))));

    return _mm512_mul_ps(scale, _mm512_cvtepi32_ps(
                                    _mm512_cvtepi8_epi32(load16(b->q + 16 * j))));
}

/* Each step adds the halves of what is left of two sums. */
static inline __attribute__((always_inline)) vec kv_reduce(const vec *s)
{
    __m512 a[8], b[4], c[2], sum;

    UNROLL for (int i = 0; i < 8; i++)          /* quarters: i, i, i + 8, i + 8 */
        a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s[i], s[i + 8], 0x44),
                             _mm512_shuffle_f32x4(s[i], s[i + 8], 0xee));
    UNROLL for (int i = 0; i < 4; i++)          /* i, i + 8, i + 4, i + 12 */
        b[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88),
                             _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd));
    UNROLL for (int i = 0; i < 2; i++)          /* within a quarter: i, i + 2, i, i + 2 */
        c[i] = _mm512_add_ps(_mm512_unpacklo_ps(b[i], b[i + 2]),
                             _mm512_unpackhi_ps(b[i], b[i + 2]));
    sum = _mm512_add_ps(_mm512_unpacklo_ps(c[0], c[1]), _mm512_unpackhi_ps(c[0], c[1]));
    return _mm512_shuffle_f32x4(sum, sum, 0xd8);
}

#include "kernels/kv_drive.h"

void kernels_add_kv_avx512(struct kernels *k)
{
    KV_TYPES(KV_SLOTS)
}
