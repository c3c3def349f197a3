/* test_sampler.c - from logits to a token, and stop strings. */
#include "engine/sampler.h"

#include "base/buf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything off, temperature 1. */
static struct sampler_options plain(void)
{
    return (struct sampler_options){ .temperature = 1, .top_p = 1, .repeat_penalty = 1,
                                     .repeat_last_n = 64 };
}

static int32_t next_after(const struct sampler_options *o, const float *logits, int32_t n,
                          const int32_t *history, int64_t n_history, int64_t pos)
{
    struct sampler *s;
    int32_t id;

    cr_assert_eq(sampler_new(&s, o, n), OK, "%s", err_text());
    cr_assert_eq(sampler_next(s, logits, history, n_history, pos, &id), OK, "%s", err_text());
    sampler_free(s);
    return id;
}

/* Draws at positions 0 .. n_draw-1, counted by token. */
static void histogram(const struct sampler_options *o, const float *logits, int32_t n, int n_draw,
                      int *count)
{
    struct sampler *s;
    int32_t id;

    cr_assert_eq(sampler_new(&s, o, n), OK, "%s", err_text());
    memset(count, 0, (size_t)n * sizeof(*count));
    for (int i = 0; i < n_draw; i++) {
        cr_assert_eq(sampler_next(s, logits, NULL, 0, i, &id), OK);
        cr_assert(id >= 0 && id < n);
        count[id]++;
    }
    sampler_free(s);
}

static double chi_square(const int *count, const double *p, int n, int n_draw)
{
    double x = 0;

    for (int i = 0; i < n; i++) {
        double want = p[i] * n_draw;

        if (want == 0)
            cr_expect_eq(count[i], 0, "token %d was drawn", i);
        else
            x += (count[i] - want) * (count[i] - want) / want;
    }
    return x;
}

/* p = 1/2, 1/4, 1/8, 1/16, 1/16 in shuffled places. */
static const float halves[5] = { -1.38629436f, 0, -2.07944154f, -0.69314718f, -2.07944154f };

Test(sampler, greedy_takes_the_largest_and_of_equals_the_lowest_id)
{
    const float logits[6] = { 0, 2, 3, 3, -1, 3 };
    struct sampler_options o = plain();

    o.temperature = 0;
    cr_expect_eq(next_after(&o, logits, 6, NULL, 0, 0), 2);
    cr_expect_eq(next_after(&o, logits, 6, NULL, 0, 12345), 2);
    o.temperature = 1;
    o.top_k = 1;
    cr_expect_eq(next_after(&o, logits, 6, NULL, 0, 7), 2);
    o.top_k = 0;
    o.top_p = 0;
    cr_expect_eq(next_after(&o, logits, 6, NULL, 0, 7), 2);
    o.top_p = 1;
    o.temperature = 1e-30f;
    for (int pos = 0; pos < 50; pos++) {
        int32_t id = next_after(&o, logits, 6, NULL, 0, pos);
        cr_expect(id == 2 || id == 3 || id == 5);
    }
}

Test(sampler, draws_follow_the_distribution)
{
    const double p[5] = { 1 / 8.0, 1 / 2.0, 1 / 16.0, 1 / 4.0, 1 / 16.0 };
    struct sampler_options o = plain();
    int count[5];

    /* Four degrees of freedom: beyond 23.5 once in 10,000 seeds.  All bounded by 20 here. */
    for (o.seed = 0; o.seed < 5; o.seed++) {
        histogram(&o, halves, 5, 20000, count);
        cr_expect_lt(chi_square(count, p, 5, 20000), 20.0);
    }
    /* And the test can fail: the same draws against another distribution. */
    const double other[5] = { 1 / 8.0, 0.48, 1 / 16.0, 0.27, 1 / 16.0 };
    cr_expect_gt(chi_square(count, other, 5, 20000), 20.0);
}

Test(sampler, temperature_sharpens_and_flattens)
{
    /* p^2 and p^(1/2), normalised. */
    double p[5] = { 1 / 8.0, 1 / 2.0, 1 / 16.0, 1 / 4.0, 1 / 16.0 }, hot[5], cold[5];
    double sum_hot = 0, sum_cold = 0;
    struct sampler_options o = plain();
    int count[5];

    for (int i = 0; i < 5; i++) {
        sum_hot += hot[i] = sqrt(p[i]);
        sum_cold += cold[i] = p[i] * p[i];
    }
    for (int i = 0; i < 5; i++) {
        hot[i] /= sum_hot;
        cold[i] /= sum_cold;
    }
    o.temperature = 2;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, hot, 5, 20000), 20.0);
    o.temperature = 0.5f;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, cold, 5, 20000), 20.0);
}

