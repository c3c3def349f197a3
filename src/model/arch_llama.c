/* arch_llama.c - Llama, and what has its shape: SmolLM2, the R1 distills on Llama, stories260K. */
#include "model/arch_table.h"

static const struct weight_spec global[] = {
    GLOBAL_ROWS,
    GLOBAL("rope_freqs.weight", NULL, rope_divisor, VECTOR, OPTIONAL,
           { DIM_ROPE_FREQS, DIM_ONE, DIM_ONE }),
    { 0 },
};

static const struct weight_spec layer[] = {
    NORM_ROWS,
    GQA_ROWS(PAIRS),
    FFN_ROWS(ALWAYS),
    { 0 },
};

const struct arch arch_llama = {
    .name = "llama", .hf_types = "llama", .global = global, .layer = layer, .read = gqa_read,
    .row_elem = gqa_row_elem, .limits = gqa_limits, .kv = gqa_kv, .attn = block_attn_gqa,
    .ffn = block_ffn,
};
