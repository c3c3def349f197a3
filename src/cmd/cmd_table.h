/* cmd_table.h - the program's table of commands and options, with an index for each.
 *
 *   opt_int(o, OPT_threads), opt_text(o, OPT_kv_type), cmd_table.cmd[CMD_show].name
 */
#ifndef CMD_CMD_TABLE_H
#define CMD_CMD_TABLE_H

#include "base/opt.h"

enum cmd_id {
#define CMD(id, ...) CMD_##id,
#include "cmd/cmd.def"
#undef CMD
    CMD_COUNT
};

/* A heading of the help page is a row of the table too, so that indexes agree. */
enum opt_id {
#define OPT(id, ...) OPT_##id,
#define HEADING(id, title) OPT_HEADING_##id,
#include "cmd/opt.def"
#undef HEADING
#undef OPT
    OPT_COUNT_ALL
};

extern const struct opt_table cmd_table;

#endif
