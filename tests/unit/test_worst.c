/* test_worst.c - gateway/worst.h: what is reserved for a call covers every way it may be billed. */
#include "gateway/worst.h"

#include <criterion/criterion.h>
#include <string.h>

static const char table[] =
    "{\"m\": {\"input_cost_per_token\": 1e-06, \"cache_creation_input_token_cost\": 1.25e-06, "
    "\"cache_creation_input_token_cost_above_1hr\": 2e-06, \"cache_read_input_token_cost\": 1e-07, "
    "\"output_cost_per_token\": 5e-06, \"output_cost_per_reasoning_token\": 6e-06, "
    "\"input_cost_per_token_above_200k_tokens\": 3e-06}, "
    "\"free\": {\"input_cost_per_token\": 0, \"output_cost_per_token\": 0}, "
    "\"none\": {\"mode\": \"chat\"}}";

static struct prices *prices;

static void begin(void)
{
    cr_assert_eq(prices_parse(&prices, table, strlen(table), "prices"), OK, "%s", err_text());
}

static void end(void)
{
    prices_free(prices);
}

static int64_t worst(const char *model, int64_t prompt, int64_t completion)
{
    int64_t out;

    cr_assert_eq(worst_cost(&out, prices_find(prices, model), prompt, completion, NULL), OK, "%s",
                 err_text());
    return out;
}

Test(worst, each_token_costs_its_dearest_kind, .init = begin, .fini = end)
{
    cr_assert_eq(worst("m", 1000, 0), INT64_C(2000000000));
    cr_assert_eq(worst("m", 0, 100), INT64_C(600000000));
    cr_assert_eq(worst("m", 1000, 100), INT64_C(2600000000));
    cr_assert_eq(worst("m", 300000, 0), INT64_C(900000000000));
    cr_assert_eq(worst("free", 1000, 100), 0);
}

Test(worst, no_usage_of_so_many_tokens_costs_more, .init = begin, .fini = end)
{
    const struct price *p = prices_find(prices, "m");

    for (int64_t cut = 0; cut <= 1000; cut += 50)
        for (int64_t hour = 0; hour + cut <= 1000; hour += 50) {
            struct usage u = { .prompt = 1000, .completion = 100 };
            struct cost c;
            u.n[PRICE_CACHE_READ] = cut;
            u.n[PRICE_CACHE_WRITE_1H] = hour;
            u.n[PRICE_CACHE_WRITE] = (1000 - cut - hour) / 2;
            u.n[PRICE_INPUT] = 1000 - cut - hour - u.n[PRICE_CACHE_WRITE];
            u.n[PRICE_REASONING] = cut / 10;
            u.n[PRICE_OUTPUT] = 100 - cut / 10;
            u.n[PRICE_REQUEST] = 1;
            cr_assert_eq(cost_of(&c, p, &u), OK);
            cr_assert_leq(c.total, worst("m", 1000, 100));
        }
}

Test(worst, no_price_is_an_error_and_never_zero, .init = begin, .fini = end)
{
    int64_t out;

    cr_assert_eq(worst_cost(&out, prices_find(prices, "none"), 1, 1, NULL), ERR_MISSING);
    cr_assert_eq(worst_cost(&out, prices_find(prices, "m"), INT64_MAX, 1, NULL), ERR_LIMIT);
}
