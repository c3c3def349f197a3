/* worst.h - the most that a call can cost, before it is sent: what a hard budget reserves.
 *
 * Every prompt token is taken to cost what its dearest kind costs (read, written to a cache for an
 * hour, ...) and every completion token likewise.  Thread-safe; nothing is allocated. */
#ifndef GATEWAY_WORST_H
#define GATEWAY_WORST_H

#include "gateway/cost.h"

/* `like` (or NULL: nothing special) has the tier, speed and place that the usage may say; its
 * counts are not looked at.  Of tools that the upstream runs itself nothing is known.
 * *out: 10^-12 dollar.  Errors: as cost_of(); 0 tokens need no price. */
MUST_CHECK enum err worst_cost(int64_t *out, const struct price *p, int64_t prompt_tok,
                               int64_t completion_tok, const struct usage *like);

#endif
