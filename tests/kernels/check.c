/* check.c - every fast kernel against its scalar reference.
 *
 *   check [--bench] [--kernel TEXT] [--seed N]
 *
 * The instruction-set levels of this CPU are enabled one after another.  Whenever a slot of
 * the kernel table changes, the new function is run against the reference on random, zero,
 * tiny and huge rows of many lengths.  Rows end exactly at an unreadable page, so a kernel
 * that looks one byte too far dies here and not in production; each check runs in its own
 * process, so that a crash is one failure.  A failing case prints the seed that repeats it.
 */
#include "check.h"

#include "kernels/blocks_act.h"
#include "kernels/tile.h"
#include "base/err.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct { unsigned bit; const char *name; } levels[] = {
    { ISA_AVX2, "avx2" }, { ISA_AVX512, "avx512" }, { ISA_AVX512BF16, "avx512bf16" },
    { ISA_NEON, "neon" }, { ISA_DOTPROD, "dotprod" },
};

/* In blocks of the type; for types of one element a few more are added, for the tails. */
static const int lengths[] = { 0, 1, 2, 3, 7, 8, 16, 128 };
enum { N_LENGTHS = sizeof(lengths) / sizeof(*lengths), N_MAX = CHECK_N_MAX };

static struct { const char *only; uint64_t seed; int passed, failed; } t;
static uint64_t rng;
bool check_bench;

/* splitmix64: enough randomness for tests, and the same on every machine. */
uint64_t check_random(void)
{
    uint64_t z = (rng += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void check_fill(float *x, int64_t n, enum kind kind)
{
    static const float factor[N_KINDS] = { 1, 0, 1e-35f, 1e15f };
    bool quiet = false;

    for (int64_t i = 0; i < n; i++) {
        if (i % 16 == 0)
            quiet = check_random() % 16 == 0;
        float u = (float)(check_random() >> 40) * 0x1p-23f - 1;
        switch (check_random() % 16) {
        case 0:  x[i] = 0;          break;
        case 1:  x[i] = u * 1e-6f;  break;
        case 2:  x[i] = u * 100;    break;
        default: x[i] = u;          break;
        }
        x[i] *= quiet ? factor[kind] * 1e-35f : factor[kind];
    }
}

void check_fill_bytes(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(check_random() >> 32);
}

/* `bytes` of memory whose end touches an unreadable page.  Never freed: a check is a short
 * process. */
void *check_guarded(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), span = (bytes + page) / page * page;
    char *p = mmap(NULL, span + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ASSERT(p != MAP_FAILED);
    ASSERT(mprotect(p + span, page, PROT_NONE) == 0);
    return p + span - bytes;
}

float *check_guarded_f32(int64_t n)
{
    return check_guarded((size_t)n * sizeof(float));
}

/* The l-th length for a type. */
int64_t check_length(enum qtype q, int l)
{
    int block = qtype_info[q].block_elems;
    int64_t n = (int64_t)lengths[l] * block;

    if (block == 1)
        n = lengths[l] < 8 ? n : n * 32 % N_MAX + (l & 1 ? N_MAX - 37 : 5);
    return n > N_MAX ? N_MAX : n;
}

double check_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

bool check_differ(struct found *f, bool bad, const char *what, double want, double got)
{
    if (bad && !f->bad) {
        f->bad = true;
        f->what = what;
        f->want = want;
        f->got = got;
    }
    return f->bad;
}

bool check_same_f32(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof(a)) == 0;
}

/* A row of blocks of random bytes, whose values are finite and not absurd if `valid`. */
void check_fill_weights(enum qtype q, void *row, int64_t n, bool valid,
                        const struct kernels *ref)
{
    const struct qtype_info *info = &qtype_info[q];
    uint8_t *p = row;
    float v[256];

    if (valid && info->block_elems == 1 && ref->quant[q]) {
        static float x[N_MAX];
        check_fill(x, n, ORDINARY);
        ref->quant[q](row, x, n);
        return;
    }
    for (int64_t at = 0; at < n; at += info->block_elems, p += info->block_bytes) {
        float peak;
        do {
            check_fill_bytes(p, (size_t)info->block_bytes);
            ref->dequant[q](v, p, info->block_elems);
            peak = 0;
            for (int i = 0; i < info->block_elems; i++)
                peak = isfinite(v[i]) ? fmaxf(peak, fabsf(v[i])) : INFINITY;
        } while (valid && !(peak < 1e9f));
    }
}

static struct found check_dot(dot_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = check_length(QTYPE_f32, l);
        float *w = check_guarded_f32(n), *x = check_guarded_f32(n);
        float *x2 = (float *)check_guarded((size_t)n * 4 + 4);
        for (int kind = 0; kind < N_KINDS && !f.bad; kind++) {
            double sum_abs = 0, want, got;
            check_fill(w, n, ORDINARY);
            check_fill(x, n, (enum kind)kind);
            for (int64_t i = 0; i < n; i++)
                sum_abs += fabs((double)w[i] * x[i]);
            want = ref->dot[QTYPE_f32](w, x, n);
            got = fast(w, x, n);
            check_differ(&f, !(fabs(want - got) <= 1e-5 * sum_abs + 1e-40), "value", want, got);
            memcpy(x2, x, (size_t)n * 4);
            double moved = fast(w, x2, n);
            check_differ(&f, !check_same_f32((float)got, (float)moved), "depends on the address",
                         got, moved);
        }
        check_fill_bytes(w, (size_t)n * 4);         /* anything: it must only not crash */
        fast(w, x, n);
        if (check_bench && l == N_LENGTHS - 1 && !f.bad) {
            volatile float sink;
            f.ns_ref = BENCH_NS(sink = ref->dot[QTYPE_f32](w, x, n));
            f.ns_new = BENCH_NS(sink = fast(w, x, n));
            (void)sink;
        }
    }
    return f;
}

