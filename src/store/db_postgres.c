/* db_postgres.c - the ledger in a PostgreSQL database, by libpq.
 *
 * Every wait has an end: a server that was stopped would hold a blocking call for ever.  A call
 * that waited too long leaves the connection broken. */
#include "store/db_form.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One writer at a time over all processes; SQLite has its own lock, BEGIN IMMEDIATE. */
#define POSTGRES_LOCK "SELECT pg_advisory_xact_lock(4919501202510)"

struct link { PGconn *conn; bool prepared[ST_N]; };

static int64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The last part of libpq's first line: what stands before may hold parts of the address. */
static void reason(char out[200], const char *text)
{
    const char *from = strstr(text, "failed: ");
    size_t line = strcspn(text, "\n");

    for (const char *p = text; !from && p + 1 < text + line; p++)
        if (p[0] == ':' && p[1] == ' ')
            text = p + 2;
    from = from ? from + 8 : text;
    snprintf(out, 200, "%.*s", (int)strcspn(from, "\n"), from);
}

static enum err lost(const char *text)
{
    char why[200];

    reason(why, text);
    return err_set(ERR_MISSING, "PG-01", "the ledger's database does not answer: %s; start it, or "
                   "look at its address and the network", why[0] ? why : "the connection ended");
}

/* Classes of SQLSTATE: the server cannot work, others hold the lock, anything else. */
static enum err failed(struct db *db, const PGresult *res)
{
    struct link *l = db->link;
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *said = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;

    if (!state || PQstatus(l->conn) == CONNECTION_BAD || !strncmp(state, "08", 2) ||
        !strncmp(state, "57P", 3) || !strncmp(state, "53", 2) || !strncmp(state, "58", 2) ||
        !strcmp(state, "25P03") || !strcmp(state, "25006"))
        return lost(said ? said : PQerrorMessage(l->conn));
    if (!strncmp(state, "40", 2) || !strcmp(state, "55P03") || !strcmp(state, "57014"))
        return err_set(ERR_BUSY, "PG-02", "another process held the ledger too long: %.200s",
                       said ? said : state);
    return err_set(ERR_IO, "PG-03", "the ledger's database refused a statement: %.200s (%s)",
                   said ? said : "no reason given", state);
}

static void disconnect(struct db *db)
{
    struct link *l = db->link;

    if (!l)
        return;
    PQfinish(l->conn);
    free(l);
    db->link = NULL;
}

