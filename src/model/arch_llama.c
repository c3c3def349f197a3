/* arch_llama.c - Llama, and what has its shape: SmolLM2, the R1 distills on Llama, stories260K.
 *
 * Rows of attn_q and attn_k are permuted in GGUF so that rotary pairs are adjacent. */
#include "model/arch.h"

#include <math.h>

#define G(name, field, ...) { name, offsetof(struct globals, field), __VA_ARGS__ }
#define L(name, field, ...) { "blk.%d." name ".weight", offsetof(struct layer, field), __VA_ARGS__ }

static const struct weight_spec global[] = {
    G("token_embd.weight",  embd,         MATRIX, ALWAYS,   { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    G("output_norm.weight", output_norm,  VECTOR, ALWAYS,   { DIM_EMBD, DIM_ONE, DIM_ONE }),
    G("output.weight",      output,       MATRIX, OPTIONAL, { DIM_EMBD, DIM_VOCAB, DIM_ONE }),
    G("rope_freqs.weight",  rope_divisor, VECTOR, OPTIONAL, { DIM_ROPE_FREQS, DIM_ONE, DIM_ONE }),
    { 0 },
};

static const struct weight_spec layer[] = {
    L("attn_norm",   attn_norm,   VECTOR, ALWAYS, { DIM_EMBD, DIM_ONE, DIM_ONE }),
    L("attn_q",      attn_q,      MATRIX, ALWAYS, { DIM_EMBD, DIM_Q, DIM_ONE }),
    L("attn_k",      attn_k,      MATRIX, ALWAYS, { DIM_EMBD, DIM_K, DIM_ONE }),
    L("attn_v",      attn_v,      MATRIX, ALWAYS, { DIM_EMBD, DIM_V, DIM_ONE }),
    L("attn_output", attn_output, MATRIX, ALWAYS, { DIM_Q, DIM_EMBD, DIM_ONE }),
    L("ffn_norm",    ffn_norm,    VECTOR, ALWAYS, { DIM_EMBD, DIM_ONE, DIM_ONE }),
    L("ffn_gate",    gate,        MATRIX, ALWAYS, { DIM_EMBD, DIM_FF, DIM_ONE }),
    L("ffn_up",      up,          MATRIX, ALWAYS, { DIM_EMBD, DIM_FF, DIM_ONE }),
    L("ffn_down",    down,        MATRIX, ALWAYS, { DIM_FF, DIM_EMBD, DIM_ONE }),
    { 0 },
};

static enum err read(struct hparams *hp, const struct weights *w)
{
    int32_t n_expert, head_dim_v;
    enum err e;

    if ((e = hparams_read_common(hp, w, "llama")) ||
        (e = hparams_int(w, "llama", "expert_count", 0, 0, 1 << 16, &n_expert)))
        return e;
    if (n_expert)
        return err_set(ERR_ARG, "MODEL-10", "%s: a llama model with %d experts (Mixtral) is a "
                       "family croft does not run yet", w->file[0].path, n_expert);
    if (hp->n_layer_mtp)
        return err_set(ERR_FORMAT, "MODEL-11", "%s: llama.nextn_predict_layers is %d; a llama "
                       "model has none", w->file[0].path, hp->n_layer_mtp);
    if (hp->n_head % hp->n_head_kv)
        return err_set(ERR_FORMAT, "MODEL-12", "%s: llama.attention.head_count %d is not a "
                       "multiple of head_count_kv %d", w->file[0].path, hp->n_head,
                       hp->n_head_kv);
    if ((e = hparams_int(w, "llama", "attention.key_length", hp->dim[DIM_EMBD] / hp->n_head, 2,
                         1 << 14, &hp->head_dim)) ||
        (e = hparams_int(w, "llama", "attention.value_length", hp->head_dim, 2, 1 << 14,
                         &head_dim_v)) ||
        (e = hparams_int(w, "llama", "rope.dimension_count", hp->head_dim, 2, hp->head_dim,
                         &hp->n_rot)))
        return e;
    if (head_dim_v != hp->head_dim || hp->n_rot % 2)
        return err_set(ERR_FORMAT, "MODEL-13", "%s: llama.attention.value_length %d must equal "
                       "key_length %d, and rope.dimension_count %d must be even",
                       w->file[0].path, head_dim_v, hp->head_dim, hp->n_rot);
    hp->n_layer_dense = hp->n_layer;
    hp->dim[DIM_Q] = (int64_t)hp->n_head * hp->head_dim;
    hp->dim[DIM_K] = hp->dim[DIM_V] = (int64_t)hp->n_head_kv * hp->head_dim;
    hp->dim[DIM_ROPE_FREQS] = hp->n_rot / 2;
    hp->attn_scale = 1 / sqrtf((float)hp->head_dim);
    if (hp->rope_yarn)
        hp->rope_mscale = (float)(1 + 0.1 * log(hp->rope_factor));
    return OK;
}

static int64_t row_elem(const struct hparams *hp)
{
    int64_t attn = block_attn_gqa_elem(hp), ffn = block_ffn_elem(hp);

    return attn + ffn;
}

static void limits(const struct hparams *hp, struct ops_limits *limits)
{
    struct attn_shape shape = { hp->n_head, hp->n_head_kv, hp->head_dim, 0 };

    limits->scratch_elem = ops_attn_scratch(&shape);
}

static void kv(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX])
{
    n_elem[0] = hp->dim[DIM_K];
    n_elem[1] = hp->dim[DIM_V];
}

static void run(struct forward *f, const struct layer *l)
{
    block_attn_gqa(f, l);
    block_ffn(f, l);
}

const struct arch arch_llama = {
    .name = "llama", .global = global, .layer = layer, .read = read, .row_elem = row_elem,
    .limits = limits, .kv = kv, .run = run,
};
