/* pool.c - worker threads that share a loop, spin briefly for the next one and then sleep.
 *
 *   caller: record of the loop, seq += 2 -> wake sleepers, if any -> work -> wait for left == 0
 *   worker: wait until seq changes -> copy the record -> work -> wait again
 *
 * Jobs are counted in units (one job, or a run of them in very long loops), so that the state of
 * a thread's share fits one word that is changed by compare-and-swap alone:
 *
 *   seq (32 bits) | begin (16) | end (16)      units of loop seq that nobody has begun
 *
 * A word of an earlier loop means the whole share, untouched: the caller need not write to every
 * thread's line, and who comes first, owner or thief, writes it.  When a loop is done the word of
 * every share that held anything carries its seq or a later one; so a worker that comes late with
 * an old record finds nothing to take, and nobody waits for it.
 *
 * The record is read as under a sequence lock: seq is odd while it changes.  Its fields are
 * atomic and each is published and read with release and acquire, in place of fences.
 *
 * `left` counts units not yet finished; a thread subtracts what it has done as soon as its share
 * is empty.  Its top bit says that the caller sleeps.
 */
#include "base/pool.h"

#include "base/seats.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE = 64, UNITS_MAX = 0xffff,
    PORTION = 64,                       /* a thread hands itself 1/64 of what is left, at least 1 */
    VICTIMS = 16,                       /* shares a worker looks at; the caller looks at all */
    SPIN_NS = 30000, SPIN_SHORT_NS = 5000, PAUSES = 32,
    REFRESH = 1 << 16                   /* loops after which no word may be of an earlier one */
};

static const uint32_t SLEEPS = 1u << 31;

struct worker {
    _Alignas(LINE) atomic_uint_fast64_t word;
    atomic_bool helped;                 /* another looks whether it has lost its core */
    pid_t tid;
    clockid_t clock;                    /* its processor time */
    atomic_bool inside;                 /* may hold a copy of the record */
    atomic_int core;                    /* whose home it was last seen on, -1: none */
    struct pool *pool;
    pthread_t id;
    int thread;
    int cpu;                            /* the processor it was last seen on */
};

struct pool {
    _Alignas(LINE) _Atomic uint32_t seq;        /* this line is read by spinning workers */
    _Atomic(pool_fn *) fn;
    _Atomic(void *) arg;
    atomic_int_fast64_t n_job;
    _Alignas(LINE) _Atomic uint32_t left;
    _Alignas(LINE) _Atomic uint32_t n_asleep;
    _Alignas(LINE) atomic_bool quit;
    int n_thread;                       /* with the caller */
    int n_started;                      /* workers that exist */
    long spin_ns;
    struct worker *worker;              /* [n_thread] */
    struct seat_plan plan;
    uint64_t *weight_before;            /* [n_thread + 1]: sum of the weights of those before */
    bool narrowed;                      /* the caller's thread, from this mask: */
    cpu_set_t mask;
};

/* A worker's copy of the record. */
struct loop { uint32_t seq; pool_fn *fn; void *arg; int64_t n_job, unit, n_unit; };

struct range { int64_t begin, end; };

/* --- time and the system ------------------------------------------------------------------ */

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* --- cores -------------------------------------------------------------------------------- */

/* Where a thread is now, for the others. */
static int note_core(struct pool *p, int thread)
{
    struct worker *w = &p->worker[thread];
    int cpu = p->plan.kept ? sched_getcpu() : -1;

    if (cpu >= 0 && cpu < CPU_SETSIZE && cpu != w->cpu) {
        w->cpu = cpu;
        atomic_store_explicit(&w->core, p->plan.core_of[cpu], memory_order_relaxed);
    }
    return atomic_load_explicit(&w->core, memory_order_relaxed);
}

static bool is_taken(const struct pool *p, int core, int n)
{
    for (int i = 0; i < n; i++)
        if (atomic_load_explicit(&p->worker[i].core, memory_order_relaxed) == core)
            return true;
    return false;
}

