/* test_peak.c - the peaks do what they count, at every level of this machine. */
#include "kernels/kernels.h"
#include "kernels/peak.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const unsigned levels[] = {
    0, ISA_AVX2, ISA_AVX2 | ISA_AVX512, ISA_AVX2 | ISA_AVX512 | ISA_AVX512BF16,
};

Test(peak, every_operation_that_is_counted_was_done)
{
    for (size_t l = 0; l < sizeof(levels) / sizeof(*levels); l++) {
        struct peaks p;
        if (levels[l] & ~isa_detect())
            continue;
        peaks_init(&p, levels[l]);
        for (int t = 0; t < PEAK_COUNT; t++)
            for (int64_t n = 1; p.mul[t] && n < 3000000; n = n * 7 + 5) {
                double sum;
                int64_t done = p.mul[t](n, &sum);
                cr_assert(done >= n && done < n + 5000, "%s at %s: %lld of %lld", peak_name[t],
                          isa_name(levels[l]), (long long)done, (long long)n);
                cr_assert(2 * sum == (double)done, "%s at %s: %g of %lld", peak_name[t],
                          isa_name(levels[l]), sum, (long long)done);
            }
    }
}

Test(peak, what_a_level_lacks_is_absent)
{
    struct peaks p;

    peaks_init(&p, 0);
    cr_assert(p.mul[PEAK_int8] && p.mul[PEAK_f32] && !p.mul[PEAK_bf16]);
    if (isa_detect() & ISA_AVX512BF16) {
        peaks_init(&p, isa_detect());
        cr_assert(p.mul[PEAK_bf16]);
    }
}

Test(peak, reading_looks_at_every_byte_and_at_no_other)
{
    enum { BYTES = 4096, ROOM = BYTES + 256 };
    uint8_t *at = aligned_alloc(64, ROOM);

    cr_assert(at);
    for (size_t l = 0; l < sizeof(levels) / sizeof(*levels); l++) {
        struct peaks p;
        if (levels[l] & ~isa_detect())
            continue;
        peaks_init(&p, levels[l]);
        for (int i = 0; i < ROOM; i++)
            at[i] = i < BYTES ? 0 : 0xff;
        for (int i = 0; i < BYTES; i += 37) {
            at[i] = 1;
            uint64_t want = UINT64_C(1) << i % 8 * 8;
            cr_assert(p.read(at, BYTES) == want && p.read_ahead(at, BYTES) == want,
                      "byte %d at %s", i, isa_name(levels[l]));
            at[i] = 0;
        }
    }
    free(at);
}
