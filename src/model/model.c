/* model.c - opening a model, describing it, and taking a step.
 *
 * Memory for a step is sized when the model is opened, for n_batch_max rows; a step allocates
 * nothing. */
#include "model/arch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct model {
    const struct weights *w;            /* borrowed */
    struct binding b;
    struct model_info info;
    struct kv_spec kv;
    struct pool *pool;
    struct ops *ops;
    struct forward f;
    float *freq;                        /* rope, [n_rot / 2] */
    float *rows;                        /* [n_batch_max, embd]: rows gathered for the head */
    int32_t *seq, *token;               /* [n_batch_max] */
    int64_t *pos;
    uint8_t *kind;
    int32_t n_batch_max;
    struct adapter_mix *mix[MODEL_MIXES_MAX];
    int32_t n_mix;
    const struct adapter_mix **row_mix; /* [n_batch_max] */
    int32_t *row_at;                    /* [n_batch_max]: where a row of the batch is in f.x */
    int32_t *gathered;                  /* [n_batch_max]: the places that rows came from */
    int64_t rank_max;
    struct place *place;                /* NULL: all weights are where the file has them */
    bool placed_all;
    enum mtp_input mtp_input;
    char name[128];
};

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void fill_info(struct model *m)
{
    const struct hparams *hp = &m->b.hp;
    const char *name;
    size_t len;
    int64_t n_exp = m->b.n_param_expert;

    if (weights_str(m->w, "general.name", "", &name, &len) == OK)
        memcpy(m->name, name, len < sizeof(m->name) ? len : sizeof(m->name) - 1);
    m->info = (struct model_info){
        .arch = m->b.arch->name, .name = m->name, .n_layer = hp->n_layer,
        .n_layer_mtp = hp->n_layer_mtp, .n_embd = (int32_t)hp->dim[DIM_EMBD],
        .n_head = hp->n_head, .n_head_kv = hp->n_head_kv,
        .n_vocab = (int32_t)hp->dim[DIM_VOCAB], .n_ctx_train = hp->n_ctx_train,
        .n_expert = hp->n_expert, .n_expert_used = hp->n_expert_used,
        .n_expert_shared = hp->n_expert_shared, .n_param = m->b.n_param,
        .n_param_active = m->b.n_param -
            (hp->n_expert ? n_exp / hp->n_expert * (hp->n_expert - hp->n_expert_used) : 0),
        .n_param_mtp = m->b.n_param_mtp, .mla = hp->kv_lora > 0, .mtp = m->b.mtp,
    };
    for (uint64_t i = 0; i < m->w->n_tensor; i++)
        m->info.weight_bytes += m->w->tensor[i].bytes;
}

/* Lay out one layer's segments; returns the bytes of one token in one layer. */
static uint64_t kv_layout(const struct model *m, enum qtype type, struct kv_layer *l,
                          int32_t index)
{
    uint64_t bytes = 0;

    *l = (struct kv_layer){ .type = type };
    m->b.arch->kv(&m->b.hp, l->n_elem);
    for (int s = 0; s < KV_SEGS_MAX; s++) {
        l->row_bytes[s] = (uint64_t)qtype_row_bytes(type, l->n_elem[s]);
        bytes += l->row_bytes[s];
    }
    l->offset[0] = (uint64_t)index * bytes * KV_PAGE_TOK;
    l->offset[1] = l->offset[0] + l->row_bytes[0] * KV_PAGE_TOK;
    return bytes;
}

/* A quantised KV row must be whole blocks, and so must each head's part of it. */
static enum err kv_check_type(const struct model *m, enum qtype type)
{
    const struct hparams *hp = &m->b.hp;
    int64_t block = qtype_info[type].block_elems, n[KV_SEGS_MAX] = { 0 };

    m->b.arch->kv(hp, n);
    if (n[0] % block || n[1] % block || (!hp->kv_lora && hp->head_dim % block))
        return err_set(ERR_ARG, "MODEL-40", "--kv-type %s needs key rows in multiples of %" PRId64
                       " and this model has %" PRId64 "; use --kv-type f16",
                       qtype_info[type].name, block, hp->kv_lora ? n[1] : hp->head_dim);
    return OK;
}