Test(sampler, top_k_keeps_the_best_and_of_equals_the_lower_ids)
{
    const double p2[5] = { 0, 2 / 3.0, 0, 1 / 3.0, 0 };
    const double p4[5] = { 2 / 15.0, 8 / 15.0, 1 / 15.0, 4 / 15.0, 0 };
    struct sampler_options o = plain();
    int count[5];

    o.top_k = 2;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p2, 5, 20000), 20.0);
    o.top_k = 4;                        /* of tokens 2 and 4, which are equal, token 2 */
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p4, 5, 20000), 20.0);
    o.top_k = 1000;
    histogram(&o, halves, 5, 2000, count);
    cr_expect_gt(count[4], 0);
}

Test(sampler, top_p_keeps_the_fewest_that_reach_its_mass)
{
    const double p2[5] = { 0, 2 / 3.0, 0, 1 / 3.0, 0 };
    const double p3[5] = { 1 / 7.0, 4 / 7.0, 0, 2 / 7.0, 0 };
    struct sampler_options o = plain();
    int count[5];

    o.top_p = 0.74f;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p2, 5, 20000), 20.0);
    o.top_p = 0.76f;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p3, 5, 20000), 20.0);
    o.top_k = 3;                        /* of what top-k left: 4/7 + 2/7 reach 0.85 */
    o.top_p = 0.85f;
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p2, 5, 20000), 20.0);
    o.top_k = 0;
    o.top_p = 0.65f;                    /* with temperature 1/2 the best alone has 64/86 */
    o.temperature = 0.5f;
    histogram(&o, halves, 5, 2000, count);
    cr_expect_eq(count[1], 2000);
}

Test(sampler, min_p_drops_what_is_too_far_below_the_best)
{
    const double p2[5] = { 0, 2 / 3.0, 0, 1 / 3.0, 0 };
    struct sampler_options o = plain();
    int count[5];

    o.min_p = 0.26f;                    /* token 0 has 1/4 of the best's probability */
    histogram(&o, halves, 5, 20000, count);
    cr_expect_lt(chi_square(count, p2, 5, 20000), 20.0);
    o.min_p = 0.24f;
    histogram(&o, halves, 5, 2000, count);
    cr_expect_gt(count[0], 0);
    cr_expect_eq(count[2], 0);
    o.min_p = 0.26f;                    /* judged before temperature, however hot */
    o.temperature = 50;
    histogram(&o, halves, 5, 2000, count);
    cr_expect_eq(count[0], 0);
    o.min_p = 1;
    histogram(&o, halves, 5, 100, count);
    cr_expect_eq(count[1], 100);
}

Test(sampler, penalties_are_those_of_llama_cpp)
{
    const float logits[4] = { 2.0f, 1.9f, -1.0f, -1.5f };
    const float low[3] = { -1.0f, -1.1f, -9.0f };
    const int32_t history[5] = { 0, 0, 1, 2, 2 };
    struct sampler_options o = plain();

    o.temperature = 0;
    o.repeat_penalty = 1.1f;            /* 2/1.1 = 1.818 < 1.9 */
    cr_expect_eq(next_after(&o, logits, 4, history, 2, 2), 1);
    cr_expect_eq(next_after(&o, logits, 4, history, 3, 3), 0);
    cr_expect_eq(next_after(&o, low, 3, history, 1, 1), 0);     /* -1.1 = -1 * 1.1: equal */
    o.repeat_penalty = 1.2f;
    cr_expect_eq(next_after(&o, low, 3, history, 1, 1), 1);     /* multiplied, not divided */
    o.repeat_penalty = 1;
    o.presence_penalty = 0.2f;          /* once, however often */
    cr_expect_eq(next_after(&o, logits, 4, history, 2, 2), 1);
    cr_expect_eq(next_after(&o, logits, 4, history, 3, 3), 0);
    o.presence_penalty = 0;
    o.frequency_penalty = 0.06f;        /* 2 - 2 * 0.06 < 1.9, and 1.9 - 0.06 < 1.88 */
    cr_expect_eq(next_after(&o, logits, 4, history, 1, 1), 0);
    cr_expect_eq(next_after(&o, logits, 4, history, 2, 2), 1);
    cr_expect_eq(next_after(&o, logits, 4, history, 3, 3), 0);
    o.presence_penalty = 9;
    o.repeat_last_n = 3;                /* sees 1, 2, 2 */
    cr_expect_eq(next_after(&o, logits, 4, history, 5, 5), 0);
    o.repeat_last_n = -1;
    cr_expect_eq(next_after(&o, logits, 4, history, 5, 5), 3);
    o.repeat_last_n = 0;
    cr_expect_eq(next_after(&o, logits, 4, history, 5, 5), 0);
}

