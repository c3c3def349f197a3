/* gateway_explain.c - `croft gateway explain ID`: a request's attempts from the ledger, its
 * decisions from the audit log of this machine; with --request what would become of one. */
#include "cmd/gateway_explain.h"

#include "cmd/cmd_table.h"
#include "cmd/gateway_ledger.h"
#include "cmd/json_text.h"

#include "base/file.h"
#include "base/json.h"
#include "base/term.h"
#include "door/door_explain.h"
#include "gateway/exact.h"
#include "http/keys.h"
#include "store/audit.h"
#include "store/ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DRY_BYTES_MAX = 16 << 20 };

struct task {
    const char *id;
    bool json;
    char request[LEDGER_ID_MAX + 1];    /* the id's request, "" until an attempt says */
    struct buf part;                    /* of an audit row: "request":"..." */
    json_t *attempts, *decisions;
    struct buf out;
    int n_attempt, n_decision;
};

static const char *const state_word[] = { "open", "exact", "estimated", "void" };

static json_t *usd(int64_t amount)
{
    char text[EXACT_TEXT_BYTES];

    exact_text(text, amount);
    return json_string(text);
}

/* "2026-11-28T07:22:30Z", "" for 0. */
static void time_words(char out[KEY_TIME_BYTES], int64_t ms)
{
    *out = '\0';
    if (ms)
        key_time_text(out, ms / 1000);
}

/* ---- the ledger ---------------------------------------------------------------------------- */

/* Taken; OK when it is in the list. */
static enum err append(json_t *list, json_t *one)
{
    if (one && json_array_append_new(list, one) == 0)
        return OK;
    return err_set(ERR_NOMEM, "GEXPLAIN-04", "no memory for what is told as JSON");
}

static json_t *attempt_json(const struct ledger_attempt *a)
{
    const struct ledger_usage *u = &a->usage;
    char begun[KEY_TIME_BYTES], ended[KEY_TIME_BYTES];

    time_words(begun, a->begun_ms);
    time_words(ended, a->ended_ms);
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, "
                     "s:I, s:I, s:o, s:o}", "id", a->id, "request", a->request, "upstream_id",
                     json_text(a->upstream_id, strlen(a->upstream_id)), "model", a->model,
                     "upstream", a->upstream, "key", a->key,
                     "team", a->team, "state", state_word[a->state], "reconciled", a->reconciled,
                     "begun", begun, "ended", ended, "ms",
                     (json_int_t)(a->ended_ms ? a->ended_ms - a->begun_ms : 0), "prompt_tokens",
                     (json_int_t)u->prompt, "completion_tokens", (json_int_t)u->completion,
                     "cache_read", (json_int_t)u->cache_read, "cache_write",
                     (json_int_t)u->cache_write, "reasoning", (json_int_t)u->reasoning, "usd",
                     usd(u->cost), "worst_usd", usd(a->worst.cost));
}

static void put_attempt(struct buf *out, const struct ledger_attempt *a)
{
    char begun[KEY_TIME_BYTES], cost[EXACT_TEXT_BYTES], worst[EXACT_TEXT_BYTES];

    time_words(begun, a->begun_ms);
    exact_text(cost, a->usage.cost);
    exact_text(worst, a->worst.cost);
    buf_printf(out, "attempt   %s\n  %s, model %s at %s, key %s%s%s, %s%s\n", a->id, begun,
               a->model, a->upstream, *a->key ? a->key : "-", *a->team ? ", team " : "", a->team,
               state_word[a->state], a->reconciled ? " by a bill" : "");
    if (a->state == ATTEMPT_OPEN)
        buf_printf(out, "  not settled; at most %" PRId64 " + %" PRId64 " tokens, $%s\n",
                   a->worst.prompt, a->worst.completion, worst);
    else if (a->state != ATTEMPT_VOID)
        buf_printf(out, "  %" PRId64 " + %" PRId64 " tokens, $%s (at most $%s), %" PRId64 " ms\n",
                   a->usage.prompt, a->usage.completion, cost, worst, a->ended_ms - a->begun_ms);
    if (*a->upstream_id) {
        buf_puts(out, "  the upstream's id: ");
        term_shown(out, a->upstream_id, strlen(a->upstream_id));
        buf_puts(out, "\n");
    }
}

