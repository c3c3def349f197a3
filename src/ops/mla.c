/* mla.c - multi-head latent attention in its two forms.
 *
 * The cache holds, per token, the normed latent c [lora] and the rotated key k_r [rope].
 *
 *   expanded (prompt rows)    a head's keys and values are computed from c, page by page, and
 *                             shared by all rows of a run:  k = W_UK c,  v = W_UV c
 *   absorbed (sampled rows)   the query is carried into the latent space instead, so that the
 *                             cache is read once for all heads:  qc = W_UK^T q,
 *                             score = qc . c + q_r . k_r,  z = sum p c,  out = W_UV z
 *
 * The absorbed form cuts the context into about CHUNKS chunks of whole pages, by a row's position
 * alone: more of them would cost more to add up than they balance.  A chunk's softmax starts anew,
 * waits in a slot until the wave of jobs it belongs to is done, and is added to its row's in
 * rising order, so that threads and neighbours change nothing.  Rows of sequences that begin with
 * the same page take turns chunk by chunk, so that what they share is read from memory once and
 * then from a cache.
 *
 * An adapter's change of kv_b is added to the unpacked head in the expanded form, and goes
 * beside it as a product of its own in the absorbed one.
 *
 * The expanded form (mla_expanded.c) multiplies unpacked weights, W_UK laid out as [nope, lora].
 * The absorbed form reads k_b and v_b, or the value rows of kv_b, as products of their heads like
 * any other weight, if their rows come in whole tiles; W_UK^T of a kv_b is again f32 on unpacked
 * rows.  For float types the sums are the same whether the file stores kv_b or k_b and v_b.
 */
#include "ops/mla_form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD_BLOCK = 32,
    CHUNK_PAGES = 2, CHUNKS = 16,               /* a chunk's least pages; about as many chunks */
    K_STRIP = 16,                               /* rows of kv_b unpacked at a time */
};

void mla_unpack_k_row(const struct mla_job *j, int64_t head, int64_t i, float *row)
{
    ops_unpack_row(j->o, j->w->kv_b, head * (j->sh->nope + j->sh->v) + i, row);
}

void mla_unpack_k_columns(const struct mla_job *j, int64_t head, int64_t l, int64_t n,
                             float *wk, int64_t ld, float *strip)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t i = 0; i < n; i++)
        ops_unpack_row(j->o, j->w->k_b, head * sh->lora + l + i, strip + i * sh->nope);
    j->o->k.transpose(wk, ld, strip, sh->nope, n, sh->nope);
}

void mla_unpack_v_row(const struct mla_job *j, int64_t head, int64_t i, float *row)
{
    const struct mla_shape *sh = j->sh;

    if (j->w->v_b)
        ops_unpack_row(j->o, j->w->v_b, head * sh->v + i, row);
    else
        ops_unpack_row(j->o, j->w->kv_b, head * (sh->nope + sh->v) + sh->nope + i, row);
}

/* Where row i of the slice and a head are among the absorbed rows. */
static int64_t slot_of(const struct mla_job *j, int64_t i, int64_t head)
{
    return head * j->n_row + i;
}

/* qc [lora] += scale * a^T (b_k^T q): the changes' share of an absorbed query. */
static void absorb_delta(const struct mla_job *j, const struct low_rank_list *delta, int64_t head,
                         const float *q, float *qc, int thread)
{
    float *low = ops_low(j->o, thread), *row = ops_row(j->o, thread);
    int64_t first = head * (j->sh->nope + j->sh->v);

    for (int k = 0; delta && k < delta->n; k++) {
        const struct low_rank *d = &delta->item[k];
        memset(low, 0, (size_t)d->a.n_row * sizeof(*low));
        for (int64_t i = 0; i < j->sh->nope; i++) {
            ops_unpack_row(j->o, &d->b, first + i, row);
            j->o->k.axpy(low, q[i], row, d->a.n_row);
        }
        for (int64_t r = 0; r < d->a.n_row; r++) {
            ops_unpack_row(j->o, &d->a, r, row);
            j->o->k.axpy(qc, d->scale * low[r], row, j->sh->lora);
        }
    }
}

/* out [v] += scale * b_v (a z). */
static void out_delta(const struct mla_job *j, const struct low_rank_list *delta, int64_t head,
                      const float *z, float *out, int thread)
{
    int64_t per_head = j->sh->nope + j->sh->v;

    for (int k = 0; delta && k < delta->n; k++) {
        struct low_rank d = delta->item[k];
        d.b = weight_rows(&d.b, head * per_head + j->sh->nope, j->sh->v);
        low_rank_row(j->o, &d, z, out, thread);
    }
}

