/* bench_ceiling.c - what this machine can read and compute at most, measured beside the runs.
 *
 * Memory is read by all threads at once, each one linear part of it; arithmetic stays in
 * registers.  Every round takes one sample of each, the result is the medians. */
#include "cmd/bench.h"

#include "base/cpu.h"
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PLAIN, AHEAD, PEAK0, KINDS = PEAK0 + PEAK_COUNT };
enum { ROUNDS_MIN = 5, ROUNDS_MAX = 200, PAGE = 2 << 20 };

static const uint64_t bytes_best = UINT64_C(4) << 30, bytes_least = UINT64_C(64) << 20;
static const uint64_t bytes_left = UINT64_C(1) << 30;   /* for everything else on the machine */
static const double peak_s = 0.01;      /* how long a sample of arithmetic takes */

struct ceiling_probe {
    struct pool *pool;
    struct peaks peaks;
    int n_thread, n_round;
    uint8_t *memory;
    uint64_t mapped, part;              /* part: bytes that each thread reads */
    uint8_t *at;                        /* first whole huge page of memory */
    bool filled;                        /* the memory is there */
    int64_t n_ops[PEAK_COUNT];          /* of a sample, per thread */
    double sample[KINDS][ROUNDS_MAX];
    int kind;                           /* what the pool is doing */
    uint64_t *seen;                     /* [n_thread]: what was read, so that it must be */
};

static void fill(void *arg, int64_t job, int thread)
{
    struct ceiling_probe *p = arg;

    (void)thread;
    memset(p->at + (uint64_t)job * p->part, (int)job + 1, p->part);
}

static void sample_part(void *arg, int64_t job, int thread)
{
    struct ceiling_probe *p = arg;
    double sum;

    (void)thread;
    if (p->kind >= PEAK0)
        (void)p->peaks.mul[p->kind - PEAK0](p->n_ops[p->kind - PEAK0], &sum);
    else
        p->seen[job] ^= (p->kind == AHEAD ? p->peaks.read_ahead : p->peaks.read)(
            p->at + (uint64_t)job * p->part, p->part);
}

/* Bytes or operations a second of all threads together. */
static double sample(struct ceiling_probe *p, int kind)
{
    double start = clock_s(), each;

    p->kind = kind;
    pool_run(p->pool, p->n_thread, sample_part, p);
    each = kind < PEAK0 ? (double)p->part : (double)p->n_ops[kind - PEAK0];
    return each * p->n_thread / (clock_s() - start);
}

void ceiling_round(struct ceiling_probe *p)
{
    if (p->n_round == ROUNDS_MAX)
        return;
    if (!p->filled)
        pool_run(p->pool, p->n_thread, fill, p);
    p->filled = true;
    for (int k = 0; k < KINDS; k++)
        if (k < PEAK0 || p->peaks.mul[k - PEAK0])
            p->sample[k][p->n_round] = sample(p, k);
    p->n_round++;
}

static enum err map_memory(struct ceiling_probe *p, uint64_t model_bytes)
{
    struct machine m;
    uint64_t bytes = bytes_best, used, step = (uint64_t)p->n_thread * PAGE;

    machine_detect(&m);
    used = model_bytes + bytes_left;
    if (m.mem_available && m.mem_available < used + bytes_best)
        bytes = m.mem_available > used ? m.mem_available - used : 0;
    if (bytes < bytes_least)
        bytes = bytes_least;
    bytes = bytes / step ? bytes / step * step : step;
    if (bytes + step < bytes_best)
        term_note("read bandwidth is measured on %.2f GiB: that is what is free beside the model",
                  (double)bytes / (double)(1 << 30));
    p->part = bytes / (uint64_t)p->n_thread;
    p->mapped = bytes + PAGE;
    void *at = mmap(NULL, p->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return err_set(ERR_NOMEM, "BENCH-40", "no memory to measure reading with: %.2f GiB",
                       (double)bytes / (double)(1 << 30));
    p->memory = at;
    p->at = p->memory + (PAGE - (uintptr_t)at % PAGE) % PAGE;
    (void)madvise(p->memory, p->mapped, MADV_HUGEPAGE);
    return OK;
}

void ceiling_rest(struct ceiling_probe *p)
{
    (void)madvise(p->memory, p->mapped, MADV_DONTNEED);
    p->filled = false;
}

/* So many operations that a sample is long beside starting and ending it. */
static void size_samples(struct ceiling_probe *p)
{
    for (int t = 0; t < PEAK_COUNT; t++) {
        p->n_ops[t] = 1 << 20;
        for (double took = 0; p->peaks.mul[t] && took < peak_s; p->n_ops[t] *= 2)
            took = (double)p->n_ops[t] * p->n_thread / sample(p, PEAK0 + t);
    }
}

enum err ceiling_new(struct ceiling_probe **out, int n_thread, unsigned isa, uint64_t model_bytes)
{
    struct ceiling_probe *p = calloc(1, sizeof(*p));
    enum err e = OK;

    *out = NULL;
    if (p)
        p->seen = calloc((size_t)n_thread, sizeof(*p->seen));
    if (!p || !p->seen)
        e = err_set(ERR_NOMEM, "BENCH-41", "no memory to measure ceilings with");
    else
        e = pool_new(&p->pool, &(struct pool_options){ .n_thread = n_thread });
    if (e == OK) {
        p->n_thread = n_thread;
        peaks_init(&p->peaks, isa);
        e = map_memory(p, model_bytes);
    }
    if (e != OK) {
        ceiling_free(p);
        return e;
    }
    size_samples(p);
    *out = p;
    return OK;
}

void ceiling_free(struct ceiling_probe *p)
{
    if (!p)
        return;
    if (p->memory)
        munmap(p->memory, p->mapped);
    pool_free(p->pool);
    free(p->seen);
    free(p);
}

enum err ceiling_read(struct bench_ceiling *out, struct ceiling_probe *p)
{
    double median[KINDS];
    enum err e = OK;

    while (p->n_round < ROUNDS_MIN)
        ceiling_round(p);
    for (int k = 0; k < KINDS && e == OK; k++) {
        struct bench_interval i;
        e = bench_interval(&i, p->sample[k], p->n_round);
        median[k] = i.median;
    }
    if (e != OK)
        return e;
    *out = (struct bench_ceiling){
        .n_thread = p->n_thread, .n_round = p->n_round, .read_plain = median[PLAIN],
        .read_ahead = median[AHEAD], .bytes = p->part * (uint64_t)p->n_thread,
        .read = median[AHEAD] > median[PLAIN] ? median[AHEAD] : median[PLAIN],
    };
    memcpy(out->peak, median + PEAK0, sizeof(out->peak));
    return OK;
}
