/* door_form.h - inside door: what its files share.
 *
 *   door_ask.c   a request: who asks, what it says, its labels, who may answer
 *      |
 *      v  attempts.h says what next: send, wait, done, fail
 *   door_try.c   an attempt:  room in the lane -> a grant -> audit row and journal -> door_leave.c
 *      |                      LANE             SLICE       BOOKS                      SENT
 *      v
 *   door_reply.c what the upstream says, to the client
 *
 * A *world* is one loaded configuration with all that follows from it; requests hold the one they
 * began under.  *Books* are a ledger and an audit log that are open; worlds share them while they
 * say the same of them.  A *lane* is the room before an upstream (max_in_flight), and is shared by
 * worlds by the upstream's name.  Everything is of the loop's thread. */
#ifndef DOOR_DOOR_FORM_H
#define DOOR_DOOR_FORM_H

#include "door/door.h"

#include "base/arena.h"
#include "base/term.h"
#include "gateway/aside.h"
#include "gateway/attempts.h"
#include "gateway/cost.h"
#include "gateway/detect.h"
#include "gateway/keyring.h"
#include "gateway/sealed.h"
#include "http/client.h"
#include "http/server.h"
#include "store/audit.h"
#include "store/store.h"
#include "wire/carry.h"

enum {
    LANE_WAITING_MAX = 1024,            /* requests that wait before one upstream */
    SLICE_WAIT_MS = 5000,               /* for a part of a budget from the ledger ... */
    BOOKS_WAIT_MS = 5000,               /* ... for audit row and journal to be written */
    HOLD_MS = 100,                      /* the start of a stream waits so for what is visible */
    HOLD_LONG_MS = 2000,                /* what opens a part of it, so long */
    QUIET_MS = 20000,                   /* then a reply is opened, whatever an upstream says */
    ERROR_BYTES_MAX = 1 << 20,          /* of an upstream's error reply */
    KEPT_WAIT_MS = 500,                 /* for what the ledger keeps of a conversation */
    KEPT_ASK_MAX = 256,                 /* handles that the ledger is asked for */
    CLOSE_WAIT_MS = 5000,               /* for the ledger, at the end */
    TAGS_BYTES_MAX = 1024,
    BYTES_PER_TOKEN = 4,                /* of an estimate */
};

struct ask;

/* ---- door_lane.c: room before an upstream --------------------------------------------------- */

struct lane {
    struct lane *next;
    char *name;                         /* the upstream's */
    uint32_t max, busy;                 /* max 0: no bound */
    uint64_t turn;                      /* of who went in last */
    struct ask *first, **last;          /* that wait */
    int n_waiting, refs;
};

/* The lane of a name, made where there is none; NULL: no memory. */
struct lane *lane_take(struct lane **all, const char *name, uint32_t max);
void lane_drop(struct lane **all, struct lane *l);

/* Go in at once (true), or stand in the queue; *full: it has no room either. */
bool lane_enter(struct lane *l, struct ask *a, bool *full);
void lane_leave(struct lane *l);        /* one that was in; the next is let in: try_entered() */
void lane_quit(struct lane *l, struct ask *a);      /* one that waits */

/* ---- door_books.c: the ledger and the audit log --------------------------------------------- */

struct books {
    struct books *next;
    struct door *d;
    int refs;
    struct buf same;                    /* what the configuration says of them */
    struct arena arena;                 /* of the budgets and the two paths */
    const char *state, *head;           /* head NULL: none */
    struct limit_budget *budget;
    int n_budget;
    struct store *store;
    struct audit *audit;
    struct loop_watch *store_watch, *audit_watch;
    struct keyring *keyring;            /* NULL: not read yet */
    bool keyless;                       /* there was never a key */
    struct ask *later;                  /* that wait for slices */
};

/* *out is yours: books_drop().  Those of `d` that are the same are taken again. */
MUST_CHECK enum err books_take(struct books **out, struct door *d, const struct config *c);
void books_drop(struct books *b);       /* closed on the next tick, when nobody has them */
void books_sweep(struct door *d, bool all);
void books_poll(struct door *d);
bool books_count_dollars(const struct books *b, const struct limit_who *who);

