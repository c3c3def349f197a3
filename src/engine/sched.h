/* sched.h - many sequences in one engine: who computes what in the next step.
 *
 *              sched_add                 a step left out what was preempted
 *                  |            ,---------------------------------------------.
 *                  v            v                                             |
 *               waiting --(admitted: pages for all it has)--> running --------'
 *                  |                                             |  ^
 *                  | sched_cancel                      asks for a |  | sched_push
 *                  v                                  next token  v  |
 *                gone <--(sched_end, sched_cancel)------------- asking
 *
 * A pure state machine: no clock, no model, no output.  The caller plans a step, computes its
 * rows, says so, and answers each sequence that asks with its next token or its end:
 *
 *   while (sched_plan(s, &step)) { compute step.row; sched_computed(s);
 *                                  for each step.ask, while it asks: sched_push or sched_end }
 *
 * What a sequence computes depends on its own tokens and kinds alone.  When pages run out, the one
 * admitted last gives all of its back and waits again with its tokens and their kinds, which are
 * computed anew: its answer does not change, and the oldest always goes on.
 *
 * Every running sequence whose newest token is all that is to compute gets its row in every step.
 * Readers of longer texts share what is left of the rows, the oldest first; with `gap` they also
 * never make a step with such a token cost more than gap times what it costs without them, counted
 * in units of work: work_step for a step, and for each row sched_row_work().
 *
 * A sequence may bring guesses of what follows its newest token.  As far as rows and pages are left
 * they are computed behind it, and when the next token is the guess, its row is there already: it
 * asks again at once.  A guess never costs another sequence its pages, and counts like a reader's
 * row; a wrong one leaves nothing behind.
 *
 * A sequence begins with the pages of another one, running or whole, that began with the same
 * tokens of the same kinds, adapter and party; it waits while another is about to compute a
 * worthwhile part of them.  The first that waits is looked at again when what it waits for may be
 * there, so waiting costs a step nothing.  Pages of what is whole are kept while nobody needs them,
 * those used last the longest (prefix.h).
 */
#ifndef ENGINE_SCHED_H
#define ENGINE_SCHED_H

#include "engine/prefix.h"
#include "model/model.h"

struct sched;
struct sched_seq;

struct sched_options {
    int32_t n_seq_max;                  /* sequences in work at once */
    int32_t n_row_max;                  /* rows of a step, at least n_seq_max */
    int64_t n_ctx;                      /* tokens of a sequence; the pool holds at least one such */
    int64_t work_step;                  /* what a step costs without its rows, in rows */
    int32_t gap;                        /* at least 2; 0: readers may take all rows */
};

/* Rows of texts whose logits are all wanted, in one step: what bounds their memory. */
enum { SCHED_TOLD_MAX = 64 };

/* Guesses of one sequence; of all in one step. */
enum { SCHED_GUESS_EACH = 16, SCHED_GUESS_MAX = 64 };

struct sched_request {
    const int32_t *id;                  /* [n], copied */
    const uint8_t *kind;                /* [n], copied; NULL: all prompt */
    int64_t n;
    int32_t adapter;
    void *user;                         /* the caller's: sched_user() */
    uint64_t party;                     /* nothing is shared between different ones */
    bool all_logits;                    /* of every row of the prompt: it takes over no pages */
    bool hidden;                        /* of the last row its hidden row is wanted, no logits */
    bool all_hidden;                    /* and of every one: it takes over no pages */
};

struct sched_step {
    struct batch batch;                 /* borrowed until the next plan */
    struct sched_seq **seq;             /* [batch.n_seq]: whose rows they are */
    struct sched_seq **ask;             /* [n_ask]: whose newest token is computed, in the order of
                                           the rows; those of its guesses stand behind it */
    int32_t n_ask;
    int64_t work;                       /* of the whole step, and of rows of single tokens */
    int64_t work_alone;
};

/* Counts since the beginning. */
struct sched_counts {
    int64_t n_step, n_row, n_preempted, n_shared_tok;   /* shared: tokens not computed again */
    int64_t n_guess, n_right;           /* guesses computed; of them right */
    int64_t n_lookup;                   /* texts looked up among kept and running ones */
};

/* The work of one row: it reads its weights' share, and the keys of its context. */
enum { SCHED_POS_WORK = 2048 };
static inline int64_t sched_row_work(int64_t pos)
{
    return 1 + pos / SCHED_POS_WORK;
}

/* `p` is borrowed.  On success *out is yours: sched_free(), which drops all sequences.
 * Errors: NOMEM. */
MUST_CHECK enum err sched_new(struct sched **out, struct kv_pool *p,
                              const struct sched_options *o);
void sched_free(struct sched *s);

/* Queue a request.  *out is borrowed until its end.  Errors: LIMIT (more than n_ctx tokens), ARG
 * (no tokens), NOMEM. */
MUST_CHECK enum err sched_add(struct sched *s, const struct sched_request *r,
                              struct sched_seq **out);

/* Choose the rows of the next step.  False: nothing is left to do. */
bool sched_plan(struct sched *s, struct sched_step *step);

/* The same step without the guesses, for one of their rows may fail where no token goes. */
void sched_drop_guesses(struct sched *s, struct sched_step *step);

/* The planned rows were computed.  After a step that failed it is not called: the plan stands. */
void sched_computed(struct sched *s);

/* The next token of a sequence that asks.  When it was guessed and is computed, *again is set and
 * it asks for the one behind it.  Errors: LIMIT (n_ctx is reached), NOMEM; it still asks then. */
MUST_CHECK enum err sched_push(struct sched *s, struct sched_seq *q, int32_t id, bool *again);

/* What may follow the token that was just pushed, at most SCHED_GUESS_EACH tokens, for the next
 * step alone. */
void sched_guess(struct sched_seq *q, const int32_t *id, int n);

/* Its answer is whole: what was computed is kept for sharing, while there are pages. */
void sched_end(struct sched *s, struct sched_seq *q);

/* Not wanted any more, in any state: its pages are free at once.  Not between plan and computed. */
void sched_cancel(struct sched *s, struct sched_seq *q);

void *sched_user(const struct sched_seq *q);
int64_t sched_len(const struct sched_seq *q);           /* tokens so far, computed or not */
const int32_t *sched_tokens(const struct sched_seq *q); /* borrowed until it changes */
/* Prompt tokens that others computed, known once it runs, and why not more; of one whose logits or
 * hidden rows are all wanted 0, `told`. */
struct sched_reuse { int64_t n; enum prefix_end end; bool told; };
struct sched_reuse sched_reuse(const struct sched_seq *q);

int32_t sched_n_running(const struct sched *s);
int32_t sched_n_waiting(const struct sched *s);
struct sched_counts sched_counts(const struct sched *s);

#endif