static void unheard(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static enum err connect_server(struct db *db, bool create)
{
    static const char *const key[] = { "dbname", "connect_timeout", "application_name",
        "tcp_user_timeout", "options", NULL };
    const char *const value[] = { db->address, "5", "croft", "10000",
        "-c lock_timeout=5000 -c statement_timeout=10000 -c synchronous_commit=on "
        "-c idle_in_transaction_session_timeout=10000 -c timezone=UTC "
        "-c client_min_messages=warning", NULL };
    struct link *l = calloc(1, sizeof(*l));
    PQconninfoOption *parsed = PQconninfoParse(db->address, NULL);

    (void)create;
    db->link = l;
    PQconninfoFree(parsed);
    if (!l)
        return err_set(ERR_NOMEM, "PG-04", "no memory to open a ledger");
    if (!parsed)
        return err_set(ERR_ARG, "PG-05", "the ledger's address is no PostgreSQL address; write "
                       "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %%XX for special "
                       "characters");
    l->conn = PQconnectdbParams(key, value, 1);
    if (!l->conn)
        return err_set(ERR_NOMEM, "PG-06", "no memory to open a ledger");
    if (PQstatus(l->conn) != CONNECTION_OK)
        return lost(PQerrorMessage(l->conn));
    PQsetNoticeReceiver(l->conn, unheard, NULL);
    return PQsetnonblocking(l->conn, 1) ? lost(PQerrorMessage(l->conn)) : OK;
}

/* Wait until the connection can be read, or written with `out`; false when the time is over. */
static bool wait_for(PGconn *conn, bool out, int64_t until)
{
    struct pollfd p = { .fd = PQsocket(conn), .events = (short)(POLLIN | (out ? POLLOUT : 0)) };
    int64_t left = until - mono_ms();
    int n;

    if (left <= 0)
        return false;
    n = poll(&p, 1, (int)left);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* The last result of what was sent; NULL: the connection or the time is over. */
static PGresult *await(PGconn *conn)
{
    int64_t until = mono_ms() + DB_WAIT_MS;
    PGresult *last = NULL, *next;
    int flushed;

    while ((flushed = PQflush(conn)) > 0)
        if (!wait_for(conn, true, until) || !PQconsumeInput(conn))
            return NULL;
    if (flushed < 0)
        return NULL;
    for (;;) {
        while (PQisBusy(conn))
            if (!wait_for(conn, false, until) || !PQconsumeInput(conn)) {
                PQclear(last);
                return NULL;
            }
        if (!(next = PQgetResult(conn)))
            return last;
        /* The first error of several statements is the one to tell. */
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(next);
        } else {
            PQclear(last);
            last = next;
        }
    }
}

static enum err finish(struct db *db, PGresult *res)
{
    ExecStatusType status = res ? PQresultStatus(res) : PGRES_FATAL_ERROR;
    struct link *l = db->link;

    if (!res && PQstatus(l->conn) == CONNECTION_BAD)
        return lost(PQerrorMessage(l->conn));
    if (!res)
        return err_set(ERR_MISSING, "PG-07", "the ledger's database did not answer within %d s; "
                       "look at its load and the network", DB_WAIT_MS / 1000);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? OK : failed(db, res);
}

static enum err script(struct db *db, const char *sql)
{
    struct link *l = db->link;
    PGresult *res;
    enum err e;

    if (!PQsendQuery(l->conn, sql))
        return lost(PQerrorMessage(l->conn));
    res = await(l->conn);
    e = finish(db, res);
    if (!e && !strcmp(sql, "COMMIT") && strcmp(PQcmdStatus(res), "COMMIT"))
        e = err_set(ERR_IO, "PG-08", "the ledger's database rolled a transaction back");
    PQclear(res);
    return e;
}

static enum err commit(struct db *db)
{
    return script(db, "COMMIT");
}

static enum err begin(struct db *db, bool alone)
{
    enum err e = script(db, alone ? "BEGIN; " POSTGRES_LOCK : "BEGIN");

    if (e && e != ERR_MISSING && script(db, "ROLLBACK"))
        e = ERR_MISSING;
    return e;
}

static enum err prepare(struct db *db, enum statement s, const char *name)
{
    struct link *l = db->link;
    PGresult *res;
    enum err e;

    if (l->prepared[s])
        return OK;
    if (!PQsendPrepare(l->conn, name, statement_sql(s), 0, NULL))
        return lost(PQerrorMessage(l->conn));
    res = await(l->conn);
    e = finish(db, res);
    PQclear(res);
    l->prepared[s] = e == OK;
    return e;
}

static enum err give_rows(const PGresult *res, db_row_fn *row, void *ctx)
{
    struct db_cell cell[DB_CELLS_MAX];
    int n = PQnfields(res);
    enum err e = OK;

    ASSERT(n <= DB_CELLS_MAX);
    for (int r = 0; r < PQntuples(res) && !e; r++) {
        for (int i = 0; i < n; i++) {
            cell[i].text = PQgetvalue(res, r, i);
            cell[i].n = strtoll(cell[i].text, NULL, 10);
        }
        e = row(ctx, cell);
    }
    return e;
}

static enum err run(struct db *db, enum statement s, const struct db_arg *arg, db_row_fn *row,
                    void *ctx, int64_t *changed)
{
    struct link *l = db->link;
    const char *value[DB_ARGS_MAX];
    char number[DB_ARGS_MAX][24], name[16];
    int n = statement_args(s);
    PGresult *res;
    enum err e;

    snprintf(name, sizeof(name), "s%d", (int)s);
    if ((e = prepare(db, s, name)))
        return e;
    for (int i = 0; i < n; i++) {
        snprintf(number[i], sizeof(number[i]), "%lld", (long long)arg[i].n);
        value[i] = arg[i].text ? arg[i].text : number[i];
    }
    if (!PQsendQueryPrepared(l->conn, name, n, value, NULL, NULL, 0))
        return lost(PQerrorMessage(l->conn));
    res = await(l->conn);
    e = finish(db, res);
    if (!e && row)
        e = give_rows(res, row, ctx);
    if (!e && changed)
        *changed = strtoll(PQcmdTuples(res), NULL, 10);
    PQclear(res);
    return e;
}

static enum err set_number(void *arg, const struct db_cell *cell)
{
    *(int64_t *)arg = cell[0].n;
    return OK;
}

static enum err now(struct db *db, int64_t *ms)
{
    return db_run(db, ST_postgres_now, NULL, set_number, ms, NULL);
}

const struct db_driver db_postgres = { false, connect_server, disconnect, script, begin, commit,
                                       run, now, NULL };