/* ---- door_world.c: one configuration -------------------------------------------------------- */

struct world_upstream {
    const struct wire_dialect *dialect;
    struct lane *lane;
    char **key;                         /* [config's keys_count], secrets */
    int n_key;
};

struct world_label { struct pattern **pattern; unsigned n; };

struct world {
    struct world *next;
    struct door *d;
    int refs;
    int64_t made;                       /* Unix seconds */
    struct config *c;
    struct policy *policy;
    struct circuits *circuits;
    struct prices **prices;             /* [n_prices] */
    const struct price **price;         /* [models_count], NULL: it has none */
    struct world_upstream *upstream;
    struct world_label *label;          /* [labels_count] */
    struct sealer *sealer;              /* NULL: what is kept aside stays in memory */
    struct books *books;
    unsigned n_prices;
};

/* d NULL: to look at alone; it has no secrets, lanes and books. */
MUST_CHECK enum err world_new(struct world **out, struct door *d, const char *path);
void world_drop(struct world *w);
const struct wire_dialect *world_dialect(const struct config_upstream *u);

/* ---- the door ------------------------------------------------------------------------------- */

/* How requests ended, for metrics. */
enum door_end { DOOR_DONE, DOOR_REFUSED, DOOR_FORBIDDEN, DOOR_QUOTA, DOOR_FAILED, DOOR_LEFT,
                DOOR_END_N };

struct door_counts {
    uint64_t request[DOOR_END_N];
    uint64_t attempt[END_N];
    uint64_t exact, estimated, unsent, probes;
    uint64_t kept_late, kept_shut;      /* of the ledger: came too late, did not open */
    int64_t prompt_tok, completion_tok, picodollars;
};

struct door {
    const char *path;
    struct server *server;
    struct client *client;
    struct access *access;
    int access_fd;
    struct loop_timer *tick;
    struct world *world;                /* of new requests; the first of all */
    struct books *books;                /* all */
    struct lane *lanes;                 /* all */
    struct aside *aside;
    struct ask *asks;                   /* all */
    struct probe *probes;
    int n_ask;
    uint64_t random, made;              /* of a counter-based generator */
    bool draining, closing;
    double started;
    struct door_counts n;
};

uint64_t door_random(struct door *d);
int64_t door_now_ms(void);

/* ---- door_ask.c: a request ------------------------------------------------------------------ */

/* KEPT: the ledger is asked what it keeps; ENTER: let in from the queue, on the next turn of the
 * loop. */
enum ask_state { ASK_NEW, ASK_KEPT, ASK_LANE, ASK_ENTER, ASK_SLICE, ASK_BOOKS, ASK_SENT,
                 ASK_WAIT, ASK_OVER };

/* Who asks.  The scopes are borrowed from keyring and configuration, for this call of the loop. */
struct who {
    char key[KEY_ID_MAX + 1];           /* "" where nobody is asked for one */
    char team[CONFIG_NAME_MAX + 1];     /* "" without */
    char tags[TAGS_BYTES_MAX];
    uint64_t labels;
    struct choice_scope names, team_names;
};

/* One attempt. */
struct try {
    struct attempts_step step;
    struct lane *lane;                  /* that it is in */
    struct limit_grant grant;
    struct store_attempt *attempt;      /* NULL: not journalled, or settled */
    struct ledger_usage worst;
    int pending;                        /* of audit row and journal */
    bool granted, refused_books;
    struct buf body;                    /* that is sent */
    struct wire_notes notes;
    struct client_req *req;
    struct wire_answer answer;
    struct wire_usage begin, usage;     /* as BEGIN and DONE say it */
    struct buf whole;                   /* a reply that is no stream */
    struct wire_error why;
    int64_t retry_after_ms;
    int should_retry;                   /* -1: not said */
    int status;
    unsigned seen;
    int64_t n_ended;                    /* choices */
    uint64_t n_seen;                    /* bytes of it */
    size_t n_neutral;                   /* bytes of ask.frames that open nothing */
    bool raw, begun, well, failed, done, settled, cutting;
    int64_t cost;                       /* 10^-12 dollar, -1: not known */
};

