/* key_table.c - see key_table.h.
 *
 * A file is changed under its lock, read, changed, and written anew; a ledger in a transaction that
 * is alone, in which one row is written.  So several at once all have their effect. */
#include "cmd/key_table.h"

#include "cmd/cmd_table.h"

#include "store/kept_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a file -------------------------------------------------------------------------------- */

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

static enum err open_file(struct key_table *t, enum key_open how)
{
    enum err e = key_file(&t->path, t->o);

    if (e)
        return e;
    t->name = buf_text(&t->path);
    if (how != KEY_READ && (e = make_folder(t->name, t->o)))
        return e;
    if (how != KEY_READ && (e = keys_lock(&t->lock, t->name)))
        return e;
    if (how == KEY_MAKE && access(t->name, F_OK) && errno == ENOENT)
        return keys_new(&t->keys);
    return keys_load(&t->keys, t->name);
}

/* ---- a ledger ------------------------------------------------------------------------------ */

/* A table without keys gets its salt with the first one. */
static enum err read_ring(struct key_table *t)
{
    struct key_rows *rows;
    struct keys *fresh;
    enum err e = key_rows_read(&rows, t->db, -1);

    if (e)
        return e;
    e = keyring_new(&t->ring, rows);
    if (!e && !rows->version && !(e = keys_new(&fresh))) {
        memcpy(keyring_keys(t->ring)->salt, fresh->salt, sizeof(fresh->salt));
        keys_free(fresh);
    }
    key_rows_free(rows);
    if (!e)
        t->keys = keyring_keys(t->ring);
    return e;
}

static enum err open_ledger(struct key_table *t, enum key_open how)
{
    enum err e;

    t->name = opt_text(t->o, OPT_config);
    if (opt_on_line(t->o, OPT_key_file))
        return err_set(ERR_ARG, "KEY-12", "--key-file and --config are two places for keys; give "
                       "one of them");
    if (!(e = config_load(&t->c, t->name)) &&
        !(e = db_open(&t->db, t->c->ledger.url, how == KEY_MAKE)) &&
        !(e = db_begin(t->db, how != KEY_READ)))
        e = read_ring(t);
    return e;
}

/* ---- both ---------------------------------------------------------------------------------- */

enum err key_table_open(struct key_table *t, const struct opt_set *o, enum key_open how)
{
    *t = (struct key_table){ .o = o, .lock = -1 };
    return opt_text(o, OPT_config) ? open_ledger(t, how) : open_file(t, how);
}

void key_table_close(struct key_table *t)
{
    if (!t->c)
        keys_free(t->keys);
    keyring_free(t->ring);
    db_close(t->db);
    config_free(t->c);
    keys_unlock(t->lock);
    buf_release(&t->path);
    buf_release(&t->tags);
    free(t->list);
}

const struct key_may *key_table_may(const struct key_table *t, const struct key *key)
{
    return t->c ? keyring_may(t->ring, key) : NULL;
}

/* The values of a list option into the room for lists; a single "" is none. */
static unsigned take_list(struct key_table *t, int opt, const char *const **out, int *used)
{
    int n = opt_list_n(t->o, opt);

    *out = t->list + *used;
    if (n == 1 && !*opt_list(t->o, opt, 0))
        return 0;
    for (int i = 0; i < n; i++)
        t->list[(*used)++] = opt_list(t->o, opt, i);
    return (unsigned)n;
}

static enum err check_names(const struct key_table *t)
{
    const struct key_may *may = &t->may;

    for (unsigned i = 0; i < may->models.count; i++)
        if (config_group_find(t->c, may->models.name[i]) < 0 &&
            config_model_find(t->c, may->models.name[i]) < 0)
            return err_set(ERR_ARG, "KEY-13", "%s: has no model, alias or group '%.80s'", t->name,
                           may->models.name[i]);
    for (unsigned i = 0; i < may->n_label; i++)
        if (config_label_find(t->c, may->label[i]) < 0)
            return err_set(ERR_ARG, "KEY-14", "%s: has no label '%.80s'", t->name,
                           may->label[i]);
    return OK;
}

static enum err check_team(const struct key_table *t, const struct key *key)
{
    if (keyring_team(t->c, key, &t->may) != -2)
        return OK;
    return err_set(ERR_ARG, "KEY-15", "%s: has no team '%.80s', or another team of it lists the "
                   "key %s", t->name, t->may.team, key->id);
}

