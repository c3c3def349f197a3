/* profile.c - the records of a profile and its clock, and what each operation reads and computes.
 *
 * An operation is counted by its shapes, as if it read every byte once and computed nothing twice:
 * that is what a ceiling is made of.  A kernel that does more work than this is slower for it. */
#include "ops/ops_cpu.h"
#include "ops/profile.h"

#include <stdlib.h>
#include <time.h>

const struct profile_op_info profile_op_info[PROFILE_COUNT] = {
#define PROFILE(id, name) [PROFILE_##id] = { #id, name },
#include "ops/profile.def"
#undef PROFILE
};

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum err profile_new(struct profile **out, int32_t n_layer)
{
    struct profile *p = calloc(1, sizeof(*p));
    size_t n = ((size_t)n_layer + 1) * PROFILE_COUNT;

    *out = NULL;
    if (p)
        p->record = calloc(n, sizeof(*p->record));
    if (!p || !p->record) {
        profile_free(p);
        return err_set(ERR_NOMEM, "OPS-04", "no memory for a profile of %d layers", n_layer);
    }
    p->n_layer = n_layer;
    *out = p;
    return OK;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    free(p->record);
    free(p);
}

struct profile_record *profile_get(const struct profile *p, int32_t layer, enum profile_op op)
{
    ASSERT(layer >= -1 && layer < p->n_layer && op < PROFILE_COUNT);
    return &p->record[(layer < 0 ? p->n_layer : layer) * PROFILE_COUNT + (int32_t)op];
}

void profile_at(struct profile *p, int32_t layer, enum profile_op op)
{
    uint64_t now = clock_ns();

    if (p->now)
        p->now->ns += now - p->since_ns;
    p->since_ns = now;
    p->now = op == PROFILE_COUNT ? NULL : profile_get(p, layer, op);
}

void profile_add(struct profile *p, enum profile_part part, uint64_t bytes, enum peak_type type,
                 int64_t ops)
{
    if (!p->now)
        return;
    p->now->part[part].bytes += bytes;
    p->now->part[part].ops[type] += (uint64_t)ops;
}

void profile_sum(struct profile_record *sum, const struct profile_record *part)
{
    sum->ns += part->ns;
    for (int i = 0; i < PROFILE_PARTS; i++) {
        sum->part[i].bytes += part->part[i].bytes;
        for (int t = 0; t < PEAK_COUNT; t++)
            sum->part[i].ops[t] += part->part[i].ops[t];
    }
}

struct profile_work profile_total(const struct profile_record *r)
{
    struct profile_work all = { 0 };

    for (int i = 0; i < PROFILE_PARTS; i++) {
        all.bytes += r->part[i].bytes;
        for (int t = 0; t < PEAK_COUNT; t++)
            all.ops[t] += r->part[i].ops[t];
    }
    return all;
}

/* --- what operations count --------------------------------------------------------------- */

static uint64_t weight_bytes(const struct weight *w)
{
    uint64_t bytes = (uint64_t)(qtype_row_bytes(w->type, w->n_col) * w->n_row);

    if (w->scale)
        bytes += (uint64_t)((w->n_row + 127) / 128 * ((w->n_col + 127) / 128)) * sizeof(float);
    return bytes;
}

static enum peak_type arithmetic(const struct ops *o, const struct product *p, enum qtype type)
{
    enum qtype act = ops_act_of(o, p, type);

    return act == QTYPE_q8a ? PEAK_int8 : act == QTYPE_bf16 ? PEAK_bf16 : PEAK_f32;
}

void ops_count_embed(struct ops *o, const struct weight *w, int64_t n)
{
    profile_add(o->profile, PROFILE_MAIN, (uint64_t)(n * qtype_row_bytes(w->type, w->n_col)),
                PEAK_f32, 0);
}

void ops_count_products(struct ops *o, const struct product *p, int n_product)
{
    for (int i = 0; i < n_product; i++) {
        int64_t n = p[i].slot_end - p[i].slot_begin;
        const struct weight *w[2] = { &p[i].w, p[i].up };
        for (int k = 0; k < 2 && n > 0 && w[k]; k++)
            profile_add(o->profile, PROFILE_MAIN, weight_bytes(w[k]),
                        arithmetic(o, &p[i], w[k]->type), 2 * w[k]->n_row * w[k]->n_col * n);
    }
}

