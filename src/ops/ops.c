/* ops.c - the CPU device: its context, and the operations that go row by row. */
#include "ops/ops_cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *ops_memory(uint64_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    uint64_t unit = bytes < HUGE_PAGE / 2 ? 64 : HUGE_PAGE;
    void *p = aligned_alloc(unit, (bytes / unit + 1) * unit);

    if (p && unit == HUGE_PAGE)
        madvise(p, (bytes / unit + 1) * unit, MADV_HUGEPAGE);
    return p;
}

enum err ops_new(struct ops **out, struct pool *pool, unsigned isa, bool exact,
                 const struct ops_limits *limits)
{
    struct ops *o = calloc(1, sizeof(*o));
    uint64_t n_thread = (uint64_t)pool_threads(pool), act_bytes;

    *out = NULL;
    if (!o)
        return err_set(ERR_NOMEM, "OPS-01", "no memory for the compute context");
    o->pool = pool;
    o->exact = exact;
    o->n_thread = pool_threads(pool);
    o->limits = *limits;
    o->limits.scratch_elem = (limits->scratch_elem + 15) / 16 * 16;
    kernels_init(&o->k, isa);
    act_bytes = ops_act_bytes(limits->act_elem);
    o->tiles_bytes = (TILE_GROUPS_MAX * tile_group_bytes(QTYPE_f32, limits->col) + 63) / 64 * 64;
    o->row = ops_memory(n_thread * (uint64_t)limits->col * sizeof(float));
    o->low = ops_memory(n_thread * LOW_RANK_MAX * sizeof(float));
    o->scratch = ops_memory(n_thread * (uint64_t)o->limits.scratch_elem * sizeof(float));
    o->tiles = ops_memory(n_thread * o->tiles_bytes);
    o->acc = ops_memory(n_thread * 3 * ACC_ELEM * sizeof(float));
    o->latent = ops_memory((uint64_t)limits->latent_elem * sizeof(float));
    o->act = ops_memory(act_bytes);
    if (o->k.mul_bf16)
        o->act_bf16 = ops_memory(act_bytes);
    if (!o->row || !o->low || !o->scratch || !o->tiles || !o->acc ||
        !o->latent || !o->act ||
        (o->k.mul_bf16 && !o->act_bf16)) {
        ops_free(o);
        return err_set(ERR_NOMEM, "OPS-02", "no memory for %.1f MB of scratch; use a smaller "
                       "--batch-size or fewer --threads", (double)act_bytes / 1e6);
    }
    *out = o;
    return OK;
}

void ops_free(struct ops *o)
{
    if (!o)
        return;
    free(o->row);
    free(o->low);
    free(o->scratch);
    free(o->tiles);
    free(o->acc);
    free(o->latent);
    free(o->act);
    free(o->act_bf16);
    free(o);
}

const struct kernels *ops_kernels(const struct ops *o)
{
    return &o->k;
}

void ops_profile(struct ops *o, struct profile *p)
{
    o->profile = p;
}

void ops_at(struct ops *o, int32_t layer, enum profile_op op)
{
    if (o->profile)
        profile_at(o->profile, layer, op);
}

enum err ops_error(struct ops *o)
{
    if (!atomic_load(&o->failed_done))
        return OK;
    atomic_store(&o->failed_done, false);
    atomic_store(&o->failed, false);
    return err_restore(&o->error);
}

struct weight weight_rows(const struct weight *w, int64_t row, int64_t n)
{
    struct weight view = *w;

    ASSERT(row >= 0 && n >= 0 && row + n <= w->n_row);
    ASSERT(w->layout == LAYOUT_rows || row % TILE_ROWS == 0);
    view.data = w->data + (uint64_t)row * w->row_bytes;
    view.n_row = n;
    view.row0 = w->row0 + row;
    return view;
}

enum { SCALE_SIDE = 128 };

/* Multiply n values of a row of an FP8 weight, from column `from` (where a block begins) on, by
 * their blocks' scales. */
static void scale_blocks(struct ops *o, const struct weight *w, int64_t row, int64_t from,
                         int64_t n, float *x)
{
    int64_t n_block = (w->n_col + SCALE_SIDE - 1) / SCALE_SIDE;
    int64_t block = (w->row0 + row) / SCALE_SIDE * n_block + from / SCALE_SIDE;

    for (int64_t c = 0; c < n; c += SCALE_SIDE, block++) {
        float scale;
        memcpy(&scale, w->scale + block * (int64_t)sizeof(scale), sizeof(scale));
        o->k.scale(x + c, scale, n - c < SCALE_SIDE ? n - c : SCALE_SIDE);
    }
}

