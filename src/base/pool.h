/* pool.h - a fixed set of worker threads that run one loop at a time.
 *
 * pool_run() hands out the numbers 0 .. n_job-1, each exactly once, and returns when all are
 * done.  The caller's thread works too.  Each thread begins with one contiguous share of the
 * numbers, in rising order, as large as its core is fast: it reads one linear run of memory.  A
 * thread that is done takes half of what another has not begun; one that has not woken up, or
 * lost its core, is not waited for but for the job it is in.
 *
 * Jobs must write disjoint outputs and must not depend on which thread runs them: results are
 * then the same for any number of threads.  One pool_run() at a time, from the thread that made
 * the pool.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct pool;

/* `thread` is 0 .. n_thread-1, for scratch memory that jobs of one thread share. */
typedef void pool_fn(void *arg, int64_t job, int thread);

enum { POOL_THREADS_MAX = 1024 };

struct pool_options {
    int n_thread;                       /* with the caller's */
    bool no_pin;                        /* leave the choice of cores to the system; see seats.h */
    double cpu_quota;                   /* cores the control group allows; 0: no limit */
};

/* Start n_thread - 1 threads.  On success *out is yours: pool_free(), from the same thread.
 * Until then the calling thread, and what it starts, is kept to the cores of thread 0 (no_pin).
 * Errors: NOMEM, ARG. */
MUST_CHECK enum err pool_new(struct pool **out, const struct pool_options *o);
void pool_free(struct pool *p);

int pool_threads(const struct pool *p);

/* NUMA node (the system's number) of the cores a thread is kept on, 0 when it is not kept. */
int pool_node(const struct pool *p, int thread);

/* The jobs [*begin, *end) that are a thread's own share of a loop of n_job: the memory they read
 * is best placed on its node.  Shares follow each other in the order of the threads. */
void pool_share(const struct pool *p, int64_t n_job, int thread, int64_t *begin, int64_t *end);

/* Run fn(arg, job, thread) for every job; everything it wrote is visible afterwards. */
void pool_run(struct pool *p, int64_t n_job, pool_fn *fn, void *arg);

#endif
