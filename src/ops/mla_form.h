/* mla_form.h - what the two forms of multi-head latent attention share; see mla.c. */
#ifndef OPS_MLA_FORM_H
#define OPS_MLA_FORM_H

#include "ops/ops_cpu.h"

enum {
    MLA_RUN_ROWS = 1024,                /* of the expanded form at once */
    MLA_SLICE_ROWS = 16,                /* of the absorbed form */
    MLA_STRIP = 64,                     /* rows of k_b unpacked at a time */
    MLA_CHUNKS_MAX = 32,                /* of a row's context, absorbed */
};

struct mla_job {
    struct ops *o;
    float *out;
    const float *q;
    const struct attn_rows *rows;
    const struct kv_layer *layer;
    const struct mla_shape *sh;
    const struct mla_weights *w;
    int64_t begin, end;                 /* expanded: the run of rows */
    const int64_t *row;                 /* absorbed: rows of the slice, [n_row] */
    int64_t n_row, n_chunk;             /* of all of them */
    uint16_t order[MLA_SLICE_ROWS * MLA_CHUNKS_MAX];    /* row and chunk, as they are done */
    uint16_t at[MLA_SLICE_ROWS][MLA_CHUNKS_MAX];        /* and where a row's chunk is in there */
    int64_t wave, wave_end;             /* the jobs of this wave */
    float *qc, *z;                      /* absorbed: [n_head, n_row, lora] */
    float *q_in, *v_out;                /* [n_head, n_row, nope], [n_head, n_row, v] */
    struct softmax_state *state;        /* of z: [n_head, n_row] */
};

/* The changes of a row's adapters, or NULL. */
static inline const struct low_rank_list *mla_delta_of(const struct mla_job *j, int64_t row)
{
    return j->w->delta ? j->w->delta[row] : NULL;
}

/* Row i of W_UK of a head, [lora]; where the file stores kv_b. */
void mla_unpack_k_row(const struct mla_job *j, int64_t head, int64_t i, float *row);

/* Columns [l, l + n) of W_UK of a head, [nope, n], rows ld apart, from as many rows of k_b;
 * `strip` is room for them, MLA_STRIP at most. */
void mla_unpack_k_columns(const struct mla_job *j, int64_t head, int64_t l, int64_t n, float *wk,
                          int64_t ld, float *strip);

/* Row i of W_UV of a head, [lora]. */
void mla_unpack_v_row(const struct mla_job *j, int64_t head, int64_t i, float *row);

/* --- mla_expanded.c ------------------------------------------------------------------------- */

/* One head of the run: a job of the pool. */
void mla_expanded_head(void *arg, int64_t head, int thread);

/* Scratch of a thread, in f32. */
int64_t mla_expanded_elem(const struct mla_shape *sh);

/* Whether that form rounds to bf16. */
bool mla_rounds(const struct ops *o, const struct mla_shape *sh, const struct mla_weights *w);

#endif
