/* arch_qwen3.c - Qwen3 (dense), and the R1-0528 distill on it: each head of queries and keys is
 * normed before its rotation; rotary pairs are a head's two halves, in both containers. */
#include "model/arch_table.h"

static const struct weight_spec global[] = { GLOBAL_ROWS, { 0 } };

static const struct weight_spec layer[] = {
    NORM_ROWS,
    GQA_ROWS(MATRIX),
    LAYER("attn_q_norm.weight", "self_attn.q_norm.weight", q_norm, VECTOR, ALWAYS,
          { DIM_HEAD, DIM_ONE, DIM_ONE }),
    LAYER("attn_k_norm.weight", "self_attn.k_norm.weight", k_norm, VECTOR, ALWAYS,
          { DIM_HEAD, DIM_ONE, DIM_ONE }),
    FFN_ROWS(ALWAYS),
    { 0 },
};

static enum err read(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    hp->rope_half = true;
    return gqa_read(hp, w, a);
}

const struct arch arch_qwen3 = {
    .name = "qwen3", .hf_types = "qwen3", .global = global, .layer = layer, .read = read,
    .row_elem = gqa_row_elem, .limits = gqa_limits, .kv = gqa_kv, .attn = block_attn_gqa,
    .ffn = block_ffn,
};
