/* test_bench_serve.c - the arithmetic of `croft bench serve`: percentiles, arrivals, what events of
 * a server say. */
#include <criterion/criterion.h>

#include "cmd/bench_serve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(bench_serve, a_percentile_is_the_nearest_rank)
{
    struct samples s = { 0 };

    cr_assert_eq(samples_percentile(&s, 50), 0);
    for (int i = 20; i >= 1; i--)
        cr_assert_eq(samples_add(&s, i / 1e3), OK);
    cr_assert_float_eq(samples_percentile(&s, 50), 10, 1e-9);
    cr_assert_float_eq(samples_percentile(&s, 95), 19, 1e-9);
    cr_assert_float_eq(samples_percentile(&s, 95.1), 20, 1e-9);
    cr_assert_float_eq(samples_percentile(&s, 5), 1, 1e-9);
    cr_assert_float_eq(samples_percentile(&s, 100), 20, 1e-9);
    cr_assert_float_eq(samples_mean(&s), 10.5, 1e-9);
    cr_assert_eq(samples_add(&s, 0.0005), OK, "also after a percentile was asked for");
    cr_assert_float_eq(samples_percentile(&s, 1), 0.5, 1e-9);
    samples_release(&s);
    cr_assert_eq(samples_add(&s, 7), OK);
    cr_assert_float_eq(samples_percentile(&s, 50), 7000, 1e-9);
    samples_release(&s);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

Test(bench_serve, percentiles_of_many_are_those_of_the_sorted_list)
{
    enum { N = 12345 };
    double *v = malloc(N * sizeof(*v));
    struct samples s = { 0 };

    for (int i = 0; i < N; i++) {
        v[i] = floor(load_arrival(7, i) * 1e5);         /* microseconds */
        cr_assert_eq(samples_add(&s, v[i] / 1e6), OK);
    }
    qsort(v, N, sizeof(*v), by_value);
    for (int p = 1; p <= 100; p++)
        cr_assert_float_eq(samples_percentile(&s, p), v[(p * N + 99) / 100 - 1] / 1e3, 1e-9,
                           "p%d", p);
    samples_release(&s);
    free(v);
}

Test(bench_serve, times_beyond_what_is_kept_are_cut_and_refused)
{
    struct samples s = { 0 };

    cr_assert_eq(samples_add(&s, 1e9), OK);
    cr_assert_eq(samples_add(&s, -1), OK);
    cr_assert_float_eq(samples_percentile(&s, 100), UINT32_MAX / 1e3, 1e-6);
    cr_assert_eq(samples_percentile(&s, 1), 0);
    s.n = SAMPLES_MAX;
    cr_assert_eq(samples_add(&s, 1), ERR_LIMIT);
    s.n = 2;
    samples_release(&s);
}

Test(bench_serve, arrivals_are_exponential_and_follow_from_the_seed)
{
    enum { N = 20000 };
    double sum = 0, squares = 0;
    int beyond_one = 0, same = 0;

    for (int i = 0; i < N; i++) {
        double x = load_arrival(1, i);
        cr_assert(x >= 0 && x < 40);
        cr_assert_eq(x, load_arrival(1, i));
        same += x == load_arrival(2, i);
        sum += x;
        squares += x * x;
        beyond_one += x > 1;
    }
    cr_assert_eq(same, 0);
    cr_assert_float_eq(sum / N, 1, 0.03);
    cr_assert_float_eq(squares / N, 2, 0.15);
    cr_assert_float_eq((double)beyond_one / N, exp(-1), 0.015);
}

static struct load_event event(const char *data)
{
    struct load_event ev;

    load_event_read(&ev, data, strlen(data));
    return ev;
}

Test(bench_serve, an_event_is_text_when_it_brings_some)
{
    static const char *const with[] = {
        "{\"choices\": [{\"delta\": {\"content\": \"a\"}}]}",
        "{\"choices\": [{\"delta\": {\"reasoning_content\": \"a\"}}]}",
        "{\"choices\": [{\"delta\": {}}, {\"text\": \" \"}]}",
        "{\"choices\": [{\"delta\": {\"tool_calls\": [{\"index\": 0}]}}]}",
    };
    static const char *const without[] = {
        "{\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}",
        "{\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}", "{\"choices\": []}",
        "{\"choices\": {\"delta\": 1}}", "[1]", "{}",
    };

    for (size_t i = 0; i < sizeof(with) / sizeof(*with); i++)
        cr_assert(event(with[i]).text && !event(with[i]).error, "%s", with[i]);
    for (size_t i = 0; i < sizeof(without) / sizeof(*without); i++)
        cr_assert(!event(without[i]).text && !event(without[i]).error, "%s", without[i]);
    cr_assert(event("[DONE]").done);
    cr_assert(!event("[DONE] ").done);
}

Test(bench_serve, usage_and_errors_of_an_event)
{
    struct load_event ev = event("{\"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 3, "
                                 "\"prompt_tokens_details\": {\"cached_tokens\": 5}}}");

    cr_assert(ev.has_usage);
    cr_assert_eq(ev.prompt_tok, 7);
    cr_assert_eq(ev.output_tok, 3);
    cr_assert_eq(ev.cached_tok, 5);
    ev = event("{\"usage\": {\"prompt_tokens\": -7, \"completion_tokens\": \"x\"}}");
    cr_assert(ev.has_usage && ev.prompt_tok == 0 && ev.output_tok == 0);
    cr_assert(!event("{\"usage\": null}").has_usage);
    ev = event("{\"error\": {\"message\": \"too\\nmuch\"}}");
    cr_assert(ev.error);
    cr_assert_str_eq(ev.message, "too much");
    cr_assert(!event("{\"error\": null, \"choices\": []}").error);
    cr_assert(event("{\"choices\"").error);
}

Test(bench_serve, an_errors_text_is_its_message_or_its_beginning)
{
    char out[LOAD_TEXT], long_text[600];

    load_error_text(out, "{\"error\": \"plain\"}", 18);
    cr_assert_str_eq(out, "plain");
    load_error_text(out, "{\"message\": \"m\"}", 16);
    cr_assert_str_eq(out, "m");
    load_error_text(out, "<html>\n", 7);
    cr_assert_str_eq(out, "<html> ");
    load_error_text(out, "", 0);
    cr_assert_str_eq(out, "");
    for (size_t i = 0; i < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xc3\xa9", 2);
    load_error_text(out, long_text, sizeof(long_text));
    cr_assert_eq(strlen(out), LOAD_TEXT - 2, "cut between characters");
}
