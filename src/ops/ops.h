/* ops.h - whole matrices on a device: what a model family is written in.
 *
 * Every function works on rows of f32 activations, cuts its work into jobs for the thread pool,
 * and gives each row the same bits whatever rows stand beside it and however many threads there
 * are.  A weight that turns out not to be finite is recorded; ops_error() reports it after the
 * step, so that the layers need no error paths of their own.
 */
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "base/err.h"
#include "base/pool.h"
#include "kernels/kernels.h"
#include "ops/kv.h"
#include "ops/profile.h"

#include <stdbool.h>
#include <stdint.h>

/* A matrix in its storage type: n_row rows of n_col elements.  data is NULL when a model lacks
 * it.  Three-dimensional tensors are their matrices one after another. */
struct weight {
    const char *name;                   /* for messages; borrowed */
    enum qtype type;
    enum layout layout;
    int64_t n_col, n_row;
    int64_t row0;                       /* rows of the tensor before this part of it */
    uint64_t row_bytes;
    const uint8_t *data;                /* borrowed: mapped */
    const uint8_t *scale;               /* f8_e4m3: f32 [ceil(rows / 128), ceil(n_col / 128)] of
                                           the whole tensor, multiplied; any alignment */
    int32_t pair_head;                  /* not 0: rows come in heads of so many, first halves of
                                           rotary pairs before second halves; products put the
                                           two of a pair side by side */
    int32_t id;                         /* 1 .. n of its model; 0: not numbered */
};

