/* test_speculate.c - drafted tokens change nothing: the same tokens, logits, sampler state and KV
 * as plain decoding, whoever drafts, however many, switched at random from a seed. */
#include <criterion/criterion.h>

#include "engine/speculate.h"

#include <stdlib.h>
#include <string.h>

#define V3    "tests/golden/v3-nano/model-f32.gguf"
#define MTP   "tests/golden/v3-nano/model-f32-mtp.gguf"
#define LITE  "tests/golden/v2-lite-nano/model-f32.gguf"
#define SMOL  "tests/golden/smollm-nano/model-f32.gguf"
#define QWEN2 "tests/golden/qwen2-nano"
#define QWEN3 "tests/golden/qwen3-nano"
#define STORY "models/stories260K.gguf"

enum { N_CTX = 160, N_TOK = 64, N_BATCH = 32 };

struct fixture {
    struct weights *w;
    struct model *m;
    size_t n_vocab;
};

static struct fixture open_model(const char *path, enum qtype kv)
{
    struct model_options o = { .n_thread = 1, .isa = isa_detect(), .kv_type = kv,
                               .n_batch_max = N_BATCH, .mtp = true };
    struct fixture f;

    cr_assert_eq(weights_open(&f.w, path, NULL), OK, "%s", err_text());
    cr_assert_eq(model_open(&f.m, f.w, &o), OK, "%s", err_text());
    f.n_vocab = (size_t)model_info(f.m)->n_vocab;
    return f;
}

static void close_model(struct fixture *f)
{
    model_free(f->m);
    weights_free(f->w);
}

static struct session *new_session(const struct fixture *f)
{
    struct session_options o = { .n_ctx = N_CTX, .n_batch = N_BATCH };
    struct session *s;

