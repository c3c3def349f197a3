/* gateway_reconcile.c - `croft gateway reconcile`: the ledger against what upstreams counted.
 *
 * A line has an id (ours of an attempt or request, or the upstream's) and a usage, which is priced
 * as the configuration says.  An estimated attempt becomes exact; an exact one that differs stays
 * and is told, for one of the two counted wrong. */
#include "cmd/gateway_ledger.h"

#include "cmd/cmd_table.h"
#include "cmd/json_text.h"

#include "base/file.h"
#include "base/json.h"
#include "base/term.h"
#include "gateway/cost.h"
#include "gateway/exact.h"
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { USAGES_MAX = 256 << 20, PRICE_FILES_MAX = 64 };

struct task {
    const struct config *c;
    struct db *db;
    struct prices *prices[PRICE_FILES_MAX];
    unsigned n_prices;
    json_t *problems;
    struct buf out;
    bool json;
    int n_line, n_equal, n_corrected, n_problem;
};

/* The one attempt that an id means: copies of what is needed of it. */
struct found {
    int n;
    char id[LEDGER_ID_MAX + 1], key[LEDGER_NAME_MAX + 1], model[LEDGER_NAME_MAX + 1];
    struct buf charges;
    struct ledger_attempt row;
};

static enum err found_one(void *arg, const struct ledger_attempt *a)
{
    struct found *f = arg;

    if (a->state == ATTEMPT_VOID || f->n++)
        return OK;
    snprintf(f->id, sizeof(f->id), "%s", a->id);
    snprintf(f->key, sizeof(f->key), "%s", a->key);
    snprintf(f->model, sizeof(f->model), "%s", a->model);
    buf_puts(&f->charges, a->charges);
    f->row = *a;
    return OK;
}

static void tell(struct task *t, const char *id, const char *what, const char *detail)
{
    t->n_problem++;
    if (t->json)
        json_array_append_new(t->problems, json_pack("{s:i, s:o, s:s, s:o}", "line", t->n_line,
                              "id", json_text(id, strlen(id)), "what", what, "detail",
                              json_text(detail, strlen(detail))));
    else {
        buf_printf(&t->out, "line %d: ", t->n_line);
        term_shown(&t->out, id, strlen(id));
        buf_printf(&t->out, ": %s: %s\n", what, detail);
    }
}

static const struct price *price_of(const struct task *t, const char *model)
{
    int m = config_model_find(t->c, model);
    const struct config_model *cm = m < 0 ? NULL : &t->c->models[m];
    const char *name = !cm ? model : cm->price ? cm->price : cm->as ? cm->as : cm->name;
    const struct price *p = NULL;

    for (unsigned i = 0; i < t->n_prices && !p; i++)
        p = prices_find(t->prices[i], name);
    return p;
}

/* The usage of a line as the ledger counts it, with its cost.  An error is the line's. */
static enum err price_line(const struct task *t, const char *model, json_t *object,
                           struct ledger_usage *out)
{
    const struct price *p = price_of(t, model);
    struct usage u;
    struct cost cost;
    enum err e;

    if (!p)
        return err_set(ERR_MISSING, "RECON-01", "no price file has a price of the model '%.100s'",
                       model);
    if ((e = usage_read(&u, object)) || (e = cost_of(&cost, p, &u)))
        return e;
    *out = (struct ledger_usage){ .prompt = u.prompt, .completion = u.completion,
                                  .cache_read = u.n[PRICE_CACHE_READ] +
                                      u.n[PRICE_CACHE_READ_AUDIO] + u.n[PRICE_CACHE_READ_IMAGE],
                                  .cache_write = u.n[PRICE_CACHE_WRITE] +
                                      u.n[PRICE_CACHE_WRITE_1H],
                                  .reasoning = u.n[PRICE_REASONING], .cost = cost.total };
    return OK;
}

static void tell_difference(struct task *t, const char *id, const struct ledger_usage *ours,
                            const struct ledger_usage *theirs)
{
    char a[EXACT_TEXT_BYTES], b[EXACT_TEXT_BYTES], text[300];

    exact_text(a, ours->cost);
    exact_text(b, theirs->cost);
    snprintf(text, sizeof(text), "the ledger has %lld + %lld tokens, $%s; the usage %lld + %lld, "
             "$%s", (long long)ours->prompt, (long long)ours->completion, a,
             (long long)theirs->prompt, (long long)theirs->completion, b);
    tell(t, id, "differs", text);
}

/* Its upstream's id stays: a line that has it was found by it. */
static enum err correct(struct task *t, struct found *f, const struct ledger_usage *u)
{
    struct ledger_deltas deltas = { 0 };
    struct timespec now;
    bool done;
    enum err e;

