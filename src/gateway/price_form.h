/* price_form.h - inside the price table: what price.c and price_load.c share. */
#ifndef GATEWAY_PRICE_FORM_H
#define GATEWAY_PRICE_FORM_H

#include "gateway/price.h"

#include "base/arena.h"

#include <jansson.h>

struct prices {
    struct arena arena;                 /* the entries and all their texts */
    struct price *price;                /* by name */
    int n, n_rounded;
};

extern const char *const price_tier_suffix[TIER_N];

/* Fill one entry from its object, numbers as exact_json() gives them.  What is wrong with it goes
 * into p->bad.  Errors: NOMEM. */
MUST_CHECK enum err price_load(struct prices *t, struct price *p, const char *model,
                               json_t *entry);

#endif
