/* store.c - the caller's side of the store: see store.h and store_form.h. */
#include "store/store_form.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TOKENS_MAX INT64_C(1000000000000000)
enum { TAGS_MAX = 4096 };

int64_t store_mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t store_now_ms(const struct store *s)
{
    return s->o.clock ? s->o.clock() : store_mono_ms() + atomic_load(&s->clock_ahead_ms);
}

enum err store_enqueue(struct store *s, struct job *job)
{
    bool full, pressing = job->kind != JOB_SETTLE || job->fn;

    job->store = s;
    job->next = NULL;
    pthread_mutex_lock(&s->lock);
    /* A settlement is never refused: there are no more of them than attempts. */
    full = s->n_queue >= STORE_QUEUE_MAX && job->kind != JOB_SETTLE;
    if (!full) {
        if (!s->first)
            s->idle_ms = store_mono_ms() + STORE_IDLE_MS;
        if (pressing || s->asleep || s->n_queue == STORE_IDLE_MAX)
            pthread_cond_signal(&s->filled);
        *s->last = job;
        s->last = &job->next;
        s->n_queue++;
        s->n_pressing += pressing;
    }
    pthread_mutex_unlock(&s->lock);
    return full ? err_set(ERR_BUSY, "STORE-01", "%d jobs wait for the ledger already",
                          STORE_QUEUE_MAX) : OK;
}

static void call_back(struct job *job)
{
    if (job->fn)
        job->fn(job->arg, job->why.code ? err_restore(&job->why) : OK);
}

static void leases_came(struct outbox_item *item)
{
    struct lease_job *j = (struct lease_job *)item;
    struct store *s = j->job.store;

    s->n_asking--;
    for (int i = 0; i < j->n; i++) {
        if (j->job.why.code)
            limits_lost(s->limits, &j->ask[i]);
        else
            limits_answer(s->limits, &j->ask[i], store_mono_ms());
    }
    free(j);
    if (s->o.slices)
        s->o.slices(s->o.arg);
}

/* What the database said of us: until when our slices hold, whether they are ours still. */
static void hear(struct store *s)
{
    int fences = atomic_load(&s->fences);

    if (fences != s->fences_seen)
        limits_fence(s->limits);
    s->fences_seen = fences;
    limits_hold_until(s->limits, atomic_load(&s->until_ms));
    if (atomic_load(&s->n_live))
        limits_live(s->limits, atomic_load(&s->n_live));
}

static void ask_for_slices(struct store *s)
{
    struct lease_job *j;

    hear(s);
    if (s->n_asking >= STORE_ASKING_MAX || atomic_load(&s->gone) || !(j = calloc(1, sizeof(*j))))
        return;
    j->job = (struct job){ .kind = JOB_LEASE, .item.run = leases_came };
    j->n = limits_plan(s->limits, store_now_ms(s) / 1000, store_mono_ms(), false, j->ask,
                       STORE_ASKS_MAX);
    if (j->n && store_enqueue(s, &j->job) == OK) {
        s->n_asking++;
        return;
    }
    for (int i = 0; i < j->n; i++)
        limits_lost(s->limits, &j->ask[i]);
    free(j);
}

/* The first slices, before anything is served. */
static enum err first_slices(struct store *s)
{
    struct limit_ask ask[STORE_ASKS_MAX];
    int64_t now = store_now_ms(s) / 1000, mono = store_mono_ms();
    enum err e = OK;
    int n;

    do {
        n = limits_plan(s->limits, now, mono, true, ask, STORE_ASKS_MAX);
        for (int i = 0; i < n && !e; i++) {
            e = ledger_lease(s->db, s->process, &ask[i].ask, &ask[i].got);
            if (!e)
                limits_answer(s->limits, &ask[i], mono);
        }
    } while (n == STORE_ASKS_MAX && !e);
    return e;
}

static enum err join(struct store *s)
{
    int64_t began = store_mono_ms();
    enum err e = db_begin(s->db, true);

