/* test_mtp.c - the MTP layer: its rows in other company, feeding itself, and beside the model.
 *
 * That its logits are right is tests/golden/golden.py's business. */
#include <criterion/criterion.h>

#include "formats/weights.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define V3     "tests/golden/v3-nano/model-f32.gguf"
#define V3_MTP "tests/golden/v3-nano/model-f32-mtp.gguf"
#define FOLDER "tests/golden/v3-nano"

enum { N_SEQ = 3, N_TOK = 100, N_PROMPT = 80, N_PAGE = 2, EMBD = 64, VOCAB = 512 };

struct fixture {
    struct weights *w;
    struct model *m;
    struct kv_view kv[N_SEQ];
};

static void new_pages(struct fixture *f)
{
    uint64_t bytes = (model_kv_spec(f->m)->page_bytes + 63) / 64 * 64;

    for (int s = 0; s < N_SEQ; s++) {
        f->kv[s].n_page = N_PAGE;
        f->kv[s].page = calloc(N_PAGE, sizeof(*f->kv[s].page));
        for (int i = 0; i < N_PAGE; i++) {
            f->kv[s].page[i] = aligned_alloc(64, bytes);
            memset(f->kv[s].page[i], 0x7f, bytes);
        }
    }
}

static void free_pages(struct fixture *f)
{
    for (int s = 0; s < N_SEQ; s++) {
        for (int i = 0; i < N_PAGE; i++)
            free(f->kv[s].page[i]);
        free(f->kv[s].page);
    }
}

static void open_model(struct fixture *f, const char *path, bool mtp, bool exact)
{
    struct model_options o = { .n_thread = 2, .no_pin = true, .isa = isa_detect(), .exact = exact,
                               .kv_type = QTYPE_f16, .n_batch_max = 128, .mtp = mtp };

    cr_assert_eq(weights_open(&f->w, path, NULL), OK, "%s", err_text());
    cr_assert_eq(model_open(&f->m, f->w, &o), OK, "%s", err_text());
    new_pages(f);
}

static void close_model(struct fixture *f)
{
    free_pages(f);
    model_free(f->m);
    weights_free(f->w);
}

static struct batch_row row_at(int seq, int i, bool want)
{
    uint32_t mixed = (uint32_t)i * 2654435761u + (uint32_t)seq * 40503u;

    return (struct batch_row){ .token = (int32_t)(mixed % VOCAB), .seq = seq, .pos = i,
                               .kind = i >= N_PROMPT, .want_logits = want, .want_hidden = want };
}

static void step(struct fixture *f, const struct batch_row *row, int n, float *logits, float *in)
{
    struct batch b = { row, n, f->kv, N_SEQ };
    struct step_out out = { .logits = logits, .draft_in = in };

    cr_assert_eq(model_step(f->m, &b, &out), OK, "%s", err_text());
}

static void draft(struct fixture *f, const struct batch_row *row, int n, const float *hidden,
                  const struct step_out *out)
{
    struct batch b = { row, n, f->kv, N_SEQ };

    cr_assert_eq(model_draft(f->m, &b, hidden, out), OK, "%s", err_text());
}

/* What the main model gives for every token of every sequence, [N_SEQ, N_TOK, EMBD]. */
static float *main_rows(struct fixture *f)
{
    float *in = calloc(N_SEQ * N_TOK * EMBD, sizeof(*in));
    struct batch_row row[N_TOK];

    for (int s = 0; s < N_SEQ; s++) {
        for (int i = 0; i < N_TOK; i++)
            row[i] = row_at(s, i, true);
        step(f, row, N_TOK, NULL, in + (size_t)s * N_TOK * EMBD);
    }
    return in;
}

/* Results of rows by their places, compared with those of one row at a time. */
struct results { float *logits, *hidden, *in; };

static struct results new_results(size_t n)
{
    return (struct results){ calloc(n * VOCAB, sizeof(float)), calloc(n * EMBD, sizeof(float)),
                             calloc(n * EMBD, sizeof(float)) };
}

static void free_results(struct results *r)
{
    free(r->logits);
    free(r->hidden);
    free(r->in);
}

static void same_row(const struct results *a, size_t at, const struct results *b, size_t from)
{
    cr_assert_eq(memcmp(a->logits + at * VOCAB, b->logits + from * VOCAB, VOCAB * 4), 0,
                 "logits of row %zu differ in company", at);
    cr_assert_eq(memcmp(a->hidden + at * EMBD, b->hidden + from * EMBD, EMBD * 4), 0,
                 "the hidden row of %zu differs in company", at);
    cr_assert_eq(memcmp(a->in + at * EMBD, b->in + from * EMBD, EMBD * 4), 0,
                 "what row %zu hands on differs in company", at);
}

