/* ledger.h - what the ledger knows: attempts, spend, budgets, slices, processes.  Blocking.
 *
 * The store's thread calls this for a gateway, commands call it themselves.  All functions run
 * inside a transaction of the caller's (db_begin); those that say "alone" in one that is alone.
 *
 *   journalled -> open -> exact       usage arrived
 *                      -> estimated   it did not; may be corrected to exact once, by a bill
 *                      -> void        never sent; costs nothing
 *
 * The sum that is always true, of each budget and period: used + all slices <= limit, as far as
 * attempts use no more than their worst case. */
#ifndef STORE_LEDGER_H
#define STORE_LEDGER_H

#include "store/amount.h"
#include "store/db.h"

#include <stddef.h>

enum { LEDGER_NAME_MAX = 128, LEDGER_ID_MAX = 256, LEDGER_CHARGES_MAX = 32 };

enum attempt_state { ATTEMPT_OPEN, ATTEMPT_EXACT, ATTEMPT_ESTIMATED, ATTEMPT_VOID };

/* Tokens and 10^-12 dollar.  Cached tokens are prompt tokens, reasoning is completion. */
struct ledger_usage {
    int64_t prompt, completion, cache_read, cache_write, reasoning, cost;
};

/* One call to an upstream.  Texts are borrowed, none is NULL; lists are separated by spaces. */
struct ledger_attempt {
    const char *id, *process, *request;         /* ours; request: all attempts of one request */
    const char *upstream, *upstream_id;         /* whose, and its own id, "" until it said */
    const char *key, *team, *model, *tags;
    const char *charges;                        /* "budget=period ..." */
    enum attempt_state state;
    bool reconciled;
    int64_t begun_ms, ended_ms;                 /* UTC; ended 0 while open */
    int64_t requests;                           /* 1, or 0 for what repeats one */
    struct ledger_usage worst, usage;
};

/* What a transaction adds to sums, put together before it is written. */
struct ledger_delta {
    char name[LEDGER_NAME_MAX + 1];
    bool spend;                         /* of a key and day, else of a budget and period */
    int64_t when;
    struct amount used, slice;          /* slice: of that, what the process had leased */
};
struct ledger_deltas { struct ledger_delta *delta; size_t n, cap; };

MUST_CHECK enum err ledger_write(struct db *db, struct ledger_deltas *deltas, const char *process);
void ledger_deltas_release(struct ledger_deltas *deltas);

/* A process begins.  Alone. */
MUST_CHECK enum err ledger_join(struct db *db, const char *process, const char *node,
                                int64_t now_ms);

/* Journal an attempt; doing it twice is doing it once. */
MUST_CHECK enum err ledger_journal(struct db *db, const struct ledger_attempt *a);

/* Settle one that is open, as `state` with `usage`: *done says whether it was.  Alone. */
MUST_CHECK enum err ledger_settle(struct db *db, struct ledger_deltas *deltas,
                                  const struct ledger_attempt *a, enum attempt_state state,
                                  const struct ledger_usage *usage, int64_t now_ms, bool *done);

/* Make an estimated one exact: *done says whether it was estimated.  `a` is as the ledger has it.
 * Alone. */
MUST_CHECK enum err ledger_correct(struct db *db, struct ledger_deltas *deltas,
                                   const struct ledger_attempt *a, const char *upstream_id,
                                   const struct ledger_usage *usage, int64_t now_ms, bool *done);

/* A process has ended: its open attempts are estimated at their worst case, its slices return.
 * With `beats` only if it has still that many.  Alone.  *n_open (or NULL): how many there were. */
MUST_CHECK enum err ledger_take_over(struct db *db, const char *process, const int64_t *beats,
                                     int64_t now_ms, int *n_open);

/* A process ends by itself, nothing open: its slices return.  Alone. */
MUST_CHECK enum err ledger_leave(struct db *db, const char *process);

/* Ask for a slice of a budget and period.  Alone, and after ledger_write().
 * `back` is returned first; then as much is leased as the process's share is short of, and at
 * least `need` more where there is so much.  share: this part of what is fair, where others are. */
struct ledger_ask {
    const char *budget;
    int64_t period;
    struct amount limit, back, need;    /* limit 0: none */
    int share;
    bool leave;                         /* the slice is given back whole; nothing is leased */
};
struct ledger_slice { struct amount held, goal, free; int live; };  /* free: nobody's; processes */
MUST_CHECK enum err ledger_lease(struct db *db, const char *process, const struct ledger_ask *ask,
                                 struct ledger_slice *out);

/* Rows of a budget's periods before that one are no longer needed.  Alone. */
MUST_CHECK enum err ledger_forget(struct db *db, const char *budget, int64_t period);

/* Call `fn` with each attempt whose id, request or upstream's id it is. */
typedef enum err ledger_attempt_fn(void *arg, const struct ledger_attempt *a);
MUST_CHECK enum err ledger_find(struct db *db, const char *id, ledger_attempt_fn *fn, void *arg);

/* The charges of a text, one after another: false at its end, or where it is none. */
bool ledger_charge(const char **charges, char budget[LEDGER_NAME_MAX + 1], int64_t *period);

/* Sums over attempts, those never sent left out; sorted by name.  Attempts with several tags are
 * in the sum of each.  *out is yours: free(). */
enum ledger_by { BY_KEY, BY_TEAM, BY_MODEL, BY_TAG, BY_DAY, BY_N };
struct ledger_sum {
    char name[LEDGER_NAME_MAX + 1];     /* "" for those without; days as 2026-11-28 */
    int64_t attempts, exact, estimated, open, prompt, completion;
    int64_t dollars, picodollars;       /* the cost: whole, and the rest below one dollar */
};
MUST_CHECK enum err ledger_sums(struct db *db, enum ledger_by by, struct ledger_sum **out,
                                size_t *n);

#endif
