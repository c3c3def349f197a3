/* kernels.h - the arithmetic of the engine, as a table of plain functions.
 *
 * A kernel works on raw rows: no tensors, no threads, no allocation, no errors.  Each one
 * exists first as readable scalar C (its reference, in dequant*.c, dot.c, quant.c, vec.c).
 * Faster versions live in x86/ and arm/ and must agree with the reference within the tolerance
 * written here; tests/kernels/check.c enforces that for all of them.
 *
 * Contracts common to all kernels
 *   Shapes     n is the number of elements, and a multiple of the type's block; any n >= 0.
 *   Alignment  none is required, and nothing outside the row may be read or written.
 *   Aliasing   out may equal x where marked (in place); otherwise rows do not overlap.
 *   Values     finite inputs; NaN and infinity give unspecified values, never a crash.
 *   Order      a result depends on the row's values and n alone, so a product is the same
 *              bits whatever else is computed beside it.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qtype {
#define QTYPE(id, ...) QTYPE_##id,
#include "kernels/qtype.def"
#undef QTYPE
    QTYPE_COUNT
};

enum layout {
#define LAYOUT(id) LAYOUT_##id,
#include "kernels/layout.def"
#undef LAYOUT
    LAYOUT_COUNT
};

struct qtype_info {
    const char *name;                   /* as people write it: "Q4_K", "F16" */
    int gguf_id, block_elems, block_bytes;
    enum qtype act;
};
extern const struct qtype_info qtype_info[QTYPE_COUNT];

/* The type with this GGUF number, or QTYPE_COUNT. */
enum qtype qtype_from_gguf(uint32_t gguf_id);

/* The bytes of a row of n elements; n must be a multiple of the block. */
static inline int64_t qtype_row_bytes(enum qtype q, int64_t n)
{
    return n / qtype_info[q].block_elems * qtype_info[q].block_bytes;
}

/* out[n] in the type <- x[n] f32.  Tolerance: identical bytes.
 * Filled for f32, f16, bf16, q8_0 (KV cache) and q8a (activations); NULL for the others. */
typedef void quant_fn(void *out, const float *x, int64_t n);

/* out[n] f32 <- x[n] in the type.  Tolerance: identical bits. */
typedef void dequant_fn(float *out, const void *x, int64_t n);

/* Sum of w[i] * x[i]: w is one weight row of the type, x f32.  Tolerance: 1e-5 of the sum of
 * |w[i] * x[i]|. */
typedef float dot_fn(const void *w, const void *x, int64_t n);

/* Products of tiles with activation rows, see tile.h.  Tolerance: identical bits; mul_bf16 1e-5 of
 * the sum of |w[i] * x[i]|. */
struct tile_mul;
typedef void tile_mul_fn(const struct tile_mul *m);

/* out[i] = x[i] * gain[i] / sqrt(mean(x^2) + eps).  In place allowed.
 * Tolerance: 1e-5 relative.  Source: arXiv 1910.07467, equation 4. */
typedef void rmsnorm_fn(float *out, const float *x, const float *gain, int64_t n, float eps);

/* y[i] += a * x[i].  Tolerance: 1e-6 of |y[i]| + |a * x[i]|. */
typedef void axpy_fn(float *y, float a, const float *x, int64_t n);

/* y[i] *= a.  Tolerance: identical bits. */
typedef void scale_fn(float *y, float a, int64_t n);

/* out[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + exp(-z)).  In place allowed, on either.
 * Tolerance: 1e-5 relative to |gate[i] * up[i]|.  Source: arXiv 2002.05202. */
typedef void swiglu_fn(float *out, const float *gate, const float *up, int64_t n);

/* c [m, n] = a [m, k] b [k, n], or with `add` c += a b; rows ld_c, ld_a, ld_b apart.  An element
 * is summed in f32 in rising k, one product at a time onto what is there: neither m nor n, nor a
 * cut of k into two calls, changes its bits.  Tolerance: 1e-5 of the sum of |a[i] * b[i]|. */
typedef void mat_mul_fn(float *c, int64_t ld_c, const float *a, int64_t ld_a, const float *b,
                        int64_t ld_b, int64_t m, int64_t n, int64_t k, bool add);

/* The same with two bf16 in place of each f32 of a and b, so that k and the rows count pairs; the
 * products of a pair are added in an order of the processor's own.  Same tolerance; tiny results
 * may be 0. */

