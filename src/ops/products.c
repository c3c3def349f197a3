/* products.c - matrix products: lists of weights times rounded or exact activations.
 *
 * A job is a run of weight rows of one product; it computes them for all slots, so a weight row
 * is read once.  Which arithmetic a weight gets depends on its type and on --exact alone:
 *
 *   integer types        activations rounded to q8a once per list, then dot[type]
 *   f32, f16, bf16       dot[type] on the f32 activations
 *   all others, --exact  the row is unpacked to f32, then dot[f32]: the definition
 */
#include "ops/ops_cpu.h"

#include <math.h>

enum { JOB_ROWS = 16, PRODUCTS_MAX = 4096 };

enum path { PATH_INTEGER, PATH_DIRECT, PATH_UNPACK };

static enum path path_of(const struct ops *o, enum qtype type)
{
    if (type == QTYPE_f32)
        return PATH_DIRECT;
    if (o->exact)
        return PATH_UNPACK;
    if (qtype_info[type].act == QTYPE_q8a)
        return PATH_INTEGER;
    return type == QTYPE_f16 || type == QTYPE_bf16 ? PATH_DIRECT : PATH_UNPACK;
}

struct products_job {
    struct ops *o;
    const struct product *p;
    int n_product;
    const float *x;
    int64_t ld_x;
    uint64_t act_row_bytes;
    const int32_t *index;
};

static void round_row(void *arg, int64_t i, int thread)
{
    const struct products_job *j = arg;

    (void)thread;
    j->o->k.quant[QTYPE_q8a](j->o->act + (uint64_t)i * j->act_row_bytes, j->x + i * j->ld_x,
                             j->p[0].w.n_col);
}

static void product_row(const struct products_job *j, const struct product *p, int64_t r,
                        int thread)
{
    struct ops *o = j->o;
    enum path path = path_of(o, p->w.type);
    const uint8_t *row = p->w.data + (uint64_t)r * p->w.row_bytes;
    float *unpacked = ops_row(o, thread);
    int64_t n = p->w.n_col, place = weight_place(&p->w, r);

    if (path == PATH_UNPACK)
        ops_unpack_row(o, &p->w, r, unpacked);
    for (int64_t s = p->slot_begin; s < p->slot_end; s++) {
        int64_t i = j->index ? j->index[s] : s;
        const float *x = j->x + i * j->ld_x;
        float *y = p->y + s * p->ld_y + place;
        if (path == PATH_INTEGER)
            *y = o->k.dot[p->w.type](row, o->act + (uint64_t)i * j->act_row_bytes, n);
        else if (path == PATH_DIRECT)
            *y = o->k.dot[p->w.type](row, x, n);
        else
            *y = o->k.dot[QTYPE_f32](unpacked, x, n);
        if (!isfinite(*y) && path != PATH_UNPACK)
            ops_unpack_row(o, &p->w, r, unpacked);  /* blames the row when it is at fault */
    }
}

static int64_t jobs_of(const struct product *p)
{
    return p->slot_end > p->slot_begin ? (p->w.n_row + JOB_ROWS - 1) / JOB_ROWS : 0;
}

/* Products with no slots have no jobs; the list is short, so walking it costs little beside
 * JOB_ROWS rows of arithmetic. */
static void product_job(void *arg, int64_t job, int thread)
{
    const struct products_job *j = arg;
    const struct product *p = j->p;

    for (; job >= jobs_of(p); p++)
        job -= jobs_of(p);
    int64_t end = (job + 1) * JOB_ROWS < p->w.n_row ? (job + 1) * JOB_ROWS : p->w.n_row;
    for (int64_t r = job * JOB_ROWS; r < end; r++)
        product_row(j, p, r, thread);
}

void ops_products(struct ops *o, const struct product *p, int n_product, const float *x,
                  int64_t ld_x, int64_t n_x, const int32_t *index)
{
    struct products_job j = { o, p, n_product, x, ld_x, 0, index };
    int64_t n_job = 0;
    bool round = false;

    ASSERT(n_product >= 1 && n_product <= PRODUCTS_MAX);
    for (int i = 0; i < n_product; i++) {
        ASSERT(p[i].w.n_col == p[0].w.n_col && p[i].w.n_col <= o->limits.col);
        n_job += jobs_of(&p[i]);
        round = round || path_of(o, p[i].w.type) == PATH_INTEGER;
    }
    if (round) {
        ASSERT(n_x * p[0].w.n_col <= o->limits.act_elem);
        j.act_row_bytes = (uint64_t)qtype_row_bytes(QTYPE_q8a, p[0].w.n_col);
        pool_run(o->pool, n_x, round_row, &j);
    }
    if (o->profile)
        ops_count_products(o, p, n_product);
    pool_run(o->pool, n_job, product_job, &j);
}

void ops_matmul(struct ops *o, float *y, const struct weight *w, const float *x, int64_t n)
{
    struct product p = { .w = *w, .y = y, .ld_y = w->n_row, .slot_begin = 0, .slot_end = n };

    ops_products(o, &p, 1, x, w->n_col, n, NULL);
}
