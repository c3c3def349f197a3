/* cmd.h - the subcommands: one function each, registered in cmd.def. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "base/err.h"
#include "base/opt.h"

/* A command gets its parsed options; the operands are opt_operand(o, 0..).  What it returns
 * becomes the exit status (cmd_exit_status), and the recorded error is printed by main. */
typedef enum err cmd_fn(struct opt_set *o);

#define CMD(id, ...) cmd_fn cmd_##id;
#include "cmd/cmd.def"
#undef CMD

/* Exit statuses: 0 ok, 1 failed, 2 usage, 3 no such model or file, 4 does not fit, 5 network,
 * 6 busy, 130 interrupted, 141 closed pipe. */
int cmd_exit_status(enum err e);

#endif
