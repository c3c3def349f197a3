/* layers.c - the blocks that families share: attention in two kinds, FFN in two kinds.
 *
 * Each block reads the residual stream f->x [n, embd], and adds its result to it.  Memory for
 * what lies between is carved from f->tmp; <block>_elem() says how much a row takes, and must
 * count what the block takes.
 */
#include "model/arch.h"

#include <string.h>

float *forward_take(struct forward *f, int64_t elem)
{
    float *at = f->tmp + f->tmp_used;

    elem = (elem + 15) / 16 * 16;
    ASSERT(f->tmp_used + elem <= f->tmp_cap);
    f->tmp_used += elem;
    return at;
}

struct product forward_product(const struct forward *f, const struct weight *w, float *y)
{
    return (struct product){ .w = *w, .y = y, .ld_y = w->n_row, .slot_begin = 0,
                             .slot_end = f->rows.n };
}

void forward_products(struct forward *f, const struct product *p, int n_product, const float *x,
                      int64_t ld_x)
{
    ops_products(f->ops, p, n_product, x, ld_x, f->rows.n, NULL);
    lora_apply(f, p, n_product, x, ld_x, NULL, NULL);
}

static void add_bias(struct forward *f, float *x, const float *bias, int64_t n_col)
{
    if (bias)
        ops_add_bias(f->ops, x, bias, f->rows.n, n_col);
}

/* Norm every head of x [n, n_head * head_dim] by itself. */
static void norm_heads(struct forward *f, float *x, const float *gain, int64_t n_head)
{
    int64_t d = f->hp->head_dim;

    if (gain)
        ops_rmsnorm(f->ops, x, d, x, d, gain, f->rows.n * n_head, d, f->hp->eps);
}

float *forward_normed(struct forward *f, const struct layer *l, const float *gain)
{
    int64_t d = f->hp->dim[DIM_EMBD];
    float *h = forward_take(f, f->rows.n * d);

    ops_at(f->ops, l->index, PROFILE_norm);
    ops_rmsnorm(f->ops, h, d, f->x, d, gain, f->rows.n, d, f->hp->eps);
    return h;
}

void forward_project(struct forward *f, const struct weight *w, const float *y)
{
    struct product p = forward_product(f, w, f->x);

    if (f->mix)                         /* what adapters add comes before the stream does */
        p.y = forward_take(f, f->rows.n * w->n_row);
    else
        p.add = true;
    forward_products(f, &p, 1, y, w->n_col);
    if (f->mix)
        ops_add(f->ops, f->x, p.y, f->rows.n, w->n_row);
}

int64_t block_attn_gqa_elem(const struct hparams *hp)
{
    return 2 * hp->dim[DIM_EMBD] + 2 * hp->dim[DIM_Q] + hp->dim[DIM_K] + hp->dim[DIM_V];
}

void block_attn_gqa(struct forward *f, const struct layer *l)
{
    const struct hparams *hp = f->hp;
    int64_t n = f->rows.n, n_q = hp->dim[DIM_Q], n_k = hp->dim[DIM_K], n_v = hp->dim[DIM_V];
    struct attn_shape shape = { hp->n_head, hp->n_head_kv, hp->head_dim, hp->attn_scale };
    float *h = forward_normed(f, l, l->attn_norm), *q = forward_take(f, n * n_q);
    float *k = forward_take(f, n * n_k), *v = forward_take(f, n * n_v);
    float *out = forward_take(f, n * n_q);
    struct product p[3] = { forward_product(f, &l->attn_q, q), forward_product(f, &l->attn_k, k),
                            forward_product(f, &l->attn_v, v) };

    ops_at(f->ops, l->index, PROFILE_qkv);
    forward_products(f, p, 3, h, hp->dim[DIM_EMBD]);
    add_bias(f, q, l->q_bias, n_q);
    add_bias(f, k, l->k_bias, n_k);
    add_bias(f, v, l->v_bias, n_v);
    ops_at(f->ops, l->index, PROFILE_rope);
    norm_heads(f, q, l->q_norm, hp->n_head);
    norm_heads(f, k, l->k_norm, hp->n_head_kv);
    ops_rope(f->ops, q, n_q, hp->n_head, hp->head_dim, f->turn, n, &f->rope);
    ops_rope(f->ops, k, n_k, hp->n_head_kv, hp->head_dim, f->turn, n, &f->rope);
    ops_at(f->ops, l->index, PROFILE_kv_write);
    ops_kv_write(f->ops, &f->rows, &l->kv, 0, k, n_k);
    ops_kv_write(f->ops, &f->rows, &l->kv, 1, v, n_v);
    ops_at(f->ops, l->index, PROFILE_attn);
    ops_attn(f->ops, out, q, &f->rows, &l->kv, &shape);
    ops_at(f->ops, l->index, PROFILE_output);
    forward_project(f, &l->attn_output, out);
}