static struct found check_dequant(enum qtype q, dequant_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int round = 0; round < 2 * N_LENGTHS && !f.bad; round++) {
        int64_t n = f.n = check_length(q, round / 2);
        void *w = check_guarded((size_t)qtype_row_bytes(q, n));
        float *want = check_guarded_f32(n), *got = check_guarded_f32(n);
        check_fill_weights(q, w, n, round & 1, ref);
        ref->dequant[q](want, w, n);
        fast(got, w, n);
        for (int64_t i = 0; i < n && !f.bad; i++)
            check_differ(&f, !check_same_f32(want[i], got[i]), "bits", want[i], got[i]);
        if (check_bench && round == 2 * N_LENGTHS - 1) {
            f.ns_ref = BENCH_NS(ref->dequant[q](want, w, n));
            f.ns_new = BENCH_NS(fast(got, w, n));
        }
    }
    return f;
}

static struct found check_quant(enum qtype q, quant_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = check_length(q, l);
        size_t bytes = (size_t)qtype_row_bytes(q, n);
        float *x = check_guarded_f32(n);
        uint8_t *want = check_guarded(bytes), *got = check_guarded(bytes);
        for (int kind = 0; kind <= N_KINDS; kind++) {
            if (kind < N_KINDS)
                check_fill(x, n, (enum kind)kind);
            else
                check_fill_bytes(x, (size_t)n * 4);
            for (int64_t i = 0; i < n && kind < N_KINDS; i += 7)
                x[i] = rintf(x[i] * 8) * 0.5f;      /* ties */
            ref->quant[q](want, x, n);
            fast(got, x, n);
            /* What a NaN becomes is not specified where one value stands alone. */
            if (kind < N_KINDS || qtype_info[q].block_elems > 1)
                for (size_t i = 0; i < bytes; i++)
                    check_differ(&f, want[i] != got[i], "byte", want[i], got[i]);
        }
        if (check_bench && l == N_LENGTHS - 1) {
            check_fill(x, n, ORDINARY);
            f.ns_ref = BENCH_NS(ref->quant[q](want, x, n));
            f.ns_new = BENCH_NS(fast(got, x, n));
        }
    }
    return f;
}

