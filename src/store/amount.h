/* amount.h - what budgets count: requests, tokens, and 10^-12 dollars. */
#ifndef STORE_AMOUNT_H
#define STORE_AMOUNT_H

#include <stdbool.h>
#include <stdint.h>

enum { AMOUNT_REQUESTS, AMOUNT_TOKENS, AMOUNT_COST, AMOUNT_N };

struct amount { int64_t n[AMOUNT_N]; };

/* The most that one attempt may be: a million dollars, a million million tokens. */
#define AMOUNT_ATTEMPT_MAX INT64_C(1000000000000000000)

static inline void amount_add(struct amount *to, const struct amount *more)
{
    for (int d = 0; d < AMOUNT_N; d++)
        to->n[d] += more->n[d];
}

/* Never below 0. */
static inline void amount_take(struct amount *from, const struct amount *less)
{
    for (int d = 0; d < AMOUNT_N; d++)
        from->n[d] = from->n[d] > less->n[d] ? from->n[d] - less->n[d] : 0;
}

static inline bool amount_any(const struct amount *a)
{
    return a->n[AMOUNT_REQUESTS] || a->n[AMOUNT_TOKENS] || a->n[AMOUNT_COST];
}

#endif
