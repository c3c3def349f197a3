/* gateway_cost.c - `croft gateway cost`: what usages cost by a price file, as text or JSON. */
#include "cmd/gateway_cost.h"

#include "cmd/cmd_table.h"
#include "cmd/json_text.h"

#include "base/file.h"
#include "base/json.h"
#include "base/term.h"
#include "gateway/cost.h"
#include "gateway/exact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGES_TEXT_MAX = 64 << 20 };

struct task {
    struct opt_set *o;
    const struct price *price;
    struct buf out;
    int64_t total;                      /* of all usages */
    int n, n_failed;
};

static json_t *amount_json(int64_t v)
{
    char text[EXACT_TEXT_BYTES];

    exact_text(text, v);
    return json_string(text);
}

/* Amounts are texts: most readers would make a double of a number. */
static enum err put_json(struct task *t, const struct cost *c, const struct usage *u)
{
    json_t *parts = json_array();

    for (int i = 0; i < c->n; i++) {
        const struct cost_part *p = &c->part[i];
        json_array_append_new(parts, json_pack("{s:s, s:I, s:s, s:o, s:o}", "part",
                              price_part(p->of), "units", (json_int_t)p->units, "price_field",
                              price_field(p->priced), "price", amount_json(p->rate), "usd",
                              amount_json(p->amount)));
    }
    enum err e = json_put(&t->out, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "model",
                    t->price->model, "tier", price_tier_name(u->tier), "parts", parts,
                    "prompt_usd", amount_json(c->prompt), "completion_usd",
                    amount_json(c->completion), "other_usd", amount_json(c->other), "usd",
                    amount_json(c->total)), true);
    buf_puts(&t->out, "\n");
    return e;
}

static void put_text(struct task *t, const struct cost *c, const struct usage *u)
{
    char rate[EXACT_TEXT_BYTES], amount[EXACT_TEXT_BYTES];

    buf_printf(&t->out, "%s, %s\n", t->price->model, price_tier_name(u->tier));
    for (int i = 0; i < c->n; i++) {
        exact_text(rate, c->part[i].rate);
        exact_text(amount, c->part[i].amount);
        buf_printf(&t->out, "  %-20s %12" PRId64 " x $%-16s $%s\n", price_part(c->part[i].of),
                   c->part[i].units, rate, amount);
    }
    exact_text(amount, c->total);
    buf_printf(&t->out, "  %-20s %31s $%s\n", "total", "", amount);
}

static enum err put_cost(struct task *t, json_t *object)
{
    const char *tier = opt_text(t->o, OPT_tier), *residency = opt_text(t->o, OPT_residency);
    struct usage u;
    struct cost c;
    enum err e = usage_read(&u, object);

    if (!e && tier && *tier)
        e = usage_set_tier(&u, tier);
    if (e)
        return e;
    if (residency)
        snprintf(u.residency, sizeof(u.residency), "%s", residency);
    if ((e = cost_of(&c, t->price, &u)))
        return e;
    if (__builtin_add_overflow(t->total, c.total, &t->total))
        return err_set(ERR_LIMIT, "GATEWAY-02", "the usages together cost more than 9,223,372 "
                       "dollars; give fewer");
    t->n++;
    if (!opt_flag(t->o, OPT_json)) {
        put_text(t, &c, &u);
        return OK;
    }
    return put_json(t, &c, &u);
}

/* In JSON one usage without a cost does not hide the others' costs. */
static enum err put_error(struct task *t, enum err e)
{
    char code[32];

    if (!opt_flag(t->o, OPT_json) || e == ERR_NOMEM)
        return e;
    snprintf(code, sizeof(code), "E-%s", err_id());
    t->n_failed++;
    e = json_put(&t->out, json_pack("{s:{s:s, s:o}}", "error", "code", code, "message",
                                    json_text(err_text(), strlen(err_text()))), true);
    buf_puts(&t->out, "\n");
    return e;
}

/* JSON lines; blank ones are passed over. */
static enum err each_line(struct task *t, const char *text, size_t len, const char *what)
{
    const char *end = text + len, *next;
    enum err e = OK;
    int line = 0;

    for (; text < end && !e; text = next) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);
        json_t *object = NULL;
        line++;
        next = newline ? newline + 1 : end;
        if (strspn(text, " \t\r") >= n)
            continue;
        e = json_parse(&object, text, n, USAGE_TEXT_MAX, what);
        if (!e)
            e = put_cost(t, object);
        json_decref(object);
        if (e)
            e = put_error(t, err_wrap(e, "line %d", line));
    }
    return e;
}

/* One object over several lines, or an object a line. */
static enum err all_costs(struct task *t, const char *text, size_t len, const char *what)
{
    char sum[EXACT_TEXT_BYTES];
    json_t *object = NULL;
    enum err e = OK;

    if (len <= USAGE_TEXT_MAX && json_parse(&object, text, len, USAGE_TEXT_MAX, what) == OK)
        e = put_cost(t, object);
    else
        e = each_line(t, text, len, what);
    json_decref(object);
    if (!e && !t->n && !t->n_failed)
        e = err_set(ERR_FORMAT, "GATEWAY-03", "%s: holds no usage; one JSON object, or one a "
                    "line, is expected", what);
    if (!e && t->n > 1 && !opt_flag(t->o, OPT_json)) {
        exact_text(sum, t->total);
        buf_printf(&t->out, "sum of %d: $%s\n", t->n, sum);
    }
    return e ? e : buf_ok(&t->out);
}

static enum err find_price(struct task *t, const struct prices *prices)
{
    const char *model = opt_text(t->o, OPT_model_name);

    t->price = prices_find(prices, model);
    if (!t->price)
        return err_set(ERR_MISSING, "GATEWAY-04", "%s: has no price of '%.200s'; %d models have "
                       "one there", opt_text(t->o, OPT_prices), model, prices_n(prices));
    return OK;
}

static enum err read_usages(struct task *t)
{
    const char *path = opt_text(t->o, OPT_usage);
    char *text = NULL;
    size_t len;
    enum err e;

    if (!path || !*path) {
        path = "-";
        if (!file_stdin_given())
            return err_set(ERR_ARG, "GATEWAY-05", "which usage is not said: --usage FILE, or JSON "
                           "on standard input");
    }
    e = file_read_text(&text, &len, path, USAGES_TEXT_MAX);
    if (!e)
        e = all_costs(t, text, len, strcmp(path, "-") ? path : "standard input");
    free(text);
    return e;
}

enum err gateway_cost(struct opt_set *o)
{
    const char *path = opt_text(o, OPT_prices);
    struct task t = { .o = o };
    struct prices *prices = NULL;
    enum err e;

    if (!path || !*path || !opt_given(o, OPT_model_name))
        return err_set(ERR_ARG, "GATEWAY-06", "croft gateway cost needs --prices FILE (LiteLLM's "
                       "model_prices_and_context_window.json) and --model NAME");
    if (!(e = prices_load(&prices, path)) && !(e = find_price(&t, prices)) &&
        !(e = read_usages(&t)))
        e = out_write(t.out.data, t.out.len);
    if (!e && t.n_failed)
        e = err_set(ERR_FORMAT, "GATEWAY-07", "%d of %d usages have no cost; their lines say why",
                    t.n_failed, t.n + t.n_failed);
    buf_release(&t.out);
    prices_free(prices);
    return e;
}