/* Where a product puts the result of row r. */
static inline int64_t weight_place(const struct weight *w, int64_t r)
{
    int64_t half = w->pair_head / 2, i = w->pair_head ? r % w->pair_head : 0;

    if (!w->pair_head)
        return r;
    return r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* `n` rows of `w` from `row` on, as a matrix of its own. */
struct weight weight_rows(const struct weight *w, int64_t row, int64_t n);

struct ops;

struct ops_limits {
    int64_t act_elem;                   /* largest n_row * n_col of activations in one product */
    int64_t col;                        /* widest weight row */
    int64_t scratch_elem;               /* f32 of scratch per thread that attention needs */
    int64_t latent_elem;                /* f32 shared by all threads; see ops_mla_latent() */
};

/* On success *out is yours: ops_free().  `pool` is borrowed.  Errors: NOMEM. */
MUST_CHECK enum err ops_new(struct ops **out, struct pool *pool, unsigned isa, bool exact,
                            const struct ops_limits *limits);
void ops_free(struct ops *o);
const struct kernels *ops_kernels(const struct ops *o);

/* Memory for activations, in huge pages where it is large and the system gives them: rows are far
 * apart.  What it holds is undefined.  Yours: free().  NULL without memory. */
void *ops_memory(uint64_t bytes);

/* Count what is computed from now on in `p`, which is the caller's; NULL: nothing (the default). */
void ops_profile(struct ops *o, struct profile *p);

/* What is computed next is this operation of a layer; see profile_at(). */
void ops_at(struct ops *o, int32_t layer, enum profile_op op);

/* The first error since the last call, or OK. */
MUST_CHECK enum err ops_error(struct ops *o);

/* out[n_col] f32 <- row of w.  A value that is not finite is recorded, naming tensor and row. */
void ops_unpack_row(struct ops *o, const struct weight *w, int64_t row, float *out);

/* x [n, w->n_col] <- rows `id` of the embedding. */
void ops_embed(struct ops *o, float *x, const struct weight *w, const int32_t *id, int64_t n);

/* out[i] <- rmsnorm of x[i], rows ld_out and ld_x apart.  In place allowed. */
void ops_rmsnorm(struct ops *o, float *out, int64_t ld_out, const float *x, int64_t ld_x,
                 const float *gain, int64_t n, int64_t n_col, float eps);

/* One product of a list that shares its input: y[s][r] = sum over c of w[r][c] * x[index[s]][c],
 * for the slots s of [slot_begin, slot_end).  With `up`, a matrix of the same shape, y is
 * silu(w x) * (up x) instead; with `add` the result is added to y.  Neither goes with a weight
 * whose pair_head is set.  `f32` keeps activations unrounded where the type alone would let them
 * be rounded to bf16: for a product that decides something, such as a router's. */
struct product {
    struct weight w;
    const struct weight *up;
    float *y;
    int64_t ld_y;
    int64_t slot_begin, slot_end;
    bool add, f32;
};

/* All products of the list; `x` has n_x rows, ld_x apart; `index` maps slots to rows of x
 * (NULL: slot s is row s).  The weights share n_col. */
void ops_products(struct ops *o, const struct product *p, int n_product, const float *x,
                  int64_t ld_x, int64_t n_x, const int32_t *index);

/* y [n, w->n_row] = x [n, w->n_col] w^T: the common single product. */
void ops_matmul(struct ops *o, float *y, const struct weight *w, const float *x, int64_t n);

/* A change of a weight: W + scale * b a, a [rank, n_col], b [n_row, rank]; kept apart from W. */
struct low_rank { struct weight a, b; float scale; };
struct low_rank_list { const struct low_rank *item; int n; };
enum { LOW_RANK_MAX = 1024 };

/* y[s] += scale * b (a x[index[s]]) for every change in list[s - slot_begin] (NULL: none), with
 * the slots of the product `p`; `x` and `index` as in ops_products().  f32 arithmetic. */
void ops_low_rank(struct ops *o, const struct product *p, const struct low_rank_list *const *list,
                  const float *x, int64_t ld_x, const int32_t *index);

/* x [n, n_col] += bias [n_col] in every row. */
void ops_add_bias(struct ops *o, float *x, const float *bias, int64_t n, int64_t n_col);

/* x [n, n_col] += y [n, n_col]. */
void ops_add(struct ops *o, float *x, const float *y, int64_t n, int64_t n_col);

/* x[i] += sum over j of weight[i, j] * y[slot[i, j]], in rising j: the experts of token i. */
void ops_combine(struct ops *o, float *x, const float *y, const int32_t *slot,
                 const float *weight, int64_t n, int64_t n_used, int64_t n_col);

/* out [n, n_col] = silu(gate) * up; in place allowed. */
void ops_swiglu(struct ops *o, float *out, const float *gate, const float *up, int64_t n,
                int64_t n_col);

/* Rotary positions on adjacent pairs (2i, 2i+1), or with `half` on (i, i + n_freq): pair i of
 * the token at pos turns by pos * freq[i], times mscale.
 * Source: arXiv 2104.09864; freq after arXiv 2309.00071 where a model uses YaRN. */
struct rope { const float *freq; int64_t n_freq; float mscale; bool half; };

/* table [n, n_freq, 2] <- cosine and sine of each row's pairs: the same for all layers. */
void ops_rope_table(struct ops *o, float *table, const int64_t *pos, int64_t n,
                    const struct rope *rope);

/* Each of n_head heads of a row starts head_ld apart and turns its first 2 * n_freq elements. */
void ops_rope(struct ops *o, float *x, int64_t ld_x, int64_t n_head, int64_t head_ld,
              const float *table, int64_t n, const struct rope *rope);

/* Rows of a step as attention sees them: row i is token pos[i] of sequence seq[i]; kind as in
 * model.h (0 prompt, 1 sampled).  Rows of one sequence are consecutive and rising. */
struct attn_rows {
    const int32_t *seq;
    const int64_t *pos;
    const uint8_t *kind;
    int64_t n;
    const struct kv_view *kv;
};

/* Round rows x [n, n_elem[seg]] (ld_x apart) into the KV of the layer. */
void ops_kv_write(struct ops *o, const struct attn_rows *rows, const struct kv_layer *layer,
                  int seg, const float *x, int64_t ld_x);

/* Grouped-query attention: q, out [n, n_head * head_dim]; segment 0 holds keys
 * [n_head_kv * head_dim], segment 1 values.  Causal; softmax in f32, page by page. */
struct attn_shape { int64_t n_head, n_head_kv, head_dim; float scale; };
void ops_attn(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
              const struct kv_layer *layer, const struct attn_shape *shape);
int64_t ops_attn_scratch(const struct attn_shape *shape);

/* Multi-head latent attention (arXiv 2405.04434): q [n, n_head * (nope + rope)], rotated;
 * segment 0 holds the normed latent [lora], segment 1 the rotated key [rope]; out
 * [n, n_head * v].  Prompt rows are computed expanded, sampled rows absorbed.
 * Of the projections either kv_b [n_head * (nope + v), lora] is given, or k_b [n_head * lora,
 * nope] and v_b [n_head * v, lora]; both forms give the same bits for the same values of a float
 * type. */
struct mla_shape { int64_t n_head, nope, rope, v, lora; float scale; };
struct mla_weights {
    const struct weight *kv_b, *k_b, *v_b;
    const struct low_rank_list *const *delta;   /* of each row, to kv_b; NULL: no row has any */
};
void ops_mla(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
             const struct kv_layer *layer, const struct mla_shape *shape,
             const struct mla_weights *w);
int64_t ops_mla_scratch(const struct mla_shape *shape);
int64_t ops_mla_latent(const struct mla_shape *shape);
int64_t ops_mla_act(const struct mla_shape *shape);

#endif