struct ask {
    struct ask *next, *prev;            /* of the door's */
    struct ask *queued;                 /* in a lane, or in the books' later */
    uint64_t turn;
    struct door *d;
    struct world *w;
    struct call *call;                  /* NULL: answered, or the client left */
    enum ask_state state;
    int64_t began_ms;
    char id[LEDGER_ID_MAX + 1];         /* x-request-id */
    const struct wire_dialect *in;
    enum path_kind kind;                /* CALL, COUNT_TOKENS, EMBEDDINGS */
    struct who who;
    uint64_t labels;
    struct wire_request r;
    const char *beta;                   /* anthropic-beta of the client, NULL: none */
    int64_t prompt_tok;                 /* an estimate */
    struct choice choice;
    struct attempts attempts;
    struct try try;
    struct loop_timer *timer;
    struct wire_reply reply;
    char reply_id[128];                 /* without the dialect's prefix */
    struct kept *kept;                  /* of the answer; NULL: nothing */
    struct fetch *fetch;                /* the ledger's answer is still to come; NULL: it is not */
    struct aside *found;                /* by it, and not to stay in memory; NULL: nothing */
    struct buf made, frames, said;      /* by `reply`; of the upstream; visible text so far */
    size_t at;                          /* resting: of `frames`, all that is still to be written */
    bool waiting;                       /* in a lane's queue */
    bool named;                         /* metadata has labels or tags of ours */
    bool read, replying, streaming, held, shown_begin, full, counted, resting;
};

route_fn enter_chat, enter_completions, enter_embeddings, enter_messages, enter_responses,
         enter_count;

/* What is known of the request is all that will be: choose, and begin. */
void ask_go(struct ask *a);

/* Carry out a step of attempts.h. */
void ask_step(struct ask *a, struct attempts_step step);

/* One error in the client's dialect, and the end; `end`: how it is counted.  ask_tell() leaves what
 * is in work to its callbacks. */
void ask_tell(struct ask *a, const struct wire_error *why, enum door_end end);
void ask_fail(struct ask *a, const struct wire_error *why, enum door_end end);

/* Who may answer: a->choice, of all that is known of the request. */
void ask_choose(struct ask *a, int affinity, uint64_t random);
bool ask_may_continue(const struct ask *a);

/* Nothing more is to be done: freed, unless a callback is still to come. */
void ask_end(struct ask *a);
void ask_count_end(struct ask *a, enum door_end end);
void ask_timer(struct ask *a, int64_t ms);

/* ---- door_label.c: what a text is ----------------------------------------------------------- */

/* Labels and tags of the key, of the head `h` (NULL: it came in no call), of `labels` (NULL: no
 * more) and of metadata, and what detectors find in the body.  Errors: ARG with *why, NOMEM. */
MUST_CHECK enum err label_ask(struct ask *a, const struct head *h, const char *labels,
                              struct wire_error *why);

/* Those of metadata go no further: out of a body that is sent (an edit of door_body.c). */
bool label_strip(struct ask *a, json_t *body);
uint32_t label_needs(const struct ask *a);

/* ---- door_try.c: an attempt ----------------------------------------------------------------- */

void try_begin(struct ask *a);
void try_entered(struct ask *a);        /* there is room in the lane now: try_enter() soon */
void try_enter(struct ask *a);
void try_slices(struct ask *a);         /* slices came */
void try_books_late(struct ask *a);
void try_outcome(struct ask *a, enum attempts_end end, enum attempts_class error);
void try_done(struct ask *a);           /* DONE was heard: settle */
void try_cancel(struct ask *a);         /* the client left */
void try_release(struct ask *a);
enum attempts_class try_class(const struct wire_error *why, int status);

/* ---- door_leave.c: the one way out ---------------------------------------------------------- */

/* Send the attempt's body, if policy lets these labels go to its model by its kind of path.
 * Errors: ARG (forbidden: a->try.why), NOMEM. */
