/* attn.c - grouped-query attention over pages of keys and values.
 *
 * A run is some rows of one sequence, or sampled rows of several that begin with the same page;
 * with one key head it makes a block of queries, `group` for each row.  The context is cut into
 * chunks of CHUNK_PAGES pages.  A query's softmax starts anew in each chunk and the chunks are
 * added in rising order, whoever computes them:
 *
 *   many rows    a job is a run and a key head, and goes over its chunks itself
 *   few rows     a job is a run, some key heads and one chunk, so that it reads whole rows; what
 *                it found waits in a slot until all of a wave of jobs are done
 *
 * so a token gets the same bits in a prompt and alone, for any number of threads.
 *
 * Sampled rows, which come few at a time, meet the cache's rows as they lie there, and those of
 * several sequences meet a page that they share together; prompt rows meet pages that are unpacked
 * once for many.  The two round differently, so the form belongs to the
 * token, as in MLA.
 */
#include "ops/ops_cpu.h"

#include <string.h>

enum {
    CHUNK_PAGES = 8, CHUNK = CHUNK_PAGES * KV_PAGE_TOK,
    WHOLE_QUERIES = 256, SPLIT_QUERIES = 32,    /* of a run and a key head */
    BLOCK_QUERIES = 48,                         /* whose scores stay in the first cache */
    SPLIT_ROWS = 16,                            /* so few rows are split for any threads */
    HEADS_ELEM = 1024,                          /* of a page's row that a job unpacks at once */
    RUNS = 64, JOBS_PER_THREAD = 2,
};

/* `job` is the first of the run's, if split. */
struct run { int64_t begin, end, n_key, n_chunk, job; bool sampled; };

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

/* Key heads of a job where the context is split, and how many such blocks there are. */
static int64_t heads_of(const struct attn_shape *sh)
{
    int64_t most = HEADS_ELEM / sh->head_dim;
    return sh->n_head_kv <= most ? sh->n_head_kv : most ? most : 1;
}

