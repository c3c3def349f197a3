/* db.c - what both back-ends share: addresses, transactions, migrations, connecting anew. */
#include "store/db_form.h"

#include "base/file.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_MAX = 4096 };

static const struct { const char *sql; int n_arg; } statement[] = {
#define STATEMENT(id, n_arg, sql) { sql, n_arg },
#include "store/statement.def"
#undef STATEMENT
};

static const struct { int version; const char *sql; } migration[] = {
#define MIGRATION(version, sql) { version, sql },
#include "store/migration.def"
#undef MIGRATION
};

enum { N_MIGRATION = sizeof(migration) / sizeof(*migration) };

const char *statement_sql(enum statement s)
{
    return statement[s].sql;
}

int statement_args(enum statement s)
{
    return statement[s].n_arg;
}

const char *db_library(void)
{
    return "SQLite " SQLITE_VERSION;
}

/* What stands behind env:NAME or file:PATH, without white space at its end.  NULL: an error. */
static char *read_secret(const char *ref, enum err *e)
{
    const char *text = NULL;
    char *read = NULL;
    size_t len = 0;

    if (!strncmp(ref, "file:", 5)) {
        if ((*e = file_read_text(&read, &len, ref + 5, ADDRESS_MAX)))
            return NULL;
    } else if (!(text = getenv(ref + 4)) || !*text) {
        *e = err_set(ERR_MISSING, "DB-01", "the environment has no %.80s, where the address of "
                     "the ledger's database should stand", ref + 4);
        return NULL;
    } else if (!(read = strdup(text))) {
        *e = err_set(ERR_NOMEM, "DB-02", "no memory for the ledger's address");
        return NULL;
    }
    len = strlen(read);
    while (len && strchr(" \t\r\n", read[len - 1]))
        read[--len] = '\0';
    return read;
}

static enum err set_address(struct db *db, const char *url)
{
    enum err e = OK;

    if (!strncmp(url, "sqlite:", 7)) {
        db->driver = &db_sqlite;
        db->address = strdup(url + 7);
        return db->address ? OK : err_set(ERR_NOMEM, "DB-03", "no memory to open a ledger");
    }
    if (strncmp(url, "env:", 4) && strncmp(url, "file:", 5))
        return err_set(ERR_ARG, "DB-04", "a ledger is sqlite:FILE, or env:NAME or file:PATH where "
                       "the address of a PostgreSQL database stands");
    if (!(db->address = read_secret(url, &e)))
        return e;
    db->driver = &db_postgres;
    if (strncmp(db->address, "postgres://", 11) && strncmp(db->address, "postgresql://", 13))
        return err_set(ERR_ARG, "DB-05", "what %.80s holds does not begin with postgres://", url);
    return OK;
}

static enum err one_number(void *arg, const struct db_cell *cell)
{
    *(int64_t *)arg = cell[0].n;
    return OK;
}

/* Inside a transaction that is alone. */
static enum err migrate(struct db *db)
{
    int64_t at = 0;
    enum err e = db->driver->script(db, "CREATE TABLE IF NOT EXISTS croft_schema "
                                    "(version BIGINT NOT NULL);"
                                    "INSERT INTO croft_schema (version) SELECT 0 WHERE NOT EXISTS "
                                    "(SELECT 1 FROM croft_schema)");

    if (!e)
        e = db_run(db, ST_schema_get, NULL, one_number, &at, NULL);
    if (!e && at > migration[N_MIGRATION - 1].version)
        return err_set(ERR_FORMAT, "DB-06", "the ledger has version %lld of its schema and this "
                       "croft knows %d; use the newer croft", (long long)at,
                       migration[N_MIGRATION - 1].version);
    for (int i = 0; i < N_MIGRATION && !e; i++) {
        if (migration[i].version <= at)
            continue;
        e = db->driver->script(db, migration[i].sql);
        if (!e)
            e = db_run(db, ST_schema_set, (struct db_arg[]){ DB_INT(migration[i].version) }, NULL,
                       NULL, NULL);
    }
    return e;
}

static enum err connect_now(struct db *db, bool create)
{
    enum err e = db->driver->connect(db, create);

    db->broken = e != OK;
    if (!e && !(e = db_begin(db, true)) && !(e = migrate(db)))
        e = db_commit(db);
    if (e) {
        db_rollback(db);
        db->driver->disconnect(db);
        db->broken = true;
    }
    return e;
}

enum err db_open(struct db **out, const char *url, bool create)
{
    struct db *db = calloc(1, sizeof(*db));
    enum err e;

    *out = NULL;
    if (!db)
        return err_set(ERR_NOMEM, "DB-07", "no memory to open a ledger");
    if ((e = set_address(db, url)) || (e = connect_now(db, create))) {
        db_close(db);
        return e;
    }
    *out = db;
    return OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    if (db->driver && db->link) {
        db_rollback(db);
        db->driver->disconnect(db);
    }
    if (db->address)
        explicit_bzero(db->address, strlen(db->address));
    free(db->address);
    free(db);
}

/* A connection that was lost is made anew, also its schema: the server may be another one. */
enum err db_begin(struct db *db, bool alone)
{
    enum err e;

    ASSERT(!db->inside);
    if (db->broken) {
        db->driver->disconnect(db);
        if ((e = connect_now(db, false)))
            return e;
    }
    if (!(e = db->driver->begin(db, alone)))
        db->inside = true;
    db->alone = alone || db->driver->one_writer;
    if (e == ERR_MISSING)
        db->broken = true;
    return e;
}

enum err db_commit(struct db *db)
{
    enum err e = db->driver->commit(db);

    if (!e) {
        db->inside = false;
        db->n.commits++;
    }
    if (e == ERR_MISSING)
        db->broken = true;
    return e;
}

bool db_alone(const struct db *db)
{
    return db->inside && db->alone;
}

enum err db_sync_seldom(struct db *db)
{
    enum err e = OK;

    if (!db->driver->seldom)
        return err_set(ERR_ARG, "DB-08", "each commit of a PostgreSQL ledger is on disk; "
                       "ledger.sync is of SQLite");
    if (!db->broken)
        e = db->driver->seldom(db);
    db->seldom = e == OK;
    return e;
}

struct db_counts db_counts(const struct db *db)
{
    return db->n;
}

void db_rollback(struct db *db)
{
    struct err_record kept;

    if (!db->inside)
        return;
    err_save(&kept, ERR_IO);
    if (db->broken || db->driver->script(db, "ROLLBACK"))
        db->broken = true;
    db->inside = false;
    (void)err_restore(&kept);
}

enum err db_run(struct db *db, enum statement s, const struct db_arg *arg, db_row_fn *row,
                void *ctx, int64_t *changed)
{
    enum err e;

    if (changed)
        *changed = 0;
    db->n.statements++;
    e = db->driver->run(db, s, arg, row, ctx, changed);
    if (e == ERR_MISSING)
        db->broken = true;
    return e;
}

enum err db_now(struct db *db, int64_t *ms)
{
    return db->driver->now(db, ms);
}
