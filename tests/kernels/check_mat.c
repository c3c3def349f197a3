/* check_mat.c - the kernels of attention: small products, transposition, softmax. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A matrix of m rows ld apart that ends where its last row does. */
static float *matrix(int64_t m, int64_t n, int64_t ld)
{
    return check_guarded_f32(m ? (m - 1) * ld + n : 0);
}

static void fill_matrix(float *x, int64_t m, int64_t n, int64_t ld, enum kind kind)
{
    for (int64_t i = 0; i < m; i++)
        check_fill(x + i * ld, n, kind);
}

struct mat_shape { int64_t m, n, k, more; };

/* That some columns of each row of the result are the same alone and moved. */
static void check_parts(struct found *f, mat_mul_fn *fast, const struct mat_shape *s,
                        const float *a, const float *b, const float *start, const float *got,
                        float *other, bool add)
{
    int64_t la = s->k + s->more, lb = s->n + s->more;

    for (int64_t i = 0; i < s->m && !f->bad; i++) {
        int64_t j = (int64_t)(check_random() % (uint64_t)s->n), cols = (s->n - j + 1) / 2;
        const float *want = got + i * lb + j;
        memcpy(other, start + i * lb + j, (size_t)cols * sizeof(float));
        fast(other, lb, a + i * la, la, b + j, lb, 1, cols, s->k, add);
        for (int64_t l = 0; l < cols; l++)
            check_differ(f, !check_same_f32(other[l], want[l]), "part of the result", want[l],
                         other[l]);
    }
}

/* Values, and that a row of the result is the same alone, moved, or with k cut in two. */
static void check_mat_shape(struct found *f, mat_mul_fn *fast, const struct kernels *ref,
                            const struct mat_shape *s, enum kind kind, bool add)
{
    int64_t m = s->m, n = s->n, k = s->k, la = k + s->more, lb = n + s->more, lc = n + s->more;
    float *a = matrix(m, k, la), *b = matrix(k, n, lb), *start = matrix(m, n, lc);
    float *want = matrix(m, n, lc), *got = matrix(m, n, lc), *other = matrix(m, n, lc);
    size_t bytes = (size_t)((m - 1) * lc + n) * sizeof(float);

    f->n = m * 1000000 + n * 1000 + k;
    fill_matrix(a, m, k, la, kind);
    fill_matrix(b, k, n, lb, ORDINARY);
    check_fill(start, (m - 1) * lc + n, kind);
    memcpy(want, start, bytes);
    memcpy(got, start, bytes);
    memcpy(other, start, bytes);
    ref->mat_mul(want, lc, a, la, b, lb, m, n, k, add);
    fast(got, lc, a, la, b, lb, m, n, k, add);
    fast(other, lc, a, la, b, lb, m, n, k / 3, add);
    fast(other, lc, a + k / 3, la, b + k / 3 * lb, lb, m, n, k - k / 3, true);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < lc && (i < m - 1 || j < n); j++) {
            double room = 1e-40, w = want[i * lc + j], g = got[i * lc + j];
            for (int64_t p = 0; p < k && j < n; p++)
                room += 1e-5 * fabs((double)a[i * la + p] * b[p * lb + j]);
            room += add || j >= n ? 1e-5 * fabs((double)start[i * lc + j]) : 0;
            check_differ(f, !(fabs(w - g) <= (j < n ? room : 0)), "value", w, g);
            check_differ(f, !check_same_f32((float)g, other[i * lc + j]), "k in two parts", g,
                         other[i * lc + j]);
        }
    check_parts(f, fast, s, a, b, start, got, other, add);
}

/* m rows of n pairs of bf16, and the same as f32 [m, 2n]. */
static float *pairs(float *dense, int64_t m, int64_t n, int64_t ld, enum kind kind,
                    const struct kernels *ref)
{
    float *x = matrix(m, n, ld);

    for (int64_t i = 0; i < m; i++) {
        check_fill(dense + i * 2 * n, 2 * n, kind);
        ref->quant[QTYPE_bf16](x + i * ld, dense + i * 2 * n, 2 * n);
        ref->dequant[QTYPE_bf16](dense + i * 2 * n, x + i * ld, 2 * n);
    }
    return x;
}

