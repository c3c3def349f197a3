/* attempts.h - one request on its way down a list of candidates: what to do next, and when to stop.
 *
 * A state machine without socket or clock.  It owns the circuit pass of the attempt that lives.
 *
 *             .--------------- attempts_wake ----------------.
 *             v                                              |
 *   start -> SEND --(outcome)--> SEND | WAIT until at_ms ----'
 *             |                       | FAIL (one error to the client)   -> over
 *             '-(it ended well)-> DONE (its own terminal event)          -> over
 *
 * The caller, on each SEND: asks budget and journal, writes the body for `model`, sends, and says
 * what happened: attempts_well() at the first good bytes, attempts_visible() before anything the
 * client can see is handed on, attempts_outcome() at the end, once.  Whatever it is told next, the
 * old attempt is over by then: the caller has closed it.
 *
 * What is always true: at most one attempt lives; no more than ATTEMPTS_MAX are made; none begins
 * or waits beyond the deadline; after something visible nothing is sent again but a continuation,
 * at a model that accepts `continue`, of text alone; a candidate further up than one that got the
 * text is not asked again (prove_paths.c); a kind of path is used where the candidate's rules let
 * it. */
#ifndef GATEWAY_ATTEMPTS_H
#define GATEWAY_ATTEMPTS_H

#include "gateway/choose.h"
#include "gateway/circuit.h"

enum {
    ATTEMPTS_MAX = 32,                  /* of one request */
    ATTEMPTS_AGAIN = 1,                 /* at a member that failed, while another is left ... */
    ATTEMPTS_AGAIN_LAST = 2,            /* ... and at the last one */
    ATTEMPTS_WAIT_MS = 250,             /* before the first of those; then twice as long */
    ATTEMPTS_WAIT_MS_MAX = 10000,       /* longer waits are the client's: 429 or 503, Retry-After */
    ATTEMPTS_OPEN_MS_MAX = 1000,        /* the same for an upstream whose circuit is open */
};

/* How an attempt ended. */
enum attempts_end {
    /* nothing of the text got there */
    END_UNSENT,                         /* not sent: no budget, no journal, refused by the guard;
                                           the caller has the words.  No other is tried */
    END_FULL,                           /* not sent: max_in_flight, and its queue is full */
    END_DNS, END_CONNECT, END_TLS,
    /* it may have got it */
    END_FIRST_BYTE, END_IDLE, END_TOTAL, END_CLOSED, END_PROTOCOL, END_TOO_LARGE,
    END_STATUS,                         /* an HTTP error; a 200 whose body is one, by its class */
    END_STREAM_ERROR,                   /* an error event inside a stream */
    END_WELL,                           /* the answer is whole */
    END_N
};

/* What an upstream's error means, whatever it was carried by. */
enum attempts_class {
    CLASS_FAILED,                       /* 408, 409, 425, 5xx, 529, unknown */
    CLASS_LIMIT, CLASS_SPENT, CLASS_DENIED,     /* 429; insufficient_quota, 402; 401, 403 */
    CLASS_NO_MODEL,                     /* 404: that upstream has not what was configured */
    CLASS_CONTEXT,                      /* the text is too long for it; 413 */
    CLASS_REQUEST,                      /* any other 4xx: the request is wrong everywhere */
};

struct attempts_outcome {
    enum attempts_end end;
    enum attempts_class error;          /* of STATUS and STREAM_ERROR */
    int64_t retry_after_ms;             /* -1: not said */
    int should_retry;                   /* x-should-retry: 0, 1; -1: not said */
};

/* The class of an HTTP status; `spent` and `context`: what its body says. */
enum attempts_class attempts_class_of(int status, bool spent, bool context);

/* Something the client can see.  Only text can be continued; reasoning that a continuation begins
 * with is not for the client. */
enum attempts_seen { SEEN_TEXT = 1, SEEN_REASONING = 2, SEEN_CALL = 4 };

enum attempts_error {
    ATTEMPTS_OK,
    ATTEMPTS_UNSENT,                    /* the caller's own words */
    ATTEMPTS_REQUEST,                   /* the upstream's words: 400 */
    ATTEMPTS_CONTEXT,                   /* 400: too long for all that may have it */
    ATTEMPTS_LIMIT,                     /* 429 with retry_after_ms */
    ATTEMPTS_OVERLOADED,                /* 503: no upstream takes calls now; retry_after_ms */
    ATTEMPTS_UPSTREAM,                  /* 502 */
    ATTEMPTS_DEADLINE,                  /* 504 */
};

enum attempts_do { DO_SEND, DO_WAIT, DO_DONE, DO_FAIL };

struct attempts_step {
    enum attempts_do what;
    /* SEND */
    int candidate, model, upstream, key;
    enum path_kind kind;                /* CALL, FALLBACK, RETRY, CONTINUATION; or the request's */
    int number;                         /* 0, 1, ...: of this request */
    int64_t connect_ms, first_byte_ms, idle_ms, total_ms;   /* none beyond the deadline */
    /* WAIT: call attempts_wake() then */
    int64_t at_ms;
    /* FAIL */
    enum attempts_error error;
    int64_t retry_after_ms;             /* for the client, -1: not known */
};

/* All of it is the module's own; the caller keeps the memory, one for each request. */
struct attempts {
    const struct config *c;             /* borrowed, as are the next two, until it is over */
    struct circuits *circuits;
    const struct choice *choice;
    struct circuit_pass pass;
    enum { ATTEMPTS_IDLE, ATTEMPTS_LIVE, ATTEMPTS_WAITING, ATTEMPTS_OVER } state;
    int64_t deadline_ms, wake_ms;
    uint64_t random;
    int at, lowest;                     /* the candidate in work; the first that may be asked */
    int n_sent, n_wait, same;           /* same: whom the wait is for, or -1 */
    unsigned char n_again[MEMBERS_MAX]; /* sent again after a failure */
    unsigned char n_key[MEMBERS_MAX];   /* sent again with another key */
    bool got[MEMBERS_MAX], out[MEMBERS_MAX];    /* it may have the text; it is not asked again */
    unsigned seen;
    bool may_continue, well, dead;      /* dead: the one that the choice is held to */
    bool failed;                        /* something went wrong, `last` at last */
    struct attempts_outcome last;
};

struct attempts_options {
    const struct config *c;
    struct circuits *circuits;
    const struct choice *choice;        /* an allowed one */
    int64_t now_ms;
    uint64_t random;                    /* spreads waits */
    bool may_continue;                  /* one answer of plain text, so that its rest can be asked
                                           for: no schema, one choice, no log probabilities */
};

/* Begin.  The deadline is now and the longest `total` of the upstreams that may be asked. */
struct attempts_step attempts_start(struct attempts *a, const struct attempts_options *o);

/* Of the attempt that lives: it answers (status 200 and a first event that is no error). */
void attempts_well(struct attempts *a, int64_t now_ms);

/* Of the attempt that lives, before bytes are handed to the client: what they show. */
void attempts_visible(struct attempts *a, unsigned seen);

/* The attempt that lived has ended: what next. */
struct attempts_step attempts_outcome(struct attempts *a, const struct attempts_outcome *o,
                                      int64_t now_ms);

/* The time that WAIT named has come. */
struct attempts_step attempts_wake(struct attempts *a, int64_t now_ms);

/* The client left, at any time: no further step, nothing is held against the upstream. */
void attempts_cancel(struct attempts *a);

/* "first_byte", "status" ...; "overloaded" ...: for logs and metrics. */
const char *attempts_end_word(enum attempts_end end);
const char *attempts_error_word(enum attempts_error error);

#endif
