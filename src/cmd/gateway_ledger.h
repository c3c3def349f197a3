/* gateway_ledger.h - `croft gateway ledger` and `croft gateway reconcile`, actions of
 * cmd_gateway.c. */
#ifndef CMD_GATEWAY_LEDGER_H
#define CMD_GATEWAY_LEDGER_H

#include "base/opt.h"
#include "gateway/config.h"
#include "store/db.h"

MUST_CHECK enum err gateway_ledger(struct opt_set *o);
MUST_CHECK enum err gateway_reconcile(struct opt_set *o);

/* The configuration of --config, and its ledger, which has to be there.  Both are yours, also
 * after an error. */
MUST_CHECK enum err gateway_open_ledger(struct config **c, struct db **db, const struct opt_set *o);

#endif