/* Row functions take any length: a block count and a few more. */
static int64_t row_length(int l)
{
    return lengths[l] * 31 + (l ? (int64_t)(check_random() % 8) : 0);
}

static struct found check_rmsnorm(rmsnorm_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = row_length(l);
        float *x = check_guarded_f32(n), *gain = check_guarded_f32(n);
        float *out = check_guarded_f32(n), *want = check_guarded_f32(n);
        for (int kind = 0; kind < N_KINDS; kind++) {
            check_fill(x, n, (enum kind)kind);
            check_fill(gain, n, ORDINARY);
            ref->rmsnorm(want, x, gain, n, 1e-5f);
            fast(out, x, gain, n, 1e-5f);
            fast(x, x, gain, n, 1e-5f);
            for (int64_t i = 0; i < n && !f.bad; i++) {
                check_differ(&f, !(fabs((double)want[i] - out[i]) <= 1e-5 * fabs(want[i]) + 1e-40),
                       "value", want[i], out[i]);
                check_differ(&f, !check_same_f32(x[i], out[i]), "in place", out[i], x[i]);
            }
        }
        check_fill_bytes(x, (size_t)n * 4);
        fast(out, x, gain, n, 1e-5f);
        if (check_bench && l == N_LENGTHS - 1) {
            check_fill(x, n, ORDINARY);
            f.ns_ref = BENCH_NS(ref->rmsnorm(want, x, gain, n, 1e-5f));
            f.ns_new = BENCH_NS(fast(out, x, gain, n, 1e-5f));
        }
    }
    return f;
}

static struct found check_axpy(axpy_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = row_length(l);
        float *x = check_guarded_f32(n), *y = check_guarded_f32(n), *want = check_guarded_f32(n);
        float *y0 = check_guarded_f32(n), a;
        for (int kind = 0; kind < N_KINDS; kind++) {
            check_fill(&a, 1, ORDINARY);
            check_fill(x, n, (enum kind)kind);
            check_fill(y0, n, (enum kind)kind);
            memcpy(y, y0, (size_t)n * 4);
            memcpy(want, y0, (size_t)n * 4);
            ref->axpy(want, a, x, n);
            fast(y, a, x, n);
            for (int64_t i = 0; i < n && !f.bad; i++) {
                double room = 1e-6 * (fabs((double)y0[i]) + fabs((double)a * x[i])) + 1e-40;
                check_differ(&f, !(fabs((double)want[i] - y[i]) <= room), "value", want[i], y[i]);
            }
        }
        check_fill_bytes(x, (size_t)n * 4);
        fast(y, a, x, n);
        if (check_bench && l == N_LENGTHS - 1) {
            check_fill(x, n, ORDINARY);
            check_fill(y, n, ORDINARY);
            f.ns_ref = BENCH_NS(ref->axpy(want, 1e-3f, x, n));
            f.ns_new = BENCH_NS(fast(y, 1e-3f, x, n));
        }
    }
    return f;
}

static struct found check_scale(scale_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = row_length(l);
        float *y = check_guarded_f32(n), *want = check_guarded_f32(n), a;
        for (int kind = 0; kind <= N_KINDS; kind++) {
            check_fill(&a, 1, ORDINARY);
            if (kind < N_KINDS)
                check_fill(y, n, (enum kind)kind);
            else
                check_fill_bytes(y, (size_t)n * 4);
            memcpy(want, y, (size_t)n * 4);
            ref->scale(want, a, n);
            fast(y, a, n);
            for (int64_t i = 0; i < n && !f.bad; i++)
                check_differ(&f, !check_same_f32(want[i], y[i]), "bits", want[i], y[i]);
        }
        if (check_bench && l == N_LENGTHS - 1) {
            check_fill(y, n, ORDINARY);
            f.ns_ref = BENCH_NS(ref->scale(y, -1, n));
            f.ns_new = BENCH_NS(fast(y, -1, n));
        }
    }
    return f;
}