    if (e)
        return e;
    if (!(e = store_clock(s)) && !(e = store_bury_ours(s)) &&
        !(e = ledger_join(s->db, s->process, s->node, store_now_ms(s))) &&
        !(e = first_slices(s)) && !(e = store_keys_read(s)))
        e = db_commit(s->db);
    store_keys_done(s, e == OK);
    if (e)
        db_rollback(s->db);
    s->beaten_ms = began;
    atomic_store(&s->until_ms, began + s->lease_ms / 3);
    return e;
}

static enum err set_names(struct store *s)
{
    uint64_t id;

    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
        return err_set(ERR_IO, "STORE-02", "the system gave no random numbers");
    snprintf(s->process, sizeof(s->process), "g%016llx", (unsigned long long)id);
    if (gethostname(s->node, sizeof(s->node) - 1))
        s->node[0] = '\0';
    return OK;
}

static enum err start_worker(struct store *s)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->filled, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    if (pthread_create(&s->thread, NULL, store_worker, s))
        return err_set(ERR_NOMEM, "STORE-03", "cannot start the ledger's thread; the limit on "
                       "threads (ulimit -u) may be reached");
    s->running = true;
    return OK;
}

enum err store_open(struct store **out, const struct store_options *o)
{
    struct store *s = calloc(1, sizeof(*s));
    enum err e;

    *out = NULL;
    if (!s)
        return err_set(ERR_NOMEM, "STORE-04", "no memory to open a ledger");
    s->o = *o;
    s->run_fd = -1;
    s->keys_version = -1;
    s->last = &s->first;
    s->later_last = &s->later;
    s->lease_ms = o->lease_ms ? o->lease_ms : STORE_LEASE_MS;
    s->beat_ms = s->lease_ms / 30 < 1000 ? s->lease_ms / 30 : 1000;
    if ((e = outbox_init(&s->outbox)) || (e = set_names(s)) ||
        (e = limits_new(&s->limits, o->budget, o->n_budget)) || (e = store_run_lock(s)) ||
        (e = db_open(&s->db, o->url, true)) || (o->seldom && (e = db_sync_seldom(s->db))) ||
        (e = join(s)) || (e = start_worker(s))) {
        store_close(s, 0);
        return e;
    }
    hear(s);
    *out = s;
    return OK;
}

static void stop_worker(struct store *s, int wait_ms)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    s->close_ms = store_mono_ms() + wait_ms;
    pthread_cond_signal(&s->filled);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->filled);
    pthread_mutex_destroy(&s->lock);
    s->running = false;
}

/* Leave, when nothing is open; else the file of our lock says that there is something to do. */
static void leave(struct store *s)
{
    bool left = s->n_open == 0 && !db_begin(s->db, true) && !ledger_leave(s->db, s->process) &&
                !db_commit(s->db);

    db_rollback(s->db);
    store_run_unlock(s, left);
}

