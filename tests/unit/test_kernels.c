/* test_kernels.c - the references against other people's values, and by hand. */
#include "kernels/blocks.h"
#include "kernels/blocks_act.h"
#include "kernels/iq_grids.h"
#include "kernels/kernels.h"
#include "kernels/tile.h"
#include "base/f16.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every level this CPU has; level 0 is the references. */
static int isa_levels(unsigned out[3])
{
    static const unsigned level[] = {
        0, ISA_AVX2, ISA_AVX2 | ISA_AVX512, ISA_NEON, ISA_NEON | ISA_DOTPROD,
    };
    int n = 0;

    for (size_t i = 0; i < sizeof(level) / sizeof(*level); i++)
        if (!(level[i] & ~isa_detect()))
            out[n++] = level[i];
    return n;
}

/* The golden file in memory.  Its header is JSON as the safetensors library writes it, without
 * spaces, so that a search for the key is parser enough here. */
static struct { char *bytes; size_t size; } golden;

static void golden_read(void)
{
    const char *path = "tests/golden/quant/dequant.safetensors";
    FILE *f = fopen(path, "rb");
    size_t capacity = 1 << 20;

    cr_assert(f, "cannot open %s; run the tests from the repository's root", path);
    golden.bytes = calloc(1, capacity + 1);
    cr_assert(golden.bytes);
    golden.size = fread(golden.bytes, 1, capacity, f);
    fclose(f);
    cr_assert(golden.size > 8 && golden.size < capacity);
}

static const uint8_t *golden_tensor(const char *type, const char *side, size_t *size)
{
    char key[64];
    uint64_t header;
    unsigned long from, to;

    memcpy(&header, golden.bytes, 8);
    cr_assert(header < golden.size - 8);
    snprintf(key, sizeof(key), "\"%s.%s\":", type, side);
    const char *at = strstr(golden.bytes + 8, key);
    cr_assert(at, "%s.%s is not in the golden file", type, side);
    at = strstr(at, "\"data_offsets\":[");
    cr_assert(at && sscanf(at, "\"data_offsets\":[%lu,%lu]", &from, &to) == 2);
    cr_assert(from < to && to <= golden.size - 8 - header);
    *size = to - from;
    return (const uint8_t *)golden.bytes + 8 + header + from;
}

Test(kernels, every_weight_type_dequantises_bit_equal_to_ggml)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    static float out[32768];

    golden_read();
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        for (int q = 0; q < QTYPE_COUNT; q++) {
            size_t raw_bytes, want_bytes;
            const char *name = qtype_info[q].name;
            if (q == QTYPE_q8a || q == QTYPE_f32 || q == QTYPE_f8_e4m3)  /* not ggml's: below */
                continue;
            const uint8_t *raw = golden_tensor(name, "raw", &raw_bytes);
            const uint8_t *want = golden_tensor(name, "f32", &want_bytes);
            size_t n_block = raw_bytes / (size_t)qtype_info[q].block_bytes;
            size_t n = n_block * (size_t)qtype_info[q].block_elems;
            cr_assert(raw_bytes % (size_t)qtype_info[q].block_bytes == 0, "%s: block bytes", name);
            cr_assert(n * 4 == want_bytes && n <= 32768 && n, "%s: block elements", name);
            k.dequant[q](out, raw, (int64_t)n);
            for (size_t i = 0; i < n; i++)
                cr_assert(memcmp(&out[i], want + 4 * i, 4) == 0,
                          "%s at %s: element %zu is %.9g and differs from ggml's", name,
                          isa_name(level[l]), i, (double)out[i]);
        }
    }
    free(golden.bytes);
}

Test(kernels, fp8_codes_have_the_values_of_the_format)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    uint8_t code[256];
    float out[256];

    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)i;
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        k.dequant[QTYPE_f8_e4m3](out, code, 256);
        for (int i = 0; i < 256; i++) {
            int exponent = i >> 3 & 15, mantissa = i & 7;
            double want = exponent ? ldexp(1 + mantissa / 8.0, exponent - 7) : ldexp(mantissa, -9);
            if ((i & 127) == 127)
                cr_assert(isnan(out[i]), "code %d", i);
            else
                cr_assert_eq((double)out[i], i & 128 ? -want : want, "code %d", i);
            cr_assert_eq(!!signbit(out[i]), i >> 7, "code %d", i);
        }
        cr_assert_eq(out[0x7e], 448);
    }
}

