/* ops_cpu.h - what the files of the CPU device share. */
#ifndef OPS_OPS_CPU_H
#define OPS_OPS_CPU_H

#include "kernels/blocks_act.h"
#include "kernels/tile.h"
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
    uint8_t *tiles;                     /* [n_thread, tiles_bytes]: rows packed on the way */
    uint64_t tiles_bytes;
    float *acc;                         /* [n_thread, 3, ACC_ELEM]: sums, results, more results */
    float *latent;                      /* [limits.latent_elem] */
    uint8_t *act;                       /* activations rounded to q8a */
    atomic_bool failed;
    struct err_record error;            /* valid once failed_done is set */
    atomic_bool failed_done;
};

static inline float *ops_scratch(struct ops *o, int thread)
{
    return o->scratch + (int64_t)thread * o->limits.scratch_elem;
}

enum { ACC_ELEM = TILE_TOK_MAX * TILE_GROUPS_MAX * TILE_ROWS };

static inline uint8_t *ops_tiles(struct ops *o, int thread)
{
    return o->tiles + (uint64_t)thread * o->tiles_bytes;
}

static inline float *ops_acc(struct ops *o, int thread)
{
    return o->acc + (int64_t)thread * 3 * ACC_ELEM;
}

static inline float *ops_out(struct ops *o, int thread, int which)
{
    return ops_acc(o, thread) + (1 + which) * ACC_ELEM;
}

/* The bytes of n_elem activations rounded to q8a, in rows of any length. */
uint64_t ops_act_bytes(int64_t n_elem);

static inline float *ops_row(struct ops *o, int thread)
{
    return o->row + (int64_t)thread * o->limits.col;
}

static inline float *ops_low(struct ops *o, int thread)
{
    return o->low + (int64_t)thread * LOW_RANK_MAX;
}

/* y += scale * b (a x) for one row; uses ops_row and ops_low. */
void low_rank_row(struct ops *o, const struct low_rank *d, const float *x, float *y, int thread);

/* The running state of one query over pages of keys: softmax(scores) . values, kept so that
 * every page can be added in turn.  `acc` holds `n` values. */
struct softmax_state { float max, sum; };

/* Add one page's scores [n_key] and value rows [n_key, n] (ld apart).  scores are overwritten. */
void softmax_page(const struct kernels *k, struct softmax_state *s, float *acc, float *score,
                  int64_t n_key, const float *value, int64_t ld, int64_t n);

#endif
