/* db_form.h - what a back-end is: its functions, and what db.c keeps for it. */
#ifndef STORE_DB_FORM_H
#define STORE_DB_FORM_H

#include "store/db.h"

/* How long a call may wait for the database, for others that hold it, and to connect. */
enum { DB_WAIT_MS = 10000, DB_LOCK_MS = 5000, DB_CONNECT_S = 5 };

struct db_driver {
    bool one_writer;                    /* every transaction is alone */
    enum err (*connect)(struct db *db, bool create);
    void (*disconnect)(struct db *db);          /* of what connect() made, also half */
    enum err (*script)(struct db *db, const char *sql);     /* several statements, no rows */
    enum err (*begin)(struct db *db, bool alone);
    enum err (*commit)(struct db *db);
    enum err (*run)(struct db *db, enum statement s, const struct db_arg *arg, db_row_fn *row,
                    void *ctx, int64_t *changed);
    enum err (*now)(struct db *db, int64_t *ms);
    enum err (*seldom)(struct db *db);          /* NULL: cannot */
};

extern const struct db_driver db_sqlite, db_postgres;

struct db {
    const struct db_driver *driver;
    char *address;                      /* the file; or PostgreSQL's URL, which is a secret */
    void *link;                         /* the driver's connection; NULL: none */
    bool inside, alone, broken;         /* in a transaction; alone; to be connected anew */
    bool seldom;                        /* db_sync_seldom() */
    struct db_counts n;
};

/* Statement by id: text and arguments. */
const char *statement_sql(enum statement s);
int statement_args(enum statement s);

#endif
