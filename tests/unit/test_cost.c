/* test_cost.c - decimal text to integers, the price file by every line of price.def, usages by
 * every line of usage.def, and costs worked out by hand. */
#include <criterion/criterion.h>

#include "gateway/cost.h"
#include "gateway/exact.h"

#include <stdlib.h>
#include <string.h>

static enum exact amount(const char *text, int64_t *out)
{
    return exact_amount(out, text, strlen(text));
}

Test(cost, decimal_text_becomes_the_exact_integer)
{
    static const struct { const char *text; int64_t want; enum exact how; } cases[] = {
        { "0", 0, EXACT_OK }, { "-0.0", 0, EXACT_OK }, { "0e-99999999999", 0, EXACT_OK },
        { "1e-07", 100000, EXACT_OK }, { "1E-12", 1, EXACT_OK }, { "2.5e-06", 2500000, EXACT_OK },
        { "0.0000000029", 2900, EXACT_OK }, { "1.10", 1100000000000, EXACT_OK },
        { "6.0", 6000000000000, EXACT_OK }, { "0.0123e+2", 1230000000000, EXACT_OK },
        { "0.1", 100000000000, EXACT_OK }, { "9223372.036854775807", INT64_MAX, EXACT_OK },
        { "3.3333333333333335e-05", 33333333, EXACT_ROUNDED },
        { "0.0000016000000000000001", 1600000, EXACT_ROUNDED },
        { "1.4999e-12", 1, EXACT_ROUNDED }, { "1.5e-12", 2, EXACT_ROUNDED },
        { "5e-13", 1, EXACT_ROUNDED }, { "0.9999999999995", 1000000000000, EXACT_ROUNDED },
        { "4.9e-13", 0, EXACT_TOO_SMALL }, { "1e-99999999999999999999", 0, EXACT_TOO_SMALL },
        { "-1e-9", 0, EXACT_NEGATIVE }, { "9223372.036854775808", 0, EXACT_TOO_LARGE },
        { "9223372.0368547758075", 0, EXACT_TOO_LARGE },
        { "1e7", 0, EXACT_TOO_LARGE }, { "1e99999999999", 0, EXACT_TOO_LARGE },
        { "", 0, EXACT_NO_NUMBER }, { "-", 0, EXACT_NO_NUMBER }, { "1.", 0, EXACT_NO_NUMBER },
        { ".5", 0, EXACT_NO_NUMBER }, { "1e", 0, EXACT_NO_NUMBER }, { "1e+", 0, EXACT_NO_NUMBER },
        { "0x1", 0, EXACT_NO_NUMBER }, { "1 ", 0, EXACT_NO_NUMBER }, { "1,5", 0, EXACT_NO_NUMBER },
        { "nan", 0, EXACT_NO_NUMBER },
    };
    int64_t v;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cr_expect_eq(amount(cases[i].text, &v), cases[i].how, "%s", cases[i].text);
        cr_expect_eq(v, cases[i].want, "%s: %lld", cases[i].text, (long long)v);
    }
}

Test(cost, amounts_print_and_read_back)
{
    static const int64_t values[] = { 0, 1, 999999999999, 1000000000000, 1234567890123, 2500000,
                                      INT64_MAX };
    char text[EXACT_TEXT_BYTES];
    int64_t v;

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        exact_text(text, values[i]);
        cr_expect_eq(amount(text, &v), EXACT_OK, "%s", text);
        cr_expect_eq(v, values[i]);
    }
    exact_text(text, -1500000000000);
    cr_expect_str_eq(text, "-1.5");
    exact_text(text, INT64_MIN);
    cr_expect_str_eq(text, "-9223372.036854775808");
}

Test(cost, numbers_of_json_stay_text_and_texts_stay_as_they_are)
{
    static const char text[] = "{\"a-1\": [1e-07, -2.50 ,3], \"b\": \"7 \\\" 8\", \"c\": null}";
    json_t *root;

    cr_assert_eq(exact_json(&root, text, strlen(text), 1000, "x"), OK);
    json_t *list = json_object_get(root, "a-1");
    cr_expect_str_eq(json_string_value(json_array_get(list, 0)), "=1e-07");
    cr_expect_str_eq(json_string_value(json_array_get(list, 1)), "=-2.50");
    cr_expect_str_eq(json_string_value(json_array_get(list, 2)), "=3");
    cr_expect_str_eq(json_string_value(json_object_get(root, "b")), "7 \" 8");
    json_decref(root);
    cr_expect_eq(exact_json(&root, "{1:2}", 5, 1000, "x"), ERR_FORMAT);
    cr_expect_eq(exact_json(&root, "[1.2.3]", 7, 1000, "x"), ERR_FORMAT);
    cr_expect_eq(exact_json(&root, text, strlen(text), 8, "x"), ERR_LIMIT);
}

