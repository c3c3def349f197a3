/* db_sqlite.c - the ledger in a file, by SQLite.
 *
 * Write-ahead log, and each commit is on disk (synchronous FULL) unless it is to be so seldom: then
 * the log is synced by a checkpoint (NORMAL).  A database of several processes of one machine.  The
 * file is opened by SQLite alone: closing another descriptor of it would drop
 * the locks of this process. */
#include "store/db_form.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct link {
    sqlite3 *handle;
    sqlite3_stmt *prepared[ST_N], *begin, *commit;
    unsigned char at[ST_N][DB_ARGS_MAX];        /* where SQLite has $1, $2 ... of a statement */
    dev_t dev;                          /* of the file that was opened */
    ino_t ino;
    int64_t since_ms;                   /* when the wait for others began */
    int64_t synced_ms;                  /* the last checkpoint of a log that is synced seldom */
};

static enum err failed(struct db *db, int rc)
{
    struct link *l = db->link;
    const char *why = l->handle ? sqlite3_errmsg(l->handle) : sqlite3_errstr(rc);

    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return err_set(ERR_NOMEM, "SQLITE-01", "%s: no memory for the ledger", db->address);
    case SQLITE_BUSY: case SQLITE_LOCKED:
        return err_set(ERR_BUSY, "SQLITE-02", "%s: another process held the ledger for more than "
                       "%d s", db->address, DB_LOCK_MS / 1000);
    case SQLITE_FULL:
        return err_set(ERR_MISSING, "SQLITE-03", "%s: the ledger cannot grow, its disk is full; "
                       "make room", db->address);
    case SQLITE_IOERR: case SQLITE_CANTOPEN: case SQLITE_READONLY: case SQLITE_PERM:
        return err_set(ERR_MISSING, "SQLITE-04", "%s: the ledger cannot be read and written: %s; "
                       "look at the file, its folder and its disk", db->address, why);
    case SQLITE_NOTADB: case SQLITE_CORRUPT:
        return err_set(ERR_FORMAT, "SQLITE-05", "%s: is no ledger, or a damaged one: %s",
                       db->address, why);
    default:
        return err_set(ERR_IO, "SQLITE-06", "%s: the ledger refused a statement: %s",
                       db->address, why);
    }
}

static void disconnect(struct db *db)
{
    struct link *l = db->link;

    if (!l)
        return;
    for (int s = 0; s < ST_N; s++)
        sqlite3_finalize(l->prepared[s]);
    sqlite3_finalize(l->begin);
    sqlite3_finalize(l->commit);
    sqlite3_close(l->handle);
    free(l);
    db->link = NULL;
}

/* The file of its owner alone; SQLite gives its journals the same rights. */
static enum err make_file(struct db *db)
{
    int fd = open(db->address, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST)
        return err_set(ERR_MISSING, "SQLITE-07", "%s: the ledger cannot be made: %s; look at its "
                       "folder", db->address, strerror(errno));
    return OK;
}

