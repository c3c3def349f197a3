/* check_tile.c - packing into tiles and products with them, for check.c: same bits, always. */
#include "check.h"

#include "kernels/tile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = CHECK_N_MAX };

/* Products with tiles: numbers of groups and activation rows that meet every remainder. */
enum { MUL_X_MAX = 13 };

struct mul_case {
    struct tile_mul m;
    float *y[MUL_X_MAX];
    const void *x[MUL_X_MAX];
};

/* A case with random weights and activations, whose buffers end at unreadable pages. */
static void mul_case_fill(struct mul_case *c, enum qtype q, int64_t n, int n_group, int64_t n_x,
                          enum kind kind, bool valid, const struct kernels *ref)
{
    uint64_t row_bytes = (uint64_t)qtype_row_bytes(q, n), group_bytes = tile_group_bytes(q, n);
    uint8_t *rows = check_guarded(TILE_ROWS * row_bytes);
    uint8_t *group = check_guarded((uint64_t)n_group * group_bytes);
    enum qtype act = qtype_info[q].act;
    static float x[N_MAX];

    for (int g = 0; g < n_group; g++) {
        int n_row = g == n_group - 1 && valid ? 11 : TILE_ROWS;
        for (int r = 0; r < n_row; r++)
            check_fill_weights(q, rows + (uint64_t)r * row_bytes, n, valid, ref);
        tile_pack(q, group + (uint64_t)g * group_bytes, rows, row_bytes, n_row, n);
    }
    for (int64_t i = 0; i < n_x; i++) {
        void *to = check_guarded((size_t)qtype_row_bytes(act, n));
        check_fill(x, n, kind);
        ref->quant[act](to, x, n);
        c->x[i] = to;
        c->y[i] = check_guarded_f32(n_group * TILE_ROWS);
    }
    c->m = (struct tile_mul){ c->y, c->x, n_x, group, n_group, n,
                              check_guarded_f32((n_x * n_group * TILE_ROWS + 15) / 16 * 16) };
}

static const struct { int n_group, n_x; } shape[] = {
    { 1, 1 }, { 1, 2 }, { 1, 3 }, { 2, 1 }, { 2, 5 }, { 3, 7 }, { 4, MUL_X_MAX }, { 4, 6 },
};

