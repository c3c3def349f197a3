/* store_worker.c - the store's thread: batches of jobs, each in one transaction.
 *
 * A batch also says that this process lives, inside its transaction: when another has taken it for
 * dead meanwhile, nothing of the batch may count on slices.  Sums are written before leases, so
 * that an answer is what the database has after everything that was handed back before it.
 *
 *   working --(no word)--> gone: jobs fail at once, settlements wait in `later`
 *      ^----(every STORE_RETRY_MS a try)---'                                    */
#include "store/store_form.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct batch { struct job *job[2 * STORE_BATCH_MAX]; int n; };

enum err store_clock(struct store *s)
{
    int64_t mono = store_mono_ms(), now;
    enum err e = db_now(s->db, &now);

    if (!e)
        atomic_store(&s->clock_ahead_ms, now - mono);
    return e;
}

static enum err bury_one(struct store *s, const char *process)
{
    return ledger_take_over(s->db, process, NULL, store_now_ms(s), NULL);
}

enum err store_bury_ours(struct store *s)
{
    return store_run_dead(s, bury_one);
}

/* Remember another process, and since when it has not said a word. */
static enum err see_peer(void *arg, const struct db_cell *cell)
{
    struct store *s = arg;
    int i = 0;

    if (!strcmp(cell[0].text, s->process) || strlen(cell[0].text) >= sizeof(s->peer[0].id))
        return OK;
    while (i < s->n_peer && strcmp(s->peer[i].id, cell[0].text))
        i++;
    if (i == STORE_PEERS_MAX)
        return OK;
    struct peer *p = &s->peer[i];
    if (i == s->n_peer || p->beats != cell[1].n)
        p->seen_ms = store_mono_ms();
    if (i == s->n_peer) {
        memcpy(p->id, cell[0].text, strlen(cell[0].text) + 1);
        s->n_peer++;
    }
    p->beats = cell[1].n;
    p->there = true;
    return OK;
}

enum err store_bury(struct store *s)
{
    enum err e = store_bury_ours(s);
    int n = 0;

    for (int i = 0; i < s->n_peer; i++)
        s->peer[i].there = false;
    if (!e)
        e = db_run(s->db, ST_process_list, NULL, see_peer, s, NULL);
    for (int i = 0; i < s->n_peer && !e; i++) {
        struct peer *p = &s->peer[i];
        if (p->there && store_mono_ms() - p->seen_ms >= s->lease_ms)
            e = ledger_take_over(s->db, p->id, &p->beats, store_now_ms(s), NULL);
        else if (p->there)
            s->peer[n++] = *p;
    }
    if (e)
        return e;
    s->n_peer = n;
    atomic_store(&s->n_live, n + 1);
    return OK;
}

static void keys_came(struct outbox_item *item)
{
    struct keys_item *k = (struct keys_item *)item;

    k->store->o.keys(k->store->o.arg, k->rows);
    free(k);
}

enum err store_keys_read(struct store *s)
{
    struct key_rows *rows;
    enum err e;

    if (!s->o.keys)
        return OK;
    if ((e = key_rows_read(&rows, s->db, s->keys_version)) || !rows)
        return e;
    if (!(s->keys = malloc(sizeof(*s->keys)))) {
        key_rows_free(rows);
        return err_set(ERR_NOMEM, "WORKER-02", "no memory for the ledger's keys");
    }
    *s->keys = (struct keys_item){ .item.run = keys_came, .store = s, .rows = rows };
    return OK;
}

void store_keys_done(struct store *s, bool committed)
{
    struct keys_item *k = s->keys;

    s->keys = NULL;
    if (k && committed) {
        s->keys_version = k->rows->version;
        outbox_put(&s->outbox, &k->item);
    } else if (k) {
        key_rows_free(k->rows);
        free(k);
    }
}

static enum err there(void *arg, const struct db_cell *cell)
{
    *(int64_t *)arg = cell[0].n;
    return OK;
}

/* We live, in this transaction.  Taken for dead meanwhile: a new life.  One that is alone need not
 * hold others back from burying us, and a look is cheaper than a beat. */
static enum err beat(struct store *s, bool due)
{
    const struct db_arg id[] = { DB_TEXT(s->process) };
    int64_t changed = 0;
    enum err e = due || !db_alone(s->db)
                 ? db_run(s->db, ST_process_beat, id, NULL, NULL, &changed)
                 : db_run(s->db, ST_process_lives, id, there, &changed, NULL);

    s->fenced = !e && changed == 0;
    return s->fenced ? ledger_join(s->db, s->process, s->node, store_now_ms(s)) : e;
}

static enum err see_usage(void *arg, const struct ledger_attempt *a)
{
    struct ledger_attempt *out = arg;

    if (!strcmp(a->id, out->id)) {
        out->usage = a->usage;
        out->state = a->state;
    }
    return OK;
}

