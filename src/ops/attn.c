/* attn.c - grouped-query attention over pages of keys and values.
 *
 * A run is some rows of one sequence; with one key head it makes a block of queries, `group` for
 * each row.  The context is cut into chunks of CHUNK_PAGES pages.  A query's softmax starts anew
 * in each chunk and the chunks are added in rising order, whoever computes them:
 *
 *   many rows    a job is a run and a key head, and goes over its chunks itself
 *   few rows     a job is a run, a key head and one chunk; what it found waits in a slot until
 *                all of a wave of jobs are done
 *
 * so a token gets the same bits in a prompt and alone, for any number of threads.
 */
#include "ops/ops_cpu.h"

#include <string.h>

enum {
    CHUNK_PAGES = 8, CHUNK = CHUNK_PAGES * KV_PAGE_TOK,
    WHOLE_QUERIES = 256, SPLIT_QUERIES = 64,    /* of a run */
    BLOCK_QUERIES = 48,                         /* whose scores stay in the first cache */
    RUNS = 64, JOBS_PER_THREAD = 4,
};

struct run { int64_t begin, end, n_chunk, job; };       /* job: the first of the run's, if split */

struct attn_job {
    struct ops *o;
    float *out;
    const float *q;
    const struct attn_rows *rows;
    const struct kv_layer *layer;
    const struct attn_shape *sh;
    struct run run[RUNS];
    int64_t n_run, wave, wave_end;              /* split: the jobs of this wave */
};

static int64_t group_of(const struct attn_shape *sh)
{
    return sh->n_head / sh->n_head_kv;
}

/* Queries of a run that may have at most `most`, but one row at least. */
static int64_t run_queries(const struct attn_shape *sh, int64_t most)
{
    int64_t group = group_of(sh);
    return group > most ? group : most / group * group;
}

/* The result for a block of queries: states, then acc [n_query, head_dim]. */
struct part { struct softmax_state *state; float *acc; };

static int64_t part_elem(const struct attn_shape *sh, int64_t n_query)
{
    return n_query * (sh->head_dim + 2);
}

static struct part part_at(float *at, int64_t n_query)
{
    return (struct part){ (struct softmax_state *)(void *)at, at + 2 * n_query };
}

/* Scratch of one thread, cut up. */
struct scratch { float *q, *key, *key_t, *value, *score; struct part sum, chunk; };

static int64_t page_elem(const struct attn_shape *sh)
{
    return KV_PAGE_TOK * (2 * attn_pad(sh->head_dim) + sh->head_dim +
                          run_queries(sh, BLOCK_QUERIES));
}

/* Where the slots begin. */
static int64_t slots_at(const struct attn_shape *sh)
{
    int64_t n = run_queries(sh, WHOLE_QUERIES);
    return (page_elem(sh) + n * sh->head_dim + 2 * part_elem(sh, n) + 15) / 16 * 16;
}

static int64_t slot_elem(const struct attn_shape *sh)
{
    return (part_elem(sh, run_queries(sh, SPLIT_QUERIES)) + 15) / 16 * 16;
}

static struct scratch cut(float *at, const struct attn_shape *sh)
{
    int64_t n = run_queries(sh, WHOLE_QUERIES);
    struct scratch s;

    s.key = at;
    s.value = s.key + KV_PAGE_TOK * attn_pad(sh->head_dim);
    s.key_t = s.value + KV_PAGE_TOK * attn_pad(sh->head_dim);
    s.score = s.key_t + KV_PAGE_TOK * sh->head_dim;
    s.q = at + page_elem(sh);
    s.sum = part_at(s.q + n * sh->head_dim, n);
    s.chunk = part_at(s.q + n * sh->head_dim + part_elem(sh, n), n);
    return s;
}

int64_t ops_attn_scratch(const struct attn_shape *shape)
{
    return slots_at(shape) + ATTN_SLOTS * slot_elem(shape);
}

/* The queries of a run and a key head, side by side. */
static void gather(const struct attn_job *j, const struct run *r, int64_t head, float *q)
{
    int64_t n = group_of(j->sh) * j->sh->head_dim, ld = j->sh->n_head * j->sh->head_dim;

    for (int64_t row = r->begin; row < r->end; row++, q += n)
        memcpy(q, j->q + row * ld + head * n, (size_t)n * sizeof(*q));
}

