/* test_attn.c - attention over several chunks: right, and the same bits in any company. */
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOK = 4700, N_PAGE = (N_TOK + KV_PAGE_TOK - 1) / KV_PAGE_TOK };    /* over one wave */

static const struct attn_shape gqa = { 6, 2, 32, 0.2f };
static const struct mla_shape mla = { 3, 16, 8, 16, 32, 0.2f };

static struct {
    struct kv_layer layer;
    uint8_t *page[N_PAGE];
    struct kv_view kv;
    uint64_t seed;
} t;

static float uniform(void)
{
    t.seed = t.seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(t.seed >> 32) * 0x1p-31f;
}

static float *uniforms(int64_t n)
{
    float *x = malloc((size_t)n * sizeof(*x));
    cr_assert(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = uniform();
    return x;
}

static void make_pages(int64_t n0, int64_t n1)
{
    t.layer = (struct kv_layer){ QTYPE_f32, { 0, 0 }, { 0, 0 }, { n0, n1 } };
    for (int seg = 0; seg < 2; seg++)
        t.layer.row_bytes[seg] = (uint64_t)t.layer.n_elem[seg] * sizeof(float);
    t.layer.offset[1] = t.layer.row_bytes[0] * KV_PAGE_TOK;
    for (int i = 0; i < N_PAGE; i++)
        t.page[i] = (uint8_t *)uniforms((n0 + n1) * KV_PAGE_TOK);
    t.kv = (struct kv_view){ t.page, N_PAGE };
}

static struct ops *make_ops(int n_thread, struct pool **pool)
{
    struct ops_limits limits = { .act_elem = 64, .col = 64 };
    struct ops *o;

    limits.scratch_elem = ops_attn_scratch(&gqa) > ops_mla_scratch(&mla) ?
                          ops_attn_scratch(&gqa) : ops_mla_scratch(&mla);
    limits.latent_elem = ops_mla_latent(&mla);
    limits.act_elem = ops_mla_act(&mla);
    limits.col = mla.lora > mla.nope ? mla.lora : mla.nope;
    cr_assert_eq(pool_new(pool, &(struct pool_options){ .n_thread = n_thread }), OK);
    cr_assert_eq(ops_new(&o, *pool, isa_detect(), false, &limits), OK);
    return o;
}

/* Rows of any sequences; with weights by mla, else gqa. */
static void attend_rows(int n_thread, const struct attn_rows *rows, const float *q, float *out,
                        const struct mla_weights *w)
{
    struct pool *pool;
    struct ops *o = make_ops(n_thread, &pool);

    if (w)
        ops_mla(o, out, q, rows, &t.layer, &mla, w);
    else
        ops_attn(o, out, q, rows, &t.layer, &gqa);
    ops_free(o);
    pool_free(pool);
}

/* Rows begin .. begin + n - 1 of the sequence; form 0 is gqa, else mla's kind + 1. */
static void attend(int n_thread, int form, int64_t begin, int64_t n, const float *q, float *out,
                   const struct mla_weights *w)
{
    int32_t *seq = calloc((size_t)n, sizeof(*seq));
    int64_t *pos = calloc((size_t)n, sizeof(*pos));
    uint8_t *kind = calloc((size_t)n, 1);
    struct attn_rows rows = { seq, pos, kind, n, &t.kv };

    for (int64_t i = 0; i < n; i++) {
        pos[i] = begin + i;
        kind[i] = form == 2;
    }
    attend_rows(n_thread, &rows, q, out, w);
    free(seq);
    free(pos);
    free(kind);
}

/* One head of one query in double: key and value of token i by the two functions. */
static double key_elem(int64_t tok, int64_t head, int64_t i)
{
    return ((const float *)kv_row(&t.kv, &t.layer, 0, tok))[head * gqa.head_dim + i];
}

static double value_elem(int64_t tok, int64_t head, int64_t i)
{
    return ((const float *)kv_row(&t.kv, &t.layer, 1, tok))[head * gqa.head_dim + i];
}

static void gqa_close(const float *q, const float *out, int64_t pos, int64_t head)
{
    int64_t kv_head = head / (gqa.n_head / gqa.n_head_kv), n = gqa.head_dim;
    double want[64] = { 0 }, sum = 0;

    for (int64_t tok = 0; tok <= pos; tok++) {
        double score = 0;
        for (int64_t i = 0; i < n; i++)
            score += key_elem(tok, kv_head, i) * (double)q[head * n + i];
        double weight = exp(score * (double)gqa.scale);
        sum += weight;
        for (int64_t i = 0; i < n; i++)
            want[i] += weight * value_elem(tok, kv_head, i);
    }
    for (int64_t i = 0; i < n; i++)
        cr_assert_float_eq(want[i] / sum, (double)out[head * n + i], 1e-5, "position %lld",
                           (long long)pos);
}

Test(attn, a_row_of_a_long_prompt_is_right_and_has_the_bits_it_has_alone)
{
    enum { BEGIN = 900, ROWS = 300 };
    int64_t ld = gqa.n_head * gqa.head_dim;
    float *q, *many = calloc((size_t)(ROWS * ld), 4), *one = calloc((size_t)ld, 4);

    make_pages(gqa.n_head_kv * gqa.head_dim, gqa.n_head_kv * gqa.head_dim);
    q = uniforms(ROWS * ld);
    for (int n_thread = 1; n_thread <= 9; n_thread += 4) {      /* whole runs, and split ones */
        attend(n_thread, 0, BEGIN, ROWS, q, many, NULL);
        for (int64_t r = 0; r < ROWS; r += r % 128 == 0 ? 17 : 37) {
            attend(2, 0, BEGIN + r, 1, q + r * ld, one, NULL);
            gqa_close(q + r * ld, one, BEGIN + r, r % gqa.n_head);
            cr_assert_eq(memcmp(one, many + r * ld, (size_t)ld * 4), 0, "row %lld", (long long)r);
        }
    }
}

Test(attn, a_split_over_several_waves_gives_the_same_bits_for_any_threads)
{
    int64_t ld = gqa.n_head * gqa.head_dim;
    float *q, *a = calloc((size_t)(16 * ld), 4), *b = calloc((size_t)(16 * ld), 4);

    make_pages(gqa.n_head_kv * gqa.head_dim, gqa.n_head_kv * gqa.head_dim);
    q = uniforms(16 * ld);
    attend(1, 0, N_TOK - 16, 16, q, a, NULL);
    gqa_close(q + 15 * ld, a + 15 * ld, N_TOK - 1, 5);
    for (int n_thread = 2; n_thread <= 4; n_thread++) {
        attend(n_thread, 0, N_TOK - 16, 16, q, b, NULL);
        cr_assert_eq(memcmp(a, b, (size_t)(16 * ld) * 4), 0, "%d threads", n_thread);
    }
}

Test(attn, absorbed_and_expanded_agree_over_several_waves_of_chunks)
{
    int64_t ld_q = mla.n_head * (mla.nope + mla.rope), ld = mla.n_head * mla.v;
    int64_t n_row = mla.n_head * (mla.nope + mla.v);
    float *kv_b = uniforms(n_row * mla.lora), *q, out[3][3 * 3 * 16];
    struct weight w = { .name = "kv_b", .type = QTYPE_f32, .n_col = mla.lora, .n_row = n_row,
                        .row_bytes = (uint64_t)mla.lora * 4, .data = (const uint8_t *)kv_b };
    struct mla_weights weights = { .kv_b = &w };

    make_pages(mla.lora, mla.rope);
    q = uniforms(3 * ld_q);
    attend(2, 1, N_TOK - 3, 3, q, out[0], &weights);
    attend(1, 2, N_TOK - 3, 3, q, out[1], &weights);
    for (int64_t i = 0; i < 3 * ld; i++)
        cr_assert_float_eq((double)out[0][i], (double)out[1][i], 2e-5, "%lld", (long long)i);
    for (int n_thread = 2; n_thread <= 4; n_thread++)
        for (int64_t r = 0; r < 3; r++) {
            attend(n_thread, 2, N_TOK - 3 + r, 1, q + r * ld_q, out[2], &weights);
            cr_assert_eq(memcmp(out[2], out[1] + r * ld, (size_t)ld * 4), 0, "row %lld",
                         (long long)r);
        }
}

/* --- sequences that share pages -------------------------------------------------------------- */

/* Twelve sampled rows of six sequences: most begin alike, for 20 pages, 9, 1 or none; some rows
 * stand within what they share, at the end of it, and one sequence has rows over a page's end. */
enum { SEQS = 6, ROWS = 12 };
static const int shared_pages[SEQS] = { 0, 20, 20, 9, 1, 0 };
static const int32_t row_seq[ROWS] = { 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5 };
static const int64_t row_pos[ROWS] = { 1300, 1278, 1279, 1280, 1400, 1401, 40, 1600, 62, 63, 700,
                                       701 };

static void share_pages(struct kv_view view[SEQS], int64_t n0, int64_t n1)
{
    static uint8_t *page[SEQS][N_PAGE];

    make_pages(n0, n1);
    for (int i = 0; i < SEQS; i++) {
        for (int p = 0; p < 26; p++)
            page[i][p] = p < shared_pages[i] || i == 0 ? t.page[p] :
                         (uint8_t *)uniforms((n0 + n1) * KV_PAGE_TOK);
        view[i] = (struct kv_view){ page[i], 26 };
    }
}

static void each_row_is_as_alone(const struct kv_view *view, const float *q, int64_t ld_q,
                                 int64_t ld, const struct mla_weights *w)
{
    uint8_t kind[ROWS];
    float *all = calloc((size_t)(ROWS * ld), 4), *one = calloc((size_t)ld, 4);
    struct attn_rows rows = { row_seq, row_pos, kind, ROWS, view };

    memset(kind, 1, sizeof(kind));
    for (int n_thread = 1; n_thread <= 4; n_thread++) {
        attend_rows(n_thread, &rows, q, all, w);
        for (int r = 0; r < ROWS; r++) {
            struct attn_rows alone = { row_seq + r, row_pos + r, kind, 1, view };
            attend_rows(2, &alone, q + r * ld_q, one, w);
            cr_assert_eq(memcmp(one, all + r * ld, (size_t)ld * 4), 0, "%d threads, row %d",
                         n_thread, r);
        }
    }
    free(all);
    free(one);
}

Test(attn, rows_that_share_pages_have_the_bits_they_have_alone)
{
    struct kv_view view[SEQS];
    int64_t ld = gqa.n_head * gqa.head_dim;

    share_pages(view, gqa.n_head_kv * gqa.head_dim, gqa.n_head_kv * gqa.head_dim);
    each_row_is_as_alone(view, uniforms(ROWS * ld), ld, ld, NULL);
}

Test(attn, absorbed_rows_that_share_pages_have_the_bits_they_have_alone)
{
    struct kv_view view[SEQS];
    int64_t ld_q = mla.n_head * (mla.nope + mla.rope), n_row = mla.n_head * (mla.nope + mla.v);
    float *kv_b = uniforms(n_row * mla.lora);
    struct weight w = { .name = "kv_b", .type = QTYPE_f32, .n_col = mla.lora, .n_row = n_row,
                        .row_bytes = (uint64_t)mla.lora * 4, .data = (const uint8_t *)kv_b };

    share_pages(view, mla.lora, mla.rope);
    each_row_is_as_alone(view, uniforms(ROWS * ld_q), ld_q, mla.n_head * mla.v,
                         &(struct mla_weights){ .kv_b = &w });
}
