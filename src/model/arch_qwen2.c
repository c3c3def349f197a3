/* arch_qwen2.c - Qwen2 and Qwen2.5, and the R1 distills on them: biases on queries, keys and
 * values; rotary pairs are a head's two halves, in both containers. */
#include "model/arch_table.h"

static const struct weight_spec global[] = { GLOBAL_ROWS, { 0 } };

static const struct weight_spec layer[] = {
    NORM_ROWS,
    GQA_ROWS(MATRIX),
    LAYER("attn_q.bias", "self_attn.q_proj.bias", q_bias, VECTOR, ALWAYS,
          { DIM_Q, DIM_ONE, DIM_ONE }),
    LAYER("attn_k.bias", "self_attn.k_proj.bias", k_bias, VECTOR, ALWAYS,
          { DIM_K, DIM_ONE, DIM_ONE }),
    LAYER("attn_v.bias", "self_attn.v_proj.bias", v_bias, VECTOR, ALWAYS,
          { DIM_V, DIM_ONE, DIM_ONE }),
    FFN_ROWS(ALWAYS),
    { 0 },
};

static enum err read(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    hp->rope_half = true;
    return gqa_read(hp, w, a);
}

const struct arch arch_qwen2 = {
    .name = "qwen2", .hf_types = "qwen2", .global = global, .layer = layer, .read = read,
    .row_elem = gqa_row_elem, .limits = gqa_limits, .kv = gqa_kv, .attn = block_attn_gqa,
    .ffn = block_ffn,
};