    clock_gettime(CLOCK_REALTIME, &now);
    f->row.id = f->id;
    f->row.key = f->key;
    f->row.charges = buf_text(&f->charges);
    e = ledger_correct(t->db, &deltas, &f->row, "", u, (int64_t)now.tv_sec * 1000, &done);
    if (!e)
        e = ledger_write(t->db, &deltas, "");
    t->n_corrected += !e && done;
    ledger_deltas_release(&deltas);
    return e;
}

static enum err compare(struct task *t, struct found *f, const char *id, json_t *object)
{
    struct ledger_usage u;

    if (f->n == 0)
        tell(t, id, "unknown", "the ledger has no attempt of that id");
    else if (f->n > 1)
        tell(t, id, "ambiguous", "several attempts are of that request; give the attempt's or the "
             "upstream's id");
    else if (f->row.state == ATTEMPT_OPEN)
        tell(t, id, "open", "the attempt is not settled yet");
    else if (price_line(t, f->model, object, &u))
        tell(t, id, "no cost", err_text());
    else if (f->row.state == ATTEMPT_ESTIMATED)
        return correct(t, f, &u);
    else if (u.cost == f->row.usage.cost && u.prompt == f->row.usage.prompt &&
             u.completion == f->row.usage.completion)
        t->n_equal++;
    else
        tell_difference(t, id, &f->row.usage, &u);
    return OK;
}

/* {"id": ..., "usage": {...}}: a reply as upstreams send it is one. */
static enum err one_line(struct task *t, const char *text, size_t len)
{
    struct found f = { .n = 0 };
    json_t *object = NULL, *usage, *id;
    enum err e = OK;

    if (json_parse(&object, text, len, USAGE_TEXT_MAX, "usage")) {
        tell(t, "", "not read", err_text());
        return OK;
    }
    id = json_object_get(object, "id");
    if (!id)
        id = json_object_get(object, "request_id");
    usage = json_object_get(object, "usage");
    if (!json_is_string(id) || !json_is_object(usage) || !json_string_length(id) ||
        json_string_length(id) > LEDGER_ID_MAX) {
        tell(t, "", "not read", "a line is an object with id (or request_id) and usage");
    } else {
        e = ledger_find(t->db, json_string_value(id), found_one, &f);
        if (!e)
            e = buf_ok(&f.charges);
        if (!e)
            e = compare(t, &f, json_string_value(id), object);
    }
    buf_release(&f.charges);
    json_decref(object);
    return e;
}

/* All lines or, after an error of the database, none. */
static enum err all_lines(struct task *t, const char *text, size_t len)
{
    const char *end = text + len, *next;
    enum err e = db_begin(t->db, true);

    for (; text < end && !e; text = next) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((feed ? feed : end) - text);
        next = text + n + (feed != NULL);
        t->n_line++;
        if (strspn(text, " \t\r") < n)
            e = one_line(t, text, n);
    }
    if (!e)
        e = db_commit(t->db);
    db_rollback(t->db);
    return e;
}

static enum err print_result(struct task *t)
{
    enum err e;

    if (t->json)
        e = json_put(&t->out, json_pack("{s:i, s:i, s:i, s:O}", "equal", t->n_equal, "corrected",
                                        t->n_corrected, "differing", t->n_problem, "problems",
                                        t->problems), false);
    else {
        buf_printf(&t->out, "%d equal, %d corrected, %d differing\n", t->n_equal, t->n_corrected,
                   t->n_problem);
        e = buf_ok(&t->out);
    }
    if (!e)
        e = out_write(buf_text(&t->out), t->out.len);
    if (!e && t->n_problem)
        e = err_set(ERR_FORMAT, "RECON-02", "%d lines differ from the ledger or have no place in "
                    "it", t->n_problem);
    return e;
}

static enum err load_prices(struct task *t)
{
    enum err e = OK;

    for (unsigned i = 0; i < t->c->prices.files_count && i < PRICE_FILES_MAX && !e; i++)
        if (!(e = prices_load(&t->prices[i], t->c->prices.files[i])))
            t->n_prices++;
    return e;
}

enum err gateway_reconcile(struct opt_set *o)
{
    struct task t = { .json = opt_flag(o, OPT_json), .problems = json_array() };
    struct config *c = NULL;
    char *text = NULL;
    size_t len = 0;
    enum err e;

    if (opt_operands(o) < 2)
        e = err_set(ERR_ARG, "RECON-03", "which usages is not said; croft gateway reconcile FILE "
                    "-c croft.yaml, or - for standard input");
    else
        e = file_read_text(&text, &len, opt_operand(o, 1), USAGES_MAX);
    if (!e)
        e = gateway_open_ledger(&c, &t.db, o);
    t.c = c;
    if (!e)
        e = load_prices(&t);
    if (!e)
        e = all_lines(&t, text, len);
    if (!e)
        e = print_result(&t);
    for (unsigned i = 0; i < t.n_prices; i++)
        prices_free(t.prices[i]);
    json_decref(t.problems);
    buf_release(&t.out);
    db_close(t.db);
    config_free(c);
    free(text);
    return e;
}
