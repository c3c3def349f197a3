/* pool_speed.c - what a barrier of the thread pool costs, and what busy neighbours leave of a loop.
 *
 *   build/pool_speed [seconds per figure [threads]]
 *
 * A neighbour is a process that only computes, free to run on any processor.  The loops imitate
 * a decode step: 200 barriers of some 10 to 100 us, reading 256 MB in all, or computing.  The
 * neighbours' figures are shares of the quiet speed measured between them.  Run it in a control
 * group with a quota to see what that leaves.
 */
#include "base/cgroup.h"
#include "base/pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BARRIERS = 200, JOBS = 64, BYTES = 256 << 20, TURNS = 5 };

static volatile uint64_t sink[POOL_THREADS_MAX * 8];
static uint64_t *memory;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void empty(void *arg, int64_t job, int thread)
{
    (void)arg;
    (void)job;
    (void)thread;
}

static void compute(void *arg, int64_t job, int thread)
{
    uint64_t x = (uint64_t)job + 1;

    (void)arg;
    for (int i = 0; i < 4000; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    sink[thread * 8] += x;
}

/* Barrier k reads the k-th part of the memory, each job a run of it. */
static void read_memory(void *arg, int64_t job, int thread)
{
    size_t n = BYTES / sizeof(*memory) / BARRIERS / JOBS;
    const uint64_t *at = memory + ((size_t)*(int *)arg * JOBS + (size_t)job) * n;
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += at[i];
    sink[thread * 8] += sum;
}

/* Steps per second. */
static double speed(struct pool *p, pool_fn *fn, double seconds)
{
    double begin = now(), end;
    int n = 0;

    do {
        for (int k = 0; k < BARRIERS; k++)
            pool_run(p, JOBS, fn, &k);
        n++;
    } while ((end = now()) - begin < seconds);
    return n / (end - begin);
}

static pid_t neighbour(void)
{
    pid_t id = fork();

    if (id == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            compute(NULL, 1, 0);
    }
    return id;
}

static void short_job(void *arg, int64_t job, int thread)
{
    uint64_t x = (uint64_t)job + 1;

    for (int i = 0; i < *(int *)arg; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    sink[thread * 8] += x;
}

/* One job of some 2 us for each thread, beside the same job without a pool. */
static void barrier_cost(struct pool *p)
{
    int spins = 2000;
    double best[3] = { 1, 1, 1 };

    for (int turn = 0; turn < 150; turn++) {
        double begin = now(), each;
        for (int i = 0; i < 2000; i++)
            if (turn % 3 == 0)
                short_job(&spins, 1, 0);
            else
                pool_run(p, pool_threads(p), turn % 3 == 1 ? short_job : empty, &spins);
        each = (now() - begin) / 2000;
        best[turn % 3] = each < best[turn % 3] ? each : best[turn % 3];
    }
    printf("%d threads: empty loop %.0f ns; one job of %.0f ns for each thread %.0f ns\n",
           pool_threads(p), best[2] * 1e9, best[0] * 1e9, best[1] * 1e9);
}

static int up(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void beside(struct pool *p, const char *what, pool_fn *fn, int n, double seconds)
{
    double share[TURNS], steps = 0;

    for (int turn = 0; turn < TURNS; turn++) {
        pid_t id[8];
        double quiet = speed(p, fn, seconds), loud;
        for (int i = 0; i < n; i++)
            id[i] = neighbour();
        speed(p, fn, 0.1);
        loud = speed(p, fn, seconds);
        for (int i = 0; i < n; i++) {
            kill(id[i], SIGKILL);
            waitpid(id[i], NULL, 0);
        }
        share[turn] = loud / quiet;
        steps = quiet > steps ? quiet : steps;
    }
    qsort(share, TURNS, sizeof(*share), up);
    printf("%s beside %d busy neighbour%s: %.0f %% (%.0f to %.0f; quiet %.1f us a barrier)\n", what,
           n, n == 1 ? "" : "s", share[TURNS / 2] * 100, share[0] * 100, share[TURNS - 1] * 100,
           1e6 / steps / BARRIERS);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    int n_thread = argc > 2 ? atoi(argv[2]) : 2;
    struct cgroup_limits limits;
    struct pool *p;

    cgroup_read(&limits, "");
    memory = malloc(BYTES);
    if (!memory || pool_new(&p, &(struct pool_options){ .n_thread = n_thread,
                                                        .cpu_quota = limits.cpu_quota })) {
        fprintf(stderr, "%s\n", memory ? err_text() : "no memory");
        return 1;
    }
    memset(memory, 1, BYTES);
    barrier_cost(p);
    printf("computing %.1f us a barrier", 1e6 / speed(p, compute, seconds) / BARRIERS);
    printf(", reading %.1f us\n", 1e6 / speed(p, read_memory, seconds) / BARRIERS);
    fflush(stdout);
    for (int n = 1; n <= 2; n++) {
        beside(p, "computing", compute, n, seconds);
        beside(p, "reading", read_memory, n, seconds);
    }
    pool_free(p);
    free(memory);
    return 0;
}