    cr_assert_eq(session_new(&s, f->m, &o), OK, "%s", err_text());
    return s;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* A prompt that says some things twice. */
static int64_t make_prompt(int32_t *id, size_t n_vocab, uint64_t seed)
{
    uint64_t state = seed * 77 + 1;
    int64_t n = 4 + (int64_t)(next_random(&state) % 40);

    for (int64_t i = 0; i < n; i++)
        id[i] = i > 8 && next_random(&state) % 4 ? id[i - 7] :
                (int32_t)(next_random(&state) % (n_vocab < 40 ? n_vocab : 40));
    return n;
}

/* What decoding leaves: each token, the logits it was drawn from, and the state after it. */
struct made {
    int32_t id[N_TOK];
    float *logits;                      /* [N_TOK + 1, n_vocab] */
    double mu[N_TOK];
    int64_t n_held;
};

static struct made new_made(size_t n_vocab)
{
    return (struct made){ .logits = calloc((N_TOK + 1) * n_vocab, sizeof(float)) };
}

static void decode_plain(struct made *out, const struct fixture *f, const int32_t *prompt,
                         int64_t n, const struct sampler_options *so)
{
    struct session *s = new_session(f);
    struct sampler *smp;

    cr_assert_eq(sampler_new(&smp, so, (int32_t)f->n_vocab), OK, "%s", err_text());
    cr_assert_eq(session_sync(s, prompt, NULL, n, NULL, NULL, NULL), OK, "%s", err_text());
    for (int i = 0; i < N_TOK; i++) {
        int64_t at = session_len(s);
        memcpy(out->logits + (size_t)i * f->n_vocab, session_logits(s), f->n_vocab * 4);
        cr_assert_eq(sampler_next(smp, session_logits(s), session_tokens(s), at, at, &out->id[i]),
                     OK, "%s", err_text());
        out->mu[i] = sampler_state(smp).mu;
        cr_assert_eq(session_push(s, out->id[i]), OK, "%s", err_text());
    }
    memcpy(out->logits + N_TOK * f->n_vocab, session_logits(s), f->n_vocab * 4);
    out->n_held = session_len(s);
    sampler_free(smp);
    session_free(s);
}

/* The same with drafts; how many of them a step takes changes by the seed, or stays. */
static struct speculate_stats decode_drafted(const struct made *plain, const struct fixture *f,
                                             struct speculate_options *o, const int32_t *prompt,
                                             int64_t n, const struct sampler_options *so,
                                             uint64_t seed, const char *what)
{
    struct session *s = new_session(f);
    struct speculate *p;
    struct sampler *smp;
    uint64_t state = seed;

    o->draft.session = s;
    o->draft.n_ctx = N_CTX;
    o->draft.n_batch = N_BATCH;
    cr_assert_eq(speculate_new(&p, o), OK, "%s", err_text());
    cr_assert_eq(sampler_new(&smp, so, (int32_t)f->n_vocab), OK, "%s", err_text());
    cr_assert_eq(session_sync(s, prompt, NULL, n, NULL, NULL, NULL), OK, "%s", err_text());
    cr_assert_eq(speculate_begin(p, smp, NULL, NULL), OK, "%s", err_text());
    for (int i = 0; i < N_TOK; i++) {
        int64_t at = speculate_len(p);
        int32_t id;
        cr_assert_eq(at, n + i);
        cr_assert(!memcmp(speculate_logits(p), plain->logits + (size_t)i * f->n_vocab,
                          f->n_vocab * 4), "%s: the logits of token %d differ", what, i);
        cr_assert_eq(sampler_next(smp, speculate_logits(p), session_tokens(s), at, at, &id), OK,
                     "%s", err_text());
        cr_assert_eq(id, plain->id[i], "%s: token %d is %d, not %d", what, i, id, plain->id[i]);
        cr_assert(sampler_state(smp).mu == plain->mu[i], "%s: mu after token %d", what, i);
        if (seed && next_random(&state) % 3 == 0)
            speculate_limit(p, (int)(next_random(&state) % 5) * 3);
        cr_assert_eq(speculate_push(p, id, N_TOK - 1 - i), OK, "%s", err_text());
    }
    cr_assert_eq(speculate_settle(p), OK, "%s", err_text());
    cr_assert_eq(session_len(s), plain->n_held, "%s", what);
    cr_assert(!memcmp(session_logits(s), plain->logits + N_TOK * f->n_vocab, f->n_vocab * 4),
              "%s: the last logits differ", what);
    struct speculate_stats got = speculate_stats(p);
    cr_assert_eq(got.n_tok, N_TOK);
    cr_assert_eq(got.n_tok, got.n_step + got.n_right, "%s", what);
    speculate_free(p);
    sampler_free(smp);
    session_free(s);
    return got;
}

/* Three tokens and little else: guesses are right often, and wrong often. */
static const struct sampler_bias few[] = { { 5, 40 }, { 6, 40 }, { 7, 40 } };

static const struct sampler_options samplers[] = {
    { .top_p = 1, .repeat_penalty = 1 },
    { .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1 },
    { .temperature = 1, .top_p = 1, .repeat_penalty = 1 },
    { .top_p = 1, .repeat_penalty = 1.3f, .presence_penalty = 0.4f, .frequency_penalty = 0.2f,
      .repeat_last_n = 24 },
    { .temperature = 0.7f, .top_p = 0.9f, .repeat_penalty = 1, .dry_multiplier = 0.9f,
      .dry_base = 1.75f, .dry_allowed_length = 2, .dry_penalty_last_n = -1, .n_ctx = N_CTX },
    { .temperature = 0.9f, .top_p = 1, .repeat_penalty = 1.1f, .repeat_last_n = -1,
      .mirostat = 2, .mirostat_tau = 3, .mirostat_eta = 0.2f },
    { .temperature = 1.2f, .typical_p = 0.9f, .top_p = 1, .repeat_penalty = 1,
      .xtc_probability = 0.5f, .xtc_threshold = 0.1f, .dynatemp_range = 0.5f, .dynatemp_exp = 1 },
    { .temperature = 0.5f, .top_p = 1, .repeat_penalty = 1, .bias = few, .n_bias = 3 },
};
enum { N_SAMPLERS = sizeof(samplers) / sizeof(samplers[0]) };

/* Each sampler with its own seed: plain, then the drafters of `base`, steady, switching and
 * paced.  What was right is added to *sum. */
static void compare_all(const struct fixture *f, const struct speculate_options *base,
                        uint64_t first, int n_seed, const char *what,
                        struct speculate_stats *sum)
{
    struct made plain = new_made(f->n_vocab);
    int32_t prompt[N_CTX];
    char name[128];