static void check_bf16_shape(struct found *f, mat_mul_fn *fast, const struct kernels *ref,
                             const struct mat_shape *s, enum kind kind, bool add)
{
    int64_t m = s->m, n = s->n, k = s->k, la = k + s->more, lb = n + s->more, lc = n + s->more;
    float *da = check_guarded_f32(m * 2 * k), *db = check_guarded_f32(k * 2 * n);
    float *a = pairs(da, m, k, la, kind, ref), *b = pairs(db, k, n, lb, ORDINARY, ref);
    float *start = matrix(m, n, lc), *got = matrix(m, n, lc), *other = matrix(m, n, lc);
    size_t bytes = (size_t)((m - 1) * lc + n) * sizeof(float);

    f->n = m * 1000000 + n * 1000 + k;
    check_fill(start, (m - 1) * lc + n, ORDINARY);
    memcpy(got, start, bytes);
    memcpy(other, start, bytes);
    fast(got, lc, a, la, b, lb, m, n, k, add);
    fast(other, lc, a, la, b, lb, m, n, k / 3, add);
    fast(other, lc, a + k / 3, la, b + k / 3 * lb, lb, m, n, k - k / 3, true);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < lc && (i < m - 1 || j < n); j++) {
            double want = add || j >= n ? start[i * lc + j] : 0, room = 1e-34 + 1e-5 * fabs(want);
            for (int64_t p = 0; p < 2 * k && j < n; p++) {
                double add_p = (double)da[i * 2 * k + p] * db[p / 2 * 2 * n + 2 * j + p % 2];
                want += add_p;
                room += 1e-5 * fabs(add_p);
            }
            check_differ(f, !(fabs(want - got[i * lc + j]) <= (j < n ? room : 0)), "value", want,
                         got[i * lc + j]);
            check_differ(f, !check_same_f32(got[i * lc + j], other[i * lc + j]), "k in two parts",
                         got[i * lc + j], other[i * lc + j]);
        }
    check_parts(f, fast, s, a, b, start, got, other, add);
}

static struct found bench_mat(mat_mul_fn *fast, const struct kernels *ref)
{
    /* Keys of 16 heads of a latent page, values of them, and queries of a prompt. */
    static const struct mat_shape shapes[] = { { 64, 16, 576, 16 }, { 16, 512, 64, 64 },
                                               { 48, 64, 192, 0 }, { 256, 64, 512, 0 } };
    struct found f = { 0 };

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        const struct mat_shape *s = &shapes[i];
        float *a = matrix(s->m, s->k, s->k + s->more), *b = matrix(s->k, s->n, s->n + s->more);
        float *c = matrix(s->m, s->n, s->n);
        fill_matrix(a, s->m, s->k, s->k + s->more, ORDINARY);
        fill_matrix(b, s->k, s->n, s->n + s->more, ORDINARY);
        f.ns_new = BENCH_NS(fast(c, s->n, a, s->k + s->more, b, s->n + s->more, s->m, s->n, s->k,
                                 false));
        printf("      mat_mul [%lld, %lld, %lld] %.1f GFLOP/s\n", (long long)s->m,
               (long long)s->n, (long long)s->k, 2.0 * (double)(s->m * s->n * s->k) / f.ns_new);
        if (i == 0)
            f.ns_ref = BENCH_NS(ref->mat_mul(c, s->n, a, s->k + s->more, b, s->n + s->more, s->m,
                                             s->n, s->k, false)) / f.ns_new;
    }
    f.ns_ref *= f.ns_new;
    return f;
}

typedef void shape_fn(struct found *f, mat_mul_fn *fast, const struct kernels *ref,
                      const struct mat_shape *s, enum kind kind, bool add);

static struct found check_shapes(mat_mul_fn *fast, const struct kernels *ref, shape_fn *check)
{
    static const int64_t widths[] = { 1, 5, 8, 16, 17, 33, 48, 63, 64, 80, 131 };
    static const int64_t depths[] = { 0, 1, 3, 64, 200, 576 };
    struct found f = { 0 };

    for (int64_t m = 1; m <= 40 && !f.bad; m += m < 20 ? 1 : 10)
        for (size_t i = 0; i < sizeof(widths) / sizeof(*widths); i++)
            for (size_t l = 0; l < sizeof(depths) / sizeof(*depths) && !f.bad; l++) {
                struct mat_shape s = { m, widths[i], depths[l], l % 2 ? 3 : 0 };
                enum kind kind = l == 3 ? (enum kind)(m % N_KINDS) : ORDINARY;
                check(&f, fast, ref, &s, kind, i % 2);
            }
    return check_bench && !f.bad ? bench_mat(fast, ref) : f;
}