/* Keys, turned, and values of a key head in a page. */
static void load_page(const struct attn_job *j, const struct run *r, int64_t head, int64_t start,
                      int64_t n_tok, const struct scratch *s)
{
    const struct kv_view *kv = &j->rows->kv[j->rows->seq[r->begin]];
    const struct kernels *k = &j->o->k;
    int64_t n = j->sh->head_dim, ld = attn_pad(n);

    attn_unpack(k, kv, j->layer, 0, start, n_tok, head * n, n, s->key, ld);
    attn_unpack(k, kv, j->layer, 1, start, n_tok, head * n, n, s->value, ld);
    k->transpose(s->key_t, KV_PAGE_TOK, s->key, ld, n_tok, n);
}

/* One chunk of a run for one key head into `out`. */
static void run_chunk(const struct attn_job *j, const struct run *r, int64_t head, int64_t chunk,
                      const struct scratch *s, struct part out)
{
    const struct kernels *k = &j->o->k;
    const int64_t *pos = j->rows->pos + r->begin;
    int64_t n = j->sh->head_dim, group = group_of(j->sh), n_query = (r->end - r->begin) * group;
    int64_t n_key = pos[r->end - r->begin - 1] + 1, begin = chunk * CHUNK, first = 0;
    int64_t end = begin + CHUNK < n_key ? begin + CHUNK : n_key;
    int64_t few = run_queries(j->sh, BLOCK_QUERIES);

    attn_begin(out.state, out.acc, n, n, n_query);
    for (int64_t start = begin; start < end; start += KV_PAGE_TOK) {
        int64_t n_tok = end - start < KV_PAGE_TOK ? end - start : KV_PAGE_TOK;
        load_page(j, r, head, start, n_tok, s);
        while (pos[first / group] < start)
            first += group;
        for (int64_t i = first, last; i < n_query; i = last) {
            last = i + few < n_query ? i + few : n_query;
            struct attn_page p = { k, pos + i / group, group, start, j->sh->scale, s->value,
                                   attn_pad(n), n };
            k->mat_mul(s->score, KV_PAGE_TOK, s->q + i * n, n, s->key_t, KV_PAGE_TOK, last - i,
                       attn_page_keys(&p, last - i - 1), n, false);
            attn_add_page(&p, out.state + i, out.acc + i * n, n, s->score, last - i);
        }
    }
}

static void merge(const struct attn_job *j, int64_t n_query, struct part to, struct part from)
{
    int64_t n = j->sh->head_dim;

    for (int64_t i = 0; i < n_query; i++)
        attn_merge(&j->o->k, &to.state[i], to.acc + i * n, &from.state[i], from.acc + i * n, n);
}

static void finish(const struct attn_job *j, const struct run *r, int64_t head, struct part sum)
{
    int64_t n = j->sh->head_dim, group = group_of(j->sh), ld = j->sh->n_head * n;

    for (int64_t i = 0; i < (r->end - r->begin) * group; i++) {
        float *out = j->out + (r->begin + i / group) * ld + (head * group + i % group) * n;
        memcpy(out, sum.acc + i * n, (size_t)n * sizeof(*out));
        j->o->k.scale(out, 1 / sum.state[i].sum, n);
    }
}

/* The longest runs come last, so the last are done first. */
static void whole_run(void *arg, int64_t job, int thread)
{
    const struct attn_job *j = arg;
    const struct run *r = &j->run[j->n_run - 1 - job / j->sh->n_head_kv];
    struct scratch s = cut(ops_scratch(j->o, thread), j->sh);
    int64_t head = job % j->sh->n_head_kv, n = j->sh->head_dim;
    int64_t n_query = (r->end - r->begin) * group_of(j->sh);

    gather(j, r, head, s.q);
    attn_begin(s.sum.state, s.sum.acc, n, n, n_query);
    for (int64_t chunk = 0; chunk < r->n_chunk; chunk++) {
        run_chunk(j, r, head, chunk, &s, s.chunk);
        merge(j, n_query, s.sum, s.chunk);
    }
    finish(j, r, head, s.sum);
}

/* The slots of a wave: first the sums of all runs and key heads, then its jobs. */
static struct part slot(const struct attn_job *j, int64_t i)
{
    return part_at(attn_slot(j->o, i, slots_at(j->sh), slot_elem(j->sh)),
                   run_queries(j->sh, SPLIT_QUERIES));
}