/* zlib's crc32, bit by bit. */
static uint32_t crc32_add(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    return crc;
}

Test(kernels, the_iq_grids_have_the_published_checksums)
{
    static const int8_t iq2[] = { 8, 25, 43 }, iq1[] = { -1, 0, 1 };
    static const int8_t iq3_xxs[] = { 4, 12, 20, 28, 36, 44, 52, 62 };
    static const int8_t iq3_s[] = { 1, 3, 5, 7, 9, 11, 13, 15 };
    const struct {
        const char *name;
        const uint16_t *row;
        int n, len, bits;
        const int8_t *level;
        int n_level;
        uint32_t crc_int8, crc_packed;
    } grid[] = {
        { "iq2_xxs", grid_iq2_xxs, 256,  8, 2, iq2,     3, 0x9924ff02, 0xd01c53f2 },
        { "iq2_xs",  grid_iq2_xs,  512,  8, 2, iq2,     3, 0xfa1e1bfd, 0x622e679a },
        { "iq2_s",   grid_iq2_s,   1024, 8, 2, iq2,     3, 0x25ae5bf1, 0xf8ad4e5e },
        { "iq3_xxs", grid_iq3_xxs, 256,  4, 3, iq3_xxs, 8, 0x07ba9ed0, 0xf68a6a07 },
        { "iq3_s",   grid_iq3_s,   512,  4, 3, iq3_s,   8, 0xf576e4f3, 0xa43c1089 },
        { "iq1",     grid_iq1,     2048, 8, 2, iq1,     3, 0xb85e6ccf, 0xa0911588 },
    };

    for (size_t g = 0; g < sizeof(grid) / sizeof(*grid); g++) {
        uint32_t values = ~0u, packed = ~0u;
        for (int i = 0; i < grid[g].n; i++) {
            uint16_t row = grid[g].row[i];
            packed = crc32_add(crc32_add(packed, (uint8_t)row), (uint8_t)(row >> 8));
            for (int j = 0; j < grid[g].len; j++) {
                int index = row >> grid[g].bits * j & ((1 << grid[g].bits) - 1);
                cr_assert(index < grid[g].n_level, "%s row %d", grid[g].name, i);
                values = crc32_add(values, (uint8_t)grid[g].level[index]);
            }
        }
        cr_assert_eq(~values, grid[g].crc_int8, "%s: values %08x", grid[g].name, ~values);
        cr_assert_eq(~packed, grid[g].crc_packed, "%s: packed %08x", grid[g].name, ~packed);
    }
}

Test(kernels, types_are_found_by_their_gguf_number_and_know_their_size)
{
    cr_assert_eq(qtype_from_gguf(12), QTYPE_q4_k);
    cr_assert_eq(qtype_from_gguf(0), QTYPE_f32);
    cr_assert_eq(qtype_from_gguf(39), QTYPE_mxfp4);
    cr_assert_eq(qtype_from_gguf(15), QTYPE_COUNT, "Q8_K is not a weight");
    cr_assert_eq(qtype_from_gguf(9), QTYPE_COUNT);
    cr_assert_eq(qtype_from_gguf(UINT32_MAX), QTYPE_COUNT, "q8a has no number");
    cr_assert_str_eq(qtype_info[QTYPE_iq2_xxs].name, "IQ2_XXS");
    cr_assert_str_eq(qtype_info[QTYPE_q8a].name, "Q8A");
    cr_assert_eq(qtype_row_bytes(QTYPE_q6_k, 7168), 28 * 210);
    cr_assert_eq(qtype_row_bytes(QTYPE_f16, 3), 6);
}

