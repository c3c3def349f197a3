/* products.c - matrix products: lists of weights times rounded or exact activations.
 *
 * A job is a block of weight rows of one product, for all its slots, so that a weight is read
 * once.  Which arithmetic a weight gets depends on its type and on --exact alone:
 *
 *   types with tiles     the type's tile product (kernels/tile.h) on activations rounded to q8a
 *                        once per list, or on f32 ones for the float types; rows in the file's
 *                        layout are packed on the way, so that both layouts give the same bits
 *   all others, --exact  the row is unpacked to f32, then dot[f32]: the definition
 */
#include "ops/ops_cpu.h"

#include <string.h>

/* Few slots are bound by memory: a job is then one group, read as one linear run. */
enum { FEW_SLOTS = 4, PRODUCTS_MAX = 4096 };

static bool has_tiles(const struct ops *o, enum qtype type)
{
    return !o->exact && tile_has(type);
}

static bool is_rounded(const struct ops *o, enum qtype type)
{
    return has_tiles(o, type) && qtype_info[type].act == QTYPE_q8a;
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

/* Rows of rounded activations are kept from lying a power of two apart: such rows would share
 * few lines of the cache. */
static uint64_t act_row_bytes(int64_t n_col)
{
    return (uint64_t)qtype_row_bytes(QTYPE_q8a, n_col) + 64;
}

uint64_t ops_act_bytes(int64_t n_elem)
{
    return (uint64_t)(n_elem + 31) / 32 * (sizeof(struct block_q8a) + 64);
}

static void round_row(void *arg, int64_t i, int thread)
{
    const struct products_job *j = arg;

    (void)thread;
    j->o->k.quant[QTYPE_q8a](j->o->act + (uint64_t)i * j->act_row_bytes, j->x + i * j->ld_x,
                             j->p[0].w.n_col);
}

/* The row of x that slot s works on. */
static int64_t x_row(const struct products_job *j, int64_t s)
{
    return j->index ? j->index[s] : s;
}

/* Groups of 16 rows that a job takes at once. */
static int job_groups(const struct product *p)
{
    return p->slot_end - p->slot_begin > FEW_SLOTS ? TILE_GROUPS_MAX : 1;
}

/* The groups from row r on in tiles: as they lie, or packed into the thread's scratch. */
static const uint8_t *groups_at(struct ops *o, const struct weight *w, int64_t r, int n_group,
                                int thread)
{
    uint64_t group_bytes = tile_group_bytes(w->type, w->n_col);

    if (w->layout == LAYOUT_tiles)
        return w->data + (uint64_t)(r / TILE_ROWS) * group_bytes;
    for (int g = 0; g < n_group; g++, r += TILE_ROWS) {
        int64_t n = w->n_row - r < TILE_ROWS ? w->n_row - r : TILE_ROWS;
        tile_pack(w->type, ops_tiles(o, thread) + (uint64_t)g * group_bytes,
                  w->data + (uint64_t)r * w->row_bytes, w->row_bytes, (int)n, w->n_col);
    }
    return ops_tiles(o, thread);
}

/* Put n_row results of slots from `s` on where they belong, and blame rows that are not finite. */
static void place_rows(const struct products_job *j, const struct product *p, int64_t r,
                       int64_t n_row, int64_t s, int64_t n_slot, float *const *y, int thread)
{
    bool finite = true;

    for (int64_t i = 0; i < n_slot; i++) {
        float *to = p->y + (s + i) * p->ld_y;
        finite = finite && j->o->k.all_finite(y[i], n_row);
        for (int64_t k = 0; k < n_row && y[i] != to + r; k++)
            to[weight_place(&p->w, r + k)] = y[i][k];
    }
    for (int64_t k = 0; k < n_row && !finite; k++)
        ops_unpack_row(j->o, &p->w, r + k, ops_row(j->o, thread));
}

static void tile_job(const struct products_job *j, const struct product *p, int64_t r,
                     int n_group, int thread)
{
    struct ops *o = j->o;
    int64_t n_row = p->w.n_row - r < n_group * TILE_ROWS ? p->w.n_row - r : n_group * TILE_ROWS;
    bool direct = !p->w.pair_head && n_row == n_group * TILE_ROWS;
    const void *x[TILE_TOK_MAX];
    float *y[TILE_TOK_MAX];
    struct tile_mul m = { y, x, 0, groups_at(o, &p->w, r, n_group, thread), n_group, p->w.n_col,
                          ops_acc(o, thread) };

    for (int64_t s = p->slot_begin; s < p->slot_end; s += m.n_x) {
        m.n_x = p->slot_end - s < TILE_TOK_MAX ? p->slot_end - s : TILE_TOK_MAX;
        for (int64_t i = 0; i < m.n_x; i++) {
            int64_t row = x_row(j, s + i);
            x[i] = is_rounded(o, p->w.type) ? (const void *)(o->act + (uint64_t)row *
                   j->act_row_bytes) : j->x + row * j->ld_x;
            y[i] = direct ? p->y + (s + i) * p->ld_y + r :
                   ops_placed(o, thread) + i * n_group * TILE_ROWS;
        }
        o->k.mul[p->w.type](&m);
        place_rows(j, p, r, n_row, s, m.n_x, y, thread);
    }
}

static void unpacked_rows(const struct products_job *j, const struct product *p, int64_t r,
                          int64_t n_row, int thread)
{
    struct ops *o = j->o;
    float *row = ops_row(o, thread);

    for (; n_row > 0; n_row--, r++) {
        ops_unpack_row(o, &p->w, r, row);
        for (int64_t s = p->slot_begin; s < p->slot_end; s++)
            p->y[s * p->ld_y + weight_place(&p->w, r)] =
                o->k.dot[QTYPE_f32](row, j->x + x_row(j, s) * j->ld_x, p->w.n_col);
    }
}

static int64_t jobs_of(const struct product *p)
{
    int64_t rows = job_groups(p) * TILE_ROWS;

    return p->slot_end > p->slot_begin ? (p->w.n_row + rows - 1) / rows : 0;
}

/* Products with no slots have no jobs; the list is short, so walking it costs little beside a
 * job's arithmetic. */
static void product_job(void *arg, int64_t job, int thread)
{
    const struct products_job *j = arg;
    const struct product *p = j->p;

    for (; job >= jobs_of(p); p++)
        job -= jobs_of(p);
    int64_t rows = job_groups(p) * TILE_ROWS, r = job * rows;
    int64_t n_row = r + rows < p->w.n_row ? rows : p->w.n_row - r;
    if (has_tiles(j->o, p->w.type))
        tile_job(j, p, r, (int)((n_row + TILE_ROWS - 1) / TILE_ROWS), thread);
    else
        unpacked_rows(j, p, r, n_row, thread);
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
        round = round || is_rounded(o, p[i].w.type);
    }
    if (round) {
        ASSERT(n_x * p[0].w.n_col <= o->limits.act_elem);
        j.act_row_bytes = act_row_bytes(p[0].w.n_col);
        pool_run(o->pool, n_x, round_row, &j);
    }
    pool_run(o->pool, n_job, product_job, &j);
}

void ops_matmul(struct ops *o, float *y, const struct weight *w, const float *x, int64_t n)
{
    struct product p = { .w = *w, .y = y, .ld_y = w->n_row, .slot_begin = 0, .slot_end = n };

    ops_products(o, &p, 1, x, w->n_col, n, NULL);
}