/* A row of a weight in tiles, a few blocks at a time. */
static void unpack_tiles(struct ops *o, const struct weight *w, int64_t row, float *out)
{
    const struct qtype_info *info = &qtype_info[w->type];
    const uint8_t *group = w->data + (uint64_t)(row / TILE_ROWS) *
                           tile_group_bytes(w->type, w->n_col);
    uint8_t block[TILE_CHUNK * sizeof(float)];

    for (int64_t at = 0, n; at < w->n_col; at += n) {
        n = w->n_col - at < TILE_CHUNK ? w->n_col - at : TILE_CHUNK;
        tile_unpack_row(w->type, block, group + at / info->block_elems * TILE_ROWS *
                        info->block_bytes, (int)(row % TILE_ROWS), n);
        o->k.dequant[w->type](out + at, block, n);
    }
}

void ops_unpack_row(struct ops *o, const struct weight *w, int64_t row, float *out)
{
    if (w->layout == LAYOUT_tiles)
        unpack_tiles(o, w, row, out);
    else
        o->k.dequant[w->type](out, w->data + (uint64_t)row * w->row_bytes, w->n_col);
    if (w->scale)
        scale_blocks(o, w, row, 0, w->n_col, out);
    if (o->k.all_finite(out, w->n_col) || atomic_exchange(&o->failed, true))
        return;
    err_save(&o->error, err_set(ERR_FORMAT, "OPS-03", "tensor '%s', row %lld has a value "
             "that is not finite: the file is damaged; download it again, or list all such rows "
             "with croft show --check", w->name, (long long)(w->row0 + row)));
    atomic_store(&o->failed_done, true);
}

void ops_unpack_group(struct ops *o, const struct weight *w, int64_t row, int64_t n_row,
                      float *group)
{
    float x[TILE_ROWS][SCALE_SIDE] = { 0 };

    for (int64_t at = 0, n; at < w->n_col; at += n, group += n * TILE_ROWS) {
        n = w->n_col - at < SCALE_SIDE ? w->n_col - at : SCALE_SIDE;
        for (int64_t r = 0; r < n_row; r++) {
            o->k.dequant[w->type](x[r], w->data + (uint64_t)(row + r) * w->row_bytes +
                                  qtype_row_bytes(w->type, at), n);
            if (w->scale)
                scale_blocks(o, w, row + r, at, n, x[r]);
        }
        o->k.transpose(group, TILE_ROWS, x[0], SCALE_SIDE, TILE_ROWS, n);
    }
}

struct embed_job { struct ops *o; float *x; const struct weight *w; const int32_t *id; };

static void embed_row(void *arg, int64_t i, int thread)
{
    const struct embed_job *j = arg;

    (void)thread;
    ops_unpack_row(j->o, j->w, j->id[i], j->x + i * j->w->n_col);
}

void ops_embed(struct ops *o, float *x, const struct weight *w, const int32_t *id, int64_t n)
{
    struct embed_job j = { o, x, w, id };

    if (o->profile)
        ops_count_embed(o, w, n);
    pool_run(o->pool, n, embed_row, &j);
}

struct norm_job {
    struct ops *o;
    float *out;
    const float *x, *gain;
    int64_t ld_out, ld_x, n_col;
    float eps;
};

static void norm_row(void *arg, int64_t i, int thread)
{
    const struct norm_job *j = arg;

    (void)thread;
    j->o->k.rmsnorm(j->out + i * j->ld_out, j->x + i * j->ld_x, j->gain, j->n_col, j->eps);
}

void ops_rmsnorm(struct ops *o, float *out, int64_t ld_out, const float *x, int64_t ld_x,
                 const float *gain, int64_t n, int64_t n_col, float eps)
{
    struct norm_job j = { o, out, x, gain, ld_out, ld_x, n_col, eps };

    pool_run(o->pool, n, norm_row, &j);
}

struct pair_job { struct ops *o; float *out; const float *a, *b; int64_t n_col; };

static void add_row(void *arg, int64_t i, int thread)
{
    const struct pair_job *j = arg;

    (void)thread;
    j->o->k.axpy(j->out + i * j->n_col, 1, j->a + i * j->n_col, j->n_col);
}

void ops_add(struct ops *o, float *x, const float *y, int64_t n, int64_t n_col)
{
    struct pair_job j = { o, x, y, NULL, n_col };

    pool_run(o->pool, n, add_row, &j);
}

static void add_bias_row(void *arg, int64_t i, int thread)
{
    const struct pair_job *j = arg;

    (void)thread;
    j->o->k.axpy(j->out + i * j->n_col, 1, j->a, j->n_col);
}

