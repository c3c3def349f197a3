/* kv_avx2.c - queries against rows of the KV cache with AVX2.  Reference: ../kv.c. */
#include "kernels/x86/x86.h"

#define UNROLL_16 _Pragma("GCC unroll 16")
#define KV_KEEP(x) __asm__("" : "+x"(x))

typedef __m256 vec;
enum { VEC = 8, KV_TOKS = 2, KV_HEADS = 4 };

static inline vec kv_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void kv_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline vec kv_set(float x) { return _mm256_set1_ps(x); }
static inline vec kv_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

static inline vec kv_open_f32(const uint8_t *row, int64_t i, int j)
{
    return _mm256_castsi256_ps(load32(row + 32 * (2 * i + j)));
}

static inline vec kv_open_f16(const uint8_t *row, int64_t i, int j)
{
    return half_to_f32x8(row + 16 * (2 * i + j));
}

static inline vec kv_open_bf16(const uint8_t *row, int64_t i, int j)
{
    return bf16_to_f32x8(row + 16 * (2 * i + j));
}

static inline vec kv_open_q8_0(const uint8_t *row, int64_t i, int j)
{
    const struct block_q8_0 *b = (const struct block_q8_0 *)row + i / 2;
    __m256 scale = _mm256_set1_ps(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(b->d))));
    __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(b->q + 16 * (i & 1) + 8 * j));

    return _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
}

/* Each step adds the halves of what is left of two sums. */
static inline __attribute__((always_inline)) vec kv_reduce(const vec *s)
{
    __m256 a[4], b[2], sum;

    UNROLL for (int i = 0; i < 4; i++)          /* halves: i, i + 4 */
        a[i] = _mm256_add_ps(_mm256_permute2f128_ps(s[i], s[i + 4], 0x20),
                             _mm256_permute2f128_ps(s[i], s[i + 4], 0x31));
    UNROLL for (int i = 0; i < 2; i++)          /* within a half: i, i + 2, i, i + 2 */
        b[i] = _mm256_add_ps(_mm256_unpacklo_ps(a[i], a[i + 2]),
                             _mm256_unpackhi_ps(a[i], a[i + 2]));
    sum = _mm256_add_ps(_mm256_unpacklo_ps(b[0], b[1]), _mm256_unpackhi_ps(b[0], b[1]));
    return sum;
}

#include "kernels/kv_drive.h"

void kernels_add_kv_avx2(struct kernels *k)
{
    KV_TYPES(KV_SLOTS)
}
