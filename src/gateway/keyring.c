/* keyring.c - see keyring.h.  Lists are words between spaces in a row; here they are pointers into
 * one copy of all rows' texts, in the order of the keys. */
#include "gateway/keyring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct keyring {
    struct keys *keys;
    struct key_may *may;                /* of keys->key[i] */
    char *text;
    const char **word;
};

/* ---- made of rows -------------------------------------------------------------------------- */

static size_t n_word(const char *text)
{
    size_t n = 0;

    for (; *text; text += strcspn(text, " ")) {
        text += strspn(text, " ");
        n += *text != '\0';
    }
    return n;
}

/* Copy a text to *to and move that behind it. */
static char *copy(char **to, const char *text)
{
    char *at = *to;
    size_t n = strlen(text) + 1;

    memcpy(at, text, n);
    *to += n;
    return at;
}

/* Cut a list that was copied into its words. */
static const char *const *cut(char *list, const char ***word, unsigned *n)
{
    const char **first = *word;

    for (*n = 0; *(list += strspn(list, " ")); ++*n) {
        char *end = list + strcspn(list, " ");
        *(*word)++ = list;
        list = *end ? end + 1 : end;
        *end = '\0';
    }
    return first;
}

static bool read_scopes(unsigned *out, const char *text)
{
    char one[16];
    size_t n;

    for (*out = 0; *(text += strspn(text, " ")); text += n) {
        n = strcspn(text, " ");
        if (n >= sizeof(one))
            return false;
        memcpy(one, text, n);
        one[n] = '\0';
        if (!key_scope_of(one))
            return false;
        *out |= key_scope_of(one);
    }
    return true;
}

static enum err add_row(struct keyring *k, const struct key_row *row, char **to,
                        const char ***word)
{
    struct key_may *may = &k->may[k->keys->n];
    struct key key = { .revoked = row->revoked, .created = row->created,
                       .expires = row->expires };
    size_t len = strlen(row->id);

    if (!key_id_ok(row->id, len) || !key_mac_of(key.mac, row->hmac) ||
        !read_scopes(&key.scopes, row->scopes))
        return err_set(ERR_FORMAT, "KEYRING-01", "the ledger's key %.64s is none: its id, its HMAC "
                       "or its scopes cannot be; croft key remove takes it out", row->id);
    memcpy(key.id, row->id, len + 1);
    *may = (struct key_may){ .team = copy(to, row->team), .tags = copy(to, row->tags) };
    may->models.name = cut(copy(to, row->models), word, &may->models.count);
    may->models.any = may->models.count == 0;
    may->label = cut(copy(to, row->labels), word, &may->n_label);
    return keys_put(k->keys, &key);
}

static enum err make_room(struct keyring *k, const struct key_rows *rows)
{
    size_t n_text = 0, words = 0, n = (size_t)rows->n;

    for (int i = 0; i < rows->n; i++) {
        const struct key_row *row = &rows->row[i];
        n_text += strlen(row->team) + strlen(row->tags) + strlen(row->models) +
                  strlen(row->labels) + 4;
        words += n_word(row->models) + n_word(row->labels);
    }
    k->keys = calloc(1, sizeof(*k->keys));
    k->may = calloc(n + 1, sizeof(*k->may));
    k->text = malloc(n_text + 1);
    k->word = calloc(words + 1, sizeof(*k->word));
    if (!k->keys || !k->may || !k->text || !k->word)
        return err_set(ERR_NOMEM, "KEYRING-02", "no memory for %d keys", rows->n);
    return OK;
}

enum err keyring_new(struct keyring **out, const struct key_rows *rows)
{
    struct keyring *k = calloc(1, sizeof(*k));
    const char **word;
    char *to;
    enum err e;