static void together(struct fixture *f, const float *in, const struct results *one)
{
    static const int cut[] = { 1, 2, 38, N_PROMPT, 81, 90, N_TOK };
    static float hidden[N_SEQ * N_TOK * EMBD];
    struct results got = new_results(128);

    for (size_t c = 0; c + 1 < sizeof(cut) / sizeof(*cut); c++) {
        struct batch_row row[128];
        int k = 0, wanted = 0;
        for (int s = N_SEQ - 1; s >= 0; s--)
            for (int i = cut[c]; i < cut[c + 1]; i++) {
                memcpy(hidden + k * EMBD, in + (s * N_TOK + i - 1) * EMBD, EMBD * sizeof(float));
                row[k++] = row_at(s, i, i % 3 != s);
            }
        draft(f, row, k, hidden, &(struct step_out){ .logits = got.logits, .hidden = got.hidden,
                                                     .draft_in = got.in });
        for (int i = 0; i < k; i++)
            if (row[i].want_logits)
                same_row(one, (size_t)(row[i].seq * N_TOK + row[i].pos), &got, (size_t)wanted++);
    }
    free_results(&got);
}

static void check_company(const char *path, bool exact)
{
    struct results one = new_results(N_SEQ * N_TOK);
    struct fixture f;

    open_model(&f, path, true, exact);
    float *in = main_rows(&f);
    for (int s = 0; s < N_SEQ; s++)
        for (int i = 1; i < N_TOK; i++) {
            struct batch_row row = row_at(s, i, true);
            size_t at = (size_t)(s * N_TOK + i);
            draft(&f, &row, 1, in + (at - 1) * EMBD,
                  &(struct step_out){ .logits = one.logits + at * VOCAB,
                                      .hidden = one.hidden + at * EMBD,
                                      .draft_in = one.in + at * EMBD });
        }
    free_pages(&f);
    new_pages(&f);                      /* the layer needs nothing of the others' KV */
    together(&f, in, &one);
    free(in);
    free_results(&one);
    close_model(&f);
}

Test(mtp, a_row_alone_is_the_same_bits_as_in_company)
{
    check_company(V3_MTP, false);
    check_company(V3_MTP, true);
    check_company(FOLDER, false);
}

static const float *vector(const struct fixture *f, const char *name)
{
    const struct tensor_info *t = weights_find(f->w, name);

    cr_assert(t && t->type == QTYPE_f32, "%s", name);
    return (const float *)(const void *)t->data;
}

/* hidden = shared_head.norm(g) and logits = head hidden, in double. */
static void check_head(const struct fixture *f, const float *g, const float *hidden,
                       const float *logits)
{
    const float *gain = vector(f, "blk.4.nextn.shared_head_norm.weight");
    const float *head = vector(f, "blk.4.nextn.shared_head_head.weight");
    double square = 0, sum;

    for (int i = 0; i < EMBD; i++)
        square += (double)g[i] * (double)g[i];
    for (int i = 0; i < EMBD; i++) {
        double want = g[i] * gain[i] / sqrt(square / EMBD + 1e-6);
        cr_assert(fabs(want - hidden[i]) < 1e-5, "hidden value %d: %g, not %g", i,
                  (double)hidden[i], want);
    }
    for (int v = 0; v < VOCAB; v++) {
        sum = 0;
        for (int i = 0; i < EMBD; i++)
            sum += (double)head[v * EMBD + i] * (double)hidden[i];
        cr_assert(fabs(sum - logits[v]) < 1e-4, "logit %d: %g, not %g", v, (double)logits[v], sum);
    }
}