static enum err new_memory(struct model *m, const struct model_options *o)
{
    const struct hparams *hp = &m->b.hp;
    size_t n = (size_t)o->n_batch_max, used = (size_t)max64(1, hp->n_expert_used);
    size_t embd = (size_t)hp->dim[DIM_EMBD];
    /* forward_take rounds each piece up to 16 values: room for 24 pieces */
    m->f.tmp_cap = (int64_t)n * max64(m->b.arch->row_elem(hp), hp->dim[DIM_EH]) +
                   2 * hp->n_expert + 24 * 16;

    m->freq = calloc((size_t)hp->n_rot / 2, sizeof(*m->freq));
    m->rows = calloc(n * embd, sizeof(*m->rows));
    m->seq = calloc(n, sizeof(*m->seq));
    m->token = calloc(n, sizeof(*m->token));
    m->pos = calloc(n, sizeof(*m->pos));
    m->kind = calloc(n, sizeof(*m->kind));
    m->f.x = ops_memory(n * embd * sizeof(*m->f.x));
    m->f.turn = calloc(n * (size_t)hp->n_rot, sizeof(*m->f.turn));
    m->f.tmp = ops_memory((uint64_t)m->f.tmp_cap * sizeof(*m->f.tmp));
    m->f.expert = calloc(n * used, sizeof(*m->f.expert));
    m->f.expert_weight = calloc(n * used, sizeof(*m->f.expert_weight));
    m->f.slot = calloc(n * used, sizeof(*m->f.slot));
    m->f.slot_row = calloc(n * used, sizeof(*m->f.slot_row));
    m->f.product = calloc(2 * (size_t)hp->n_expert + 1, sizeof(*m->f.product));
    m->f.delta = calloc(n * used, sizeof(*m->f.delta));
    m->row_mix = calloc(n, sizeof(*m->row_mix));
    m->row_at = calloc(n, sizeof(*m->row_at));
    m->gathered = calloc(n, sizeof(*m->gathered));
    if (!m->freq || !m->rows || !m->seq || !m->token || !m->pos || !m->kind || !m->f.x ||
        !m->f.turn || !m->f.tmp || !m->f.expert || !m->f.expert_weight || !m->f.slot ||
        !m->f.slot_row || !m->f.product || !m->f.delta || !m->row_mix || !m->row_at ||
        !m->gathered)
        return err_set(ERR_NOMEM, "MODEL-41", "no memory for steps of %d tokens (%.1f MB); use a "
                       "smaller --batch-size", o->n_batch_max, (double)m->f.tmp_cap * 4e-6);
    return OK;
}

static enum err new_ops(struct model *m, const struct model_options *o)
{
    const struct hparams *hp = &m->b.hp;
    struct ops_limits limits = { 0 };
    int64_t used = max64(1, hp->n_expert_used);

    for (int d = 0; d < DIM_COUNT; d++)
        if (d != DIM_VOCAB && d != DIM_KV_B)
            limits.col = max64(limits.col, hp->dim[d]);
    limits.act_elem = o->n_batch_max * max64(limits.col, used * hp->dim[DIM_FF_EXP]);
    m->b.arch->limits(hp, &limits);
    m->rank_max = limits.col < LOW_RANK_MAX ? limits.col : LOW_RANK_MAX;
    return ops_new(&m->ops, m->pool, o->isa, o->exact, &limits);
}

/* Rotation speeds; a divisor of 0 in the file would make them infinite. */
static enum err new_freq(struct model *m)
{
    rope_freqs(&m->b.hp, m->b.global.rope_divisor, m->freq);
    for (int i = 0; i < m->b.hp.n_rot / 2; i++)
        if (!isfinite(m->freq[i]))
            return err_set(ERR_FORMAT, "GGUF-70", "%s: rope_freqs.weight or its rope keys give "
                           "pair %d a rotation that is not finite; the file is damaged, download "
                           "it again", m->w->file[0].path, i);
    return OK;
}

enum err model_open(struct model **out, const struct weights *w, const struct model_options *o)
{
    struct pool_options po = { .n_thread = o->n_thread, .no_pin = o->no_pin,
                               .cpu_quota = o->cpu_quota };
    struct model *m = calloc(1, sizeof(*m));
    enum err e;

