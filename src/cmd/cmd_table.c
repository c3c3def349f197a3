/* cmd_table.c - opt.def and cmd.def made into the table that base/opt.h reads. */
#include "cmd/cmd_table.h"

#define BIT(id) (UINT64_C(1) << CMD_##id)

static const struct cmd_def cmds[] = {
#define CMD(id, ...) { __VA_ARGS__ },
#include "cmd/cmd.def"
#undef CMD
};

static const struct opt_def opts[] = {
#define OPT(id, ...) { __VA_ARGS__ },
#define HEADING(id, title) { .name = title, .type = OPT_HEADING, .alias = "", .arg = "", \
                             .fallback = "", .help = "" },
#include "cmd/opt.def"
#undef HEADING
#undef OPT
};

const struct opt_table cmd_table = {
    .program = "croft", .opt = opts, .n_opt = OPT_COUNT_ALL, .cmd = cmds, .n_cmd = CMD_COUNT,
};