Test(kernels, every_weight_type_has_its_functions_at_every_level)
{
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        for (int q = 0; q < QTYPE_COUNT; q++) {
            cr_assert(k.dequant[q], "%s", qtype_info[q].name);
            cr_assert_eq(k.mul[q] != NULL, tile_has((enum qtype)q), "%s", qtype_info[q].name);
        }
        cr_assert(k.dot[QTYPE_f32]);
        cr_assert(k.quant[QTYPE_f32] && k.quant[QTYPE_f16] && k.quant[QTYPE_bf16]);
        cr_assert(k.quant[QTYPE_q8_0] && k.quant[QTYPE_q8a] && !k.quant[QTYPE_q4_0]);
        cr_assert(k.rmsnorm && k.axpy && k.scale && k.swiglu && k.all_finite);
    }
}

Test(kernels, instruction_set_names_are_understood)
{
    unsigned isa;

    cr_assert(isa_parse("ref", &isa) && isa == 0);
    cr_assert(isa_parse("avx2", &isa) && isa == ISA_AVX2);
    cr_assert(isa_parse("avx512", &isa) && isa == (ISA_AVX2 | ISA_AVX512));
    cr_assert(isa_parse("avx512bf16", &isa) && isa == (ISA_AVX2 | ISA_AVX512 | ISA_AVX512BF16));
    cr_assert(isa_parse("neon", &isa) && isa == ISA_NEON);
    cr_assert(isa_parse("dotprod", &isa) && isa == (ISA_NEON | ISA_DOTPROD));
    cr_assert(isa_parse("auto", &isa) && isa == isa_detect());
    cr_assert(!isa_parse("sse9", &isa));
    cr_assert_str_eq(isa_name(0), "ref");
    cr_assert_str_eq(isa_name(ISA_AVX2), "avx2");
    cr_assert_str_eq(isa_name(ISA_AVX2 | ISA_AVX512), "avx512");
    cr_assert_str_eq(isa_name(ISA_AVX2 | ISA_AVX512 | ISA_AVX512BF16), "avx512bf16");
    cr_assert_str_eq(isa_name(ISA_NEON), "neon");
    cr_assert_str_eq(isa_name(ISA_NEON | ISA_DOTPROD), "dotprod");
}

/* The value of a half by its definition: sign, 5 bits of exponent, 10 of fraction. */
static double half_value(unsigned h)
{
    int exp = h >> 10 & 31, mant = h & 1023;
    double v = exp ? ldexp(1 + mant / 1024.0, exp - 15) : ldexp(mant / 1024.0, -14);

    if (exp == 31)
        v = mant ? (double)NAN : (double)INFINITY;
    return h & 0x8000 ? -v : v;
}

Test(kernels, all_65536_halves_convert_to_f32_and_back)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    static uint16_t in[65536], back[65536];
    static float f[65536];

    for (unsigned i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        k.dequant[QTYPE_f16](f, in, 65536);
        k.quant[QTYPE_f16](back, f, 65536);
        for (unsigned i = 0; i < 65536; i++) {
            double want = half_value(i);
            if (isnan(want)) {
                cr_assert(isnan(f[i]) && isnan(f16_to_f32(back[i])), "%04x", i);
                continue;
            }
            cr_assert(f[i] == want && !signbit(f[i]) == !signbit(want), "%04x", i);
            cr_assert_eq(back[i], i, "%04x came back as %04x", i, back[i]);
        }
    }
}

Test(kernels, all_65536_bfloats_convert_to_f32_and_back)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    static uint16_t in[65536], back[65536];
    static float f[65536];

    for (unsigned i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        k.dequant[QTYPE_bf16](f, in, 65536);
        k.quant[QTYPE_bf16](back, f, 65536);
        for (unsigned i = 0; i < 65536; i++) {
            uint32_t bits;
            memcpy(&bits, &f[i], 4);
            cr_assert_eq(bits, i << 16, "%04x", i);
            if (isnan(f[i]))
                cr_assert(isnan(bf16_to_f32(back[i])), "%04x", i);
            else
                cr_assert_eq(back[i], i, "%04x came back as %04x", i, back[i]);
        }
    }
}

