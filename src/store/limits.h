/* limits.h - budgets as one process sees them: what it has leased, what its calls may still use.
 *
 * A state machine without database or clock: store.c feeds it.  An admission is decided from
 * memory.  Of a hard budget the worst case is reserved until the attempt is settled; a soft one
 * lets everything pass and says when it is used up.  Slices are asked for ahead of need.
 *
 * Times: now_s is the database's clock, UTC; mono_ms one that never jumps. */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#include "store/ledger.h"
#include "store/zone.h"

enum limit_owner { LIMIT_TEAM, LIMIT_KEY, LIMIT_TAG };

/* Texts are borrowed while the limits live; a limit of 0 is none. */
struct limit_budget {
    const char *name, *id;              /* id of the team, key or tag */
    enum limit_owner owner;
    enum span span;
    const char *zone;                   /* NULL: UTC */
    bool hard;
    struct amount limit;
};

/* Who asks: texts borrowed for the call, none NULL; tags separated by spaces. */
struct limit_who { const char *team, *key, *tags; };

struct limit_grant {
    int n;
    struct { int budget; int64_t period; } at[LEDGER_CHARGES_MAX];
    struct amount worst;
    uint64_t epoch;
    int soft;                           /* a soft budget that is used up, or -1 */
};

enum limit_verdict {
    LIMIT_GRANTED,
    LIMIT_REFUSED,                      /* a hard budget is used up until its period ends */
    LIMIT_LATER,                        /* a slice is on its way: ask again when one has come */
    LIMIT_GONE,                         /* no word from the database for too long */
    LIMIT_TOO_MANY,                     /* more budgets than LEDGER_CHARGES_MAX are of one call */
};

struct limits;

/* Errors: MISSING, FORMAT (a time zone), NOMEM. */
MUST_CHECK enum err limits_new(struct limits **out, const struct limit_budget *budget, int n);
void limits_free(struct limits *l);

/* A word came from the database: what was leased holds until then. */
void limits_hold_until(struct limits *l, int64_t mono_ms);

/* So many processes share the budgets: when that changes everything is asked for again, and what
 * is more than a share goes back. */
void limits_live(struct limits *l, int live);

/* This process was taken for dead: its slices are others' now.  Earlier grants hold no more. */
void limits_fence(struct limits *l);

/* *grant is set on GRANTED; else *budget (or NULL) is the index that stood in the way, or -1. */
enum limit_verdict limits_admit(struct limits *l, const struct limit_who *who,
                                const struct amount *worst, int64_t now_s, int64_t mono_ms,
                                struct limit_grant *grant, int *budget);

/* A call is over, and what it used is on its way to the ledger: a soft budget counts it from
 * here. */
void limits_spend(struct limits *l, const struct limit_grant *g, const struct amount *used);

/* A soft budget of a grant that is used up by now, or -1.  What the ledger answers to what a call
 * was short of is known before it may be sent: only calls in flight by then had no warning. */
int limits_soft(const struct limits *l, const struct limit_grant *g);

/* The end of a grant, once: what was used of it (limits_spend()'s), in the ledger by now. */
void limits_settle(struct limits *l, const struct limit_grant *g, const struct amount *used);

/* The charges of a grant as the ledger keeps them. */
struct buf;
void limits_charges(const struct limits *l, const struct limit_grant *g, struct buf *out);

/* What to ask the database now: at most `max`, each answered by limits_answer() or limits_lost(),
 * in order.  `opening`: everything, at the start. */
struct limit_ask {
    struct ledger_ask ask;
    struct ledger_slice got;            /* the database's answer, filled in by the caller */
    struct amount whole;                /* the largest need of one call */
    int budget;
    uint64_t epoch;
};
int limits_plan(struct limits *l, int64_t now_s, int64_t mono_ms, bool opening,
                struct limit_ask *ask, int max);
void limits_answer(struct limits *l, const struct limit_ask *ask, int64_t mono_ms);
void limits_lost(struct limits *l, const struct limit_ask *ask);

/* An admission asked for more than there is: limits_plan() has something to ask. */
bool limits_wanting(const struct limits *l);

#endif
