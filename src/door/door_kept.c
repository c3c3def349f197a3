/* door_kept.c - what the ledger keeps of a conversation and memory has not: asked for, waited for
 * no longer than KEPT_WAIT_MS, opened.
 *
 *   kept_ask() -> KEPT -> came() | kept_late() -> ask_go()
 *
 * An answer that comes too late is opened all the same, for the next turn. */
#include "door/door_form.h"

#include <stdlib.h>
#include <string.h>

/* The ledger's rows have these numbers in them (gateway/sealed.h). */
_Static_assert(WIRE_PART_THINK == 1 && WIRE_SEAL_SIGNATURE == 1 && WIRE_SEAL_REDACTED == 2 &&
               WIRE_SEAL_ENCRYPTED == 3, "a change of these is a new version of what is sealed");

struct fetch {
    int n, n_name;                      /* handles; names: n for each key of the sealer */
    struct aside_handle handle[KEPT_ASK_MAX];
    char name[KEPT_NAMES_MAX][KEPT_NAME_BYTES];
};

/* ---- asked ---------------------------------------------------------------------------------- */

/* One that memory has not. */
static void want(const struct ask *a, struct fetch *f, const struct aside_handle *h)
{
    struct aside_entry entry;
    bool foreign;

    if (f->n < KEPT_ASK_MAX && !aside_find(a->d->aside, a->who.key, h, NULL, door_now_ms(),
                                           &entry, &foreign))
        f->handle[f->n++] = *h;
}

/* Of the last turn first: what is asked for has a bound. */
static void collect(const struct ask *a, struct fetch *f)
{
    struct aside_handle h;

    for (size_t i = a->r.n_message; i-- > 0;) {
        const struct wire_message *m = &a->r.message[i];
        if (m->role == WIRE_ASSISTANT && kept_handle(m, &h))
            want(a, f, &h);
        for (size_t k = 0; k < m->n_part; k++) {
            const struct aside_text seal = { m->part[k].seal.at, m->part[k].seal.len };
            if (m->part[k].sealed && seal.len && !aside_handle(&h, ASIDE_BY_ITEM, &seal, 1))
                want(a, f, &h);
        }
    }
}

static enum err put_names(const struct ask *a, struct fetch *f)
{
    enum err e = OK;

    for (int k = 0; k < sealer_keys(a->w->sealer); k++)
        for (int i = 0; i < f->n && !e; i++)
            e = sealed_name(f->name[f->n_name++], a->w->sealer, k, a->who.key, &f->handle[i]);
    return e;
}

/* ---- told ----------------------------------------------------------------------------------- */

/* Text that may not stay in memory is there for this request alone. */
static struct aside *room_for(struct ask *a, const struct aside_entry *entry)
{
    const struct aside_options o = { .bytes = 16 << 20, .entries = KEPT_ASK_MAX,
                                     .key_bytes = 16 << 20, .key_entries = KEPT_ASK_MAX };
    int state = place_of_sink(a->w->c, SINK_STATE);

    if (kept_has_labels_of(a) && (!entry->n_part ||
        policy_lets(policy_decide(a->w->policy, entry->labels, state, PATH_kept_aside))))
        return a->d->aside;
    if (!a->found && aside_new(&a->found, &o))
        a->found = NULL;
    return a->found;
}

static void take_row(struct ask *a, const struct kept_row *row)
{
    const struct fetch *f = a->fetch;
    struct sealed_room room = { 0 };
    struct aside_entry entry;
    struct aside *to;
    int i = 0;

    while (i < f->n_name && strcmp(f->name[i], row->name))
        i++;
    if (i < f->n_name && !sealed_open(&entry, &room, a->w->sealer, a->w->c, row)) {
        entry.until_ms = door_now_ms() + row->expires_ms - store_now_ms(a->w->books->store);
        to = room_for(a, &entry);
        if (to && aside_put(to, a->who.key, &f->handle[i % f->n], &entry))
            term_verbose("request %s: what is kept of it is not used: %s", a->id, err_text());
    } else if (i < f->n_name) {
        a->d->n.kept_shut++;
        term_verbose("request %s: %s", a->id, err_text());
    }
    sealed_room_release(&room);
}

/* The keys may be others by now, and the key's scopes are borrowed from them. */
static bool may_still(struct ask *a)
{
    struct who fresh;
    enum fault f = who_asks(&fresh, a->w, a->call);
    struct call *c = a->call;

    if (!f) {
        a->who.names = fresh.names;
        a->who.team_names = fresh.team_names;
        a->labels |= fresh.labels;
        return true;
    }
    a->call = NULL;
    ask_count_end(a, DOOR_REFUSED);
    call_fail(c, f);
    ask_end(a);
    return false;
}

static void go_on(struct ask *a)
{
    loop_timer_stop(a->timer);
    a->state = ASK_NEW;
    if (may_still(a))
        ask_go(a);
}

static void came(void *arg, enum err e, const struct kept_row *row, int n)
{
    struct ask *a = arg;

    if (e)
        term_verbose("request %s: the ledger does not say what it keeps: %s", a->id, err_text());
    for (int i = 0; i < n && a->call; i++)
        take_row(a, &row[i]);
    free(a->fetch);
    a->fetch = NULL;
    if (a->state == ASK_OVER)
        ask_end(a);
    else if (a->state == ASK_KEPT)
        go_on(a);
}

void kept_late(struct ask *a)
{
    a->d->n.kept_late++;
    go_on(a);
}

bool kept_ask(struct ask *a)
{
    struct store *s = a->w->books->store;
    struct fetch *f = a->w->sealer && a->r.n_message && !store_counts(s).gone
                      ? malloc(sizeof(*f)) : NULL;

    if (!f)
        return false;
    f->n = f->n_name = 0;
    collect(a, f);
    a->fetch = f;
    if (!f->n || put_names(a, f) ||
        store_fetch(s, a->who.key, (const char (*)[KEPT_NAME_BYTES])f->name, f->n_name, came, a)) {
        if (f->n)
            term_verbose("request %s: the ledger is not asked what it keeps: %s", a->id,
                         err_text());
        free(f);
        a->fetch = NULL;
        return false;
    }
    a->state = ASK_KEPT;
    ask_timer(a, KEPT_WAIT_MS);
    return true;
}
