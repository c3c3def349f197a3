/* pool.c - worker threads that spin briefly for the next loop and then sleep.
 *
 *   caller: set loop, generation++ (release) -> wake sleepers -> work -> wait for busy == 0
 *   worker: wait until generation changes (acquire) -> work -> busy-- (release)
 *
 * `next` is the next job number.  A worker that comes late finds next >= n_job and goes back;
 * the caller returns only when every worker has left the loop, so the loop record is never
 * read while it changes.  The spin is short because a neighbour on the same core needs it more.
 */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPIN = 4000 };

struct worker { struct pool *pool; pthread_t id; int thread; };

struct pool {
    int n_thread;                       /* with the caller */
    int n_started;                      /* workers that exist */
    struct worker *worker;
    pthread_mutex_t lock;               /* guards the sleeping and waking, nothing else */
    pthread_cond_t wake, done;
    atomic_uint generation;
    atomic_int busy;
    atomic_bool quit;
    atomic_int_fast64_t next;
    int64_t n_job;                      /* the current loop: written before generation++ */
    pool_fn *fn;
    void *arg;
};

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void work(struct pool *p, int thread)
{
    int64_t job;

    while ((job = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n_job)
        p->fn(p->arg, job, thread);
}

static unsigned wait_for_loop(struct pool *p, unsigned seen)
{
    unsigned now;

    for (int i = 0; i < SPIN; i++) {
        if ((now = atomic_load_explicit(&p->generation, memory_order_acquire)) != seen)
            return now;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    while ((now = atomic_load_explicit(&p->generation, memory_order_acquire)) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;

    for (;;) {
        seen = wait_for_loop(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        work(p, w->thread);
        if (atomic_fetch_sub_explicit(&p->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void publish(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_release);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void wait_for_workers(struct pool *p)
{
    for (int i = 0; i < SPIN; i++) {
        if (atomic_load_explicit(&p->busy, memory_order_acquire) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load_explicit(&p->busy, memory_order_acquire) != 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, int64_t n_job, pool_fn *fn, void *arg)
{
    p->n_job = n_job;
    p->fn = fn;
    p->arg = arg;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    if (n_job < 2 || p->n_thread < 2) {
        work(p, 0);
        return;
    }
    atomic_store_explicit(&p->busy, p->n_thread - 1, memory_order_relaxed);
    publish(p);
    work(p, 0);
    wait_for_workers(p);
}

enum err pool_new(struct pool **out, int n_thread)
{
    struct pool *p;

    *out = NULL;
    if (n_thread < 1 || n_thread > POOL_THREADS_MAX)
        return err_set(ERR_ARG, "POOL-01", "%d threads: give a number from 1 to %d, for example "
                       "--threads 8", n_thread, POOL_THREADS_MAX);
    if (!(p = calloc(1, sizeof(*p))))
        return err_set(ERR_NOMEM, "POOL-02", "no memory for %d threads", n_thread);
    p->n_thread = n_thread;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    if (!(p->worker = calloc((size_t)n_thread, sizeof(*p->worker)))) {
        pool_free(p);
        return err_set(ERR_NOMEM, "POOL-03", "no memory for %d threads", n_thread);
    }
    for (int i = 1; i < n_thread; i++) {
        struct worker *w = &p->worker[i];
        *w = (struct worker){ .pool = p, .thread = i };
        if (pthread_create(&w->id, NULL, worker_main, w) != 0) {
            pool_free(p);
            return err_set(ERR_NOMEM, "POOL-04", "the system allows only %d of %d threads; "
                           "use --threads %d", i, n_thread, i);
        }
        p->n_started = i;
    }
    *out = p;
    return OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    atomic_store_explicit(&p->quit, true, memory_order_release);
    publish(p);
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->worker[i].id, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_thread;
}