/* One that others estimated while we were taken for dead is made exact. */
static enum err settle(struct store *s, struct store_attempt *a)
{
    struct ledger_attempt row = a->row;
    bool done;
    enum err e = ledger_settle(s->db, &s->deltas, &a->row, a->state, &a->usage, store_now_ms(s),
                               &done);

    if (e || done || a->state == ATTEMPT_ESTIMATED)
        return e;
    if ((e = ledger_find(s->db, row.id, see_usage, &row)) || row.state != ATTEMPT_ESTIMATED)
        return e;
    return ledger_correct(s->db, &s->deltas, &row, a->upstream_id, &a->usage, store_now_ms(s),
                          &done);
}

static enum err lease(struct store *s, struct lease_job *j)
{
    enum err e = OK;

    for (int i = 0; i < j->n && !e; i++) {
        e = ledger_lease(s->db, s->process, &j->ask[i].ask, &j->ask[i].got);
        if (!e && j->ask[i].ask.leave)
            e = ledger_forget(s->db, j->ask[i].ask.budget,
                              j->ask[i].ask.period - INT64_C(62) * 86400);
    }
    return e;
}

static enum err do_job(struct store *s, struct job *job)
{
    const struct head_job *h = (const struct head_job *)job;

    switch (job->kind) {
    case JOB_JOURNAL:
        return s->fenced ? OK : ledger_journal(s->db, &job->attempt->row);
    case JOB_SETTLE:
        return settle(s, job->attempt);
    case JOB_HEAD:
        return db_run(s->db, ST_head_add, (struct db_arg[]){ DB_TEXT(h->chain), DB_INT(h->n),
                      DB_TEXT(h->hash), DB_INT(h->made_ms), DB_TEXT(h->line) }, NULL, NULL, NULL);
    case JOB_KEEP:
    case JOB_FETCH:
        return store_do_kept(s, job);
    case JOB_LEASE:
        return OK;                      /* after ledger_write() */
    }
    return OK;
}

/* A few of the rows that have expired: more than are put. */
static enum err expire(struct store *s, const struct batch *b, bool due)
{
    int n = due ? KEPT_EXPIRE_STEP : 0;

    for (int i = 0; i < b->n; i++)
        n += b->job[i]->kind == JOB_KEEP ? 2 : 0;
    return n ? kept_rows_expire(s->db, store_now_ms(s), n) : OK;
}

static enum err do_all(struct store *s, const struct batch *b, bool due)
{
    enum err e = beat(s, due);

    if (!e && due)
        e = store_clock(s);
    if (!e && due)
        e = store_bury(s);
    if (!e && due)
        e = store_keys_read(s);
    for (int i = 0; i < b->n && !e; i++)
        e = do_job(s, b->job[i]);
    if (!e)
        e = expire(s, b, due);
    if (!e)
        e = ledger_write(s->db, &s->deltas, s->process);
    for (int i = 0; i < b->n && !e; i++)
        if (b->job[i]->kind == JOB_LEASE)
            e = lease(s, (struct lease_job *)b->job[i]);
    return e ? e : db_commit(s->db);
}

static bool needs_alone(const struct batch *b)
{
    for (int i = 0; i < b->n; i++)
        if (b->job[i]->kind == JOB_SETTLE || b->job[i]->kind == JOB_LEASE ||
            b->job[i]->kind == JOB_KEEP)
            return true;
    return false;
}

static enum err transaction(struct store *s, const struct batch *b, bool due)
{
    int64_t began;
    enum err e = db_begin(s->db, due || needs_alone(b));

    s->deltas.n = 0;
    s->fenced = false;
    began = store_mono_ms();
    if (!e)
        e = do_all(s, b, due);
    store_keys_done(s, e == OK);
    if (e) {
        db_rollback(s->db);
        return e;
    }
    if (s->fenced)
        atomic_fetch_add(&s->fences, 1);
    if (due)
        s->beaten_ms = began;
    atomic_store(&s->until_ms, began + s->lease_ms / 3);
    atomic_store(&s->n_commits, db_counts(s->db).commits);
    atomic_store(&s->n_statements, db_counts(s->db).statements);
    return OK;
}

static void put_later(struct store *s, struct job *job)
{
    job->next = NULL;
    *s->later_last = job;
    s->later_last = &job->next;
    atomic_fetch_add(&s->n_later, 1);
}

/* A journal that failed may be in the database all the same: it is settled as never sent. */
static void finish(struct store *s, struct job *job, enum err e)
{
    struct store_attempt *a = job->attempt;
    bool failed = e != OK && job->kind == JOB_JOURNAL;

    if (e)
        err_save(&job->why, e);
    if (failed)
        a->state = ATTEMPT_VOID;
    outbox_put(&s->outbox, &job->item);
    if (failed)
        put_later(s, &a->settle);
}