/* Scratch of one thread, cut up; the expanded form uses the same room. */
struct absorbed { float *w, *strip, *q, *score; };

static int64_t head_block(const struct mla_shape *sh)
{
    return sh->n_head < HEAD_BLOCK ? sh->n_head : HEAD_BLOCK;
}

/* Of w: a strip of kv_b's or v_b's rows, or of k_b's, turned. */
static int64_t absorbed_w(const struct mla_shape *sh)
{
    int64_t rows = K_STRIP * sh->lora, columns = MLA_STRIP * sh->nope;
    return rows > columns ? rows : columns;
}

static int64_t absorbed_elem(const struct mla_shape *sh)
{
    return absorbed_w(sh) + MLA_STRIP * sh->nope +
           head_block(sh) * (attn_pad(sh->lora + sh->rope) + KV_PAGE_TOK);
}

static struct absorbed cut_absorbed(float *at, const struct mla_shape *sh)
{
    struct absorbed s;

    s.score = at;
    s.q = s.score + KV_PAGE_TOK * head_block(sh);
    s.w = s.q + attn_pad(sh->lora + sh->rope) * head_block(sh);
    s.strip = s.w + absorbed_w(sh);
    return s;
}

/* Where the slots begin; a slot has the states and then the z of a block of heads. */
static int64_t slots_at(const struct mla_shape *sh)
{
    int64_t a = mla_expanded_elem(sh), b = absorbed_elem(sh);
    return ((a > b ? a : b) + 15) / 16 * 16;
}

static int64_t slot_elem(const struct mla_shape *sh)
{
    return (head_block(sh) * (sh->lora + 2) + 15) / 16 * 16;
}

int64_t ops_mla_scratch(const struct mla_shape *sh)
{
    return slots_at(sh) + ATTN_SLOTS * slot_elem(sh);
}

int64_t ops_mla_latent(const struct mla_shape *sh)
{
    return MLA_SLICE_ROWS * sh->n_head * (2 * sh->lora + 2 + sh->nope + sh->v);
}

int64_t ops_mla_act(const struct mla_shape *sh)
{
    return MLA_SLICE_ROWS * sh->n_head * (sh->lora > sh->nope ? sh->lora : sh->nope);
}

/* qc of row i from rows or columns of W_UK: a cut of the sum changes no bit. */
static void absorb_strip(const struct mla_job *j, int64_t head, const float *w, int64_t ld,
                         int64_t first_col, int64_t n_col, int64_t first_row, int64_t n_row)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t i = 0; i < j->n_row; i++) {
        const float *q = j->q + (j->row[i] * sh->n_head + head) * (sh->nope + sh->rope);
        j->o->k.mat_mul(j->qc + slot_of(j, i, head) * sh->lora + first_col, sh->lora,
                        q + first_row, sh->nope, w, ld, 1, n_col, n_row, first_row > 0);
    }
}

/* Whether a weight's heads are multiplied as products: a question of shapes and type alone. */
static bool by_products(const struct mla_job *j, const struct weight *w)
{
    const struct mla_shape *sh = j->sh;

    return !j->o->exact && tile_has(w->type) && sh->nope % TILE_ROWS == 0 &&
           sh->v % TILE_ROWS == 0 && sh->lora % TILE_ROWS == 0;
}

/* y [slots, n] = rows first_row + head * head_rows .. + n of w times x [slots, w->n_col], where
 * the slots are those of each head. */
static void head_products(const struct mla_job *j, const struct weight *w, int64_t first_row,
                          int64_t head_rows, int64_t n, const float *x, float *y)
{
    enum { LIST = 64 };
    struct product p[LIST];

    for (int64_t head = 0; head < j->sh->n_head; head += LIST) {
        int n_product = (int)(j->sh->n_head - head < LIST ? j->sh->n_head - head : LIST);
        for (int i = 0; i < n_product; i++)
            p[i] = (struct product){ .w = weight_rows(w, first_row + (head + i) * head_rows, n),
                                     .y = y + head * j->n_row * n, .ld_y = n, .f32 = true,
                                     .slot_begin = i * j->n_row, .slot_end = (i + 1) * j->n_row };
        products_run(j->o, p, n_product, x + head * j->n_row * w->n_col, w->n_col,
                     n_product * j->n_row, NULL);
    }
}

