/* db.h - a database: prepared statements, transactions, the schema.  SQLite or PostgreSQL.
 *
 * Calls wait for the database, so a gateway makes them on the store's own thread; one thread at a
 * time.  Errors everywhere: MISSING (there is no database, it does not answer, its disk is full),
 * BUSY (others held it too long), IO (it refused a statement), NOMEM.  After MISSING nothing is
 * known of the transaction that was open, not even whether its commit took place; the connection
 * is made anew by the next db_begin(). */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum statement {
#define STATEMENT(id, n_arg, sql) ST_##id,
#include "store/statement.def"
#undef STATEMENT
    ST_N
};

enum { DB_ARGS_MAX = 16, DB_CELLS_MAX = 32 };

struct db;
struct db_arg { const char *text; int64_t n; };         /* text NULL: the number */
struct db_cell { const char *text; int64_t n; };        /* text "" for NULL; n 0 for words */

#define DB_TEXT(t) ((struct db_arg){ .text = (t) })
#define DB_INT(i) ((struct db_arg){ .n = (i) })

/* Cells are borrowed for the call.  An error ends the walk. */
typedef enum err db_row_fn(void *arg, const struct db_cell *cell);

/* What `url` says, "sqlite:FILE" or, behind env:NAME or file:PATH, the address of a PostgreSQL
 * database: connect, and bring its schema up to date (one process does it, others wait).  With
 * `create` a file that is not there is made, for its owner alone.  The address is never printed.
 * *out is yours: db_close().  More errors: ARG, FORMAT (no ledger, or one of a newer croft). */
MUST_CHECK enum err db_open(struct db **out, const char *url, bool create);
void db_close(struct db *db);

/* A transaction; with `alone` no other process is in one that is alone too. */
MUST_CHECK enum err db_begin(struct db *db, bool alone);
MUST_CHECK enum err db_commit(struct db *db);
bool db_alone(const struct db *db);     /* the one that is open, asked for or not */
void db_rollback(struct db *db);

/* Run a statement: `row` (or NULL) gets each row, *changed (or NULL) how many were changed. */
MUST_CHECK enum err db_run(struct db *db, enum statement s, const struct db_arg *arg,
                           db_row_fn *row, void *ctx, int64_t *changed);

/* From now on a commit is on disk within DB_SELDOM_MS, not before it returns: a program that is
 * killed loses nothing, a machine without power what is younger.  SQLite alone; ARG. */
enum { DB_SELDOM_MS = 1000 };
MUST_CHECK enum err db_sync_seldom(struct db *db);

/* Since db_open(). */
struct db_counts { int64_t statements, commits; };
struct db_counts db_counts(const struct db *db);

/* The database's clock, UTC in ms: PostgreSQL's own, for SQLite that of the machine. */
MUST_CHECK enum err db_now(struct db *db, int64_t *ms);

/* "SQLite 3.40.1". */
const char *db_library(void);

#endif
