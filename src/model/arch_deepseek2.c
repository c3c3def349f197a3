/* arch_deepseek2.c - DeepSeek V2, V2-Lite, V3, R1, V3.1, and Moonlight: latent attention, routed
 * and shared experts after a few dense layers.
 *
 * A file stores the latent's up-projection as kv_b, as k_b and v_b, or as all three (then the
 * split form is used).  Layers beyond block_count - nextn_predict_layers are the MTP module, whose
 * eh_proj takes the embedding first, as files have it and not as the paper writes it.
 * Source: arXiv 2405.04434, arXiv 2412.19437.
 */
#include "model/arch_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ONLY_GGUF(gguf, field, kind, ...) \
    { "blk.%d." gguf, NULL, offsetof(struct layer, field), kind, OPTIONAL, __VA_ARGS__ }

static const struct weight_spec global[] = { GLOBAL_ROWS, { 0 } };

static const struct weight_spec layer[] = {
    NORM_ROWS,
    LAYER("attn_q.weight",         "self_attn.q_proj.weight", attn_q, MATRIX, OPTIONAL,
          { DIM_EMBD, DIM_Q, DIM_ONE }),
    LAYER("attn_q_a.weight",       "self_attn.q_a_proj.weight", q_a, MATRIX, OPTIONAL,
          { DIM_EMBD, DIM_Q_LORA, DIM_ONE }),
    LAYER("attn_q_a_norm.weight",  "self_attn.q_a_layernorm.weight", q_a_norm, VECTOR, OPTIONAL,
          { DIM_Q_LORA, DIM_ONE, DIM_ONE }),
    LAYER("attn_q_b.weight",       "self_attn.q_b_proj.weight", q_b, MATRIX, OPTIONAL,
          { DIM_Q_LORA, DIM_Q, DIM_ONE }),
    LAYER("attn_kv_a_mqa.weight",  "self_attn.kv_a_proj_with_mqa.weight", kv_a, MATRIX, ALWAYS,
          { DIM_EMBD, DIM_KV_A, DIM_ONE }),
    LAYER("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", kv_a_norm, VECTOR, ALWAYS,
          { DIM_KV_LORA, DIM_ONE, DIM_ONE }),
    LAYER("attn_kv_b.weight",      "self_attn.kv_b_proj.weight", kv_b, MATRIX, OPTIONAL,
          { DIM_KV_LORA, DIM_KV_B, DIM_ONE }),
    ONLY_GGUF("attn_k_b.weight", k_b, MATRIX, { DIM_NOPE, DIM_KV_LORA, DIM_HEADS }),
    ONLY_GGUF("attn_v_b.weight", v_b, MATRIX, { DIM_KV_LORA, DIM_V_HEAD, DIM_HEADS }),
    LAYER("attn_output.weight",    "self_attn.o_proj.weight", attn_output, MATRIX, ALWAYS,
          { DIM_OUT, DIM_EMBD, DIM_ONE }),
    FFN_ROWS(IF_DENSE),
    LAYER("ffn_gate_inp.weight",   "mlp.gate.weight", router, MATRIX, IF_MOE,
          { DIM_EMBD, DIM_EXPERTS, DIM_ONE }),
    LAYER("exp_probs_b.bias",      "mlp.gate.e_score_correction_bias", router_bias, VECTOR,
          OPTIONAL, { DIM_EXPERTS, DIM_ONE, DIM_ONE }),
    ONLY_GGUF("exp_probs_b", router_bias, VECTOR, { DIM_EXPERTS, DIM_ONE, DIM_ONE }),
    LAYER("ffn_gate_exps.weight",  "mlp.experts.%d.gate_proj.weight", gate_exps, EXPERTS, IF_MOE,
          { DIM_EMBD, DIM_FF_EXP, DIM_EXPERTS }),
    LAYER("ffn_up_exps.weight",    "mlp.experts.%d.up_proj.weight", up_exps, EXPERTS, IF_MOE,
          { DIM_EMBD, DIM_FF_EXP, DIM_EXPERTS }),
    LAYER("ffn_down_exps.weight",  "mlp.experts.%d.down_proj.weight", down_exps, EXPERTS, IF_MOE,
          { DIM_FF_EXP, DIM_EMBD, DIM_EXPERTS }),
    LAYER("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", gate_shared, MATRIX,
          OPTIONAL, { DIM_EMBD, DIM_FF_SHARED, DIM_ONE }),
    LAYER("ffn_up_shexp.weight",   "mlp.shared_experts.up_proj.weight", up_shared, MATRIX,
          OPTIONAL, { DIM_EMBD, DIM_FF_SHARED, DIM_ONE }),
    LAYER("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", down_shared, MATRIX,
          OPTIONAL, { DIM_FF_SHARED, DIM_EMBD, DIM_ONE }),
    { 0 },
};

