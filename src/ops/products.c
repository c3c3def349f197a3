/* products.c - matrix products: lists of weights times rounded or exact activations.
 *
 * A job is a block of weight rows of one product, for all its slots, so that a weight is read
 * once.  Which arithmetic a weight gets depends on its type and on --exact alone:
 *
 *   types with tiles     the type's tile product (kernels/tile.h) on activations rounded once per
 *                        list (to q8a, or to bf16 where that pays), or on f32 ones; rows in the
 *                        file's layout are packed on the way: both layouts give the same bits
 *   F8_E4M3              the product of f32 tiles: 16 rows are unpacked into a group of them, with
 *                        their blocks' scales, once for all slots of a job
 *   --exact              the row is unpacked to f32, then dot[f32]: the definition
 */
#include "ops/ops_cpu.h"

#include <string.h>

/* So few activations are rounded sooner than another thread takes a part of them. */
enum { ROUND_ALONE = 8192, PRODUCTS_MAX = 4096 };

/* The type whose tile product a type gets. */
static enum qtype tile_type(enum qtype type)
{
    return tile_has(type) ? type : QTYPE_f32;
}

enum qtype ops_act_of(const struct ops *o, const struct product *p, enum qtype type)
{
    if (o->exact)
        return QTYPE_f32;
    return type == QTYPE_bf16 && o->k.mul_bf16 && !p->f32 ? QTYPE_bf16 : qtype_info[type].act;
}

struct products_job {
    struct ops *o;
    const struct product *p;
    int n_product;
    const float *x;
    int64_t ld_x;
    const int32_t *index;
    bool q8a, bf16;                     /* forms that a product of the list wants */
    int64_t *first;                     /* the first job of each product */
};

/* Rows of rounded activations are kept from lying a power of two apart: such rows would share
 * few lines of the cache. */
static uint64_t act_row_bytes(enum qtype act, int64_t n_col)
{
    return ((uint64_t)qtype_row_bytes(act, n_col) + 63) / 64 * 64 + 64;
}

uint64_t ops_act_bytes(int64_t n_elem)
{
    return (uint64_t)(n_elem + 31) / 32 * (sizeof(struct block_q8a) + 64);
}

static uint8_t *act_row(const struct products_job *j, enum qtype act, int64_t i)
{
    uint8_t *rows = act == QTYPE_q8a ? j->o->act : j->o->act_bf16;

    return rows + (uint64_t)i * act_row_bytes(act, j->p[0].w.n_col);
}

static void round_row(void *arg, int64_t i, int thread)
{
    const struct products_job *j = arg;
    const float *x = j->x + i * j->ld_x;

    (void)thread;
    if (j->q8a)
        j->o->k.quant[QTYPE_q8a](act_row(j, QTYPE_q8a, i), x, j->p[0].w.n_col);
    if (j->bf16)
        j->o->k.quant[QTYPE_bf16](act_row(j, QTYPE_bf16, i), x, j->p[0].w.n_col);
}

/* The row of x that slot s works on. */
static int64_t x_row(const struct products_job *j, int64_t s)
{
    return j->index ? j->index[s] : s;
}

/* Groups of 16 rows that a job takes at once.  Short jobs balance the threads of a step that is
 * over in microseconds. */
static int job_groups(const struct product *p)
{
    return p->slot_end - p->slot_begin > TILE_FEW ? TILE_GROUPS_MAX : 2;
}

/* The groups from row r on in tiles: as they lie, or packed into the thread's scratch. */
static const uint8_t *groups_at(struct ops *o, const struct weight *w, int64_t r, int n_group,
                                int thread)
{
    uint64_t group_bytes = tile_group_bytes(tile_type(w->type), w->n_col);

    if (w->layout == LAYOUT_tiles)
        return w->data + (uint64_t)(r / TILE_ROWS) * group_bytes;
    for (int g = 0; g < n_group; g++, r += TILE_ROWS) {
        uint8_t *group = ops_tiles(o, thread) + (uint64_t)g * group_bytes;
        int64_t n = w->n_row - r < TILE_ROWS ? w->n_row - r : TILE_ROWS;
        if (tile_has(w->type))
            tile_pack(w->type, group, w->data + (uint64_t)r * w->row_bytes, w->row_bytes, (int)n,
                      w->n_col);
        else
            ops_unpack_group(o, w, r, n, (float *)group);
    }
    return ops_tiles(o, thread);
}

/* The block of results a job works on: rows r .. r + n_row - 1 of a product for n_slot slots from
 * s on, each slot's `n_row` values ld apart in `out`. */
struct block { int64_t r, n_row, s, n_slot, ld; int thread; };

static void tile_block(const struct products_job *j, const struct product *p,
                       const struct weight *w, const struct block *b, float *out)
{
    struct ops *o = j->o;
    int n_group = (int)((b->n_row + TILE_ROWS - 1) / TILE_ROWS);
    const void *x[TILE_TOK_MAX];
    float *to[TILE_TOK_MAX];
    enum qtype act = ops_act_of(o, p, w->type);
    struct tile_mul m = { to, x, b->n_slot, groups_at(o, w, b->r, n_group, b->thread),
                          n_group, w->n_col, ops_acc(o, b->thread) };

    for (int64_t i = 0; i < b->n_slot; i++) {
        int64_t row = x_row(j, b->s + i);
        to[i] = out + i * b->ld;
        x[i] = act == QTYPE_f32 ? (const void *)(j->x + row * j->ld_x) : act_row(j, act, row);
    }
    (act == QTYPE_bf16 ? o->k.mul_bf16 : o->k.mul[tile_type(w->type)])(&m);
}

