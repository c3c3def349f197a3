/* cmd_key.c - `croft key`: makes, lists, changes and revokes the keys of a key file.
 *
 * A file is changed under a lock, read, changed, and written anew, so that two of these at once
 * both
 * have their effect. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/json_text.h"

#include "base/file.h"
#include "base/term.h"
#include "http/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct task {
    struct opt_set *o;
    const char *path, *id;              /* id NULL: none was given */
    struct keys *keys;
    char token[KEY_TOKEN_BYTES];        /* of the key that was made or renewed */
};

/* --key-file, else keys.json beside the configuration file. */
static enum err key_file(struct buf *path, const struct opt_set *o)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const char *given = opt_text(o, OPT_key_file);

    if (given && *given)
        buf_puts(path, given);
    else if (xdg && *xdg)
        buf_printf(path, "%s/croft/keys.json", xdg);
    else if (home && *home)
        buf_printf(path, "%s/.config/croft/keys.json", home);
    else
        return err_set(ERR_ARG, "KEY-01",
                       "there is no home folder; say which file with --key-file");
    return buf_ok(path);
}

/* The folder of the default file is made; of a file that was named it must be there. */
static enum err make_folder(const char *path, const struct opt_set *o)
{
    struct buf part = { 0 };
    enum err e = OK;

    for (const char *s = strchr(path + 1, '/'); s && !opt_given(o, OPT_key_file) && !e;
         s = strchr(s + 1, '/')) {
        buf_cut(&part, 0);
        buf_add(&part, path, (size_t)(s - path));
        e = buf_ok(&part);
        if (!e && mkdir(buf_text(&part), 0700) && errno != EEXIST)
            e = err_set(ERR_IO, "KEY-02", "%s: cannot be made: %s", buf_text(&part),
                        strerror(errno));
    }
    buf_release(&part);
    return e;
}

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
static enum err apply(struct key *k, const struct opt_set *o)
{
    const char *group = opt_text(o, OPT_group);
    unsigned scopes = 0;

    for (int i = 0; i < opt_list_n(o, OPT_scope); i++) {
        unsigned one = key_scope_of(opt_list(o, OPT_scope, i));
        if (!one)
            return err_set(ERR_ARG, "KEY-04", "there is no scope '%.40s'; there are infer, "
                           "metrics and admin", opt_list(o, OPT_scope, i));
        scopes |= one;
    }
    if (scopes)
        k->scopes = scopes;
    if (opt_given(o, OPT_group)) {
        if (*group && !key_id_ok(group, strlen(group)))
            return err_set(ERR_ARG, "KEY-05", "'%.80s' is no group: 1 to %d of a-z, 0-9 and -",
                           group,
                           KEY_ID_MAX);
        snprintf(k->group, sizeof(k->group), "%s", group);
    }
    if (opt_given(o, OPT_rpm))
        k->requests_per_minute = opt_int(o, OPT_rpm);
    if (opt_given(o, OPT_tpm))
        k->tokens_per_minute = opt_int(o, OPT_tpm);
    if (opt_given(o, OPT_in_flight))
        k->in_flight = opt_int(o, OPT_in_flight);
    return opt_given(o, OPT_expires) ? read_expiry(opt_text(o, OPT_expires), &k->expires) : OK;
}

static enum err the_key(struct task *t, struct key **out)
{
    if (!t->id)
        return err_set(ERR_ARG, "KEY-06", "which key is not said; croft key list names them");
    *out = keys_find(t->keys, t->id, strlen(t->id));
    if (!*out)
        return err_set(ERR_ARG, "KEY-07", "%s: has no key '%.80s'; croft key list names them",
                       t->path, t->id);
    return OK;
}

/* The secret goes to standard output alone, once. */
static enum err print_token(struct task *t, const char *id)
{
    if (opt_flag(t->o, OPT_json))
        return out_printf("{\"id\": \"%s\", \"key\": \"%s\"}\n", id, t->token);
    term_note("this is shown once; %s keeps only its HMAC", t->path);
    return out_printf("%s\n", t->token);
}

static enum err key_add(struct task *t)
{
    struct key k = { .scopes = KEY_INFER, .created = time(NULL) };
    unsigned random;
    enum err e = apply(&k, t->o);

