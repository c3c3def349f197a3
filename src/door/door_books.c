/* door_books.c - a ledger and an audit log that are open, and the keys that the ledger has.
 *
 * A configuration that says the same of ledger, budgets, state and audit as one that is in use
 * shares its books; another gets its own, and the old ones are closed when the last request under
 * them has ended. */
#include "door/door_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(struct buf *out, const char *text)
{
    buf_printf(out, "%zu:%s,", text ? strlen(text) : 0, text ? text : "");
}

static void describe(struct buf *out, const struct config *c)
{
    say(out, c->ledger.url);
    buf_printf(out, "%d;", c->ledger.seldom);
    say(out, c->state.folder);
    say(out, c->audit.head);
    buf_printf(out, "%u;", c->audit.sync_ms);
    for (unsigned i = 0; i < c->budgets_count; i++) {
        const struct config_budget *b = &c->budgets[i];
        say(out, b->name);
        say(out, b->team);
        say(out, b->key);
        say(out, b->tag);
        say(out, b->zone);
        buf_printf(out, "%d,%d,%llu,%llu,%lld;", b->period, b->hard,
                   (unsigned long long)b->limit.requests, (unsigned long long)b->limit.tokens,
                   (long long)b->limit.picodollars);
    }
}

static const char *keep(struct books *b, const char *text)
{
    return text ? arena_copy(&b->arena, text, strlen(text)) : NULL;
}

static enum err copy_budgets(struct books *b, const struct config *c)
{
    static const enum span spans[PERIOD_N] = { SPAN_MINUTE, SPAN_HOUR, SPAN_DAY, SPAN_WEEK,
                                               SPAN_MONTH };
    bool ok = true;

    arena_init(&b->arena, CONFIG_MEMORY_MAX);
    b->n_budget = (int)c->budgets_count;
    b->budget = arena_alloc(&b->arena, c->budgets_count, sizeof(*b->budget));
    for (unsigned i = 0; b->budget && ok && i < c->budgets_count; i++) {
        const struct config_budget *from = &c->budgets[i];
        struct limit_budget *to = &b->budget[i];
        *to = (struct limit_budget){
            .name = keep(b, from->name), .zone = keep(b, from->zone),
            .id = keep(b, from->team ? from->team : from->key ? from->key : from->tag),
            .owner = from->team ? LIMIT_TEAM : from->key ? LIMIT_KEY : LIMIT_TAG,
            .span = spans[from->period], .hard = from->hard,
            .limit = { { (int64_t)from->limit.requests, (int64_t)from->limit.tokens,
                         from->limit.picodollars } },
        };
        ok = to->name && to->id && (to->zone || !from->zone);
    }
    return b->budget && ok ? OK : err_set(ERR_NOMEM, "DOOR-01", "no memory for %u budgets",
                                          c->budgets_count);
}

/* Books outlive the configuration that they were opened for. */
static enum err copy_paths(struct books *b, const struct config *c)
{
    b->state = keep(b, c->state.folder);
    b->head = keep(b, c->audit.head);
    if ((b->state || !c->state.folder) && (b->head || !c->audit.head))
        return OK;
    return err_set(ERR_NOMEM, "DOOR-28", "no memory for the names of the state folder");
}

static void on_slices(void *arg)
{
    struct books *b = arg;
    struct ask *waits = b->later, *next;

    b->later = NULL;
    for (; waits; waits = next) {
        next = waits->queued;
        try_slices(waits);
    }
}

/* Nothing stays of a key that was revoked, or removed and perhaps made anew for another. */
static void forget_gone(struct books *b, const struct keyring *fresh)
{
    const struct keys *old = b->keyring ? keyring_keys(b->keyring) : NULL;

    for (int i = 0; old && i < old->n; i++) {
        const struct key *was = &old->key[i];
        const struct key *is = keys_find(keyring_keys(fresh), was->id, strlen(was->id));
        if (!is || is->revoked || is->created != was->created)
            aside_forget(b->d->aside, was->id);
    }
}

static void on_keys(void *arg, struct key_rows *rows)
{
    struct books *b = arg;
    struct keyring *fresh = NULL;
    enum err e = keyring_new(&fresh, rows);

    if (!e) {
        forget_gone(b, fresh);
        keyring_free(b->keyring);
        b->keyring = fresh;
        b->keyless = rows->version == 0;
    } else {
        term_error(e);
    }
    key_rows_free(rows);
}