/* out [n, m] <- x [m, n], rows ld_out and ld_x apart.  Tolerance: identical bits. */
typedef void transpose_fn(float *out, int64_t ld_out, const float *x, int64_t ld_x, int64_t m,
                          int64_t n);

/* x[i] = exp(scale * x[i] - M), M the largest of *max and every scale * x[i]; *max = M; the sum
 * of the new x.  Terms below e^-87 are 0; a NaN gives NaN.  Scores become weights of a softmax
 * that is taken part by part.  Tolerance: 1e-5 relative, for the sum too; none for M. */
typedef float softmax_fn(float *x, int64_t n, float scale, float *max);

/* Queries against n_tok rows of the KV cache, which lie as it keeps them: f32, f16, bf16 or q8_0.
 * A row has up to two segments, each [n_tok, n] with rows row_bytes apart. */
struct kv_block {
    float *out;                         /* score: [n_q, n_tok]; value: [n_q, n] */
    const float *q;                     /* score: [n_q, n of all segments]; value: [n_q, n_tok] */
    int64_t ld_out, ld_q, n_q, n_tok;
    struct {
        const void *row;
        int64_t row_bytes, n;
    } seg[2];
    struct {                            /* memory that is wanted soon: asked for, never read */
        const uint8_t *row;
        int64_t row_bytes, bytes, n_row;    /* bytes of each row; n_row 0: none */
    } ask;
};

/* kv_score: out = q . rows, over both segments (n may be 0).  Tolerance: 1e-5 of the sum of
 * |q[i] * row[i]|.  kv_value: out += q rows, the first segment's; an element is summed in f32 in
 * rising token, one product at a time onto what is there.  Tolerance: 1e-5 of the sum of
 * |q[t] * row[t]|.  In both a query's result has the same bits whatever n_q is, and for kv_score
 * each token's whatever n_tok. */
typedef void kv_fn(const struct kv_block *b);

/* True when no element is NaN or infinite. */
typedef bool all_finite_fn(const float *x, int64_t n);

struct kernels {
    quant_fn      *quant[QTYPE_COUNT];
    dequant_fn    *dequant[QTYPE_COUNT];
    dot_fn        *dot[QTYPE_COUNT];    /* f32; NULL for the others */
    tile_mul_fn   *mul[QTYPE_COUNT];    /* NULL for types without tiles */
    tile_mul_fn   *mul_bf16;            /* bf16 tiles times bf16 activations; NULL: none */
    rmsnorm_fn    *rmsnorm;
    axpy_fn       *axpy;
    scale_fn      *scale;
    swiglu_fn     *swiglu;
    mat_mul_fn    *mat_mul;
    mat_mul_fn    *mat_mul_bf16;        /* NULL: none */
    transpose_fn  *transpose;
    softmax_fn    *softmax;
    all_finite_fn *all_finite;
    kv_fn         *kv_score[QTYPE_COUNT], *kv_value[QTYPE_COUNT];   /* of types the cache has */
};

/* Instruction-set levels, each including the ones above it in its family. */
enum isa {
    ISA_AVX2       = 1 << 0,    /* AVX2, FMA, F16C: Haswell 2013, Zen 2017 */
    ISA_AVX512     = 1 << 1,    /* AVX-512 F BW DQ VL VNNI: Ice Lake 2019, Zen 4 2022 */
    ISA_AVX512BF16 = 1 << 2,    /* and BF16: Cooper Lake 2020, Zen 4 2022 */
    ISA_NEON       = 1 << 3,    /* every 64-bit ARM: Cortex-A53 2012 */
    ISA_DOTPROD    = 1 << 4,    /* dot product of ARMv8.2: Apple A13 2019, Cortex-A76, Graviton 2 */
};

/* What this CPU and operating system can run, as a set of enum isa. */
unsigned isa_detect(void);

/* The set a name allows: "ref" is 0, "avx2" ISA_AVX2, "avx512" it and ISA_AVX512,
 * "avx512bf16" all three, "neon" ISA_NEON, "dotprod" it and ISA_DOTPROD, "auto" all detected.
 * False when the name is unknown; *isa may hold levels this CPU lacks: the caller checks. */
bool isa_parse(const char *name, unsigned *isa);

/* The name of the highest level in the set: "ref" when it is empty. */
const char *isa_name(unsigned isa);

/* The levels built into this program, as names with spaces between. */
const char *isa_built_in(void);

/* Fill the table with the best version allowed by `isa`; 0 gives the references. */
void kernels_init(struct kernels *k, unsigned isa);

#endif
