/* circuit.h - circuit breakers: which upstream, and which of its keys, may be asked now.
 *
 *            CIRCUIT_TRIP failures in the window,                    its end, and a live
 *            and half of all that ended there                        request or a probe
 *   CLOSED ---------------------------------------> OPEN until T --------------------> HALF
 *     ^                                              ^                                  |  |
 *     |                 it failed: twice as long ----'----------------------------------'  |
 *     '-------------------------------------------------------------- it went well --------'
 *
 * A key has a circuit of its own: 429 holds it for as long as Retry-After says, spent money and a
 * refused key for longer; the others of that upstream go on.  An upstream whose keys are all held
 * is not open, but has nothing to give: CIRCUIT_LIMITED.  Retry-After of another failure holds the
 * upstream.
 *
 * Times are milliseconds of a clock that never jumps, given by the caller.  One thread.  Nothing is
 * allocated after circuits_new(). */
#ifndef GATEWAY_CIRCUIT_H
#define GATEWAY_CIRCUIT_H

#include "gateway/config.h"

enum {
    CIRCUIT_WINDOW_MS = 10000, CIRCUIT_BUCKETS = 10,    /* failures are counted over this */
    CIRCUIT_TRIP = 5,                   /* failures that open, if half of what ended failed */
    CIRCUIT_OPEN_MS = 2000, CIRCUIT_OPEN_MS_MAX = 60000,
    CIRCUIT_LIMIT_MS = 1000, CIRCUIT_LIMIT_MS_MAX = 60000,  /* 429 that does not say how long */
    CIRCUIT_SPENT_MS = 60000, CIRCUIT_SPENT_MS_MAX = 3600000,
    CIRCUIT_HOLD_MS_MAX = 3600000,      /* the longest that Retry-After is believed */
};

struct circuits;

/* One breaker for each upstream of the configuration and one for each of its keys (one where it
 * has none).  The configuration is not kept.  *out is yours: circuits_free().  Errors: NOMEM.
 * `from` (or NULL) are the circuits of the configuration before: an upstream of the same name, url
 * and number of keys goes on as it was. */
MUST_CHECK enum err circuits_new(struct circuits **out, const struct config *c,
                                 const struct circuits *from);
void circuits_free(struct circuits *x);

enum circuit_verdict {
    CIRCUIT_GO,
    CIRCUIT_LIMITED,                    /* every key is held: not before until_ms */
    CIRCUIT_CLOSED_TO_ALL,              /* the upstream is open, or its trial still runs */
};

/* A right to ask once, given back once, by circuit_drop().  trial, key_trial: everybody else waits
 * for how this one ends.  With other circuits than those that gave it, it says nothing. */
struct circuit_pass {
    int upstream, key;                  /* key: index of config_upstream.keys, 0 where none */
    bool trial, key_trial, live, probe;
    uint32_t life;                      /* of the circuits that gave it */
};

/* Take the next key in turn that is not held.  *until_ms is set where the verdict is not GO: the
 * earliest time to ask again. */
enum circuit_verdict circuit_take(struct circuits *x, int upstream, int64_t now_ms,
                                  struct circuit_pass *pass, int64_t *until_ms);

/* What circuit_take() would say, without taking. */
enum circuit_verdict circuit_peek(const struct circuits *x, int upstream, int64_t now_ms,
                                  int64_t *until_ms);

enum circuit_result {
    CIRCUIT_WELL,                       /* it answers: said at the first good bytes */
    CIRCUIT_FAILED,                     /* DNS, connection, TLS, 5xx, 408, a timeout, a cut */
    CIRCUIT_LIMIT,                      /* 429: the key has to wait */
    CIRCUIT_SPENT,                      /* 402, insufficient_quota: the key has no money */
    CIRCUIT_DENIED,                     /* 401, 403: the key is not taken */
};

/* What was learned; may be said several times for one pass (WELL at its first bytes, FAILED when
 * it breaks off).  The first time ends a trial.  retry_after_ms: what it asked for, -1: nothing. */
void circuit_report(struct circuits *x, struct circuit_pass *pass, enum circuit_result result,
                    int64_t retry_after_ms, int64_t now_ms);

/* The end of a pass, always and once; a trial that nobody reported (the client left, a 400) leaves
 * things as they were, and the next one tries. */
void circuit_drop(struct circuits *x, struct circuit_pass *pass);

/* Called about every second: an upstream that wants to be probed, -1: none.  A probe is a request
 * that costs no tokens (GET models, with key pass->key) and ends in circuit_report(WELL or FAILED)
 * and circuit_drop().  A probe that goes well closes an open upstream, but what comes next is still
 * on trial for how long it stays shut: only live success forgets that. */
int circuit_probe(struct circuits *x, int64_t now_ms, struct circuit_pass *pass);

/* For metrics and for humans.  until_ms: of OPEN, and of a held key; 0 otherwise. */
enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_HALF };
struct circuit_seen { enum circuit_state state; int64_t until_ms; uint64_t n_opened; };
struct circuit_seen circuit_see(const struct circuits *x, int upstream, int64_t now_ms);
struct circuit_seen circuit_see_key(const struct circuits *x, int upstream, int key,
                                    int64_t now_ms);
const char *circuit_word(enum circuit_state state);

#endif