static enum err take_attempt(void *arg, const struct ledger_attempt *a)
{
    struct task *t = arg;

    t->n_attempt++;
    snprintf(t->request, sizeof(t->request), "%s", a->request);
    if (t->json)
        return append(t->attempts, attempt_json(a));
    put_attempt(&t->out, a);
    return OK;
}

/* An id of one attempt means its request: all attempts of that. */
static enum err remember_request(void *arg, const struct ledger_attempt *a)
{
    struct task *t = arg;

    snprintf(t->request, sizeof(t->request), "%s", a->request);
    return OK;
}

static enum err from_ledger(struct task *t, struct db *db)
{
    enum err e = db_begin(db, false);

    if (!e)
        e = ledger_find(db, t->id, remember_request, t);
    if (!e && *t->request)
        e = ledger_find(db, t->request, take_attempt, t);
    return e ? e : db_commit(db);
}

/* ---- the audit log ------------------------------------------------------------------------- */

static const char *word(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));

    return text ? text : "";
}

static void put_shown(struct buf *out, const char *before, const char *text)
{
    buf_puts(out, before);
    term_shown(out, text, strlen(text));
}

static void put_passed(struct buf *out, const json_t *passed)
{
    const json_t *one;
    size_t i;

    json_array_foreach (passed, i, one) {
        const char *rule = word(one, "rule");
        put_shown(out, "  passed over ", word(one, "model"));
        put_shown(out, ": ", word(one, "why"));
        if (*rule)
            put_shown(out, " ", rule);
        buf_puts(out, "\n");
    }
}

static void put_decision(struct buf *out, const struct audit_row *from, const json_t *row)
{
    const json_t *labels = json_object_get(row, "labels"), *label;
    const char *rule = word(row, "rule"), *why = word(row, "why");
    char when[KEY_TIME_BYTES];
    size_t i;

    time_words(when, from->made_ms);
    buf_printf(out, "decision  %s row %" PRId64 "\n  %s, ", from->chain, from->n, when);
    put_shown(out, "", word(row, "decision"));
    put_shown(out, ": ", word(row, "asked"));
    if (*word(row, "model")) {
        put_shown(out, " -> ", word(row, "model"));
        put_shown(out, " at ", word(row, "upstream"));
    }
    if (*rule)
        put_shown(out, ", rule ", rule);
    if (*why)
        put_shown(out, ", ", why);
    buf_puts(out, "\n");
    json_array_foreach (labels, i, label)
        put_shown(out, i ? ", " : "  labels ", json_string_value(label));
    buf_puts(out, json_array_size(labels) ? "\n" : "");
    put_passed(out, json_object_get(row, "passed"));
}

static enum err take_row(void *arg, const struct audit_row *from)
{
    struct task *t = arg;
    json_t *row;
    enum err e = json_parse(&row, from->row, from->len, AUDIT_ROW_MAX, from->chain);

    if (e)
        return e;
    t->n_decision++;
    if (!t->json) {
        put_decision(&t->out, from, row);
        json_decref(row);
        return OK;
    }
    char when[KEY_TIME_BYTES];
    time_words(when, from->made_ms);
    return append(t->decisions, json_pack("{s:s, s:I, s:s, s:o}", "chain", from->chain, "n",
                                          (json_int_t)from->n, "time", when, "row", row));
}

/* A log that is not there, on another machine perhaps, leaves the ledger's side. */
static enum err from_audit(struct task *t, const char *state)
{
    const char *request = *t->request ? t->request : t->id;
    struct buf folder = { 0 };
    json_t *text = json_string(request);
    enum err e;

