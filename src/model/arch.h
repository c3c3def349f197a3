/* arch.h - what a model family is made of, and the blocks families share.
 *
 * A family is one arch_<name>.c: its hyperparameters, its table of weights with their shapes,
 * and its layer written in ops.  arch.def lists the families.  A family knows its weights and
 * keys by two names: GGUF's, and those of the Hugging Face folder it was released in.
 */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "model/model.h"
#include "ops/ops.h"
#include "place/place.h"

/* Sizes a weight's shape is checked against; a family fills the ones it uses. */
enum dim { DIM_ONE, DIM_EMBD, DIM_VOCAB, DIM_HEADS, DIM_HEAD, DIM_Q, DIM_K, DIM_V, DIM_OUT, DIM_FF,
           DIM_Q_LORA, DIM_KV_LORA, DIM_KV_A, DIM_KV_B, DIM_NOPE, DIM_V_HEAD, DIM_EXPERTS,
           DIM_FF_EXP, DIM_FF_SHARED, DIM_ROPE_FREQS,
           DIM_EH,                      /* twice DIM_EMBD where an MTP layer is bound */
           DIM_COUNT };

enum gating { GATING_SOFTMAX, GATING_SIGMOID };

struct hparams {
    int64_t dim[DIM_COUNT];
    int32_t n_layer, n_layer_mtp, n_layer_dense;    /* leading layers without experts */
    int32_t n_head, n_head_kv, head_dim;
    int64_t n_ctx_train;
    float eps;
    /* rotary positions */
    int32_t n_rot;
    bool rope_half;                     /* pairs are (i, i + n_rot / 2), not (2i, 2i + 1) */
    double rope_base, rope_factor;      /* factor 1: no scaling */
    enum rope_scaling { ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 } rope_scaling;
    int64_t rope_ctx_orig;
    double yarn_beta_fast, yarn_beta_slow;
    double llama3_low, llama3_high;
    float rope_mscale;                  /* of cos and sin */
    float attn_scale;
    /* latent attention */
    int32_t q_lora, kv_lora, nope, v_head;
    /* experts */
    int32_t n_expert, n_expert_used, n_expert_shared, n_group, n_group_used;
    enum gating gating;
    bool expert_norm;
    float expert_scale;
};

/* Vectors are unpacked to f32 when the model is opened; matrices stay where they are. */
struct layer {
    const float *attn_norm, *q_a_norm, *kv_a_norm, *ffn_norm, *router_bias;
    const float *q_bias, *k_bias, *v_bias, *q_norm, *k_norm;
    struct weight attn_q, attn_k, attn_v, attn_output;
    struct weight q_a, q_b, kv_a, kv_b, k_b, v_b;
    struct weight gate, up, down;
    struct weight router, gate_shared, up_shared, down_shared;
    const struct weight *gate_exps, *up_exps, *down_exps;   /* [n_expert], or NULL */
    /* of the MTP layer alone; embd and head are the model's where it has none of its own */
    const float *enorm, *hnorm, *head_norm;
    struct weight eh_proj, embd, head;
    bool is_moe;
    int32_t index, index_moe;
    struct kv_layer kv;
};

struct globals {
    const float *output_norm, *rope_divisor;        /* rope_divisor [n_rot / 2] or NULL */
    struct weight embd, output;                     /* output is embd when tied */
};

/* EXPERTS: a matrix per expert; GGUF stacks them in one tensor, a folder has one tensor each.
 * PAIRS: a matrix whose rows belong to rotary pairs: GGUF puts the two of a pair side by side,
 * a folder keeps a head's first halves before its second halves.  A family that keeps the halves
 * in both containers uses MATRIX and sets hparams.rope_half. */
enum shape_kind { VECTOR, MATRIX, PAIRS, EXPERTS };
enum need { ALWAYS, IF_DENSE, IF_MOE, OPTIONAL };

/* One tensor of a family.  The embedding, the head and the prefixes of layers ("blk.%d.",
 * "model.layers.%d.") are named alike in all families, and bind.c knows them.  A name with %d is
 * per layer (the second %d is the expert); NULL: that
 * container has no such tensor.  shape is GGUF's, fastest first; the second and third are
 * multiplied, so {a, b, c} and {a, b * c} are the same matrix. */
