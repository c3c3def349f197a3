/* main.c - finds the subcommand, parses its options, runs it, and turns its result into an exit
 * status.  Nothing below this folder ends the program.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/term.h"
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/completion.h"
#include "cmd/home.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cmd_fn *const command[] = {
#define CMD(id, ...) cmd_##id,
#include "cmd/cmd.def"
#undef CMD
};

int cmd_exit_status(enum err e)
{
    switch (e) {
    case OK:          return 0;
    case ERR_ARG:     return 2;
    case ERR_MISSING: return 3;
    case ERR_NOMEM:   return 4;
    case ERR_BUSY:    return 6;
    case ERR_STOPPED: return 130;
    case ERR_PIPE:    return 141;
    case ERR_IO:
    case ERR_FORMAT:
    case ERR_LIMIT:   return 1;
    }
    return 1;
}

/* $XDG_CONFIG_HOME/croft/croft.conf, else ~/.config/croft/croft.conf; NULL without a home. */
static const char *config_path(struct buf *b)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (xdg && *xdg)
        buf_printf(b, "%s/croft/croft.conf", xdg);
    else if (home && *home)
        buf_printf(b, "%s/.config/croft/croft.conf", home);
    return b->len && !b->broken ? buf_text(b) : NULL;
}

static enum err unknown_command(const char *name)
{
    const char *near = opt_nearest_cmd(&cmd_table, name);
    size_t len = strlen(name);

    if (name[0] == '-')
        return err_set(ERR_ARG, "CMD-09", "'%.64s' stands before a command; options come after it, "
                       "as in: croft run MODEL %.64s", name, name);
    if (near)
        return err_set(ERR_ARG, "CMD-10", "there is no command '%.64s'; did you mean croft %s?",
                       name, near);
    if (strchr(name, '/') || (len > 5 && !strcasecmp(name + len - 5, ".gguf")))
        return err_set(ERR_ARG, "CMD-11", "there is no command '%.200s'; to run that model: "
                       "croft run %.200s", name, name);
    return err_set(ERR_ARG, "CMD-12", "there is no command '%.64s'; croft help lists them", name);
}

static enum err show_help(const char *name)
{
    int cmd = -1;

    if (name && (cmd = opt_find_cmd(&cmd_table, name)) < 0)
        return unknown_command(name);
    opt_help(&cmd_table, cmd, stdout);
    return OK;
}

static enum err run_command(int argc, char **argv)
{
    struct opt_set *o = NULL;
    struct buf path = { 0 };
    int cmd = opt_find_cmd(&cmd_table, argv[0]);
    enum err e;

    if (cmd < 0)
        return unknown_command(argv[0]);
    if (opt_asks_help(&cmd_table, cmd, argc, argv))
        return show_help(argv[0]);
    e = opt_parse(&o, &cmd_table, cmd, argc, argv, config_path(&path));
    buf_release(&path);
    if (e)
        return e;
    term_init(opt_flag(o, OPT_plain), opt_flag(o, OPT_quiet), opt_flag(o, OPT_verbose));
    e = command[cmd](o);
    opt_free(o);
    return e;
}

static enum err dispatch(int argc, char **argv)
{
    if (argc < 2)
        return isatty(STDOUT_FILENO) ? home_show() : show_help(NULL);
    if (!strcmp(argv[1], "help"))
        return show_help(argc > 2 ? argv[2] : NULL);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return show_help(NULL);
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
        return home_version();
    if (!strcmp(argv[1], "--complete"))
        return completion_reply(argc - 2, argv + 2);
    return run_command(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    enum err e, flushed;

    setlocale(LC_CTYPE, "");
    out_init();
    signal(SIGPIPE, SIG_IGN);
    file_install_sigbus_handler();
    term_init(false, false, false);
    e = dispatch(argc, argv);
    /* Help pages are written without looking: a lost reader shows here at the latest. */
    if (!e) {
        e = out_flush();
    } else if (e != ERR_PIPE) {
        struct err_record kept;
        err_save(&kept, e);
        flushed = out_flush();
        e = err_restore(&kept);
        if (flushed == ERR_PIPE)
            e = ERR_PIPE;
    }
    if (e && e != ERR_PIPE && e != ERR_STOPPED)
        term_error(e);
    return cmd_exit_status(e);
}