Test(kernels, conversion_to_halves_rounds_to_nearest_even)
{
    static const struct { float x; uint16_t f16, bf16; } c[] = {
        { 1.0f, 0x3c00, 0x3f80 },
        { 1 + 0x1p-11f, 0x3c00, 0x3f80 },               /* half way: to the even one below */
        { 1 + 0x3p-11f, 0x3c02, 0x3f80 },               /* half way: to the even one above */
        { 1 + 0x1p-8f, 0x3c04, 0x3f80 },                /* bf16 half way, down */
        { 1 + 0x3p-8f, 0x3c0c, 0x3f82 },                /* bf16 half way, up */
        { 65504.0f, 0x7bff, 0x4780 },
        { 65520.0f, 0x7c00, 0x4780 },                   /* first that is infinity as a half */
        { 0x1p-25f, 0x0000, 0x3300 },
        { 0x1.8p-25f, 0x0001, 0x3340 },
        { -0.0f, 0x8000, 0x8000 },
    };
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
            float x[9];
            uint16_t h[9];
            for (int j = 0; j < 9; j++)                 /* vectors of 8 and one more */
                x[j] = c[i].x;
            k.quant[QTYPE_f16](h, x, 9);
            cr_assert(h[0] == c[i].f16 && h[8] == c[i].f16, "f16 of %a is %04x", c[i].x, h[0]);
            k.quant[QTYPE_bf16](h, x, 9);
            cr_assert(h[0] == c[i].bf16 && h[8] == c[i].bf16, "bf16 of %a is %04x", c[i].x, h[0]);
        }
    }
}

/* The product of one weight row with one activation row, by way of a tile. */
static float product(const struct kernels *k, enum qtype q, const void *w, const void *x, int64_t n)
{
    float y[TILE_ROWS], acc[TILE_ROWS], *to = y;
    uint8_t group[TILE_ROWS * 1024];
    struct tile_mul m = { &to, &x, 1, group, 1, n, acc };

    cr_assert(tile_group_bytes(q, n) <= sizeof(group));
    tile_pack(q, group, w, 0, 1, n);
    k->mul[q](&m);
    for (int r = 1; r < TILE_ROWS; r++)
        cr_assert(y[r] == 0 || isnan(y[0]));
    return y[0];
}

Test(kernels, a_q4_0_product_equals_the_one_on_paper)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    struct block_q4_0 w = { .d = 0x4000 };              /* 2 */
    struct block_q8a x = { .scale = { 0.5f, 0.25f } };

    w.qs[0] = 0x0f;                                     /* w[0] = 2 * 7, w[16] = 2 * -8 */
    for (int i = 1; i < 16; i++)
        w.qs[i] = 0x88;                                 /* zero */
    x.q[0] = 3;                                         /* 1.5 */
    x.q[16] = 127;                                      /* 31.75 */
    x.bias[0] = -128 * 3;
    x.bias[1] = -128 * 127;
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        cr_assert_eq(product(&k, QTYPE_q4_0, &w, &x, 32), 14 * 1.5f - 16 * 31.75f);
        cr_assert_eq(product(&k, QTYPE_q4_0, &w, &x, 0), 0);
    }
}

Test(kernels, a_q4_1_product_adds_the_offset)
{
    unsigned level[3];
    int n_level = isa_levels(level);
    struct block_q4_1 w = { .d = 0x3c00, .m = 0xbc00 }; /* 1 and -1: w = q - 1 */
    struct block_q8a x = { .scale = { 1, 2 } };

    w.qs[2] = 0x53;                                     /* w[2] = 2, w[18] = 4, others -1 */
    x.q[2] = 10;
    x.q[3] = 20;
    x.q[18] = -5;                                       /* -10 */
    x.bias[0] = -128 * 30;
    x.bias[1] = -128 * -5;
    x.sum[0] = 30;
    x.sum[1] = -10;
    x.sum32 = 20;
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        cr_assert_eq(product(&k, QTYPE_q4_1, &w, &x, 32), 2 * 10 - 20 + 4 * -10);
    }
}

Test(kernels, q8a_keeps_the_peak_of_each_half_and_rounds_ties_to_even)
{
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        struct block_q8a b;
        float x[32] = { 127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f };
        x[16] = -254;
        x[17] = 3;
        kernels_init(&k, level[l]);
        k.quant[QTYPE_q8a](&b, x, 32);
        cr_assert(b.scale[0] == 1 && b.scale[1] == 2);
        const int8_t want[] = { 127, -127, 0, 2, 2, 0, -2, 0 };
        cr_assert(memcmp(b.q, want, sizeof(want)) == 0);
        cr_assert(b.q[16] == -127 && b.q[17] == 2 && b.sum[0] == 2 && b.sum[1] == -250);
        cr_assert(b.bias[0] == -128 * 2 && b.bias[1] == 128 * 125 && b.sum32 == -248);
    }
}

