/* test_sched.c - the scheduler under a model that is a hash, random clients, and one seed.
 *
 * The fake model keeps a running hash of tokens, kinds and positions in the KV pages, and its next
 * token follows from that: a row computed on a wrong, stale or half copied page gives another
 * answer than the request would get alone. */
#include <criterion/criterion.h>

#include "engine/sched.h"

#include <stdlib.h>
#include <string.h>

enum { ROW_BYTES = 8, PAGE_BYTES = ROW_BYTES * KV_PAGE_TOK, N_CTX = 400, N_VOCAB = 50,
       N_LIVE_MAX = 40, N_SEQ = 12, N_ROW = 96, END_TOKEN = 3 };

struct client {
    int32_t prompt[N_CTX], said[N_CTX], want[N_CTX + 1];    /* want: what it gets alone */
    uint8_t kind[N_CTX];
    int64_t n_prompt, n_said, n_max, n_want, number;
    int32_t adapter;
    uint64_t party;
    struct sched_seq *seq;
    bool live, had_row, pushed;
};

struct sim {
    uint64_t rng;
    struct kv_pool *pool;
    struct sched *sched;
    struct client client[N_LIVE_MAX];
    int64_t n_arrived, n_done, n_cancelled, n_preempted, n_shared, gap_work_max;
    int64_t n_guess, n_right;
    int32_t gap;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t dice(struct sim *s, uint32_t n)
{
    s->rng += 0x9e3779b97f4a7c15u;
    return (uint32_t)(mix(s->rng) >> 33) % n;
}

static uint64_t row_hash(uint64_t before, int32_t token, uint8_t kind, int32_t adapter, int64_t pos)
{
    return mix(before + 31 * (uint64_t)token + 7 * kind + 1009 * (uint64_t)adapter +
               (uint64_t)pos * 0x9e3779b97f4a7c15u);
}

static int32_t next_token(uint64_t hash)
{
    return (int32_t)(hash % N_VOCAB);
}

/* The whole step; *hash gets the last row's of each sequence that asks, in order. */
static void compute(const struct batch *b, uint64_t *hash)
{
    int n = 0;

    for (int32_t i = 0; i < b->n_row; i++) {
        const struct batch_row *r = &b->row[i];
        const struct kv_view *v = &b->kv[r->seq];
        uint64_t before = 0, now;
        cr_assert_lt(r->pos / KV_PAGE_TOK, v->n_page);
        if (r->pos)
            memcpy(&before, v->page[(r->pos - 1) / KV_PAGE_TOK] +
                   (r->pos - 1) % KV_PAGE_TOK * ROW_BYTES, ROW_BYTES);
        now = row_hash(before, r->token, r->kind, r->adapter, r->pos);
        memcpy(v->page[r->pos / KV_PAGE_TOK] + r->pos % KV_PAGE_TOK * ROW_BYTES, &now, ROW_BYTES);
        if (r->want_logits)
            hash[n++] = now;
    }
}

/* What the request gets alone. */
static int64_t alone(const struct client *c, int32_t *said)
{
    uint64_t hash = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < c->n_prompt; i++)
        hash = row_hash(hash, c->prompt[i], c->kind[i], c->adapter, i);
    for (;;) {
        said[n] = next_token(hash);
        if (said[n] == END_TOKEN || n + 1 == c->n_max || c->n_prompt + n == N_CTX)
            return n + 1;
        hash = row_hash(hash, said[n], TOK_SAMPLED, c->adapter, c->n_prompt + n);
        n++;
    }
}

/* One of a few system prompts, some of its length, then its own text; some with earlier answers. */
static void write_prompt(struct sim *s, struct client *c)
{
    uint32_t group = dice(s, 4), n_common = dice(s, 180), n_own = 1 + dice(s, 90);

    c->n_prompt = n_common + n_own;
    if (dice(s, 50) == 0)
        c->n_prompt = N_CTX - dice(s, 3);
    for (int64_t i = 0; i < c->n_prompt; i++) {
        bool own = i >= n_common;
        c->prompt[i] = (int32_t)(mix((uint64_t)i * 131 + group) % N_VOCAB);
        c->kind[i] = !own && group == 3 && i % 50 > 30 ? TOK_SAMPLED : TOK_PROMPT;
        if (own && dice(s, 8) == 0)
            c->prompt[i] = (int32_t)dice(s, N_VOCAB);
    }
    c->adapter = dice(s, 10) == 0;
    c->party = dice(s, 3);
    c->n_max = 1 + dice(s, 120);
}