struct found check_mat_mul(mat_mul_fn *fast, const struct kernels *ref)
{
    return check_shapes(fast, ref, check_mat_shape);
}

struct found check_mat_mul_bf16(mat_mul_fn *fast, const struct kernels *ref)
{
    return check_shapes(fast, ref, check_bf16_shape);
}

struct found check_transpose(transpose_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };

    for (int64_t m = 0; m <= 40; m += m < 20 ? 1 : 10)
        for (int64_t n = 0; n <= 50 && !f.bad; n += n < 20 ? 1 : 10) {
            int64_t lx = n + m % 3, lo = m + n % 3;
            float *x = matrix(m, n, lx), *got = matrix(n, m, lo), *want = matrix(n, m, lo);
            int64_t size = n ? (n - 1) * lo + m : 0;
            f.n = m * 1000 + n;
            fill_matrix(x, m, n, lx, ORDINARY);
            check_fill_bytes(got, (size_t)size * sizeof(float));
            memcpy(want, got, (size_t)size * sizeof(float));
            ref->transpose(want, lo, x, lx, m, n);
            fast(got, lo, x, lx, m, n);
            for (int64_t i = 0; i < size; i++)
                check_differ(&f, !check_same_f32(want[i], got[i]), "bits", want[i], got[i]);
        }
    if (check_bench && !f.bad) {
        float *x = matrix(64, 128, 128), *out = matrix(128, 64, 64);
        fill_matrix(x, 64, 128, 128, ORDINARY);
        f.ns_ref = BENCH_NS(ref->transpose(out, 64, x, 128, 64, 128));
        f.ns_new = BENCH_NS(fast(out, 64, x, 128, 64, 128));
    }
    return f;
}

static void check_softmax_row(struct found *f, softmax_fn *fast, const struct kernels *ref,
                              enum kind kind, float max, float scale)
{
    int64_t n = f->n;
    float *x = check_guarded_f32(n), *want = check_guarded_f32(n);
    float *moved = check_guarded_f32(n + 1);
    float max_want = max, max_got = max, max_moved = max, sum_want, sum_got;

    check_fill(x, n, kind);
    memcpy(want, x, (size_t)n * sizeof(float));
    memcpy(moved, x, (size_t)n * sizeof(float));
    sum_want = ref->softmax(want, n, scale, &max_want);
    sum_got = fast(x, n, scale, &max_got);
    check_differ(f, !(max_want == max_got), "largest", max_want, max_got);
    check_differ(f, !(fabsf(sum_want - sum_got) <= 1e-5f * sum_want + 1e-37f), "sum", sum_want,
                 sum_got);
    for (int64_t i = 0; i < n; i++)
        check_differ(f, !(fabsf(want[i] - x[i]) <= 1e-5f * want[i] + 1e-37f), "value", want[i],
                     x[i]);
    check_differ(f, !check_same_f32(sum_got, fast(moved, n, scale, &max_moved)),
                 "depends on the address", sum_got, 0);
}

struct found check_softmax(softmax_fn *fast, const struct kernels *ref)
{
    struct found f = { 0 };
    float *x = check_guarded_f32(64), max = -INFINITY;

    for (f.n = 0; f.n <= 130 && !f.bad; f.n++)
        for (int kind = 0; kind < N_KINDS; kind++) {
            check_softmax_row(&f, fast, ref, (enum kind)kind, -INFINITY, 0.125f);
            check_softmax_row(&f, fast, ref, (enum kind)kind, 3, 5);
            check_softmax_row(&f, fast, ref, (enum kind)kind, -1e30f, 1e-3f);
        }
    for (int64_t i = 0; i < 64 && !f.bad; i++) {            /* a NaN is seen, wherever it is */
        check_fill(x, 64, ORDINARY);
        x[i] = NAN;
        max = 0;
        check_differ(&f, !isnan(fast(x, i < 40 ? 64 : i + 1, 1, &max)), "sum with a NaN", NAN, 0);
        check_differ(&f, !isnan(x[i]), "a NaN", NAN, x[i]);
    }
    if (check_bench && !f.bad) {
        float *row = check_guarded_f32(64);
        check_fill(x, 64, ORDINARY);
        f.ns_ref = BENCH_NS(memcpy(row, x, 256); max = 0; ref->softmax(row, 64, 0.1f, &max));
        f.ns_new = BENCH_NS(memcpy(row, x, 256); max = 0; fast(row, 64, 0.1f, &max));
    }
    return f;
}