static struct found check_swiglu(swiglu_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = row_length(l);
        float *gate = check_guarded_f32(n), *up = check_guarded_f32(n);
        float *out = check_guarded_f32(n), *want = check_guarded_f32(n);
        for (int kind = 0; kind < N_KINDS; kind++) {
            check_fill(gate, n, (enum kind)kind);
            check_fill(up, n, ORDINARY);
            ref->swiglu(want, gate, up, n);
            fast(out, gate, up, n);
            for (int64_t i = 0; i < n && !f.bad; i++) {
                double room = 1e-5 * fabs((double)gate[i] * up[i]) + 1e-37;
                check_differ(&f, !(fabs((double)want[i] - out[i]) <= room), "value", want[i],
                             out[i]);
            }
            fast(gate, gate, up, n);
            for (int64_t i = 0; i < n && !f.bad; i++)
                check_differ(&f, !check_same_f32(gate[i], out[i]), "in place", out[i], gate[i]);
        }
        check_fill_bytes(gate, (size_t)n * 4);
        fast(up, gate, up, n);
        if (check_bench && l == N_LENGTHS - 1) {
            check_fill(gate, n, ORDINARY);
            check_fill(up, n, ORDINARY);
            f.ns_ref = BENCH_NS(ref->swiglu(want, gate, up, n));
            f.ns_new = BENCH_NS(fast(out, gate, up, n));
        }
    }
    return f;
}

static struct found check_all_finite(all_finite_fn *fast, const struct kernels *ref)
{
    static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };
    struct found f = { 0 };

    for (int l = 0; l < N_LENGTHS && !f.bad; l++) {
        int64_t n = f.n = row_length(l);
        float *x = check_guarded_f32(n);
        check_fill(x, n, ORDINARY);
        if (n)
            x[n - 1] = 3.4028235e38f;
        check_differ(&f, !fast(x, n), "a finite row", 1, 0);
        for (int64_t i = 0; i < n; i += 1 + (i > 40 && i < n - 40 ? 29 : 0)) {
            float kept = x[i];
            x[i] = bad[i % 4];
            check_differ(&f, fast(x, n), "a row that is not finite", 0, 1);
            x[i] = kept;
        }
        if (check_bench && l == N_LENGTHS - 1) {
            volatile bool sink;
            f.ns_ref = BENCH_NS(sink = ref->all_finite(x, n));
            f.ns_new = BENCH_NS(sink = fast(x, n));
            (void)sink;
        }
    }
    return f;
}

/* Largest error of one value after a round trip, for its own size and its block's peak. */
static double round_trip_room(enum qtype q, double x, double peak)
{
    switch (q) {
    case QTYPE_f16:  return fabs(x) * 0x1p-11 + 0x1p-25;
    case QTYPE_bf16: return fabs(x) * 0x1p-8 + 0x1p-134;
    case QTYPE_q8_0: return peak * (0.5 / 127 + 0x1p-10) + 0x1p-17;  /* the scale is a half */
    case QTYPE_q8a:  return peak * (0.5 / 127 + 1e-6) + 0x1p-100;
    default:         return 0;
    }
}

/* The references check themselves: a round trip stays inside the bound of its type. */
static struct found check_round_trip(enum qtype q, const struct kernels *ref)
{
    int block = q == QTYPE_q8a ? 16 : qtype_info[q].block_elems;   /* what shares a scale */
    static float x[N_MAX], y[N_MAX];
    struct found f = { .n = N_MAX };
    void *w = check_guarded((size_t)qtype_row_bytes(q, N_MAX));