    *out = NULL;
    if (!k)
        return err_set(ERR_NOMEM, "KEYRING-03", "no memory for the ledger's keys");
    e = make_room(k, rows);
    if (!e && rows->version && !key_mac_of(k->keys->salt, rows->salt))
        e = err_set(ERR_FORMAT, "KEYRING-04", "the ledger's keys have no salt");
    to = k->text;
    word = k->word;
    for (int i = 0; i < rows->n && !e; i++)
        e = add_row(k, &rows->row[i], &to, &word);
    if (e)
        keyring_free(k);
    else
        *out = k;
    return e;
}

void keyring_free(struct keyring *k)
{
    if (k) {
        keys_free(k->keys);
        free(k->may);
        free(k->text);
        free(k->word);
    }
    free(k);
}

/* ---- looked up ----------------------------------------------------------------------------- */

struct keys *keyring_keys(const struct keyring *k)
{
    return k->keys;
}

const struct key_may *keyring_may(const struct keyring *k, const struct key *key)
{
    return &k->may[key - k->keys->key];
}

enum key_verdict keyring_check(const struct keyring *k, struct piece token, int64_t now,
                               const struct key **key, const struct key_may **may)
{
    enum key_verdict v = keys_check(k->keys, token, now, key);

    *may = *key ? keyring_may(k, *key) : NULL;
    return v;
}

static int team_that_lists(const struct config *c, const char *id)
{
    for (unsigned i = 0; i < c->teams_count; i++)
        for (unsigned j = 0; j < c->teams[i].keys_count; j++)
            if (!strcmp(c->teams[i].keys[j], id))
                return (int)i;
    return -1;
}

int keyring_team(const struct config *c, const struct key *key, const struct key_may *may)
{
    int listed = team_that_lists(c, key->id);

    if (!*may->team)
        return listed;
    for (unsigned i = 0; i < c->teams_count; i++)
        if (!strcmp(c->teams[i].name, may->team))
            return listed < 0 || listed == (int)i ? (int)i : -2;
    return -2;
}

struct choice_scope keyring_team_scope(const struct config *c, int team)
{
    const struct config_team *t = team >= 0 ? &c->teams[team] : NULL;

    if (!t || !t->models_count)
        return (struct choice_scope){ .any = true };
    return (struct choice_scope){ (const char *const *)t->models, t->models_count, false };
}

bool keyring_labels(const struct config *c, const struct key_may *may, int team, uint64_t *labels)
{
    *labels = team >= 0 ? c->teams[team].label_set : 0;
    for (unsigned i = 0; i < may->n_label; i++) {
        int label = config_label_find(c, may->label[i]);
        if (label < 0)
            return false;
        *labels |= UINT64_C(1) << label;
    }
    return true;
}

/* ---- made into a row ----------------------------------------------------------------------- */

static void join(struct buf *out, const char *const *word, unsigned n)
{
    buf_cut(out, 0);
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, "%s%s", i ? " " : "", word[i]);
}

enum err keyring_row(struct key_row *row, const struct key *key, const struct key_may *may,
                     struct keyring_room *room)
{
    size_t n = 0;

    sha256_hex(room->hmac, key->mac);
    room->scopes[0] = '\0';
    for (unsigned s = 1; s <= KEY_ADMIN; s <<= 1)
        if (key->scopes & s)
            n += (size_t)snprintf(room->scopes + n, sizeof(room->scopes) - n, "%s%s", n ? " " : "",
                                  key_scope_name((enum key_scope)s));
    join(&room->models, may->models.name, may->models.count);
    join(&room->labels, may->label, may->n_label);
    *row = (struct key_row){
        .id = key->id, .hmac = room->hmac, .scopes = room->scopes, .team = may->team,
        .models = buf_text(&room->models), .labels = buf_text(&room->labels), .tags = may->tags,
        .revoked = key->revoked, .created = key->created, .expires = key->expires,
    };
    return buf_ok(&room->models) ? ERR_NOMEM : buf_ok(&room->labels);
}

void keyring_room_release(struct keyring_room *room)
{
    buf_release(&room->models);
    buf_release(&room->labels);
}
