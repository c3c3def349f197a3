/* queue.h - what waits for the engine: bounded, and fair between parties.
 *
 * Pure: no clock, no lock, no memory of its own but a count per party.  An item lies in what waits
 * (a sequence) and is the caller's.  From one thread at a time.
 *
 *   queue_room -> queue_put ... -> queue_take -> (in work) -> queue_done
 *                       `-> queue_remove
 */
#ifndef SERVE_QUEUE_H
#define SERVE_QUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct queue_item { struct queue_item *next, *prev; uint64_t party; int64_t n_tok; };

struct queue_party { uint64_t id; int32_t n_work; };

struct queue {
    int64_t item_max, tok_max;
    int64_t n_item, n_tok;              /* that wait */
    struct queue_item *first, *last;    /* in order of arrival */
    struct queue_party *party;          /* [n_party], of what is in work */
    int32_t n_party, work_max;
};

/* At most `work_max` are in work at once.  Errors: NOMEM. */
MUST_CHECK enum err queue_init(struct queue *q, int64_t item_max, int64_t tok_max,
                               int32_t work_max);
void queue_release(struct queue *q);

/* Whether a request of n items with n_tok tokens together may come in: within the bounds, or
 * whatever its size when nothing waits. */
bool queue_room(const struct queue *q, int64_t n, int64_t n_tok);

/* item->party and n_tok are set. */
void queue_put(struct queue *q, struct queue_item *item);
void queue_remove(struct queue *q, struct queue_item *item);

/* The oldest of the party that has least in work; it is in work then.  NULL: none waits, or
 * work_max are in work. */
struct queue_item *queue_take(struct queue *q);
void queue_done(struct queue *q, uint64_t party);

#endif