void store_close(struct store *s, int wait_ms)
{
    bool ran;

    if (!s)
        return;
    if ((ran = s->running))
        stop_worker(s, wait_ms);
    while (s->outbox.fd >= 0 && outbox_run(&s->outbox))
        ;
    if (ran)
        leave(s);
    for (struct store_attempt *a = s->attempts, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    store_run_unlock(s, !ran);
    db_close(s->db);
    limits_free(s->limits);
    outbox_release(&s->outbox);
    ledger_deltas_release(&s->deltas);
    free(s);
}

const char *store_process(const struct store *s)
{
    return s->process;
}

int store_fd(const struct store *s)
{
    return s->outbox.fd;
}

void store_poll(struct store *s)
{
    outbox_run(&s->outbox);
    ask_for_slices(s);
}

enum limit_verdict store_admit(struct store *s, const struct limit_who *who,
                               const struct amount *worst, struct limit_grant *grant, int *budget)
{
    enum limit_verdict v;

    hear(s);
    if (budget)
        *budget = -1;
    if (atomic_load(&s->gone))
        return LIMIT_GONE;
    v = limits_admit(s->limits, who, worst, store_now_ms(s) / 1000, store_mono_ms(), grant,
                     budget);
    if (limits_wanting(s->limits))
        ask_for_slices(s);
    return v;
}

void store_release(struct store *s, const struct limit_grant *grant)
{
    limits_settle(s->limits, grant, &(struct amount){ { 0 } });
}

int store_soft(const struct store *s, const struct limit_grant *grant)
{
    return limits_soft(s->limits, grant);
}

static void journalled(struct outbox_item *item)
{
    call_back((struct job *)item);      /* after an error a void settlement follows */
}

static struct amount used_by(const struct store_attempt *a)
{
    if (a->state == ATTEMPT_VOID)
        return (struct amount){ { 0 } };
    return (struct amount){ { a->row.requests, a->usage.prompt + a->usage.completion,
                              a->usage.cost } };
}

static void settled(struct outbox_item *item)
{
    struct job *job = (struct job *)item;
    struct store_attempt *a = job->attempt;
    struct store *s = job->store;
    struct amount used = used_by(a);

    if (job->why.code)
        used = a->grant.worst;
    limits_settle(s->limits, &a->grant, &used);
    call_back(job);
    if (a->prev)
        a->prev->next = a->next;
    else
        s->attempts = a->next;
    if (a->next)
        a->next->prev = a->prev;
    s->n_open--;
    free(a);
}

static bool plain(const char *text, size_t max, bool spaces)
{
    size_t n = 0;

    for (; text[n] && n <= max; n++)
        if (text[n] > '~' || text[n] < (spaces ? ' ' : '!'))
            return false;
    return n <= max;
}

static enum err check_attempt(const struct store *s, const struct ledger_attempt *a)
{
    if (!plain(a->request, LEDGER_ID_MAX, false) || !plain(a->upstream, LEDGER_NAME_MAX, false) ||
        !plain(a->key, LEDGER_NAME_MAX, false) || !plain(a->team, LEDGER_NAME_MAX, false) ||
        !plain(a->model, LEDGER_NAME_MAX, false) || !plain(a->tags, TAGS_MAX, true))
        return err_set(ERR_ARG, "STORE-05", "a name of the request '%.40s' is too long, or not of "
                       "printable ASCII without spaces", a->request);
    if (a->requests < 0 || a->requests > 1 || a->worst.prompt < 0 || a->worst.completion < 0 ||
        a->worst.cost < 0 || a->worst.prompt > TOKENS_MAX || a->worst.completion > TOKENS_MAX ||
        a->worst.cost > AMOUNT_ATTEMPT_MAX)
        return err_set(ERR_LIMIT, "STORE-06", "the worst case of a request is beyond what one "
                       "attempt may be");
    if (s->n_open >= STORE_OPEN_MAX)
        return err_set(ERR_BUSY, "STORE-07", "%d attempts are open already", STORE_OPEN_MAX);
    return OK;
}

static const char *keep(char **at, const char *text)
{
    size_t n = strlen(text) + 1;
    char *to = memcpy(*at, text, n);

    *at += n;
    return to;
}

static struct store_attempt *copy_attempt(struct store *s, const struct ledger_attempt *r,
                                          const char *charges)
{
    size_t bytes = strlen(r->request) + strlen(r->upstream) + strlen(r->key) + strlen(r->team) +
                   strlen(r->model) + strlen(r->tags) + strlen(charges) + 7 + 64;
    struct store_attempt *a = calloc(1, sizeof(*a) + bytes);
    char *at, id[64];

    if (!a)
        return NULL;
    at = a->text;
    snprintf(id, sizeof(id), "%s-%llu", s->process, (unsigned long long)++s->next_attempt);
    a->row = (struct ledger_attempt){
        .id = keep(&at, id), .process = s->process, .upstream_id = "",
        .request = keep(&at, r->request), .upstream = keep(&at, r->upstream),
        .key = keep(&at, r->key), .team = keep(&at, r->team), .model = keep(&at, r->model),
        .tags = keep(&at, r->tags), .charges = keep(&at, charges), .requests = r->requests,
        .begun_ms = store_now_ms(s), .worst = r->worst,
    };
    return a;
}

enum err store_journal(struct store *s, struct store_attempt **out,
                       const struct ledger_attempt *r, const struct limit_grant *grant,
                       store_fn *fn, void *arg)
{
    struct store_attempt *a = NULL;
    struct buf charges = { 0 };
    enum err e = check_attempt(s, r);

    *out = NULL;
    if (e)
        return e;
    limits_charges(s->limits, grant, &charges);
    if (!buf_ok(&charges))
        a = copy_attempt(s, r, buf_text(&charges));
    buf_release(&charges);
    if (!a)
        return err_set(ERR_NOMEM, "STORE-08", "no memory to journal a request");
    a->grant = *grant;
    a->journal = (struct job){ .kind = JOB_JOURNAL, .item.run = journalled, .attempt = a,
                               .fn = fn, .arg = arg };
    a->settle = (struct job){ .kind = JOB_SETTLE, .store = s, .item.run = settled, .attempt = a };
    if ((e = store_enqueue(s, &a->journal))) {
        free(a);
        return e;
    }
    a->next = s->attempts;
    if (a->next)
        a->next->prev = a;
    s->attempts = a;
    s->n_open++;
    *out = a;
    return OK;
}

const char *store_attempt_id(const struct store_attempt *a)
{
    return a->row.id;
}

static bool cap(int64_t *n, int64_t max)
{
    int64_t was = *n;

    *n = was < 0 ? 0 : was > max ? max : was;
    return *n != was;
}

void store_settle(struct store *s, struct store_attempt *a, enum attempt_state state,
                  const struct ledger_usage *usage, const char *upstream_id, store_fn *fn,
                  void *arg)
{
    struct amount used;
    size_t n = 0;

    ASSERT(state != ATTEMPT_OPEN);
    a->usage = state == ATTEMPT_VOID ? (struct ledger_usage){ 0 } : *usage;
    int odd = cap(&a->usage.prompt, TOKENS_MAX) + cap(&a->usage.completion, TOKENS_MAX) +
              cap(&a->usage.cache_read, TOKENS_MAX) + cap(&a->usage.cache_write, TOKENS_MAX) +
              cap(&a->usage.reasoning, TOKENS_MAX) + cap(&a->usage.cost, AMOUNT_ATTEMPT_MAX);
    a->state = odd && state == ATTEMPT_EXACT ? ATTEMPT_ESTIMATED : state;
    for (; n < LEDGER_ID_MAX && upstream_id[n]; n++)
        a->upstream_id[n] = upstream_id[n] > ' ' && upstream_id[n] <= '~' ? upstream_id[n] : '?';
    a->upstream_id[n] = '\0';
    a->row.upstream_id = a->upstream_id;
    a->settle.fn = fn;
    a->settle.arg = arg;
    used = used_by(a);
    limits_spend(s->limits, &a->grant, &used);
    ASSERT(store_enqueue(s, &a->settle) == OK);
}

static void head_kept(struct outbox_item *item)
{
    call_back((struct job *)item);
    free(item);
}

enum err store_head(struct store *s, const char *chain, int64_t n, const char *hash,
                    int64_t made_ms, const char *line, store_fn *fn, void *arg)
{
    struct head_job *j = calloc(1, sizeof(*j) + strlen(chain) + strlen(hash) + strlen(line) + 3);
    enum err e;
    char *at;

    if (!j)
        return err_set(ERR_NOMEM, "STORE-09", "no memory to keep a head");
    at = j->text;
    j->n = n;
    j->made_ms = made_ms;
    j->chain = at;
    keep(&at, chain);
    j->hash = at;
    keep(&at, hash);
    j->line = at;
    keep(&at, line);
    j->job = (struct job){ .kind = JOB_HEAD, .item.run = head_kept, .fn = fn, .arg = arg };
    if ((e = store_enqueue(s, &j->job)))
        free(j);
    return e;
}

struct store_counts store_counts(struct store *s)
{
    struct store_counts c = { .n_open = s->n_open, .gone = atomic_load(&s->gone),
                              .commits = atomic_load(&s->n_commits),
                              .statements = atomic_load(&s->n_statements) };

    pthread_mutex_lock(&s->lock);
    c.n_waiting = s->n_queue + atomic_load(&s->n_later);
    pthread_mutex_unlock(&s->lock);
    return c;
}
