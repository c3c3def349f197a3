/* mla_expanded.c - multi-head latent attention of prompt rows: keys and values of a head are
 * computed from the latents page by page, for all rows of a run.
 *
 * In f32; or, with weights whose activations are rounded anyhow and a processor that multiplies
 * bf16, with every factor rounded to bf16: latents, keys, values, queries, weights of the softmax.
 * Sums and the softmax are f32 in both.  A matrix of bf16 is one of pairs, each in the place of an
 * f32; pairs run along the dimension that is summed over, so a matrix is turned as often as one
 * of f32 is. */
#include "ops/mla_form.h"

#include <string.h>

enum { BLOCK_ROWS = 48 };

/* W_UK of a head as [nope, lora], rows ld apart; `strip` is room for MLA_STRIP rows of k_b. */
static void unpack_k(const struct mla_job *j, int64_t head, float *wk, int64_t ld, float *strip)
{
    const struct mla_shape *sh = j->sh;

    for (int64_t i = 0; i < sh->nope && j->w->kv_b; i++)
        mla_unpack_k_row(j, head, i, wk + i * ld);
    for (int64_t l = 0; l < sh->lora && j->w->k_b; l += MLA_STRIP)
        mla_unpack_k_columns(j, head, l, sh->lora - l < MLA_STRIP ? sh->lora - l : MLA_STRIP,
                             wk + l, ld, strip);
}

/* Add the changes' rows [first, first + n) of kv_b to m [n, lora], rows ld apart. */
static void fold(const struct mla_job *j, const struct low_rank_list *delta, int64_t first,
                 int64_t n, float *m, int64_t ld, int thread)
{
    float *low = ops_low(j->o, thread), *row = ops_row(j->o, thread);

    for (int k = 0; delta && k < delta->n; k++) {
        const struct low_rank *d = &delta->item[k];
        for (int64_t i = 0; i < n; i++) {
            ops_unpack_row(j->o, &d->b, first + i, low);
            for (int64_t r = 0; r < d->a.n_row; r++) {
                ops_unpack_row(j->o, &d->a, r, row);
                j->o->k.axpy(m + i * ld, d->scale * low[r], row, j->sh->lora);
            }
        }
    }
}

bool mla_rounds(const struct ops *o, const struct mla_shape *sh, const struct mla_weights *w)
{
    enum qtype type = w->kv_b ? w->kv_b->type : w->k_b->type;

    return o->k.mat_mul_bf16 && !o->exact && sh->nope % 2 == 0 && sh->rope % 2 == 0 &&
           sh->lora % 2 == 0 && sh->v % 2 == 0 &&
           (type == QTYPE_bf16 || qtype_info[type].act != QTYPE_f32);
}

/* Scratch of one thread, cut up. */
struct expanded {
    float *w, *strip, *c, *c_t, *key_t, *value_t, *value, *score;
    float *wk, *wv, *q;                 /* pairs: W_UK turned, W_UV, the queries of the run */
    float *c_pair, *key_pair, *value_pair, *weight;
    struct softmax_state *state;
};
/* Of a row that holds latents, keys or values of a token in f32. */
static int64_t page_row(const struct mla_shape *sh)
{
    int64_t n = sh->lora > sh->rope ? sh->lora : sh->rope;

    return attn_pad(n > sh->nope ? n : sh->nope);
}

/* Rows of pairs. */
static int64_t latent_pairs(const struct mla_shape *sh)
{
    return attn_pad(sh->lora / 2);
}

static int64_t key_pairs(const struct mla_shape *sh)
{
    return attn_pad((sh->nope + sh->rope) / 2);
}

/* Cut up from `at` on; where it ends. */
static float *cut_expanded(struct expanded *s, float *at, const struct mla_shape *sh)
{
    enum { T = KV_PAGE_TOK };

    s->state = (struct softmax_state *)(void *)at;
    s->w = at + 2 * MLA_RUN_ROWS;
    s->strip = s->w + (sh->nope + sh->v) * attn_pad(sh->lora);
    s->c = s->strip + MLA_STRIP * sh->nope;
    s->c_t = s->c + T * page_row(sh);
    s->key_t = s->c_t + T * sh->lora;
    s->value_t = s->key_t + T * (sh->nope + sh->rope);
    s->value = s->value_t + T * sh->v;
    s->score = s->value + T * attn_pad(sh->v);
    s->wk = s->score + T * BLOCK_ROWS;
    s->wv = s->wk + sh->lora / 2 * attn_pad(sh->nope);
    s->c_pair = s->wv + sh->v * latent_pairs(sh);
    s->key_pair = s->c_pair + (T > sh->nope ? T : sh->nope) * latent_pairs(sh);
    s->value_pair = s->key_pair + T * key_pairs(sh);
    s->weight = s->value_pair + sh->v * T / 2;
    s->q = s->weight + BLOCK_ROWS * T / 2;
    return s->q + MLA_RUN_ROWS * key_pairs(sh);
}

