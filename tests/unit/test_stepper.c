/* test_stepper.c - answers made together against the same made alone, on golden models. */
#include <criterion/criterion.h>

#include "engine/logprob.h"
#include "engine/session.h"
#include "engine/stepper.h"

#include <stdlib.h>
#include <string.h>

enum { N_REQUEST = 14, N_CTX = 256, N_SAID_MAX = 60, N_PROMPT_MAX = 150 };

struct asked {
    int32_t prompt[N_PROMPT_MAX], alone[N_SAID_MAX], said[N_SAID_MAX];
    uint8_t kind[N_PROMPT_MAX];
    int64_t n_prompt, n_max, n_said, fail_at;
    struct sampler_options sampling;
};

struct opened { struct weights *w; struct model *m; };

static struct opened open_model(const char *path)
{
    struct model_options o = { .n_thread = 2, .isa = isa_detect(), .kv_type = QTYPE_f16,
                               .n_batch_max = 64 };
    struct opened f;

    cr_assert_eq(weights_open(&f.w, path, NULL), OK, "%s", err_text());
    cr_assert_eq(model_open(&f.m, f.w, &o), OK, "%s", err_text());
    return f;
}

static void close_model(struct opened *f)
{
    model_free(f->m);
    weights_free(f->w);
}

/* Two tokens are nearly all that is said: what comes next stood there before. */
static const struct sampler_bias few[2] = { { 7, 40 }, { 9, 40 } };

/* Half of them begin alike, some with an earlier answer in it; every kind of sampler. */
static void write_request(struct asked *a, int i, int32_t n_vocab)
{
    static const struct sampler_options kinds[] = {
        { .temperature = 0, .top_p = 1, .repeat_penalty = 1 },
        { .temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 5 },
        { .temperature = 0.8f, .top_p = 0.9f, .top_k = 20, .repeat_penalty = 1.2f,
          .repeat_last_n = 64, .seed = 9 },
        { .temperature = 1, .top_p = 1, .repeat_penalty = 1, .mirostat = 2, .mirostat_tau = 4,
          .mirostat_eta = 0.2f, .seed = 11 },
        { .temperature = 1.5f, .top_p = 1, .repeat_penalty = 1, .dry_multiplier = 1, .dry_base = 2,
          .dry_allowed_length = 1, .dry_penalty_last_n = -1, .xtc_probability = 0.5f,
          .xtc_threshold = 0.01f, .seed = 2 },
        { .temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 6, .bias = few, .n_bias = 2 },
    };

    *a = (struct asked){ .n_prompt = 20 + i * 37 % 120, .n_max = 20 + i * 29 % 41, .fail_at = -1 };
    for (int64_t k = 0; k < a->n_prompt; k++) {
        int64_t who = i % 2 || k > 10 + 9 * i ? i : 100;
        a->prompt[k] = (int32_t)((uint32_t)(k * 2654435761 + who * 40503) % (uint32_t)n_vocab);
        a->kind[k] = i % 4 == 0 && k % 16 > 11 ? TOK_SAMPLED : TOK_PROMPT;
    }
    a->sampling = kinds[(size_t)i % (sizeof(kinds) / sizeof(*kinds))];
    a->sampling.seed += (uint64_t)i;
    a->sampling.n_ctx = N_CTX;
}

static void answer_alone(struct asked *a, struct model *m)
{
    struct session_options o = { .n_ctx = N_CTX, .n_batch = 64 };
    struct session *s;
    struct sampler *smp;

    cr_assert_eq(session_new(&s, m, &o), OK);
    cr_assert_eq(sampler_new(&smp, &a->sampling, model_info(m)->n_vocab), OK, "%s", err_text());
    cr_assert_eq(session_sync(s, a->prompt, a->kind, a->n_prompt, NULL, NULL, NULL), OK);
    for (int64_t i = 0; i < a->n_max; i++) {
        int64_t n = session_len(s);
        cr_assert_eq(sampler_next(smp, session_logits(s), session_tokens(s), n, n, &a->alone[i]),
                     OK);
        cr_assert_eq(session_push(s, a->alone[i]), OK);
    }
    sampler_free(smp);
    session_free(s);
}

static enum err take(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    struct asked *a = arg;

    (void)logits;
    cr_assert_eq(pos, a->n_prompt + a->n_said);
    a->said[a->n_said++] = id;
    *go_on = a->n_said < a->n_max;
    return a->n_said == a->fail_at ? err_set(ERR_STOPPED, "TEST-01", "enough") : OK;
}

static void add(struct stepper *s, struct asked *a, struct stepper_ticket **ticket)
{
    struct stepper_request r = { .id = a->prompt, .kind = a->kind, .n = a->n_prompt,
                                 .sampling = &a->sampling, .token = take, .arg = a };

    cr_assert_eq(stepper_add(s, &r, ticket), OK, "%s", err_text());
}

