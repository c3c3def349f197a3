/* price_bodies.c - see price_bodies.h. */
#include "price_bodies.h"

#include "gateway/cost.h"

#include <string.h>

enum err body_prices(void)
{
    static const char text[] =
        "{\"a\": {\"input_cost_per_token\": 1e-06, \"litellm_provider\": \"xai\", "
        "\"mode\": \"chat\", \"provider_specific_entry\": {\"us\": 1.1}, \"wish_cost\": 2}, "
        "\"b\": {\"mode\": \"chat\"}}";
    struct prices *t;
    enum err e = prices_parse(&t, text, strlen(text), "test");

    prices_free(t);
    return e;
}

enum err body_usage_parse(void)
{
    static const char text[] = "{\"usage\": {\"prompt_tokens\": 3, \"prompt_tokens_details\": "
        "{\"cached_tokens\": 1}}, \"service_tier\": \"flex\"}";
    struct usage u;

    return usage_parse(&u, text, strlen(text), "test");
}
