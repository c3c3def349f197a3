/* door_explain.c - see door_explain.h.  A request that came in no call is read, labelled and chosen
 * for as any other; then attempts.h is told that everything fails, for as long as it has steps. */
#include "door/door_form.h"

#include "door/door_explain.h"

#include "gateway/exact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One step of the simulated failures. */
struct step { struct attempts_step s; int64_t at_ms; };

struct dry {
    struct ask ask;
    struct keyring *keyring;
    const char *key_state;              /* "valid", ...; NULL without a key */
    struct wire_error why;
    bool refused;                       /* why says how */
    struct step step[ATTEMPTS_MAX];
    int n_step;
    enum attempts_error ends;
};

/* ---- who ------------------------------------------------------------------------------------ */

static enum err read_keyring(struct dry *d)
{
    struct key_rows *rows = NULL;
    struct db *db;
    enum err e = db_open(&db, d->ask.w->c->ledger.url, false);

    if (!e && !(e = db_begin(db, false)) && !(e = key_rows_read(&rows, db, -1)))
        e = db_commit(db);
    if (!e)
        e = keyring_new(&d->keyring, rows);
    key_rows_free(rows);
    db_close(db);
    return e;
}

static enum err set_who(struct dry *d, const char *id)
{
    const struct key *key;
    enum err e;

    d->ask.who = (struct who){ .names.any = true, .team_names.any = true };
    if (!id)
        return OK;
    if ((e = read_keyring(d)))
        return e;
    if (!(key = keys_find(keyring_keys(d->keyring), id, strlen(id))))
        return err_set(ERR_ARG, "DOORX-01", "the ledger has no key '%.80s'; croft key list -c "
                       "names them", id);
    d->key_state = key->revoked ? "revoked"
                   : key->expires && time(NULL) >= key->expires ? "expired" : "valid";
    snprintf(d->ask.who.key, sizeof(d->ask.who.key), "%s", key->id);
    if (strcmp(d->key_state, "valid")) {
        wire_error_set(&d->why, WIRE_E_BAD_KEY, NULL, "The key %s is %s.", id, d->key_state);
        d->refused = true;
    } else if (who_set(&d->ask.who, d->ask.w->c, key, keyring_may(d->keyring, key)) ||
               !(key->scopes & KEY_INFER)) {
        wire_error_set(&d->why, WIRE_E_FORBIDDEN, NULL, "The key %s may not ask models: its scopes "
                       "lack infer, or its team or labels are not of this configuration.", id);
        d->refused = true;
    }
    return OK;
}

/* ---- what would be done ---------------------------------------------------------------------- */

/* The client's error is no error here: it is what is told. */
static enum err read_request(struct dry *d, const struct door_dry *dry)
{
    struct ask *a = &d->ask;
    enum err e = wire_read(&a->r, &d->why, a->in, dry->body, dry->len);

    a->read = e == OK;
    a->prompt_tok = (int64_t)(dry->len / BYTES_PER_TOKEN);
    if (!e && !a->r.model.at)
        wire_error_set(&d->why, WIRE_E_MISSING, "model", "You must provide a model.");
    if (!e && !a->r.model.at)
        d->refused = true;
    else if (!e)
        e = label_ask(a, NULL, dry->labels, &d->why);
    if (e == ERR_ARG) {
        d->refused = true;
        e = OK;
    }
    return e;
}

/* Every attempt ends in an error of the server. */
static void fail_all(struct dry *d)
{
    const struct attempts_outcome failed = { .end = END_STATUS, .error = CLASS_FAILED,
                                             .retry_after_ms = -1, .should_retry = -1 };
    struct ask *a = &d->ask;
    int64_t now = 0;
    struct attempts_step s = attempts_start(&a->attempts, &(struct attempts_options){
        .c = a->w->c, .circuits = a->w->circuits, .choice = &a->choice,
        .may_continue = ask_may_continue(a) });

    while (s.what == DO_SEND || s.what == DO_WAIT) {
        if (s.what == DO_WAIT) {
            now = s.at_ms;
            s = attempts_wake(&a->attempts, now);
            continue;
        }
        d->step[d->n_step++] = (struct step){ s, now };
        s = attempts_outcome(&a->attempts, &failed, now);
    }
    d->ends = s.error;
}

/* ---- told ----------------------------------------------------------------------------------- */

/* "0.25", or why it is not known. */
static void cost_words(char out[EXACT_TEXT_BYTES], const struct ask *a, int model,
                       struct ledger_usage *most)
{
    *out = '\0';
    if (money_most(most, a, model) == OK && a->w->price[model])
        exact_text(out, most->cost);
}

static void put_step(struct buf *out, const struct dry *d, const struct step *s)
{
    const struct config *c = d->ask.w->c;
    const struct config_upstream *u = &c->upstreams[s->s.upstream];
    char cost[EXACT_TEXT_BYTES];
    struct ledger_usage most;

    cost_words(cost, &d->ask, s->s.model, &most);
    buf_printf(out, "attempt %-2d %-12s %s at %s", s->s.number + 1, path_word(s->s.kind),
               c->models[s->s.model].name, u->name);
    if (u->keys_count)
        buf_printf(out, ", %s", u->keys[s->s.key]);
    if (s->at_ms)
        buf_printf(out, ", after %" PRId64 " ms or more", s->at_ms);
    buf_printf(out, "\n           at most %" PRId64 " + %" PRId64 " tokens, %s%s\n", most.prompt,
               most.completion, *cost ? "$" : "its price is not known", cost);
}