    *out = NULL;
    ASSERT(o->n_batch_max > 0 && o->n_thread > 0);
    if (!m)
        return err_set(ERR_NOMEM, "MODEL-42", "%s: no memory for the model", w->file[0].path);
    m->w = w;
    m->n_batch_max = o->n_batch_max;
    m->mtp_input = o->mtp_input;
    if ((e = bind_weights(&m->b, w, o->mtp)) || (e = kv_check_type(m, o->kv_type)) ||
        (e = new_memory(m, o)) || (e = pool_new(&m->pool, &po)) || (e = new_ops(m, o)) ||
        (e = new_freq(m)))
        goto fail;
    m->kv = (struct kv_spec){ .type = o->kv_type, .n_layer = bind_layers(&m->b) };
    for (int32_t i = 0; i < m->kv.n_layer; i++)
        m->kv.layer_tok_bytes = kv_layout(m, o->kv_type, &m->b.layer[i].kv, i);
    memcpy(m->kv.row_bytes, m->b.layer[0].kv.row_bytes, sizeof(m->kv.row_bytes));
    m->kv.page_bytes = m->kv.layer_tok_bytes * KV_PAGE_TOK * (uint64_t)m->kv.n_layer;
    m->f.ops = m->ops;
    m->f.hp = &m->b.hp;
    m->f.global = &m->b.global;
    m->f.rope = (struct rope){ m->freq, m->b.hp.n_rot / 2, m->b.hp.rope_mscale,
                               m->b.hp.rope_half };
    fill_info(m);
    *out = m;
    return OK;
fail:
    model_free(m);
    return e;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    ops_free(m->ops);
    pool_free(m->pool);
    free(m->freq);
    free(m->rows);
    free(m->seq);
    free(m->token);
    free(m->pos);
    free(m->kind);
    free(m->f.x);
    free(m->f.turn);
    free(m->f.tmp);
    free(m->f.expert);
    free(m->f.expert_weight);
    free(m->f.slot);
    free(m->f.slot_row);
    free(m->f.product);
    free(m->f.delta);
    free(m->row_mix);
    free(m->row_at);
    free(m->gathered);
    for (int32_t i = 0; i < m->n_mix; i++)
        lora_mix_free(m->mix[i]);
    bind_release(&m->b);
    place_free(m->place);
    free(m);
}

uint64_t model_place_bytes(const struct model *m, bool rows_too)
{
    return place_bytes(m->w, m->b.want, rows_too);
}

enum err model_place(struct model *m, const struct place_options *o)
{
    struct place_options own = *o;
    enum err e;

    ASSERT(!m->place && !m->n_mix);
    own.pool = m->pool;
    if ((e = place_open(&m->place, m->w, m->b.want, &own)))
        return e;
    if (m->place)
        bind_move(&m->b, m->place);
    m->placed_all = o->rows_too;
    return OK;
}

const struct place *model_placed(const struct model *m)
{
    return m->place;
}

const enum place_want *model_wants(const struct model *m)
{
    return m->b.want;
}

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}

const struct kv_spec *model_kv_spec(const struct model *m)
{
    return &m->kv;
}

const struct weights *model_weights(const struct model *m)
{
    return m->w;
}

const struct hparams *model_hparams(const struct model *m)
{
    return &m->b.hp;
}

void model_profile(struct model *m, struct profile *p)
{
    ASSERT(!p || p->n_layer == m->kv.n_layer);
    ops_profile(m->ops, p);
}

struct pool *model_pool(const struct model *m)
{
    return m->pool;
}

uint64_t model_kv_tok_bytes(const struct model *m, enum qtype type)
{
    struct kv_layer l;

    return kv_layout(m, type, &l, 0) * (uint64_t)m->kv.n_layer;
}

enum err model_check_files(const struct model *m)
{
    for (int i = 0; i < m->w->n_file && !m->placed_all; i++)
        if (!m->w->file[i].in_memory && file_map_changed(&m->w->file[i]))
            return err_set(ERR_IO, "MODEL-44", "%s: the file changed while it was in use; "
                           "start croft again", m->w->file[i].path);
    return OK;
}

int32_t model_moe_layers(const struct model *m)
{
    return m->b.hp.n_layer - m->b.hp.n_layer_dense;
}