static int64_t n_block(const struct attn_shape *sh)
{
    return (sh->n_head_kv + heads_of(sh) - 1) / heads_of(sh);
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
struct scratch { float *q, *key, *key_t, *value, *score, *sum, *chunk; };

static int64_t page_elem(const struct attn_shape *sh)
{
    return KV_PAGE_TOK * (2 * attn_pad(heads_of(sh) * sh->head_dim) + sh->head_dim +
                          run_queries(sh, BLOCK_QUERIES));
}

/* Queries, and parts for them, of a run and a key head or of a split run and its heads. */
static int64_t queries_max(const struct attn_shape *sh)
{
    int64_t whole = run_queries(sh, WHOLE_QUERIES);
    int64_t split = run_queries(sh, SPLIT_QUERIES) * heads_of(sh);
    return whole > split ? whole : split;
}

/* Where the slots begin. */
static int64_t slots_at(const struct attn_shape *sh)
{
    int64_t n = queries_max(sh);
    return (page_elem(sh) + n * sh->head_dim + 2 * part_elem(sh, n) + 15) / 16 * 16;
}

/* A slot has a part for each head of a block. */
static int64_t slot_elem(const struct attn_shape *sh)
{
    return (heads_of(sh) * part_elem(sh, run_queries(sh, SPLIT_QUERIES)) + 15) / 16 * 16;
}

static struct scratch cut(float *at, const struct attn_shape *sh)
{
    int64_t n = queries_max(sh), ld = attn_pad(heads_of(sh) * sh->head_dim);
    struct scratch s;

    s.key = at;
    s.value = s.key + KV_PAGE_TOK * ld;
    s.key_t = s.value + KV_PAGE_TOK * ld;
    s.score = s.key_t + KV_PAGE_TOK * sh->head_dim;
    s.q = at + page_elem(sh);
    s.sum = s.q + n * sh->head_dim;
    s.chunk = s.sum + part_elem(sh, n);
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

/* What a job computes: the run, its queries per key head, and the heads; and the page that is
 * likely wanted after its last, or NULL. */
struct block { const struct run *r; int64_t n_query, head, n_head; const uint8_t *after; };

static struct block block_of(const struct attn_job *j, const struct run *r, int64_t head,
                             int64_t n_head)
{
    int64_t left = j->sh->n_head_kv - head;
    return (struct block){ r, (r->end - r->begin) * group_of(j->sh), head,
                           n_head < left ? n_head : left, NULL };
}

/* A page's values and turned keys of head h of the block onto the queries that see it. */
static void add_page(const struct attn_job *j, const struct block *b, int64_t h, int64_t start,
                     int64_t n_tok, const struct scratch *s, struct part out)
{
    const struct kernels *k = &j->o->k;
    const int64_t *pos = j->rows->pos + b->r->begin;
    int64_t n = j->sh->head_dim, ld = attn_pad(b->n_head * n), group = group_of(j->sh), first = 0;
    const float *q = s->q + h * b->n_query * n;

    k->transpose(s->key_t, KV_PAGE_TOK, s->key + h * n, ld, n_tok, n);
    while (pos[first / group] < start)
        first += group;
    for (int64_t i = first, last; i < b->n_query; i = last) {
        last = i + run_queries(j->sh, BLOCK_QUERIES);
        last = last < b->n_query ? last : b->n_query;
        struct attn_page p = { k, pos + i / group, group, start, j->sh->scale, s->value + h * n,
                               ld, n };
        k->mat_mul(s->score, KV_PAGE_TOK, q + i * n, n, s->key_t, KV_PAGE_TOK, last - i,
                   attn_page_keys(&p, last - i - 1), n, false);
        attn_add_page(&p, out.state + i, out.acc + i * n, n, s->score, last - i);
    }
}

static const struct kv_view *view_of(const struct attn_job *j, int64_t row)
{
    return &j->rows->kv[j->rows->seq[row]];
}

/* Whether rows of two sequences hold the same page of token `start`, and both see all of it. */
static bool share_page(const struct attn_job *j, int64_t a, int64_t b, int64_t start)
{
    int64_t last = start + KV_PAGE_TOK - 1, page = start / KV_PAGE_TOK;

    return j->rows->pos[a] >= last && j->rows->pos[b] >= last &&
           view_of(j, a)->page[page] == view_of(j, b)->page[page];
}

/* Rows of a run that meet a page together. */
struct span { int64_t begin, end; };

static struct span span_at(const struct attn_job *j, const struct run *r, int64_t row,
                           int64_t start)
{
    int64_t end = row + 1;

    while (end < r->end && (j->rows->seq[end] == j->rows->seq[end - 1] ||
                            share_page(j, row, end, start)))
        end++;
    return (struct span){ row, end };
}

/* Row by row, a head's part of the tokens from `row` on. */
static void ask_for_rows(struct kv_block *b, const uint8_t *row, const struct kv_layer *l, int seg,
                         int64_t n, int64_t n_row)
{
    b->ask.row = row;
    b->ask.row_bytes = (int64_t)l->row_bytes[seg];
    b->ask.bytes = qtype_row_bytes(l->type, n);
    b->ask.n_row = n_row;
}

/* The same for sampled rows, from the cache's own rows.  Weights of keys that a query does not see
 * are zero, and add nothing. */
static void add_rows(const struct attn_job *j, const struct block *b, int64_t h, struct span rows,
                     int64_t start, int64_t n_tok, const uint8_t *next, const struct scratch *s,
                     struct part out)
{
    const struct kv_view *kv = view_of(j, rows.begin);
    const struct kv_layer *l = j->layer;
    const int64_t *pos = j->rows->pos + rows.begin;
    int64_t n = j->sh->head_dim, group = group_of(j->sh), first = 0, n_query;
    int64_t at_query = (rows.begin - b->r->begin) * group;
    int64_t end = (rows.end - rows.begin) * group;
    int64_t at = qtype_row_bytes(l->type, (b->head + h) * n);
    struct kv_block keys = { .out = s->score, .ld_out = KV_PAGE_TOK, .ld_q = n, .n_tok = n_tok };
    struct kv_block values = { .q = s->score, .ld_q = KV_PAGE_TOK, .ld_out = n, .n_tok = n_tok };

    attn_rows_of(&keys, 0, kv, l, 0, start);
    keys.seg[0].row = (const uint8_t *)keys.seg[0].row + at;
    attn_rows_of(&values, 0, kv, l, 1, start);
    values.seg[0].row = (const uint8_t *)values.seg[0].row + at;
    keys.seg[0].n = values.seg[0].n = n;
    if (next) {
        ask_for_rows(&keys, next + l->offset[0] + at, l, 0, n, n_tok);
        ask_for_rows(&values, next + l->offset[1] + at, l, 1, n, n_tok);
    }
    out.state += at_query;
    out.acc += at_query * n;
    while (pos[first / group] < start)
        first += group;
    for (int64_t i = first; i < end; i += n_query) {
        n_query = run_queries(j->sh, BLOCK_QUERIES);
        n_query = end - i < n_query ? end - i : n_query;
        struct attn_page p = { .k = &j->o->k, .pos = pos + i / group, .group = group,
                               .start = start, .scale = j->sh->scale, .n = n };
        keys.n_q = values.n_q = n_query;
        keys.q = s->q + (h * b->n_query + at_query + i) * n;
        values.out = out.acc + i * n;
        j->o->k.kv_score[l->type](&keys);
        attn_weigh_page(&p, out.state + i, values.out, n, s->score, n_query);
        for (int64_t r = 0; r < n_query; r++) {
            int64_t seen = attn_page_keys(&p, r);
            memset(s->score + r * KV_PAGE_TOK + seen, 0, (size_t)(n_tok - seen) * sizeof(float));
        }
        j->o->k.kv_value[l->type](&values);
        keys.ask.n_row = values.ask.n_row = 0;
    }
}

/* The part of head h of a block. */
static struct part part_of(const struct attn_job *j, const struct block *b, int64_t h, float *at)
{
    return part_at(at + h * part_elem(j->sh, b->n_query), b->n_query);
}

/* A page and the sampled rows of a block. */
static void sampled_page(const struct attn_job *j, const struct block *b, int64_t start,
                         bool is_last, const struct scratch *s, float *out)
{
    struct span rows;

    for (int64_t row = b->r->begin; row < b->r->end; row = rows.end) {
        rows = span_at(j, b->r, row, start);
        int64_t n_tok = j->rows->pos[rows.end - 1] + 1 - start;
        bool more = n_tok > KV_PAGE_TOK && !is_last;
        const uint8_t *next = more ? view_of(j, row)->page[start / KV_PAGE_TOK + 1] : b->after;
        for (int64_t h = 0; h < b->n_head && n_tok > 0; h++)
            add_rows(j, b, h, rows, start, n_tok < KV_PAGE_TOK ? n_tok : KV_PAGE_TOK, next, s,
                     part_of(j, b, h, out));
    }
}

static void prompt_page(const struct attn_job *j, const struct block *b, int64_t start,
                        int64_t n_tok, bool is_last, const struct scratch *s, float *out)
{
    const struct kernels *k = &j->o->k;
    const struct kv_view *kv = view_of(j, b->r->begin);
    int64_t n = j->sh->head_dim, row = b->n_head * n, ld = attn_pad(row);

    attn_unpack(k, kv, j->layer, 0, start, n_tok, b->head * n, row, s->key, ld);
    attn_unpack(k, kv, j->layer, 1, start, n_tok, b->head * n, row, s->value, ld);
    for (int64_t h = 0; h < b->n_head; h++) {
        if (b->n_head == j->sh->n_head_kv && !is_last)
            attn_prefetch(kv, j->layer, start + KV_PAGE_TOK, h, b->n_head);
        add_page(j, b, h, start, n_tok, s, part_of(j, b, h, out));
    }
}

/* One chunk of a block, whose queries are gathered, into the parts at `out`. */
static void block_chunk(const struct attn_job *j, const struct block *b, int64_t chunk,
                        const struct scratch *s, float *out)
{
    int64_t begin = chunk * CHUNK, n = j->sh->head_dim;
    int64_t end = begin + CHUNK < b->r->n_key ? begin + CHUNK : b->r->n_key;

    for (int64_t h = 0; h < b->n_head; h++) {
        struct part p = part_of(j, b, h, out);
        attn_begin(p.state, p.acc, n, n, b->n_query);
    }
    for (int64_t start = begin; start < end; start += KV_PAGE_TOK) {
        int64_t n_tok = end - start < KV_PAGE_TOK ? end - start : KV_PAGE_TOK;
        bool is_last = start + KV_PAGE_TOK >= end;
        if (b->r->sampled)
            sampled_page(j, b, start, is_last, s, out);
        else
            prompt_page(j, b, start, n_tok, is_last, s, out);
    }
}

static void merge(const struct attn_job *j, const struct block *b, float *to, float *from)
{
    int64_t n = j->sh->head_dim;

    for (int64_t h = 0; h < b->n_head; h++) {
        struct part sum = part_of(j, b, h, to), p = part_of(j, b, h, from);
        for (int64_t i = 0; i < b->n_query; i++)
            attn_merge(&j->o->k, &sum.state[i], sum.acc + i * n, &p.state[i], p.acc + i * n, n);
    }
}

static void begin(const struct attn_job *j, const struct block *b, float *at)
{
    for (int64_t h = 0; h < b->n_head; h++) {
        struct part sum = part_of(j, b, h, at);
        attn_begin(sum.state, sum.acc, j->sh->head_dim, j->sh->head_dim, b->n_query);
    }
}

static void finish(const struct attn_job *j, const struct block *b, float *at)
{
    int64_t n = j->sh->head_dim, group = group_of(j->sh), ld = j->sh->n_head * n;

    for (int64_t h = 0; h < b->n_head; h++) {
        struct part sum = part_of(j, b, h, at);
        float *out = j->out + b->r->begin * ld + (b->head + h) * group * n;
        for (int64_t i = 0; i < b->n_query; i++) {
            float *to = out + i / group * ld + i % group * n;
            memcpy(to, sum.acc + i * n, (size_t)n * sizeof(*to));
            j->o->k.scale(to, 1 / sum.state[i].sum, n);
        }
    }
}

/* The longest runs come last, so the last are done first. */
static void whole_run(void *arg, int64_t job, int thread)
{
    const struct attn_job *j = arg;
    const struct run *r = &j->run[j->n_run - 1 - job / j->sh->n_head_kv];
    struct scratch s = cut(ops_scratch(j->o, thread), j->sh);
    struct block b = block_of(j, r, job % j->sh->n_head_kv, 1);

    gather(j, r, b.head, s.q);
    begin(j, &b, s.sum);
    for (int64_t chunk = 0; chunk < r->n_chunk; chunk++) {
        block_chunk(j, &b, chunk, &s, s.chunk);
        merge(j, &b, s.sum, s.chunk);
    }
    finish(j, &b, s.sum);
}

/* The slots of a wave: first the sums of all runs and blocks of heads, then its jobs. */
static float *slot(const struct attn_job *j, int64_t i)
{
    return attn_slot(j->o, i, slots_at(j->sh), slot_elem(j->sh));
}

/* The first page of the job after `job` of run r: of its next chunk, or of the next run. */
static const uint8_t *page_after(const struct attn_job *j, const struct run *r, int64_t job)
{
    int64_t chunk = (job + 1 - r->job) / n_block(j->sh);

    if (chunk < r->n_chunk)
        return chunk * CHUNK <= j->rows->pos[r->begin] ?
               view_of(j, r->begin)->page[chunk * CHUNK_PAGES] : NULL;
    return r + 1 < j->run + j->n_run ? view_of(j, r[1].begin)->page[0] : NULL;
}

static void split_chunk(void *arg, int64_t i, int thread)
{
    const struct attn_job *j = arg;
    const struct run *r = &j->run[0];
    struct scratch s = cut(ops_scratch(j->o, thread), j->sh);
    int64_t blocks = n_block(j->sh), job = j->wave + i, heads = heads_of(j->sh);

    while (job >= r->job + r->n_chunk * blocks)
        r++;
    struct block b = block_of(j, r, (job - r->job) % blocks * heads, heads);
    b.after = page_after(j, r, job);
    for (int64_t h = 0; h < b.n_head; h++)
        gather(j, r, b.head + h, s.q + h * b.n_query * j->sh->head_dim);
    block_chunk(j, &b, (job - r->job) / blocks, &s, slot(j, j->n_run * blocks + i));
}

/* The chunks of the wave onto the sum of a run and block of heads. */
static void split_merge(void *arg, int64_t i, int thread)
{
    const struct attn_job *j = arg;
    int64_t blocks = n_block(j->sh), heads = heads_of(j->sh);
    const struct run *r = &j->run[i / blocks];
    struct block b = block_of(j, r, i % blocks * heads, heads);
    int64_t end = r->job + r->n_chunk * blocks;

    (void)thread;
    if (j->wave == 0)
        begin(j, &b, slot(j, i));
    for (int64_t job = r->job + i % blocks; job < end; job += blocks)
        if (job >= j->wave && job < j->wave_end)
            merge(j, &b, slot(j, i), slot(j, j->n_run * blocks + job - j->wave));
    if (end > j->wave && end <= j->wave_end)
        finish(j, &b, slot(j, i));
}

static void split_runs(struct attn_job *j)
{
    const struct run *last = &j->run[j->n_run - 1];
    int64_t n_sum = j->n_run * n_block(j->sh);
    int64_t n_job = last->job + last->n_chunk * n_block(j->sh);
    int64_t most = (int64_t)j->o->n_thread * ATTN_SLOTS - n_sum;

    ASSERT(most > 0);
    for (j->wave = 0; j->wave < n_job; j->wave = j->wave_end) {
        j->wave_end = j->wave + most < n_job ? j->wave + most : n_job;
        pool_run(j->o->pool, j->wave_end - j->wave, split_chunk, j);
        pool_run(j->o->pool, n_sum, split_merge, j);
    }
}

/* Whether `row` can go on a run whose last row is before it; rows of other sequences only where
 * the context is split. */
static bool goes_on(const struct attn_job *j, const struct run *r, int64_t row, bool split)
{
    const struct attn_rows *rows = j->rows;

    return rows->kind[row] == rows->kind[r->begin] &&
           (rows->seq[row] == rows->seq[row - 1] ||
            (split && r->sampled && share_page(j, r->begin, row, 0)));
}

/* Rows from `row` on as up to n_run_max runs of at most n_row rows; the first row that is left. */
static int64_t cut_runs(struct attn_job *j, int64_t row, int64_t n_row, int64_t n_run_max,
                        bool split)
{
    const struct attn_rows *rows = j->rows;
    int64_t job = 0;

    for (j->n_run = 0; row < rows->n && j->n_run < n_run_max; j->n_run++) {
        struct run *r = &j->run[j->n_run];
        *r = (struct run){ .begin = row, .job = job, .sampled = rows->kind[row] };
        do {
            r->n_key = rows->pos[row] >= r->n_key ? rows->pos[row] + 1 : r->n_key;
            row++;
        } while (row < rows->n && row - r->begin < n_row && goes_on(j, r, row, split));
        r->end = row;
        r->n_chunk = (r->n_key + CHUNK - 1) / CHUNK;
        job += r->n_chunk * n_block(j->sh);
    }
    return row;
}

/* Rows of a run where the context is split: where the chunks are too few for the threads, so few
 * that each thread has a run. */
static int64_t split_rows(const struct ops *o, const struct attn_rows *rows,
                          const struct attn_shape *sh)
{
    int64_t few = run_queries(sh, SPLIT_QUERIES) / group_of(sh), n_key = 0;
    int64_t n_run = (rows->n + few - 1) / few;

    for (int64_t r = 0; r < rows->n; r++)
        n_key = rows->pos[r] >= n_key ? rows->pos[r] + 1 : n_key;
    if (n_key <= (int64_t)o->n_thread * CHUNK && n_run < o->n_thread)
        n_run = o->n_thread;
    return (rows->n + n_run - 1) / n_run;
}

static bool all_sampled(const struct attn_rows *rows)
{
    int64_t r = 0;

    while (r < rows->n && rows->kind[r])
        r++;
    return r == rows->n;
}

void ops_attn(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
              const struct kv_layer *layer, const struct attn_shape *shape)
{
    struct attn_job j = { .o = o, .out = out, .q = q, .rows = rows, .layer = layer, .sh = shape };
    int64_t whole = run_queries(shape, WHOLE_QUERIES) / group_of(shape);
    int64_t few = split_rows(o, rows, shape);
    int64_t n_run = (rows->n + whole - 1) / whole, n_head = shape->n_head_kv;
    int64_t most = (int64_t)o->n_thread * ATTN_SLOTS / 2 / n_block(shape);
    bool split = most > 0 && (rows->n <= SPLIT_ROWS || all_sampled(rows) ||
                              n_run * n_head < (int64_t)o->n_thread * JOBS_PER_THREAD);

    ASSERT(ops_attn_scratch(shape) <= o->limits.scratch_elem);
    if (o->profile)
        ops_count_attn(o, rows, layer, shape, PEAK_f32);
    for (int64_t row = 0; row < rows->n; ) {
        if (split) {
            row = cut_runs(&j, row, few, most < RUNS ? most : RUNS, true);
            split_runs(&j);
        } else {
            row = cut_runs(&j, row, (rows->n + n_run - 1) / n_run, RUNS, false);
            pool_run(o->pool, j.n_run * n_head, whole_run, &j);
        }
    }
}
