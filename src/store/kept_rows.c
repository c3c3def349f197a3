/* kept_rows.c - see kept_rows.h. */
#include "store/kept_rows.h"

#include <string.h>

enum { NAMES_AT_ONCE = 12 };            /* of ST_kept_get */

struct size { int64_t rows, bytes; };

static enum err read_size(void *arg, const struct db_cell *c)
{
    *(struct size *)arg = (struct size){ c[0].n, c[1].n };
    return OK;
}

enum err kept_rows_put(struct db *db, const struct kept_row *r, int64_t now_ms)
{
    struct size all = { 0, 0 };
    enum err e = db_run(db, ST_kept_put, (struct db_arg[]){ DB_TEXT(r->key), DB_TEXT(r->name),
                        DB_TEXT(r->upstream), DB_TEXT(r->seal_key), DB_INT(now_ms),
                        DB_INT(r->expires_ms), DB_INT((int64_t)strlen(r->sealed)),
                        DB_TEXT(r->sealed) }, NULL, NULL, NULL);

    if (!e)
        e = db_run(db, ST_kept_size, (struct db_arg[]){ DB_TEXT(r->key) }, read_size, &all, NULL);
    if (e || (all.rows <= KEPT_KEY_ROWS_MAX && all.bytes <= KEPT_KEY_BYTES_MAX))
        return e;
    return db_run(db, ST_kept_trim, (struct db_arg[]){ DB_TEXT(r->key), DB_INT(KEPT_KEY_BYTES_MAX),
                  DB_INT(KEPT_KEY_ROWS_MAX) }, NULL, NULL, NULL);
}

struct reading { const char *key; kept_row_fn *fn; void *arg; };

static enum err read_row(void *arg, const struct db_cell *c)
{
    const struct reading *r = arg;
    const struct kept_row row = { .key = r->key, .name = c[0].text, .upstream = c[1].text,
                                  .seal_key = c[2].text, .expires_ms = c[3].n,
                                  .sealed = c[4].text };

    r->fn(r->arg, &row);
    return OK;
}

enum err kept_rows_get(struct db *db, const char *key, const char (*name)[KEPT_NAME_BYTES], int n,
                       int64_t now_ms, kept_row_fn *fn, void *arg)
{
    struct db_arg a[2 + NAMES_AT_ONCE] = { DB_TEXT(key), DB_INT(now_ms) };
    struct reading r = { key, fn, arg };
    enum err e = OK;

    for (int i = 0; i < n && !e; i += NAMES_AT_ONCE) {
        for (int k = 0; k < NAMES_AT_ONCE; k++)
            a[2 + k] = DB_TEXT(i + k < n ? name[i + k] : "");
        e = db_run(db, ST_kept_get, a, read_row, &r, NULL);
    }
    return e;
}

enum err kept_rows_expire(struct db *db, int64_t now_ms, int n_max)
{
    return db_run(db, ST_kept_expire, (struct db_arg[]){ DB_INT(now_ms), DB_INT(n_max) }, NULL,
                  NULL, NULL);
}

enum err kept_rows_forget(struct db *db, const char *key)
{
    return db_run(db, ST_kept_forget, (struct db_arg[]){ DB_TEXT(key) }, NULL, NULL, NULL);
}
