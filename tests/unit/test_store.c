/* test_store.c - the ledger in a file of SQLite, and limits as a state machine. */
#include "store/store.h"

#include "base/buf.h"

#include "temp_file.h"

#include <criterion/criterion.h>
#include <poll.h>

static struct limit_budget day = { .name = "day", .id = "team", .owner = LIMIT_TEAM,
                                   .span = SPAN_DAY, .hard = true,
                                   .limit = { { 0, 1000, 0 } } };
static struct limit_budget soft_day = { .name = "day", .id = "team", .owner = LIMIT_TEAM,
                                        .span = SPAN_DAY, .limit = { { 0, 1000, 0 } } };
static struct limit_budget much = { .name = "much", .id = "team", .owner = LIMIT_TEAM,
                                    .span = SPAN_DAY, .hard = true,
                                    .limit = { { 0, 1000000000, 0 } } };
static const struct limit_who who = { "team", "key", "a b" };
static const struct amount hundred = { { 1, 100, 0 } };

/* What the database would say to everything that is planned: all of the limit. */
static int answer_all(struct limits *l, int64_t now_s, int64_t mono, int64_t tokens)
{
    struct limit_ask ask[8];
    int n = limits_plan(l, now_s, mono, false, ask, 8);

    for (int i = 0; i < n; i++) {
        ask[i].got = (struct ledger_slice){ .held = { { 0, tokens, 0 } },
                                            .goal = { { 0, tokens, 0 } }, .live = 1 };
        limits_answer(l, &ask[i], mono);
    }
    return n;
}

Test(limits, nothing_is_admitted_before_and_after_the_lease)
{
    struct limit_grant g;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 0, &g, NULL), LIMIT_GONE);
    limits_hold_until(l, 1000);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 0, &g, NULL), LIMIT_LATER);
    cr_expect_eq(answer_all(l, 100, 1, 1000), 1);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 2, &g, NULL), LIMIT_GRANTED);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 1000, &g, NULL), LIMIT_GONE);
    limits_free(l);
}

Test(limits, the_worst_case_is_reserved_until_it_is_settled)
{
    struct limit_grant g[10], no;
    struct limits *l;
    int at;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    answer_all(l, 100, 1, 1000);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(limits_admit(l, &who, &hundred, 100, 2, &g[i], NULL), LIMIT_GRANTED);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 2, &no, &at), LIMIT_LATER);
    cr_expect_eq(at, 0);
    cr_expect_eq(answer_all(l, 100, 3, 1000), 1);               /* there is no more */
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 4, &no, NULL), LIMIT_REFUSED);
    limits_settle(l, &g[0], &(struct amount){ { 1, 0, 0 } });
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 5, &g[0], NULL), LIMIT_GRANTED);
    limits_settle(l, &g[1], &hundred);
    cr_expect_neq(limits_admit(l, &who, &hundred, 100, 6, &no, NULL), LIMIT_GRANTED);
    limits_free(l);
}

Test(limits, a_grant_from_before_a_fence_gives_nothing_back)
{
    struct limit_grant g, no;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    answer_all(l, 100, 1, 100);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 2, &g, NULL), LIMIT_GRANTED);
    limits_fence(l);
    limits_settle(l, &g, &(struct amount){ { 0 } });
    cr_expect_neq(limits_admit(l, &who, &hundred, 100, 3, &no, NULL), LIMIT_GRANTED);
    limits_free(l);
}

Test(limits, a_call_beyond_the_whole_limit_and_other_teams)
{
    const struct limit_who other = { "other", "key", "" };
    struct limit_grant g;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    cr_expect_eq(limits_admit(l, &who, &(struct amount){ { 1, 1001, 0 } }, 100, 2, &g, NULL),
                 LIMIT_REFUSED);
    cr_expect_eq(limits_admit(l, &other, &(struct amount){ { 1, 1001, 0 } }, 100, 2, &g, NULL),
                 LIMIT_GRANTED);
    cr_expect_eq(g.n, 0);
    limits_free(l);
}