    for (int i = 0; i < N_SAMPLERS * n_seed; i++) {
        struct sampler_options so = samplers[i % N_SAMPLERS];
        uint64_t seed = first + (uint64_t)i;
        int64_t n = make_prompt(prompt, f->n_vocab, seed);
        so.seed = seed;
        decode_plain(&plain, f, prompt, n, &so);
        for (int way = 0; way < 3; way++) {
            struct speculate_options o = *base;
            o.paced = way == 2;
            snprintf(name, sizeof(name), "%s, sampler %d, seed %llu, way %d", what,
                     i % N_SAMPLERS, (unsigned long long)seed, way);
            struct speculate_stats got = decode_drafted(&plain, f, &o, prompt, n, &so,
                                                        way == 1 ? seed : 0, name);
            sum[way].n_step += got.n_step;
            sum[way].n_draft += got.n_draft;
            sum[way].n_right += got.n_right;
        }
    }
    free(plain.logits);
}

Test(speculate, lookup_gives_the_tokens_and_logits_of_plain_decoding)
{
    static const struct { const char *path; enum qtype kv; } model[] = {
        { V3, QTYPE_f16 }, { LITE, QTYPE_bf16 }, { SMOL, QTYPE_f16 }, { QWEN2, QTYPE_bf16 },
        { QWEN3, QTYPE_f32 }, { STORY, QTYPE_f16 },
    };
    struct speculate_options o = { .use[DRAFT_lookup] = true };

    for (size_t i = 0; i < sizeof(model) / sizeof(model[0]); i++) {
        struct speculate_stats sum[3] = { { 0 } };
        struct fixture f = open_model(model[i].path, model[i].kv);
        compare_all(&f, &o, 100 * i + 1, 2, model[i].path, sum);
        close_model(&f);
        cr_assert_gt(sum[0].n_right, 0, "%s: nothing was drafted right", model[i].path);
        cr_assert_gt(sum[0].n_draft, sum[0].n_right, "%s: nothing was wrong", model[i].path);
        cr_assert_gt(sum[1].n_draft, 0, "%s", model[i].path);
    }
}

Test(speculate, a_model_that_drafts_for_itself_is_always_right_with_every_sampler)
{
    static const char *const path[] = { V3, SMOL };

    for (int i = 0; i < 2; i++) {
        struct speculate_stats sum[3] = { { 0 } };
        struct fixture f = open_model(path[i], QTYPE_f32);
        struct speculate_options o = { .use[DRAFT_model] = true, .draft.model = f.m, .n_max = 4 };
        compare_all(&f, &o, 7, 1, path[i], sum);
        cr_assert_gt(sum[0].n_draft, 100);
        cr_assert_eq(sum[0].n_right, sum[0].n_draft, "%lld of %lld", (long long)sum[0].n_right,
                     (long long)sum[0].n_draft);
        close_model(&f);
    }
}

Test(speculate, another_model_of_the_vocabulary_is_right_less_often)
{
    struct speculate_stats sum[3] = { { 0 } };
    struct fixture f = open_model(QWEN2, QTYPE_f16), g = open_model(QWEN3, QTYPE_f16);
    struct speculate_options o = { .use[DRAFT_model] = true, .draft.model = g.m };

    compare_all(&f, &o, 50, 2, "qwen3 for qwen2", sum);
    cr_assert_gt(sum[0].n_draft, 2 * sum[0].n_right);
    struct speculate_options both = { .use[DRAFT_model] = true, .use[DRAFT_lookup] = true,
                                      .draft.model = g.m, .n_max = 5 };
    compare_all(&f, &both, 90, 1, "lookup and qwen3 for qwen2", sum);
    close_model(&f);
    close_model(&g);
}

Test(speculate, the_mtp_layer_changes_nothing)
{
    static const char *const path[] = { MTP, "tests/golden/v3-nano" };

    for (int i = 0; i < 2; i++) {
        struct speculate_stats sum[3] = { { 0 } };
        struct fixture f = open_model(path[i], i ? QTYPE_bf16 : QTYPE_f32);
        struct speculate_options o = { .use[DRAFT_mtp] = true, .n_max = i ? 3 : 0 };
        cr_assert(model_info(f.m)->mtp, "%s", path[i]);
        compare_all(&f, &o, 300, 2, path[i], sum);
        cr_assert_gt(sum[0].n_right, 0);
        cr_assert_gt(sum[0].n_draft, sum[0].n_right);
        cr_assert_gt(sum[2].n_draft, 0, "never tried");
        struct speculate_options both = { .use[DRAFT_mtp] = true, .use[DRAFT_lookup] = true };
        compare_all(&f, &both, 400, 1, "mtp and lookup", sum);
        close_model(&f);
    }
}

/* What the layer makes of a token behind a text that was read at once, with its kinds. */
static void guess_afresh(const struct fixture *f, const int32_t *id, const uint8_t *kind, int64_t n,
                         int32_t next, float *out)
{
    struct session *s = new_session(f);
    const float *logits;

    cr_assert_eq(session_sync(s, id, kind, n, NULL, NULL, NULL), OK, "%s", err_text());
    cr_assert(session_may_guess(s));
    cr_assert_eq(session_guess(s, next, 0, &logits), OK, "%s", err_text());
    memcpy(out, logits, f->n_vocab * 4);
    session_free(s);
}

Test(speculate, what_the_mtp_layer_knows_is_the_text_however_it_came_to_be)
{
    struct fixture f = open_model(MTP, QTYPE_f32);
    struct session *s = new_session(&f);
    cr_assert_eq(session_push_ready(s), OK);
    float *afresh = calloc(f.n_vocab, sizeof(float));
    int32_t id[N_CTX];
    uint8_t kind[N_CTX];
    uint64_t state = 11;
    const float *logits;

    for (int round = 0; round < 200; round++) {
        int64_t n = session_len(s), more = 1 + (int64_t)(next_random(&state) % 6);
        int what = (int)(next_random(&state) % 5);
        for (int i = 0; i < more; i++)
            id[i] = (int32_t)(next_random(&state) % f.n_vocab);
        if (!n || n + more + 40 > N_CTX || what == 0) {     /* another prompt, partly the same */
            n = n > 60 ? 60 : n;
            n = n ? (int64_t)(next_random(&state) % (uint64_t)n) : 0;
            memmove(id + n, id, (size_t)more * sizeof(*id));
            memcpy(id, session_tokens(s), (size_t)n * sizeof(*id));
            memcpy(kind, session_parts(s).kind, (size_t)n);
            for (int64_t i = n; i < n + more + 33; i++)
                id[i] = (int32_t)(i * 7 % 50);
            memset(kind + n, TOK_PROMPT, (size_t)more + 33);
            n += more + (round % 3 ? 0 : 33);
            cr_assert_eq(session_sync(s, id, kind, n, NULL, NULL, NULL), OK, "%s", err_text());
        } else if (what == 1) {
            cr_assert_eq(session_push(s, id[0]), OK, "%s", err_text());
        } else if (what == 2) {         /* a page of guesses, fed back and forgotten */
            for (int i = 0; i < more; i++)
                cr_assert_eq(session_guess(s, id[i], i, &logits), OK, "%s", err_text());
        } else {
            cr_assert_eq(session_push_many(s, id, more, &logits), OK, "%s", err_text());
            session_push_keep(s, 1 + (int64_t)(next_random(&state) % (uint64_t)more));
        }
        if (round % 3 == 0)
            cr_assert_eq(session_feed(s), OK, "%s", err_text());
        if (round % 4)
            continue;
        guess_afresh(&f, session_tokens(s), session_parts(s).kind, session_len(s), 9, afresh);
        cr_assert_eq(session_guess(s, 9, 0, &logits), OK, "%s", err_text());
        cr_assert(!memcmp(logits, afresh, f.n_vocab * 4), "round %d", round);
    }
    free(afresh);
    session_free(s);
    close_model(&f);
}

/* For `make check-long PART=draft`: DRAFT_PROMPTS prompts on v3-nano. */
Test(speculate, many_prompts_on_v3)
{
    const char *asked = getenv("DRAFT_PROMPTS");
    int n = asked ? atoi(asked) : N_SAMPLERS;
    struct speculate_stats sum[3] = { { 0 } };
    struct fixture f = open_model(MTP, QTYPE_f16);
    struct speculate_options o = { .use[DRAFT_lookup] = true, .use[DRAFT_mtp] = true };

    compare_all(&f, &o, 1000, (n + N_SAMPLERS - 1) / N_SAMPLERS, "v3-nano", sum);
    close_model(&f);
    if (asked)
        printf("%d prompts of v3-nano: %lld of %lld drafts taken, %lld when switching\n", n,
               (long long)sum[0].n_right, (long long)sum[0].n_draft, (long long)sum[1].n_right);
    cr_assert_gt(sum[0].n_right, 0);
}

Test(speculate, no_more_is_drafted_than_is_wanted_or_fits)
{
    struct fixture f = open_model(STORY, QTYPE_f16);
    struct session *s = new_session(&f);
    struct speculate_options o = { .use[DRAFT_lookup] = true, .draft.session = s,
                                   .draft.n_ctx = N_CTX };
    struct speculate *p;
    struct sampler *smp;
    int32_t id[N_CTX];

    cr_assert_eq(speculate_new(&p, &o), OK);
    cr_assert_eq(sampler_new(&smp, &samplers[0], (int32_t)f.n_vocab), OK);
    for (int i = 0; i < N_CTX; i++)
        id[i] = 5 + i % 3;
    cr_assert_eq(session_sync(s, id, NULL, 12, NULL, NULL, NULL), OK);
    cr_assert_eq(speculate_begin(p, smp, NULL, NULL), OK);
    cr_assert_eq(speculate_push(p, 5, 1), OK);
    cr_assert_eq(session_len(s), 13, "one token is wanted, and %lld were computed",
                 (long long)session_len(s));
    cr_assert_eq(speculate_push(p, 6, 3), OK);
    cr_assert_eq(session_len(s), 16, "%lld", (long long)session_len(s));
    cr_assert_eq(speculate_push(p, 400, 9), OK);    /* not what was drafted */
    cr_assert_eq(session_tokens(s)[14], 400);
    cr_assert_eq(speculate_settle(p), OK, "%s", err_text());
    cr_assert_eq(session_len(s), 15);
    cr_assert_eq(session_sync(s, id, NULL, N_CTX - 3, NULL, NULL, NULL), OK);
    cr_assert_eq(speculate_begin(p, smp, NULL, NULL), OK);
    for (int i = N_CTX - 3; i < N_CTX; i++)
        cr_assert_eq(speculate_push(p, id[i], 99), OK, "%s", err_text());
    cr_assert_eq(speculate_stats(p).n_draft, 4, "%lld", (long long)speculate_stats(p).n_draft);
    cr_assert_eq(speculate_push(p, 5, 99), ERR_LIMIT);
    cr_assert_eq(speculate_settle(p), OK, "%s", err_text());
    cr_assert_eq(session_len(s), N_CTX);
    speculate_free(p);
    sampler_free(smp);
    session_free(s);
    close_model(&f);
}

Test(speculate, a_draft_model_is_missed_by_name)
{
    struct fixture f = open_model(STORY, QTYPE_f16);
    struct session *s = new_session(&f);
    struct speculate_options o = { .use[DRAFT_model] = true, .draft.session = s,
                                   .draft.n_ctx = N_CTX };
    struct speculate *p;

    cr_assert_eq(speculate_new(&p, &o), ERR_ARG);
    cr_assert(strstr(err_text(), "--draft-model"), "%s", err_text());
    cr_assert_null(p);
    session_free(s);
    close_model(&f);
}