int64_t block_attn_mla_elem(const struct hparams *hp)
{
    return 2 * hp->dim[DIM_EMBD] + hp->dim[DIM_Q] + hp->dim[DIM_Q_LORA] + hp->dim[DIM_KV_A] +
           hp->dim[DIM_OUT];
}

void block_attn_mla(struct forward *f, const struct layer *l)
{
    const struct hparams *hp = f->hp;
    int64_t n = f->rows.n, n_q = hp->dim[DIM_Q], n_a = hp->dim[DIM_KV_A];
    int64_t qk = hp->nope + hp->n_rot;
    struct mla_shape shape = { hp->n_head, hp->nope, hp->n_rot, hp->v_head, hp->kv_lora,
                               hp->attn_scale };
    bool split = l->k_b.data && l->v_b.data;    /* also when the file stores both forms */
    struct mla_weights w = { split ? NULL : &l->kv_b, split ? &l->k_b : NULL,
                             split ? &l->v_b : NULL, NULL };
    float *h = forward_normed(f, l, l->attn_norm), *q = forward_take(f, n * n_q);
    float *a = forward_take(f, n * n_a), *out = forward_take(f, n * hp->dim[DIM_OUT]);

    ops_at(f->ops, l->index, PROFILE_qkv);
    if (l->q_a.data) {
        int64_t n_lora = hp->dim[DIM_Q_LORA];
        float *c_q = forward_take(f, n * n_lora);
        struct product p[2] = { forward_product(f, &l->q_a, c_q),
                                forward_product(f, &l->kv_a, a) };
        forward_products(f, p, 2, h, hp->dim[DIM_EMBD]);
        ops_rmsnorm(f->ops, c_q, n_lora, c_q, n_lora, l->q_a_norm, n, n_lora, hp->eps);
        p[0] = forward_product(f, &l->q_b, q);
        forward_products(f, p, 1, c_q, n_lora);
    } else {
        struct product p[2] = { forward_product(f, &l->attn_q, q),
                                forward_product(f, &l->kv_a, a) };
        forward_products(f, p, 2, h, hp->dim[DIM_EMBD]);
    }
    ops_rmsnorm(f->ops, a, n_a, a, n_a, l->kv_a_norm, n, hp->kv_lora, hp->eps);
    ops_rope(f->ops, q + hp->nope, n_q, hp->n_head, qk, f->turn, n, &f->rope);
    ops_rope(f->ops, a + hp->kv_lora, n_a, 1, hp->n_rot, f->turn, n, &f->rope);
    ops_at(f->ops, l->index, PROFILE_kv_write);
    ops_kv_write(f->ops, &f->rows, &l->kv, 0, a, n_a);
    ops_kv_write(f->ops, &f->rows, &l->kv, 1, a + hp->kv_lora, n_a);
    ops_at(f->ops, l->index, PROFILE_mla);
    w.delta = lora_rows(f, l->kv_b.id);
    ops_mla(f->ops, out, q, &f->rows, &l->kv, &shape, &w);
    ops_at(f->ops, l->index, PROFILE_output);
    forward_project(f, &l->attn_output, out);
}

/* down(silu(gate h) * up h), added to the stream: the layer's own FFN or its shared experts. */
static void swiglu(struct forward *f, const struct layer *l, const float *h, bool shared)
{
    const struct weight *gate = shared ? &l->gate_shared : &l->gate;
    const struct weight *up = shared ? &l->up_shared : &l->up;
    int64_t n = f->rows.n, ff = gate->n_row;
    float *g = forward_take(f, n * ff);
    struct product p[2] = { forward_product(f, gate, g) };

    ops_at(f->ops, l->index, shared ? PROFILE_shared_gate_up : PROFILE_gate_up);
    if (f->mix) {
        p[1] = forward_product(f, up, forward_take(f, n * ff));
        forward_products(f, p, 2, h, f->hp->dim[DIM_EMBD]);
        ops_swiglu(f->ops, g, g, p[1].y, n, ff);
    } else {
        p[0].up = up;
        forward_products(f, p, 1, h, f->hp->dim[DIM_EMBD]);
    }
    ops_at(f->ops, l->index, shared ? PROFILE_shared_down : PROFILE_down);
    forward_project(f, shared ? &l->down_shared : &l->down, g);
}

int64_t block_ffn_elem(const struct hparams *hp)
{
    return 2 * hp->dim[DIM_EMBD] + 2 * hp->dim[DIM_FF];
}

void block_ffn(struct forward *f, const struct layer *l)
{
    swiglu(f, l, forward_normed(f, l, l->ffn_norm), false);
}

