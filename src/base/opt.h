/* opt.h - options of a program with subcommands, from one table.
 *
 * The table (cmd/opt.def, cmd/cmd.def) gives the parser, the environment (CROFT_<NAME>), the
 * configuration file (name = value), --help, completion and the option part of the man page.
 * A value comes from, in this order: flag, environment, file, default.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* FLAG takes no value (--name, --no-name; in env and file 1/0, true/false, on/off);
 * COUNT is an integer that accepts k and K suffixes (32k = 32768); LIST may be repeated.
 * HEADING is no option: its name is the title above the rows that follow, in help. */
enum opt_type { OPT_FLAG, OPT_INT, OPT_COUNT, OPT_FLOAT, OPT_TEXT, OPT_CHOICE, OPT_LIST,
                OPT_HEADING };

/* In `cmds`: says what one call is about (its prompt, the file to write), so that it comes from
 * the command line alone, never from the environment or the configuration file. */
#define OPT_PER_CALL (UINT64_C(1) << 63)

struct opt_def {
    const char *name;                   /* "ctx-size" */
    char letter;                        /* 'c', or 0 */
    const char *alias;                  /* other spellings, separated by spaces; or "" */
    enum opt_type type;
    const char *arg;                    /* "N", for help; for CHOICE the choices "f32|f16"; what
                                           begins with FILE, FOLDER, MODEL is completed as one */
    const char *fallback;               /* the default as text, "" for unset */
    double min, max;                    /* of INT, COUNT, FLOAT */
    uint64_t cmds;                      /* bit i: command i takes it; OPT_PER_CALL */
    const char *help;                   /* one line */
};

struct cmd_def {
    const char *name, *alias;           /* alias "" when none; several separated by spaces */
    const char *args;                   /* "MODEL [PROMPT]", "FILE...", "a|b": completed like arg */
    int n_operand_min, n_operand_max;
    const char *help;                   /* one line */
    const char *example;                /* one line to copy */
};

struct opt_table {
    const char *program;                /* "croft": also the prefix of the environment */
    const struct opt_def *opt;
    int n_opt;
    const struct cmd_def *cmd;
    int n_cmd;
};

struct opt_set;

/* Parse argv of command `cmd` (argv[0] is the command's name).  `config` is the path of the
 * configuration file, or NULL; it may be absent.  On success *out is yours: opt_free().
 * Errors: ARG with the nearest known flag, the allowed range or the missing operand; FORMAT for
 * the configuration file (file and line). */
MUST_CHECK enum err opt_parse(struct opt_set **out, const struct opt_table *t, int cmd, int argc,
                              char **argv, const char *config);
void opt_free(struct opt_set *o);

/* Values by the option's index in the table.  Reading one with another type's getter, or one
 * the command does not take, is a programming mistake (ASSERT). */
bool opt_flag(const struct opt_set *o, int opt);
int64_t opt_int(const struct opt_set *o, int opt);      /* INT, COUNT */
double opt_float(const struct opt_set *o, int opt);
const char *opt_text(const struct opt_set *o, int opt); /* TEXT, CHOICE; NULL when unset */
int opt_list_n(const struct opt_set *o, int opt);
const char *opt_list(const struct opt_set *o, int opt, int i);

/* False when the value is the default. */
bool opt_given(const struct opt_set *o, int opt);

/* True when the command line itself gave it. */
bool opt_on_line(const struct opt_set *o, int opt);

/* Change a value by name as a flag would ("/set temp 0.5" in the chat); the same checks.  A LIST
 * becomes this one value; "" empties it.
 * Errors: ARG. */
MUST_CHECK enum err opt_set_by_name(struct opt_set *o, const char *name, const char *value);

int opt_operands(const struct opt_set *o);
const char *opt_operand(const struct opt_set *o, int i);

/* The command of that name or alias, or -1; the nearest known name for a suggestion, or NULL. */
int opt_find_cmd(const struct opt_table *t, const char *name);
const char *opt_nearest_cmd(const struct opt_table *t, const char *name);

/* Help pages.  cmd -1: the program's own. */
void opt_help(const struct opt_table *t, int cmd, FILE *out);

/* Complete the last of argc words that follow the program's name (it may be empty): write what may
 * stand there, each as "word<TAB>help", a line each.  *part is where in that word the completed
 * text begins ("q8" of "--kv-type=q8"); what is returned may stand there too. */
enum opt_also { OPT_ALSO_NOTHING, OPT_ALSO_FILES, OPT_ALSO_MODELS };
enum opt_also opt_complete(const struct opt_table *t, int argc, char **argv, FILE *out,
                           const char **part);

/* True when --help or -h stands where an option may stand in this command line. */
bool opt_asks_help(const struct opt_table *t, int cmd, int argc, char **argv);

/* The environment's name for an option: "CROFT_CTX_SIZE". */
enum { OPT_ENV_BYTES = 64 };
void opt_env_name(const struct opt_table *t, int opt, char out[OPT_ENV_BYTES]);

/* Of n words the one with the fewest edits to `word` (letters in any case), or -1 when none is
 * near enough to be meant.  A word that begins with `word` counts as one edit away. */
int opt_nearest(const char *word, const char *const *words, int n);

/* Edits (insert, remove, change, swap neighbours) between two words, letters in any case; of
 * words longer than 64 bytes only the first 64 count. */
int opt_edits(const char *a, const char *b);

#endif
