/* store.h - a gateway's ledger: attempts, budgets and heads, without waiting for the database.
 *
 *   admit -> journal -> (its callback: send the request) -> settle
 *        \-> LATER: again after `slices`        \-> an error: do not send; nothing to settle
 *
 * One thread of the store's own talks to the database; every function here is called from one
 * thread, the gateway's loop, and returns at once, store_open() and store_close() apart.  What is
 * finished waits in store_fd() for store_poll(), which calls back.
 *
 * While the database is gone admissions are LIMIT_GONE or journals fail with MISSING: 503.  What
 * was sent before may end: its settlement is kept until the database is back.  A process that is
 * killed leaves its attempts open; the next one of its state folder, or after lease_ms any other,
 * settles them as estimated at their worst case, and its slices return. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/kept_rows.h"
#include "store/key_rows.h"
#include "store/limits.h"

/* A change of the keys is known within this time, while the database answers. */
enum { KEYS_FRESH_MS = 2000 };

struct store;
struct store_attempt;

struct store_options {
    const char *url;                    /* db_open() */
    const char *state;                  /* folder of this machine's gateways, borrowed while the
                                           store lives; NULL: none */
    const struct limit_budget *budget;  /* borrowed while the store lives */
    int n_budget;
    bool seldom;                        /* db_sync_seldom() */
    int lease_ms;                       /* silence after which others are dead: 0 is 30,000 */
    int64_t (*clock)(void);             /* UTC in ms; NULL: the database's */
    void (*slices)(void *arg);          /* on store_poll(): slices came, ask again what is LATER */

    /* On store_poll(), the first time as soon as there is a poll, then when the table of keys has
     * changed (also inside store_close(), and a store_open() that fails late): it is taken,
     * key_rows_free().  NULL: keys are not read. */
    void (*keys)(void *arg, struct key_rows *taken);
    void *arg;
};

/* Connect, make or mend the schema, settle what dead processes left, lease first slices.
 * *out is yours: store_close().  Errors: as db_open(); IO of the state folder. */
MUST_CHECK enum err store_open(struct store **out, const struct store_options *o);

/* Write what is in work, for at most `wait_ms` while the database is gone, and leave.  Callbacks
 * that were not called yet are called.  Attempts that were not settled stay open: the next start
 * estimates them. */
void store_close(struct store *s, int wait_ms);

/* This process in the ledger and the audit log: "g" and 16 hexadecimal digits. */
const char *store_process(const struct store *s);

int store_fd(const struct store *s);    /* readable: call store_poll() */
void store_poll(struct store *s);       /* also every second, at least */

/* Whether a call may be made: limits.h.  A grant ends with store_settle(), or with
 * store_release() when nothing was journalled. */
enum limit_verdict store_admit(struct store *s, const struct limit_who *who,
                               const struct amount *worst, struct limit_grant *grant, int *budget);
void store_release(struct store *s, const struct limit_grant *grant);
int store_soft(const struct store *s, const struct limit_grant *grant);     /* limits_soft() */

/* Journal an attempt: id, process, charges and begun_ms are set here; texts are copied.  `fn` is
 * called once it is on disk, or with an error, which is err_text(): then it must not be sent, and
 * the attempt is gone.  *out is borrowed until it is settled or failed.  Errors at once, and `fn`
 * is not called: BUSY (too many wait), NOMEM, ARG (a text with a space, or too long), LIMIT.  The
 * grant is then still the caller's. */
typedef void store_fn(void *arg, enum err e);
MUST_CHECK enum err store_journal(struct store *s, struct store_attempt **out,
                                  const struct ledger_attempt *a, const struct limit_grant *grant,
                                  store_fn *fn, void *arg);
const char *store_attempt_id(const struct store_attempt *a);

/* Settle a journalled attempt, once; it is gone then.  upstream_id may be "".  `fn` (or NULL) is
 * called when that is on disk; without one it may take STORE_IDLE_MS until it is.  A usage that no
 * attempt can have is capped and estimated. */
void store_settle(struct store *s, struct store_attempt *a, enum attempt_state state,
                  const struct ledger_usage *usage, const char *upstream_id, store_fn *fn,
                  void *arg);

/* Keep a copy of an audit chain's head.  Errors: BUSY, NOMEM; afterwards by `fn`. */
MUST_CHECK enum err store_head(struct store *s, const char *chain, int64_t n, const char *hash,
                               int64_t made_ms, const char *line, store_fn *fn, void *arg);

/* UTC in ms, as the ledger has it. */
int64_t store_now_ms(const struct store *s);

/* Keep a row aside, a copy.  `fn` (or NULL) is called when it is there, or with an error; a lost
 * row is no harm to anybody.  Errors at once: LIMIT (a row too large), BUSY (too much waits),
 * NOMEM. */
MUST_CHECK enum err store_keep(struct store *s, const struct kept_row *row, store_fn *fn,
                               void *arg);

/* Ask for the rows of a key with these names, at most KEPT_NAMES_MAX.  `fn` is called in any case,
 * also inside store_close(): rows are borrowed for the call.  How long that takes is the database's
 * affair: who cannot wait goes on without.  Errors at once, and `fn` is not called: BUSY, NOMEM. */
typedef void store_kept_fn(void *arg, enum err e, const struct kept_row *row, int n);
MUST_CHECK enum err store_fetch(struct store *s, const char *key,
                                const char (*name)[KEPT_NAME_BYTES], int n, store_kept_fn *fn,
                                void *arg);

/* For metrics: attempts journalled and not settled; jobs that wait; is the database gone?  And
 * what the store's thread has asked of it. */
struct store_counts { int n_open, n_waiting; bool gone; int64_t commits, statements; };
struct store_counts store_counts(struct store *s);

#endif
