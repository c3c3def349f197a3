/* test_pool.c - the thread pool under ThreadSanitizer: every job once, every result visible.
 *
 * The writes of the jobs are plain memory: a missing release or acquire in the pool is a data
 * race here, which ThreadSanitizer reports and turns into a non-zero exit. */
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

    if (!w || !input || pool_new(&p, n_thread) != OK) {
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

static void a_pool_may_be_freed_at_once(void)
{
    for (int i = 0; i < 50; i++) {
        struct pool *p = NULL;
        if (pool_new(&p, 1 + i % 5) != OK) {
            expect(0, "a pool starts");
            return;
        }
        pool_free(p);
    }
    expect(1, "a pool that ran nothing ends");
}

int main(void)
{
    static const int threads[] = { 1, 2, 3, 8, 16 };

    for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++)
        each_job_runs_once_per_loop(threads[i]);
    a_pool_may_be_freed_at_once();
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed != 0;
}
