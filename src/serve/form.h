/* form.h - inside serve: what its files share.
 *
 *                    .-- event loop's thread --.             .------ engine's thread ------.
 *   request --> ask.c: read, refused or admitted --queue--> worker.c: stepper, flow.c, wire --.
 *      (long ones: reader.c, a thread of its own)
 *   reply  <-- serve.c: deliver <-------------------outbox------------------------------------'
 *
 * A job belongs to the loop's thread until it is admitted (to the reader's while that reads it),
 * then to the engine's until it is ended, then to the loop's again, which frees it.  What both
 * touch is said, and is under the lock.
 */
#ifndef SERVE_FORM_H
#define SERVE_FORM_H

#include "serve/flow.h"
#include "serve/gate.h"
#include "serve/queue.h"
#include "serve/serve.h"

#include "base/term.h"
#include "http/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct job;

/* Of what /tokenize and its like are sent: they answer at once, on the loop's thread. */
enum { TEXT_BYTES_MAX = 1 << 20 };

/* A prompt of a request; with its first token it is known what of it was computed before. */
struct asked {
    struct tok_list ids;
    unsigned char *kind;                /* NULL: all prompt */
    struct sched_reuse reuse;
    bool known;
};

enum seq_state { SEQ_WAITS, SEQ_WORKS, SEQ_ENDED };

/* One answer in the making. */
struct seq {
    struct queue_item item;             /* first: a sequence is its item */
    struct job *job;
    size_t choice;
    struct asked *asked;
    struct flow flow;
    struct stepper_ticket *ticket;
    uint64_t seed;
    struct tok_list drawn;              /* with a receipt: every token */
    double logprob;                     /* with best_of: the sum over its tokens, */
    int64_t n_drawn;                    /* how many they are, the end's too */
    double *sum;                        /* of an embedding: rows so far, [n_embd] */
    enum wire_finish finish;
    int32_t slot;                       /* while it works */
    enum seq_state state;               /* WAITS -> WORKS under the lock */
};

/* A sequence that is in work, for /slots; `busy` and what follows it under the lock. */
struct slot { bool busy; int64_t number, n_prompt, n_max; _Atomic int64_t n_drawn; };

/* A receipt that was asked for: the request's body, the key's id. */
struct wish { struct buf body; char key[KEY_ID_MAX + 1]; };

struct job {
    struct serve *s;
    struct wire_request r;
    const struct serve_adapter *adapter;        /* that was asked for by name; NULL: none */
    struct wire_reply reply;
    struct wire_error why;              /* of a failed one */
    struct gate_pass pass;
    struct sampler_options sampling;
    struct asked *asked;                /* [n_asked] */
    size_t n_asked;
    struct seq *seq;                    /* [n_seq], choices in order */
    size_t n_seq, n_ended;
    struct sampler_bias *bias;
    int64_t n_max, n_prompt_tok, n_answer_tok, n_think_tok;
    struct chat_think think;
    double begun, due;                  /* on clock_s() */
    bool embeds;                        /* no answer is drawn, and there is no `reply` */
    bool parsed, failed, whole;         /* whole: every answer ended by itself */
    struct wish *receipt;               /* NULL: none */
    char id[64];
    struct buf body;                    /* of the request, for the reader */
    struct buf note;                    /* x-croft-note, found while it was read */
    const struct wire_dialect *dialect;
    enum err read;                      /* how reading it ended */
    struct job *next_read;
    struct buf made;                    /* of the reply, since it was handed over */
    struct job *next, *prev;            /* the engine's live ones */

    /* under the lock */
    struct buf out;
    bool gone, posted, ended, early;    /* client left; in the outbox; whole; headers must go out */
    bool known;                         /* of every prompt what was computed before: constant now */
    int status;
    struct job *next_out, *next_fresh;

    /* the loop's */
    struct call *call;                  /* NULL: it is over */
    bool streaming, debug, told;        /* debug: wants to know that; it was told */
    struct buf rest;                    /* of a whole reply whose headers went early; from */
    size_t rest_at;                     /* rest_at on it waits for room, when it is resting */
    bool resting;
    struct job *next_all, *prev_all;
};

/* Counts and levels for /metrics and /health. */
struct seen {
    int64_t n_done, n_cancelled, n_failed, n_late;
    int64_t n_prompt_tok, n_cached_tok, n_answer_tok;
    double step_s, first_s;             /* in steps; to first tokens, summed */
    int64_t n_first;
    double moved;                       /* when a step ended, or work came to an engine at rest */
    struct sched_counts counts;
    struct stepper_load load;
    int32_t n_work;
};

/* Receipts that are kept, the oldest first (receipt.c). */
struct receipts { struct receipt *first, *last; int64_t n; size_t bytes; };

/* What receipts say of program and weights, made by a thread of its own; `works` and `about` under
 * the lock, about constant once it is there. */
struct maker { pthread_t thread; bool started, works; atomic_bool stop; json_t *about; };

/* What the reader's thread is to read, the oldest first; all but the thread under the lock. */
struct reader {
    pthread_t thread;
    pthread_cond_t wake;
    bool started, stop;
    struct job *first, *last;
    size_t n_bytes;                     /* of bodies, until they are read */
};

struct serve {
    struct serve_options o;
    struct server *server;
    struct route *route;
    int n_listen;

    /* the loop's */
    struct gate gate;
    const struct serve_model *m;        /* NULL while it is loaded */
    struct job *all;
    bool draining;
    _Atomic int loading;                /* thousandths, until m is there */
    int64_t n_asked, n_refused, n_refused_full;
    double started;
    struct receipts receipts;
    struct maker maker;

