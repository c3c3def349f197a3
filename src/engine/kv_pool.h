/* kv_pool.h - KV pages of one region, counted, shared between sequences, copied when written.
 *
 *   free --(grow)--> held once --(share)--> held n times --(cut, release)--> ... --> free
 *
 * A page holds KV_PAGE_TOK tokens of one sequence (ops/kv.h).  Sequences with the same beginning
 * hold the same pages.  A page held more than once is never written: who writes in it gets a copy
 * first.  Always true: the sum over all views of their pages is the sum of the counts.
 *
 * The region is reserved whole and given by the system as pages are touched, in huge pages where
 * it can.  A pool and its views are used from one thread.
 */
#ifndef ENGINE_KV_POOL_H
#define ENGINE_KV_POOL_H

#include "base/err.h"
#include "ops/kv.h"

#include <stdbool.h>
#include <stdint.h>

struct kv_pool;

/* Pages a sequence of n_tok tokens needs. */
static inline int64_t kv_pages(int64_t n_tok)
{
    return (n_tok + KV_PAGE_TOK - 1) / KV_PAGE_TOK;
}

/* Room for n_page pages of page_bytes each.  On success *out is yours: kv_pool_free(), after its
 * views.  Errors: NOMEM (address space). */
MUST_CHECK enum err kv_pool_new(struct kv_pool **out, uint64_t page_bytes, int64_t n_page);
void kv_pool_free(struct kv_pool *p);

int64_t kv_pool_total(const struct kv_pool *p);
int64_t kv_pool_unused(const struct kv_pool *p);        /* pages that nobody holds */

/* An empty view that can hold up to n_page pages; kv_view_release() it.  Errors: NOMEM. */
MUST_CHECK enum err kv_view_init(struct kv_view *v, int64_t n_page);
void kv_view_release(struct kv_pool *p, struct kv_view *v);

/* Pages it takes from the pool to write tokens n_old .. n_new-1 behind n_old that are there: new
 * ones, and a copy of a shared last one. */
int64_t kv_pool_need(const struct kv_pool *p, const struct kv_view *v, int64_t n_old,
                     int64_t n_new);

/* Take them.  False when there are too few; nothing is changed then. */
bool kv_pool_grow(struct kv_pool *p, struct kv_view *v, int64_t n_old, int64_t n_new);

/* An empty view gets the pages that hold the first n_tok tokens of another. */
void kv_pool_share(struct kv_pool *p, struct kv_view *v, const struct kv_view *from,
                   int64_t n_tok);

/* Give back the pages behind the first n_tok tokens. */
void kv_pool_cut(struct kv_pool *p, struct kv_view *v, int64_t n_tok);

/* Pages held by another than a view: hold one of a view's, and give it back; by how many it is
 * held. */
void kv_pool_hold(struct kv_pool *p, const uint8_t *page);
void kv_pool_drop(struct kv_pool *p, const uint8_t *page);
uint32_t kv_pool_held(const struct kv_pool *p, const uint8_t *page);

#endif
