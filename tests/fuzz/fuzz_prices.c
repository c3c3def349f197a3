/* fuzz_prices.c - any bytes as a price file: what is accepted has amounts of at least 0, and each
 * model's cost of a few usages is an error or the sum of its parts. */
#include "gateway/cost.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cost(const struct price *p, enum price_tier tier)
{
    struct usage u = { .prompt = 200001, .completion = 99, .tier = tier, .fast = tier & 1 };
    struct cost c;
    int64_t sum = 0;

    for (int id = 0; id < PRICE_N; id++)
        u.n[id] = id + 1;
    if (tier & 2)
        memcpy(u.geo, "us", 3);
    if (tier & 4)
        memcpy(u.residency, "eu", 3);
    if (cost_of(&c, p, &u) != OK)
        return;
    for (int i = 0; i < c.n; i++) {
        ASSERT(c.part[i].rate >= 0 && c.part[i].units > 0);
        ASSERT(c.part[i].amount == c.part[i].units * c.part[i].rate);
        sum += c.part[i].amount;
    }
    ASSERT(sum == c.total && sum == c.prompt + c.completion + c.other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prices *t;

    if (prices_parse(&t, (const char *)data, size, "fuzz") != OK)
        return 0;
    for (int i = 0; i < prices_n(t); i++) {
        const struct price *p = prices_at(t, i);
        ASSERT(!i || strcmp(prices_at(t, i - 1)->model, p->model) < 0);
        ASSERT(prices_find(t, p->model) == p);
        for (int k = 0; k < p->n_rate; k++)
            ASSERT(p->rate[k].amount >= 0 && p->rate[k].above >= 0);
        for (int tier = 0; tier < TIER_N; tier++)
            check_cost(p, (enum price_tier)tier);
    }
    prices_free(t);
    return 0;
}