int64_t mla_expanded_elem(const struct mla_shape *sh)
{
    struct expanded s;
    float *at = NULL;

    return cut_expanded(&s, at, sh) - at;
}

/* Keys, turned: [nope + rope, n_tok], and values [n_tok, v] of one head for a page. */
static void expand_page_f32(const struct mla_job *j, const struct expanded *s, int64_t start,
                        int64_t n_tok)
{
    enum { T = KV_PAGE_TOK };
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    const struct kv_view *kv = &j->rows->kv[j->rows->seq[j->begin]];
    int64_t ld_w = attn_pad(sh->lora), ld = page_row(sh);

    attn_unpack(k, kv, j->layer, 1, start, n_tok, 0, sh->rope, s->c, ld);
    k->transpose(s->key_t + sh->nope * T, T, s->c, ld, n_tok, sh->rope);
    attn_unpack(k, kv, j->layer, 0, start, n_tok, 0, sh->lora, s->c, ld);
    k->transpose(s->c_t, T, s->c, ld, n_tok, sh->lora);
    k->mat_mul(s->key_t, T, s->w, ld_w, s->c_t, T, sh->nope, n_tok, sh->lora, false);
    k->mat_mul(s->value_t, T, s->w + sh->nope * ld_w, ld_w, s->c_t, T, sh->v, n_tok, sh->lora,
               false);
    k->transpose(s->value, attn_pad(sh->v), s->value_t, T, sh->v, n_tok);
}

/* The same in pairs: keys [(nope + rope) / 2, n_tok], values [(n_tok + 1) / 2, v]. */
static void expand_page_bf16(const struct mla_job *j, const struct expanded *s, int64_t start,
                             int64_t n_tok)
{
    enum { T = KV_PAGE_TOK };
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    const struct kv_view *kv = &j->rows->kv[j->rows->seq[j->begin]];
    int64_t ld = page_row(sh), ld_c = latent_pairs(sh), ld_k = key_pairs(sh), half = sh->lora / 2;
    int64_t even = n_tok + n_tok % 2;
    quant_fn *round = k->quant[QTYPE_bf16];

    attn_unpack(k, kv, j->layer, 1, start, n_tok, 0, sh->rope, s->c, ld);
    for (int64_t t = 0; t < n_tok; t++)
        round(s->key_pair + t * ld_k + sh->nope / 2, s->c + t * ld, sh->rope);
    attn_unpack(k, kv, j->layer, 0, start, n_tok, 0, sh->lora, s->c, ld);
    for (int64_t t = 0; t < n_tok; t++)
        round(s->c_pair + t * ld_c, s->c + t * ld, sh->lora);
    memset(s->c_pair + n_tok * ld_c, 0, (size_t)((even - n_tok) * ld_c) * sizeof(float));
    k->transpose(s->c_t, T, s->c_pair, ld_c, even, half);
    k->mat_mul_bf16(s->c, ld, s->c_pair, ld_c, s->wk, attn_pad(sh->nope), n_tok, sh->nope, half,
                    false);
    for (int64_t t = 0; t < n_tok; t++)
        round(s->key_pair + t * ld_k, s->c + t * ld, sh->nope);
    k->transpose(s->key_t, T, s->key_pair, ld_k, n_tok, (sh->nope + sh->rope) / 2);
    k->mat_mul_bf16(s->value_t, T, s->wv, ld_c, s->c_t, T, sh->v, even, half, false);
    for (int64_t i = 0; i < sh->v; i++)
        round(s->value_pair + i * T / 2, s->value_t + i * T, even);
    k->transpose(s->value, attn_pad(sh->v), s->value_pair, T / 2, sh->v, even / 2);
}

/* A page onto n_query rows from row r on, in f32. */
static void add_page_f32(const struct mla_job *j, const struct expanded *s, struct attn_page *p,
                         const float *q, int64_t r, int64_t n_query, float *out, int64_t ld_out)
{
    const struct mla_shape *sh = j->sh;
    int64_t n_dim = sh->nope + sh->rope;

    j->o->k.mat_mul(s->score, KV_PAGE_TOK, q + r * sh->n_head * n_dim, sh->n_head * n_dim, s->key_t,
                    KV_PAGE_TOK, n_query, attn_page_keys(p, n_query - 1), n_dim, false);
    attn_add_page(p, s->state + (r - j->begin), out + r * ld_out, ld_out, s->score, n_query);
}

