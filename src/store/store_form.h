/* store_form.h - what the files of the store share: its jobs, and what lies under its lock.
 *
 *   caller: store.c                                worker: store_worker.c
 *   job -> queue ------------------------------->  batch: one transaction
 *                                                  |- written, failed -> outbox -> store_poll()
 *                                                  '- settlements, the database gone -> later
 */
#ifndef STORE_STORE_FORM_H
#define STORE_STORE_FORM_H

#include "store/outbox.h"
#include "store/store.h"

#include <stdatomic.h>

enum {
    STORE_QUEUE_MAX = 8192, STORE_OPEN_MAX = 65536, STORE_BATCH_MAX = 256, STORE_ASKS_MAX = 64,
    STORE_ASKING_MAX = 8,
    STORE_LEASE_MS = 30000, STORE_RETRY_MS = 500, STORE_PEERS_MAX = 256, STORE_RUN_PATH_MAX = 512,
    STORE_KEEP_BYTES = 32 << 20,        /* of rows that wait to be kept aside */
    STORE_FETCH_BYTES = 16 << 20, STORE_FETCH_ROWS_MAX = 256,
};

/* A settlement that nobody waits for goes along with what comes next, or by itself after so long,
 * or when so many wait. */
enum { STORE_IDLE_MS = 50, STORE_IDLE_MAX = STORE_BATCH_MAX / 2 };

enum job_kind { JOB_JOURNAL, JOB_SETTLE, JOB_LEASE, JOB_HEAD, JOB_KEEP, JOB_FETCH };

struct job {
    struct outbox_item item;            /* first: an item is its job */
    struct job *next;
    enum job_kind kind;
    struct store *store;
    struct store_attempt *attempt;      /* of JOURNAL, SETTLE */
    struct err_record why;              /* code OK: done */
    store_fn *fn;
    void *arg;
};

struct store_attempt {
    struct store_attempt *next, *prev;  /* of all that are open */
    struct job journal, settle;
    struct ledger_attempt row;          /* texts in `text` */
    enum attempt_state state;
    struct ledger_usage usage;
    struct limit_grant grant;
    char upstream_id[LEDGER_ID_MAX + 1];
    char text[];
};

struct lease_job { struct job job; int n; struct limit_ask ask[STORE_ASKS_MAX]; };
struct head_job { struct job job; int64_t n, made_ms; char *chain, *hash, *line, text[]; };

/* A picture of the keys on its way to the caller. */
struct keys_item { struct outbox_item item; struct store *store; struct key_rows *rows; };

/* Another process as the worker saw it last. */
struct peer { char id[32]; int64_t beats, seen_ms; bool there; };

struct store {
    struct store_options o;
    char process[32], run_path[STORE_RUN_PATH_MAX], node[72];
    int run_fd, lease_ms, beat_ms;
    struct db *db;                      /* the worker's, once it runs */
    struct limits *limits;              /* the caller's, as are the next four */
    uint64_t next_attempt;
    struct store_attempt *attempts;
    int n_open, n_asking, fences_seen;
    size_t keep_bytes;                  /* the caller's: that wait to be kept aside */
    struct outbox outbox;

    pthread_mutex_t lock;               /* of the rest */
    pthread_cond_t filled;
    pthread_t thread;
    bool running, closing;
    bool asleep;                        /* the worker, for longer than a nap of STORE_IDLE_MS */
    int64_t close_ms;                   /* by when the worker ends, the database gone or not */
    struct job *first, **last;
    int n_queue, n_pressing;            /* pressing: that somebody waits for */
    int64_t idle_ms;                    /* when those that nobody waits for are written, if any */

    _Atomic int64_t clock_ahead_ms;     /* the database's clock less the one that never jumps */
    _Atomic int64_t until_ms;           /* what we leased is ours until then */
    _Atomic int fences;                 /* how often we were taken for dead */
    _Atomic int n_live;                 /* processes, at the last beat; 0: none yet */
    _Atomic bool gone;
    _Atomic int64_t n_commits, n_statements;
    struct job *later, **later_last;    /* the worker's, as is all below */
    _Atomic int n_later;
    int64_t beaten_ms, retry_ms;
    bool fenced;                        /* in this transaction */
    struct err_record why;
    struct peer peer[STORE_PEERS_MAX];
    int n_peer;
    struct ledger_deltas deltas;
    struct keys_item *keys;             /* read in this transaction, or NULL */
    int64_t keys_version;               /* of those that were handed over; -1: none */
};

int64_t store_mono_ms(void);            /* goes on while the machine sleeps */

MUST_CHECK enum err store_enqueue(struct store *s, struct job *job);

/* store_kept.c: a KEEP or FETCH, inside the batch's transaction. */
MUST_CHECK enum err store_do_kept(struct store *s, struct job *job);

void *store_worker(void *store);

/* Inside a transaction that is alone: dead processes of this state folder (by their lock files)
 * and, by their silence, of others. */
MUST_CHECK enum err store_bury(struct store *s);
MUST_CHECK enum err store_bury_ours(struct store *s);
MUST_CHECK enum err store_clock(struct store *s);

/* The keys, where they have changed and somebody wants them; hand them over when the transaction
 * they were read in is done, or drop them. */
MUST_CHECK enum err store_keys_read(struct store *s);
void store_keys_done(struct store *s, bool committed);

/* store_run.c: the file in STATE/run/ that is locked while the process lives. */
MUST_CHECK enum err store_run_lock(struct store *s);
typedef enum err store_dead_fn(struct store *s, const char *process);
MUST_CHECK enum err store_run_dead(struct store *s, store_dead_fn *fn);
void store_run_unlock(struct store *s, bool remove);

#endif