void ops_count_low_rank(struct ops *o, const struct product *p,
                        const struct low_rank_list *const *list)
{
    const struct low_rank_list *last = NULL;

    for (int64_t s = 0; s < p->slot_end - p->slot_begin; s++)
        for (int k = 0; list[s] && k < list[s]->n; k++) {
            const struct low_rank *d = &list[s]->item[k];
            uint64_t bytes = list[s] == last ? 0 : weight_bytes(&d->a) + weight_bytes(&d->b);
            profile_add(o->profile, PROFILE_MAIN, bytes, PEAK_f32,
                        2 * d->a.n_row * (d->a.n_col + d->b.n_row));
            if (k == list[s]->n - 1)
                last = list[s];
        }
}

/* Tokens of the pages with which the sequences of two rows begin alike, whole for both. */
static int64_t shared_tok(const struct attn_rows *rows, int64_t a, int64_t b)
{
    uint8_t *const *x = rows->kv[rows->seq[a]].page, *const *y = rows->kv[rows->seq[b]].page;
    int64_t low = rows->pos[a] < rows->pos[b] ? rows->pos[a] : rows->pos[b];
    int64_t n = 0, most = (low + 1) / KV_PAGE_TOK;

    while (n < most && x[n] == y[n])
        n++;
    return n * KV_PAGE_TOK;
}

/* The rows of one sequence from `first` on: the tokens they see together, and each by itself; of
 * the first, those that sampled rows share with the row before are left out, for they are read
 * once.  Rows of another kind end the run where `kinds` counts.  Returns the first row behind. */
static int64_t run_keys(const struct attn_rows *rows, int64_t first, bool kinds, int64_t *seen,
                        int64_t *pairs)
{
    int64_t r = first;

    *pairs = 0;
    for (; r < rows->n && rows->seq[r] == rows->seq[first] &&
           (!kinds || !rows->kind[r] == !rows->kind[first]); r++)
        *pairs += rows->pos[r] + 1;
    *seen = rows->pos[r - 1] + 1;
    if (first && rows->kind[first] && rows->kind[first - 1])
        *seen -= shared_tok(rows, first - 1, first);
    return r;
}

void ops_count_attn(struct ops *o, const struct attn_rows *rows, const struct kv_layer *l,
                    const struct attn_shape *sh, enum peak_type type)
{
    int64_t seen, pairs;

    for (int64_t r = 0; r < rows->n;) {
        r = run_keys(rows, r, false, &seen, &pairs);
        profile_add(o->profile, PROFILE_MAIN,
                    (uint64_t)seen * (l->row_bytes[0] + l->row_bytes[1]), type,
                    4 * pairs * sh->n_head * sh->head_dim);
    }
}

/* What the weights of a form count once, however many runs of rows use it. */
static void count_mla_weights(struct ops *o, const struct mla_weights *w, bool absorbed,
                              const struct mla_shape *sh)
{
    uint64_t k = w->kv_b ? weight_bytes(w->kv_b) : weight_bytes(w->k_b);
    uint64_t v = w->kv_b ? 0 : weight_bytes(w->v_b);

    if (w->kv_b) {                      /* its rows are those of both */
        v = k / (uint64_t)(sh->nope + sh->v) * (uint64_t)sh->v;
        k -= v;
    }
    profile_add(o->profile, PROFILE_FIRST, absorbed ? k : k + v, PEAK_f32, 0);
    profile_add(o->profile, PROFILE_LAST, absorbed ? v : 0, PEAK_f32, 0);
}

void ops_count_mla(struct ops *o, const struct attn_rows *rows, const struct kv_layer *l,
                   const struct mla_shape *sh, const struct mla_weights *w,
                   enum peak_type expanded, enum peak_type absorbed)
{
    bool used[2] = { false, false };
    int64_t seen, pairs, end;

    for (int64_t r = 0; r < rows->n; r = end) {
        bool sampled = rows->kind[r];
        end = run_keys(rows, r, true, &seen, &pairs);
        enum peak_type type = sampled ? absorbed : expanded;
        int64_t leave = 2 * sh->n_head * sh->v * sh->lora;
        int64_t enter = 2 * sh->n_head * sh->nope * sh->lora;
        int64_t pair = sampled ? 2 * sh->lora + sh->rope : sh->nope + sh->rope + sh->v;
        if (!used[sampled])
            count_mla_weights(o, w, sampled, sh);
        used[sampled] = true;
        profile_add(o->profile, PROFILE_FIRST, 0, type,
                    sampled ? enter * (end - r) : (enter + leave) * seen);
        profile_add(o->profile, PROFILE_MAIN,
                    (uint64_t)seen * (l->row_bytes[0] + l->row_bytes[1]), type,
                    2 * pairs * sh->n_head * pair);
        profile_add(o->profile, PROFILE_LAST, 0, type, sampled ? leave * (end - r) : 0);
    }
}