enum err model_add_adapters(struct model *m, const struct model_lora *part, int n_part,
                            int32_t *id)
{
    enum err e;

    *id = 0;
    if (m->n_mix == MODEL_MIXES_MAX)
        return err_set(ERR_LIMIT, "MODEL-47", "there are %d combinations of adapters already, "
                       "which is the limit", MODEL_MIXES_MAX);
    if ((e = lora_mix_new(&m->mix[m->n_mix], &m->b, part, n_part, m->rank_max)))
        return e;
    *id = ++m->n_mix;
    return OK;
}

static enum err check_batch(const struct model *m, const struct batch *b)
{
    ASSERT(b->n_row > 0 && b->n_row <= m->n_batch_max);
    for (int32_t i = 0; i < b->n_row; i++) {
        const struct batch_row *r = &b->row[i];
        if (r->token < 0 || r->token >= m->info.n_vocab)
            return err_set(ERR_ARG, "MODEL-43", "token id %d is outside the vocabulary of %d",
                           r->token, m->info.n_vocab);
        ASSERT(r->seq >= 0 && r->seq < b->n_seq && r->pos >= 0);
        ASSERT(r->pos / KV_PAGE_TOK < b->kv[r->seq].n_page);
        ASSERT(r->adapter >= 0 && r->adapter <= m->n_mix);
        ASSERT(i == 0 || r[-1].seq != r->seq || r[-1].pos + 1 == r->pos);
    }
    return OK;
}

/* The rows of the stream that want logits, or else hidden rows, to `to`; returns how many. */
static int64_t gather_rows(struct model *m, const struct batch *b, bool logits, float *to)
{
    int64_t d = m->info.n_embd, n = 0;

    for (int32_t i = 0; i < b->n_row; i++)
        if (logits ? b->row[i].want_logits : b->row[i].want_hidden) {
            memcpy(to + n * d, m->f.x + m->row_at[i] * d, (size_t)d * sizeof(float));
            m->gathered[n++] = m->row_at[i];
        }
    return n;
}

/* The same after the norm with that gain. */
static int64_t gather_normed(struct model *m, const struct batch *b, bool logits,
                             const float *gain, float *to)
{
    int64_t d = m->info.n_embd, n = gather_rows(m, b, logits, to);

    ops_at(m->ops, -1, PROFILE_norm);
    ops_rmsnorm(m->ops, to, d, to, d, gain, n, d, m->b.hp.eps);
    return n;
}

static void record_experts(const struct model *m, const struct layer *l, int64_t n, int32_t *out)
{
    int64_t used = m->b.hp.n_expert_used, ld = model_moe_layers(m) * used;

    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * ld + l->index_moe * used, m->f.expert + i * used,
               (size_t)used * sizeof(*out));
}

static void take_rows(struct model *m, const struct batch *b)
{
    bool any = false;

    for (int32_t i = 0; i < b->n_row; i++) {
        m->token[i] = b->row[i].token;
        m->seq[i] = b->row[i].seq;
        m->pos[i] = b->row[i].pos;
        m->kind[i] = b->row[i].kind;
        m->row_mix[i] = b->row[i].adapter ? m->mix[b->row[i].adapter - 1] : NULL;
        any = any || m->row_mix[i];
        m->row_at[i] = i;
    }
    m->f.rows = (struct attn_rows){ m->seq, m->pos, m->kind, b->n_row, b->kv };
    m->f.mix = any ? m->row_mix : NULL;
}

static void head(struct model *m, const struct batch *b, const float *gain,
                 const struct weight *w, float *logits)
{
    int64_t d = m->info.n_embd, n = gather_normed(m, b, true, gain, m->rows);
    struct product p = { .w = *w, .y = logits, .ld_y = m->info.n_vocab, .slot_begin = 0,
                         .slot_end = n };

    if (!n)
        return;
    ops_at(m->ops, -1, PROFILE_head);
    ops_products(m->ops, &p, 1, m->rows, d, n, NULL);
    lora_apply(&m->f, &p, 1, m->rows, d, NULL, m->gathered);
}