/* Sort the batch's (token, choice) pairs by expert: slot s works on row slot_row[s], pair i went
 * to slot[i], and expert e has the slots [first[e], first[e + 1]).  A counting sort. */
static void sort_by_expert(struct forward *f, int64_t n_pair, int64_t *first)
{
    int32_t n_expert = f->hp->n_expert, n_used = f->hp->n_expert_used;

    memset(first, 0, (size_t)(n_expert + 1) * sizeof(*first));
    for (int64_t i = 0; i < n_pair; i++)
        first[f->expert[i] + 1]++;
    for (int32_t e = 0; e < n_expert; e++)
        first[e + 1] += first[e];
    for (int64_t i = 0; i < n_pair; i++) {
        int64_t s = first[f->expert[i]]++;
        f->slot[i] = (int32_t)s;
        f->slot_row[s] = (int32_t)(i / n_used);
    }
    for (int32_t e = n_expert; e > 0; e--)
        first[e] = first[e - 1];
    first[0] = 0;
}

/* Add the products of every expert that has slots to f->product, which has n; w [n_expert], up
 * the same or NULL. */
static int expert_products(struct forward *f, const struct weight *w, const struct weight *up,
                           float *y, const int64_t *first, int n)
{
    for (int32_t e = 0; e < f->hp->n_expert; e++)
        if (first[e + 1] > first[e])
            f->product[n++] = (struct product){ .w = w[e], .up = up ? &up[e] : NULL, .y = y,
                                                .ld_y = w[e].n_row, .slot_begin = first[e],
                                                .slot_end = first[e + 1] };
    return n;
}

/* gate [n_pair, ff] = silu(gate h) * up h, of each slot's expert. */
static void expert_swiglu(struct forward *f, const struct layer *l, const float *h, float *gate,
                          const int64_t *first)
{
    int64_t d = f->hp->dim[DIM_EMBD], ff = f->hp->dim[DIM_FF_EXP], n = f->rows.n;
    int64_t n_pair = n * f->hp->n_expert_used;
    float *up = f->mix ? forward_take(f, n_pair * ff) : NULL;
    int n_product = expert_products(f, l->gate_exps, f->mix ? NULL : l->up_exps, gate, first, 0);

    if (f->mix)
        n_product = expert_products(f, l->up_exps, NULL, up, first, n_product);
    ops_products(f->ops, f->product, n_product, h, d, n, f->slot_row);
    lora_apply(f, f->product, n_product, h, d, f->slot_row, f->slot_row);
    if (f->mix)
        ops_swiglu(f->ops, gate, gate, up, n_pair, ff);
}

enum { EXPERTS_MAX = 1024 };

int64_t block_moe_elem(const struct hparams *hp)
{
    int64_t d = hp->dim[DIM_EMBD], used = hp->n_expert_used;

    return 2 * d + 3 * hp->dim[DIM_EXPERTS] + used * (2 * hp->dim[DIM_FF_EXP] + d) +
           2 * hp->dim[DIM_FF_SHARED];
}

void block_moe(struct forward *f, const struct layer *l)
{
    const struct hparams *hp = f->hp;
    int64_t n = f->rows.n, d = hp->dim[DIM_EMBD], ff = hp->dim[DIM_FF_EXP];
    int64_t n_pair = n * hp->n_expert_used, first[EXPERTS_MAX + 1];
    float *h = forward_normed(f, l, l->ffn_norm), *logit = forward_take(f, n * hp->n_expert);
    float *score = forward_take(f, 2 * hp->n_expert), *gate = forward_take(f, n_pair * ff);
    float *down = forward_take(f, n_pair * d);

    struct product router = forward_product(f, &l->router, logit);

    router.f32 = true;
    ops_at(f->ops, l->index, PROFILE_router);
    forward_products(f, &router, 1, h, d);
    for (int64_t i = 0; i < n; i++)
        route(hp, logit + i * hp->n_expert, l->router_bias, score,
              f->expert + i * hp->n_expert_used, f->expert_weight + i * hp->n_expert_used);
    sort_by_expert(f, n_pair, first);
    ops_at(f->ops, l->index, PROFILE_gate_up);
    expert_swiglu(f, l, h, gate, first);
    ops_at(f->ops, l->index, PROFILE_down);
    int n_product = expert_products(f, l->down_exps, NULL, down, first, 0);
    ops_products(f->ops, f->product, n_product, gate, ff, n_pair, NULL);
    lora_apply(f, f->product, n_product, gate, ff, NULL, f->slot_row);
    ops_combine(f->ops, f->x, down, f->slot, f->expert_weight, n, hp->n_expert_used, d);
    if (l->gate_shared.data)
        swiglu(f, l, h, true);
}
