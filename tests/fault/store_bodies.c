/* store_bodies.c - see store_bodies.h.  Allocations of SQLite itself are not counted. */
#include "store_bodies.h"

#include "store/kept_rows.h"
#include "store/key_rows.h"
#include "store/limits.h"

#include "../unit/temp_file.h"

enum err body_limits(void)
{
    static const struct limit_budget budget[] = {
        { .name = "a", .id = "team", .owner = LIMIT_TEAM, .span = SPAN_DAY, .hard = true,
          .limit = { { 0, 1000, 0 } } },
        { .name = "b", .id = "x", .owner = LIMIT_TAG, .span = SPAN_MONTH, .zone = "UTC",
          .limit = { { 5, 0, 0 } } },
    };
    const struct limit_who who = { "team", "key", "w x" };
    struct limit_ask ask[4];
    struct limit_grant grant;
    struct limits *l;
    enum err e = limits_new(&l, budget, 2);

    if (e)
        return e;
    limits_hold_until(l, 1000);
    if (limits_admit(l, &who, &(struct amount){ { 1, 10, 0 } }, 100, 0, &grant, NULL) !=
            LIMIT_LATER || limits_plan(l, 100, 0, false, ask, 4) != 2)
        e = err_set(ERR_NOMEM, "FAULT-01", "an account is missing");
    limits_free(l);
    return e;
}

static enum err use_keys(struct db *db)
{
    const struct key_row row = { .id = "a", .hmac = "00", .scopes = "infer", .team = "t",
                                 .models = "", .labels = "", .tags = "" };
    struct key_rows *rows = NULL;
    enum err e = db_begin(db, true);

    if (!e && !(e = key_rows_put(db, &row, "00")) && !(e = key_rows_read(&rows, db, -1)))
        e = db_commit(db);
    ASSERT(e || (rows->n == 1 && rows->version > 0));
    db_rollback(db);
    key_rows_free(rows);
    return e;
}

static enum err use_ledger(struct db *db)
{
    struct ledger_attempt a = { .id = "g1-1", .process = "g1", .request = "r", .upstream = "u",
        .upstream_id = "", .key = "k", .team = "t", .model = "m", .tags = "a b",
        .charges = "a=0 b=0", .requests = 1, .worst = { .prompt = 5, .cost = 7 } };
    struct ledger_deltas deltas = { 0 };
    struct ledger_sum *sum = NULL;
    size_t n;
    bool done;
    enum err e = db_begin(db, true);

    if (!e && !(e = ledger_join(db, "g1", "here", 1)) && !(e = ledger_journal(db, &a)) &&
        !(e = ledger_settle(db, &deltas, &a, ATTEMPT_EXACT, &a.worst, 2, &done)) &&
        !(e = ledger_write(db, &deltas, "g1"))) {
        a.id = "g1-2";
        if (!(e = ledger_journal(db, &a)) && !(e = ledger_take_over(db, "g1", NULL, 3, NULL)) &&
            !(e = ledger_sums(db, BY_TAG, &sum, &n)))
            e = db_commit(db);
    }
    db_rollback(db);
    ledger_deltas_release(&deltas);
    free(sum);
    return e;
}

static void see_row(void *arg, const struct kept_row *row)
{
    *(int *)arg += !strcmp(row->sealed, "s");
}

static enum err use_kept(struct db *db)
{
    static const char name[1][KEPT_NAME_BYTES] = { "n" };
    const struct kept_row row = { .key = "", .name = "n", .upstream = "u", .seal_key = "k",
                                  .sealed = "s", .expires_ms = 9 };
    int n = 0;
    enum err e = db_begin(db, true);

    if (!e && !(e = kept_rows_put(db, &row, 1)) &&
        !(e = kept_rows_get(db, "", name, 1, 1, see_row, &n)) &&
        !(e = kept_rows_expire(db, 9, 5)) && !(e = kept_rows_forget(db, "")))
        e = db_commit(db);
    ASSERT(e || n == 1);
    db_rollback(db);
    return e;
}

enum err body_ledger(void)
{
    struct temp t;
    char url[200];
    struct db *db;
    enum err e;

    temp_init(&t);
    snprintf(url, sizeof(url), "sqlite:%s", temp_path(&t, "ledger.db"));
    if (!(e = db_open(&db, url, true)))
        e = use_ledger(db);
    if (!e)
        e = use_keys(db);
    if (!e)
        e = use_kept(db);
    db_close(db);
    temp_release(&t);
    return e;
}