static void check_mul_case(struct found *f, enum qtype q, int64_t n, int n_group, int64_t n_x,
                           tile_mul_fn *fast, const struct kernels *ref)
{
    for (int kind = 0; kind < N_KINDS && !f->bad; kind++) {
        static float want[MUL_X_MAX][TILE_GROUPS_MAX * TILE_ROWS];
        struct mul_case c;
        f->n = n;
        mul_case_fill(&c, q, n, n_group, n_x, (enum kind)kind, true, ref);
        ref->mul[q](&c.m);
        for (int64_t i = 0; i < n_x; i++)
            memcpy(want[i], c.y[i], (size_t)n_group * TILE_ROWS * sizeof(float));
        fast(&c.m);
        for (int64_t i = 0; i < n_x; i++)
            for (int r = 0; r < n_group * TILE_ROWS; r++)
                check_differ(f, !check_same_f32(want[i][r], c.y[i][r]), "bits", want[i][r],
                             c.y[i][r]);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Gigabytes of weights a second where one activation row meets more groups than a cache holds: the
 * median of slices, so that what else the machine does in between counts for little. */
static double bench_matrix_vector(const struct mul_case *c, enum qtype q, tile_mul_fn *fast)
{
    enum { BYTES = 64 << 20, SLICES = 64, PASSES = 4 };
    uint64_t group_bytes = tile_group_bytes(q, c->m.n), n_group = BYTES / SLICES / group_bytes;
    uint8_t *groups = check_guarded(SLICES * n_group * group_bytes);
    struct tile_mul m = c->m;
    double ns[SLICES * PASSES];

    for (uint64_t g = 0; g < SLICES * n_group; g++)
        memcpy(groups + g * group_bytes, c->m.group, group_bytes);
    m.n_x = m.n_group = 1;
    for (int s = 0; s < SLICES * PASSES; s++) {
        m.group = groups + (uint64_t)(s % SLICES) * n_group * group_bytes;
        double t0 = check_now_ns();
        for (uint64_t g = 0; g < n_group; g++, m.group += group_bytes)
            fast(&m);
        ns[s] = check_now_ns() - t0;
    }
    qsort(ns, SLICES * PASSES, sizeof(*ns), by_value);
    return (double)(n_group * group_bytes) / ns[SLICES * PASSES / 2];
}

struct found check_mul(enum qtype q, tile_mul_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };
    struct mul_case c;

    for (size_t s = 0; s < sizeof(shape) / sizeof(*shape) && !f.bad; s++)
        for (int l = 0; l < 4 && !f.bad; l++) {
            int64_t n = check_length(q, l < 3 ? l : 4);
            check_mul_case(&f, q, n, shape[s].n_group, shape[s].n_x, fast, ref);
        }
    mul_case_fill(&c, q, check_length(q, 2), 4, 5, ORDINARY, false, ref);
    fast(&c.m);                                     /* any bytes: it must only not crash */
    if (check_bench && !f.bad) {
        mul_case_fill(&c, q, N_MAX, 4, 12, ORDINARY, true, ref);
        f.ns_ref = BENCH_NS_N(1, ref->mul[q](&c.m)) / (4 * TILE_ROWS * 12);
        f.ns_new = BENCH_NS(fast(&c.m)) / (4 * TILE_ROWS * 12);
        f.read_gb_s = bench_matrix_vector(&c, q, fast);
    }
    return f;
}

/* Products of bf16 tiles with bf16 activations, against doubles. */
static void check_bf16_case(struct found *f, int64_t n, int n_group, int64_t n_x,
                            tile_mul_fn *fast, const struct kernels *ref)
{
    const enum qtype q = QTYPE_bf16;
    static float w[CHECK_N_MAX];
    uint8_t *row = check_guarded((size_t)qtype_row_bytes(q, n));
    const void *rounded[MUL_X_MAX];
    struct mul_case c;

    f->n = n;
    mul_case_fill(&c, q, n, n_group, n_x, ORDINARY, true, ref);
    for (int64_t i = 0; i < n_x; i++) {
        void *to = check_guarded((size_t)qtype_row_bytes(q, n));
        ref->quant[q](to, c.x[i], n);
        ref->dequant[q]((float *)(uintptr_t)c.x[i], to, n);
        rounded[i] = to;
    }
    c.m.x = rounded;
    fast(&c.m);
    for (int r = 0; r < n_group * TILE_ROWS; r++) {
        tile_unpack_row(q, row, c.m.group + (uint64_t)(r / TILE_ROWS) * tile_group_bytes(q, n),
                        r % TILE_ROWS, n);
        ref->dequant[q](w, row, n);
        for (int64_t i = 0; i < n_x; i++) {
            const float *x = c.x[i];
            double want = 0, sum_abs = 0;
            for (int64_t k = 0; k < n; k++) {
                want += (double)w[k] * x[k];
                sum_abs += fabs((double)w[k] * x[k]);
            }
            check_differ(f, !(fabs(want - c.y[i][r]) <= 1e-5 * sum_abs + 1e-30), "value", want,
                         c.y[i][r]);
        }
    }
}

struct found check_mul_bf16(tile_mul_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (size_t s = 0; s < sizeof(shape) / sizeof(*shape) && !f.bad; s++)
        for (int l = 0; l < 8 && !f.bad; l++)
            check_bf16_case(&f, check_length(QTYPE_bf16, l), shape[s].n_group, shape[s].n_x, fast,
                            ref);
    if (check_bench && !f.bad) {
        struct mul_case c;
        mul_case_fill(&c, QTYPE_bf16, N_MAX, 4, 12, ORDINARY, true, ref);
        f.ns_ref = BENCH_NS_N(1, ref->mul[QTYPE_bf16](&c.m)) / (4 * TILE_ROWS * 12);
        f.ns_new = BENCH_NS(fast(&c.m)) / (4 * TILE_ROWS * 12);
    }
    return f;
}

/* Products with tiles against dequantised rows: the references must agree on what bytes mean. */
struct found check_mul_ref(enum qtype q, const struct kernels *ref)
{
    enum qtype act = qtype_info[q].act;
    static float a[N_MAX], b[N_MAX];
    struct found f = { .n = N_MAX };
    uint8_t *w = check_guarded((size_t)qtype_row_bytes(q, N_MAX));
    struct mul_case c;

    mul_case_fill(&c, q, N_MAX, 2, 2, ORDINARY, true, ref);
    ref->mul[q](&c.m);
    for (int r = 0; r < 2 * TILE_ROWS; r++) {
        tile_unpack_row(q, w, c.m.group + (uint64_t)(r / TILE_ROWS) * tile_group_bytes(q, N_MAX),
                        r % TILE_ROWS, N_MAX);
        ref->dequant[q](a, w, N_MAX);
        for (int x = 0; x < 2; x++) {
            double want = 0, sum_abs = 0;
            ref->dequant[act](b, c.x[x], N_MAX);
            for (int i = 0; i < N_MAX; i++) {
                want += (double)a[i] * b[i];
                sum_abs += fabs((double)a[i] * b[i]);
            }
            check_differ(&f, !(fabs(want - c.y[x][r]) <= 2e-5 * sum_abs), "value", want, c.y[x][r]);
        }
    }
    return f;
}

/* A row that is packed and unpacked has the file's bytes, whatever they are. */
struct found check_pack(enum qtype q)
{
    struct found f = { .n = N_MAX };
    uint64_t row_bytes = (uint64_t)qtype_row_bytes(q, N_MAX);
    uint8_t *rows = check_guarded(TILE_ROWS * row_bytes), *row = check_guarded(row_bytes);
    uint8_t *group = check_guarded(tile_group_bytes(q, N_MAX));

    check_fill_bytes(rows, TILE_ROWS * row_bytes);
    for (int n_row = TILE_ROWS; n_row > 0; n_row -= 5) {
        check_fill_bytes(group, tile_group_bytes(q, N_MAX));
        tile_pack(q, group, rows, row_bytes, n_row, N_MAX);
        for (int r = 0; r < TILE_ROWS; r++) {
            tile_unpack_row(q, row, group, r, N_MAX);
            for (uint64_t i = 0; i < row_bytes; i++) {
                int want = r < n_row ? rows[(uint64_t)r * row_bytes + i] : 0;
                check_differ(&f, row[i] != want, "byte", want, row[i]);
            }
        }
    }
    return f;
}