static void arrive(struct sim *s)
{
    for (int i = 0; i < N_LIVE_MAX; i++) {
        struct client *c = &s->client[i];
        if (c->live)
            continue;
        memset(c, 0, sizeof(*c));
        write_prompt(s, c);
        c->n_want = alone(c, c->want);
        struct sched_request r = { .id = c->prompt, .kind = c->kind, .n = c->n_prompt,
                                   .adapter = c->adapter, .user = c, .party = c->party };
        cr_assert_eq(sched_add(s->sched, &r, &c->seq), OK, "%s", err_text());
        c->live = true;
        c->number = s->n_arrived++;
        return;
    }
}

static void cancel_one(struct sim *s)
{
    struct client *c = &s->client[dice(s, N_LIVE_MAX)];
    int64_t unused = kv_pool_unused(s->pool);

    if (!c->live)
        return;
    sched_cancel(s->sched, c->seq);
    cr_assert_geq(kv_pool_unused(s->pool), unused);
    c->live = false;
    s->n_cancelled++;
}

static void check_answer(struct sim *s, struct client *c)
{
    cr_assert_eq(c->n_said, c->n_want, "request %lld: %lld tokens and not %lld",
                 (long long)c->number, (long long)c->n_said, (long long)c->n_want);
    cr_assert(!memcmp(c->said, c->want, (size_t)c->n_want * sizeof(*c->want)), "request %lld",
              (long long)c->number);
    c->live = false;
    s->n_done++;
}

/* Some of what it will say, at times wrong from somewhere on. */
static void guess(struct sim *s, const struct client *c)
{
    int32_t id[SCHED_GUESS_EACH];
    int n = 0, most = (int)dice(s, SCHED_GUESS_EACH + 1);

    for (; n < most; n++) {
        int64_t k = c->n_said + n;
        id[n] = k < c->n_want && dice(s, 5) ? c->want[k] : (int32_t)dice(s, N_VOCAB);
    }
    sched_guess(c->seq, id, n);
}

/* The tokens of a sequence that asks, whose rows' hashes these are; true: it went on. */
static bool answer(struct sim *s, struct client *c, const uint64_t *hash)
{
    for (bool again = true; again; hash++) {
        int32_t id = next_token(*hash);
        cr_assert_eq(sched_len(c->seq), c->n_prompt + c->n_said);
        bool full = sched_len(c->seq) == N_CTX;
        c->said[c->n_said++] = id;
        if (full || id == END_TOKEN || c->n_said == c->n_max)
            return false;
        cr_assert_eq(sched_push(s->sched, c->seq, id, &again), OK, "%s", err_text());
    }
    return true;
}

static void answer_asks(struct sim *s, const struct sched_step *step, const uint64_t *hash)
{
    for (int32_t i = 0; i < step->n_ask; i++) {
        struct client *c = sched_user(step->ask[i]);
        int n = 0;
        for (int32_t k = 0; k < step->batch.n_row; k++)
            n += step->seq[step->batch.row[k].seq] == c->seq && step->batch.row[k].want_logits;
        cr_assert_leq(n, 1 + SCHED_GUESS_EACH);
        c->pushed = answer(s, c, hash);
        hash += n;
        if (c->pushed && dice(s, 4) == 0) {
            guess(s, c);
        } else if (!c->pushed) {
            sched_end(s->sched, c->seq);
            check_answer(s, c);
        }
    }
}

/* Each that got a token has a row, or was preempted; the oldest always has one; readers cost a
 * bounded share. */
static void check_step(struct sim *s, const struct sched_step *step, int64_t n_preempted)
{
    struct client *oldest = NULL;
    int64_t left_out = 0;

    for (int i = 0; i < N_LIVE_MAX; i++) {
        struct client *c = &s->client[i];
        c->had_row = false;
        for (int32_t k = 0; k < step->batch.n_row && c->live && !c->had_row; k++)
            c->had_row = step->batch.row[k].pos < sched_len(c->seq) &&
                         step->batch.row[k].token == sched_tokens(c->seq)[step->batch.row[k].pos];
        if (c->live && (!oldest || c->number < oldest->number))
            oldest = c;
        left_out += c->live && c->pushed && !c->had_row;
        c->pushed = false;
    }
    cr_assert(oldest && oldest->had_row, "the oldest waits");
    cr_assert_leq(left_out, n_preempted);
    if (s->gap && step->work_alone > 20) {
        cr_assert_leq(step->work, s->gap * step->work_alone + 1);
        if (step->work * 1000 / step->work_alone > s->gap_work_max)
            s->gap_work_max = step->work * 1000 / step->work_alone;
    }
}