    if (e)
        return e;
    if (t->id && strlen(t->id) > KEY_ID_MAX)
        return err_set(ERR_ARG, "KEY-08", "a key's id has at most %d characters", KEY_ID_MAX);
    if (!t->id && getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set(ERR_IO, "KEY-09", "the system gave no random numbers");
    if (t->id)
        snprintf(k.id, sizeof(k.id), "%s", t->id);
    else
        snprintf(k.id, sizeof(k.id), "k%08x", random);
    if ((e = keys_add(t->keys, &k, t->token)) || (e = keys_write(t->keys, t->path)))
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
    if ((e = apply(k, t->o)) || (e = keys_renew(t->keys, k, t->token)) ||
        (e = keys_write(t->keys, t->path)))
        return e;
    return print_token(t, k->id);
}

static enum err key_set(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (!e)
        e = apply(k, t->o);
    return e ? e : keys_write(t->keys, t->path);
}

static enum err key_revoke(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (e)
        return e;
    k->revoked = true;
    return keys_write(t->keys, t->path);
}

static enum err key_remove(struct task *t)
{
    struct key *k;
    enum err e = the_key(t, &k);

    if (e)
        return e;
    int i = (int)(k - t->keys->key);
    memmove(k, k + 1, (size_t)(t->keys->n - i - 1) * sizeof(*k));
    t->keys->n--;
    return keys_write(t->keys, t->path);
}

static const char *state_of(const struct key *k)
{
    return k->revoked ? "revoked" : k->expires && time(NULL) >= k->expires ? "expired" : "valid";
}

static json_t *limit_json(int64_t n)
{
    return n ? json_integer(n) : json_null();
}

static json_t *key_json(const struct key *k)
{
    char created[KEY_TIME_BYTES], expires[KEY_TIME_BYTES];
    json_t *scopes = json_array();

    for (unsigned s = 1; s <= KEY_ADMIN; s <<= 1)
        if (k->scopes & s)
            json_array_append_new(scopes, json_string(key_scope_name((enum key_scope)s)));
    key_time_text(created, k->created);
    key_time_text(expires, k->expires);
    return json_pack("{s:s, s:s, s:o, s:s?, s:s, s:s?, s:o, s:o, s:o}", "id", k->id, "state",
                     state_of(k), "scopes", scopes, "group", k->group[0] ? k->group : NULL,
                     "created", created, "expires", k->expires ? expires : NULL,
                     "requests_per_minute", limit_json(k->requests_per_minute),
                     "tokens_per_minute",
                     limit_json(k->tokens_per_minute), "in_flight", limit_json(k->in_flight));
}

static void put_limit(struct buf *out, const char *name, int64_t n)
{
    if (n)
        buf_printf(out, ", %s %lld", name, (long long)n);
}

static void put_key(struct buf *out, const struct key *k)
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
    buf_puts(out, "\n");
}

static enum err key_list(struct task *t)
{
    json_t *list = opt_flag(t->o, OPT_json) ? json_array() : NULL;
    struct buf out = { 0 };
    enum err e;

    for (int i = 0; i < t->keys->n; i++)
        if (list)
            json_array_append_new(list, key_json(&t->keys->key[i]));
        else
            put_key(&out, &t->keys->key[i]);
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
    enum key_verdict v = keys_check(t->keys, (struct piece){ text, len }, time(NULL), &key);
    memset(text, 0, len);
    free(text);
    if (v == KEY_OK)
        return out_printf("%s\n", key->id);
    return err_set(ERR_FORMAT, "KEY-10", "%s", v == KEY_REVOKED ? "the key is revoked"
                   : v == KEY_EXPIRED ? "the key has expired"
                   : "the key is not one of this file");
}

static const struct {
    const char *name;
    enum err (*run)(struct task *t);
    bool changes;
} action[] = {
    { "add", key_add, true },       { "list", key_list, false },  { "check", key_check, false },
    { "set", key_set, true },       { "renew", key_renew, true }, { "revoke", key_revoke, true },
    { "remove", key_remove, true },
};

static enum err run_action(struct task *t, size_t i)
{
    int lock = -1;
    bool new_file;
    enum err e;

    if (action[i].changes && (e = make_folder(t->path, t->o)))
        return e;
    if (action[i].changes && (e = keys_lock(&lock, t->path)))
        return e;
    new_file = action[i].run == key_add && access(t->path, F_OK) && errno == ENOENT;
    e = new_file ? keys_new(&t->keys) : keys_load(&t->keys, t->path);
    if (!e)
        e = action[i].run(t);
    keys_free(t->keys);
    keys_unlock(lock);
    return e;
}

enum err cmd_key(struct opt_set *o)
{
    struct task t = { .o = o, .id = opt_operands(o) > 1 ? opt_operand(o, 1) : NULL };
    const char *name = opt_operand(o, 0);
    struct buf path = { 0 };
    size_t i = 0, n = sizeof(action) / sizeof(*action);
    enum err e;

    while (i < n && strcmp(name, action[i].name))
        i++;
    if (i == n)
        return err_set(ERR_ARG, "KEY-11", "croft key cannot '%.40s'; it can add, list, check, "
                       "set, renew, revoke and remove", name);
    if (!(e = key_file(&path, o))) {
        t.path = buf_text(&path);
        e = run_action(&t, i);
    }
    buf_release(&path);
    return e;
}