/* n_guess < 0: -n_guess, as far as they pay. */
static struct sched_counts answer_together(struct asked *a, struct model *m, int64_t n_page,
                                           int32_t n_seq, int32_t gap, int n_guess)
{
    struct stepper_options o = { .n_ctx = N_CTX, .n_seq_max = n_seq, .n_batch = 64,
                                 .n_page = n_page, .gap = gap, .n_guess = n_guess,
                                 .paced = n_guess < 0 };
    struct stepper_ticket *gone = NULL;
    struct asked extra;
    struct sched_counts counts;
    struct stepper *s;
    bool any = true;

    o.n_guess = n_guess < 0 ? -n_guess : n_guess;
    write_request(&extra, 3, model_info(m)->n_vocab);
    cr_assert_eq(stepper_new(&s, m, &o), OK, "%s", err_text());
    for (int i = 0; i < N_REQUEST; i++) {
        a[i].n_said = 0;
        add(s, &a[i], NULL);
        if (i == 2)
            add(s, &extra, &gone);
    }
    for (int i = 0; any; i++) {
        cr_assert_eq(stepper_step(s, &any), OK, "%s", err_text());
        if (i == 4)
            stepper_cancel(s, gone);
    }
    cr_assert_eq(stepper_n_live(s), 0);
    counts = stepper_counts(s);
    stepper_free(s);
    for (int i = 0; i < N_REQUEST; i++) {
        cr_assert_eq(a[i].n_said, a[i].n_max, "request %d", i);
        cr_assert(!memcmp(a[i].said, a[i].alone, (size_t)a[i].n_max * sizeof(*a[i].said)),
                  "request %d with %d at once and %d pages", i, n_seq, (int)n_page);
    }
    return counts;
}

static void check_model(const char *path)
{
    struct opened f = open_model(path);
    struct asked *a = calloc(N_REQUEST, sizeof(*a));
    struct sched_counts n;

    for (int i = 0; i < N_REQUEST; i++) {
        write_request(&a[i], i, model_info(f.m)->n_vocab);
        answer_alone(&a[i], f.m);
    }
    n = answer_together(a, f.m, 64, 16, 0, 0);
    cr_assert_eq(n.n_preempted, 0);
    cr_assert_eq(n.n_guess, 0);
    cr_assert_gt(n.n_shared_tok, 0);
    n = answer_together(a, f.m, 64, 16, 0, 16);
    cr_assert_gt(n.n_guess, n.n_right);
    cr_assert_gt(n.n_right, 20, "%lld of %lld", (long long)n.n_right, (long long)n.n_guess);
    n = answer_together(a, f.m, 5, 8, 2, 4);
    cr_assert_gt(n.n_preempted, 0);
    cr_assert_gt(n.n_guess, 0);
    answer_together(a, f.m, 64, 16, 2, -16);
    answer_together(a, f.m, 4, 1, 0, 16);
    free(a);
    close_model(&f);
}

Test(stepper, answers_made_together_are_those_made_alone_llama)
{
    check_model("tests/golden/llama31-nano/model-f32.gguf");
}

Test(stepper, answers_made_together_are_those_made_alone_with_latents)
{
    check_model("tests/golden/v3-nano/model-f32.gguf");
}

struct told { float logprob[N_PROMPT_MAX]; int64_t n; const struct asked *a; int32_t n_vocab; };

static void tell(void *arg, int64_t pos, const float *logits)
{
    struct told *t = arg;

    cr_assert_eq(pos, t->n + 1);
    t->logprob[++t->n] = (float)logprob_of(logprob_norm(logits, t->n_vocab),
                                           logits[t->a->prompt[pos]]);
}

static enum err end_at_once(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    (void)arg; (void)id; (void)logits; (void)pos;
    *go_on = false;
    return OK;
}

static void all_logits_of(struct stepper *s, struct told *t)
{
    struct stepper_request r = { .id = t->a->prompt, .kind = t->a->kind, .n = t->a->n_prompt,
                                 .sampling = &t->a->sampling, .token = end_at_once, .arg = t,
                                 .prompt = tell };

    t->n = 0;
    cr_assert_eq(stepper_add(s, &r, NULL), OK, "%s", err_text());
}

Test(stepper, a_prompt_s_own_logits_are_told_whole_in_any_company)
{
    struct opened f = open_model("tests/golden/llama31-nano/model-f32.gguf");
    struct stepper_options o = { .n_ctx = N_CTX, .n_seq_max = 6, .n_batch = 64, .n_page = 8 };
    struct asked a[4];
    struct told alone = { .n_vocab = model_info(f.m)->n_vocab }, beside[2] = { alone, alone };
    struct stepper *s;
    bool any = true;

    for (int i = 0; i < 4; i++)
        write_request(&a[i], i + 3, alone.n_vocab);
    alone.a = beside[0].a = beside[1].a = &a[0];
    cr_assert_eq(stepper_new(&s, f.m, &o), OK);
    all_logits_of(s, &alone);
    while (any)
        cr_assert_eq(stepper_step(s, &any), OK, "%s", err_text());
    cr_assert_eq(alone.n, a[0].n_prompt - 1);
    for (int i = 1; i < 4; i++)
        add(s, &a[i], NULL);
    all_logits_of(s, &beside[0]);
    all_logits_of(s, &beside[1]);
    for (any = true; any;)
        cr_assert_eq(stepper_step(s, &any), OK, "%s", err_text());
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(beside[i].n, alone.n);
        cr_assert(!memcmp(beside[i].logprob + 1, alone.logprob + 1,
                          (size_t)alone.n * sizeof(float)));
    }
    stepper_free(s);
    close_model(&f);
}

