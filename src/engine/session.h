/* session.h - one conversation with a model: its tokens, their kinds, and their KV pages.
 *
 * A session is used from one thread.  Its tokens and kinds always describe what is in its KV.
 */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "base/err.h"
#include "model/model.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

struct session_options {
    int64_t n_ctx;                      /* tokens the session may hold, at least 1 */
    int32_t n_batch;                    /* rows a prefill step takes, <= model's n_batch_max */
    int32_t adapter;                    /* of model_add_adapters(), for every token; 0: none */
};

MUST_CHECK enum err session_new(struct session **out, struct model *m,
                                const struct session_options *o);
void session_free(struct session *s);

int64_t session_ctx(const struct session *s);           /* the limit */
int64_t session_len(const struct session *s);           /* tokens held */
const int32_t *session_tokens(const struct session *s); /* borrowed until the next change */

/* Called between steps with tokens done and to do; false stops, with ERR_STOPPED. */
typedef bool session_progress_fn(void *arg, int64_t done, int64_t total);

/* Make the session hold exactly these tokens, with their kinds (NULL: all prompt).  The longest
 * common prefix of tokens and kinds is kept, at least the last token is computed, so that
 * session_logits() is that of the last one.  *n_reused (may be NULL) is how many were kept.
 * Errors: LIMIT (more than n_ctx: both numbers in the text), ARG (n is 0, id outside the
 * vocabulary), STOPPED (what was computed is kept), NOMEM. */
MUST_CHECK enum err session_sync(struct session *s, const int32_t *id, const uint8_t *kind,
                                 int64_t n, session_progress_fn *progress, void *arg,
                                 int64_t *n_reused);

/* Append one sampled token and compute it.  Errors: LIMIT when the context is full. */
MUST_CHECK enum err session_push(struct session *s, int32_t id);

/* Append n sampled tokens in one step; *logits is [n, n_vocab], what follows each of them, the same
 * bits as from one push after another, borrowed until the session changes.  n is from 1 to
 * session_push_most(), after session_push_ready(), which makes the memory for the rows.
 * Errors: LIMIT (nothing changed), those of model_step(). */
MUST_CHECK enum err session_push_many(struct session *s, const int32_t *id, int64_t n,
                                      const float **logits);
MUST_CHECK enum err session_push_ready(struct session *s);       /* Errors: NOMEM. */
enum { SESSION_PUSH_MOST = 64 };
int32_t session_push_most(const struct session *s);     /* no more than a step takes */

/* Keep the first n, at least one, of the tokens that session_push_many() just appended;
 * session_logits() are then those behind the last one kept. */
void session_push_keep(struct session *s, int64_t n);

/* What the model's MTP layer makes of a token `ahead` tokens behind those held, 0 first and then
 * each guess in its turn: *logits [n_vocab] of what follows it, borrowed until the session changes.
 * The session holds the same tokens as before.  Only where session_may_guess(): the model has the
 * layer, and the last token was computed here.  Errors: LIMIT, those of model_draft(). */
MUST_CHECK enum err session_guess(struct session *s, int32_t id, int64_t ahead,
                                  const float **logits);
bool session_may_guess(const struct session *s);

/* Give the MTP layer what it has not seen of the text, as before it is saved.  Does nothing without
 * one.  Errors: those of model_draft(). */
MUST_CHECK enum err session_feed(struct session *s);

/* Logits of the next token, [n_vocab].  Borrowed until the session changes. */
const float *session_logits(const struct session *s);

/* Forget everything from token n on. */
void session_truncate(struct session *s, int64_t n);

/* Append tokens of one kind and hand over every row's logits, in order: the instrument of
 * `logits` and `perplexity`.  `expert` is [n_moe_layer, n_expert_used] or NULL for dense.
 * A row function that returns not-OK stops the walk with that error. */
typedef enum err session_row_fn(void *arg, int64_t i, const float *logits, const int32_t *expert);
MUST_CHECK enum err session_eval(struct session *s, const int32_t *id, int64_t n,
                                 enum tok_kind kind, session_row_fn *row, void *arg);

/* --- for state.c, which writes a session down and fills one ------------------------------- */

/* Borrowed until the session changes; kv reaches as far as n_ctx. */
struct session_parts {
    struct model *model;
    int32_t *token;                     /* [n_ctx] */
    uint8_t *kind;                      /* [n_ctx] */
    float *logits;                      /* [n_vocab] */
    bool has_logits;                    /* they are those of the last token held */
    const struct kv_view *kv;
};
struct session_parts session_parts(const struct session *s);

/* An empty session like another: the same model and options.  Errors: those of session_new. */
MUST_CHECK enum err session_new_like(struct session **out, const struct session *like);

/* The parts were filled: it holds n tokens. */
void session_filled(struct session *s, int64_t n, bool has_logits);

/* Each becomes the other. */
void session_swap(struct session *a, struct session *b);

#endif
