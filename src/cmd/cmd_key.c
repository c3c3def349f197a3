/* cmd_key.c - `croft key`: makes, lists, changes and revokes keys, of a key file or of a gateway's
 * ledger (key_table.h). */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/json_text.h"
#include "cmd/key_table.h"

#include "base/file.h"
#include "base/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct task {
    const struct opt_set *o;
    const char *id;                     /* NULL: none was given */
    struct key_table t;
    char token[KEY_TOKEN_BYTES];        /* of the key that was made or renewed */
};

/* "30d", "12h", a date, a date with time, never. */
static enum err read_expiry(const char *text, int64_t *out)
{
    char *end;
    long n = strtol(text, &end, 10);
    int64_t unit = *end == 'd' ? 86400 : *end == 'h' ? 3600 : 0;

    *out = 0;
    if (!strcmp(text, "never"))
        return OK;
    if (unit && !end[1] && n > 0 && n <= 1000000) {
        *out = time(NULL) + n * unit;
        return OK;
    }
    if (!key_time_of(text, out))
        return err_set(ERR_ARG, "KEY-03", "--expires '%.40s' is no time: 30d, 12h, 2027-01-31, "
                       "2027-01-31T12:00:00Z (UTC) or never", text);
    return OK;
}

/* What the options say, over what the key has. */
static enum err apply(struct task *t, struct key *k, bool is_new)
{
    const struct opt_set *o = t->o;
    unsigned scopes = 0;
    enum err e;

    for (int i = 0; i < opt_list_n(o, OPT_scope); i++) {
        unsigned one = key_scope_of(opt_list(o, OPT_scope, i));
        if (!one)
            return err_set(ERR_ARG, "KEY-04", "there is no scope '%.40s'; there are infer, "
                           "metrics and admin", opt_list(o, OPT_scope, i));
        scopes |= one;
    }
    if (scopes)
        k->scopes = scopes;
    if ((e = key_table_apply(&t->t, k, is_new)))
        return e;
    return opt_given(o, OPT_expires) ? read_expiry(opt_text(o, OPT_expires), &k->expires) : OK;
}

static enum err the_key(struct task *t, struct key **out)
{
    if (!t->id)
        return err_set(ERR_ARG, "KEY-06", "which key is not said; croft key list names them");
    *out = keys_find(t->t.keys, t->id, strlen(t->id));
    if (!*out)
        return err_set(ERR_ARG, "KEY-07", "%s: has no key '%.80s'; croft key list names them",
                       t->t.name, t->id);
    return OK;
}

/* The secret goes to standard output alone, once. */
static enum err print_token(struct task *t, const char *id)
{
    if (opt_flag(t->o, OPT_json))
        return out_printf("{\"id\": \"%s\", \"key\": \"%s\"}\n", id, t->token);
    term_note("this is shown once; %s keeps only its HMAC", t->t.c ? "the ledger" : t->t.name);
    return out_printf("%s\n", t->token);
}

static enum err key_add(struct task *t)
{
    struct key k = { .scopes = KEY_INFER, .created = time(NULL) };
    unsigned random;
    enum err e;

    if (t->id && strlen(t->id) > KEY_ID_MAX)
        return err_set(ERR_ARG, "KEY-08", "a key's id has at most %d characters", KEY_ID_MAX);
    if (!t->id && getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set(ERR_IO, "KEY-09", "the system gave no random numbers");
    if (t->id)
        snprintf(k.id, sizeof(k.id), "%s", t->id);
    else
        snprintf(k.id, sizeof(k.id), "k%08x", random);
    if ((e = apply(t, &k, true)) || (e = keys_add(t->t.keys, &k, t->token)))
        return e;
    if ((e = key_table_save(&t->t, keys_find(t->t.keys, k.id, strlen(k.id)))))
        return e;
    return print_token(t, k.id);
}

static enum err key_renew(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (e)
        return e;
    k->revoked = false;
    if ((e = apply(t, k, false)) || (e = keys_renew(t->t.keys, k, t->token)) ||
        (e = key_table_save(&t->t, k)))
        return e;
    return print_token(t, k->id);
}

static enum err key_set(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (!e)
        e = apply(t, k, false);
    return e ? e : key_table_save(&t->t, k);
}

static enum err key_revoke(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (e)
        return e;
    k->revoked = true;
    return key_table_save(&t->t, k);
}

static enum err key_remove(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    return e ? e : key_table_remove(&t->t, k);
}

static const char *state_of(const struct key *k)
{
    return k->revoked ? "revoked" : k->expires && time(NULL) >= k->expires ? "expired" : "valid";
}

static json_t *limit_json(int64_t n)
{
    return n ? json_integer(n) : json_null();
}

static json_t *names_json(const char *const *name, unsigned n)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, json_string(name[i]));
    return list;
}

/* "a b" as a list. */
static json_t *words_json(const char *text)
{
    json_t *list = json_array();
    size_t n;

    for (; *text; text += n + (text[n] == ' ')) {
        n = strcspn(text, " ");
        json_array_append_new(list, json_stringn(text, n));
    }
    return list;
}

