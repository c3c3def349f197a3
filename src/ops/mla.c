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
 * An adapter's change of kv_b is added to the unpacked head in the expanded form, and goes
 * beside it as a product of its own in the absorbed one.
 *
 * All products here are f32 on unpacked weights.  Each element of k, v, qc and out is one
 * dot[f32] whose operands are the same whether the file stores kv_b or k_b and v_b.
 */
#include "ops/ops_cpu.h"

#include <math.h>
#include <string.h>

enum { RUN_ROWS = 256, SLICE_ROWS = 16, HEAD_BLOCK = 8 };

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
    int64_t n_row;
    float *qc, *z;                      /* absorbed: [n_row, n_head, lora] */
};

/* W_UK of a head as [nope, lora]; `row` is room for one weight row. */
static void unpack_k_by_key(const struct mla_job *j, int64_t head, float *wk, float *row)
{
    const struct mla_shape *sh = j->sh;

    if (j->w->kv_b) {
        for (int64_t i = 0; i < sh->nope; i++)
            ops_unpack_row(j->o, j->w->kv_b, head * (sh->nope + sh->v) + i, wk + i * sh->lora);
        return;
    }
    for (int64_t l = 0; l < sh->lora; l++) {
        ops_unpack_row(j->o, j->w->k_b, head * sh->lora + l, row);
        for (int64_t i = 0; i < sh->nope; i++)
            wk[i * sh->lora + l] = row[i];
    }
}

/* The same as [lora, nope]. */
static void unpack_k_by_latent(const struct mla_job *j, int64_t head, float *wk, float *row)
{
    const struct mla_shape *sh = j->sh;

    if (j->w->k_b) {
        for (int64_t l = 0; l < sh->lora; l++)
            ops_unpack_row(j->o, j->w->k_b, head * sh->lora + l, wk + l * sh->nope);
        return;
    }
    for (int64_t i = 0; i < sh->nope; i++) {
        ops_unpack_row(j->o, j->w->kv_b, head * (sh->nope + sh->v) + i, row);
        for (int64_t l = 0; l < sh->lora; l++)
            wk[l * sh->nope + i] = row[l];
    }
}

/* W_UV of a head as [v, lora]. */
static void unpack_v(const struct mla_job *j, int64_t head, float *wv)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t i = 0; i < sh->v; i++) {
        if (j->w->v_b)
            ops_unpack_row(j->o, j->w->v_b, head * sh->v + i, wv + i * sh->lora);
        else
            ops_unpack_row(j->o, j->w->kv_b, head * (sh->nope + sh->v) + sh->nope + i,
                           wv + i * sh->lora);
    }
}

/* The changes of a row's adapters, or NULL. */
static const struct low_rank_list *delta_of(const struct mla_job *j, int64_t row)
{
    return j->w->delta ? j->w->delta[row] : NULL;
}