struct weight_spec {
    const char *gguf, *hf;
    size_t field;                       /* in struct layer, or struct globals */
    enum shape_kind kind;
    enum need need;
    enum dim shape[3];
};

/* A hyperparameter's two names: "<arch>.<gguf>", and in config.json; names there that depend on
 * its age are separated by |. */
struct key_name { const char *gguf, *hf; };

struct forward;

struct arch {
    const char *name;                   /* general.architecture */
    const char *hf_types;               /* model_type in config.json, separated by spaces */
    const struct key_name *hf_key;      /* beside those of hparams.c; ends with NULL; or NULL */
    const struct weight_spec *global, *layer;       /* each ends with both names NULL */
    const struct weight_spec *mtp;      /* of the MTP layer, beside those of `layer`; or NULL */
    /* Fills every dim the tables name but DIM_VOCAB, which is the embedding's. */
    enum err (*read)(struct hparams *hp, const struct weights *w, const struct arch *a);
    /* After binding: what the table cannot say.  May be NULL. */
    enum err (*check)(const struct hparams *hp, const struct layer *l);
    int64_t (*row_elem)(const struct hparams *hp);  /* f32 per row that a layer takes */
    void (*limits)(const struct hparams *hp, struct ops_limits *limits);
    void (*kv)(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX]);
    /* The two halves of a layer; each adds to f->x.  Between them rows may be dropped. */
    void (*attn)(struct forward *f, const struct layer *l);
    void (*ffn)(struct forward *f, const struct layer *l);
};

/* The family of an opened checkpoint.  Errors: FORMAT (it names none), ARG (one croft lacks). */
MUST_CHECK enum err arch_find(const struct arch **out, const struct weights *w);

/* The parts of an opened model that identity.c writes down. */
const struct weights *model_weights(const struct model *m);
const struct hparams *model_hparams(const struct model *m);

/* A step in progress. */
struct forward {
    struct ops *ops;
    const struct hparams *hp;
    const struct globals *global;
    struct attn_rows rows;
    struct rope rope;
    float *turn;                        /* [n, n_rot / 2, 2]: ops_rope_table() of the rows */
    float *x;                           /* [n, embd], the residual stream */
    float *tmp;                         /* carved by forward_take, empty at each layer's start */
    int64_t tmp_used, tmp_cap;
    int32_t *expert;                    /* [n, n_used] of this layer, largest weight first */
    float *expert_weight;               /* [n, n_used] */
    int32_t *slot, *slot_row;           /* [n * n_used]; see layers.c */
    struct product *product;            /* [2 * n_expert] */
    const struct adapter_mix *const *mix;   /* [n]: a row's adapters; NULL: no row has any */
    const struct low_rank_list **delta; /* [n * n_used]: room for lora_apply() */
};

/* `elem` f32 of the layer's memory. */
float *forward_take(struct forward *f, int64_t elem);

/* What a family's layer is made of beside ops.h; memory is taken with forward_take().
 * forward_product: y [n, w->n_row] for all rows of the step.  forward_products: such a list with
 * x [n, ld_x], and what the rows' adapters add; a layer that calls ops_products() itself must
 * call lora_apply() after it.  What is computed next is named with ops_at().  forward_normed:
 * the stream through RMSNorm, [n, embd].
 * forward_project: w times y [n, w->n_col] is added to the stream. */
struct product forward_product(const struct forward *f, const struct weight *w, float *y);
void forward_products(struct forward *f, const struct product *p, int n_product, const float *x,
                      int64_t ld_x);
float *forward_normed(struct forward *f, const struct layer *l, const float *gain);
void forward_project(struct forward *f, const struct weight *w, const float *y);

/* Shared blocks, layers.c; x [n, embd] is updated in place. */
void block_attn_gqa(struct forward *f, const struct layer *l);
void block_attn_mla(struct forward *f, const struct layer *l);
void block_ffn(struct forward *f, const struct layer *l);
void block_moe(struct forward *f, const struct layer *l);
int64_t block_attn_gqa_elem(const struct hparams *hp);
int64_t block_attn_mla_elem(const struct hparams *hp);
int64_t block_ffn_elem(const struct hparams *hp);
int64_t block_moe_elem(const struct hparams *hp);

/* Choose experts for one token from its router logits [n_expert]: experts and weights [n_used],
 * largest weight first.  `bias` may be NULL; score is room for 2 * n_expert values.
 * Source: arXiv 2412.19437 section 2.1.2; group_limited_greedy: arXiv 2405.04434. */