Test(sampler, a_draw_depends_on_seed_and_position_alone)
{
    float logits[97];
    struct sampler_options o = plain();
    struct sampler *s;
    int32_t first[64], id;
    int n_differ = 0;

    for (int i = 0; i < 97; i++)
        logits[i] = (float)(i * 37 % 97) / 30;
    o.top_k = 50;
    o.top_p = 0.95f;
    o.min_p = 0.01f;
    o.seed = 42;
    cr_assert_eq(sampler_new(&s, &o, 97), OK);
    for (int pos = 0; pos < 64; pos++)
        cr_assert_eq(sampler_next(s, logits, NULL, 0, pos, &first[pos]), OK);
    for (int pos = 64; pos-- > 0; ) {
        cr_assert_eq(sampler_next(s, logits, NULL, 0, pos, &id), OK);
        cr_expect_eq(id, first[pos]);
        cr_expect_eq(next_after(&o, logits, 97, NULL, 0, pos), first[pos]);
    }
    sampler_free(s);
    o.seed = 43;
    for (int pos = 0; pos < 64; pos++)
        n_differ += next_after(&o, logits, 97, NULL, 0, pos) != first[pos];
    cr_expect_gt(n_differ, 48);
}

Test(sampler, uniform_numbers_are_uniform_over_positions_and_seeds)
{
    enum { N = 64000, BINS = 64 };
    int by_pos[BINS] = { 0 }, by_seed[BINS] = { 0 }, pair[BINS] = { 0 };
    double p[BINS];

    for (int i = 0; i < BINS; i++)
        p[i] = 1.0 / BINS;
    for (int i = 0; i < N; i++) {
        float u = sampler_uniform(1, i), v = sampler_uniform((uint64_t)i, 5);
        float w = sampler_uniform(1, i + 1);

        cr_assert(u >= 0 && u < 1 && v >= 0 && v < 1);
        cr_expect_eq(u * 0x1p24f, floorf(u * 0x1p24f));
        by_pos[(int)(u * BINS)]++;
        by_seed[(int)(v * BINS)]++;
        pair[(int)(u * 8) * 8 + (int)(w * 8)]++;
    }
    /* 63 degrees of freedom: beyond 120 less than once in 100,000. */
    cr_expect_lt(chi_square(by_pos, p, BINS, N), 120.0);
    cr_expect_lt(chi_square(by_seed, p, BINS, N), 120.0);
    cr_expect_lt(chi_square(pair, p, BINS, N), 120.0);
    cr_expect_eq(sampler_uniform(7, 9), sampler_uniform(7, 9));
}

/* A draw is the place of u in the running sum: by hand for the first positions of a seed. */
Test(sampler, without_limits_tokens_stand_in_the_order_of_their_ids)
{
    const double end[5] = { 0.125, 0.625, 0.6875, 0.9375, 1 };
    struct sampler_options o = plain();

    o.seed = 3;
    for (int pos = 0; pos < 200; pos++) {
        double u = (double)sampler_uniform(3, pos);
        int want = 0;

        while (u >= end[want])
            want++;
        cr_expect_eq(next_after(&o, halves, 5, NULL, 0, pos), want);
    }
}