MUST_CHECK enum err leave_to(struct ask *a);

/* GET the list of models, with a key: a request without text of anybody. */
MUST_CHECK enum err leave_empty(struct client_req **out, struct world *w,
                                const struct circuit_pass *pass, void *arg,
                                void (*on_end)(void *arg, enum client_end end));

/* ---- door_body.c: what is sent -------------------------------------------------------------- */

/* Errors: ARG with a->try.why, NOMEM. */
MUST_CHECK enum err body_write(struct ask *a);

/* The usage in a body or an event of completions and embeddings. */
bool body_usage(struct buf *usage_json, const char *data, size_t len);

/* Of the same: it says an error; the whole body is an answer. */
bool body_fails(const char *data, size_t len);
bool body_answers(const struct wire_dialect *d, const char *data, size_t len);

/* ---- door_reply.c: what comes back ---------------------------------------------------------- */

void reply_on_head(void *ask);
void reply_on_event(void *ask, const char *name, const char *data, size_t len);
void reply_on_body(void *ask, const char *bytes, size_t len);
void reply_on_end(void *ask, enum client_end end);
void reply_hold_over(struct ask *a);    /* what was held goes out */
void reply_room(void *ask);
void reply_quiet(struct ask *a);        /* nothing was shown for QUIET_MS */

/* ---- door_aside.c, door_kept.c: what the client's dialect has no place for ------------------ */

void kept_hear(struct ask *a, const struct wire_event *e);
void kept_put(struct ask *a);           /* the answer is whole */
void kept_free(struct kept *k);

/* What leads to a turn: the id of its first call, else its words.  False: nothing does. */
bool kept_handle(const struct wire_message *m, struct aside_handle *h);

/* Has the request the labels of what lies in memory, bit for bit? */
bool kept_has_labels_of(const struct ask *a);

/* Ask the ledger for what memory has not.  False: there is nothing to wait for; else ask_go()
 * follows when it has answered, or when kept_late() says that it did not. */
bool kept_ask(struct ask *a);
void kept_late(struct ask *a);
void kept_find(struct ask *a, int *model);
bool kept_return(struct ask *a, struct wire_request *r);
bool kept_strip(struct ask *a, json_t *body);

/* /v1/messages/count_tokens where no upstream counts. */
void count_estimate(struct ask *a);

/* ---- door_money.c: what it costs ------------------------------------------------------------ */

/* The most that a call of this model may use; cost 0 where it has no price.  Errors: cost_of's. */
MUST_CHECK enum err money_most(struct ledger_usage *out, const struct ask *a, int model);

/* The most that the attempt may use.  Errors: ARG with *why (no price, and a budget of dollars). */
MUST_CHECK enum err money_worst(struct ask *a, int model, struct wire_error *why);

/* What was used, by the usage that came: false when it says too little, and then what it may have
 * been: of an answer that is `whole` no more than was seen. */
bool money_used(struct ask *a, bool whole, struct ledger_usage *out);

/* ---- door_refuse.c -------------------------------------------------------------------------- */

void refuse_by_fault(void *door, const struct call *c, enum fault f, struct buf *body,
                     const char **type);
const struct wire_dialect *refuse_dialect(const struct call *c);

/* ---- door_small.c, door_meter.c ------------------------------------------------------------- */

route_fn door_models, door_model, door_alive, door_able, door_metrics, door_upgrade;

/* Ask upstreams that are open whether they answer. */
void probe_tick(struct door *d);

/* ---- door_audit.c --------------------------------------------------------------------------- */

/* The row of an attempt, or (step NULL) of a refusal. */
void audit_row(struct buf *out, const struct ask *a, const struct attempts_step *step,
               const char *why);
bool audit_strict(const struct ask *a);

/* Who asks.  FAULT_none, or why not. */
enum fault who_may(void *door, struct call *c, int auth);
enum fault who_asks(struct who *who, const struct world *w, const struct call *c);

/* What a key of the ledger and its team put on a request; the rest of `who` is set anew. */
enum fault who_set(struct who *who, const struct config *c, const struct key *key,
                   const struct key_may *may);

#endif