void route(const struct hparams *hp, const float *logit, const float *bias, float *score,
           int32_t *expert, float *weight);

/* Rotation speeds [n_rot / 2] in radians per position; divisor as in struct globals.
 * YaRN: arXiv 2309.00071. */
void rope_freqs(const struct hparams *hp, const float *divisor, float *freq);

/* What a dense family with grouped-query attention is made of beside its weights; `read` adds
 * head sizes to hparams_read_common(). */
MUST_CHECK enum err gqa_read(struct hparams *hp, const struct weights *w, const struct arch *a);
int64_t gqa_row_elem(const struct hparams *hp);
void gqa_limits(const struct hparams *hp, struct ops_limits *limits);
void gqa_kv(const struct hparams *hp, int64_t n_elem[KV_SEGS_MAX]);

/* The keys every family has: layers, widths, heads, context, eps, rope.  Names file and key. */
MUST_CHECK enum err hparams_read_common(struct hparams *hp, const struct weights *w,
                                        const struct arch *a);
/* weights_u64 / weights_f64 / weights_bool of a key by its GGUF name, whatever the container; a
 * fallback of 0 with min > 0 means required. */
MUST_CHECK enum err hparams_int(const struct weights *w, const struct arch *a, const char *key,
                                int64_t fallback, int64_t min, int64_t max, int32_t *out);
MUST_CHECK enum err hparams_float(const struct weights *w, const struct arch *a, const char *key,
                                  double fallback, double min, double max, double *out);
MUST_CHECK enum err hparams_bool(const struct weights *w, const struct arch *a, const char *key,
                                 bool fallback, bool *out);
/* True when the key is there. */
bool hparams_has(const struct weights *w, const struct arch *a, const char *key);

/* Everything an opened checkpoint gives a model, bind.c. */
struct binding {
    const struct arch *arch;
    struct hparams hp;
    struct globals global;
    bool mtp;                           /* layer[n_layer] is the MTP layer */
    struct layer *layer;                /* [bind_layers(b)] */
    float *vectors;                     /* memory of all unpacked vectors */
    struct weight *experts;             /* memory of all gate_exps, up_exps, down_exps */
    int64_t n_expert_weight;            /* of them */
    enum place_want *want;              /* [n_tensor]: how each tensor's bytes may lie */
    int64_t n_param, n_param_expert, n_param_mtp;
    int32_t n_matrix;                   /* weight.id runs from 1 to this */
};
/* `mtp`: bind the first MTP layer, where the checkpoint holds one. */
MUST_CHECK enum err bind_weights(struct binding *b, const struct weights *w, bool mtp);
int32_t bind_layers(const struct binding *b);
void bind_release(struct binding *b);

/* Let the weights point to where the place keeps them; the place must outlive the binding. */
void bind_move(struct binding *b, const struct place *p);

/* What an adapter's pair changes: the weight of `b` with the base name, in the adapter's naming;
 * of a tensor of stacked experts all of them.  Calls `found` for each; ARG when there is none. */
typedef enum err bind_found_fn(void *arg, const struct weight *base, int32_t expert,
                               enum shape_kind kind);
MUST_CHECK enum err bind_find_base(const struct binding *b, const char *base, bool hf,
                                   bind_found_fn *found, void *arg);

/* Adapters, lora.c.  A mix is what a row may ask for: any number of adapters with their scales,
 * gathered by the weight they change.  Source: arXiv 2106.09685. */
struct adapter_mix {
    struct low_rank_list *list;         /* [n_matrix + 1], by weight.id */
    struct low_rank *item;              /* memory of the lists */
};
MUST_CHECK enum err lora_mix_new(struct adapter_mix **out, const struct binding *b,
                                 const struct model_lora *part, int n_part, int64_t rank_max);
void lora_mix_free(struct adapter_mix *m);
/* y of the products gets what the rows' adapters add; slot s belongs to row row_of[s] (NULL: s).
 * Arguments as ops_products(). */
void lora_apply(struct forward *f, const struct product *p, int n_product, const float *x,
                int64_t ld_x, const int32_t *index, const int32_t *row_of);
/* The changes of one weight for each row, in f->delta; NULL: none has any. */
const struct low_rank_list *const *lora_rows(struct forward *f, int32_t weight_id);

#endif