Test(sampler, keeping_the_best_agrees_with_sorting_them)
{
    enum { N = 257 };
    float logits[N];
    int32_t order[N];
    struct sampler_options o = plain();
    uint32_t x = 1;

    for (int i = 0; i < N; i++) {
        x = x * 1664525u + 1013904223u;
        logits[i] = (float)(x >> 26) / 8;       /* 64 values: many are equal */
        order[i] = i;
    }
    for (int i = 1; i < N; i++)                 /* stable: equals stay in the order of ids */
        for (int j = i; j > 0 && logits[order[j]] > logits[order[j - 1]]; j--) {
            int32_t swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
    for (o.top_k = 2; o.top_k < N; o.top_k += 17) {
        double sum = 0, cum = 0;
        for (int i = 0; i < o.top_k; i++)
            sum += exp((double)(logits[order[i]] - logits[order[0]]));
        for (int64_t pos = 0; pos < 20; pos++) {
            double u = (double)sampler_uniform(o.seed, pos) * sum;
            int i = 0;
            for (cum = 0; i < o.top_k - 1; i++) {
                cum += exp((double)(logits[order[i]] - logits[order[0]]));
                if (cum > u)
                    break;
            }
            cr_expect_eq(next_after(&o, logits, N, NULL, 0, pos), order[i], "top-k %d", o.top_k);
        }
    }
}

Test(sampler, extreme_logits_and_penalties_still_give_a_token)
{
    const float logits[3] = { 3e38f, -3e38f, 3e38f };
    const int32_t history[3] = { 0, 1, 2 };
    struct sampler_options o = plain();

    o.repeat_penalty = 0.01f;
    o.temperature = 100;
    o.top_p = 0.9f;
    int32_t id = next_after(&o, logits, 3, history, 3, 0);
    cr_expect(id == 0 || id == 2);
    o.repeat_penalty = 100;
    o.top_k = 2;
    id = next_after(&o, logits, 3, history, 3, 0);
    cr_expect(id == 0 || id == 2);
    o.temperature = 1e-40f;
    id = next_after(&o, logits, 3, history, 3, 0);
    cr_expect(id == 0 || id == 2);
    cr_expect_eq(next_after(&o, logits, 1, NULL, 0, 0), 0);
}

Test(sampler, a_logit_that_is_not_finite_is_named)
{
    float logits[3] = { 0, NAN, 1 };
    struct sampler_options o = plain();
    struct sampler *s;
    int32_t id;

    o.temperature = 0;
    cr_assert_eq(sampler_new(&s, &o, 3), OK);
    cr_expect_eq(sampler_next(s, logits, NULL, 0, 17, &id), ERR_FORMAT);
    cr_expect_str_eq(err_id(), "SAMPLE-03");
    cr_expect(strstr(err_text(), "token 1 at position 17"), "%s", err_text());
    cr_expect(strstr(err_text(), "croft show --check"));
    logits[1] = -INFINITY;
    cr_expect_eq(sampler_next(s, logits, NULL, 0, 17, &id), ERR_FORMAT);
    logits[1] = 5;
    cr_expect_eq(sampler_next(s, logits, NULL, 0, 17, &id), OK);
    cr_expect_eq(id, 1);
    sampler_free(s);
}

static void expect_refused(struct sampler_options o, const char *flag)
{
    struct sampler *s;

    cr_expect_eq(sampler_new(&s, &o, 3), ERR_ARG, "%s", flag);
    cr_expect_null(s);
    cr_expect(strstr(err_text(), flag), "%s", err_text());
}

Test(sampler, options_out_of_range_are_refused_by_their_flag)
{
    const float bad[] = { -0.5f, NAN, INFINITY, 1e9f };
    struct sampler_options o;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        o = plain(), o.temperature = bad[i], expect_refused(o, "--temp");
        o = plain(), o.top_p = bad[i], expect_refused(o, "--top-p");
        o = plain(), o.min_p = bad[i], expect_refused(o, "--min-p");
        o = plain(), o.repeat_penalty = bad[i], expect_refused(o, "--repeat-penalty");
        if (i == 0)
            continue;                   /* these two may be negative */
        o = plain(), o.presence_penalty = bad[i], expect_refused(o, "--presence-penalty");
        o = plain(), o.frequency_penalty = bad[i], expect_refused(o, "--frequency-penalty");
    }
    o = plain(), o.repeat_penalty = 0, expect_refused(o, "--repeat-penalty");
    o = plain(), o.top_k = -1, expect_refused(o, "--top-k");
    o = plain(), o.repeat_last_n = -2, expect_refused(o, "--repeat-last-n");
}

