/* door_who.c - who asks: a key of the ledger, its team, what both may and put on every request.
 *
 * A ledger that never had a key serves this machine without one.  While the ledger does not answer,
 * a key that is not known may be a new one: 503, not 401. */
#include "door/door_form.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static enum fault lookup(const struct books *b, const struct call *c, const struct key **key,
                         const struct key_may **may)
{
    struct piece token = keys_token(call_head(c));

    *key = NULL;
    *may = NULL;
    if (!b->keyring)
        return FAULT_full;
    if (b->keyless)
        return call_loopback(c) ? FAULT_none : FAULT_unauthorised;
    if (keyring_check(b->keyring, token, (int64_t)time(NULL), key, may) == KEY_OK)
        return FAULT_none;
    return token.at && store_counts(b->store).gone ? FAULT_full : FAULT_unauthorised;
}

enum fault who_may(void *door, struct call *c, int auth)
{
    struct door *d = door;
    const struct key_may *may;
    const struct key *key;
    enum fault f = lookup(d->world->books, c, &key, &may);

    if (!f && key) {
        call_set_key(c, key->id);
        f = key->scopes & (unsigned)auth ? FAULT_none : FAULT_forbidden;
    }
    return f;
}

enum fault who_set(struct who *who, const struct config *c, const struct key *key,
                   const struct key_may *may)
{
    int team = keyring_team(c, key, may);

    *who = (struct who){ .names.any = true, .team_names.any = true };
    if (team < -1 || !keyring_labels(c, may, team, &who->labels))
        return FAULT_forbidden;
    snprintf(who->key, sizeof(who->key), "%s", key->id);
    snprintf(who->tags, sizeof(who->tags), "%s", may->tags);
    who->names = may->models;
    if (team >= 0) {
        snprintf(who->team, sizeof(who->team), "%s", c->teams[team].name);
        who->team_names = keyring_team_scope(c, team);
    }
    return FAULT_none;
}

enum fault who_asks(struct who *who, const struct world *w, const struct call *c)
{
    const struct key_may *may;
    const struct key *key;
    enum fault f = lookup(w->books, c, &key, &may);

    *who = (struct who){ .names.any = true, .team_names.any = true };
    return f || !key ? f : who_set(who, w->c, key, may);
}