Test(limits, the_next_period_is_leased_before_it_begins)
{
    struct limit_grant g;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    answer_all(l, 86000, 1, 1000);
    cr_expect_eq(answer_all(l, 86399, 5000, 1000), 1);
    cr_expect_eq(limits_admit(l, &who, &hundred, 86401, 5001, &g, NULL), LIMIT_GRANTED);
    cr_expect_eq(g.at[0].period, 86400);
    limits_free(l);
}

Test(limits, a_soft_budget_that_is_used_up_warns_until_it_is_told_otherwise)
{
    struct limit_grant g;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &soft_day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    answer_all(l, 100, 1, 100);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 2, &g, NULL), LIMIT_GRANTED);
    cr_expect_eq(g.soft, -1);
    limits_spend(l, &g, &hundred);      /* not in the ledger yet, and used all the same */
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 3, &g, NULL), LIMIT_GRANTED);
    cr_expect_eq(g.soft, -1, "the database may have more");
    cr_expect_eq(limits_soft(l, &g), -1);
    cr_expect_eq(answer_all(l, 100, 4, 100), 1);
    cr_expect_eq(limits_soft(l, &g), 0, "it has not, and the call was not sent yet");
    for (int64_t mono = 5; mono < 4000; mono += 100) {      /* also while it is asked again */
        cr_expect_eq(limits_admit(l, &who, &hundred, 100, mono, &g, NULL), LIMIT_GRANTED);
        cr_expect_eq(g.soft, 0, "at %d ms", (int)mono);
        if (mono % 300 == 5)
            answer_all(l, 100, mono, 100);
    }
    limits_settle(l, &g, &hundred);
    answer_all(l, 100, 6000, 1000);
    cr_expect_eq(limits_admit(l, &who, &hundred, 100, 6001, &g, NULL), LIMIT_GRANTED);
    cr_expect_eq(g.soft, -1, "there is more again");
    limits_free(l);
}

