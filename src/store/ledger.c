/* ledger.c - see ledger.h.  Sums are kept beside the rows they are sums of, in one transaction. */
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)

static const struct db_arg no_arg;

static struct ledger_delta *delta_of(struct ledger_deltas *deltas, const char *name, bool spend,
                                     int64_t when)
{
    for (size_t i = 0; i < deltas->n; i++) {
        struct ledger_delta *d = &deltas->delta[i];
        if (d->spend == spend && d->when == when && !strcmp(d->name, name))
            return d;
    }
    if (deltas->n == deltas->cap) {
        size_t cap = deltas->cap ? 2 * deltas->cap : 64;
        struct ledger_delta *more = realloc(deltas->delta, cap * sizeof(*more));
        if (!more)
            return NULL;
        deltas->delta = more;
        deltas->cap = cap;
    }
    struct ledger_delta *d = &deltas->delta[deltas->n++];
    *d = (struct ledger_delta){ .spend = spend, .when = when };
    snprintf(d->name, sizeof(d->name), "%s", name);
    return d;
}

void ledger_deltas_release(struct ledger_deltas *deltas)
{
    free(deltas->delta);
    *deltas = (struct ledger_deltas){ 0 };
}

bool ledger_charge(const char **charges, char budget[LEDGER_NAME_MAX + 1], int64_t *period)
{
    const char *p = *charges + strspn(*charges, " "), *equal = strchr(p, '=');
    char *end;

    if (!equal || equal == p || equal - p > LEDGER_NAME_MAX)
        return false;
    memcpy(budget, p, (size_t)(equal - p));
    budget[equal - p] = '\0';
    *period = strtoll(equal + 1, &end, 10);
    *charges = end;
    return end != equal + 1 && (*end == ' ' || !*end);
}

/* Add what an attempt used to its key's day and to the budgets it is charged to. */
static enum err charge(struct ledger_deltas *deltas, const struct ledger_attempt *a,
                       const struct amount *used, bool from_slice)
{
    const char *charges = a->charges;
    char budget[LEDGER_NAME_MAX + 1];
    int64_t period;
    struct ledger_delta *d = delta_of(deltas, a->key, true, a->begun_ms / DAY_MS);

    if (d)
        amount_add(&d->used, used);
    while (d && ledger_charge(&charges, budget, &period)) {
        if ((d = delta_of(deltas, budget, false, period))) {
            amount_add(&d->used, used);
            if (from_slice)
                amount_add(&d->slice, used);
        }
    }
    return d ? OK : err_set(ERR_NOMEM, "LEDGER-01", "no memory to add up a ledger's changes");
}

static enum err set_amount(void *arg, const struct db_cell *cell)
{
    struct amount *a = arg;

    for (int d = 0; d < AMOUNT_N; d++)
        a->n[d] = cell[d].n;
    return OK;
}

static enum err slice_get(struct db *db, const char *process, const char *budget, int64_t period,
                          struct amount *out)
{
    *out = (struct amount){ { 0 } };
    return db_run(db, ST_slice_get, (struct db_arg[]){ DB_TEXT(process), DB_TEXT(budget),
                  DB_INT(period) }, set_amount, out, NULL);
}

static enum err slice_set(struct db *db, const char *process, const char *budget, int64_t period,
                          const struct amount *a)
{
    return db_run(db, ST_slice_set, (struct db_arg[]){ DB_TEXT(process), DB_TEXT(budget),
                  DB_INT(period), DB_INT(a->n[0]), DB_INT(a->n[1]), DB_INT(a->n[2]) }, NULL, NULL,
                  NULL);
}

static enum err write_delta(struct db *db, const struct ledger_delta *d, const char *process)
{
    const struct db_arg arg[] = { DB_TEXT(d->name), DB_INT(d->when), DB_INT(d->used.n[0]),
                                  DB_INT(d->used.n[1]), DB_INT(d->used.n[2]) };
    const struct db_arg slice[] = { DB_TEXT(process), DB_TEXT(d->name), DB_INT(d->when),
                                    DB_INT(d->slice.n[0]), DB_INT(d->slice.n[1]),
                                    DB_INT(d->slice.n[2]) };
    int64_t changed = 1;
    enum err e = OK;

    if (amount_any(&d->used))
        e = db_run(db, d->spend ? ST_spend_add : ST_use_add, arg, NULL, NULL, &changed);
    /* What a correction takes back from a sum that was forgotten is forgotten too. */
    if (!e && !changed && d->used.n[0] >= 0 && d->used.n[1] >= 0 && d->used.n[2] >= 0)
        e = db_run(db, d->spend ? ST_spend_new : ST_use_new, arg, NULL, NULL, NULL);
    if (!e && amount_any(&d->slice))
        e = db_run(db, ST_slice_take, slice, NULL, NULL, NULL);
    return e;
}

enum err ledger_write(struct db *db, struct ledger_deltas *deltas, const char *process)
{
    enum err e = OK;

