/* gateway_cost.h - `croft gateway cost`, an action of cmd_gateway.c. */
#ifndef CMD_GATEWAY_COST_H
#define CMD_GATEWAY_COST_H

#include "base/opt.h"

MUST_CHECK enum err gateway_cost(struct opt_set *o);

#endif