/* The cost of a usage by the fields of one model; `amounts` is prompt, completion, other. */
static enum err bill(struct cost *c, const char *fields, const char *usage, const char *residency)
{
    char text[2048];
    struct prices *t;
    struct usage u;
    enum err e;

    snprintf(text, sizeof(text), "{\"m\": {%s}}", fields);
    cr_assert_eq(prices_parse(&t, text, strlen(text), "test"), OK, "%s", err_text());
    e = usage_parse(&u, usage, strlen(usage), "test");
    if (!e) {
        snprintf(u.residency, sizeof(u.residency), "%s", residency);
        e = cost_of(c, prices_find(t, "m"), &u);
    }
    prices_free(t);
    return e;
}

static void expect(const char *fields, const char *usage, int64_t total)
{
    struct cost c;
    int64_t sum = 0;

    cr_assert_eq(bill(&c, fields, usage, ""), OK, "%s: %s", usage, err_text());
    cr_expect_eq(c.total, total, "%s %s: %lld", fields, usage, (long long)c.total);
    cr_expect_eq(c.total, c.prompt + c.completion + c.other);
    for (int i = 0; i < c.n; i++)
        sum += c.part[i].units * c.part[i].rate;
    cr_expect_eq(sum, c.total, "parts add up");
}

static void refuse(const char *fields, const char *usage, const char *id, const char *names)
{
    struct cost c;

    cr_assert_neq(bill(&c, fields, usage, ""), OK, "%s %s", fields, usage);
    cr_expect_str_eq(err_id(), id, "%s: %s", err_id(), err_text());
    cr_expect(strstr(err_text(), names), "%s", err_text());
}

#define BASE "\"input_cost_per_token\": 2e-06, \"output_cost_per_token\": 8e-06"

Test(cost, each_token_is_paid_once)
{
    static const char rates[] =
        BASE ", \"cache_read_input_token_cost\": 1e-06, "
        "\"cache_creation_input_token_cost\": 3e-06, "
        "\"cache_creation_input_token_cost_above_1hr\": 4e-06, "
        "\"output_cost_per_reasoning_token\": 9e-06";

    expect(rates, "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
           "\"prompt_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":3},"
           "\"completion_tokens_details\":{\"reasoning_tokens\":2}}",
           (3 * 2 + 4 * 1 + 3 * 3 + 3 * 8 + 2 * 9) * INT64_C(1000000));
    expect(rates, "{\"input_tokens\":10,\"output_tokens\":5,\"cache_read_input_tokens\":4,"
           "\"cache_creation_input_tokens\":7,\"cache_creation\":{\"ephemeral_5m_input_tokens\":2,"
           "\"ephemeral_1h_input_tokens\":3}}",
           (10 * 2 + 4 * 1 + 4 * 3 + 3 * 4 + 5 * 8) * INT64_C(1000000));
    expect(rates, "{\"prompt_tokens\":10,\"completion_tokens\":5,\"prompt_cache_hit_tokens\":4,"
           "\"prompt_cache_miss_tokens\":6}", (6 * 2 + 4 * 1 + 5 * 8) * INT64_C(1000000));
    /* Reasoning beside the completion, as the total says. */
    expect(rates, "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":17,"
           "\"completion_tokens_details\":{\"reasoning_tokens\":2}}",
           (10 * 2 + 5 * 8 + 2 * 9) * INT64_C(1000000));
    /* Audio and images that were cached are paid as cached. */
    expect(rates, "{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":8,"
           "\"audio_tokens\":5,\"image_tokens\":5}}", (8 * 1 + 2 * 2) * INT64_C(1000000));
}

