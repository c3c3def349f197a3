/* stepper.h - answers to many requests at once: a scheduler, a model, and a sampler for each.
 *
 *   stepper_add ... -> stepper_step until nothing is left -> stepper_free
 *
 * Each answer is token for token what its request alone would get: a row's logits do not depend
 * on its company, and a draw depends on (seed, position).  Used from one thread.
 *
 * What follows a text may be guessed from the text itself (lookup.h) and computed beside the rows
 * of the others; a guess is taken exactly when plain decoding would have drawn it.
 */
#ifndef ENGINE_STEPPER_H
#define ENGINE_STEPPER_H

#include "engine/sampler.h"
#include "engine/sched.h"

struct stepper;

struct stepper_options {
    int64_t n_ctx;                      /* tokens of one sequence */
    int32_t n_seq_max;                  /* sequences in work at once */
    int32_t n_batch;                    /* rows of a step, <= model's n_batch_max */
    int64_t n_page;                     /* KV pages of all, at least those of n_ctx tokens */
    int32_t gap;                        /* as in sched_options */
    int n_guess;                        /* tokens guessed for a sequence in a step, at most
                                           SCHED_GUESS_EACH; 0: none */
    bool paced;                         /* guess as much as pays (pace.h); else all that is found */
};

/* A token was drawn at position `pos` from these logits (borrowed).  *go_on: append it and go on;
 * it is true before.  Otherwise the answer is whole and `arg` not used again.  An error ends the
 * step with it. */
typedef enum err stepper_token_fn(void *arg, int32_t id, const float *logits, int64_t pos,
                                  bool *go_on);

/* Logits (borrowed) of what follows the prompt's first `pos` tokens, for pos from 1 to n - 1 in
 * order, before the first token is drawn. */
typedef void stepper_prompt_fn(void *arg, int64_t pos, const float *logits);

/* The hidden row (borrowed, [n_embd], after the final norm) of the prompt's token at `pos`, in
 * order.  Behind that of the last one the request is whole and `arg` not used again. */
typedef void stepper_hidden_fn(void *arg, int64_t pos, const float *row);

struct stepper_request {
    const int32_t *id;                  /* [n], copied */
    const uint8_t *kind;                /* [n], copied; NULL: all prompt */
    int64_t n;
    int32_t adapter;
    const struct sampler_options *sampling;     /* n_ctx is the stepper's */
    stepper_token_fn *token;
    void *arg;
    uint64_t party;                     /* computed prompts are shared inside a party alone */
    stepper_prompt_fn *prompt;          /* NULL: not wanted; else nothing is taken from others */
    stepper_hidden_fn *hidden;          /* NULL: an answer is drawn; else none is: no sampling, no
                                           token, no prompt function */
    bool all_hidden;                    /* of all tokens, and nothing is taken from others; else
                                           of the last one */
};

/* `m` is borrowed.  On success *out is yours: stepper_free(), which drops unfinished requests.
 * Errors: NOMEM. */
MUST_CHECK enum err stepper_new(struct stepper **out, struct model *m,
                                const struct stepper_options *o);
void stepper_free(struct stepper *s);

/* Queue a request.  *ticket (may be NULL) is for stepper_cancel(), valid until its answer is
 * whole.  Errors: LIMIT (the prompt does not fit), ARG (no tokens; a sampling option out of range,
 * by name), NOMEM. */
struct stepper_ticket;
MUST_CHECK enum err stepper_add(struct stepper *s, const struct stepper_request *r,
                                struct stepper_ticket **ticket);
void stepper_cancel(struct stepper *s, struct stepper_ticket *t);
struct sched_reuse stepper_reuse(const struct stepper_ticket *t);      /* as sched_reuse() */

/* One step of the model.  *any: something was computed.  Errors: those of model_step and
 * sampler_next, those of the token functions, NOMEM; then the stepper can only be freed. */
MUST_CHECK enum err stepper_step(struct stepper *s, bool *any);

int32_t stepper_n_live(const struct stepper *s);        /* requests without their whole answer */
struct sched_counts stepper_counts(const struct stepper *s);

/* What is held now. */
struct stepper_load { int64_t n_page, n_page_unused; int32_t n_running, n_waiting; };
struct stepper_load stepper_load(const struct stepper *s);

#endif