/* Feed in three pieces cut at i and j; what was shown at each moment must be a beginning of the
 * final text, and everything shown must be exactly `shown`. */
static void expect_stop(const char *const *stop, int n_stop, const char *text, const char *shown,
                        bool hit)
{
    size_t len = strlen(text);

    for (size_t i = 0; i <= len; i++) {
        for (size_t j = i; j <= len; j++) {
            const size_t cut[4] = { 0, i, j, len };
            struct stop_match *m;
            struct buf all = { 0 };
            const char *part;
            size_t n;
            bool got = false;

            cr_assert_eq(stop_match_new(&m, stop, n_stop), OK);
            for (int k = 0; k < 3; k++) {
                cr_assert_eq(stop_match_push(m, text + cut[k], cut[k + 1] - cut[k], &part, &n,
                                             &got), OK);
                buf_add(&all, part, n);
                cr_assert(memcmp(buf_text(&all), shown, all.len) == 0 &&
                          all.len <= strlen(shown), "half shown: %s", buf_text(&all));
            }
            cr_assert_eq(got, hit, "%s cut at %zu, %zu", text, i, j);
            stop_match_end(m, &part, &n);
            cr_assert(!hit || n == 0);
            buf_add(&all, part, n);
            cr_assert_str_eq(buf_text(&all), shown, "%s cut at %zu, %zu", text, i, j);
            buf_release(&all);
            stop_match_free(m);
        }
    }
}

#define STOPS(...) (const char *const[]){ __VA_ARGS__ }, \
    (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

Test(stop, strings_are_found_wherever_the_text_is_cut)
{
    expect_stop(STOPS("aab"), "aaab", "a", true);
    expect_stop(STOPS("abab"), "xabaabab tail", "xaba", true);
    expect_stop(STOPS("User:"), "Hi\nUser: no", "Hi\n", true);
    expect_stop(STOPS("User:"), "Hi\nUser", "Hi\nUser", false);
    expect_stop(STOPS("User:"), "", "", false);
    expect_stop(STOPS("x"), "x", "", true);
    expect_stop(STOPS("\xe3\x80\x82"), "\xe6\x88\x91\xe3\x80\x81\xe3\x80\x82z",
                "\xe6\x88\x91\xe3\x80\x81", true);
    expect_stop(NULL, 0, "all of it", "all of it", false);
}

Test(stop, of_several_the_first_complete_one_ends_the_text)
{
    expect_stop(STOPS("abcd", "bc"), "xabcd", "xa", true);
    expect_stop(STOPS("bc", "abc"), "xabcd", "x", true);
    expect_stop(STOPS("abcd", "cx"), "abcx", "ab", true);
    expect_stop(STOPS("###", "\n\n", "END"), "a#b\nEN\n\n###", "a#b\nEN", true);
    expect_stop(STOPS("aa", "aa"), "baab", "b", true);
}

Test(stop, no_more_is_held_back_than_could_become_a_stop_string)
{
    struct stop_match *m;
    const char *part;
    size_t n;
    bool hit;

    cr_assert_eq(stop_match_new(&m, STOPS("<|end|>")), OK);
    cr_assert_eq(stop_match_push(m, "1 < 2", 5, &part, &n, &hit), OK);
    cr_expect_eq(n, 5);
    cr_assert_eq(stop_match_push(m, " <|en", 5, &part, &n, &hit), OK);
    cr_expect_eq(n, 1);
    cr_assert_eq(stop_match_push(m, "t", 1, &part, &n, &hit), OK);
    cr_expect(n == 5 && memcmp(part, "<|ent", 5) == 0);
    cr_assert_eq(stop_match_push(m, "a<|end|>b", 9, &part, &n, &hit), OK);
    cr_expect(n == 1 && hit);
    cr_assert_eq(stop_match_push(m, "more", 4, &part, &n, &hit), OK);
    cr_expect(n == 0 && hit);
    stop_match_end(m, &part, &n);
    cr_expect_eq(n, 0);
    stop_match_free(m);
}

Test(stop, an_empty_stop_string_is_refused)
{
    struct stop_match *m;

    cr_expect_eq(stop_match_new(&m, STOPS("a", "")), ERR_ARG);
    cr_expect_str_eq(err_id(), "STOP-03");
    cr_expect_null(m);
    stop_match_free(NULL);
    sampler_free(NULL);
}
