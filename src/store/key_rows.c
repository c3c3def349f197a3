/* key_rows.c - see key_rows.h. */
#include "store/key_rows.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { TEXTS = 7 };                     /* of a row, in the order of ST_keys_all */

/* Rows while they are read: texts move until the last one is there. */
struct reading {
    struct key_rows *rows;
    struct buf text;
    int cap;
};

static enum err read_state(void *arg, const struct db_cell *c)
{
    struct key_rows *k = arg;

    if (strlen(c[1].text) >= sizeof(k->salt))
        return err_set(ERR_FORMAT, "KEYROWS-01", "the ledger's keys have a salt that cannot be");
    k->version = c[0].n;
    memcpy(k->salt, c[1].text, strlen(c[1].text) + 1);
    return OK;
}

static enum err read_row(void *arg, const struct db_cell *c)
{
    struct reading *r = arg;
    struct key_rows *k = r->rows;

    if (k->n == KEY_ROWS_MAX)
        return err_set(ERR_LIMIT, "KEYROWS-02", "the ledger has more than %d keys; croft key "
                       "remove takes some out", KEY_ROWS_MAX);
    if (k->n == r->cap) {
        int cap = r->cap ? 2 * r->cap : 64;
        struct key_row *row = realloc(k->row, (size_t)cap * sizeof(*row));
        if (!row)
            return err_set(ERR_NOMEM, "KEYROWS-03", "no memory for the ledger's keys");
        k->row = row;
        r->cap = cap;
    }
    for (int i = 0; i < TEXTS; i++)
        buf_add(&r->text, c[i].text, strlen(c[i].text) + 1);
    k->row[k->n++] = (struct key_row){ .revoked = c[7].n != 0, .created = c[8].n,
                                       .expires = c[9].n };
    return OK;
}

/* The texts stand one behind another, seven a row. */
static void set_texts(struct key_rows *k)
{
    const char *at = k->text;

    for (int i = 0; i < k->n; i++) {
        struct key_row *row = &k->row[i];
        const char **to[TEXTS] = { &row->id, &row->hmac, &row->scopes, &row->team, &row->models,
                                   &row->labels, &row->tags };
        for (int t = 0; t < TEXTS; t++) {
            *to[t] = at;
            at += strlen(at) + 1;
        }
    }
}

enum err key_rows_read(struct key_rows **out, struct db *db, int64_t known)
{
    struct key_rows *k = calloc(1, sizeof(*k));
    struct reading r = { .rows = k };
    enum err e;

    *out = NULL;
    if (!k)
        return err_set(ERR_NOMEM, "KEYROWS-04", "no memory for the ledger's keys");
    e = db_run(db, ST_keys_state, NULL, read_state, k, NULL);
    if (!e && k->version == known) {
        free(k);
        return OK;
    }
    if (!e)
        e = db_run(db, ST_keys_all, NULL, read_row, &r, NULL);
    if (!e)
        e = buf_ok(&r.text);
    k->text = r.text.data;
    if (e) {
        key_rows_free(k);
        return e;
    }
    set_texts(k);
    *out = k;
    return OK;
}

void key_rows_free(struct key_rows *k)
{
    if (k) {
        free(k->row);
        free(k->text);
    }
    free(k);
}

static enum err one_number(void *arg, const struct db_cell *c)
{
    *(int64_t *)arg = c[0].n;
    return OK;
}

enum err key_rows_put(struct db *db, const struct key_row *row, const char *salt)
{
    const char *const text[TEXTS] = { row->id, row->hmac, row->scopes, row->team, row->models,
                                      row->labels, row->tags };
    struct db_arg arg[TEXTS + 3];
    int64_t others = 0;
    enum err e;

    for (int i = 0; i < TEXTS; i++) {
        if (strlen(text[i]) > KEY_ROW_TEXT_MAX)
            return err_set(ERR_ARG, "KEYROWS-05", "what the key %.64s may do takes more than %d "
                           "characters; give it a group in place of many models", row->id,
                           KEY_ROW_TEXT_MAX);
        arg[i] = DB_TEXT(text[i]);
    }
    arg[7] = DB_INT(row->revoked);
    arg[8] = DB_INT(row->created);
    arg[9] = DB_INT(row->expires);
    e = db_run(db, ST_keys_count, (struct db_arg[]){ DB_TEXT(row->id) }, one_number, &others, NULL);
    if (!e && others >= KEY_ROWS_MAX)
        return err_set(ERR_LIMIT, "KEYROWS-06", "the ledger has %d keys, and more cannot be",
                       KEY_ROWS_MAX);
    if (!e)
        e = db_run(db, ST_keys_begin, (struct db_arg[]){ DB_TEXT(salt) }, NULL, NULL, NULL);
    if (!e)
        e = db_run(db, ST_keys_put, arg, NULL, NULL, NULL);
    return e ? e : db_run(db, ST_keys_changed, NULL, NULL, NULL, NULL);
}

enum err key_rows_remove(struct db *db, const char *id, bool *found)
{
    int64_t n = 0;
    enum err e = db_run(db, ST_keys_remove, (struct db_arg[]){ DB_TEXT(id) }, NULL, NULL, &n);

    *found = !e && n > 0;
    return e || !n ? e : db_run(db, ST_keys_changed, NULL, NULL, NULL, NULL);
}