/* A copy of each head lies in the ledger; one that cannot be kept is in the log's own file. */
static void on_head(void *arg, const struct audit_head *h)
{
    struct books *b = arg;

    if (b->store && store_head(b->store, h->chain, h->n, h->hash, h->made_ms, h->line, NULL, NULL))
        term_warn("a head of the audit log is not copied to the ledger: %s", err_text());
}

static void on_store(void *arg)
{
    struct books *b = arg;

    store_poll(b->store);
}

static void on_audit(void *arg)
{
    struct books *b = arg;

    audit_poll(b->audit);
}

static enum err open_audit(struct books *b, const struct config *c)
{
    struct audit_options o = { .state = b->state, .chain = store_process(b->store),
                               .head_file = b->head, .sync_ms = (int)c->audit.sync_ms,
                               .head = on_head, .arg = b };
    int64_t torn = 0;
    enum err e = audit_open(&b->audit, &o, &torn);

    if (!e && torn)
        term_warn("%lld bytes of a half-written row of the audit log were cut off",
                  (long long)torn);
    return e;
}

static void books_free(struct books *b)
{
    loop_watch_free(b->store_watch);
    loop_watch_free(b->audit_watch);
    audit_close(b->audit);
    store_close(b->store, CLOSE_WAIT_MS);
    keyring_free(b->keyring);
    arena_release(&b->arena);
    buf_release(&b->same);
    free(b);
}

static enum err open_books(struct books *b, const struct config *c)
{
    struct store_options o = { .url = c->ledger.url, .slices = on_slices, .keys = on_keys,
                               .arg = b };
    struct loop *loop = server_loop(b->d->server);
    enum err e = copy_budgets(b, c);

    if (!e)
        e = copy_paths(b, c);
    o.state = b->state;
    o.budget = b->budget;
    o.n_budget = b->n_budget;
    o.seldom = c->ledger.seldom;
    if (!e)
        e = store_open(&b->store, &o);
    if (!e)
        e = open_audit(b, c);
    if (!e)
        e = loop_watch_new(&b->store_watch, loop, store_fd(b->store), on_store, b);
    return e ? e : loop_watch_new(&b->audit_watch, loop, audit_fd(b->audit), on_audit, b);
}

enum err books_take(struct books **out, struct door *d, const struct config *c)
{
    struct books *b = calloc(1, sizeof(*b));
    enum err e;

    *out = NULL;
    if (!b)
        return err_set(ERR_NOMEM, "DOOR-02", "no memory to open a ledger");
    b->d = d;
    describe(&b->same, c);
    e = buf_ok(&b->same);
    for (struct books *old = d->books; !e && old; old = old->next)
        if (!strcmp(buf_text(&old->same), buf_text(&b->same))) {
            old->refs++;
            *out = old;
            books_free(b);
            return OK;
        }
    if (!e)
        e = open_books(b, c);
    if (e) {
        books_free(b);
        return e;
    }
    b->refs = 1;
    b->next = d->books;
    *out = d->books = b;
    return OK;
}

void books_drop(struct books *b)
{
    if (b)
        b->refs--;
}

/* Not from within a callback of theirs. */
void books_sweep(struct door *d, bool all)
{
    struct books **at = &d->books;

    while (*at) {
        struct books *b = *at;
        if (b->refs && !all) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        books_free(b);
    }
}

void books_poll(struct door *d)
{
    for (struct books *b = d->books; b; b = b->next) {
        store_poll(b->store);
        audit_poll(b->audit);
    }
}

static bool has_tag(const char *tags, const char *tag)
{
    size_t n = strlen(tag);

    for (const char *at = tags; (at = strstr(at, tag)); at += n)
        if ((at == tags || at[-1] == ' ') && (!at[n] || at[n] == ' '))
            return true;
    return false;
}

bool books_count_dollars(const struct books *b, const struct limit_who *who)
{
    for (int i = 0; i < b->n_budget; i++) {
        const struct limit_budget *l = &b->budget[i];
        bool its = l->owner == LIMIT_TEAM ? !strcmp(l->id, who->team)
                   : l->owner == LIMIT_KEY ? !strcmp(l->id, who->key) : has_tag(who->tags, l->id);
        if (its && l->limit.n[AMOUNT_COST])
            return true;
    }
    return false;
}
