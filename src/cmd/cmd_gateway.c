/* cmd_gateway.c - `croft gateway ACTION`: finds the action. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/gateway_cost.h"

#include <string.h>

static const struct {
    const char *name;
    enum err (*run)(struct opt_set *o);
} action[] = {
    { "cost", gateway_cost },
};

enum err cmd_gateway(struct opt_set *o)
{
    const char *name = opt_operand(o, 0);

    for (size_t i = 0; i < sizeof(action) / sizeof(*action); i++)
        if (!strcmp(name, action[i].name))
            return action[i].run(o);
    return err_set(ERR_ARG, "GATEWAY-01", "croft gateway cannot '%.40s'; croft help gateway says "
                   "what it can", name);
}
