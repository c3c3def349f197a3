/* arch_deepseek2.c - DeepSeek V2, V2-Lite, V3, R1, V3.1, and Moonlight: latent attention, routed
 * and shared experts after a few dense layers.
 *
 * A file stores the latent's up-projection as kv_b, as k_b and v_b, or as all three (then the
 * split form is used).  Layers beyond block_count - nextn_predict_layers are the MTP module.
 * Source: arXiv 2405.04434, arXiv 2412.19437.
 */
#include "model/arch.h"

#include <math.h>
#include <stdio.h>

#define G(name, field, ...) { name, offsetof(struct globals, field), __VA_ARGS__ }
#define L(name, field, ...) { "blk.%d." name, offsetof(struct layer, field), __VA_ARGS__ }

static const struct weight_spec global[] = {
    G("token_embd.weight",  embd,        MATRIX, ALWAYS,   { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    G("output_norm.weight", output_norm, VECTOR, ALWAYS,   { DIM_EMBD, DIM_ONE, DIM_ONE }),
    G("output.weight",      output,      MATRIX, OPTIONAL, { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    { 0 },
};

static const struct weight_spec layer[] = {
    L("attn_norm.weight",      attn_norm,   VECTOR, ALWAYS,   { DIM_EMBD, DIM_ONE, DIM_ONE }),
    L("attn_q.weight",         attn_q,      MATRIX, OPTIONAL, { DIM_EMBD, DIM_Q, DIM_ONE }),
    L("attn_q_a.weight",       q_a,         MATRIX, OPTIONAL, { DIM_EMBD, DIM_Q_LORA, DIM_ONE }),
    L("attn_q_a_norm.weight",  q_a_norm,    VECTOR, OPTIONAL, { DIM_Q_LORA, DIM_ONE, DIM_ONE }),
    L("attn_q_b.weight",       q_b,         MATRIX, OPTIONAL, { DIM_Q_LORA, DIM_Q, DIM_ONE }),
    L("attn_kv_a_mqa.weight",  kv_a,        MATRIX, ALWAYS,   { DIM_EMBD, DIM_KV_A, DIM_ONE }),
    L("attn_kv_a_norm.weight", kv_a_norm,   VECTOR, ALWAYS,   { DIM_KV_LORA, DIM_ONE, DIM_ONE }),
    L("attn_kv_b.weight",      kv_b,        MATRIX, OPTIONAL, { DIM_KV_LORA, DIM_KV_B, DIM_ONE }),
    L("attn_k_b.weight",       k_b,         MATRIX, OPTIONAL, { DIM_NOPE, DIM_KV_LORA, DIM_HEADS }),
    L("attn_v_b.weight",       v_b,         MATRIX, OPTIONAL,
      { DIM_KV_LORA, DIM_V_HEAD, DIM_HEADS }),
    L("attn_output.weight",    attn_output, MATRIX, ALWAYS,   { DIM_OUT, DIM_EMBD, DIM_ONE }),
    L("ffn_norm.weight",       ffn_norm,    VECTOR, ALWAYS,   { DIM_EMBD, DIM_ONE, DIM_ONE }),
    L("ffn_gate.weight",       gate,        MATRIX, IF_DENSE, { DIM_EMBD, DIM_FF, DIM_ONE }),
    L("ffn_up.weight",         up,          MATRIX, IF_DENSE, { DIM_EMBD, DIM_FF, DIM_ONE }),
    L("ffn_down.weight",       down,        MATRIX, IF_DENSE, { DIM_FF, DIM_EMBD, DIM_ONE }),
    L("ffn_gate_inp.weight",   router,      MATRIX, IF_MOE,   { DIM_EMBD, DIM_EXPERTS, DIM_ONE }),
    L("exp_probs_b.bias",      router_bias, VECTOR, OPTIONAL, { DIM_EXPERTS, DIM_ONE, DIM_ONE }),
    L("exp_probs_b",           router_bias, VECTOR, OPTIONAL, { DIM_EXPERTS, DIM_ONE, DIM_ONE }),
    L("ffn_gate_exps.weight",  gate_exps,   MATRIX, IF_MOE,
      { DIM_EMBD, DIM_FF_EXP, DIM_EXPERTS }),
    L("ffn_up_exps.weight",    up_exps,     MATRIX, IF_MOE,
      { DIM_EMBD, DIM_FF_EXP, DIM_EXPERTS }),
    L("ffn_down_exps.weight",  down_exps,   MATRIX, IF_MOE,
      { DIM_FF_EXP, DIM_EMBD, DIM_EXPERTS }),
    L("ffn_gate_shexp.weight", gate_shared, MATRIX, OPTIONAL,
      { DIM_EMBD, DIM_FF_SHARED, DIM_ONE }),
    L("ffn_up_shexp.weight",   up_shared,   MATRIX, OPTIONAL,
      { DIM_EMBD, DIM_FF_SHARED, DIM_ONE }),
    L("ffn_down_shexp.weight", down_shared, MATRIX, OPTIONAL,
      { DIM_FF_SHARED, DIM_EMBD, DIM_ONE }),
    { 0 },
};

/* Older files lack the group keys of models that were trained with groups. */
static const struct { int32_t n_expert; enum gating gating; int32_t n_group, n_used; } trained[] = {
    { 256, GATING_SIGMOID, 8, 4 },      /* V3, R1 */
    { 160, GATING_SOFTMAX, 8, 3 },      /* V2 */
};

static enum err read_gating(struct hparams *hp, const struct weights *w)
{
    char bias[64], bias_old[64];
    int32_t gating, group = 1, used = 1;
    enum err e;

    snprintf(bias, sizeof(bias), "blk.%d.exp_probs_b.bias", hp->n_layer_dense);
    snprintf(bias_old, sizeof(bias_old), "blk.%d.exp_probs_b", hp->n_layer_dense);
    bool sigmoid = weights_find(w, bias) || weights_find(w, bias_old);
    if ((e = hparams_int(w, "deepseek2", "expert_gating_func", sigmoid ? 2 : 1, 0, 4, &gating)))
        return e;
    if (gating == 0)
        gating = sigmoid ? 2 : 1;
    if (gating > 2)
        return err_set(ERR_ARG, "MODEL-20", "%s: deepseek2.expert_gating_func is %d; croft knows "
                       "1 (softmax) and 2 (sigmoid)", w->file[0].path, gating);
    hp->gating = gating == 2 ? GATING_SIGMOID : GATING_SOFTMAX;
    for (size_t i = 0; i < sizeof(trained) / sizeof(*trained); i++)
        if (trained[i].n_expert == hp->n_expert && trained[i].gating == hp->gating) {
            group = trained[i].n_group;
            used = trained[i].n_used;
        }
    if ((e = hparams_int(w, "deepseek2", "expert_group_count", group, 1, hp->n_expert,
                         &hp->n_group)) ||
        (e = hparams_int(w, "deepseek2", "expert_group_used_count",
                         hp->n_group == group ? used : 1, 1, hp->n_group, &hp->n_group_used)))
        return e;
    int32_t size = hp->n_expert / hp->n_group;
    if (hp->n_expert % hp->n_group || hp->n_group_used * size < hp->n_expert_used)
        return err_set(ERR_FORMAT, "MODEL-21", "%s: %d experts in %d groups, %d of them used, "
                       "cannot give %d experts a token", w->file[0].path, hp->n_expert,
                       hp->n_group, hp->n_group_used, hp->n_expert_used);
    return OK;
}

static enum err read_experts(struct hparams *hp, const struct weights *w)
{
    const char *a = "deepseek2";
    int32_t ff;
    double scale;
    enum err e;

    if ((e = hparams_int(w, a, "expert_count", 0, 0, 1024, &hp->n_expert)) ||
        (e = hparams_int(w, a, "leading_dense_block_count", 0, 0, hp->n_layer,
                         &hp->n_layer_dense)))
        return e;
    if (!hp->n_expert)
        hp->n_layer_dense = hp->n_layer;
    if (hp->n_layer_dense == hp->n_layer)
        return OK;
    if ((e = hparams_int(w, a, "expert_used_count", 0, 1, hp->n_expert, &hp->n_expert_used)) ||
        (e = hparams_int(w, a, "expert_shared_count", 0, 0, 64, &hp->n_expert_shared)) ||
        (e = hparams_int(w, a, "expert_feed_forward_length", 0, 1, 1 << 20, &ff)) ||
        (e = weights_bool(w, "deepseek2.expert_weights_norm", false, &hp->expert_norm)) ||
        (e = hparams_float(w, a, "expert_weights_scale", 1, 0, 1e4, &scale)))
        return e;
    hp->expert_scale = scale == 0 ? 1 : (float)scale;
    hp->dim[DIM_EXPERTS] = hp->n_expert;
    hp->dim[DIM_FF_EXP] = ff;
    hp->dim[DIM_FF_SHARED] = (int64_t)ff * hp->n_expert_shared;
    return read_gating(hp, w);
}

/* The scale counts the full key, and YaRN's mscale squared (B.4 of the paper's code); files that
 * lack the multiplier are older V3 ones, trained with 0.1. */
static enum err read_attention(struct hparams *hp, const struct weights *w)
{
    const char *a = "deepseek2";
    bool split = weights_meta(w, "deepseek2.attention.key_length_mla") != NULL;
    int32_t qk;
    double log_mul, m;
    enum err e;

    if ((e = hparams_int(w, a, "attention.q_lora_rank", 0, 0, 1 << 16, &hp->q_lora)) ||
        (e = hparams_int(w, a, "attention.kv_lora_rank", 0, 1, 1 << 16, &hp->kv_lora)) ||
        (e = hparams_int(w, a, split ? "attention.key_length_mla" : "attention.key_length", 0, 2,
                         1 << 14, &qk)) ||
        (e = hparams_int(w, a, split ? "attention.value_length_mla" : "attention.value_length", 0,
                         1, 1 << 14, &hp->v_head)) ||
        (e = hparams_int(w, a, "rope.dimension_count", 0, 2, qk, &hp->n_rot)) ||
        (e = hparams_float(w, a, "rope.scaling.yarn_log_multiplier", hp->rope_yarn ? 0.1 : 0, 0,
                           100, &log_mul)))
        return e;
    if (hp->n_rot % 2 || hp->n_rot >= qk)
        return err_set(ERR_FORMAT, "MODEL-22", "%s: deepseek2.rope.dimension_count %d must be "
                       "even and below the key length %d", w->file[0].path, hp->n_rot, qk);
    hp->nope = qk - hp->n_rot;
    m = hp->rope_yarn && hp->rope_factor > 1 ? 1 + log_mul * log(hp->rope_factor) : 1;
    hp->attn_scale = (float)(m * m / sqrt(qk));
    hp->dim[DIM_Q] = (int64_t)hp->n_head * qk;
    hp->dim[DIM_OUT] = (int64_t)hp->n_head * hp->v_head;
    hp->dim[DIM_Q_LORA] = hp->q_lora;
    hp->dim[DIM_KV_LORA] = hp->kv_lora;
    hp->dim[DIM_KV_A] = hp->kv_lora + hp->n_rot;
    hp->dim[DIM_KV_B] = (int64_t)hp->n_head * (hp->nope + hp->v_head);
    hp->dim[DIM_NOPE] = hp->nope;
    hp->dim[DIM_V_HEAD] = hp->v_head;
    return OK;
}

static enum err read(struct hparams *hp, const struct weights *w)
{
    enum err e;

    if ((e = hparams_read_common(hp, w, "deepseek2")) || (e = read_attention(hp, w)))
        return e;
    return read_experts(hp, w);
}

static enum err check(const struct hparams *hp, const struct layer *l)
{
    bool low_rank = l->q_a.data && l->q_a_norm && l->q_b.data;

    if (low_rank == (l->attn_q.data != NULL))
        return err_set(ERR_FORMAT, "MODEL-23", "layer %d needs either attn_q or all of attn_q_a, "
                       "attn_q_a_norm and attn_q_b; the file is incomplete", l->index);
    if (!l->kv_b.data && !(l->k_b.data && l->v_b.data))
        return err_set(ERR_FORMAT, "MODEL-24", "layer %d needs either attn_kv_b or both attn_k_b "
                       "and attn_v_b; the file is incomplete", l->index);
    if (l->is_moe && hp->n_expert_shared &&
        !(l->gate_shared.data && l->up_shared.data && l->down_shared.data))
        return err_set(ERR_FORMAT, "MODEL-25", "layer %d lacks tensors of its %d shared experts "
                       "(ffn_gate_shexp, ffn_up_shexp, ffn_down_shexp)", l->index,
                       hp->n_expert_shared);
    return OK;
}

static int64_t row_elem(const struct hparams *hp)
{
    int64_t ffn = block_ffn_elem(hp), moe = hp->n_expert ? block_moe_elem(hp) : 0;

    return block_attn_mla_elem(hp) + (ffn > moe ? ffn : moe);
}

static void limits(const struct hparams *hp, struct ops_limits *limits)
{
    struct mla_shape shape = { hp->n_head, hp->nope, hp->n_rot, hp->v_head, hp->kv_lora, 0 };

    limits->scratch_elem = ops_mla_scratch(&shape);
    limits->latent_elem = ops_mla_latent(&shape);
}

static void kv(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX])
{
    n_elem[0] = hp->kv_lora;
    n_elem[1] = hp->n_rot;
}

static void run(struct forward *f, const struct layer *l)
{
    block_attn_mla(f, l);
    if (l->is_moe)
        block_moe(f, l);
    else
        block_ffn(f, l);
}

const struct arch arch_deepseek2 = {
    .name = "deepseek2", .global = global, .layer = layer, .read = read, .check = check,
    .row_elem = row_elem, .limits = limits, .kv = kv, .run = run,
};
