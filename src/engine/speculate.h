/* speculate.h - tokens computed before they are chosen: plain decoding, only sooner.
 *
 *   session_sync -> speculate_begin -> [sampler_next(speculate_logits) -> speculate_push] ..
 *                -> speculate_settle
 *
 * It stands in the place of session_logits() and session_push(), and the loop around it stays
 * that of plain decoding: each token is drawn by the one sampler from the logits of its position.
 * A step computes the pushed token and some drafts behind it; when the next token drawn is the
 * draft, its row is already there, and when it is another, the rows behind are forgotten.  A row's
 * logits have the same bits whatever is beside it, so output, log-probabilities and the KV left
 * behind are those of plain decoding whatever is drafted.
 */
#ifndef ENGINE_SPECULATE_H
#define ENGINE_SPECULATE_H

#include "engine/draft.h"

struct speculate;

struct speculate_options {
    struct draft_options draft;
    bool use[DRAFT_COUNT];              /* the drafters that may propose; none: plain decoding */
    bool paced;                         /* draft as much as pays; else all that is proposed */
    int n_max;                          /* tokens a step may draft, <= DRAFT_MOST; 0: each
                                           drafter's own (draft.def) */
};

/* For a session, which is borrowed and must outlive it.  Errors: those of the drafters. */
MUST_CHECK enum err speculate_new(struct speculate **out, const struct speculate_options *o);
void speculate_free(struct speculate *p);

/* The session holds another text, with the logits of its last token.  The sampler, borrowed until
 * the next begin, is the one that the tokens will be drawn with; drafters leave its state as it is.
 * Errors: STOPPED (progress said so), those of the drafters. */
MUST_CHECK enum err speculate_begin(struct speculate *p, struct sampler *sampler,
                                    session_progress_fn *progress, void *arg);

/* Tokens pushed so far; the session may hold more.  The first ones of session_tokens(). */
int64_t speculate_len(const struct speculate *p);

/* Logits of the next token, [n_vocab], borrowed until the next call. */
const float *speculate_logits(const struct speculate *p);

/* Append one sampled token.  At most n_more will be drawn behind it: no more rows than that are
 * of use.  Errors: those of session_push(), and of a draft model. */
MUST_CHECK enum err speculate_push(struct speculate *p, int32_t id, int64_t n_more);

/* The session holds what was pushed and nothing more, and session_logits() are those of its last
 * token; its MTP layer has seen the text.  Before anything else is done with the session.
 * Errors: those of model_draft(); the session is settled all the same. */
MUST_CHECK enum err speculate_settle(struct speculate *p);

/* Draft at most n tokens a step from now on, 0: none; within n_max.  At any time. */
void speculate_limit(struct speculate *p, int n);

struct speculate_stats {
    int64_t n_step, n_tok;              /* steps, and the tokens pushed by them */
    int64_t n_draft, n_right;           /* tokens drafted and computed; of them taken */
    int64_t n_passed;                   /* proposals left alone, for they would not pay */
};
/* Since speculate_new(); and since `before` was read. */
struct speculate_stats speculate_stats(const struct speculate *p);
struct speculate_stats speculate_since(const struct speculate *p,
                                       const struct speculate_stats *before);

#endif