static void absorb_by_products(const struct mla_job *j)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t head = 0; head < sh->n_head; head++)
        for (int64_t i = 0; i < j->n_row; i++)
            memcpy(j->q_in + slot_of(j, i, head) * sh->nope,
                   j->q + (j->row[i] * sh->n_head + head) * (sh->nope + sh->rope),
                   (size_t)sh->nope * sizeof(float));
    head_products(j, j->w->k_b, 0, sh->lora, sh->lora, j->q_in, j->qc);
}

static const struct weight *value_weight(const struct mla_job *j)
{
    return j->w->v_b ? j->w->v_b : j->w->kv_b;
}

static void out_by_products(const struct mla_job *j)
{
    const struct mla_shape *sh = j->sh;
    bool split = j->w->v_b != NULL;

    head_products(j, value_weight(j), split ? 0 : sh->nope, split ? sh->v : sh->nope + sh->v,
                  sh->v, j->z, j->v_out);
}

static void absorb_query(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    struct absorbed s = cut_absorbed(ops_scratch(j->o, thread), sh);

    for (int64_t i = 0, n; i < sh->nope && j->w->kv_b; i += n) {
        n = sh->nope - i < K_STRIP ? sh->nope - i : K_STRIP;
        for (int64_t r = 0; r < n; r++)
            mla_unpack_k_row(j, head, i + r, s.w + r * sh->lora);
        absorb_strip(j, head, s.w, sh->lora, 0, sh->lora, i, n);
    }
    for (int64_t l = 0, n; l < sh->lora && j->w->k_b && !by_products(j, j->w->k_b); l += n) {
        n = sh->lora - l < MLA_STRIP ? sh->lora - l : MLA_STRIP;
        mla_unpack_k_columns(j, head, l, n, s.w, n, s.strip);
        absorb_strip(j, head, s.w, n, l, n, 0, sh->nope);
    }
    for (int64_t i = 0; i < j->n_row; i++) {
        const float *q = j->q + (j->row[i] * sh->n_head + head) * (sh->nope + sh->rope);
        int64_t at = slot_of(j, i, head);
        absorb_delta(j, mla_delta_of(j, j->row[i]), head, q, j->qc + at * sh->lora, thread);
        attn_begin(&j->state[at], j->z + at * sh->lora, sh->lora, sh->lora, 1);
    }
}

/* The tokens of a chunk of a row at position pos. */
static int64_t chunk_of(int64_t pos)
{
    int64_t pages = (pos / KV_PAGE_TOK + 1) / CHUNKS;
    return (pages < CHUNK_PAGES ? CHUNK_PAGES : pages) * KV_PAGE_TOK;
}

static int64_t chunks_of(int64_t pos)
{
    return pos / chunk_of(pos) + 1;
}

static int64_t n_block(const struct mla_shape *sh)
{
    return (sh->n_head + head_block(sh) - 1) / head_block(sh);
}

static float *slot(const struct mla_job *j, int64_t job)
{
    return attn_slot(j->o, job - j->wave, slots_at(j->sh), slot_elem(j->sh));
}

/* The queries of n_head heads of row i of the slice: [n_head, lora + rope]. */
static void gather_queries(const struct mla_job *j, int64_t i, int64_t head, int64_t n_head,
                           float *q, int64_t ld)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t h = head; h < head + n_head; h++, q += ld) {
        memcpy(q, j->qc + slot_of(j, i, h) * sh->lora, (size_t)sh->lora * sizeof(*q));
        memcpy(q + sh->lora, j->q + (j->row[i] * sh->n_head + h) * (sh->nope + sh->rope) + sh->nope,
               (size_t)sh->rope * sizeof(*q));
    }
}

/* The latents from token `next` on, one linear run: half with the scores, half with the values. */
static void ask_for_next(const struct mla_job *j, const struct kv_view *kv, int64_t next,
                         int64_t n_key, struct kv_block *score, struct kv_block *value)
{
    const struct kv_layer *l = j->layer;
    int64_t half = KV_PAGE_TOK * (int64_t)(l->row_bytes[0] + l->row_bytes[1]) / 2;

    score->ask.n_row = value->ask.n_row = next < n_key;
    if (next >= n_key)
        return;
    score->ask.bytes = value->ask.bytes = half;
    score->ask.row = kv_row(kv, l, 0, next);
    value->ask.row = score->ask.row + half;
}

