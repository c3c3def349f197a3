/* gateway_explain.h - `croft gateway explain`: what was decided about a request, and why. */
#ifndef CMD_GATEWAY_EXPLAIN_H
#define CMD_GATEWAY_EXPLAIN_H

#include "base/opt.h"

/* Of one that was made, by its id, or an attempt's, or an upstream's: from ledger and audit log; of
 * one that is not sent, with --request: what would become of it. */
MUST_CHECK enum err gateway_explain(struct opt_set *o);

#endif