static void unpacked_block(const struct products_job *j, const struct weight *w,
                           const struct block *b, float *out)
{
    float *row = ops_row(j->o, b->thread);

    for (int64_t r = 0; r < b->n_row; r++) {
        ops_unpack_row(j->o, w, b->r + r, row);
        for (int64_t i = 0; i < b->n_slot; i++)
            out[i * b->ld + r] = j->o->k.dot[QTYPE_f32](row, j->x + x_row(j, b->s + i) * j->ld_x,
                                                        w->n_col);
    }
}

static void multiply(const struct products_job *j, const struct product *p,
                     const struct weight *w, const struct block *b, float *out)
{
    bool finite = true;

    if (j->o->exact) {
        unpacked_block(j, w, b, out);
        return;
    }
    tile_block(j, p, w, b, out);
    for (int64_t i = 0; i < b->n_slot; i++)
        finite = finite && j->o->k.all_finite(out + i * b->ld, b->n_row);
    for (int64_t r = 0; r < b->n_row && !finite; r++)   /* blames a row when it is at fault */
        ops_unpack_row(j->o, w, b->r + r, ops_row(j->o, b->thread));
}

/* Put a slot's n_row results where they belong. */
static void place(const struct ops *o, const struct product *p, const struct block *b, int64_t i,
                  const float *out)
{
    float *y = p->y + (b->s + i) * p->ld_y;

    if (p->w.pair_head)
        for (int64_t r = 0; r < b->n_row; r++)
            y[weight_place(&p->w, b->r + r)] = out[r];
    else if (p->add)
        o->k.axpy(y + b->r, 1, out, b->n_row);
    else
        memcpy(y + b->r, out, (size_t)b->n_row * sizeof(float));
}

static void product_rows(const struct products_job *j, const struct product *p, int64_t r,
                         int64_t n_row, int thread)
{
    struct ops *o = j->o;
    float *out = ops_out(o, thread, 0), *up = ops_out(o, thread, 1);
    struct block b = { r, n_row, 0, 0, (n_row + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS, thread };

    for (b.s = p->slot_begin; b.s < p->slot_end; b.s += b.n_slot) {
        b.n_slot = p->slot_end - b.s < TILE_TOK_MAX ? p->slot_end - b.s : TILE_TOK_MAX;
        multiply(j, p, &p->w, &b, out);
        if (p->up)
            multiply(j, p, p->up, &b, up);
        for (int64_t i = 0; i < b.n_slot; i++) {
            if (p->up)
                o->k.swiglu(out + i * b.ld, out + i * b.ld, up + i * b.ld, n_row);
            place(o, p, &b, i, out + i * b.ld);
        }
    }
}

static int64_t jobs_of(const struct product *p)
{
    int64_t rows = job_groups(p) * TILE_ROWS;

    return p->slot_end > p->slot_begin ? (p->w.n_row + rows - 1) / rows : 0;
}

/* Products with no slots have no jobs. */
static void product_job(void *arg, int64_t job, int thread)
{
    const struct products_job *j = arg;
    int low = 0, high = j->n_product - 1;

    while (low < high) {                /* the last product that begins at or before the job */
        int middle = (low + high + 1) / 2;
        if (j->first[middle] <= job)
            low = middle;
        else
            high = middle - 1;
    }
    const struct product *p = &j->p[low];
    int64_t rows = job_groups(p) * TILE_ROWS, r = (job - j->first[low]) * rows;
    product_rows(j, p, r, r + rows < p->w.n_row ? rows : p->w.n_row - r, thread);
}

static void note_act(struct products_job *j, const struct product *p, enum qtype type)
{
    enum qtype act = ops_act_of(j->o, p, type);

    j->q8a = j->q8a || act == QTYPE_q8a;
    j->bf16 = j->bf16 || act == QTYPE_bf16;
}

void products_run(struct ops *o, const struct product *p, int n_product, const float *x,
                  int64_t ld_x, int64_t n_x, const int32_t *index)
{
    struct products_job j = { o, p, n_product, x, ld_x, index, false, false, NULL };
    int64_t first[PRODUCTS_MAX], n_job = 0;

    ASSERT(n_product >= 1 && n_product <= PRODUCTS_MAX);
    j.first = first;
    for (int i = 0; i < n_product; i++) {
        ASSERT(p[i].w.n_col == p[0].w.n_col && p[i].w.n_col <= o->limits.col);
        first[i] = n_job;
        n_job += jobs_of(&p[i]);
        note_act(&j, &p[i], p[i].w.type);
        if (p[i].up)
            note_act(&j, &p[i], p[i].up->type);
    }
    if (j.q8a || j.bf16) {
        ASSERT(n_x * p[0].w.n_col <= o->limits.act_elem);
        for (int64_t i = 0; i < n_x && n_x * p[0].w.n_col <= ROUND_ALONE; i++)
            round_row(&j, i, 0);
        if (n_x * p[0].w.n_col > ROUND_ALONE)
            pool_run(o->pool, n_x, round_row, &j);
    }
    pool_run(o->pool, n_job, product_job, &j);
}

void ops_products(struct ops *o, const struct product *p, int n_product, const float *x,
                  int64_t ld_x, int64_t n_x, const int32_t *index)
{
    if (o->profile)
        ops_count_products(o, p, n_product);
    products_run(o, p, n_product, x, ld_x, n_x, index);
}

void ops_matmul(struct ops *o, float *y, const struct weight *w, const float *x, int64_t n)
{
    struct product p = { .w = *w, .y = y, .ld_y = w->n_row, .slot_begin = 0, .slot_end = n };

    ops_products(o, &p, 1, x, w->n_col, n, NULL);
}
