/* cost.h - what a usage costs by a model's prices, exactly: integers of 10^-12 dollar.
 *
 * Thread-safe; nothing is allocated. */
#ifndef GATEWAY_COST_H
#define GATEWAY_COST_H

#include "gateway/price.h"
#include "gateway/usage.h"

/* One line of a bill: amount = units x rate, exactly.  `priced` is the rate of the file it came
 * from: another than `of` where the model has none of that. */
struct cost_part { enum price_id of, priced; int64_t units, rate, amount; };

struct cost {
    struct cost_part part[PRICE_N];     /* those with units, in the order of price.def */
    int n;
    int64_t prompt, completion, other, total;
};

/* Errors: MISSING (there is no price for something that was used), FORMAT (a field of the price
 * file that applies is not understood: it is named), LIMIT (more than 64 bits hold).  A model is
 * never free by mistake: 0 costs what the file says costs 0. */
MUST_CHECK enum err cost_of(struct cost *c, const struct price *p, const struct usage *u);

/* Which side of a bill a part is on. */
enum cost_side { COST_PROMPT, COST_COMPLETION, COST_OTHER };
enum cost_side cost_side(enum price_id id);

#endif
