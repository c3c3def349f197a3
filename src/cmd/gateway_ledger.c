/* gateway_ledger.c - `croft gateway ledger`: what was used, by key, team, model, tag or day. */
#include "cmd/gateway_ledger.h"

#include "cmd/cmd_table.h"
#include "cmd/json_text.h"

#include "base/term.h"
#include "gateway/exact.h"
#include "store/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const by_word[BY_N] = { "key", "team", "model", "tag", "day" };

enum err gateway_open_ledger(struct config **c, struct db **db, const struct opt_set *o)
{
    const char *path = opt_text(o, OPT_config);
    enum err e;

    *c = NULL;
    *db = NULL;
    if (!path)
        return err_set(ERR_ARG, "GLEDGER-01", "which gateway's ledger is not said; add "
                       "-c croft.yaml");
    if ((e = config_load(c, path)))
        return e;
    return db_open(db, (*c)->ledger.url, false);
}

/* Dollars with their decimals; the parts are apart because 64 bits may not hold their sum. */
static void put_cost(struct buf *out, const struct ledger_sum *s)
{
    char part[EXACT_TEXT_BYTES];

    exact_text(part, s->picodollars);
    buf_printf(out, "%" PRId64 "%s", s->dollars, part + strcspn(part, "."));
}

static json_t *sum_json(const struct ledger_sum *s, enum ledger_by by)
{
    struct buf cost = { 0 };
    json_t *object;

    put_cost(&cost, s);
    object = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", by_word[by], s->name,
                       "attempts", (json_int_t)s->attempts, "exact", (json_int_t)s->exact,
                       "estimated", (json_int_t)s->estimated, "open", (json_int_t)s->open,
                       "prompt_tokens", (json_int_t)s->prompt, "completion_tokens",
                       (json_int_t)s->completion, "usd", buf_text(&cost));
    buf_release(&cost);
    return object;
}

/* Names have neither commas nor quotes (config_check.c, store_journal()). */
static void put_csv(struct buf *out, const struct ledger_sum *s)
{
    buf_printf(out, "%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",",
               s->name, s->attempts, s->exact, s->estimated, s->open, s->prompt, s->completion);
    put_cost(out, s);
    buf_puts(out, "\r\n");
}

static void put_line(struct buf *out, const struct ledger_sum *s)
{
    struct buf cost = { 0 };

    put_cost(&cost, s);
    buf_printf(out, "%-24s %9" PRId64 " %9" PRId64 " %9" PRId64 " %6" PRId64 " %14" PRId64
               " %14" PRId64 " %20s\n", s->name[0] ? s->name : "-", s->attempts, s->exact,
               s->estimated, s->open, s->prompt, s->completion, buf_text(&cost));
    buf_release(&cost);
}

static enum err print_sums(const struct ledger_sum *sum, size_t n, enum ledger_by by, bool json,
                           bool csv)
{
    json_t *list = json ? json_array() : NULL;
    struct buf out = { 0 };
    enum err e;

    if (csv)
        buf_printf(&out, "%s,attempts,exact,estimated,open,prompt_tokens,completion_tokens,usd\r\n",
                   by_word[by]);
    else if (!json)
        buf_printf(&out, "%-24s %9s %9s %9s %6s %14s %14s %20s\n", by_word[by], "attempts",
                   "exact", "estimated", "open", "prompt", "completion", "usd");
    for (size_t i = 0; i < n; i++) {
        if (json)
            json_array_append_new(list, sum_json(&sum[i], by));
        else if (csv)
            put_csv(&out, &sum[i]);
        else
            put_line(&out, &sum[i]);
    }
    e = json ? json_put(&out, list, false) : buf_ok(&out);
    if (!e)
        e = out_write(buf_text(&out), out.len);
    buf_release(&out);
    return e;
}

enum err gateway_ledger(struct opt_set *o)
{
    const char *word = opt_text(o, OPT_by);
    bool json = opt_flag(o, OPT_json), csv = opt_flag(o, OPT_csv);
    struct config *c = NULL;
    struct db *db = NULL;
    struct ledger_sum *sum = NULL;
    enum ledger_by by = BY_KEY;
    size_t n = 0;
    enum err e;

    while (by + 1 < BY_N && strcmp(word, by_word[by]))
        by++;
    if (json && csv)
        return err_set(ERR_ARG, "GLEDGER-02", "--json and --csv are two forms; give one of them");
    e = gateway_open_ledger(&c, &db, o);
    if (!e && !(e = db_begin(db, false)) && !(e = ledger_sums(db, by, &sum, &n)))
        e = db_commit(db);
    db_close(db);
    config_free(c);
    if (!e)
        e = print_sums(sum, n, by, json, csv);
    free(sum);
    return e;
}