static json_t *key_json(const struct key *k, const struct key_may *may)
{
    char created[KEY_TIME_BYTES], expires[KEY_TIME_BYTES];
    json_t *scopes = json_array();

    for (unsigned s = 1; s <= KEY_ADMIN; s <<= 1)
        if (k->scopes & s)
            json_array_append_new(scopes, json_string(key_scope_name((enum key_scope)s)));
    key_time_text(created, k->created);
    key_time_text(expires, k->expires);
    json_t *j = json_pack("{s:s, s:s, s:o, s:s, s:s?}", "id", k->id, "state", state_of(k),
                          "scopes", scopes, "created", created, "expires",
                          k->expires ? expires : NULL);
    json_t *more = may ? json_pack("{s:s?, s:o, s:o, s:o}", "team", *may->team ? may->team : NULL,
                                   "models", may->models.any ? json_null()
                                   : names_json(may->models.name, may->models.count), "labels",
                                   names_json(may->label, may->n_label), "tags",
                                   words_json(may->tags))
                       : json_pack("{s:s?, s:o, s:o, s:o}", "group", k->group[0] ? k->group : NULL,
                                   "requests_per_minute", limit_json(k->requests_per_minute),
                                   "tokens_per_minute", limit_json(k->tokens_per_minute),
                                   "in_flight", limit_json(k->in_flight));
    if (!j || !more || json_object_update(j, more)) {
        json_decref(j);
        j = NULL;
    }
    json_decref(more);
    return j;
}

static void put_limit(struct buf *out, const char *name, int64_t n)
{
    if (n)
        buf_printf(out, ", %s %lld", name, (long long)n);
}

static void put_names(struct buf *out, const char *what, const char *const *name, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, "%s %s", i ? "" : what, name[i]);
}

static void put_key(struct buf *out, const struct key *k, const struct key_may *may)
{
    char when[KEY_TIME_BYTES];

    buf_printf(out, "%-16s %-8s", k->id, state_of(k));
    for (unsigned s = 1; s <= KEY_ADMIN; s <<= 1)
        if (k->scopes & s)
            buf_printf(out, " %s", key_scope_name((enum key_scope)s));
    key_time_text(when, k->expires);
    buf_printf(out, ", %s%s", k->expires ? "until " : "no end", k->expires ? when : "");
    if (k->group[0])
        buf_printf(out, ", group %s", k->group);
    put_limit(out, "requests/min", k->requests_per_minute);
    put_limit(out, "tokens/min", k->tokens_per_minute);
    put_limit(out, "in flight", k->in_flight);
    if (may) {
        if (*may->team)
            buf_printf(out, ", team %s", may->team);
        put_names(out, ", models", may->models.name, may->models.count);
        put_names(out, ", labels", may->label, may->n_label);
        if (*may->tags)
            buf_printf(out, ", tags %s", may->tags);
    }
    buf_puts(out, "\n");
}

static enum err key_list(struct task *t)
{
    json_t *list = opt_flag(t->o, OPT_json) ? json_array() : NULL;
    struct buf out = { 0 };
    enum err e;

    for (int i = 0; i < t->t.keys->n; i++) {
        const struct key *k = &t->t.keys->key[i];
        if (list)
            json_array_append_new(list, key_json(k, key_table_may(&t->t, k)));
        else
            put_key(&out, k, key_table_may(&t->t, k));
    }
    e = list ? json_put(&out, list, false) : buf_ok(&out);
    if (!e)
        e = out_write(buf_text(&out), out.len);
    buf_release(&out);
    return e;
}

/* A key on standard input: whose it is, and whether a server would take it. */
static enum err key_check(struct task *t)
{
    const struct key *key;
    char *text;
    size_t len;
    enum err e = file_read_text(&text, &len, "-", 4096);

    if (e)
        return e;
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    enum key_verdict v = keys_check(t->t.keys, (struct piece){ text, len }, time(NULL), &key);
    memset(text, 0, len);
    free(text);
    if (v == KEY_OK)
        return out_printf("%s\n", key->id);
    return err_set(ERR_FORMAT, "KEY-10", "%s", v == KEY_REVOKED ? "the key is revoked"
                   : v == KEY_EXPIRED ? "the key has expired"
                   : "the key is not one of these");
}

static const struct {
    const char *name;
    enum err (*run)(struct task *t);
    enum key_open how;
} action[] = {
    { "add", key_add, KEY_MAKE },       { "create", key_add, KEY_MAKE },
    { "list", key_list, KEY_READ },     { "check", key_check, KEY_READ },
    { "set", key_set, KEY_CHANGE },     { "renew", key_renew, KEY_CHANGE },
    { "revoke", key_revoke, KEY_CHANGE }, { "remove", key_remove, KEY_CHANGE },
};

enum err cmd_key(struct opt_set *o)
{
    struct task t = { .o = o, .id = opt_operands(o) > 1 ? opt_operand(o, 1) : NULL };
    const char *name = opt_operand(o, 0);
    size_t i = 0, n = sizeof(action) / sizeof(*action);
    enum err e;

    while (i < n && strcmp(name, action[i].name))
        i++;
    if (i == n)
        return err_set(ERR_ARG, "KEY-11", "croft key cannot '%.40s'; it can add, list, check, "
                       "set, renew, revoke and remove", name);
    if (!(e = key_table_open(&t.t, o, action[i].how)))
        e = action[i].run(&t);
    key_table_close(&t.t);
    return e;
}
