/* draft.h - drafters: what guesses the next tokens of a text, one line of draft.def each.
 *
 * What a drafter proposes decides how soon tokens come, never which: engine/speculate.h.
 */
#ifndef ENGINE_DRAFT_H
#define ENGINE_DRAFT_H

#include "engine/sampler.h"
#include "engine/session.h"

enum draft_kind {
#define DRAFTER(id, ...) DRAFT_##id,
#include "engine/draft.def"
#undef DRAFTER
    DRAFT_COUNT
};

enum { DRAFT_MOST = SESSION_PUSH_MOST - 1 };    /* tokens in a proposal */

struct draft_options {
    struct session *session;            /* whose tokens are guessed */
    struct model *model;                /* of the same vocabulary, for `model`; or NULL */
    int32_t n_batch;                    /* rows a prefill step of that model takes */
    int64_t n_ctx;                      /* the longest text */
};

/* The text so far.  Its last token is chosen; when guesses are asked for it is the one token that
 * is not computed yet.  Behind it a drafter may write its guesses.  The sampler is the one that
 * will choose the next: a drafter with logits draws with it at the position itself, so that like
 * logits give like tokens, and leaves its state as it was. */
struct draft_text {
    int32_t *id;                        /* [n], and room for DRAFT_MOST */
    const uint8_t *kind;                /* [n] */
    int64_t n;
    struct sampler *sampler;
};

struct draft {
    int32_t id[DRAFT_MOST];
    int n;                              /* 0: no guess */
    int strength;                       /* tokens that agreed before the guess, at least 1 */
};

struct drafter_def {
    const char *name;
    int most;
    bool costless;                      /* proposing takes no step of any model */
    /* Errors: ARG (what it needs is not there), NOMEM. */
    enum err (*new)(void **out, const struct draft_options *o);
    void (*release)(void *d);
    /* A new text, whole.  Errors: STOPPED, those of the drafter's own model. */
    enum err (*read)(void *d, const struct draft_text *t, session_progress_fn *progress, void *arg);
    /* The text's last token is new. */
    void (*add)(void *d, const struct draft_text *t);
    /* At most n tokens, from 1 to DRAFT_MOST.  Errors: those of the drafter's own model. */
    enum err (*propose)(void *d, const struct draft_text *t, int n, struct draft *out);
};

const struct drafter_def *drafter_def(enum draft_kind kind);

#endif