/* Position p from the main model, then `ahead` more from the layer itself. */
Test(mtp, feeding_itself_it_hands_on_the_stream_before_the_norm_of_its_head)
{
    enum { P = 40, AHEAD = 4 };
    float logits[AHEAD][VOCAB], hidden[AHEAD][EMBD], g[AHEAD][EMBD], again[VOCAB];
    struct batch_row row[P + AHEAD];
    struct fixture f;

    open_model(&f, V3_MTP, true, true);
    float *in = main_rows(&f);
    for (int i = 0; i < P + AHEAD; i++)
        row[i] = row_at(0, i, i >= P);
    draft(&f, row + 1, P - 1, in, &(struct step_out){ 0 });
    for (int k = 0; k < AHEAD; k++) {
        draft(&f, &row[P + k], 1, k ? g[k - 1] : in + (P - 1) * EMBD,
              &(struct step_out){ .logits = logits[k], .hidden = hidden[k], .draft_in = g[k] });
        check_head(&f, g[k], hidden[k], logits[k]);
    }
    /* What it wrote from its own rows is replaced: position P + 1 as if it had never gone on. */
    draft(&f, &row[P + 1], 1, in + P * EMBD, &(struct step_out){ .logits = again });
    cr_assert_neq(memcmp(again, logits[1], sizeof(again)), 0, "its own row is the main model's");
    free_pages(&f);
    new_pages(&f);
    draft(&f, row + 1, P, in, &(struct step_out){ .logits = logits[0] });
    draft(&f, &row[P + 1], 1, in + P * EMBD, &(struct step_out){ .logits = logits[1] });
    cr_assert_arr_eq(again, logits[1], sizeof(again));
    free(in);
    close_model(&f);
}

Test(mtp, it_takes_the_hidden_row_that_was_asked_for)
{
    static float after[N_SEQ * N_TOK * EMBD];
    struct batch_row row[N_TOK];
    float before[EMBD], hidden[EMBD];
    struct fixture f;

    open_model(&f, V3_MTP, true, true);
    float *in = main_rows(&f);
    memcpy(after, in, sizeof(after));
    free(in);
    const float *gain = vector(&f, "output_norm.weight");
    struct weights *w = f.w;
    struct model_options o = { .n_thread = 1, .no_pin = true, .exact = true, .kv_type = QTYPE_f16,
                               .n_batch_max = 128, .mtp = true, .mtp_input = MTP_BEFORE_NORM };
    model_free(f.m);
    cr_assert_eq(model_open(&f.m, w, &o), OK, "%s", err_text());
    for (int i = 0; i < 8; i++)
        row[i] = row_at(0, i, i == 7);
    struct batch b = { row, 8, f.kv, N_SEQ };
    struct step_out out = { .hidden = hidden, .draft_in = before };
    cr_assert_eq(model_step(f.m, &b, &out), OK, "%s", err_text());
    double square = 0;
    for (int i = 0; i < EMBD; i++)
        square += (double)before[i] * (double)before[i];
    for (int i = 0; i < EMBD; i++) {
        double want = before[i] * gain[i] / sqrt(square / EMBD + 1e-6);
        cr_assert(fabs(want - after[7 * EMBD + i]) < 1e-4 && fabs(want - hidden[i]) < 1e-4,
                  "value %d: %g, not %g", i, want, (double)after[7 * EMBD + i]);
    }
    close_model(&f);
}

Test(mtp, the_main_model_is_the_same_bits_with_it)
{
    struct batch_row row[N_TOK];
    float *with = calloc(N_TOK * VOCAB, sizeof(float));
    float *without = calloc(N_TOK * VOCAB, sizeof(float));
    struct fixture f, g;

    open_model(&f, V3_MTP, true, false);
    open_model(&g, V3_MTP, false, false);
    for (int i = 0; i < N_TOK; i++)
        row[i] = row_at(0, i, true);
    step(&f, row, N_TOK, with, NULL);
    step(&g, row, N_TOK, without, NULL);
    cr_assert_arr_eq(with, without, N_TOK * VOCAB * sizeof(float));
    cr_assert(model_info(f.m)->mtp && !model_info(g.m)->mtp);
    cr_assert_eq(model_kv_spec(g.m)->n_layer, 4);
    cr_assert_eq(model_kv_spec(f.m)->n_layer, 5);
    cr_assert_eq(model_kv_spec(f.m)->page_bytes, model_kv_spec(g.m)->page_bytes / 4 * 5);
    cr_assert_eq(model_info(f.m)->n_param, model_info(g.m)->n_param);
    cr_assert_eq(model_info(f.m)->n_param_mtp, model_info(g.m)->n_param_mtp);
    uint8_t id[2][MODEL_IDENTITY_BYTES];
    cr_assert_eq(model_identity(f.m, id[0]), OK);
    cr_assert_eq(model_identity(g.m, id[1]), OK);
    cr_assert_arr_eq(id[0], id[1], MODEL_IDENTITY_BYTES);
    free(with);
    free(without);
    close_model(&f);
    close_model(&g);
}

Test(mtp, a_model_without_it_is_opened_and_says_so)
{
    struct fixture f;

    open_model(&f, V3, true, false);
    cr_assert(!model_info(f.m)->mtp);
    cr_assert_eq(model_kv_spec(f.m)->n_layer, 4);
    close_model(&f);
}
