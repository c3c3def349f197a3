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
    uint8_t *act, *act_bf16;            /* activations rounded to q8a; to bf16, or NULL */
    atomic_bool failed;
    struct err_record error;            /* valid once failed_done is set */
    atomic_bool failed_done;
    struct profile *profile;            /* NULL: off */
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

/* ops_products() without counting: for a part of an operation that counts itself. */
void products_run(struct ops *o, const struct product *p, int n_product, const float *x,
                  int64_t ld_x, int64_t n_x, const int32_t *index);

/* What the product rounds activations to for a weight of its type; f32: as they are. */
enum qtype ops_act_of(const struct ops *o, const struct product *p, enum qtype type);

/* The bytes of n_elem activations rounded to q8a, in rows of any length. */
uint64_t ops_act_bytes(int64_t n_elem);

/* group [n_col, 16] <- n_row (1 .. 16) rows in the file's layout as a group of f32 tiles; missing
 * rows are 0.  For types without tiles; values that are not finite are the caller's to find. */
void ops_unpack_group(struct ops *o, const struct weight *w, int64_t row, int64_t n_row,
                      float *group);

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

/* What the files of attention share (attn_page.c).  A query's softmax over its keys is taken page
 * by page: `max` and `sum` of the weights so far, and beside it acc [n], the weighted values. */
struct softmax_state { float max, sum; };

/* A page as a block of queries sees it.  Query i stands at position pos[i / group]; positions
 * rise. */
struct attn_page {
    const struct kernels *k;
    const int64_t *pos;
    int64_t group, start;               /* start: position of the page's first token */
    float scale;
    const float *value;                 /* [KV_PAGE_TOK, n], rows ld_value apart */
    int64_t ld_value, n;
};

/* The keys of the page that query i sees: 0 .. KV_PAGE_TOK. */
static inline int64_t attn_page_keys(const struct attn_page *p, int64_t i)
{
    int64_t n_key = p->pos[i / p->group] + 1 - p->start;
    return n_key < 0 ? 0 : n_key < KV_PAGE_TOK ? n_key : KV_PAGE_TOK;
}

/* Empty states of n_query queries; acc [n_query, n], ld_acc apart. */
void attn_begin(struct softmax_state *state, float *acc, int64_t ld_acc, int64_t n,
                int64_t n_query);

/* Add a page to n_query queries, each of which sees a key.  score [n_query, KV_PAGE_TOK]: q . k,
 * unscaled; overwritten. */
void attn_add_page(const struct attn_page *p, struct softmax_state *state, float *acc,
                   int64_t ld_acc, float *score, int64_t n_query);

/* The first half of that: the scores become the weights of the page's values, which are still to be
 * added, and acc fits them. */
void attn_weigh_page(const struct attn_page *p, struct softmax_state *state, float *acc,
                     int64_t ld_acc, float *score, int64_t n_query);

/* Add what was summed over later keys: to <- to + from. */
void attn_merge(const struct kernels *k, struct softmax_state *to, float *to_acc,
                const struct softmax_state *from, const float *from_acc, int64_t n);

/* out [n_tok, n]: elements [first, first + n) of a segment's rows from token `start` on. */
void attn_unpack(const struct kernels *k, const struct kv_view *kv, const struct kv_layer *layer,
                 int seg, int64_t start, int64_t n_tok, int64_t first, int64_t n, float *out,
                 int64_t ld_out);

/* Segment `to` of the block: the rows of the cache's segment `seg` from token `start` on, as they
 * lie there. */
void attn_rows_of(struct kv_block *b, int to, const struct kv_view *kv,
                  const struct kv_layer *layer, int seg, int64_t start);

/* Ask for part `part` of `n_part` of the page of token `start`.  Always inline: gcc drops a call
 * of a function that does nothing else. */
static inline __attribute__((always_inline))
void attn_prefetch(const struct kv_view *kv, const struct kv_layer *layer,
                                 int64_t start, int64_t part, int64_t n_part)
{
    for (int seg = 0; seg < KV_SEGS_MAX; seg++) {
        int64_t bytes = (int64_t)layer->row_bytes[seg] * KV_PAGE_TOK;
        const uint8_t *at = kv_row(kv, layer, seg, start);
        for (int64_t b = bytes * part / n_part / 64 * 64; b < bytes * (part + 1) / n_part; b += 64)
            __builtin_prefetch(at + b);
    }
}

/* A row length that does not put the rows of a matrix into the same sets of a cache. */
static inline int64_t attn_pad(int64_t n)
{
    return (n + 15) / 16 % 2 ? (n + 15) / 16 * 16 : (n + 15) / 16 * 16 + 16;
}

/* Room for partial results, ATTN_SLOTS in the scratch of each thread, from `offset` on. */
enum { ATTN_SLOTS = 16 };
static inline float *attn_slot(struct ops *o, int64_t slot, int64_t offset, int64_t slot_elem)
{
    return ops_scratch(o, (int)(slot / ATTN_SLOTS)) + offset + slot % ATTN_SLOTS * slot_elem;
}

#endif