    for (size_t i = 0; i < deltas->n && !e; i++)
        e = write_delta(db, &deltas->delta[i], process);
    deltas->n = 0;
    return e;
}

enum err ledger_join(struct db *db, const char *process, const char *node, int64_t now_ms)
{
    return db_run(db, ST_process_add, (struct db_arg[]){ DB_TEXT(process), DB_TEXT(node),
                  DB_INT(now_ms) }, NULL, NULL, NULL);
}

enum err ledger_journal(struct db *db, const struct ledger_attempt *a)
{
    return db_run(db, ST_attempt_add, (struct db_arg[]){ DB_TEXT(a->id), DB_TEXT(a->process),
                  DB_TEXT(a->request), DB_TEXT(a->upstream), DB_TEXT(a->key), DB_TEXT(a->team),
                  DB_TEXT(a->model), DB_TEXT(a->tags), DB_TEXT(a->charges), DB_INT(a->begun_ms),
                  DB_INT(a->requests), DB_INT(a->worst.prompt), DB_INT(a->worst.completion),
                  DB_INT(a->worst.cost) }, NULL, NULL, NULL);
}

enum err ledger_settle(struct db *db, struct ledger_deltas *deltas,
                       const struct ledger_attempt *a, enum attempt_state state,
                       const struct ledger_usage *u, int64_t now_ms, bool *done)
{
    struct amount used = { { state == ATTEMPT_VOID ? 0 : a->requests, u->prompt + u->completion,
                             u->cost } };
    int64_t changed;
    enum err e = db_run(db, ST_attempt_settle, (struct db_arg[]){ DB_TEXT(a->id), DB_INT(state),
                        DB_TEXT(a->upstream_id), DB_INT(now_ms), DB_INT(u->prompt),
                        DB_INT(u->completion), DB_INT(u->cache_read), DB_INT(u->cache_write),
                        DB_INT(u->reasoning), DB_INT(u->cost) }, NULL, NULL, &changed);

    *done = !e && changed == 1;
    return *done ? charge(deltas, a, &used, true) : e;
}

enum err ledger_correct(struct db *db, struct ledger_deltas *deltas,
                        const struct ledger_attempt *a, const char *upstream_id,
                        const struct ledger_usage *u, int64_t now_ms, bool *done)
{
    struct amount more = { { 0, u->prompt + u->completion - a->usage.prompt - a->usage.completion,
                             u->cost - a->usage.cost } };
    int64_t changed;
    enum err e = db_run(db, ST_attempt_correct, (struct db_arg[]){ DB_TEXT(a->id),
                        DB_TEXT(upstream_id), DB_INT(now_ms), DB_INT(u->prompt),
                        DB_INT(u->completion), DB_INT(u->cache_read), DB_INT(u->cache_write),
                        DB_INT(u->reasoning), DB_INT(u->cost) }, NULL, NULL, &changed);

    *done = !e && changed == 1;
    return *done ? charge(deltas, a, &more, false) : e;
}

struct walk { ledger_attempt_fn *fn; void *arg; };

static enum err read_attempt(void *arg, const struct db_cell *c)
{
    const struct walk *w = arg;
    struct ledger_attempt a = {
        .id = c[0].text, .process = c[1].text, .request = c[2].text, .upstream = c[3].text,
        .upstream_id = c[4].text, .key = c[5].text, .team = c[6].text, .model = c[7].text,
        .tags = c[8].text, .charges = c[9].text, .state = (enum attempt_state)c[10].n,
        .reconciled = c[11].n != 0, .begun_ms = c[12].n, .ended_ms = c[13].n,
        .requests = c[14].n,
        .worst = { .prompt = c[15].n, .completion = c[16].n, .cost = c[17].n },
        .usage = { c[18].n, c[19].n, c[20].n, c[21].n, c[22].n, c[23].n },
    };

    return w->fn(w->arg, &a);
}

enum err ledger_find(struct db *db, const char *id, ledger_attempt_fn *fn, void *arg)
{
    struct walk w = { fn, arg };

    return db_run(db, ST_attempts_find, (struct db_arg[]){ DB_TEXT(id) }, read_attempt, &w, NULL);
}

/* A row is settled once the walk over the rows has ended: ids are kept meanwhile. */
struct opened { struct ledger_deltas deltas; struct { char id[LEDGER_ID_MAX]; struct ledger_usage
                worst; } *at; size_t n, cap; };

static enum err note_open(void *arg, const struct ledger_attempt *a)
{
    struct opened *o = arg;
    struct amount used = { { a->requests, a->worst.prompt + a->worst.completion,
                             a->worst.cost } };

    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 64;
        void *more = realloc(o->at, cap * sizeof(*o->at));
        if (!more)
            return err_set(ERR_NOMEM, "LEDGER-02", "no memory for a process's open attempts");
        o->at = more;
        o->cap = cap;
    }
    snprintf(o->at[o->n].id, sizeof(o->at->id), "%s", a->id);
    o->at[o->n++].worst = a->worst;
    return charge(&o->deltas, a, &used, false);
}

