/* pool.h - a fixed set of worker threads that run one loop at a time.
 *
 * pool_run() hands out the numbers 0 .. n_job-1, each exactly once, to whichever thread is
 * free, and returns when all are done.  The caller's thread works too.  Jobs must write
 * disjoint outputs and must not depend on which thread runs them: results are then the same
 * for any number of threads.  One pool_run() at a time, from one thread.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/err.h"

#include <stdint.h>

struct pool;

/* `thread` is 0 .. n_thread-1, for scratch memory that jobs of one thread share. */
typedef void pool_fn(void *arg, int64_t job, int thread);

enum { POOL_THREADS_MAX = 1024 };

/* Start n_thread - 1 threads.  On success *out is yours: pool_free().  Errors: NOMEM, ARG. */
MUST_CHECK enum err pool_new(struct pool **out, int n_thread);
void pool_free(struct pool *p);

int pool_threads(const struct pool *p);

/* Run fn(arg, job, thread) for every job; everything it wrote is visible afterwards. */
void pool_run(struct pool *p, int64_t n_job, pool_fn *fn, void *arg);

#endif