Test(limits, a_soft_budget_is_used_up_when_nobody_has_anything_left_to_lease)
{
    struct limit_ask ask[8];
    struct limit_grant g;
    struct limits *l;

    cr_assert_eq(limits_new(&l, &soft_day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    for (int64_t left = 500; left >= 0; left -= 500) {
        cr_assert_eq(limits_plan(l, 100, 10000 - left, left == 500, ask, 8), 1);
        cr_expect_eq(limits_admit(l, &who, &hundred, 100, 10000 - left, &g, NULL), LIMIT_GRANTED);
        cr_expect_eq(g.soft, -1, "it is being asked");
        ask[0].got = (struct ledger_slice){ .free = { { 0, left, 0 } }, .live = 1 };
        limits_answer(l, &ask[0], 10000 - left);
        cr_expect_eq(limits_soft(l, &g), left ? -1 : 0);
    }
    limits_free(l);
}

Test(limits, when_another_process_comes_what_is_too_much_goes_back)
{
    struct limit_ask ask[8];
    struct limits *l;

    cr_assert_eq(limits_new(&l, &day, 1), OK);
    limits_hold_until(l, INT64_MAX);
    cr_assert_eq(limits_plan(l, 100, 1, true, ask, 8), 1);
    ask[0].got = (struct ledger_slice){ .held = { { 0, 1000, 0 } }, .goal = { { 0, 1000, 0 } },
                                        .live = 1 };
    limits_answer(l, &ask[0], 1);
    cr_expect_eq(limits_plan(l, 100, 1000, false, ask, 8), 0, "nobody asks for anything");
    limits_live(l, 2);
    cr_assert_eq(limits_plan(l, 100, 1000, false, ask, 8), 1);
    limits_lost(l, &ask[0]);
    cr_assert_eq(limits_plan(l, 100, 1020, false, ask, 8), 1, "no answer, so it is asked again");
    ask[0].got = (struct ledger_slice){ .held = { { 0, 1000, 0 } }, .goal = { { 0, 31, 0 } },
                                        .live = 2 };
    limits_answer(l, &ask[0], 1020);
    cr_assert_eq(limits_plan(l, 100, 1050, false, ask, 8), 1);
    cr_expect_eq(ask[0].ask.back.n[AMOUNT_TOKENS], 969);
    limits_free(l);
}

struct opened {
    struct temp t;
    struct store *s;
    const struct limit_budget *budget;  /* NULL: day */
    char url[256];
    int n_ok, n_failed;
};

static void count(void *arg, enum err e)
{
    struct opened *o = arg;

    o->n_ok += e == OK;
    o->n_failed += e != OK;
}

static void wait_for(struct opened *o, int n)
{
    for (int i = 0; i < 500 && o->n_ok + o->n_failed < n; i++) {
        struct pollfd p = { .fd = store_fd(o->s), .events = POLLIN };
        poll(&p, 1, 20);
        store_poll(o->s);
    }
    cr_assert_eq(o->n_ok, n, "%d ok, %d failed: %s", o->n_ok, o->n_failed, err_text());
}

static void open_store(struct opened *o)
{
    struct store_options options = { .url = o->url, .budget = o->budget ? o->budget : &day,
                                     .n_budget = 1 };

    if (!o->url[0]) {
        temp_init(&o->t);
        snprintf(o->url, sizeof(o->url), "sqlite:%s", temp_path(&o->t, "ledger.db"));
    }
    cr_assert_eq(store_open(&o->s, &options), OK, "%s", err_text());
}

static struct store_attempt *journal_soon(struct opened *o)
{
    struct ledger_attempt a = { .request = "r", .upstream = "u", .key = "key", .team = "team",
        .model = "m", .tags = "a b", .requests = 1, .worst = { .prompt = 60, .completion = 40 } };
    struct store_attempt *out;
    struct limit_grant g;

    cr_assert_eq(store_admit(o->s, &who, &hundred, &g, NULL), LIMIT_GRANTED);
    cr_assert_eq(store_journal(o->s, &out, &a, &g, count, o), OK);
    return out;
}

static struct store_attempt *journal(struct opened *o, int n)
{
    struct store_attempt *a = journal_soon(o);

    wait_for(o, n);
    return a;
}

static struct ledger_sum sum_of(const struct opened *o, enum ledger_by by)
{
    struct ledger_sum *sum, first;
    struct db *db;
    size_t n;

    cr_assert_eq(db_open(&db, o->url, false), OK, "%s", err_text());
    cr_assert_eq(db_begin(db, false), OK);
    cr_assert_eq(ledger_sums(db, by, &sum, &n), OK);
    cr_assert_eq(db_commit(db), OK);
    cr_assert(n >= 1);
    first = sum[0];
    free(sum);
    db_close(db);
    return first;
}

Test(store, an_attempt_is_journalled_settled_and_summed_up)
{
    struct opened o = { .url = "" };
    struct ledger_sum sum;

    open_store(&o);
    struct store_attempt *a = journal(&o, 1);
    cr_expect_eq(sum_of(&o, BY_TEAM).open, 1);
    store_settle(o.s, a, ATTEMPT_EXACT, &(struct ledger_usage){ .prompt = 50, .completion = 3,
                 .cost = 1500000000000 }, "up", count, &o);
    wait_for(&o, 2);
    store_close(o.s, 1000);
    sum = sum_of(&o, BY_TAG);
    cr_expect_str_eq(sum.name, "a");
    cr_expect(sum.exact == 1 && sum.open == 0 && sum.prompt == 50 && sum.completion == 3);
    cr_expect(sum.dollars == 1 && sum.picodollars == 500000000000);
    temp_release(&o.t);
}

/* How much is asked of the database: in a row, and many at once. */
Test(store, settlements_that_nobody_waits_for_go_along_with_what_comes_next)
{
    enum { ROW = 200, BURST = 64, BURSTS = 32 };
    const struct ledger_usage used = { .prompt = 50, .completion = 3 };
    struct opened o = { .url = "", .budget = &much };
    struct store_attempt *many[BURST];
    struct store_counts was, now;
    int n = 0;

    open_store(&o);
    was = store_counts(o.s);
    for (int i = 0; i < ROW; i++)
        store_settle(o.s, journal(&o, ++n), ATTEMPT_EXACT, &used, "up", NULL, NULL);
    now = store_counts(o.s);
    cr_log_info("%d in a row: %d commits, %d statements", ROW, (int)(now.commits - was.commits),
                (int)(now.statements - was.statements));
    cr_expect(now.commits - was.commits < ROW * 3 / 2, "%d", (int)(now.commits - was.commits));
    cr_expect(now.statements - was.statements < ROW * 9, "%d",
              (int)(now.statements - was.statements));
    was = now;
    for (int b = 0; b < BURSTS; b++) {
        for (int i = 0; i < BURST; i++)
            many[i] = journal_soon(&o);
        wait_for(&o, n += BURST);
        for (int i = 0; i < BURST; i++)
            store_settle(o.s, many[i], ATTEMPT_EXACT, &used, "up", NULL, NULL);
    }
    now = store_counts(o.s);
    cr_log_info("%d, %d at once: %d commits, %d statements", BURSTS * BURST, BURST,
                (int)(now.commits - was.commits), (int)(now.statements - was.statements));
    cr_expect(now.commits - was.commits < BURSTS * BURST / 4);
    cr_expect(now.statements - was.statements < BURSTS * BURST * 4);
    store_close(o.s, 1000);             /* nothing is forgotten at the end */
    cr_expect_eq(sum_of(&o, BY_TEAM).exact, ROW + BURSTS * BURST);
    temp_release(&o.t);
}

Test(store, a_settlement_that_nobody_waits_for_is_written_while_nothing_comes)
{
    struct opened o = { .url = "" };

    open_store(&o);
    store_settle(o.s, journal(&o, 1), ATTEMPT_EXACT, &(struct ledger_usage){ .prompt = 5 }, "up",
                 NULL, NULL);
    for (int i = 0; i < 2000 && store_counts(o.s).n_open; i++) {
        struct pollfd p = { .fd = store_fd(o.s), .events = POLLIN };
        poll(&p, 1, 20);
        store_poll(o.s);
    }
    cr_expect_eq(sum_of(&o, BY_TEAM).exact, 1);
    store_close(o.s, 1000);
    temp_release(&o.t);
}

Test(store, one_that_is_left_open_is_taken_over)
{
    struct opened o = { .url = "" };
    struct db *db;
    char process[32];
    int n;

    open_store(&o);
    journal(&o, 1);
    snprintf(process, sizeof(process), "%s", store_process(o.s));
    store_close(o.s, 1000);
    cr_assert_eq(db_open(&db, o.url, false), OK);
    cr_assert_eq(db_begin(db, true), OK);
    cr_expect_eq(ledger_take_over(db, process, NULL, 5, &n), OK);
    cr_expect_eq(n, 1);
    cr_expect_eq(ledger_take_over(db, process, NULL, 5, &n), OK);
    cr_expect_eq(n, 0);
    cr_assert_eq(db_commit(db), OK);
    db_close(db);
    cr_expect_eq(sum_of(&o, BY_KEY).estimated, 1);
    cr_expect_eq(sum_of(&o, BY_KEY).prompt, 60);
    temp_release(&o.t);
}

Test(store, a_usage_that_cannot_be_is_capped_and_estimated)
{
    struct opened o = { .url = "" };

    open_store(&o);
    store_settle(o.s, journal(&o, 1), ATTEMPT_EXACT, &(struct ledger_usage){ .prompt = -5,
                 .cost = INT64_MAX }, "up\n\x80", count, &o);
    wait_for(&o, 2);
    store_close(o.s, 1000);
    cr_expect_eq(sum_of(&o, BY_MODEL).estimated, 1);
    cr_expect_eq(sum_of(&o, BY_MODEL).dollars, 1000000);
    temp_release(&o.t);
}

Test(store, heads_are_kept_and_names_are_checked)
{
    struct opened o = { .url = "" };
    struct store_attempt *a;
    struct limit_grant g = { .n = 0 };
    struct ledger_attempt bad = { .request = "with space", .upstream = "u", .key = "k",
                                  .team = "t", .model = "m", .tags = "" };

    open_store(&o);
    cr_assert_eq(store_head(o.s, "chain", 7, "hash", 1, "line", count, &o), OK);
    wait_for(&o, 1);
    cr_expect_eq(store_journal(o.s, &a, &bad, &g, count, &o), ERR_ARG);
    bad.request = "r";
    bad.worst.cost = AMOUNT_ATTEMPT_MAX + 1;
    cr_expect_eq(store_journal(o.s, &a, &bad, &g, count, &o), ERR_LIMIT);
    cr_expect_eq(store_counts(o.s).n_open, 0);
    store_close(o.s, 1000);
    temp_release(&o.t);
}

/* ---- what is kept aside ---- */

static enum err one_int(void *arg, const struct db_cell *c)
{
    *(int64_t *)arg = c[0].n;
    return OK;
}

static char kept_name[3][KEPT_NAME_BYTES] = { "n0", "n1", "n2" };

static struct kept_row kept_of(const char *key, int i, const char *sealed, int64_t expires)
{
    return (struct kept_row){ .key = key, .name = kept_name[i], .upstream = "far",
                              .seal_key = "k", .sealed = sealed, .expires_ms = expires };
}

struct asked { int n, n_answer; char sealed[3][16]; int64_t expires; };

static void answer(void *arg, enum err e, const struct kept_row *row, int n)
{
    struct asked *a = arg;

    cr_assert_eq(e, OK, "%s", err_text());
    a->n = n;
    a->n_answer++;
    for (int i = 0; i < n; i++) {
        cr_expect(!strcmp(row[i].upstream, "far") && !strcmp(row[i].seal_key, "k"));
        snprintf(a->sealed[row[i].name[1] - '0'], 16, "%s", row[i].sealed);
        a->expires = row[i].expires_ms;
    }
}

static struct asked ask_kept(struct opened *o, const char *key)
{
    struct asked a = { .n_answer = 0 };

    cr_assert_eq(store_fetch(o->s, key, (const char (*)[KEPT_NAME_BYTES])kept_name, 3, answer, &a),
                 OK);
    for (int i = 0; i < 500 && !a.n_answer; i++) {
        struct pollfd p = { .fd = store_fd(o->s), .events = POLLIN };
        poll(&p, 1, 20);
        store_poll(o->s);
    }
    cr_assert_eq(a.n_answer, 1);
    return a;
}

Test(store, what_is_kept_aside_is_found_by_its_key_until_it_expires)
{
    struct opened o = { .url = "" };
    struct kept_row row[3];
    struct asked got;

    open_store(&o);
    int64_t now = store_now_ms(o.s);
    row[0] = kept_of("", 0, "zero", now + 60000);
    row[1] = kept_of("", 1, "one", now + 60000);
    row[2] = kept_of("", 2, "two", now - 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(store_keep(o.s, &row[i], count, &o), OK);
    row[1] = kept_of("", 1, "other", now + 70000);
    cr_assert_eq(store_keep(o.s, &row[1], count, &o), OK);
    wait_for(&o, 4);
    got = ask_kept(&o, "");
    cr_expect_eq(got.n, 2);
    cr_expect(!strcmp(got.sealed[0], "zero") && !strcmp(got.sealed[1], "other"));
    cr_expect_eq(ask_kept(&o, "laptop").n, 0, "of another key");
    row[0] = kept_of("laptop", 0, "zero", now + 60000);
    cr_assert_eq(store_keep(o.s, &row[0], count, &o), OK);
    wait_for(&o, 5);
    cr_expect_eq(ask_kept(&o, "laptop").n, 0, "a key that the table has not");
    store_close(o.s, 1000);
    temp_release(&o.t);
}

static int64_t number(struct db *db, enum statement s, const char *key)
{
    int64_t n = -1;

    cr_assert_eq(db_run(db, s, (struct db_arg[]){ DB_TEXT(key) }, one_int, &n, NULL), OK);
    return n;
}

Test(store, a_key_has_so_much_kept_and_no_more_the_newest_of_it)
{
    struct opened o = { .url = "" };
    char *big = malloc(KEPT_ROW_BYTES_MAX + 1), name[KEPT_NAME_BYTES];
    struct kept_row row = kept_of("", 0, big, 1000000);
    struct db *db;
    int64_t changed;

    memset(big, 'x', KEPT_ROW_BYTES_MAX);
    big[KEPT_ROW_BYTES_MAX] = '\0';
    open_store(&o);
    store_close(o.s, 1000);
    cr_assert_eq(db_open(&db, o.url, false), OK);
    cr_assert_eq(db_begin(db, true), OK);
    row.name = name;
    for (int i = 0; i < 12; i++) {      /* 18 MiB */
        snprintf(name, sizeof(name), "n%d", i);
        cr_assert_eq(kept_rows_put(db, &row, i), OK, "%s", err_text());
    }
    cr_expect_eq(number(db, ST_kept_size, ""), KEPT_KEY_BYTES_MAX / KEPT_ROW_BYTES_MAX);
    row.sealed = "s";
    for (int i = 0; i < KEPT_KEY_ROWS_MAX + 5; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        cr_assert_eq(kept_rows_put(db, &row, 100 + i), OK, "%s", err_text());
    }
    cr_expect_eq(number(db, ST_kept_size, ""), KEPT_KEY_ROWS_MAX);
    cr_assert_eq(db_run(db, ST_kept_expire, (struct db_arg[]){ DB_INT(1000000), DB_INT(10) }, NULL,
                        NULL, &changed), OK);
    cr_expect_eq(changed, 10, "a step");
    cr_assert_eq(kept_rows_expire(db, 999999, 10), OK);
    cr_expect_eq(number(db, ST_kept_size, ""), KEPT_KEY_ROWS_MAX - 10, "and nothing before");
    cr_assert_eq(kept_rows_forget(db, ""), OK);
    cr_expect_eq(number(db, ST_kept_size, ""), 0);
    cr_assert_eq(db_commit(db), OK);
    db_close(db);
    free(big);
    temp_release(&o.t);
}

Test(store, a_ledger_of_a_newer_croft_is_left_alone)
{
    struct opened o = { .url = "" };
    struct db *db;

    open_store(&o);
    store_close(o.s, 1000);
    cr_assert_eq(db_open(&db, o.url, false), OK);
    cr_assert_eq(db_begin(db, true), OK);
    cr_assert_eq(db_run(db, ST_schema_set, (struct db_arg[]){ DB_INT(99) }, NULL, NULL, NULL), OK);
    cr_assert_eq(db_commit(db), OK);
    db_close(db);
    cr_expect_eq(db_open(&db, o.url, false), ERR_FORMAT);
    cr_expect_null(db);
    temp_release(&o.t);
}

Test(store, an_address_is_a_file_or_a_secret_and_is_not_repeated)
{
    struct db *db;

    cr_expect_eq(db_open(&db, "postgres://u:hidden@h/d", false), ERR_ARG);
    cr_expect_null(strstr(err_text(), "hidden"));
    setenv("CROFT_TEST_LEDGER", "mysql://u:hidden@h/d", 1);
    cr_expect_eq(db_open(&db, "env:CROFT_TEST_LEDGER", false), ERR_ARG);
    cr_expect_null(strstr(err_text(), "hidden"));
    setenv("CROFT_TEST_LEDGER", "postgres://u:hidden@h:badport/d?x", 1);
    cr_expect_eq(db_open(&db, "env:CROFT_TEST_LEDGER", false), ERR_ARG);
    cr_expect_null(strstr(err_text(), "hidden"));
    cr_expect_eq(db_open(&db, "env:CROFT_NOT_SET", false), ERR_MISSING);
}

Test(ledger, charges_are_read_one_after_another)
{
    const char *text = "a=1 b.c/d=86400 ", *bad = "=5";
    char name[LEDGER_NAME_MAX + 1];
    int64_t period;

    cr_assert(ledger_charge(&text, name, &period));
    cr_expect(!strcmp(name, "a") && period == 1);
    cr_assert(ledger_charge(&text, name, &period));
    cr_expect(!strcmp(name, "b.c/d") && period == 86400);
    cr_expect_not(ledger_charge(&text, name, &period));
    cr_expect_not(ledger_charge(&bad, name, &period));
}