void ops_add_bias(struct ops *o, float *x, const float *bias, int64_t n, int64_t n_col)
{
    struct pair_job j = { o, x, bias, NULL, n_col };

    pool_run(o->pool, n, add_bias_row, &j);
}

struct combine_job {
    struct ops *o;
    float *x;
    const float *y, *weight;
    const int32_t *slot;
    int64_t n_used, n_col;
};

static void combine_row(void *arg, int64_t i, int thread)
{
    const struct combine_job *j = arg;

    (void)thread;
    for (int64_t e = i * j->n_used; e < (i + 1) * j->n_used; e++)
        j->o->k.axpy(j->x + i * j->n_col, j->weight[e], j->y + j->slot[e] * j->n_col, j->n_col);
}

void ops_combine(struct ops *o, float *x, const float *y, const int32_t *slot,
                 const float *weight, int64_t n, int64_t n_used, int64_t n_col)
{
    struct combine_job j = { o, x, y, weight, slot, n_used, n_col };

    pool_run(o->pool, n, combine_row, &j);
}

static void swiglu_row(void *arg, int64_t i, int thread)
{
    const struct pair_job *j = arg;
    int64_t at = i * j->n_col;

    (void)thread;
    j->o->k.swiglu(j->out + at, j->a + at, j->b + at, j->n_col);
}

void ops_swiglu(struct ops *o, float *out, const float *gate, const float *up, int64_t n,
                int64_t n_col)
{
    struct pair_job j = { o, out, gate, up, n_col };

    pool_run(o->pool, n, swiglu_row, &j);
}

struct rope_job {
    float *x, *table;
    const float *angle;
    int64_t ld_x, n_head, head_ld;
    const int64_t *pos;
    const struct rope *rope;
};

/* Angles in double: at position 160,000 an f32 product would be off by 0.01 radians. */
static void rope_table_row(void *arg, int64_t i, int thread)
{
    const struct rope_job *j = arg;
    float *to = j->table + i * j->rope->n_freq * 2;

    (void)thread;
    for (int64_t f = 0; f < j->rope->n_freq; f++) {
        double angle = (double)j->pos[i] * (double)j->rope->freq[f];
        to[2 * f] = (float)cos(angle) * j->rope->mscale;
        to[2 * f + 1] = (float)sin(angle) * j->rope->mscale;
    }
}

void ops_rope_table(struct ops *o, float *table, const int64_t *pos, int64_t n,
                    const struct rope *rope)
{
    struct rope_job j = { .table = table, .pos = pos, .rope = rope };

    pool_run(o->pool, n, rope_table_row, &j);
}

static void rope_row(void *arg, int64_t i, int thread)
{
    const struct rope_job *j = arg;
    int64_t n = j->rope->n_freq, apart = j->rope->half ? n : 1, step = j->rope->half ? 1 : 2;
    const float *t = j->angle + i * n * 2;
    float *x = j->x + i * j->ld_x;

    (void)thread;
    for (int64_t h = 0; h < j->n_head; h++, x += j->head_ld)
        for (int64_t f = 0; f < n; f++) {
            float *p = x + f * step, a = p[0], b = p[apart], c = t[2 * f], s = t[2 * f + 1];
            p[0] = a * c - b * s;
            p[apart] = a * s + b * c;
        }
}

void ops_rope(struct ops *o, float *x, int64_t ld_x, int64_t n_head, int64_t head_ld,
              const float *table, int64_t n, const struct rope *rope)
{
    struct rope_job j = { .x = x, .angle = table, .ld_x = ld_x, .n_head = n_head,
                          .head_ld = head_ld, .rope = rope };

    pool_run(o->pool, n, rope_row, &j);
}

struct kv_job {
    struct ops *o;
    const struct attn_rows *rows;
    const struct kv_layer *layer;
    int seg;
    const float *x;
    int64_t ld_x;
};

static void kv_write_row(void *arg, int64_t i, int thread)
{
    const struct kv_job *j = arg;
    const struct kv_view *v = &j->rows->kv[j->rows->seq[i]];

    (void)thread;
    j->o->k.quant[j->layer->type](kv_row(v, j->layer, j->seg, j->rows->pos[i]),
                                  j->x + i * j->ld_x, j->layer->n_elem[j->seg]);
}

void ops_kv_write(struct ops *o, const struct attn_rows *rows, const struct kv_layer *layer,
                  int seg, const float *x, int64_t ld_x)
{
    struct kv_job j = { o, rows, layer, seg, x, ld_x };

    pool_run(o->pool, rows->n, kv_write_row, &j);
}