Test(cost, a_threshold_is_crossed_by_more_tokens_and_at_xai_by_as_many)
{
    static const char rates[] = "\"input_cost_per_token\": 1, \"output_cost_per_token\": 0, "
        "\"input_cost_per_token_above_200k_tokens\": 2, "
        "\"input_cost_per_token_above_300_tokens\": 1.5, \"litellm_provider\": \"%s\"";
    static const struct { const char *provider; int tokens; int64_t tenths; } cases[] = {
        { "openai", 300, 10 }, { "openai", 301, 15 }, { "openai", 200000, 15 },
        { "openai", 200001, 20 }, { "xai", 299, 10 }, { "xai", 300, 15 }, { "xai", 200000, 20 },
    };
    char fields[512], usage[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(fields, sizeof(fields), rates, cases[i].provider);
        snprintf(usage, sizeof(usage), "{\"prompt_tokens\": %d}", cases[i].tokens);
        expect(fields, usage, cases[i].tokens * cases[i].tenths * (EXACT_ONE / 10));
    }
}

Test(cost, a_tier_has_its_own_price_or_the_one_without_tier)
{
    static const char rates[] = BASE ", \"input_cost_per_token_priority\": 5e-06, "
        "\"input_cost_per_token_batches\": 1e-06, \"output_cost_per_token_flex\": 4e-06, "
        "\"output_cost_per_reasoning_token\": 1e-05, \"cache_read_input_token_cost\": 1e-06";
    static const char usage[] = "{\"prompt_tokens\":10,\"completion_tokens\":3,\"service_tier\":"
        "\"%s\",\"completion_tokens_details\":{\"reasoning_tokens\":1}}";
    static const struct { const char *tier; int64_t micros; } cases[] = {
        { "default", 10 * 2 + 2 * 8 + 10 }, { "priority", 10 * 5 + 2 * 8 + 10 },
        { "flex", 10 * 2 + 3 * 4 }, { "balanced", 10 * 2 + 2 * 8 + 10 },
    };
    char text[256];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(text, sizeof(text), usage, cases[i].tier);
        expect(rates, text, cases[i].micros * 1000000);
    }
    expect(rates, "{\"prompt_tokens\":10,\"service_tier\":\"batch\",\"prompt_tokens_details\":"
           "{\"cached_tokens\":4}}", (6 * 1 + 4 * 1) * INT64_C(1000000));
    snprintf(text, sizeof(text), usage, "batch");
    refuse(rates, text, "COST-04", "output_cost_per_token_batches");
    snprintf(text, sizeof(text), usage, "scale");
    refuse(rates, text, "USAGE-12", "scale");
}

Test(cost, factors_apply_to_tokens_and_must_be_known)
{
    static const char rates[] = BASE ", \"provider_specific_entry\": {\"us\": 1.1, \"fast\": 6}, "
        "\"regional_processing_uplift_multiplier_eu\": 1.5, \"search_context_cost_per_query\": "
        "{\"search_context_size_medium\": 0.01}";
    struct cost c;

    expect(rates, "{\"input_tokens\":10,\"output_tokens\":1,\"inference_geo\":\"us\",\"speed\":"
           "\"fast\",\"server_tool_use\":{\"web_search_requests\":2}}",
           28 * 66 * INT64_C(100000) + 2 * EXACT_ONE / 100);
    refuse(rates, "{\"input_tokens\":1,\"inference_geo\":\"eu\"}", "COST-06", "'eu'");
    refuse(BASE, "{\"input_tokens\":1,\"speed\":\"fast\"}", "COST-06", "fast");
    expect(BASE, "{\"input_tokens\":1,\"inference_geo\":\"us\"}", 2000000);
    cr_assert_eq(bill(&c, rates, "{\"input_tokens\":10}", "eu"), OK);
    cr_expect_eq(c.total, 30 * INT64_C(1000000));
    cr_assert_eq(bill(&c, rates, "{\"input_tokens\":10}", "us"), OK);
    cr_expect_eq(c.total, 20 * INT64_C(1000000));
    /* 1e-12 x 1.5 is a half: up. */
    cr_assert_eq(bill(&c, "\"input_cost_per_token\": 1e-12, "
                      "\"regional_processing_uplift_multiplier_eu\": 1.5",
                      "{\"input_tokens\":10}", "eu"), OK);
    cr_expect_eq(c.total, 20);
}