static const struct weight_spec mtp[] = {
    LAYER("nextn.enorm.weight",   "enorm.weight", enorm, VECTOR, ALWAYS,
          { DIM_EMBD, DIM_ONE, DIM_ONE }),
    LAYER("nextn.hnorm.weight",   "hnorm.weight", hnorm, VECTOR, ALWAYS,
          { DIM_EMBD, DIM_ONE, DIM_ONE }),
    LAYER("nextn.eh_proj.weight", "eh_proj.weight", eh_proj, MATRIX, ALWAYS,
          { DIM_EH, DIM_EMBD, DIM_ONE }),
    LAYER("nextn.embed_tokens.weight",     "embed_tokens.weight", embd, MATRIX, OPTIONAL,
          { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    LAYER("nextn.shared_head_norm.weight", "shared_head.norm.weight", head_norm, VECTOR, ALWAYS,
          { DIM_EMBD, DIM_ONE, DIM_ONE }),
    LAYER("nextn.shared_head_head.weight", "shared_head.head.weight", head, MATRIX, OPTIONAL,
          { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    { 0 },
};

static const struct key_name keys[] = {
    { "nextn_predict_layers", "num_nextn_predict_layers" },
    { "attention.q_lora_rank", "q_lora_rank" },
    { "attention.kv_lora_rank", "kv_lora_rank" },
    { "attention.nope_length", "qk_nope_head_dim" },
    { "attention.value_length", "v_head_dim" },
    { "rope.dimension_count", "qk_rope_head_dim" },
    { "rope.scaling.mscale", "rope_scaling.mscale|rope_parameters.mscale" },
    { "rope.scaling.mscale_all_dim",
      "rope_scaling.mscale_all_dim|rope_parameters.mscale_all_dim" },
    { "leading_dense_block_count", "first_k_dense_replace" },
    { "expert_count", "n_routed_experts" },
    { "expert_used_count", "num_experts_per_tok" },
    { "expert_shared_count", "n_shared_experts" },
    { "expert_feed_forward_length", "moe_intermediate_size" },
    { "expert_weights_norm", "norm_topk_prob" },
    { "expert_weights_scale", "routed_scaling_factor" },
    { "expert_group_count", "n_group" },
    { "expert_group_used_count", "topk_group" },
    { NULL, NULL },
};

/* Older files lack the group keys of models that were trained with groups. */
static const struct { int32_t n_expert; enum gating gating; int32_t n_group, n_used; } trained[] = {
    { 256, GATING_SIGMOID, 8, 4 },      /* V3, R1 */
    { 160, GATING_SOFTMAX, 8, 3 },      /* V2 */
};

static bool has_router_bias(const struct hparams *hp, const struct weights *w)
{
    static const char *const names[] = { "blk.%d.exp_probs_b.bias", "blk.%d.exp_probs_b",
                                         "model.layers.%d.mlp.gate.e_score_correction_bias" };
    char name[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(name, sizeof(name), names[i], hp->n_layer_dense);
        if (weights_find(w, name))
            return true;
    }
    return false;
}

/* How scores are made, and whether experts are chosen by groups at all. */
static enum err read_gating_kind(struct hparams *hp, const struct weights *w,
                                 const struct arch *a, bool *grouped)
{
    const char *score, *method;
    size_t n_score, n_method;
    bool sigmoid = has_router_bias(hp, w);
    int32_t gating;
    enum err e;

    *grouped = true;
    if (w->hf) {
        if ((e = weights_str(w, "scoring_func", sigmoid ? "sigmoid" : "softmax", &score,
                             &n_score)) ||
            (e = weights_str(w, "topk_method", "", &method, &n_method)))
            return e;
        *grouped = !(n_method == 6 && !memcmp(method, "greedy", 6));
        gating = n_score == 7 && !memcmp(score, "sigmoid", 7) ? 2 : 1;
        if (gating == 1 && !(n_score == 7 && !memcmp(score, "softmax", 7)))
            return err_set(ERR_ARG, "MODEL-19", "%s: scoring_func is '%.*s'; croft knows softmax "
                           "and sigmoid", w->file[0].path, (int)(n_score < 40 ? n_score : 40),
                           score);
    } else if ((e = hparams_int(w, a, "expert_gating_func", 0, 0, 4, &gating))) {
        return e;
    }
    if (gating == 0)
        gating = sigmoid ? 2 : 1;
    if (gating > 2)
        return err_set(ERR_ARG, "MODEL-20", "%s: deepseek2.expert_gating_func is %d; croft knows "
                       "1 (softmax) and 2 (sigmoid)", w->file[0].path, gating);
    hp->gating = gating == 2 ? GATING_SIGMOID : GATING_SOFTMAX;
    return OK;
}

static enum err read_gating(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    int32_t group = 1, used = 1;
    bool grouped;
    enum err e;

    if ((e = read_gating_kind(hp, w, a, &grouped)))
        return e;
    for (size_t i = 0; i < sizeof(trained) / sizeof(*trained); i++)
        if (trained[i].n_expert == hp->n_expert && trained[i].gating == hp->gating) {
            group = trained[i].n_group;
            used = trained[i].n_used;
        }
    if ((e = hparams_int(w, a, "expert_group_count", group, 1, hp->n_expert, &hp->n_group)) ||
        (e = hparams_int(w, a, "expert_group_used_count", hp->n_group == group ? used : 1, 1,
                         hp->n_group, &hp->n_group_used)))
        return e;
    if (!grouped)
        hp->n_group = hp->n_group_used = 1;
    int32_t size = hp->n_expert / hp->n_group;
    if (hp->n_expert % hp->n_group || hp->n_group_used * size < hp->n_expert_used)
        return err_set(ERR_FORMAT, "MODEL-21", "%s: %d experts in %d groups, %d of them used, "
                       "cannot give %d experts a token", w->file[0].path, hp->n_expert,
                       hp->n_group, hp->n_group_used, hp->n_expert_used);
    return OK;
}

static enum err read_experts(struct hparams *hp, const struct weights *w, const struct arch *a)
{
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
        (e = hparams_bool(w, a, "expert_weights_norm", false, &hp->expert_norm)) ||
        (e = hparams_float(w, a, "expert_weights_scale", 1, 0, 1e4, &scale)))
        return e;
    hp->expert_scale = scale == 0 ? 1 : (float)scale;
    hp->dim[DIM_EXPERTS] = hp->n_expert;
    hp->dim[DIM_FF_EXP] = ff;
    hp->dim[DIM_FF_SHARED] = (int64_t)ff * hp->n_expert_shared;
    return read_gating(hp, w, a);
}

/* Head sizes: a folder gives the parts of a key, a GGUF file their sum. */
static enum err read_heads(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    bool split = hparams_has(w, a, "attention.key_length_mla");
    const char *key = w->hf ? "attention.nope_length" :
                      split ? "attention.key_length_mla" : "attention.key_length";
    int32_t len;
    enum err e;

    if ((e = hparams_int(w, a, key, 0, 1, 1 << 14, &len)) ||
        (e = hparams_int(w, a, split ? "attention.value_length_mla" : "attention.value_length", 0,
                         1, 1 << 14, &hp->v_head)) ||
        (e = hparams_int(w, a, "rope.dimension_count", 0, 2, w->hf ? 1 << 14 : len, &hp->n_rot)))
        return e;
    if (hp->n_rot % 2 || (!w->hf && hp->n_rot >= len))
        return err_set(ERR_FORMAT, "MODEL-22", "%s: deepseek2.rope.dimension_count %d must be "
                       "even and below the key length %d", w->file[0].path, hp->n_rot, len);
    hp->nope = w->hf ? len : len - hp->n_rot;
    return OK;
}

static double yarn_mscale(double factor, double weight)
{
    return factor > 1 ? 1 + 0.1 * weight * log(factor) : 1;
}

/* The scale counts the full key, and YaRN's mscale squared (B.4 of the paper's code); GGUF files
 * that lack the multiplier are older V3 ones, trained with 0.1. */
static enum err read_scale(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    double log_mul = 0, mscale, all_dim;
    enum err e;

    if ((e = hparams_float(w, a, "rope.scaling.yarn_log_multiplier", 0.1, 0, 100, &log_mul)) ||
        (e = hparams_float(w, a, "rope.scaling.mscale", 0, 0, 1000, &mscale)) ||
        (e = hparams_float(w, a, "rope.scaling.mscale_all_dim", 0, 0, 1000, &all_dim)))
        return e;
    if (w->hf)
        log_mul = (double)(float)(0.1 * all_dim);
    bool yarn = hp->rope_scaling == ROPE_YARN;
    double m = yarn ? yarn_mscale(hp->rope_factor, 10 * log_mul) : 1;
    hp->attn_scale = (float)(m * m / sqrt(hp->nope + hp->n_rot));
    if (!w->hf || (mscale > 0 && all_dim > 0))
        hp->rope_mscale = !w->hf || !yarn ? 1 : (float)(yarn_mscale(hp->rope_factor, mscale) /
                                                       yarn_mscale(hp->rope_factor, all_dim));
    return OK;
}

static enum err read_attention(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    enum err e;

    if ((e = hparams_int(w, a, "attention.q_lora_rank", 0, 0, 1 << 16, &hp->q_lora)) ||
        (e = hparams_int(w, a, "attention.kv_lora_rank", 0, 1, 1 << 16, &hp->kv_lora)) ||
        (e = read_heads(hp, w, a)) || (e = read_scale(hp, w, a)))
        return e;
    hp->dim[DIM_Q] = (int64_t)hp->n_head * (hp->nope + hp->n_rot);
    hp->dim[DIM_OUT] = (int64_t)hp->n_head * hp->v_head;
    hp->dim[DIM_Q_LORA] = hp->q_lora;
    hp->dim[DIM_KV_LORA] = hp->kv_lora;
    hp->dim[DIM_KV_A] = hp->kv_lora + hp->n_rot;
    hp->dim[DIM_KV_B] = (int64_t)hp->n_head * (hp->nope + hp->v_head);
    hp->dim[DIM_NOPE] = hp->nope;
    hp->dim[DIM_V_HEAD] = hp->v_head;
    return OK;
}

/* What a folder's configuration may say that this family does not compute. */
static enum err check_config(const struct weights *w)
{
    uint64_t freq;
    bool interleaved;
    enum err e;

    if (!w->hf)
        return OK;
    if ((e = weights_u64(w, "moe_layer_freq", 1, 0, UINT32_MAX, &freq)) ||
        (e = weights_bool(w, "rope_interleave", true, &interleaved)))
        return e;
    if (freq == 1 && interleaved)
        return OK;
    return err_set(ERR_ARG, "MODEL-26", "%s: moe_layer_freq must be 1 and rope_interleave true; "
                   "croft computes no others", w->file[0].path);
}

static enum err read(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    enum err e;

    if ((e = check_config(w)) || (e = hparams_read_common(hp, w, a)) ||
        (e = read_attention(hp, w, a)))
        return e;
    return read_experts(hp, w, a);
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
    if (limits->act_elem < ops_mla_act(&shape))
        limits->act_elem = ops_mla_act(&shape);
}

static void kv(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX])
{
    n_elem[0] = hp->kv_lora;
    n_elem[1] = hp->n_rot;
}

static void ffn(struct forward *f, const struct layer *l)
{
    if (l->is_moe)
        block_moe(f, l);
    else
        block_ffn(f, l);
}

const struct arch arch_deepseek2 = {
    .name = "deepseek2", .hf_types = "deepseek_v2 deepseek_v3", .hf_key = keys,
    .global = global, .layer = layer, .mtp = mtp, .read = read, .check = check,
    .row_elem = row_elem, .limits = limits, .kv = kv, .attn = block_attn_mla, .ffn = ffn,
};
