/* gqa.c - what dense families with grouped-query attention share: head sizes, memory, the layer.
 *
 * Biases and norms of queries and keys are part of the layer where a family's table binds them. */
#include "model/arch.h"

#include <math.h>

enum err gqa_read(struct hparams *hp, const struct weights *w, const struct arch *a)
{
    int32_t n_expert, head_dim_v;
    enum err e;

    if ((e = hparams_read_common(hp, w, a)) ||
        (e = hparams_int(w, a, "expert_count", 0, 0, 1 << 16, &n_expert)))
        return e;
    if (n_expert)
        return err_set(ERR_ARG, "MODEL-10", "%s: a %s model with %d experts (such as Mixtral) is a "
                       "family croft does not run yet", w->file[0].path, a->name, n_expert);
    if (hp->n_layer_mtp)
        return err_set(ERR_FORMAT, "MODEL-11", "%s: %s.nextn_predict_layers is %d; a %s model has "
                       "none", w->file[0].path, a->name, hp->n_layer_mtp, a->name);
    if (hp->n_head % hp->n_head_kv)
        return err_set(ERR_FORMAT, "MODEL-12", "%s: %s%s %d is not a multiple of %s %d",
                       w->file[0].path, w->hf ? "" : a->name,
                       w->hf ? "num_attention_heads" : ".attention.head_count", hp->n_head,
                       w->hf ? "num_key_value_heads" : "head_count_kv", hp->n_head_kv);
    if ((e = hparams_int(w, a, "attention.key_length", hp->dim[DIM_EMBD] / hp->n_head, 2,
                         1 << 14, &hp->head_dim)) ||
        (e = hparams_int(w, a, "attention.value_length", hp->head_dim, 2, 1 << 14,
                         &head_dim_v)) ||
        (e = hparams_int(w, a, "rope.dimension_count", hp->head_dim, 2, hp->head_dim,
                         &hp->n_rot)))
        return e;
    if (w->hf && hp->n_rot % 2)         /* the three are one key there */
        return err_set(ERR_FORMAT, "LOAD-96", "%s: head_dim %d must be even", w->file[0].path,
                       hp->n_rot);
    if (head_dim_v != hp->head_dim || hp->n_rot % 2)
        return err_set(ERR_FORMAT, "MODEL-13", "%s: %s.attention.value_length %d must equal "
                       "key_length %d, and rope.dimension_count %d must be even",
                       w->file[0].path, a->name, head_dim_v, hp->head_dim, hp->n_rot);
    hp->n_layer_dense = hp->n_layer;
    hp->dim[DIM_Q] = (int64_t)hp->n_head * hp->head_dim;
    hp->dim[DIM_K] = hp->dim[DIM_V] = (int64_t)hp->n_head_kv * hp->head_dim;
    hp->dim[DIM_HEAD] = hp->head_dim;
    hp->dim[DIM_ROPE_FREQS] = hp->n_rot / 2;
    hp->attn_scale = 1 / sqrtf((float)hp->head_dim);
    return OK;
}

int64_t gqa_row_elem(const struct hparams *hp)
{
    return block_attn_gqa_elem(hp) + block_ffn_elem(hp);
}

void gqa_limits(const struct hparams *hp, struct ops_limits *limits)
{
    struct attn_shape shape = { hp->n_head, hp->n_head_kv, hp->head_dim, 0 };

    limits->scratch_elem = ops_attn_scratch(&shape);
}

void gqa_kv(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX])
{
    n_elem[0] = hp->dim[DIM_K];
    n_elem[1] = hp->dim[DIM_V];
}
