/* ops_cpu.h - what the files of the CPU device share. */
#ifndef OPS_OPS_CPU_H
#define OPS_OPS_CPU_H

#include "ops/ops.h"

#include <stdatomic.h>

struct ops {
    struct pool *pool;
    struct kernels k;
    bool exact;
    int n_thread;
    struct ops_limits limits;
    float *row;                         /* [n_thread, limits.col]: an unpacked weight row */
    float *low;                         /* [n_thread, LOW_RANK_MAX]: a x of a low-rank change */
    float *scratch;                     /* [n_thread, limits.scratch_elem] */
    float *latent;                      /* [limits.latent_elem] */
    uint8_t *act;                       /* activations rounded to q8a */
    atomic_bool failed;
    struct err_record error;            /* valid once failed_done is set */
    atomic_bool failed_done;
    struct profile *profile;            /* NULL: off */
};

static inline float *ops_scratch(struct ops *o, int thread)
{
    return o->scratch + (int64_t)thread * o->limits.scratch_elem;
}

static inline float *ops_row(struct ops *o, int thread)
{
    return o->row + (int64_t)thread * o->limits.col;
}

static inline float *ops_low(struct ops *o, int thread)
{
    return o->low + (int64_t)thread * LOW_RANK_MAX;
}

/* What an operation counts, called when there is a profile; `type` is the arithmetic used. */
void ops_count_embed(struct ops *o, const struct weight *w, int64_t n);
void ops_count_products(struct ops *o, const struct product *p, int n_product);
void ops_count_low_rank(struct ops *o, const struct product *p,
                        const struct low_rank_list *const *list);
void ops_count_attn(struct ops *o, const struct attn_rows *rows, const struct kv_layer *l,
                    const struct attn_shape *sh, enum peak_type type);
void ops_count_mla(struct ops *o, const struct attn_rows *rows, const struct kv_layer *l,
                   const struct mla_shape *sh, const struct mla_weights *w,
                   enum peak_type expanded, enum peak_type absorbed);

/* y += scale * b (a x) for one row; uses ops_row and ops_low. */
void low_rank_row(struct ops *o, const struct low_rank *d, const float *x, float *y, int thread);

/* The running state of one query over pages of keys: softmax(scores) . values, kept so that
 * every page can be added in turn.  `acc` holds `n` values. */
struct softmax_state { float max, sum; };

/* Add one page's scores [n_key] and value rows [n_key, n] (ld apart).  scores are overwritten. */
void softmax_page(const struct kernels *k, struct softmax_state *s, float *acc, float *score,
                  int64_t n_key, const float *value, int64_t ld, int64_t n);

#endif