/* One sampled row, a chunk and a block of heads: a page of latents serves all of them. */
static void absorbed_chunk(void *arg, int64_t i_job, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    struct absorbed s = cut_absorbed(ops_scratch(j->o, thread), sh);
    int64_t job = j->wave + i_job, ld = attn_pad(sh->lora + sh->rope);
    int64_t part = j->order[job / n_block(sh)], i = part / MLA_CHUNKS_MAX;
    int64_t head = job % n_block(sh) * head_block(sh), row = j->row[i];
    int64_t n_head = sh->n_head - head < head_block(sh) ? sh->n_head - head : head_block(sh);
    int64_t n_key = j->rows->pos[row] + 1, chunk = chunk_of(n_key - 1);
    int64_t begin = part % MLA_CHUNKS_MAX * chunk;
    int64_t end = begin + chunk < n_key ? begin + chunk : n_key;
    const struct kv_view *kv = &j->rows->kv[j->rows->seq[row]];
    struct softmax_state *state = (struct softmax_state *)(void *)slot(j, job);
    float *z = slot(j, job) + 2 * head_block(sh);
    struct kv_block score = { .out = s.score, .ld_out = KV_PAGE_TOK, .q = s.q, .ld_q = ld,
                              .n_q = n_head };
    struct kv_block value = { .out = z, .ld_out = sh->lora, .q = s.score, .ld_q = KV_PAGE_TOK,
                              .n_q = n_head };

    gather_queries(j, i, head, n_head, s.q, ld);
    attn_begin(state, z, sh->lora, sh->lora, n_head);
    for (int64_t start = begin; start < end; start += KV_PAGE_TOK) {
        struct attn_page p = { .k = &j->o->k, .pos = j->rows->pos + row, .group = n_head,
                               .start = start, .scale = sh->scale, .n = sh->lora };
        score.n_tok = value.n_tok = end - start < KV_PAGE_TOK ? end - start : KV_PAGE_TOK;
        attn_rows_of(&score, 0, kv, j->layer, 0, start);
        attn_rows_of(&score, 1, kv, j->layer, 1, start);
        attn_rows_of(&value, 0, kv, j->layer, 0, start);
        ask_for_next(j, kv, start + KV_PAGE_TOK, n_key, &score, &value);
        j->o->k.kv_score[j->layer->type](&score);
        attn_weigh_page(&p, state, z, sh->lora, s.score, n_head);
        j->o->k.kv_value[j->layer->type](&value);
    }
}

/* The chunks of the wave onto z of a row and head. */
static void merge_head(const struct mla_job *j, int64_t i, int64_t head)
{
    const struct mla_shape *sh = j->sh;
    int64_t at = slot_of(j, i, head), h = head % head_block(sh);

    for (int64_t c = 0, n = chunks_of(j->rows->pos[j->row[i]]); c < n; c++) {
        int64_t job = j->at[i][c] * n_block(sh) + head / head_block(sh);
        if (job >= j->wave && job < j->wave_end) {
            const float *part = slot(j, job);
            const struct softmax_state *from = (const struct softmax_state *)(const void *)part;
            attn_merge(&j->o->k, &j->state[at], j->z + at * sh->lora, from + h,
                       part + 2 * head_block(sh) + h * sh->lora, sh->lora);
        }
    }
}

static void absorbed_merge(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;

    (void)thread;
    for (int64_t i = 0; i < j->n_row; i++)
        merge_head(j, i, head);
}

static void absorbed_out(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    struct absorbed s = cut_absorbed(ops_scratch(j->o, thread), sh);

    for (int64_t i = 0; i < j->n_row; i++) {
        int64_t at = slot_of(j, i, head);
        merge_head(j, i, head);
        j->o->k.scale(j->z + at * sh->lora, 1 / j->state[at].sum, sh->lora);
    }
    for (int64_t l = 0; l < sh->v && !by_products(j, value_weight(j)); l++) {
        mla_unpack_v_row(j, head, l, s.w);
        for (int64_t i = 0; i < j->n_row; i++)
            j->v_out[slot_of(j, i, head) * sh->v + l] =
                j->o->k.dot[QTYPE_f32](s.w, j->z + slot_of(j, i, head) * sh->lora, sh->lora);
    }
}

static void absorbed_place(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;

    for (int64_t i = 0; i < j->n_row; i++) {
        float *out = j->out + (j->row[i] * sh->n_head + head) * sh->v;
        int64_t at = slot_of(j, i, head);
        memcpy(out, j->v_out + at * sh->v, (size_t)sh->v * sizeof(float));
        out_delta(j, mla_delta_of(j, j->row[i]), head, j->z + at * sh->lora, out, thread);
    }
}