Test(cost, searches_are_paid_by_number_or_once_a_prompt)
{
    static const char one[] = BASE ", \"search_context_cost_per_query\": "
        "{\"search_context_size_low\": 0.01, \"search_context_size_medium\": 0.02}, "
        "\"litellm_provider\": \"gemini\"";
    static const char each[] = BASE ", \"search_context_cost_per_query\": "
        "{\"search_context_size_medium\": 0.02}, \"litellm_provider\": \"gemini\", "
        "\"web_search_billing_unit\": \"per_query\"";
    static const char usage[] = "{\"prompt_tokens\":0,\"prompt_tokens_details\":"
        "{\"web_search_requests\":3}}";

    expect(one, usage, EXACT_ONE / 50);
    expect(each, usage, 3 * EXACT_ONE / 50);
    expect(one, "{\"prompt_tokens\":0,\"search_context_size\":\"low\",\"server_tool_use\":"
           "{\"web_search_requests\":1}}", EXACT_ONE / 100);
    refuse(each, "{\"prompt_tokens\":0,\"search_context_size\":\"high\",\"server_tool_use\":"
           "{\"web_search_requests\":1}}", "COST-03", "search_context_size_high");
    refuse(each, "{\"prompt_tokens\":0,\"search_context_size\":\"huge\"}", "USAGE-12", "huge");
}

Test(cost, images_are_paid_by_number_where_the_file_does)
{
    static const char usage[] = "{\"prompt_tokens\":10,\"prompt_tokens_details\":"
        "{\"image_tokens\":4,\"image_count\":2}}";

    expect(BASE ", \"input_cost_per_image\": 0.001", usage, 6 * 2000000 + 2 * EXACT_ONE / 1000);
    expect(BASE, usage, 10 * 2000000);
    expect(BASE ", \"input_cost_per_request\": 0.5", "{\"prompt_tokens\":0}", EXACT_ONE / 2);
}

Test(cost, what_is_not_understood_is_named_and_never_free)
{
    static const char small[] = "{\"prompt_tokens\":1,\"completion_tokens\":1}";

    refuse("\"output_cost_per_token\": 1", small, "COST-03", "input_cost_per_token");
    refuse("\"input_cost_per_token\": 1", small, "COST-03", "output_cost_per_token");
    refuse(BASE ", \"input_cost_per_wish\": 1", small, "COST-01", "input_cost_per_wish");
    refuse(BASE ", \"new_number\": 1", small, "COST-01", "new_number");
    refuse(BASE ", \"new_list\": [{}]", small, "COST-01", "new_list");
    refuse(BASE ", \"free_until\": \"May\"", small, "COST-01", "free_until");
    refuse(BASE ", \"input_cost_per_token_flex\": \"x\"", small, "COST-01", "is no amount");
    refuse(BASE ", \"input_cost_per_token_flex\": true", small, "COST-01", "is no amount");
    refuse(BASE ", \"input_cost_per_token_flex\": -1", small, "COST-01", "below 0");
    refuse(BASE ", \"input_cost_per_token_flex\": 1e-30", small, "COST-01", "10^-12");
    refuse(BASE ", \"input_cost_per_token_flex\": 1e30", small, "COST-01", "above");
    refuse(BASE ", \"provider_specific_entry\": {\"slow\": 2}", small, "COST-01",
           "provider_specific_entry.slow");
    refuse(BASE ", \"provider_specific_entry\": 2", small, "COST-01", "provider_specific_entry");
    refuse(BASE ", \"web_search_billing_unit\": \"per_moon\"", small, "COST-01", "per_query");
    refuse(BASE ", \"input_cost_per_token_above_1k_tokens\": 1, "
           "\"input_cost_per_token_above_1000_tokens\": 1", small, "COST-01", "twice");
    refuse(BASE ", \"cache_read_input_token_cost\": 1, \"input_cost_per_token_cache_hit\": 2",
           small, "COST-01", "input_cost_per_token_cache_hit");
    expect(BASE ", \"supports_wishes\": true, \"note\": \"x\", \"kinds\": [\"a\"], \"gone\": null",
           small, 10000000);
    expect("\"input_cost_per_token\": \"2e-06\", \"output_cost_per_token\": 0.0", small, 2000000);
    expect(BASE ", \"input_cost_per_token_cache_hit\": 1e-6", "{\"prompt_tokens\":2,"
           "\"prompt_cache_hit_tokens\":2}", 2000000);
}