static void split_chunk(void *arg, int64_t i, int thread)
{
    const struct attn_job *j = arg;
    const struct run *r = &j->run[0];
    struct scratch s = cut(ops_scratch(j->o, thread), j->sh);
    int64_t n_head = j->sh->n_head_kv, job = j->wave + i;

    while (job >= r->job + r->n_chunk * n_head)
        r++;
    gather(j, r, (job - r->job) % n_head, s.q);
    run_chunk(j, r, (job - r->job) % n_head, (job - r->job) / n_head, &s,
              slot(j, j->n_run * n_head + i));
}

/* The chunks of the wave onto the sum of a run and key head. */
static void split_merge(void *arg, int64_t i, int thread)
{
    const struct attn_job *j = arg;
    int64_t n_head = j->sh->n_head_kv, head = i % n_head, n = j->sh->head_dim;
    const struct run *r = &j->run[i / n_head];
    int64_t n_query = (r->end - r->begin) * group_of(j->sh);
    struct part sum = slot(j, i);

    (void)thread;
    if (j->wave == 0)
        attn_begin(sum.state, sum.acc, n, n, n_query);
    for (int64_t chunk = 0; chunk < r->n_chunk; chunk++) {
        int64_t job = r->job + chunk * n_head + head;
        if (job >= j->wave && job < j->wave_end)
            merge(j, n_query, sum, slot(j, j->n_run * n_head + job - j->wave));
    }
    int64_t end = r->job + r->n_chunk * n_head;
    if (end > j->wave && end <= j->wave_end)
        finish(j, r, head, sum);
}

static void split_runs(struct attn_job *j)
{
    const struct run *last = &j->run[j->n_run - 1];
    int64_t n_sum = j->n_run * j->sh->n_head_kv;
    int64_t n_job = last->job + last->n_chunk * j->sh->n_head_kv;
    int64_t most = (int64_t)j->o->n_thread * ATTN_SLOTS - n_sum;

    ASSERT(most > 0);
    for (j->wave = 0; j->wave < n_job; j->wave = j->wave_end) {
        j->wave_end = j->wave + most < n_job ? j->wave + most : n_job;
        pool_run(j->o->pool, j->wave_end - j->wave, split_chunk, j);
        pool_run(j->o->pool, n_sum, split_merge, j);
    }
}

/* Rows from `row` on as up to n_run_max runs of at most n_row rows; the first row that is left. */
static int64_t cut_runs(struct attn_job *j, int64_t row, int64_t n_row, int64_t n_run_max)
{
    const struct attn_rows *rows = j->rows;
    int64_t job = 0;

    for (j->n_run = 0; row < rows->n && j->n_run < n_run_max; j->n_run++) {
        struct run *r = &j->run[j->n_run];
        r->begin = row;
        while (row < rows->n && row - r->begin < n_row && rows->seq[row] == rows->seq[r->begin])
            row++;
        r->end = row;
        r->n_chunk = rows->pos[row - 1] / CHUNK + 1;
        r->job = job;
        job += r->n_chunk * j->sh->n_head_kv;
    }
    return row;
}

void ops_attn(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
              const struct kv_layer *layer, const struct attn_shape *shape)
{
    struct attn_job j = { .o = o, .out = out, .q = q, .rows = rows, .layer = layer, .sh = shape };
    int64_t whole = run_queries(shape, WHOLE_QUERIES) / group_of(shape);
    int64_t few = run_queries(shape, SPLIT_QUERIES) / group_of(shape);
    int64_t n_run = (rows->n + whole - 1) / whole, n_head = shape->n_head_kv;
    bool split = o->n_thread > 1 && n_run * n_head < (int64_t)o->n_thread * JOBS_PER_THREAD;
    int64_t most = (int64_t)o->n_thread * ATTN_SLOTS / 2 / n_head;

    ASSERT(ops_attn_scratch(shape) <= o->limits.scratch_elem);
    if (o->profile)
        ops_count_attn(o, rows, layer, shape, PEAK_f32);
    for (int64_t row = 0; row < rows->n; ) {
        if (split) {
            row = cut_runs(&j, row, few, most < RUNS ? most : RUNS);
            split_runs(&j);
        } else {
            row = cut_runs(&j, row, (rows->n + n_run - 1) / n_run, RUNS);
            pool_run(o->pool, j.n_run * n_head, whole_run, &j);
        }
    }
}