/* In pairs: weights of keys that a row does not see are zero, and add nothing. */
static void add_page_bf16(const struct mla_job *j, const struct expanded *s, struct attn_page *p,
                          int64_t r, int64_t n_query, float *out, int64_t ld_out)
{
    enum { T = KV_PAGE_TOK };
    const struct kernels *k = &j->o->k;
    const struct mla_shape *sh = j->sh;
    int64_t most = attn_page_keys(p, n_query - 1), even = most + most % 2, ld_q = key_pairs(sh);

    k->mat_mul_bf16(s->score, T, s->q + (r - j->begin) * ld_q, ld_q, s->key_t, T, n_query, most,
                    (sh->nope + sh->rope) / 2, false);
    attn_weigh_page(p, s->state + (r - j->begin), out + r * ld_out, ld_out, s->score, n_query);
    for (int64_t i = 0; i < n_query; i++) {
        int64_t n_key = attn_page_keys(p, i);
        memset(s->score + i * T + n_key, 0, (size_t)(even - n_key) * sizeof(float));
        k->quant[QTYPE_bf16](s->weight + i * T / 2, s->score + i * T, even);
    }
    k->mat_mul_bf16(out + r * ld_out, ld_out, s->weight, T / 2, s->value, attn_pad(sh->v), n_query,
                    sh->v, even / 2, true);
}

/* W_UK and W_UV of the head with the changes of the run's adapters: [nope, lora] and [v, lora]. */
static void unpack_head(const struct mla_job *j, const struct expanded *s, int64_t head, int thread)
{
    const struct mla_shape *sh = j->sh;
    const struct low_rank_list *delta = mla_delta_of(j, j->begin);
    int64_t ld = attn_pad(sh->lora), first = head * (sh->nope + sh->v);
    float *wv = s->w + sh->nope * ld;

    unpack_k(j, head, s->w, ld, s->strip);
    for (int64_t i = 0; i < sh->v; i++)
        mla_unpack_v_row(j, head, i, wv + i * ld);
    fold(j, delta, first, sh->nope, s->w, ld, thread);
    fold(j, delta, first + sh->nope, sh->v, wv, ld, thread);
}

/* They, and the queries of the run, in pairs. */
static void round_head(const struct mla_job *j, const struct expanded *s, const float *q)
{
    const struct mla_shape *sh = j->sh;
    quant_fn *round = j->o->k.quant[QTYPE_bf16];
    int64_t ld = attn_pad(sh->lora), ld_pair = latent_pairs(sh), n_dim = sh->nope + sh->rope;

    for (int64_t i = 0; i < sh->nope; i++)
        round(s->c_pair + i * ld_pair, s->w + i * ld, sh->lora);
    j->o->k.transpose(s->wk, attn_pad(sh->nope), s->c_pair, ld_pair, sh->nope, sh->lora / 2);
    for (int64_t i = 0; i < sh->v; i++)
        round(s->wv + i * ld_pair, s->w + (sh->nope + i) * ld, sh->lora);
    for (int64_t r = j->begin; r < j->end; r++)
        round(s->q + (r - j->begin) * key_pairs(sh), q + r * sh->n_head * n_dim, n_dim);
}

void mla_expanded_head(void *arg, int64_t head, int thread)
{
    const struct mla_job *j = arg;
    const struct mla_shape *sh = j->sh;
    int64_t ld_out = sh->n_head * sh->v, n_key = j->rows->pos[j->end - 1] + 1, first = j->begin;
    const float *q = j->q + head * (sh->nope + sh->rope);
    bool rounds = mla_rounds(j->o, sh, j->w);
    float *out = j->out + head * sh->v;
    struct expanded s;

    cut_expanded(&s, ops_scratch(j->o, thread), sh);
    unpack_head(j, &s, head, thread);
    if (rounds)
        round_head(j, &s, q);
    attn_begin(s.state, out + j->begin * ld_out, ld_out, sh->v, j->end - j->begin);
    for (int64_t start = 0; start < n_key; start += KV_PAGE_TOK) {
        int64_t n_tok = n_key - start < KV_PAGE_TOK ? n_key - start : KV_PAGE_TOK;
        (rounds ? expand_page_bf16 : expand_page_f32)(j, &s, start, n_tok);
        while (j->rows->pos[first] < start)
            first++;
        for (int64_t r = first, last; r < j->end; r = last) {
            last = r + BLOCK_ROWS < j->end ? r + BLOCK_ROWS : j->end;
            struct attn_page p = { &j->o->k, j->rows->pos + r, 1, start, sh->scale, s.value,
                                   attn_pad(sh->v), sh->v };
            if (rounds)
                add_page_bf16(j, &s, &p, r, last - r, out, ld_out);
            else
                add_page_f32(j, &s, &p, q, r, last - r, out, ld_out);
        }
    }
    for (int64_t r = j->begin; r < j->end; r++)
        j->o->k.scale(out + r * ld_out, 1 / s.state[r - j->begin].sum, sh->v);
}
