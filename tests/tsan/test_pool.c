/* test_pool.c - the thread pool under ThreadSanitizer: every job once, every result visible.
 *
 * The writes of the jobs are plain memory: a missing release or acquire in the pool is a data
 * race here, which ThreadSanitizer reports and turns into a non-zero exit. */
#include "base/pool.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JOBS = 1000, LOOPS = 300 };

static int n_passed, n_failed;

static void expect(int ok, const char *what)
{
    if (ok) {
        n_passed++;
        return;
    }
    n_failed++;
    printf("FAIL  %s\n", what);
}

struct work { int done[JOBS]; int64_t sum_of_thread[16]; const int *input; };

static void add(void *arg, int64_t job, int thread)
{
    struct work *w = arg;

    w->done[job] += w->input[job];
    w->sum_of_thread[thread] += job;
}

/* Many short loops in a row; the input of each is written between them without a lock. */
static void each_job_runs_once_per_loop(int n_thread)
{
    struct work *w = calloc(1, sizeof(*w));
    int *input = calloc(JOBS, sizeof(*input));
    struct pool *p = NULL;
    int64_t sum = 0, expected = 0;
    int ok = 1;

    if (!w || !input || pool_new(&p, &(struct pool_options){ .n_thread = n_thread }) != OK) {
        expect(0, "a pool starts");
        free(input);
        free(w);
        return;
    }
    for (int loop = 0; loop < LOOPS; loop++) {
        int n = loop % 7 == 0 ? 1 : loop % 5 == 0 ? 0 : JOBS - loop;
        for (int i = 0; i < JOBS; i++)
            input[i] = loop + i;
        w->input = input;
        memset(w->done, 0, sizeof(w->done));
        pool_run(p, n, add, w);
        for (int i = 0; i < JOBS; i++)
            ok = ok && w->done[i] == (i < n ? loop + i : 0);
        expected += (int64_t)n * (n - 1) / 2;
    }
    for (int i = 0; i < 16; i++)
        sum += w->sum_of_thread[i];
    expect(ok, "each job runs exactly once and its result is visible after the loop");
    expect(sum == expected, "the thread number is the caller's own: no two jobs share it at once");
    expect(pool_threads(p) == n_thread, "the pool has the threads asked for");
    pool_free(p);
    free(input);
    free(w);
}

static void count(void *arg, int64_t job, int thread)
{
    int *each = arg;

    (void)thread;
    each[job]++;
}

static void a_pool_may_be_freed_at_once(void)
{
    int each[8] = { 0 };

    for (int i = 0; i < 500; i++) {
        struct pool *p = NULL;
        if (pool_new(&p, &(struct pool_options){ .n_thread = 1 + i % 5 }) != OK) {
            expect(0, "a pool starts");
            return;
        }
        for (int loop = 0; loop < i % 3; loop++)
            pool_run(p, 5, count, each);
        pool_free(p);
    }
    expect(each[0] == 499 && each[4] == 499, "a pool ends right after a loop, and without one");
}

/* --- loops of every length, workers in every state ----------------------------------------- */

struct random_loop { int64_t n; uint32_t seed; unsigned char *done; };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void sleep_us(long us)
{
    struct timespec t = { 0, us * 1000 };

    nanosleep(&t, NULL);
}

/* Some jobs are long, and a few give up their core. */
static void uneven(void *arg, int64_t job, int thread)
{
    struct random_loop *l = arg;
    uint32_t state = l->seed + (uint32_t)job;
    uint32_t kind = next_random(&state) % 4096;
    volatile uint32_t turns = kind < 512 ? kind * 4 : 8;

    (void)thread;
    while (turns)
        turns--;
    if (kind == 4095)
        sleep_us(200);
    l->done[job]++;
}

/* The record of each loop is freed after it: a worker that used it later would be found out. */
static int random_loop(struct pool *p, uint32_t *state)
{
    static const int64_t most[] = { 4, 40, 400, 4000, 200000 };
    uint32_t pick = next_random(state) % 64;
    struct random_loop *l = malloc(sizeof(*l));
    int ok = 1;

    if (!l)
        return 0;
    l->n = next_random(state) % most[pick ? pick % 4 : 4];
    l->seed = next_random(state);
    l->done = calloc((size_t)l->n + 1, 1);
    if (!l->done) {
        free(l);
        return 0;
    }
    pool_run(p, l->n, uneven, l);
    for (int64_t i = 0; i < l->n; i++)
        ok = ok && l->done[i] == 1;
    free(l->done);
    free(l);
    return ok;
}

