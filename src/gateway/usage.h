/* usage.h - what a request used, in the units that prices are in.
 *
 * The counts of a usage object overlap (cached tokens are prompt tokens, reasoning is completion);
 * here they are apart, so that each token is in one count and is paid once. */
#ifndef GATEWAY_USAGE_H
#define GATEWAY_USAGE_H

#include "gateway/price.h"

#include <jansson.h>
#include <stdbool.h>

enum { USAGE_WORD_MAX = 32, USAGE_TEXT_MAX = 64 << 10 };

struct usage {
    int64_t n[PRICE_N];                 /* by what prices them; n[PRICE_REQUEST] is 1 */
    int64_t prompt, completion;         /* tokens, all of them: thresholds are about prompt */
    enum price_tier tier;
    bool fast;                          /* Anthropic's speed: fast */
    char geo[USAGE_WORD_MAX];           /* inference_geo; "" is everywhere */
    char residency[USAGE_WORD_MAX];     /* of the upstream's host: "us", "eu", "fedramp"; "" */
};

/* A usage object, or a reply with one under "usage" and perhaps a "service_tier" beside it.
 * Errors: FORMAT names the field that is unknown, no count, or does not fit the others. */
MUST_CHECK enum err usage_read(struct usage *u, json_t *object);

/* The same from text; `what` names it in errors. */
MUST_CHECK enum err usage_parse(struct usage *u, const char *text, size_t len, const char *what);

/* Take a tier by name.  Errors: FORMAT. */
MUST_CHECK enum err usage_set_tier(struct usage *u, const char *name);

#endif