Test(kernels, a_half_of_q8a_that_is_tiny_or_not_finite_leaves_the_other_alone)
{
    static const float odd[] = { 0, 0x1p-101f, INFINITY, NAN };
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int c = 0; c < n_level * 8; c++) {
        struct kernels k;
        struct block_q8a b;
        int h = c % 2;
        float x[32] = { 0 }, v = odd[c / 2 % 4];
        x[16 * h + 5] = v;
        x[16 * h + 6] = isfinite(v) ? 0 : 7;
        x[16 * !h] = 254;
        x[16 * !h + 15] = -254;
        kernels_init(&k, level[c / 8]);
        memset(&b, 0x55, sizeof(b));
        k.quant[QTYPE_q8a](&b, x, 32);
        cr_assert(b.scale[!h] == 2 && b.q[16 * !h] == 127 && b.q[16 * !h + 15] == -127);
        cr_assert(isfinite(v) ? b.scale[h] == 0 : isnan(b.scale[h]));
        cr_assert(b.bias[0] == 0 && b.bias[1] == 0 && b.sum[!h] == 0);
        cr_assert(isfinite(v) ? b.sum[h] == 0 && b.sum32 == 0 : isnan(b.sum[h]) && isnan(b.sum32));
        for (int i = 0; i < 16; i++)
            cr_assert_eq(b.q[16 * h + i], 0);
    }
}

Test(kernels, q8_0_rounds_ties_away_from_zero_as_ggml_does)
{
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        struct block_q8_0 b;
        float x[32] = { 127, 0.5f, 1.5f, 2.5f, -0.5f, -2.5f, 0.49999997f };
        const int8_t want[] = { 127, 1, 2, 3, -1, -3, 0, 0 };
        kernels_init(&k, level[l]);
        k.quant[QTYPE_q8_0](&b, x, 32);
        cr_assert_eq(b.d, 0x3c00);
        cr_assert(memcmp(b.q, want, sizeof(want)) == 0);
    }
}

Test(kernels, a_nan_among_the_activations_shows_in_the_product)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    unsigned level[3];
    int n_level = isa_levels(level);
    struct block_q8_0 w = { .d = 0x3c00 };

    memset(w.q, 1, sizeof(w.q));
    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        kernels_init(&k, level[l]);
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            struct block_q8a b;
            float x[32] = { 1, 2, 3 }, y;
            x[31] = bad[i];
            k.quant[QTYPE_q8a](&b, x, 32);
            y = product(&k, QTYPE_q8_0, &w, &b, 32);
            cr_assert(isnan(y), "%s: %g", isa_name(level[l]), (double)bad[i]);
            cr_assert(!k.all_finite(&y, 1));
        }
    }
}

Test(kernels, rmsnorm_and_swiglu_equal_their_formulas)
{
    unsigned level[3];
    int n_level = isa_levels(level);

    for (int l = 0; l < n_level; l++) {
        struct kernels k;
        float x[11], gain[11], out[11], up[11];
        double sum = 0;
        kernels_init(&k, level[l]);
        for (int i = 0; i < 11; i++) {
            x[i] = (float)(i * i - 40);
            gain[i] = 1 + 0.25f * (float)i;
            up[i] = (float)(3 - i);
            sum += (double)x[i] * x[i];
        }
        k.rmsnorm(out, x, gain, 11, 1e-6f);
        for (int i = 0; i < 11; i++) {
            double want = x[i] * (double)gain[i] / sqrt(sum / 11 + 1e-6);
            cr_assert(fabs(out[i] - want) <= 1e-5 * fabs(want), "rmsnorm[%d]", i);
        }
        k.swiglu(out, x, up, 11);
        for (int i = 0; i < 11; i++) {
            double want = x[i] / (1 + exp(-(double)x[i])) * up[i];
            cr_assert(fabs(out[i] - want) <= 1e-5 * fabs((double)x[i] * up[i]), "swiglu[%d]", i);
        }
    }
}
