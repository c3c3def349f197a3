/* peak.c - the peaks without vector instructions, and the table.
 *
 * The empty asm statements tell the compiler that a value may have changed: without them it would
 * see that a sum of ones needs no loop. */
#include "kernels/peak.h"

#include "kernels/kernels.h"

enum { SUMS = 8 };

const char *const peak_name[PEAK_COUNT] = {
    [PEAK_int8] = "int8", [PEAK_bf16] = "bf16", [PEAK_f32] = "f32",
};

static int64_t mul_int8(int64_t n, double *sum)
{
    int32_t acc[SUMS] = { 0 }, one = 1;
    int64_t rounds = (n + 2 * SUMS - 1) / (2 * SUMS);

    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < SUMS; i++) {
            __asm__ volatile("" : "+r"(one));
            acc[i] += (int32_t)(int8_t)one * (int8_t)one;
        }
    *sum = 0;
    for (int i = 0; i < SUMS; i++)
        *sum += acc[i];
    return rounds * 2 * SUMS;
}

static int64_t mul_f32(int64_t n, double *sum)
{
    volatile float start = 1;
    float acc[SUMS] = { 0 }, one = start;
    int64_t rounds = (n + 2 * SUMS - 1) / (2 * SUMS);

    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < SUMS; i++)
            acc[i] += one * one;
    *sum = 0;
    for (int i = 0; i < SUMS; i++)
        *sum += (double)acc[i];
    return rounds * 2 * SUMS;
}

static inline uint64_t read_words(const void *p, size_t bytes, bool ahead)
{
    const uint64_t *w = p;
    uint64_t x[4] = { 0 };

    for (size_t i = 0; i < bytes / 8; i += 8) {
        if (ahead)
            __builtin_prefetch((const char *)(w + i) + PEAK_AHEAD);
        for (size_t k = 0; k < 8; k++)
            x[k % 4] ^= w[i + k];
    }
    return x[0] ^ x[1] ^ x[2] ^ x[3];
}

static uint64_t read_plain(const void *p, size_t bytes)
{
    return read_words(p, bytes, false);
}

static uint64_t read_ahead(const void *p, size_t bytes)
{
    return read_words(p, bytes, true);
}

void peaks_init(struct peaks *p, unsigned isa)
{
    *p = (struct peaks){ .mul = { [PEAK_int8] = mul_int8, [PEAK_f32] = mul_f32 },
                         .read = read_plain, .read_ahead = read_ahead };
#ifdef __x86_64__
    if (isa & ISA_AVX2)
        peaks_add_avx2(p);
    if (isa & ISA_AVX512)
        peaks_add_avx512(p);
    if (isa & ISA_AVX512BF16)
        peaks_add_avx512bf16(p);
#else
    (void)isa;
#endif
}