static void begin(struct sim *s, int64_t n_page)
{
    struct sched_options o = { .n_seq_max = N_SEQ, .n_row_max = N_ROW, .n_ctx = N_CTX,
                               .work_step = 20, .gap = s->gap };

    if (!s->pool)
        cr_assert_eq(kv_pool_new(&s->pool, PAGE_BYTES, n_page), OK, "%s", err_text());
    cr_assert_eq(sched_new(&s->sched, s->pool, &o), OK, "%s", err_text());
}

static void end(struct sim *s)
{
    s->n_preempted += sched_counts(s->sched).n_preempted;
    s->n_shared += sched_counts(s->sched).n_shared_tok;
    s->n_guess += sched_counts(s->sched).n_guess;
    s->n_right += sched_counts(s->sched).n_right;
    sched_free(s->sched);
    cr_assert_eq(kv_pool_unused(s->pool), kv_pool_total(s->pool), "pages were lost");
    for (int i = 0; i < N_LIVE_MAX; i++)
        s->client[i].live = false;
}

static void simulate(struct sim *s, int64_t n_page, int64_t n_step)
{
    uint64_t hash[N_SEQ + SCHED_GUESS_MAX];
    struct sched_step step;
    uint32_t load = 3;

    begin(s, n_page);
    for (int64_t i = 0; i < n_step; i++) {
        if (i % 5000 == 4999) {
            end(s);
            begin(s, n_page);
            load = 2 + dice(s, 30);
        }
        if (dice(s, load) == 0 || load < 4)
            arrive(s);
        if (dice(s, 40) == 0)
            cancel_one(s);
        int64_t before = sched_counts(s->sched).n_preempted;
        if (!sched_plan(s->sched, &step)) {
            for (int k = 0; k < N_LIVE_MAX; k++)
                cr_assert_not(s->client[k].live, "it stopped with work to do");
            continue;
        }
        check_step(s, &step, sched_counts(s->sched).n_preempted - before);
        cr_assert_leq(step.batch.n_row, N_ROW);
        if (dice(s, 50) == 0)
            sched_drop_guesses(s->sched, &step);
        compute(&step.batch, hash);
        sched_computed(s->sched);
        answer_asks(s, &step, hash);
    }
    end(s);
    kv_pool_free(s->pool);
}

/* Pools from one context to more than all can use. */
static void simulate_pool(int64_t n_page, int32_t gap, uint64_t seed, bool preempts)
{
    struct sim *s = calloc(1, sizeof(*s));

    s->rng = seed;
    s->gap = gap;
    simulate(s, n_page, 25000);
    cr_assert_gt(s->n_done, 500, "%lld", (long long)s->n_done);
    cr_assert_gt(s->n_cancelled, 100);
    cr_assert_eq(s->n_preempted > 20, preempts, "%lld", (long long)s->n_preempted);
    cr_assert_gt(s->n_shared, 1000);
    cr_assert_gt(s->n_right, 1000);
    cr_assert_gt(s->n_guess, s->n_right + 1000);
    cr_assert(!gap || s->gap_work_max > 1000, "readers never stood beside others");
    free(s);
}

Test(sched, a_pool_of_one_context_serves_all_as_alone)
{
    simulate_pool(kv_pages(N_CTX), 2, 1, true);
}

Test(sched, a_pool_too_small_for_most_serves_all_as_alone)
{
    simulate_pool(2 * kv_pages(N_CTX), 0, 2, true);
}

Test(sched, with_pages_for_half_readers_still_cost_a_bounded_share)
{
    simulate_pool(2 * kv_pages(N_CTX), 2, 3, true);
}

Test(sched, with_pages_for_all_nobody_is_preempted)
{
    simulate_pool((N_SEQ + 1) * kv_pages(N_CTX), 3, 4, false);
}

static struct sched *few(struct kv_pool **p, int64_t n_page)
{
    struct sched_options o = { .n_seq_max = 4, .n_row_max = 512, .n_ctx = N_CTX, .work_step = 20 };
    struct sched *s;

    cr_assert_eq(kv_pool_new(p, PAGE_BYTES, n_page), OK);
    cr_assert_eq(sched_new(&s, *p, &o), OK);
    return s;
}