static void put_text(struct buf *out, const struct dry *d)
{
    const struct ask *a = &d->ask;

    if (d->key_state)
        buf_printf(out, "key       %s, %s%s%s\n", a->who.key, d->key_state,
                   *a->who.team ? ", team " : "", a->who.team);
    if (d->refused) {
        buf_printf(out, "refused   %d: %s\n", wire_error_status(d->why.code), d->why.text);
        return;
    }
    buf_printf(out, "prompt    about %" PRId64 " tokens\n", a->prompt_tok);
    choice_text(out, a->w->c, &a->choice, a->r.model.at);
    if (a->choice.why != CHOICE_ALLOWED)
        return;
    buf_printf(out, "if each attempt is answered by an error of the server:\n");
    for (int i = 0; i < d->n_step; i++)
        put_step(out, d, &d->step[i]);
    buf_printf(out, "then      %s\n", attempts_error_word(d->ends));
    if (audit_strict(a))
        buf_puts(out, "strict    decisions are on disk before a byte leaves\n");
}

static json_t *step_json(const struct dry *d, const struct step *s)
{
    const struct config *c = d->ask.w->c;
    const struct config_upstream *u = &c->upstreams[s->s.upstream];
    char cost[EXACT_TEXT_BYTES];
    struct ledger_usage most;

    cost_words(cost, &d->ask, s->s.model, &most);
    return json_pack("{s:i, s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:s?}", "number",
                     s->s.number + 1, "path", path_word(s->s.kind), "model",
                     c->models[s->s.model].name, "upstream", u->name, "key",
                     u->keys_count ? u->keys[s->s.key] : NULL, "after_ms", (json_int_t)s->at_ms,
                     "worst_prompt_tokens", (json_int_t)most.prompt, "worst_completion_tokens",
                     (json_int_t)most.completion, "worst_usd", *cost ? cost : NULL);
}

static json_t *told_json(const struct dry *d)
{
    const struct ask *a = &d->ask;
    json_t *steps = json_array(), *all;
    bool ok = steps != NULL;

    for (int i = 0; i < d->n_step && ok; i++)
        ok = json_array_append_new(steps, step_json(d, &d->step[i])) == 0;
    all = json_pack("{s:s?, s:s?, s:s?, s:o}", "key", d->key_state ? a->who.key : NULL,
                    "key_state", d->key_state, "team", *a->who.team ? a->who.team : NULL, "error",
                    !d->refused ? json_null()
                    : json_pack("{s:i, s:s}", "status", wire_error_status(d->why.code), "text",
                                d->why.text));
    ok = ok && all;
    if (ok && !d->refused)
        ok = !json_object_set_new(all, "prompt_tokens", json_integer(a->prompt_tok)) &&
             !json_object_set_new(all, "strict", json_boolean(audit_strict(a))) &&
             !json_object_set_new(all, "choice", choice_json(a->w->c, &a->choice,
                                                             a->r.model.at)) &&
             !json_object_set(all, "if_all_fail", steps) &&
             !json_object_set_new(all, "then", d->n_step ? json_string(attempts_error_word(d->ends))
                                                         : json_null());
    json_decref(steps);
    if (!ok) {
        json_decref(all);
        all = NULL;
    }
    return all;
}

static enum err explain(struct dry *d, const struct door_dry *dry, struct buf *out, json_t **json)
{
    struct ask *a = &d->ask;
    enum err e = set_who(d, dry->key);

    if (!e && !d->refused)
        e = read_request(d, dry);
    if (e)
        return e;
    if (!d->refused) {
        ask_choose(a, -1, 0);
        if (a->choice.why == CHOICE_ALLOWED)
            fail_all(d);
    }
    if (!json) {
        put_text(out, d);
        return buf_ok(out);
    }
    *json = told_json(d);
    return *json ? OK : err_set(ERR_NOMEM, "DOORX-02", "no memory for what is told as JSON");
}

enum err door_explain(const struct door_dry *dry, struct buf *out, json_t **json, bool *refused)
{
    struct dry *d = calloc(1, sizeof(*d));
    struct ask *a = d ? &d->ask : NULL;
    enum err e;

    if (json)
        *json = NULL;
    *refused = false;
    if (!d)
        return err_set(ERR_NOMEM, "DOORX-03", "no memory to explain a request");
    a->in = wire_dialect_find(dry->dialect);
    a->kind = strcmp(dry->dialect, "embeddings") ? PATH_call : PATH_embeddings;
    if (!a->in)
        e = err_set(ERR_ARG, "DOORX-04", "there is no dialect '%.40s'", dry->dialect);
    else if (!(e = world_new(&a->w, NULL, dry->config)))
        e = explain(d, dry, out, json);
    *refused = !e && (d->refused || a->choice.why != CHOICE_ALLOWED);
    if (a->read)
        wire_request_release(&a->r);
    keyring_free(d->keyring);
    world_drop(a->w);
    free(d);
    return e;
}