static void finish_batch(struct store *s, const struct batch *b)
{
    for (int i = 0; i < b->n; i++) {
        bool dead = s->fenced && b->job[i]->kind == JOB_JOURNAL;
        finish(s, b->job[i], dead ? err_set(ERR_BUSY, "WORKER-01", "the ledger had taken this "
                                            "gateway for dead; try again") : OK);
    }
}

/* Without an answer: what must be told is told, what must be written waits. */
static void fail_batch(struct store *s, const struct batch *b, enum err e)
{
    for (int i = 0; i < b->n; i++) {
        if (b->job[i]->kind == JOB_SETTLE)
            put_later(s, b->job[i]);
        else
            finish(s, b->job[i], e);
    }
}

static bool is_gone(enum err e)
{
    return e == ERR_MISSING || e == ERR_BUSY || e == ERR_NOMEM;
}

static void lose(struct store *s, enum err e)
{
    err_save(&s->why, e);
    s->retry_ms = store_mono_ms() + STORE_RETRY_MS;
    atomic_store(&s->gone, true);
}

/* One that the database refuses fails alone. */
static void run_batch(struct store *s, const struct batch *b, bool due)
{
    enum err e = transaction(s, b, due);

    if (e && !is_gone(e) && b->n > 1) {
        for (int i = 0; i < b->n; i++)
            run_batch(s, &(struct batch){ .job = { b->job[i] }, .n = 1 }, false);
        return;
    }
    if (!e) {
        atomic_store(&s->gone, false);
        finish_batch(s, b);
    } else if (is_gone(e) || !b->n) {
        lose(s, e);
        fail_batch(s, b, e);
    } else {
        finish(s, b->job[0], e);
    }
}

static void wait_until(struct store *s, int64_t mono_ms)
{
    int64_t left = mono_ms - store_mono_ms();
    struct timespec t;

    if (left <= 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += left / 1000;
    t.tv_nsec += left % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&s->filled, &s->lock, &t);
}

/* When there is something to do without a new job. */
static int64_t next_ms(const struct store *s)
{
    if (atomic_load(&s->gone))
        return s->retry_ms;
    return s->later ? 0 : s->beaten_ms + s->beat_ms;
}

/* When there is something to do with those that wait. */
static int64_t queue_ms(const struct store *s)
{
    if (!s->first)
        return INT64_MAX;
    return s->n_pressing || s->n_queue > STORE_IDLE_MAX ? 0 : s->idle_ms;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Take what waits, up to a batch; false: it is time to end. */
static bool take(struct store *s, struct batch *b)
{
    int64_t at, nap_ms = store_mono_ms() + STORE_IDLE_MS;
    bool go_on;

    pthread_mutex_lock(&s->lock);
    while (!s->closing && store_mono_ms() < (at = least(queue_ms(s), next_ms(s)))) {
        s->asleep = !s->first && store_mono_ms() >= nap_ms;
        wait_until(s, s->first || s->asleep ? at : least(at, nap_ms));
    }
    s->asleep = false;
    if (s->closing && !s->first && s->later)
        wait_until(s, next_ms(s) < s->close_ms ? next_ms(s) : s->close_ms);
    go_on = s->first || !s->closing || (s->later && store_mono_ms() < s->close_ms);
    while (s->first && b->n < STORE_BATCH_MAX) {
        s->n_pressing -= s->first->kind != JOB_SETTLE || s->first->fn;
        b->job[b->n++] = s->first;
        s->first = s->first->next;
        s->n_queue--;
    }
    if (!s->first)
        s->last = &s->first;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

/* Settlements that waited go first. */
static void take_later(struct store *s, struct batch *b)
{
    struct batch all = { .n = 0 };

    while (s->later && all.n < STORE_BATCH_MAX) {
        all.job[all.n++] = s->later;
        s->later = s->later->next;
        atomic_fetch_sub(&s->n_later, 1);
    }
    if (!s->later)
        s->later_last = &s->later;
    memcpy(all.job + all.n, b->job, (size_t)b->n * sizeof(b->job[0]));
    all.n += b->n;
    *b = all;
}

void *store_worker(void *arg)
{
    struct store *s = arg;
    struct batch b;

    for (;;) {
        b.n = 0;
        if (!take(s, &b))
            break;
        if (atomic_load(&s->gone) && store_mono_ms() < s->retry_ms) {
            fail_batch(s, &b, err_restore(&s->why));
            continue;
        }
        take_later(s, &b);
        bool due = store_mono_ms() - s->beaten_ms >= s->beat_ms || atomic_load(&s->gone);
        if (b.n || due)
            run_batch(s, &b, due);
    }
    while (s->later) {                  /* the database did not come back: told, not written */
        struct job *job = s->later;
        s->later = job->next;
        atomic_fetch_sub(&s->n_later, 1);
        finish(s, job, err_restore(&s->why));
    }
    return NULL;
}
