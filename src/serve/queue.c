/* queue.c - see queue.h. */
#include "serve/queue.h"

#include <stdlib.h>

enum err queue_init(struct queue *q, int64_t item_max, int64_t tok_max, int32_t work_max)
{
    *q = (struct queue){ .item_max = item_max, .tok_max = tok_max, .work_max = work_max };
    q->party = calloc((size_t)work_max, sizeof(*q->party));
    return q->party ? OK : err_set(ERR_NOMEM, "SERVE-01", "no memory for a queue; use a smaller "
                                   "--parallel");
}

void queue_release(struct queue *q)
{
    free(q->party);
    *q = (struct queue){ 0 };
}

bool queue_room(const struct queue *q, int64_t n, int64_t n_tok)
{
    return !q->n_item || (n <= q->item_max - q->n_item && n_tok <= q->tok_max - q->n_tok);
}

void queue_put(struct queue *q, struct queue_item *item)
{
    item->next = NULL;
    item->prev = q->last;
    if (q->last)
        q->last->next = item;
    else
        q->first = item;
    q->last = item;
    q->n_item++;
    q->n_tok += item->n_tok;
}

void queue_remove(struct queue *q, struct queue_item *item)
{
    if (item->prev)
        item->prev->next = item->next;
    else
        q->first = item->next;
    if (item->next)
        item->next->prev = item->prev;
    else
        q->last = item->prev;
    item->next = item->prev = NULL;
    q->n_item--;
    q->n_tok -= item->n_tok;
}

static struct queue_party *find(const struct queue *q, uint64_t party)
{
    for (int32_t i = 0; i < q->n_party; i++)
        if (q->party[i].id == party)
            return &q->party[i];
    return NULL;
}

struct queue_item *queue_take(struct queue *q)
{
    struct queue_item *best = NULL;
    struct queue_party *p;
    int32_t least = INT32_MAX, n_work = 0;

    for (int32_t i = 0; i < q->n_party; i++)
        n_work += q->party[i].n_work;
    if (n_work == q->work_max)
        return NULL;
    for (struct queue_item *item = q->first; item && least > 0; item = item->next) {
        p = find(q, item->party);
        if ((p ? p->n_work : 0) < least) {
            least = p ? p->n_work : 0;
            best = item;
        }
    }
    if (!best)
        return NULL;
    queue_remove(q, best);
    p = find(q, best->party);
    if (!p) {                           /* each party in the list has one in work: there is room */
        p = &q->party[q->n_party++];
        *p = (struct queue_party){ .id = best->party };
    }
    p->n_work++;
    return best;
}

void queue_done(struct queue *q, uint64_t party)
{
    struct queue_party *p = find(q, party);

    ASSERT(p && p->n_work > 0);
    if (--p->n_work == 0)
        *p = q->party[--q->n_party];
}