/* After the last layer's attention only the rows that want something go on. */
static void drop_rows(struct model *m, const struct batch *b)
{
    int64_t d = m->info.n_embd;
    int32_t n = 0;

    for (int32_t i = 0; i < b->n_row; i++) {
        if (!b->row[i].want_logits && !b->row[i].want_hidden)
            continue;
        if (n != i)
            memcpy(m->f.x + n * d, m->f.x + i * d, (size_t)d * sizeof(float));
        m->row_mix[n] = m->row_mix[i];
        m->row_at[i] = n++;
    }
    m->f.rows.n = n;
}

static void run_layer(struct model *m, const struct batch *b, const struct step_out *out,
                      int32_t i)
{
    const struct layer *l = &m->b.layer[i];

    m->f.tmp_used = 0;
    m->b.arch->attn(&m->f, l);
    if (i >= m->b.hp.n_layer - 1 && !out->expert)
        drop_rows(m, b);
    if (m->f.rows.n)
        m->b.arch->ffn(&m->f, l);
    if (out->expert && l->is_moe)
        record_experts(m, l, b->n_row, out->expert);
}

static enum err end_step(struct model *m)
{
    enum err e;

    ops_at(m->ops, -1, PROFILE_COUNT);
    e = ops_error(m->ops);
    return e ? err_wrap(e, "%s", m->w->file[0].path) : OK;
}

enum err model_step(struct model *m, const struct batch *b, const struct step_out *out)
{
    const struct globals *g = &m->b.global;
    struct forward *f = &m->f;
    enum err e;

    ASSERT(!out->draft_in || m->b.mtp);
    if ((e = check_batch(m, b)))
        return e;
    take_rows(m, b);
    ops_at(m->ops, -1, PROFILE_embed);
    ops_embed(m->ops, f->x, &g->embd, m->token, b->n_row);
    ops_rope_table(m->ops, f->turn, m->pos, b->n_row, &f->rope);
    for (int32_t i = 0; i < m->b.hp.n_layer; i++)
        run_layer(m, b, out, i);
    if (out->hidden)
        gather_normed(m, b, false, g->output_norm, out->hidden);
    if (out->draft_in && m->mtp_input == MTP_AFTER_NORM)
        gather_normed(m, b, false, g->output_norm, out->draft_in);
    else if (out->draft_in)
        gather_rows(m, b, false, out->draft_in);
    if (out->logits)
        head(m, b, g->output_norm, &g->output, out->logits);
    return end_step(m);
}

/* x = eh_proj [ enorm(embedding of the token); hnorm(hidden row of the token before) ]. */
static void enter_mtp(struct model *m, const struct layer *l, const float *hidden)
{
    struct forward *f = &m->f;
    int64_t d = m->info.n_embd, n = f->rows.n;
    float eps = m->b.hp.eps;

    f->tmp_used = 0;
    float *pair = forward_take(f, n * 2 * d);
    struct product p = forward_product(f, &l->eh_proj, f->x);

    ops_at(m->ops, l->index, PROFILE_embed);
    ops_embed(m->ops, f->x, &l->embd, m->token, n);
    ops_at(m->ops, l->index, PROFILE_norm);
    ops_rmsnorm(m->ops, pair, 2 * d, f->x, d, l->enorm, n, d, eps);
    ops_rmsnorm(m->ops, pair + d, 2 * d, hidden, d, l->hnorm, n, d, eps);
    ops_at(m->ops, l->index, PROFILE_embed);
    forward_products(f, &p, 1, pair, 2 * d);
}

enum err model_draft(struct model *m, const struct batch *b, const float *hidden,
                     const struct step_out *out)
{
    const struct layer *l = &m->b.layer[m->b.hp.n_layer];
    enum err e;

    ASSERT(m->b.mtp && !out->expert);
    if ((e = check_batch(m, b)))
        return e;
    take_rows(m, b);
    for (int32_t i = 0; i < b->n_row; i++) {
        ASSERT(m->pos[i] > 0);
        m->pos[i]--;                    /* a pair has the place of its first token */
    }
    ops_rope_table(m->ops, m->f.turn, m->pos, b->n_row, &m->f.rope);
    enter_mtp(m, l, hidden);
    run_layer(m, b, out, l->index);
    if (out->hidden)
        gather_normed(m, b, false, l->head_norm, out->hidden);
    if (out->draft_in)
        gather_rows(m, b, false, out->draft_in);
    if (out->logits)
        head(m, b, l->head_norm, &l->head, out->logits);
    return end_step(m);
}