Test(sched, answers_to_one_prompt_share_its_pages)
{
    int32_t prompt[200] = { 1, 2, 3 };
    struct sched_request r = { .id = prompt, .n = 200 };
    struct sched_seq *q[4];
    struct sched_step step;
    struct kv_pool *p;
    struct sched *s = few(&p, 40);
    bool again;

    for (int i = 0; i < 4; i++)
        cr_assert_eq(sched_add(s, &r, &q[i]), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 200, "the others wait for what the first computes");
    sched_computed(s);
    cr_assert_eq(sched_push(s, q[0], 5, &again), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 4, "a row each: the first's answer, the others' last token");
    cr_assert_eq(step.n_ask, 4);
    cr_assert_eq(kv_pool_total(p) - kv_pool_unused(p), 3 + 4, "the last page is each one's own");
    sched_computed(s);
    for (int i = 0; i < 4; i++)
        sched_end(s, step.ask[i]);
    cr_assert_eq(kv_pool_total(p) - kv_pool_unused(p), 4, "one prompt is kept");
    cr_assert_eq(sched_add(s, &r, &q[0]), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 1, "and used");
    sched_free(s);
    kv_pool_free(p);
}

Test(sched, other_kinds_or_adapters_share_nothing)
{
    int32_t prompt[130] = { 1 };
    uint8_t kind[130] = { TOK_PROMPT, TOK_SAMPLED };
    struct sched_request a = { .id = prompt, .n = 130 }, b = a, c = a;
    struct sched_seq *q;
    struct sched_step step;
    struct kv_pool *p;
    struct sched *s = few(&p, 40);

    b.kind = kind;
    c.adapter = 1;
    cr_assert_eq(sched_add(s, &a, &q), OK);
    cr_assert_eq(sched_add(s, &b, &q), OK);
    cr_assert_eq(sched_add(s, &c, &q), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 130 + 130 + 130);
    cr_assert_eq(sched_counts(s).n_shared_tok, 0);
    sched_free(s);
    kv_pool_free(p);
}

/* Work counted: whether another party asked the same changes nothing, running or whole. */
Test(sched, other_parties_share_nothing_and_one_shares_all)
{
    int32_t prompt[130] = { 1 };
    struct sched_request a = { .id = prompt, .n = 130, .party = 1 }, b = a;
    struct sched_seq *q;
    struct sched_step step;
    struct kv_pool *p;
    struct sched *s = few(&p, 40);

    b.party = 2;
    cr_assert_eq(sched_add(s, &a, &q), OK);
    cr_assert_eq(sched_add(s, &b, &q), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 130 + 130, "neither waits for the other");
    sched_computed(s);
    sched_end(s, step.ask[1]);
    sched_end(s, step.ask[0]);
    b.party = 3;
    cr_assert_eq(sched_add(s, &b, &q), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 130, "a third one computes all of it");
    sched_computed(s);
    sched_end(s, step.ask[0]);
    cr_assert_eq(sched_counts(s).n_shared_tok, 0);
    for (int i = 1; i <= 3; i++) {
        b.party = (uint64_t)i;
        cr_assert_eq(sched_add(s, &b, &q), OK);
        cr_assert(sched_plan(s, &step));
        cr_assert_eq(step.batch.n_row, 1, "its own is kept beside those of others");
        sched_computed(s);
        sched_end(s, step.ask[0]);
    }
    sched_free(s);
    kv_pool_free(p);
}

Test(sched, the_next_turn_of_a_chat_takes_over_the_answer_too)
{
    int32_t chat[200] = { 1 }, side[150] = { 2 };
    uint8_t kind[200] = { 0 };
    struct sched_request a = { .id = chat, .n = 130 }, b = { .id = side, .n = 150 };
    struct sched_seq *q;
    struct sched_step step;
    struct kv_pool *p;
    struct sched *s = few(&p, 40);
    bool again;

    cr_assert_eq(sched_add(s, &a, &q), OK);
    for (int i = 0; i < 20; i++) {
        cr_assert(sched_plan(s, &step));
        sched_computed(s);
        chat[130 + i] = 7 + i;
        kind[130 + i] = TOK_SAMPLED;
        cr_assert_eq(sched_push(s, q, 7 + i, &again), OK);
    }
    cr_assert(sched_plan(s, &step));
    sched_computed(s);
    sched_end(s, q);
    cr_assert_eq(sched_add(s, &b, &q), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 150);
    sched_computed(s);
    sched_end(s, q);
    a.n = 170;
    a.kind = kind;
    cr_assert_eq(sched_add(s, &a, &q), OK);
    cr_assert(sched_plan(s, &step));
    cr_assert_eq(step.batch.n_row, 20, "what came between did not push it out");
    sched_free(s);
    kv_pool_free(p);
}