static enum err estimate_all(struct db *db, struct opened *o, int64_t now_ms)
{
    enum err e = OK;

    for (size_t i = 0; i < o->n && !e; i++) {
        const struct ledger_usage *w = &o->at[i].worst;
        e = db_run(db, ST_attempt_settle, (struct db_arg[]){ DB_TEXT(o->at[i].id),
                   DB_INT(ATTEMPT_ESTIMATED), DB_TEXT(""), DB_INT(now_ms), DB_INT(w->prompt),
                   DB_INT(w->completion), no_arg, no_arg, no_arg, DB_INT(w->cost) }, NULL, NULL,
                   NULL);
    }
    return e;
}

enum err ledger_take_over(struct db *db, const char *process, const int64_t *beats,
                          int64_t now_ms, int *n_open)
{
    struct opened o = { .n = 0 };
    struct walk w = { note_open, &o };
    int64_t changed = 1;
    enum err e;

    if (n_open)
        *n_open = 0;
    if (beats)
        e = db_run(db, ST_process_drop_silent, (struct db_arg[]){ DB_TEXT(process),
                   DB_INT(*beats) }, NULL, NULL, &changed);
    else
        e = db_run(db, ST_process_drop, (struct db_arg[]){ DB_TEXT(process) }, NULL, NULL, NULL);
    if (e || !changed)
        return e;
    e = db_run(db, ST_attempts_open, (struct db_arg[]){ DB_TEXT(process) }, read_attempt, &w,
               NULL);
    if (!e)
        e = estimate_all(db, &o, now_ms);
    if (!e)
        e = ledger_write(db, &o.deltas, process);
    if (!e)
        e = db_run(db, ST_slices_drop, (struct db_arg[]){ DB_TEXT(process) }, NULL, NULL, NULL);
    if (!e && n_open)
        *n_open = (int)o.n;
    ledger_deltas_release(&o.deltas);
    free(o.at);
    return e;
}

enum err ledger_leave(struct db *db, const char *process)
{
    enum err e = db_run(db, ST_slices_drop, (struct db_arg[]){ DB_TEXT(process) }, NULL, NULL,
                        NULL);

    return e ? e : db_run(db, ST_process_drop, (struct db_arg[]){ DB_TEXT(process) }, NULL, NULL,
                          NULL);
}

static enum err set_int(void *arg, const struct db_cell *cell)
{
    *(int64_t *)arg = cell[0].n;
    return OK;
}

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

/* What one more process may take of what is free. */
static int64_t grant_of(int64_t free_, int64_t goal, int64_t held, int64_t need)
{
    int64_t grant = at_least_0(goal - held);

    if (need && grant < need)
        grant = need;
    if (need && grant < free_ / 2)
        grant = free_ / 2;
    return grant < free_ ? grant : free_;
}

enum err ledger_lease(struct db *db, const char *process, const struct ledger_ask *ask,
                      struct ledger_slice *out)
{
    struct amount used = { { 0 } }, all = { { 0 } }, held;
    struct db_arg key[] = { DB_TEXT(ask->budget), DB_INT(ask->period) };
    int64_t live = 1;
    enum err e = slice_get(db, process, ask->budget, ask->period, &held);

    *out = (struct ledger_slice){ .live = 1 };
    if (!e && ask->leave)
        return db_run(db, ST_slice_drop, (struct db_arg[]){ DB_TEXT(process), key[0], key[1] },
                      NULL, NULL, NULL);
    if (!e)
        e = db_run(db, ST_use_get, key, set_amount, &used, NULL);
    if (!e)
        e = db_run(db, ST_slices_sum, key, set_amount, &all, NULL);
    if (!e)
        e = db_run(db, ST_process_count, NULL, set_int, &live, NULL);
    if (e)
        return e;
    if (live < 1)
        live = 1;
    amount_take(&all, &held);           /* now: of the others */
    amount_take(&held, &ask->back);
    for (int d = 0; d < AMOUNT_N; d++) {
        int64_t left = at_least_0(ask->limit.n[d] - used.n[d]);
        int64_t goal = left / live / (live > 1 ? ask->share : 1);
        int64_t free_ = at_least_0(left - all.n[d] - held.n[d]);
        int64_t grant = grant_of(free_, goal, held.n[d], ask->need.n[d]);
        held.n[d] += grant;
        out->goal.n[d] = goal;
        out->free.n[d] = free_ - grant;
    }
    out->held = held;
    out->live = (int)live;
    return slice_set(db, process, ask->budget, ask->period, &held);
}

enum err ledger_forget(struct db *db, const char *budget, int64_t period)
{
    return db_run(db, ST_use_forget, (struct db_arg[]){ DB_TEXT(budget), DB_INT(period) }, NULL,
                  NULL, NULL);
}