/* Add the changes' rows [first, first + n) of kv_b to m [n, lora]. */
static void fold(const struct mla_job *j, const struct low_rank_list *delta, int64_t first,
                 int64_t n, float *m, int thread)
{
    float *low = ops_low(j->o, thread), *row = ops_row(j->o, thread);

    for (int k = 0; delta && k < delta->n; k++) {
        const struct low_rank *d = &delta->item[k];
        for (int64_t i = 0; i < n; i++) {
            ops_unpack_row(j->o, &d->b, first + i, low);
            for (int64_t r = 0; r < d->a.n_row; r++) {
                ops_unpack_row(j->o, &d->a, r, row);
                j->o->k.axpy(m + i * j->sh->lora, d->scale * low[r], row, j->sh->lora);
            }
        }
    }
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

/* Scratch of one thread, cut up; sizes are the larger of the two forms'. */
struct mla_scratch { float *wk, *wv, *c, *key, *value, *score, *row; struct softmax_state *state; };

static struct mla_scratch cut(float *at, const struct mla_shape *sh)
{
    struct mla_scratch s;
    int64_t longest = sh->lora > sh->nope ? sh->lora : sh->nope;

    s.wk = at;
    s.wv = s.wk + sh->nope * sh->lora;
    s.c = s.wv + sh->v * sh->lora;
    s.key = s.c + KV_PAGE_TOK * sh->lora;
    s.value = s.key + KV_PAGE_TOK * (sh->nope + sh->rope);
    s.score = s.value + KV_PAGE_TOK * sh->v;
    s.row = s.score + KV_PAGE_TOK;
    s.state = (struct softmax_state *)(void *)(s.row + longest);
    return s;
}

int64_t ops_mla_scratch(const struct mla_shape *sh)
{
    return (sh->nope + sh->v + KV_PAGE_TOK) * sh->lora +
           KV_PAGE_TOK * (sh->nope + sh->rope + sh->v + 1) +
           (sh->lora > sh->nope ? sh->lora : sh->nope) + 2 * RUN_ROWS;
}

int64_t ops_mla_latent(const struct mla_shape *sh)
{
    return 2 * SLICE_ROWS * sh->n_head * sh->lora;
}

/* Keys [n_tok, nope + rope] and values [n_tok, v] of one head for a page. */
static void expand_page(const struct mla_job *j, const struct mla_scratch *s, int32_t seq,
                        int64_t page, int64_t n_tok)
{
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    const struct kv_view *kv = &j->rows->kv[seq];
    enum qtype type = j->layer->type;

    for (int64_t t = 0; t < n_tok; t++) {
        int64_t pos = page * KV_PAGE_TOK + t;
        float *key = s->key + t * (sh->nope + sh->rope), *c = s->c + t * sh->lora;
        k->dequant[type](c, kv_row(kv, j->layer, 0, pos), sh->lora);
        k->dequant[type](key + sh->nope, kv_row(kv, j->layer, 1, pos), sh->rope);
        for (int64_t i = 0; i < sh->nope; i++)
            key[i] = k->dot[QTYPE_f32](s->wk + i * sh->lora, c, sh->lora);
        for (int64_t i = 0; i < sh->v; i++)
            s->value[t * sh->v + i] = k->dot[QTYPE_f32](s->wv + i * sh->lora, c, sh->lora);
    }
}

static void expanded_head(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    struct mla_scratch s = cut(ops_scratch(j->o, thread), sh);
    int64_t n_key_dim = sh->nope + sh->rope, ld_q = sh->n_head * n_key_dim;
    int64_t ld_out = sh->n_head * sh->v, n_key_max = j->rows->pos[j->end - 1] + 1;
    int32_t seq = j->rows->seq[j->begin];
    const struct low_rank_list *delta = delta_of(j, j->begin);

    unpack_k_by_key(j, head, s.wk, s.row);
    unpack_v(j, head, s.wv);
    fold(j, delta, head * (sh->nope + sh->v), sh->nope, s.wk, thread);
    fold(j, delta, head * (sh->nope + sh->v) + sh->nope, sh->v, s.wv, thread);
    for (int64_t r = j->begin; r < j->end; r++) {
        s.state[r - j->begin] = (struct softmax_state){ -INFINITY, 0 };
        for (int64_t i = 0; i < sh->v; i++)
            j->out[r * ld_out + head * sh->v + i] = 0;
    }
    for (int64_t start = 0; start < n_key_max; start += KV_PAGE_TOK) {
        int64_t left = n_key_max - start;
        expand_page(j, &s, seq, start / KV_PAGE_TOK, left < KV_PAGE_TOK ? left : KV_PAGE_TOK);
        for (int64_t r = j->begin; r < j->end; r++) {
            const float *q = j->q + r * ld_q + head * n_key_dim;
            int64_t n_key = j->rows->pos[r] + 1 - start;
            n_key = n_key < KV_PAGE_TOK ? n_key : KV_PAGE_TOK;
            if (n_key <= 0)
                continue;
            for (int64_t t = 0; t < n_key; t++)
                s.score[t] = sh->scale * k->dot[QTYPE_f32](s.key + t * n_key_dim, q, n_key_dim);
            softmax_page(k, &s.state[r - j->begin], j->out + r * ld_out + head * sh->v, s.score,
                         n_key, s.value, sh->v, sh->v);
        }
    }
    for (int64_t r = j->begin; r < j->end; r++)
        k->scale(j->out + r * ld_out + head * sh->v, 1 / s.state[r - j->begin].sum, sh->v);
}

static void absorb_query(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    struct mla_scratch s = cut(ops_scratch(j->o, thread), sh);

    unpack_k_by_latent(j, head, s.wk, s.row);
    for (int64_t i = 0; i < j->n_row; i++) {
        const float *q = j->q + (j->row[i] * sh->n_head + head) * (sh->nope + sh->rope);
        float *qc = j->qc + (i * sh->n_head + head) * sh->lora;
        for (int64_t l = 0; l < sh->lora; l++)
            qc[l] = j->o->k.dot[QTYPE_f32](s.wk + l * sh->nope, q, sh->nope);
        absorb_delta(j, delta_of(j, j->row[i]), head, q, qc, thread);
    }
}

/* One sampled row and HEAD_BLOCK heads: a page of latents is unpacked once for all of them. */
static void absorbed_block(void *arg, int64_t job, int thread)
{
    const struct mla_job *j = arg;
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    struct mla_scratch s = cut(ops_scratch(j->o, thread), sh);
    int64_t n_block = (sh->n_head + HEAD_BLOCK - 1) / HEAD_BLOCK;
    int64_t i = job / n_block, row = j->row[i], first = job % n_block * HEAD_BLOCK;
    int64_t last = first + HEAD_BLOCK < sh->n_head ? first + HEAD_BLOCK : sh->n_head;
    const struct kv_view *kv = &j->rows->kv[j->rows->seq[row]];
    int64_t n_key_max = j->rows->pos[row] + 1;

    for (int64_t h = first; h < last; h++) {
        s.state[h - first] = (struct softmax_state){ -INFINITY, 0 };
        for (int64_t l = 0; l < sh->lora; l++)
            j->z[(i * sh->n_head + h) * sh->lora + l] = 0;
    }
    for (int64_t start = 0; start < n_key_max; start += KV_PAGE_TOK) {
        int64_t n_key = n_key_max - start < KV_PAGE_TOK ? n_key_max - start : KV_PAGE_TOK;
        for (int64_t t = 0; t < n_key; t++) {
            k->dequant[j->layer->type](s.c + t * sh->lora,
                                       kv_row(kv, j->layer, 0, start + t), sh->lora);
            k->dequant[j->layer->type](s.key + t * sh->rope,
                                       kv_row(kv, j->layer, 1, start + t), sh->rope);
        }
        for (int64_t h = first; h < last; h++) {
            int64_t at = i * sh->n_head + h;
            const float *qr = j->q + (row * sh->n_head + h) * (sh->nope + sh->rope) + sh->nope;
            for (int64_t t = 0; t < n_key; t++)
                s.score[t] = sh->scale *
                    (k->dot[QTYPE_f32](s.c + t * sh->lora, j->qc + at * sh->lora, sh->lora) +
                     k->dot[QTYPE_f32](s.key + t * sh->rope, qr, sh->rope));
            softmax_page(k, &s.state[h - first], j->z + at * sh->lora, s.score, n_key, s.c,
                         sh->lora, sh->lora);
        }
    }
    for (int64_t h = first; h < last; h++)
        k->scale(j->z + (i * sh->n_head + h) * sh->lora, 1 / s.state[h - first].sum, sh->lora);
}

static void absorbed_out(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    struct mla_scratch s = cut(ops_scratch(j->o, thread), sh);

    unpack_v(j, head, s.wv);
    for (int64_t i = 0; i < j->n_row; i++) {
        const float *z = j->z + (i * sh->n_head + head) * sh->lora;
        float *out = j->out + (j->row[i] * sh->n_head + head) * sh->v;
        for (int64_t n = 0; n < sh->v; n++)
            out[n] = j->o->k.dot[QTYPE_f32](s.wv + n * sh->lora, z, sh->lora);
        out_delta(j, delta_of(j, j->row[i]), head, z, out, thread);
    }
}

static void absorbed_slice(struct mla_job *j, const int64_t *row, int64_t n_row)
{
    int64_t n_block = (j->sh->n_head + HEAD_BLOCK - 1) / HEAD_BLOCK;

    j->row = row;
    j->n_row = n_row;
    pool_run(j->o->pool, j->sh->n_head, absorb_query, j);
    pool_run(j->o->pool, n_row * n_block, absorbed_block, j);
    pool_run(j->o->pool, j->sh->n_head, absorbed_out, j);
}

void ops_mla(struct ops *o, float *out, const float *q, const struct attn_rows *rows,
             const struct kv_layer *layer, const struct mla_shape *shape,
             const struct mla_weights *w)
{
    struct mla_job j = { .o = o, .out = out, .q = q, .rows = rows, .layer = layer, .sh = shape,
                         .w = w, .qc = o->latent,
                         .z = o->latent + SLICE_ROWS * shape->n_head * shape->lora };
    int64_t slice[SLICE_ROWS], n_slice = 0;

    ASSERT(ops_mla_scratch(shape) <= o->limits.scratch_elem);
    ASSERT(ops_mla_latent(shape) <= o->limits.latent_elem);
    if (o->profile)
        ops_count_mla(o, rows, layer, shape, w, PEAK_f32, PEAK_f32);
    for (int64_t r = 0, last; r < rows->n; r = last) {
        if (rows->kind[r]) {
            slice[n_slice++] = r;
            last = r + 1;
            if (n_slice == SLICE_ROWS) {
                absorbed_slice(&j, slice, n_slice);
                n_slice = 0;
            }
            continue;
        }
        for (last = r + 1; last < rows->n && last - r < RUN_ROWS && !rows->kind[last] &&
             rows->seq[last] == rows->seq[r] && delta_of(&j, last) == delta_of(&j, r); last++)
            ;
        j.begin = r;
        j.end = last;
        pool_run(o->pool, shape->n_head, expanded_head, &j);
    }
    if (n_slice)
        absorbed_slice(&j, slice, n_slice);
}