/* "a", "b" -> "a b". */
static enum err join_tags(struct key_table *t)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._:/@+-";
    int n = opt_list_n(t->o, OPT_tag);

    for (int i = 0; i < n; i++) {
        const char *tag = opt_list(t->o, OPT_tag, i);
        if ((!*tag && n > 1) || strlen(tag) > CONFIG_NAME_MAX || tag[strspn(tag, letters)])
            return err_set(ERR_ARG, "KEY-16", "'%.80s' is no tag: 1 to %d of letters, digits and "
                           ". _ : / @ + -", tag, CONFIG_NAME_MAX);
        buf_printf(&t->tags, "%s%s", t->tags.len ? " " : "", tag);
    }
    t->may.tags = buf_text(&t->tags);
    return buf_ok(&t->tags);
}

static enum err apply_ledger(struct key_table *t, const struct key *key, bool is_new)
{
    static const int of_file[] = { OPT_group, OPT_rpm, OPT_tpm, OPT_in_flight };
    const struct opt_set *o = t->o;
    int used = 0;
    enum err e;

    for (size_t i = 0; i < sizeof(of_file) / sizeof(*of_file); i++)
        if (opt_given(o, of_file[i]))
            return err_set(ERR_ARG, "KEY-17", "--group and limits are of a key file; what a "
                           "gateway's key may use is a budget of %s", t->name);
    t->may = is_new ? (struct key_may){ .team = "", .tags = "", .models.any = true }
                    : *keyring_may(t->ring, key);
    t->list = calloc((size_t)(opt_list_n(o, OPT_models) + opt_list_n(o, OPT_label)) + 1,
                     sizeof(*t->list));
    if (!t->list)
        return err_set(ERR_NOMEM, "KEY-18", "out of memory for what a key may");
    if (opt_given(o, OPT_team))
        t->may.team = opt_text(o, OPT_team);
    if (opt_given(o, OPT_models)) {
        t->may.models.count = take_list(t, OPT_models, &t->may.models.name, &used);
        t->may.models.any = t->may.models.count == 0;
    }
    if (opt_given(o, OPT_label))
        t->may.n_label = take_list(t, OPT_label, &t->may.label, &used);
    if (opt_given(o, OPT_tag) && (e = join_tags(t)))
        return e;
    return (e = check_names(t)) ? e : check_team(t, key);
}

static enum err apply_file(struct key_table *t, struct key *k)
{
    static const int of_ledger[] = { OPT_team, OPT_models, OPT_label, OPT_tag };
    const struct opt_set *o = t->o;
    const char *group = opt_text(o, OPT_group);

    for (size_t i = 0; i < sizeof(of_ledger) / sizeof(*of_ledger); i++)
        if (opt_given(o, of_ledger[i]))
            return err_set(ERR_ARG, "KEY-19", "--team, --models, --label and --tag are of a "
                           "gateway's keys; add --config croft.yaml");
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
    return OK;
}

enum err key_table_apply(struct key_table *t, struct key *key, bool is_new)
{
    return t->c ? apply_ledger(t, key, is_new) : apply_file(t, key);
}

enum err key_table_save(struct key_table *t, const struct key *key)
{
    struct keyring_room room = { 0 };
    char salt[SHA256_HEX_BYTES];
    struct key_row row;
    enum err e;

    if (!t->c)
        return keys_write(t->keys, t->name);
    if (!t->may.team)                   /* nothing was applied: as it was */
        t->may = *keyring_may(t->ring, key);
    sha256_hex(salt, t->keys->salt);
    if (!(e = keyring_row(&row, key, &t->may, &room)) &&
        !(e = key_rows_put(t->db, &row, salt)) && key->revoked)
        e = kept_rows_forget(t->db, key->id);
    if (!e)
        e = db_commit(t->db);
    keyring_room_release(&room);
    return e;
}

enum err key_table_remove(struct key_table *t, struct key *key)
{
    bool found;
    enum err e;

    if (t->c) {
        if (!(e = key_rows_remove(t->db, key->id, &found)) &&
            !(e = kept_rows_forget(t->db, key->id)))
            e = db_commit(t->db);
        return e;
    }
    keys_remove(t->keys, key);
    return keys_write(t->keys, t->name);
}
