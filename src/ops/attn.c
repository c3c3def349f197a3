/* attn.c - grouped-query attention over pages of keys and values.
 *
 * A job is a run of rows of one sequence and one key head.  It walks the pages from the first,
 * unpacks each once, and adds it to the running softmax of every query that sees it.  A query
 * therefore meets the same pages in the same order whatever run it is in.
 */
#include "ops/ops_cpu.h"

#include <math.h>

enum { RUN_ROWS = 16 };

struct attn_job {
    struct ops *o;
    float *out;
    const float *q;
    const struct attn_rows *rows;
    const struct kv_layer *layer;
    const struct attn_shape *shape;
};

/* Unpack one head's part of a page: keys and values [n_tok, head_dim] each. */
static void unpack_page(const struct attn_job *j, const struct kv_view *kv, int64_t page,
                        int64_t n_tok, int64_t head, float *key, float *value)
{
    const struct kernels *k = &j->o->k;
    enum qtype type = j->layer->type;
    int64_t n = j->shape->head_dim;
    uint64_t at = (uint64_t)qtype_row_bytes(type, head * n);

    for (int64_t t = 0; t < n_tok; t++) {
        int64_t pos = page * KV_PAGE_TOK + t;
        k->dequant[type](key + t * n, kv_row(kv, j->layer, 0, pos) + at, n);
        k->dequant[type](value + t * n, kv_row(kv, j->layer, 1, pos) + at, n);
    }
}

static void attn_run(void *arg, int64_t job, int thread)
{
    const struct attn_job *j = arg;
    const struct kernels *k = &j->o->k;
    const struct attn_shape *sh = j->shape;
    int64_t n = sh->head_dim, group = sh->n_head / sh->n_head_kv, ld = sh->n_head * n;
    int64_t head = job % sh->n_head_kv, begin = job / sh->n_head_kv * RUN_ROWS;
    int64_t end = begin + RUN_ROWS < j->rows->n ? begin + RUN_ROWS : j->rows->n;
    float *key = ops_scratch(j->o, thread), *value = key + KV_PAGE_TOK * n;
    float *score = value + KV_PAGE_TOK * n;
    struct softmax_state *state = (struct softmax_state *)(void *)(score + KV_PAGE_TOK);

    for (int64_t first = begin, last; first < end; first = last) {
        int32_t seq = j->rows->seq[first];
        for (last = first; last < end && j->rows->seq[last] == seq; last++)
            for (int64_t g = 0; g < group; g++) {
                state[(last - first) * group + g] = (struct softmax_state){ -INFINITY, 0 };
                float *acc = j->out + last * ld + (head * group + g) * n;
                for (int64_t i = 0; i < n; i++)
                    acc[i] = 0;
            }
        int64_t n_key_max = j->rows->pos[last - 1] + 1;
        for (int64_t page = 0; page * KV_PAGE_TOK < n_key_max; page++) {
            int64_t start = page * KV_PAGE_TOK, left = n_key_max - start;
            unpack_page(j, &j->rows->kv[seq], page, left < KV_PAGE_TOK ? left : KV_PAGE_TOK,
                        head, key, value);
            for (int64_t r = first; r < last; r++) {
                int64_t n_key = j->rows->pos[r] + 1 - start;
                n_key = n_key < KV_PAGE_TOK ? n_key : KV_PAGE_TOK;
                for (int64_t g = 0; g < group && n_key > 0; g++) {
                    const float *q = j->q + r * ld + (head * group + g) * n;
                    for (int64_t t = 0; t < n_key; t++)
                        score[t] = sh->scale * k->dot[QTYPE_f32](key + t * n, q, n);
                    softmax_page(k, &state[(r - first) * group + g],
                                 j->out + r * ld + (head * group + g) * n, score, n_key, value,
                                 n, n);
                }
            }
        }
        for (int64_t r = first; r < last; r++)
            for (int64_t g = 0; g < group; g++)
                k->scale(j->out + r * ld + (head * group + g) * n,
                         1 / state[(r - first) * group + g].sum, n);
    }
}

int64_t ops_attn_scratch(const struct attn_shape *shape)
{
    return 2 * KV_PAGE_TOK * shape->head_dim + KV_PAGE_TOK +
           2 * RUN_ROWS * (shape->n_head / shape->n_head_kv);
}

void ops_attn(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
              const struct kv_layer *layer, const struct attn_shape *shape)
{
    struct attn_job j = { o, out, q, rows, layer, shape };

    ASSERT(ops_attn_scratch(shape) <= o->limits.scratch_elem);
    if (o->profile)
        ops_count_attn(o, rows, layer, shape, PEAK_f32);
    pool_run(o->pool, (rows->n + RUN_ROWS - 1) / RUN_ROWS * shape->n_head_kv, attn_run, &j);
}