static enum err script(struct db *db, const char *sql)
{
    struct link *l = db->link;
    int rc = sqlite3_exec(l->handle, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? OK : failed(db, rc);
}

static int64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Short naps: SQLite's own grow to 100 ms, and who sleeps so long finds the lock taken again. */
static int wait_for_others(void *arg, int n)
{
    struct link *l = arg;

    if (n == 0)
        l->since_ms = mono_ms();
    if (mono_ms() - l->since_ms > DB_LOCK_MS)
        return 0;
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return 1;
}

static enum err seldom(struct db *db)
{
    return script(db, "PRAGMA synchronous = NORMAL;");
}

/* A checkpoint syncs the log before it copies from it. */
static void sync_log(struct db *db)
{
    struct link *l = db->link;

    if (!db->seldom || mono_ms() - l->synced_ms < DB_SELDOM_MS)
        return;
    sqlite3_wal_checkpoint_v2(l->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    l->synced_ms = mono_ms();
}

/* Of several that open a new file at once SQLite tells some that it is busy, without a wait. */
static enum err set_up(struct db *db)
{
    int64_t until = mono_ms() + DB_LOCK_MS;
    enum err e;

    while ((e = script(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")) == ERR_BUSY &&
           mono_ms() < until)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    return !e && db->seldom ? seldom(db) : e;
}

static enum err connect_file(struct db *db, bool create)
{
    struct link *l = calloc(1, sizeof(*l));
    struct stat st;
    enum err e;
    int rc;

    db->link = l;
    if (!l)
        return err_set(ERR_NOMEM, "SQLITE-08", "no memory to open a ledger");
    if (create && (e = make_file(db)))
        return e;
    if (stat(db->address, &st))
        return err_set(ERR_MISSING, "SQLITE-09", "%s: there is no ledger: %s", db->address,
                       strerror(errno));
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    rc = sqlite3_open_v2(db->address, &l->handle, SQLITE_OPEN_READWRITE, NULL);
    if (rc != SQLITE_OK)
        return failed(db, rc);
    sqlite3_busy_handler(l->handle, wait_for_others, l);
    return set_up(db);
}

/* A file that was removed or replaced would go on taking what nobody finds again. */
static enum err still_there(struct db *db)
{
    struct link *l = db->link;
    struct stat st;

    if (stat(db->address, &st) || st.st_dev != l->dev || st.st_ino != l->ino)
        return err_set(ERR_MISSING, "SQLITE-10", "%s: the ledger was removed or replaced; put it "
                       "back", db->address);
    return OK;
}

/* One that is run for each transaction: prepared once. */
static enum err again(struct db *db, sqlite3_stmt **st, const char *sql)
{
    struct link *l = db->link;
    int rc = SQLITE_OK;

    if (!*st)
        rc = sqlite3_prepare_v3(l->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(*st);
    enum err e = rc == SQLITE_DONE || rc == SQLITE_OK ? OK : failed(db, rc);
    sqlite3_reset(*st);
    return e;
}

/* Every transaction writes, so every one takes the lock at its beginning. */
static enum err begin(struct db *db, bool alone)
{
    struct link *l = db->link;
    enum err e = still_there(db);

    (void)alone;
    return e ? e : again(db, &l->begin, "BEGIN IMMEDIATE");
}

static enum err commit(struct db *db)
{
    struct link *l = db->link;
    enum err e = again(db, &l->commit, "COMMIT");

    if (!e)
        sync_log(db);
    return e;
}

/* SQLite numbers $1, $2 ... in the order in which they stand. */
static void find_args(struct link *l, enum statement s)
{
    char name[8] = "$";

    for (int i = 0; i < statement_args(s); i++) {
        name[1] = (char)(i < 9 ? '1' + i : '1');
        name[2] = (char)(i < 9 ? '\0' : '0' + i - 9);
        l->at[s][i] = (unsigned char)sqlite3_bind_parameter_index(l->prepared[s], name);
    }
}

static enum err bind(struct db *db, sqlite3_stmt *st, enum statement s, const struct db_arg *arg)
{
    const struct link *l = db->link;
    int rc = SQLITE_OK;

    for (int i = 0; i < statement_args(s) && rc == SQLITE_OK; i++)
        rc = arg[i].text ? sqlite3_bind_text(st, l->at[s][i], arg[i].text, -1, SQLITE_STATIC)
                         : sqlite3_bind_int64(st, l->at[s][i], arg[i].n);
    return rc == SQLITE_OK ? OK : failed(db, rc);
}

static enum err give_row(sqlite3_stmt *st, db_row_fn *row, void *ctx)
{
    struct db_cell cell[DB_CELLS_MAX];
    int n = sqlite3_column_count(st);

    ASSERT(n <= DB_CELLS_MAX);
    for (int i = 0; i < n; i++) {
        cell[i].n = sqlite3_column_type(st, i) == SQLITE_TEXT ? 0 : sqlite3_column_int64(st, i);
        cell[i].text = (const char *)sqlite3_column_text(st, i);
        if (!cell[i].text)
            cell[i].text = "";
    }
    return row ? row(ctx, cell) : OK;
}

static enum err run(struct db *db, enum statement s, const struct db_arg *arg, db_row_fn *row,
                    void *ctx, int64_t *changed)
{
    struct link *l = db->link;
    sqlite3_stmt *st;
    enum err e;
    int rc;

    if (!l->prepared[s]) {
        rc = sqlite3_prepare_v3(l->handle, statement_sql(s), -1, SQLITE_PREPARE_PERSISTENT,
                                &l->prepared[s], NULL);
        if (rc != SQLITE_OK)
            return failed(db, rc);
        find_args(l, s);
    }
    st = l->prepared[s];
    e = bind(db, st, s, arg);
    while (!e && (rc = sqlite3_step(st)) != SQLITE_DONE)
        e = rc == SQLITE_ROW ? give_row(st, row, ctx) : failed(db, rc);
    if (!e && changed)
        *changed = sqlite3_changes(l->handle);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return e;
}

static enum err now(struct db *db, int64_t *ms)
{
    struct timespec t;

    (void)db;
    clock_gettime(CLOCK_REALTIME, &t);
    *ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    return OK;
}

const struct db_driver db_sqlite = { true, connect_file, disconnect, script, begin, commit, run,
                                     now, seldom };