    for (int kind = 0; kind < N_KINDS; kind++) {
        check_fill(x, N_MAX, (enum kind)kind);
        if (kind == HUGE_ && (q == QTYPE_f16 || q == QTYPE_q8_0))
            continue;                                       /* beyond a half's range */
        ref->quant[q](w, x, N_MAX);
        ref->dequant[q](y, w, N_MAX);
        for (int at = 0; at < N_MAX && !f.bad; at += block) {
            double peak = 0;
            for (int i = at; i < at + block; i++)
                peak = fmax(peak, fabs(x[i]));
            for (int i = at; i < at + block; i++)
                check_differ(&f, !(fabs((double)x[i] - y[i]) <= round_trip_room(q, x[i], peak)),
                       "round trip", x[i], y[i]);
        }
        for (int j = 0; j < N_MAX / 16 && q == QTYPE_q8a; j++) {
            const struct block_q8a *b = (const struct block_q8a *)w + j / 2;
            int sum = 0, h = j % 2;
            for (int i = 0; i < 16; i++)
                sum += b->q[h * 16 + i];
            check_differ(&f, -128 * sum != b->bias[h], "sum of half a block", sum, b->bias[h]);
            check_differ(&f, !check_same_f32(b->scale[h] * (float)sum, b->sum[h]), "scaled sum",
                         sum, b->sum[h]);
            check_differ(&f, !check_same_f32(b->sum[0] + b->sum[1], b->sum32), "sum of both",
                         sum, b->sum32);
        }
    }
    return f;
}

static void print_found(const char *kernel, const char *level, const struct found *f)
{
    if (f->bad)
        printf("FAIL  %-16s %-7s n=%lld %s: want %.9g got %.9g  (--seed %llu)\n", kernel, level,
               (long long)f->n, f->what, f->want, f->got, (unsigned long long)t.seed);
    else if (check_bench && f->read_gb_s > 0)
        printf("ok    %-16s %-7s %9.1f ns -> %7.1f ns  %5.1fx  one row: %.1f GB/s\n", kernel,
               level, f->ns_ref, f->ns_new, f->ns_ref / f->ns_new, f->read_gb_s);
    else if (check_bench && f->ns_new > 0)
        printf("ok    %-16s %-7s %9.1f ns -> %7.1f ns  %5.1fx\n", kernel, level, f->ns_ref,
               f->ns_new, f->ns_ref / f->ns_new);
    else
        printf("ok    %-16s %s\n", kernel, level);
    fflush(stdout);
}

/* Run `call` in a child process, so that a crash is one failed check and not the last. */
#define CHECK(kernel, level, call) do {                                                \
    const char *kernel_ = kernel;                                                      \
    int status_ = 0;                                                                   \
    if (t.only && !strstr(kernel_, t.only))                                            \
        break;                                                                         \
    fflush(stdout);                                                                    \
    pid_t pid_ = fork();                                                               \
    ASSERT(pid_ >= 0);                                                                 \
    if (pid_ == 0) {                                                                   \
        struct found f_ = call;                                                        \
        print_found(kernel_, level, &f_);                                              \
        _exit(f_.bad);                                                                 \
    }                                                                                  \
    ASSERT(waitpid(pid_, &status_, 0) == pid_);                                        \
    status_ ? t.failed++ : t.passed++;                                                 \
    if (WIFSIGNALED(status_))                                                          \
        printf("FAIL  %-16s %-7s %s  (--seed %llu)\n", kernel_, level,                 \
               strsignal(WTERMSIG(status_)), (unsigned long long)t.seed);              \
} while (0)

static const char *name_of(const char *what, enum qtype q)
{
    static char name[40];
    snprintf(name, sizeof(name), "%s %s", what, qtype_info[q].name);
    return name;
}

