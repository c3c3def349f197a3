/* attn_page.c - the softmax of attention, page by page: what both kinds of attention share.
 *
 * A query meets the pages in rising order, and in each page its own n_key keys and no others:
 * nothing here depends on the queries beside it. */
#include "ops/ops_cpu.h"

#include <math.h>
#include <string.h>

enum { VALUE_ROWS = 12 };

void attn_begin(struct softmax_state *state, float *acc, int64_t ld_acc, int64_t n,
                int64_t n_query)
{
    for (int64_t i = 0; i < n_query; i++) {
        state[i] = (struct softmax_state){ -INFINITY, 0 };
        memset(acc + i * ld_acc, 0, (size_t)n * sizeof(*acc));
    }
}

/* acc += weights . values.  On the diagonal a few rows share the keys that all of them see, and
 * each adds the rest by itself. */
static void add_values(const struct attn_page *p, float *acc, int64_t ld_acc, const float *weight,
                       int64_t n_query)
{
    int64_t most = attn_page_keys(p, n_query - 1), few = (VALUE_ROWS + p->group - 1) / p->group;

    for (int64_t i = 0, end; i < n_query; i = end) {
        int64_t common = attn_page_keys(p, i), left = n_query - i;
        end = common == most || left < few * p->group ? n_query : i + few * p->group;
        p->k->mat_mul(acc + i * ld_acc, ld_acc, weight + i * KV_PAGE_TOK, KV_PAGE_TOK, p->value,
                      p->ld_value, end - i, p->n, common, true);
        for (int64_t r = i; r < end; r += p->group) {
            int64_t rest = attn_page_keys(p, r) - common;
            if (rest > 0)
                p->k->mat_mul(acc + r * ld_acc, ld_acc, weight + r * KV_PAGE_TOK + common,
                              KV_PAGE_TOK, p->value + common * p->ld_value, p->ld_value, p->group,
                              p->n, rest, true);
        }
    }
}

void attn_weigh_page(const struct attn_page *p, struct softmax_state *state, float *acc,
                     int64_t ld_acc, float *score, int64_t n_query)
{
    for (int64_t i = 0; i < n_query; i++) {
        float max = state[i].max;
        float sum = p->k->softmax(score + i * KV_PAGE_TOK, attn_page_keys(p, i), p->scale, &max);
        if (max > state[i].max && state[i].sum != 0) {
            float shrink = expf(state[i].max - max);
            state[i].sum *= shrink;
            p->k->scale(acc + i * ld_acc, shrink, p->n);
        }
        state[i].max = max;
        state[i].sum += sum;
    }
}

void attn_add_page(const struct attn_page *p, struct softmax_state *state, float *acc,
                   int64_t ld_acc, float *score, int64_t n_query)
{
    attn_weigh_page(p, state, acc, ld_acc, score, n_query);
    add_values(p, acc, ld_acc, score, n_query);
}

void attn_merge(const struct kernels *k, struct softmax_state *to, float *to_acc,
                const struct softmax_state *from, const float *from_acc, int64_t n)
{
    float share = 1;

    if (from->sum == 0)
        return;
    if (to->sum == 0) {
        *to = *from;
        memcpy(to_acc, from_acc, (size_t)n * sizeof(*to_acc));
        return;
    }
    if (from->max > to->max) {
        float shrink = expf(to->max - from->max);
        to->sum *= shrink;
        k->scale(to_acc, shrink, n);
        to->max = from->max;
    } else if (from->max < to->max) {
        share = expf(from->max - to->max);
    }
    to->sum += share * from->sum;
    k->axpy(to_acc, share, from_acc, n);
}

void attn_unpack(const struct kernels *k, const struct kv_view *kv, const struct kv_layer *layer,
                 int seg, int64_t start, int64_t n_tok, int64_t first, int64_t n, float *out,
                 int64_t ld_out)
{
    uint64_t at = (uint64_t)qtype_row_bytes(layer->type, first);
    const uint8_t *row = kv_row(kv, layer, seg, start) + at;

    for (int64_t t = 0; t < n_tok; t++, row += layer->row_bytes[seg])
        k->dequant[layer->type](out + t * ld_out, row, n);
}

void attn_rows_of(struct kv_block *b, int to, const struct kv_view *kv,
                  const struct kv_layer *layer, int seg, int64_t start)
{
    b->seg[to].row = kv_row(kv, layer, seg, start);
    b->seg[to].row_bytes = (int64_t)layer->row_bytes[seg];
    b->seg[to].n = layer->n_elem[seg];
}