Test(cost, every_refused_field_of_the_table_is_refused_when_it_applies)
{
    static const char all[] = "{\"prompt_tokens\":100,\"completion_tokens\":50,"
        "\"prompt_tokens_details\":{\"cached_tokens\":20,\"cache_write_tokens\":10,"
        "\"audio_tokens\":30,\"web_search_requests\":1},"
        "\"completion_tokens_details\":{\"image_tokens\":7}}";
    static const char *const field[] = {
#define TIER(...)
#define RATE(...)
#define TIMES(...)
#define WORD(...)
#define PLAIN(...)
#define REFUSE(name, when, text) name,
#include "gateway/price.def"
#undef REFUSE
    };
    char fields[256];
    struct cost c;

    for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++) {
        snprintf(fields, sizeof(fields), BASE ", \"search_context_cost_per_query\": "
                 "{\"search_context_size_medium\": 1}, \"%s\": 1", field[i]);
        cr_assert_eq(bill(&c, fields, all, "eu"), ERR_FORMAT, "%s", field[i]);
        cr_expect_str_eq(err_id(), "COST-02");
        cr_expect(strstr(err_text(), field[i]), "%s", err_text());
    }
    expect(BASE ", \"output_cost_per_image\": 1", "{\"prompt_tokens\":1}", 2000000);
    expect(BASE ", \"output_cost_per_image\": 1, \"output_cost_per_image_token\": 3e-06, "
           "\"search_context_cost_per_query\": {\"search_context_size_medium\": 0}", all,
           (100 * 2 + 43 * 8 + 7 * 3) * INT64_C(1000000));
}

/* A rate alone, for a model that has no other: each count it prices pays it, in every form. */
Test(cost, every_rate_of_the_table_has_forms_with_threshold_and_tier)
{
    static const char *const tier[] = {
#undef TIER
#define TIER(id, suffix, ...) suffix,
#undef REFUSE
#define REFUSE(...)
#include "gateway/price.def"
#undef TIER
#define TIER(...)
    };
    char text[512];
    struct prices *t;

    for (int id = 0; id < PRICE_N; id++)
        for (int k = 0; k < TIER_N; k++) {
            const char *name = price_field((enum price_id)id), *dot = strchr(name, '.');
            snprintf(text, sizeof(text), "{\"m\": {\"%s\": %s\"%s_above_8k_tokens%s\": 1e-12%s}}",
                     dot ? "search_context_cost_per_query" : "x", dot ? "{" : "null, ",
                     dot ? dot + 1 : name, tier[k], dot ? "}" : "");
            cr_assert_eq(prices_parse(&t, text, strlen(text), "test"), OK, "%s", err_text());
            const struct price *p = prices_at(t, 0);
            cr_assert(!p->bad && p->n_rate == 1, "%s: %s", text, p->bad);
            cr_expect(p->rate[0].id == (enum price_id)id &&
                      p->rate[0].tier == (enum price_tier)k &&
                      p->rate[0].above == 8000 && p->rate[0].amount == 1, "%s", text);
            prices_free(t);
        }
}

Test(cost, a_usage_that_contradicts_itself_is_refused)
{
    static const struct { const char *usage, *id, *names; } cases[] = {
        { "[1]", "USAGE-13", "object" }, { "{}", "USAGE-08", "prompt_tokens" },
        { "{\"prompt_tokens\":-1}", "USAGE-01", "prompt_tokens" },
        { "{\"prompt_tokens\":1.5}", "USAGE-01", "prompt_tokens" },
        { "{\"prompt_tokens\":\"1\"}", "USAGE-01", "prompt_tokens" },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"output_tokens\":2}", "USAGE-02",
          "output_tokens" },
        { "{\"prompt_tokens\":1,\"input_tokens\":2}", "USAGE-07", "input_tokens" },
        { "{\"prompt_tokens\":1,\"service_tier\":4}", "USAGE-03", "service_tier" },
        { "{\"prompt_tokens\":1,\"thoughts\":{\"tokens\":4}}", "USAGE-04", "thoughts" },
        { "{\"prompt_tokens\":1,\"prompt_tokens_details\":7}", "USAGE-04", "details" },
        { "{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"wish_tokens\":7}}", "USAGE-04",
          "prompt_tokens_details.wish_tokens" },
        { "{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":2}}", "USAGE-05",
          "cached" },
        { "{\"prompt_tokens\":1,\"completion_tokens\":1,\"completion_tokens_details\":"
          "{\"reasoning_tokens\":2}}", "USAGE-05", "reasoning" },
        { "{\"input_tokens\":1,\"cache_creation_input_tokens\":1,\"cache_creation\":"
          "{\"ephemeral_1h_input_tokens\":2}}", "USAGE-05", "1 hour" },
        { "{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":1}", "USAGE-06", "64" },
        { "{\"input_tokens\":9223372036854775807,\"cache_read_input_tokens\":1}", "USAGE-06",
          "64" },
        { "{\"prompt_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":2},"
          "\"cache_read_input_tokens\":3}", "USAGE-09", "cached" },
        { "{\"prompt_tokens\":9,\"prompt_cache_hit_tokens\":2,\"prompt_cache_miss_tokens\":2}",
          "USAGE-10", "miss" },
        { "{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":12}", "USAGE-11", "12" },
        { "{\"prompt_tokens\":9,\"speed\":\"warp\"}", "USAGE-12", "warp" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        refuse(BASE, cases[i].usage, cases[i].id, cases[i].names);
    expect(BASE, "{\"prompt_tokens\":1,\"new\":0,\"other\":[],\"more\":{},\"words\":\"x\",\"no\":"
           "false,\"prompt_tokens_details\":null,\"cost\":0.5}", 2000000);
}