static void random_loops(int n_thread)
{
    struct pool *p = NULL;
    uint32_t state = (uint32_t)n_thread;
    int ok = 1;

    if (pool_new(&p, &(struct pool_options){ .n_thread = n_thread }) != OK) {
        expect(0, "a pool starts");
        return;
    }
    for (int i = 0; i < LOOPS; i++) {
        ok = random_loop(p, &state) && ok;
        if (next_random(&state) % 8 == 0)
            sleep_us(next_random(&state) % 300);    /* some workers sleep, some still spin */
    }
    expect(ok, "whatever the length of a loop and whoever sleeps, each job runs exactly once");
    pool_free(p);
}

/* More loops than the pool lets a share's word grow old for. */
static void many_short_loops(void)
{
    struct pool *p = NULL;
    int each[8] = { 0 }, ok = 1, n = 70000;

    if (pool_new(&p, &(struct pool_options){ .n_thread = 4 }) != OK) {
        expect(0, "a pool starts");
        return;
    }
    for (int i = 0; i < n; i++)
        pool_run(p, 2 + i % 2, count, each);
    for (int job = 0; job < 8; job++)
        ok = ok && each[job] == (job < 2 ? n : job == 2 ? n / 2 : 0);
    expect(ok, "70,000 short loops in a row run each job exactly once");
    pool_free(p);
}

/* --- stealing ----------------------------------------------------------------------------- */

enum { STEAL_JOBS = 64 };

struct holding { atomic_int n_done; int64_t holder; };

static void hold(void *arg, int64_t job, int thread)
{
    struct holding *h = arg;

    (void)thread;
    while (job == h->holder && atomic_load(&h->n_done) < STEAL_JOBS - 1)
        sched_yield();
    atomic_fetch_add(&h->n_done, 1);
}

/* One job ends only when all others have: its thread must hold up nothing but that job. */
static void a_stuck_thread_loses_its_share(int n_thread)
{
    struct pool *p = NULL;
    struct holding h = { 0 };
    int ok = 1;

    if (pool_new(&p, &(struct pool_options){ .n_thread = n_thread }) != OK) {
        expect(0, "a pool starts");
        return;
    }
    for (int64_t holder = 0; holder < STEAL_JOBS; holder++) {
        h.holder = holder;
        atomic_store(&h.n_done, 0);
        pool_run(p, STEAL_JOBS, hold, &h);
        ok = ok && atomic_load(&h.n_done) == STEAL_JOBS;
    }
    expect(ok, "jobs behind one that does not end are taken by other threads");
    pool_free(p);
}

static void shares_cover_the_loop(int n_thread)
{
    static const int64_t lengths[] = { 0, 1, 2, 7, 64, 1000, 65535, 65536, 1000003 };
    struct pool *p = NULL;

    if (pool_new(&p, &(struct pool_options){ .n_thread = n_thread, .no_pin = true }) != OK) {
        expect(0, "a pool starts");
        return;
    }
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        int64_t at = 0, begin, end, n = lengths[i], most = 0;
        int ok = 1;
        for (int t = 0; t < n_thread; t++) {
            pool_share(p, n, t, &begin, &end);
            ok = ok && begin == at && end >= begin;
            most = end - begin > most ? end - begin : most;
            at = end;
        }
        expect(ok && at == n, "the shares of the threads follow each other and cover the loop");
        expect(most <= n / n_thread + n / 65535 + 1, "equal cores have equal shares");
    }
    pool_free(p);
}

int main(void)
{
    static const int threads[] = { 1, 2, 3, 8, 16 };

    for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++)
        each_job_runs_once_per_loop(threads[i]);
    for (size_t i = 1; i < sizeof(threads) / sizeof(*threads); i++) {
        random_loops(threads[i]);
        a_stuck_thread_loses_its_share(threads[i]);
        shares_cover_the_loop(threads[i]);
    }
    many_short_loops();
    a_pool_may_be_freed_at_once();
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed != 0;
}