/* The first row of the slice whose sequence begins with the same page as row i's. */
static int64_t family_of(const struct mla_job *j, int64_t i)
{
    const struct attn_rows *r = j->rows;
    int64_t f = 0;

    while (r->kv[r->seq[j->row[f]]].page[0] != r->kv[r->seq[j->row[i]]].page[0])
        f++;
    return f;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The chunks of all rows: by family, then by where they begin. */
static void order_chunks(struct mla_job *j)
{
    enum { ORDER = 65536 };             /* values of an element of order[] */
    int64_t key[MLA_SLICE_ROWS * MLA_CHUNKS_MAX], n = 0, page;

    for (int64_t i = 0; i < j->n_row; i++) {
        int64_t pos = j->rows->pos[j->row[i]], family = family_of(j, i);
        ASSERT(chunks_of(pos) <= MLA_CHUNKS_MAX);
        for (int64_t c = 0; c < chunks_of(pos); c++) {
            page = c * (chunk_of(pos) / KV_PAGE_TOK);
            key[n++] = (family << 40 | page) * ORDER + i * MLA_CHUNKS_MAX + c;
        }
    }
    qsort(key, (size_t)n, sizeof(*key), by_number);
    for (int64_t k = 0; k < n; k++) {
        j->order[k] = (uint16_t)(key[k] % ORDER);
        j->at[j->order[k] / MLA_CHUNKS_MAX][j->order[k] % MLA_CHUNKS_MAX] = (uint16_t)k;
    }
    j->n_chunk = n;
}

static void absorbed_slice(struct mla_job *j, const int64_t *row, int64_t n_row)
{
    int64_t most = (int64_t)j->o->n_thread * ATTN_SLOTS, n_job;

    j->row = row;
    j->n_row = n_row;
    order_chunks(j);
    n_job = j->n_chunk * n_block(j->sh);
    if (j->w->k_b && by_products(j, j->w->k_b))
        absorb_by_products(j);
    pool_run(j->o->pool, j->sh->n_head, absorb_query, j);
    for (j->wave = 0; ; j->wave = j->wave_end) {
        j->wave_end = j->wave + most < n_job ? j->wave + most : n_job;
        pool_run(j->o->pool, j->wave_end - j->wave, absorbed_chunk, j);
        if (j->wave_end == n_job)
            break;
        pool_run(j->o->pool, j->sh->n_head, absorbed_merge, j);
    }
    pool_run(j->o->pool, j->sh->n_head, absorbed_out, j);
    if (by_products(j, value_weight(j)))
        out_by_products(j);
    pool_run(j->o->pool, j->sh->n_head, absorbed_place, j);
}

void ops_mla(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
             const struct kv_layer *layer, const struct mla_shape *shape,
             const struct mla_weights *w)
{
    struct mla_job j = { .o = o, .out = out, .q = q, .rows = rows, .layer = layer, .sh = shape,
                         .w = w, .qc = o->latent };
    int64_t slice[MLA_SLICE_ROWS], n_slice = 0;

    ASSERT(ops_mla_scratch(shape) <= o->limits.scratch_elem);
    ASSERT(ops_mla_latent(shape) <= o->limits.latent_elem);
    j.z = j.qc + MLA_SLICE_ROWS * shape->n_head * shape->lora;
    j.q_in = j.z + MLA_SLICE_ROWS * shape->n_head * shape->lora;
    j.v_out = j.q_in + MLA_SLICE_ROWS * shape->n_head * shape->nope;
    j.state = (struct softmax_state *)(void *)(j.v_out + MLA_SLICE_ROWS * shape->n_head * shape->v);
    if (o->profile)
        ops_count_mla(o, rows, layer, shape, w, mla_rounds(o, shape, w) ? PEAK_bf16 : PEAK_f32,
                      PEAK_f32);
    for (int64_t r = 0, last; r < rows->n; r = last) {
        if (rows->kind[r]) {
            slice[n_slice++] = r;
            last = r + 1;
            if (n_slice == MLA_SLICE_ROWS) {
                absorbed_slice(&j, slice, n_slice);
                n_slice = 0;
            }
            continue;
        }
        for (last = r + 1; last < rows->n && last - r < MLA_RUN_ROWS && !rows->kind[last] &&
             rows->seq[last] == rows->seq[r] && mla_delta_of(&j, last) == mla_delta_of(&j, r);
             last++)
            ;
        j.begin = r;
        j.end = last;
        pool_run(o->pool, shape->n_head, mla_expanded_head, &j);
    }
    if (n_slice)
        absorbed_slice(&j, slice, n_slice);
}