/* Every count of the table is read and refused when it is no count. */
Test(cost, every_field_of_the_usage_table_is_known)
{
    static const struct { const char *name; int kind; } field[] = {
#define COUNT(id, name) { name, 0 },
#define TEXT(id, name) { name, 1 },
#define INSIDE(name) { name, 2 },
#define FREE(name) { name, 3 },
#include "gateway/usage.def"
    };
    char text[256], id[16];
    struct usage u;

    for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++) {
        size_t n = 0, depth = 0;
        for (const char *at = field[i].name, *dot; (dot = strchr(at, '.')); at = dot + 1, depth++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"%.*s\":", (int)(dot - at), at);
        const char *last = strrchr(field[i].name, '.');
        n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"%s\":[7]",
                              last ? last + 1 : field[i].name);
        for (size_t k = 0; k <= depth; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "}");
        cr_assert_eq(usage_parse(&u, text, n, "test"), ERR_FORMAT);
        snprintf(id, sizeof(id), "USAGE-%s", field[i].kind == 0 ? "01" : field[i].kind == 1 ? "03"
                 : field[i].kind == 2 ? "04" : "08");
        cr_expect_str_eq(err_id(), id, "%s: %s", text, err_text());
    }
}

Test(cost, more_than_64_bits_is_an_error)
{
    refuse("\"input_cost_per_token\": 1", "{\"prompt_tokens\":10000000}", "COST-07", "input");
    refuse("\"input_cost_per_token\": 5, \"output_cost_per_token\": 5", "{\"prompt_tokens\":"
           "1000000,"
           "\"completion_tokens\":1000000}", "COST-07", "output");
    refuse("\"input_cost_per_token\": 9e6, \"provider_specific_entry\": {\"fast\": 2}",
           "{\"input_tokens\":1,\"speed\":\"fast\"}", "COST-05", "factors");
    expect("\"input_cost_per_token\": 9223372", "{\"prompt_tokens\":1}", 9223372 * EXACT_ONE);
}

Test(cost, a_table_is_an_object_of_objects)
{
    static const char two[] = "{\"b\": {\"litellm_provider\": \"vertex_ai-models\"}, \"a\": {}}";
    static const char *const wrong[] = { "[]", "{\"a\": 1}", "{\"a\": {}, \"a\": {}}", "{", "" };
    struct prices *t;

    cr_assert_eq(prices_parse(&t, two, strlen(two), "test"), OK);
    cr_expect_eq(prices_n(t), 2);
    cr_expect_str_eq(prices_find(t, "b")->model, "b");
    cr_expect_eq(prices_find(t, "vertex_ai/b"), prices_find(t, "b"));
    cr_expect_null(prices_find(t, "vertex/b"));
    cr_expect_null(prices_find(t, "a/b"));
    cr_expect_null(prices_find(t, "c"));
    prices_free(t);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        cr_expect_eq(prices_parse(&t, wrong[i], strlen(wrong[i]), "test"), ERR_FORMAT, "%s",
                     wrong[i]);
    cr_assert_eq(prices_parse(&t, "{}", 2, "test"), OK);
    cr_expect_null(prices_find(t, "a"));
    prices_free(t);
}