enum { N_EMBD_MAX = 96 };

struct rows { int64_t n, first; int32_t n_embd; float row[N_PROMPT_MAX][N_EMBD_MAX]; };

static void keep_row(void *arg, int64_t pos, const float *row)
{
    struct rows *r = arg;

    cr_assert_eq(pos, r->first + r->n);
    memcpy(r->row[r->n++], row, (size_t)r->n_embd * sizeof(*row));
}

static void rows_of(struct stepper *s, const struct asked *a, struct rows *r, bool all)
{
    struct stepper_request q = { .id = a->prompt, .kind = a->kind, .n = a->n_prompt, .arg = r,
                                 .hidden = keep_row, .all_hidden = all };

    r->n = 0;
    r->first = all ? 0 : a->n_prompt - 1;
    cr_assert_eq(stepper_add(s, &q, NULL), OK, "%s", err_text());
}

/* Beside answers, with so few pages that some are preempted, and with beginnings shared. */
Test(stepper, hidden_rows_are_told_once_and_the_same_in_any_company)
{
    struct opened f = open_model("tests/golden/v3-nano/model-f32.gguf");
    struct stepper_options o = { .n_ctx = N_CTX, .n_seq_max = 8, .n_batch = 64, .n_page = 6 };
    static struct rows alone, beside[2], last;
    struct asked a[6];
    struct stepper *s;
    bool any = true;

    alone.n_embd = beside[0].n_embd = beside[1].n_embd = last.n_embd = model_info(f.m)->n_embd;
    cr_assert(alone.n_embd <= N_EMBD_MAX);
    for (int i = 0; i < 6; i++)
        write_request(&a[i], i + 3, model_info(f.m)->n_vocab);
    cr_assert_eq(stepper_new(&s, f.m, &o), OK);
    rows_of(s, &a[0], &alone, true);
    while (any)
        cr_assert_eq(stepper_step(s, &any), OK, "%s", err_text());
    cr_assert_eq(alone.n, a[0].n_prompt);
    for (int i = 1; i < 6; i++)
        add(s, &a[i], NULL);
    for (int i = 0; i < 2; i++)
        rows_of(s, &a[0], &beside[i], true);
    rows_of(s, &a[0], &last, false);
    for (any = true; any;)
        cr_assert_eq(stepper_step(s, &any), OK, "%s", err_text());
    cr_assert_gt(stepper_counts(s).n_preempted, 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(beside[i].n, alone.n);
        cr_assert(!memcmp(beside[i].row, alone.row, sizeof(alone.row)));
    }
    cr_assert_eq(last.n, 1);
    cr_assert(!memcmp(last.row[0], alone.row[alone.n - 1], sizeof(last.row[0])));
    cr_assert_eq(stepper_n_live(s), 0);
    stepper_free(s);
    close_model(&f);
}

Test(stepper, an_error_of_a_token_function_ends_the_step)
{
    struct opened f = open_model("tests/golden/llama31-nano/model-f32.gguf");
    struct stepper_options o = { .n_ctx = N_CTX, .n_seq_max = 4, .n_batch = 64, .n_page = 16 };
    struct asked a[2];
    struct stepper *s;
    bool any;
    enum err e = OK;

    cr_assert_eq(stepper_new(&s, f.m, &o), OK);
    for (int i = 0; i < 2; i++) {
        write_request(&a[i], i, model_info(f.m)->n_vocab);
        add(s, &a[i], NULL);
    }
    a[1].fail_at = 3;
    while (e == OK)
        e = stepper_step(s, &any);
    cr_assert_eq(e, ERR_STOPPED);
    cr_assert_str_eq(err_id(), "TEST-01");
    stepper_free(s);
    close_model(&f);
}

Test(stepper, a_sampler_out_of_range_is_refused_when_it_is_asked_for)
{
    struct opened f = open_model("tests/golden/llama31-nano/model-f32.gguf");
    struct stepper_options o = { .n_ctx = N_CTX, .n_seq_max = 4, .n_batch = 64, .n_page = 16 };
    struct asked a;
    struct stepper *s;
    struct stepper_ticket *t;

    write_request(&a, 1, model_info(f.m)->n_vocab);
    a.sampling.top_p = 2;
    struct stepper_request r = { .id = a.prompt, .n = a.n_prompt, .sampling = &a.sampling,
                                 .token = take, .arg = &a };
    cr_assert_eq(stepper_new(&s, f.m, &o), OK);
    cr_assert_eq(stepper_add(s, &r, &t), ERR_ARG);
    cr_assert_null(t);
    cr_assert_eq(stepper_n_live(s), 0);
    stepper_free(s);
    close_model(&f);
}
