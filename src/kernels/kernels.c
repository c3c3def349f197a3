/* kernels.c - build the kernel table: references first, then what the CPU can do. */
#include "kernels/ref.h"

#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#elif defined __aarch64__
#include <sys/auxv.h>
#endif

const struct qtype_info qtype_info[QTYPE_COUNT] = {
#define QTYPE(id, gguf, elems, bytes, act, name) \
    [QTYPE_##id] = { name, gguf, elems, bytes, QTYPE_##act },
#include "kernels/qtype.def"
#undef QTYPE
};

enum qtype qtype_from_gguf(uint32_t gguf_id)
{
    for (int q = 0; q < QTYPE_COUNT; q++)
        if (qtype_info[q].gguf_id >= 0 && (uint32_t)qtype_info[q].gguf_id == gguf_id)
            return (enum qtype)q;
    return QTYPE_COUNT;
}

void kernels_init(struct kernels *k, unsigned isa)
{
    *k = (struct kernels){
        .quant = {
            [QTYPE_f32] = quant_f32, [QTYPE_f16] = quant_f16, [QTYPE_bf16] = quant_bf16,
            [QTYPE_q8_0] = quant_q8_0, [QTYPE_q8a] = quant_q8a,
        },
#define QTYPE(id, ...) .dequant[QTYPE_##id] = dequant_##id,
#include "kernels/qtype.def"
#undef QTYPE
        .dot[QTYPE_f32] = dot_f32,
#define TILE(id, ...) .mul[QTYPE_##id] = tile_mul_##id,
#include "kernels/tile.def"
#undef TILE
        .rmsnorm = rmsnorm,
        .axpy = axpy,
        .scale = scale,
        .swiglu = swiglu,
        .mat_mul = mat_mul,
        .transpose = transpose,
        .softmax = softmax,
        .all_finite = all_finite,
#define KV(id) .kv_score[QTYPE_##id] = kv_score_##id, .kv_value[QTYPE_##id] = kv_value_##id,
        KV_TYPES(KV)
#undef KV
    };
#ifdef __x86_64__
    if (isa & ISA_AVX2) {
        kernels_add_dot_avx2(k);
        kernels_add_dequant_avx2(k);
        kernels_add_quant_avx2(k);
        kernels_add_vec_avx2(k);
        kernels_add_mat_avx2(k);
        kernels_add_kv_avx2(k);
        kernels_add_tile_avx2(k);
    }
    if (isa & ISA_AVX512) {
        kernels_add_dequant_avx512(k);
        kernels_add_vec_avx512(k);
        kernels_add_mat_avx512(k);
        kernels_add_kv_avx512(k);
        kernels_add_tile_avx512(k);
    }
    if (isa & ISA_AVX512BF16) {
        kernels_add_tile_avx512bf16(k);
        kernels_add_mat_avx512bf16(k);
    }
#elif defined __aarch64__
    if (isa & ISA_NEON) {
        kernels_add_dot_neon(k);
        kernels_add_dequant_neon(k);
        kernels_add_quant_neon(k);
        kernels_add_vec_neon(k);
        kernels_add_mat_neon(k);
        kernels_add_kv_neon(k);
        kernels_add_tile_neon(k);
    }
    if (isa & ISA_DOTPROD)
        kernels_add_tile_dotprod(k);
#endif
}

#ifdef __x86_64__
/* __builtin_cpu_supports() also asks the operating system, but clang's does not know F16C. */
static bool cpu_has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

unsigned isa_detect(void)
{
    unsigned isa = 0;

#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c())
        isa |= ISA_AVX2;
    if ((isa & ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        isa |= ISA_AVX512;
    if ((isa & ISA_AVX512) && __builtin_cpu_supports("avx512bf16"))
        isa |= ISA_AVX512BF16;
#elif defined __aarch64__
    isa = ISA_NEON;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        isa |= ISA_DOTPROD;
#endif
    return isa;
}

/* Lowest first, within each family. */
static const struct { const char *name; unsigned isa; } levels[] = {
    { "ref", 0 },
    { "avx2", ISA_AVX2 }, { "avx512", ISA_AVX2 | ISA_AVX512 },
    { "avx512bf16", ISA_AVX2 | ISA_AVX512 | ISA_AVX512BF16 },
    { "neon", ISA_NEON }, { "dotprod", ISA_NEON | ISA_DOTPROD },
};
enum { N_LEVELS = sizeof(levels) / sizeof(*levels) };

bool isa_parse(const char *name, unsigned *isa)
{
    *isa = !strcmp(name, "auto") ? isa_detect() : 0;
    for (int l = 0; l < N_LEVELS; l++)
        if (!strcmp(name, levels[l].name)) {
            *isa = levels[l].isa;
            return true;
        }
    return !strcmp(name, "auto");
}

const char *isa_name(unsigned isa)
{
    int l = N_LEVELS - 1;

    while (levels[l].isa & ~isa)
        l--;
    return levels[l].name;
}

const char *isa_built_in(void)
{
#if defined __x86_64__
    return "ref avx2 avx512 avx512bf16";
#elif defined __aarch64__
    return "ref neon dotprod";
#else
    return "ref";
#endif
}