    buf_printf(&folder, "%s/audit", state);
    buf_puts(&t->part, "\"request\":");
    json_write(&t->part, text, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(text);
    e = buf_ok(&t->part) ? ERR_NOMEM : buf_ok(&folder);
    if (!e)
        e = audit_find(buf_text(&folder), buf_text(&t->part), take_row, t);
    if (e == ERR_MISSING) {
        term_note("%s; decisions are not told", err_text());
        e = OK;
    }
    buf_release(&folder);
    return e;
}

/* ---- together ------------------------------------------------------------------------------ */

static enum err print(struct task *t)
{
    enum err e;

    if (t->json)
        e = json_put(&t->out, json_pack("{s:s, s:O, s:O}", "request",
                                        *t->request ? t->request : t->id, "attempts", t->attempts,
                                        "decisions", t->decisions), false);
    else
        e = buf_ok(&t->out);
    return e ? e : out_write(buf_text(&t->out), t->out.len);
}

static enum err explain_past(struct opt_set *o, const char *id)
{
    struct task t = { .id = id, .json = opt_flag(o, OPT_json) };
    struct config *c = NULL;
    struct db *db = NULL;
    enum err e;

    if (strlen(t.id) > LEDGER_ID_MAX)
        return err_set(ERR_ARG, "GEXPLAIN-02", "an id has at most %d characters", LEDGER_ID_MAX);
    t.attempts = json_array();
    t.decisions = json_array();
    if (!(e = gateway_open_ledger(&c, &db, o)) && !(e = from_ledger(&t, db)))
        e = from_audit(&t, c->state.folder);
    if (!e && !t.n_attempt && !t.n_decision)
        e = err_set(ERR_FORMAT, "GEXPLAIN-03", "neither the ledger nor the audit log of %s knows "
                    "'%.80s'", c->state.folder, t.id);
    if (!e)
        e = print(&t);
    db_close(db);
    config_free(c);
    json_decref(t.attempts);
    json_decref(t.decisions);
    buf_release(&t.part);
    buf_release(&t.out);
    return e;
}

static enum err explain_dry(struct opt_set *o, const char *file)
{
    struct door_dry dry = { .config = opt_text(o, OPT_config), .dialect = opt_text(o, OPT_dialect),
                            .key = opt_text(o, OPT_request_key),
                            .labels = opt_text(o, OPT_labels) };
    bool refused, json = opt_flag(o, OPT_json);
    struct buf out = { 0 };
    json_t *told = NULL;
    char *body = NULL;
    enum err e;

    if (!dry.config)
        return err_set(ERR_ARG, "GEXPLAIN-05", "which gateway would get the request is not said; "
                       "add -c croft.yaml");
    if ((e = file_read_text(&body, &dry.len, file, DRY_BYTES_MAX)))
        return e;
    dry.body = body;
    e = door_explain(&dry, &out, json ? &told : NULL, &refused);
    if (!e && json)
        e = json_put(&out, told, false);
    if (!e)
        e = out_write(buf_text(&out), out.len);
    if (!e && refused)
        e = err_set(ERR_FORMAT, "GEXPLAIN-06", "the request would be refused");
    buf_release(&out);
    free(body);
    return e;
}

enum err gateway_explain(struct opt_set *o)
{
    const char *file = opt_text(o, OPT_request);
    const char *id = opt_operands(o) > 1 ? opt_operand(o, 1) : NULL;

    if (file && id)
        return err_set(ERR_ARG, "GEXPLAIN-07", "an id and --request are two requests; give one of "
                       "them");
    if (!file && !id)
        return err_set(ERR_ARG, "GEXPLAIN-01", "which request is not said; give its id, which is "
                       "in x-request-id of the answer, or a body with --request FILE");
    return file ? explain_dry(o, file) : explain_past(o, id);
}
