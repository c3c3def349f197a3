/* cmd_audit.c - `croft audit verify`: whether a gateway's audit log is whole. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/json_text.h"

#include "base/term.h"
#include "store/audit.h"

#include <inttypes.h>
#include <string.h>

struct found { json_t *list; struct buf out; bool json; };

static void note_problem(void *arg, const char *file, int64_t row, const char *what)
{
    struct found *f = arg;

    if (f->json) {
        json_array_append_new(f->list, json_pack("{s:o, s:o, s:o}", "file",
                              json_text(file, strlen(file)), "row",
                              row < 0 ? json_null() : json_integer(row), "what",
                              json_text(what, strlen(what))));
        return;
    }
    term_shown(&f->out, file, strlen(file));
    buf_puts(&f->out, ": ");
    term_shown(&f->out, what, strlen(what));
    buf_puts(&f->out, "\n");
}

static enum err print_verdict(struct found *f, const struct audit_totals *t)
{
    enum err e = OK;

    if (f->json)
        e = json_put(&f->out, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "verdict",
                     t->problems ? "broken" : "whole", "chains", (json_int_t)t->chains, "rows",
                     (json_int_t)t->rows, "heads", (json_int_t)t->heads, "open",
                     (json_int_t)t->open, "torn", (json_int_t)t->torn, "problem_count",
                     (json_int_t)t->problems, "problems", f->list), false);
    else
        buf_printf(&f->out, "%s: %" PRId64 " rows in %" PRId64 " chains, %" PRId64 " heads\n",
                   t->problems ? "broken" : "whole", t->rows, t->chains, t->heads);
    if (!e)
        e = buf_ok(&f->out);
    if (!e)
        e = out_write(buf_text(&f->out), f->out.len);
    if (t->open)
        term_note("%" PRId64 " chains have no end: their process runs, or was killed and no other "
                  "has begun since", t->open);
    if (t->torn)
        term_note("%" PRId64 " chains end in a row that was not written whole, and never "
                  "acknowledged", t->torn);
    if (!e && t->problems)
        e = err_set(ERR_FORMAT, "AUDITCMD-01", "the audit log is broken: %" PRId64 " problems",
                    t->problems);
    return e;
}

enum err cmd_audit(struct opt_set *o)
{
    struct found f = { .json = opt_flag(o, OPT_json), .list = json_array() };
    struct audit_totals totals;
    enum err e;

    if (strcmp(opt_operand(o, 0), "verify"))
        e = err_set(ERR_ARG, "AUDITCMD-02", "croft audit cannot '%.40s'; it can verify",
                    opt_operand(o, 0));
    else if (opt_operands(o) < 2)
        e = err_set(ERR_ARG, "AUDITCMD-03", "which folder is not said; croft audit verify "
                    "STATE/audit");
    else
        e = audit_verify(opt_operand(o, 1), opt_text(o, OPT_head), note_problem, &f, &totals);
    if (!e)
        e = print_verdict(&f, &totals);
    json_decref(f.list);
    buf_release(&f.out);
    return e;
}