Test(sched, cancelling_frees_the_pages_at_once)
{
    int32_t prompt[130] = { 1 };
    struct sched_request r = { .id = prompt, .n = 130 };
    struct sched_seq *q, *waits;
    struct sched_step step;
    struct kv_pool *p;
    struct sched *s = few(&p, 7);

    cr_assert_eq(sched_add(s, &r, &q), OK);
    cr_assert(sched_plan(s, &step));
    sched_computed(s);
    cr_assert_eq(sched_add(s, &r, &waits), OK);
    cr_assert_eq(kv_pool_unused(p), 4);
    sched_cancel(s, q);
    cr_assert_eq(kv_pool_unused(p), 7);
    sched_cancel(s, waits);
    cr_assert_not(sched_plan(s, &step));
    sched_free(s);
    kv_pool_free(p);
}

Test(sched, a_prompt_that_can_never_fit_is_refused)
{
    int32_t prompt[N_CTX + 1] = { 1 };
    struct sched_request r = { .id = prompt, .n = N_CTX + 1 };
    struct sched_seq *q;
    struct kv_pool *p;
    struct sched *s = few(&p, 7);

    cr_assert_eq(sched_add(s, &r, &q), ERR_LIMIT);
    cr_assert_null(q);
    r.n = 0;
    cr_assert_eq(sched_add(s, &r, &q), ERR_ARG);
    sched_free(s);
    kv_pool_free(p);
}

/* A step, and the same token for all that ask. */
static void go_on(struct sched *s, int32_t id)
{
    struct sched_step step;
    bool again;

    cr_assert(sched_plan(s, &step));
    sched_computed(s);
    for (int32_t i = 0; i < step.n_ask; i++)
        cr_assert_eq(sched_push(s, step.ask[i], id, &again), OK);
}

Test(sched, waiting_costs_a_step_nothing)
{
    int32_t prompt[300] = { 1 }, other[300] = { 2 };
    struct sched_request a = { .id = prompt, .n = 100 }, b = { .id = other, .n = 300 }, c = b;
    struct sched_seq *q[3];
    struct kv_pool *p;
    struct sched *s = few(&p, 7);

    c.n = 290;
    cr_assert_eq(sched_add(s, &a, &q[0]), OK);
    go_on(s, 5);
    cr_assert_eq(sched_add(s, &b, &q[1]), OK);
    cr_assert_eq(sched_add(s, &c, &q[2]), OK);
    for (int i = 0; i < 200; i++)
        go_on(s, 5);
    cr_assert_eq(sched_n_waiting(s), 2, "there are no pages for them");
    cr_assert_eq(sched_counts(s).n_lookup, 2, "the first that waits is looked up once: %lld",
                 (long long)sched_counts(s).n_lookup);
    sched_cancel(s, q[0]);
    go_on(s, 5);
    cr_assert_eq(sched_n_waiting(s), 1, "and again when something ended");
    cr_assert_eq(sched_counts(s).n_lookup, 4);
    go_on(s, 5);
    cr_assert_eq(sched_n_waiting(s), 0, "the last takes over what the other has read");
    cr_assert_eq(sched_counts(s).n_lookup, 5, "%lld", (long long)sched_counts(s).n_lookup);
    cr_assert_eq(sched_reuse(q[2]).n, 289);
    sched_free(s);
    kv_pool_free(p);
}

Test(sched, says_what_was_computed_before_and_why_no_more)
{
    int32_t prompt[200] = { 1 };
    struct sched_request r = { .id = prompt, .n = 200 };
    struct sched_seq *q;
    struct kv_pool *p;
    struct sched *s = few(&p, 40);

    cr_assert_eq(sched_add(s, &r, &q), OK);
    go_on(s, 5);
    cr_assert(sched_reuse(q).n == 0 && sched_reuse(q).end == PREFIX_NONE);
    prompt[150] = 9;
    cr_assert_eq(sched_add(s, &r, &q), OK);
    go_on(s, 5);
    cr_assert(sched_reuse(q).n == 150 && sched_reuse(q).end == PREFIX_DIFFERS, "of one that runs");
    sched_end(s, q);
    prompt[170] = 9;
    cr_assert_eq(sched_add(s, &r, &q), OK);
    go_on(s, 5);
    cr_assert(sched_reuse(q).n == 170 && sched_reuse(q).end == PREFIX_DIFFERS, "of what is kept");
    r.all_logits = true;
    cr_assert_eq(sched_add(s, &r, &q), OK);
    go_on(s, 5);
    cr_assert(sched_reuse(q).n == 0 && sched_reuse(q).told);
    sched_free(s);
    kv_pool_free(p);
}