static void check_references(const struct kernels *ref)
{
    for (int i = 0; i < QTYPE_COUNT; i++) {
        enum qtype q = (enum qtype)i;
        if (ref->quant[q])
            CHECK(name_of("quant", q), "ref", check_round_trip(q, ref));
        if (tile_has(q))
            CHECK(name_of("pack", q), "ref", check_pack(q));
        if (ref->mul[q])
            CHECK(name_of("mul", q), "ref", check_mul_ref(q, ref));
    }
}

/* Every slot of k that is not the one of prev. */
static void check_level(const char *level, const struct kernels *k, const struct kernels *prev,
                        const struct kernels *ref)
{
    for (int i = 0; i < QTYPE_COUNT; i++) {
        enum qtype q = (enum qtype)i;
        if (k->quant[q] != prev->quant[q])
            CHECK(name_of("quant", q), level, check_quant(q, k->quant[q], ref));
        if (k->dequant[q] != prev->dequant[q])
            CHECK(name_of("dequant", q), level, check_dequant(q, k->dequant[q], ref));
        if (k->dot[q] != prev->dot[q])
            CHECK(name_of("dot", q), level, check_dot(k->dot[q], ref));
        if (k->mul[q] != prev->mul[q])
            CHECK(name_of("mul", q), level, check_mul(q, k->mul[q], ref));
        if (k->kv_score[q] != prev->kv_score[q])
            CHECK(name_of("kv_score", q), level, check_kv(q, k->kv_score[q], ref, false));
        if (k->kv_value[q] != prev->kv_value[q])
            CHECK(name_of("kv_value", q), level, check_kv(q, k->kv_value[q], ref, true));
    }
    if (k->mul_bf16 != prev->mul_bf16)
        CHECK("mul_bf16", level, check_mul_bf16(k->mul_bf16, ref));
    if (k->rmsnorm != prev->rmsnorm)
        CHECK("rmsnorm", level, check_rmsnorm(k->rmsnorm, ref));
    if (k->axpy != prev->axpy)
        CHECK("axpy", level, check_axpy(k->axpy, ref));
    if (k->scale != prev->scale)
        CHECK("scale", level, check_scale(k->scale, ref));
    if (k->swiglu != prev->swiglu)
        CHECK("swiglu", level, check_swiglu(k->swiglu, ref));
    if (k->mat_mul != prev->mat_mul)
        CHECK("mat_mul", level, check_mat_mul(k->mat_mul, ref));
    if (k->mat_mul_bf16 != prev->mat_mul_bf16)
        CHECK("mat_mul_bf16", level, check_mat_mul_bf16(k->mat_mul_bf16, ref));
    if (k->transpose != prev->transpose)
        CHECK("transpose", level, check_transpose(k->transpose, ref));
    if (k->softmax != prev->softmax)
        CHECK("softmax", level, check_softmax(k->softmax, ref));
    if (k->all_finite != prev->all_finite)
        CHECK("all_finite", level, check_all_finite(k->all_finite, ref));
}

int main(int argc, char **argv)
{
    unsigned have = isa_detect(), isa = 0;
    struct kernels ref, prev, k;

    t.seed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench")) {
            check_bench = true;
        } else if (!strcmp(argv[i], "--kernel") && i + 1 < argc) {
            t.only = argv[++i];
        } else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
            t.seed = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: check [--bench] [--kernel TEXT] [--seed N]\n");
            return 2;
        }
    }
    rng = t.seed;
    kernels_init(&ref, 0);
    check_references(&ref);
    prev = ref;
    for (size_t l = 0; l < sizeof(levels) / sizeof(*levels); l++) {
        if (!strstr(isa_built_in(), levels[l].name))
            continue;                               /* of another family of processors */
        if (!(have & levels[l].bit)) {
            printf("skip  %-16s %s\n", "(this CPU lacks)", levels[l].name);
            continue;
        }
        kernels_init(&k, isa |= levels[l].bit);
        check_level(levels[l].name, &k, &prev, &ref);
        prev = k;
    }
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed != 0;
}
