/* check_kv.c - queries against rows of the KV cache. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A block whose rows end at an unreadable page, with what belongs to it. */
struct rows {
    struct kv_block b;
    float *q, *out, *dense[2];          /* dense: the rows as f32 */
};

static struct rows make(enum qtype type, int64_t n_q, int64_t n_tok, const int64_t n[2],
                        int64_t n_out, int64_t ld_q, const struct kernels *ref, enum kind kind)
{
    struct rows r = { .b = { .n_q = n_q, .n_tok = n_tok, .ld_q = ld_q, .ld_out = n_out + 3 } };

    for (int seg = 0; seg < 2; seg++) {
        int64_t bytes = qtype_row_bytes(type, n[seg]), row_bytes = bytes + (n[seg] % 16 ? 6 : 0);
        uint8_t *rows = check_guarded((size_t)((n_tok - 1) * row_bytes + bytes));
        r.dense[seg] = check_guarded_f32(n_tok * n[seg]);
        for (int64_t t = 0; t < n_tok && n[seg]; t++) {
            check_fill_weights(type, rows + t * row_bytes, n[seg], true, ref);
            ref->dequant[type](r.dense[seg] + t * n[seg], rows + t * row_bytes, n[seg]);
        }
        r.b.seg[seg].row = rows;
        r.b.seg[seg].row_bytes = row_bytes;
        r.b.seg[seg].n = n[seg];
    }
    r.b.q = r.q = check_guarded_f32(n_q * ld_q);
    r.b.out = r.out = check_guarded_f32((n_q - 1) * r.b.ld_out + n_out);
    check_fill(r.q, n_q * ld_q, kind);
    check_fill(r.out, (n_q - 1) * r.b.ld_out + n_out, ORDINARY);
    return r;
}

/* The sum of |q . row| of a query and a token. */
static double score_room(const struct rows *r, int64_t i, int64_t t)
{
    const float *q = r->q + i * r->b.ld_q;
    double sum = 0;

    for (int seg = 0; seg < 2; q += r->b.seg[seg++].n)
        for (int64_t e = 0; e < r->b.seg[seg].n; e++)
            sum += fabs((double)q[e] * r->dense[seg][t * r->b.seg[seg].n + e]);
    return 1e-5 * sum + 1e-40;
}

static double value_room(const struct rows *r, const float *start, int64_t i, int64_t e)
{
    double sum = fabs((double)start[i * r->b.ld_out + e]);

    for (int64_t t = 0; t < r->b.n_tok; t++)
        sum += fabs((double)r->q[i * r->b.ld_q + t] * r->dense[0][t * r->b.seg[0].n + e]);
    return 1e-5 * sum + 1e-40;
}

/* Values, what lies between the rows, and that a query alone gets the same bits. */
static void check_block(struct found *f, struct rows *r, kv_fn *fast, kv_fn *ref, bool value)
{
    struct kv_block b = r->b;
    int64_t n_out = value ? b.seg[0].n : b.n_tok, size = (b.n_q - 1) * b.ld_out + n_out;
    float *start = check_guarded_f32(size), *want = check_guarded_f32(size);
    float *alone = check_guarded_f32(n_out);

    memcpy(start, r->out, (size_t)size * sizeof(float));
    memcpy(want, r->out, (size_t)size * sizeof(float));
    b.out = want;
    ref(&b);
    fast(&r->b);
    for (int64_t at = 0; at < size && !f->bad; at++) {
        int64_t i = at / b.ld_out, e = at % b.ld_out;
        double room = e >= n_out ? 0 : value ? value_room(r, start, i, e) : score_room(r, i, e);
        check_differ(f, !(fabs((double)want[at] - r->out[at]) <= room),
                     e >= n_out ? "beside the result" : "value", want[at], r->out[at]);
    }
    for (int64_t i = 0; i < b.n_q && !f->bad; i += 1 + b.n_q / 3) {
        b = r->b;
        b.q += i * b.ld_q;
        b.n_q = 1;
        b.out = memcpy(alone, start + i * b.ld_out, (size_t)n_out * sizeof(float));
        if (!value)                     /* and each half of the tokens by itself */
            b.n_tok = n_out - n_out / 2;
        fast(&b);
        b.out += b.n_tok;
        b.seg[0].row = (const uint8_t *)b.seg[0].row + b.n_tok * b.seg[0].row_bytes;
        b.seg[1].row = (const uint8_t *)b.seg[1].row + b.n_tok * b.seg[1].row_bytes;
        b.n_tok = n_out / 2;
        if (!value && b.n_tok)
            fast(&b);
        for (int64_t e = 0; e < n_out; e++)
            check_differ(f, !check_same_f32(alone[e], r->out[i * b.ld_out + e]),
                         "a query alone", r->out[i * b.ld_out + e], alone[e]);
    }
}

/* The latents of a page for 16 heads, and keys of 3 heads of a group. */
static struct found bench_kv(enum qtype type, kv_fn *fast, const struct kernels *ref, bool value)
{
    static const struct { int64_t n_q, n[2]; } shapes[] = { { 3, { 64, 0 } },
                                                            { 16, { 512, 64 } } };
    struct found f = { 0 };

    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        const int64_t n[2] = { shapes[i].n[0], value ? 0 : shapes[i].n[1] };
        struct rows r = make(type, shapes[i].n_q, 64, n, value ? n[0] : 64,
                             value ? 64 : n[0] + n[1] + 16, ref, ORDINARY);
        f.ns_new = BENCH_NS(fast(&r.b));
        f.ns_ref = BENCH_NS_N(3, (value ? ref->kv_value : ref->kv_score)[type](&r.b));
        printf("      kv_%s [%lld, %lld] of 64 tokens: %.1f GFLOP/s\n", value ? "value" : "score",
               (long long)shapes[i].n_q, (long long)(n[0] + n[1]),
               2.0 * 64 * (double)(shapes[i].n_q * (n[0] + n[1])) / f.ns_new);
    }
    return f;
}

struct found check_kv(enum qtype type, kv_fn *fast, const struct kernels *ref, bool value)
{
    static const int64_t tokens[] = { 1, 2, 3, 11, 64 }, queries[] = { 1, 3, 4, 7, 8, 13, 16, 32 };
    static const int64_t lengths[][2] = { { 1, 0 }, { 7, 5 }, { 24, 4 }, { 40, 16 }, { 64, 0 },
                                          { 32, 32 }, { 96, 0 }, { 512, 64 } };
    int block = qtype_info[type].block_elems;
    struct found f = { 0 };

    for (int l = 0; l < 8; l++)
        for (int i = 0; i < 8; i++)
            for (int t = 0; t < 5 && !f.bad; t++) {
                int64_t n[2] = { lengths[l][0], value ? 0 : lengths[l][1] };
                enum kind kind = t == 2 ? (enum kind)((l + i) % N_KINDS) : ORDINARY;
                if (n[0] % block || n[1] % block)
                    continue;
                f.n = n[0] * 1000000 + queries[i] * 1000 + tokens[t];
                struct rows r = make(type, queries[i], tokens[t], n, value ? n[0] : tokens[t],
                                     (value ? tokens[t] : n[0] + n[1]) + t, ref, kind);
                check_block(&f, &r, fast, (value ? ref->kv_value : ref->kv_score)[type], value);
            }
    return check_bench && !f.bad ? bench_kv(type, fast, ref, value) : f;
}