/* Two threads that the system has put on one core would take turns: the one with the higher
 * number moves to a core that no other has. */
static void leave_shared_core(struct pool *p, int thread)
{
    const struct seat *own = &p->plan.at[thread];
    int core = note_core(p, thread);

    if (core < 0 || !is_taken(p, core, thread))
        return;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        int cpu = (own->home + i) % CPU_SETSIZE;
        if (!CPU_ISSET((size_t)cpu, &own->cpus) ||
            is_taken(p, p->plan.core_of[cpu], p->n_thread))
            continue;
        seats_move(own, 0, cpu);
        note_core(p, thread);
        return;
    }
}

/* Its processor runs something else (or it waits, and then moving it changes nothing). */
static bool has_lost_core(const struct worker *w)
{
    struct timespec a, b;

    if (clock_gettime(w->clock, &a))
        return false;
    for (int i = 0; i < 4 * PAUSES; i++)
        relax();
    return !clock_gettime(w->clock, &b) && a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Before a thread sleeps, it gives its core to one that everybody waits for: the caller, or a
 * worker within a job.  The system's own balancing takes some milliseconds to do that. */
static void lend_core(struct pool *p, int thread)
{
    uint32_t seq = atomic_load_explicit(&p->seq, memory_order_relaxed);
    int cpu = p->plan.kept ? sched_getcpu() : -1;
    bool lost = false;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    for (int i = 0; i < p->n_thread && !lost; i++) {
        struct worker *w = &p->worker[i];
        if (i == thread || !CPU_ISSET((size_t)cpu, &p->plan.at[i].cpus))
            continue;
        if (atomic_load_explicit(&p->seq, memory_order_relaxed) != seq ||
            (i && !atomic_load_explicit(&p->left, memory_order_relaxed)))
            return;
        if ((i && !atomic_load(&w->inside)) || atomic_exchange(&w->helped, true))
            continue;
        if ((lost = has_lost_core(w)))
            seats_move(&p->plan.at[i], w->tid, cpu);
        atomic_store(&w->helped, false);
    }
}

/* --- waiting ------------------------------------------------------------------------------ */

static bool is_new(uint32_t seq, uint32_t seen)
{
    return seq != seen && !(seq & 1);
}

static uint32_t wait_for_loop(struct pool *p, int thread, uint32_t seen)
{
    uint32_t seq = 0;
    int64_t until = 0;

    for (int i = 0; i % PAUSES || !until || now_ns() < until; i++) {
        if (is_new(seq = atomic_load_explicit(&p->seq, memory_order_acquire), seen))
            return seq;
        if (!until)
            until = now_ns() + p->spin_ns;
        relax();
    }
    lend_core(p, thread);
    atomic_fetch_add(&p->n_asleep, 1);
    while (!is_new(seq = atomic_load(&p->seq), seen))
        futex_wait(&p->seq, seen);
    atomic_fetch_sub(&p->n_asleep, 1);
    return seq;
}

static void wait_for_jobs(struct pool *p)
{
    uint32_t left;
    int64_t until = 0;

    for (int i = 0; i % PAUSES || !until || now_ns() < until; i++) {
        if (atomic_load_explicit(&p->left, memory_order_acquire) == 0)
            return;
        if (!until)
            until = now_ns() + p->spin_ns;
        relax();
    }
    lend_core(p, 0);
    left = atomic_fetch_or(&p->left, SLEEPS) | SLEEPS;
    while (left != SLEEPS) {
        futex_wait(&p->left, left);
        left = atomic_load_explicit(&p->left, memory_order_acquire);
    }
}

/* --- shares ------------------------------------------------------------------------------- */

static uint64_t pack(uint32_t seq, struct range r)
{
    return (uint64_t)seq << 32 | (uint64_t)r.begin << 16 | (uint64_t)r.end;
}

static int64_t unit_of(int64_t n_job)
{
    return (n_job - 1) / UNITS_MAX + 1;
}

/* Rounded up, so that the caller has a part of the shortest loop. */
static int64_t share_begin(const struct pool *p, int64_t n_unit, int thread)
{
    uint64_t all = p->weight_before[p->n_thread];

    return (int64_t)(((uint64_t)n_unit * p->weight_before[thread] + all - 1) / all);
}

static struct range share_left(const struct pool *p, const struct loop *l, int thread,
                               uint64_t word)
{
    int32_t age = (int32_t)((uint32_t)(word >> 32) - l->seq);

    if (age > 0)
        return (struct range){ 0, 0 };
    if (age == 0)
        return (struct range){ (int64_t)(word >> 16 & 0xffff), (int64_t)(word & 0xffff) };
    return (struct range){ share_begin(p, l->n_unit, thread),
                           share_begin(p, l->n_unit, thread + 1) };
}

/* The next portion from the front of a thread's own share. */
static bool take_front(struct pool *p, const struct loop *l, int thread, struct range *out)
{
    struct worker *w = &p->worker[thread];
    uint64_t word = atomic_load_explicit(&w->word, memory_order_acquire);

    for (;;) {
        struct range r = share_left(p, l, thread, word);
        if (r.begin >= r.end)
            return false;
        *out = (struct range){ r.begin, r.begin + 1 + (r.end - r.begin) / PORTION };
        r.begin = out->end;
        if (atomic_compare_exchange_weak_explicit(&w->word, &word, pack(l->seq, r),
                                                  memory_order_acq_rel, memory_order_acquire))
            return true;
    }
}

static int find_victim(const struct pool *p, const struct loop *l, int thread)
{
    int n = p->n_thread - 1, best = -1;
    int64_t most = 0;

    if (thread && n > VICTIMS)
        n = VICTIMS;
    for (int i = 1; i <= n; i++) {
        int v = (thread + i) % p->n_thread;
        struct range r = share_left(p, l, v, atomic_load_explicit(&p->worker[v].word,
                                                                  memory_order_acquire));
        if (r.end - r.begin > most) {
            most = r.end - r.begin;
            best = v;
        }
    }
    return best;
}

/* The back half of the share with most left becomes the thread's own; false: nothing is left.
 * Nobody else writes to an empty share, and the loop cannot end while we hold a part of it. */
static bool steal(struct pool *p, const struct loop *l, int thread)
{
    int v;

    while ((v = find_victim(p, l, thread)) >= 0) {
        uint64_t word = atomic_load_explicit(&p->worker[v].word, memory_order_acquire);
        struct range r = share_left(p, l, v, word), got = r;
        if (r.begin >= r.end)
            continue;
        got.begin = r.end = r.begin + (r.end - r.begin) / 2;
        if (!atomic_compare_exchange_strong_explicit(&p->worker[v].word, &word, pack(l->seq, r),
                                                     memory_order_acq_rel, memory_order_acquire))
            continue;
        atomic_store_explicit(&p->worker[thread].word, pack(l->seq, got), memory_order_release);
        return true;
    }
    return false;
}

static void run_units(const struct loop *l, struct range r, int thread)
{
    int64_t end = r.end * l->unit < l->n_job ? r.end * l->unit : l->n_job;

    for (int64_t job = r.begin * l->unit; job < end; job++)
        l->fn(l->arg, job, thread);
}

static void work(struct pool *p, const struct loop *l, int thread)
{
    struct range r;

    do {
        uint32_t done = 0;
        while (take_front(p, l, thread, &r)) {
            run_units(l, r, thread);
            done += (uint32_t)(r.end - r.begin);
        }
        if (done &&
            atomic_fetch_sub_explicit(&p->left, done, memory_order_acq_rel) - done == SLEEPS)
            futex_wake(&p->left, 1);
    } while (steal(p, l, thread));
}

/* --- threads ------------------------------------------------------------------------------ */

/* False: it changed meanwhile. */
static bool read_loop(struct pool *p, struct loop *l)
{
    l->seq = atomic_load(&p->seq);
    l->fn = atomic_load_explicit(&p->fn, memory_order_acquire);
    l->arg = atomic_load_explicit(&p->arg, memory_order_acquire);
    l->n_job = atomic_load_explicit(&p->n_job, memory_order_acquire);
    l->unit = unit_of(l->n_job);
    l->n_unit = (l->n_job - 1) / l->unit + 1;
    return !(l->seq & 1) && atomic_load_explicit(&p->seq, memory_order_relaxed) == l->seq;
}

/* A thread's own part of its record, and its place. */
static void enter(struct worker *w)
{
    const struct seat_plan *plan = &w->pool->plan;
    const struct seat *own = &plan->at[w->thread];

    w->tid = gettid();
    w->cpu = -1;
    if (pthread_getcpuclockid(pthread_self(), &w->clock))
        w->clock = CLOCK_MONOTONIC;    /* never seen to stand still */
    if (plan->kept)
        sched_setaffinity(0, sizeof(own->cpus), &own->cpus);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    struct loop l;
    uint32_t seen = 0;

    enter(w);
    while (!atomic_load_explicit(&p->quit, memory_order_acquire)) {
        seen = wait_for_loop(p, w->thread, seen);
        atomic_store(&w->inside, true);
        leave_shared_core(p, w->thread);
        if (read_loop(p, &l)) {
            seen = l.seq;
            work(p, &l, w->thread);
        }
        leave_shared_core(p, w->thread);
        atomic_store_explicit(&w->inside, false, memory_order_release);
    }
    return NULL;
}

static void publish(struct pool *p, uint32_t seq)
{
    uint32_t asleep;

    atomic_store(&p->seq, seq);
    if ((asleep = atomic_load(&p->n_asleep)))
        futex_wake(&p->seq, (int)asleep);
}

/* The age of a word is a difference of 32 bits: let none grow so old that it looks new. */
static void refresh(struct pool *p, uint32_t seq)
{
    for (int i = 0; i < p->n_thread; i++) {
        while (atomic_load(&p->worker[i].inside))
            sched_yield();
        atomic_store_explicit(&p->worker[i].word, pack(seq, (struct range){ 0, 0 }),
                              memory_order_release);
    }
}

void pool_run(struct pool *p, int64_t n_job, pool_fn *fn, void *arg)
{
    uint32_t seq = atomic_load_explicit(&p->seq, memory_order_relaxed);
    struct loop l = { .seq = seq + 2, .fn = fn, .arg = arg, .n_job = n_job };

    if (n_job < 2 || p->n_thread < 2) {
        for (int64_t job = 0; job < n_job; job++)
            fn(arg, job, 0);
        return;
    }
    if (l.seq / 2 % REFRESH == 0)
        refresh(p, seq);
    l.unit = unit_of(n_job);
    l.n_unit = (n_job - 1) / l.unit + 1;
    atomic_store_explicit(&p->seq, seq + 1, memory_order_relaxed);
    atomic_store_explicit(&p->fn, fn, memory_order_release);
    atomic_store_explicit(&p->arg, arg, memory_order_release);
    atomic_store_explicit(&p->n_job, n_job, memory_order_release);
    atomic_store_explicit(&p->left, (uint32_t)l.n_unit, memory_order_relaxed);
    note_core(p, 0);
    publish(p, l.seq);
    work(p, &l, 0);
    wait_for_jobs(p);
}

static enum err start(struct pool *p)
{
    for (int i = 0; i < p->n_thread; i++) {
        p->worker[i].pool = p;
        p->worker[i].thread = i;
        atomic_init(&p->worker[i].core, -1);
    }
    enter(&p->worker[0]);
    p->narrowed = p->plan.kept;
    for (int i = 1; i < p->n_thread; i++) {
        struct worker *w = &p->worker[i];
        if (pthread_create(&w->id, NULL, worker_main, w) != 0)
            return err_set(ERR_NOMEM, "POOL-04", "the system allows only %d of %d threads; "
                           "use --threads %d", i, p->n_thread, i);
        p->n_started = i;
    }
    return OK;
}

/* Waiting threads take processor time from those that work when there is not one for each. */
static long spin_time(const struct pool *p, const struct pool_options *o)
{
    bool scarce = (o->cpu_quota > 0 && o->cpu_quota < p->n_thread) ||
                  CPU_COUNT(&p->mask) < p->n_thread;

    return scarce ? SPIN_SHORT_NS : SPIN_NS;
}

static enum err new_parts(struct pool *p, const struct pool_options *o)
{
    size_t n = (size_t)p->n_thread;
    bool known = sched_getaffinity(0, sizeof(p->mask), &p->mask) == 0;

    p->weight_before = calloc(n + 1, sizeof(*p->weight_before));
    if (posix_memalign((void **)&p->worker, LINE, n * sizeof(*p->worker)))
        p->worker = NULL;
    if (!p->weight_before || !p->worker ||
        !seats_threads(&p->plan, p->n_thread, &p->mask, known && !o->no_pin))
        return err_set(ERR_NOMEM, "POOL-03", "no memory for %d threads", p->n_thread);
    memset(p->worker, 0, n * sizeof(*p->worker));
    for (size_t i = 0; i < n; i++)
        p->weight_before[i + 1] = p->weight_before[i] + p->plan.at[i].weight;
    p->spin_ns = known ? spin_time(p, o) : SPIN_NS;
    return OK;
}

enum err pool_new(struct pool **out, const struct pool_options *o)
{
    struct pool *p;
    enum err e;

    *out = NULL;
    if (o->n_thread < 1 || o->n_thread > POOL_THREADS_MAX)
        return err_set(ERR_ARG, "POOL-01", "%d threads: give a number from 1 to %d, for example "
                       "--threads 8", o->n_thread, POOL_THREADS_MAX);
    if (posix_memalign((void **)&p, LINE, sizeof(*p)))
        return err_set(ERR_NOMEM, "POOL-02", "no memory for %d threads", o->n_thread);
    memset(p, 0, sizeof(*p));
    p->n_thread = o->n_thread;
    if ((e = new_parts(p, o)) || (e = start(p))) {
        pool_free(p);
        return e;
    }
    *out = p;
    return OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    if (p->n_started) {
        uint32_t seq = atomic_load_explicit(&p->seq, memory_order_relaxed);
        /* A loop of no jobs, in which everyone sees that it is the last. */
        atomic_store_explicit(&p->quit, true, memory_order_release);
        atomic_store_explicit(&p->seq, seq + 1, memory_order_relaxed);
        atomic_store_explicit(&p->n_job, 0, memory_order_release);
        publish(p, seq + 2);
    }
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->worker[i].id, NULL);
    if (p->narrowed)
        sched_setaffinity(0, sizeof(p->mask), &p->mask);
    seats_release(&p->plan);
    free(p->weight_before);
    free(p->worker);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_thread;
}

int pool_node(const struct pool *p, int thread)
{
    return p->plan.at[thread].node;
}

void pool_share(const struct pool *p, int64_t n_job, int thread, int64_t *begin, int64_t *end)
{
    int64_t unit = n_job > 0 ? unit_of(n_job) : 1, n_unit = n_job > 0 ? (n_job - 1) / unit + 1 : 0;

    *begin = share_begin(p, n_unit, thread) * unit;
    *end = share_begin(p, n_unit, thread + 1) * unit;
    *begin = *begin < n_job ? *begin : n_job;
    *end = *end < n_job ? *end : n_job;
}
