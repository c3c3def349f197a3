/* low_rank.c - low-rank changes of products: y += scale * b (a x), row by row.
 *
 * Each row is computed by itself in f32, so that its bits do not depend on which other rows have
 * which changes. */
#include "ops/ops_cpu.h"

struct low_rank_job {
    struct ops *o;
    const struct product *p;
    const struct low_rank_list *const *list;
    const float *x;
    int64_t ld_x;
    const int32_t *index;
};

void low_rank_row(struct ops *o, const struct low_rank *d, const float *x, float *y, int thread)
{
    float *row = ops_row(o, thread), *low = ops_low(o, thread);

    for (int64_t r = 0; r < d->a.n_row; r++) {
        ops_unpack_row(o, &d->a, r, row);
        low[r] = o->k.dot[QTYPE_f32](row, x, d->a.n_col);
    }
    for (int64_t r = 0; r < d->b.n_row; r++) {
        ops_unpack_row(o, &d->b, r, row);
        y[weight_place(&d->b, r)] += d->scale * o->k.dot[QTYPE_f32](row, low, d->b.n_col);
    }
}

static void low_rank_slot(void *arg, int64_t i, int thread)
{
    const struct low_rank_job *j = arg;
    int64_t s = j->p->slot_begin + i;
    const float *x = j->x + (j->index ? j->index[s] : s) * j->ld_x;

    for (int k = 0; j->list[i] && k < j->list[i]->n; k++)
        low_rank_row(j->o, &j->list[i]->item[k], x, j->p->y + s * j->p->ld_y, thread);
}

void ops_low_rank(struct ops *o, const struct product *p, const struct low_rank_list *const *list,
                  const float *x, int64_t ld_x, const int32_t *index)
{
    struct low_rank_job j = { o, p, list, x, ld_x, index };

    if (o->profile)
        ops_count_low_rank(o, p, list);
    pool_run(o->pool, p->slot_end - p->slot_begin, low_rank_slot, &j);
}