    struct reader reader;
    pthread_t loop;
    bool loop_started;
    pthread_mutex_t lock;               /* of all below */
    pthread_cond_t wake;
    bool loop_done, posted;
    struct queue queue;
    struct slot *slot;                  /* [o.n_seq_max] */
    int64_t n_begun;
    struct job *fresh, *outbox;
    struct seen seen;

    /* the engine's */
    const struct serve_model *model;
    struct job *live;
    int64_t n_live;
    bool broken;                        /* the stepper failed: nothing more is answered */
    struct err_record why_broken;
};

/* --- refuse.c: errors to replies ------------------------------------------------------------ */

void refuse(struct call *c, const struct wire_error *why);
void refuse_fault(void *arg, const struct call *c, enum fault f, struct buf *body,
                  const char **type);

/* What to answer where a function below failed with an error about `param`. */
void refuse_why(struct wire_error *why, enum err e, const char *param);

/* --- ask.c: a request to a job -------------------------------------------------------------- */

route_fn ask_chat, ask_completion, ask_embedding;

/* Of the model: an adapter of that name, NULL: there is none. */
const struct serve_adapter *ask_adapter(const struct serve *s, struct piece name);

/* What answers a request is called. */
const char *ask_name(const struct job *j);

/* Whether a field of the request says yes: "x-croft-receipt: 1". */
bool ask_wants(const struct call *c, const char *field);

/* The model, or NULL and the call has its 503. */
const struct serve_model *ask_ready(struct serve *s, struct call *c);

/* The body into a request and what it needs: j->read.  Touches the job alone: from any thread. */
void ask_read(struct job *j, const char *body, size_t len);

/* It was read: refuse or admit it; without its client it is freed. */
void ask_go_on(struct job *j);

/* What follows from a parsed request alone, without its call where that is NULL: sampler, prompts,
 * sequences.  Errors: ARG with j->why, NOMEM, IO. */
MUST_CHECK enum err job_make(struct job *j);
void job_free(struct job *j);

/* --- reader.c: long requests ------------------------------------------------------------------ */

/* Read it on the reader's thread, then ask_go_on().  Errors: BUSY with j->why, NOMEM. */
MUST_CHECK enum err reader_put(struct job *j);
void reader_end(struct serve *s);       /* the loop has ended; what waits is freed */

/* --- embed.c: texts to vectors ---------------------------------------------------------------- */

/* Before prompts are read, and behind.  Errors: ARG with j->why, NOMEM. */
MUST_CHECK enum err embed_check(struct job *j);
MUST_CHECK enum err embed_seqs(struct job *j);

/* The hidden row of the text's token at `pos`. */
void embed_add(struct seq *q, int64_t pos, const float *row);

/* The whole reply into j->made.  Errors: FORMAT (a vector that is not finite), NOMEM. */
MUST_CHECK enum err embed_write(struct job *j);

/* --- receipt.c: what answers were made of ---------------------------------------------------- */

route_fn receipt_get;

/* Whether the call asks for one: j->receipt.  Errors: NOMEM. */
MUST_CHECK enum err receipt_want(struct job *j);
void receipt_keep(struct job *j);               /* of an answer that is whole */
void receipts_release(struct receipts *k);
void maker_end(struct serve *s);

/* As a receipt has them. */
void receipt_sampler(struct buf *out, const struct sampler_options *o);
const char *receipt_finish(enum wire_finish f);

/* --- reuse.c: what was computed before ------------------------------------------------------- */

/* Once, when it is known: to the client that asked, before or in its reply, and to the log. */
void reuse_tell(struct job *j);

/* --- prompt.c: messages and prompts to tokens ------------------------------------------------ */

/* The conversation as text; j->think of it.  Errors: ARG with *why. */
MUST_CHECK enum err prompt_render(const struct serve_model *m, const struct wire_request *r,
                                  struct chat_text *out, struct chat_think *think,
                                  struct wire_error *why);

/* *a must be zeroed.  Errors: ARG with *why. */
MUST_CHECK enum err prompt_chat_ids(const struct serve_model *m, const struct wire_request *r,
                                    struct asked *a, struct chat_think *think,
                                    struct wire_error *why);
/* The tokens between which a model fills in; false: its vocabulary has none. */
struct prompt_fim { int32_t prefix, suffix, middle; };
bool prompt_fim(const struct tokenizer *t, struct prompt_fim *out);

/* `suffix`: what follows the answer, with absent text nothing. */
MUST_CHECK enum err prompt_ids(const struct serve_model *m, const struct wire_prompt *p,
                               const struct wire_text *suffix, const char *param, struct asked *a,
                               struct wire_error *why);

/* --- small.c: the other routes --------------------------------------------------------------- */

route_fn small_models, small_model, small_live, small_ready, small_metrics, small_tokenize,
         small_detokenize, small_template, small_props, small_tokenizer, small_slots;

/* --- worker.c: the engine's thread ----------------------------------------------------------- */

/* Turns until the loop's thread has ended. */
void worker_run(struct serve *s, const struct serve_model *m);

/* A job that was admitted, its sequences put into the queue.  From the loop's thread. */
void worker_give(struct serve *s, struct job *j);

/* Its client left.  From the loop's thread. */
void worker_drop(struct serve *s, struct job *j);

/* --- serve.c --------------------------------------------------------------------------------- */

double serve_now(const struct serve *s);

/* Write what the outbox holds; posted by the engine. */
void serve_deliver(void *arg);

/* There is room for more of a reply; `arg` is its job. */
void serve_room(void *arg);

#endif
