/* mtp_feed.h - what a session keeps for its model's MTP layer: the hidden rows of the last tokens,
 * and how far the layer has been given the text.
 *
 * The layer takes the token of a position with the main model's hidden row of the one before: a
 * pair.  Pairs wait here and are given together, when their room is needed or a guess is asked
 * for.  What the layer holds decides how good guesses are, never what is said.
 *
 * Invariant: rows are those of the positions at .. at + n - 1; pairs of the positions 1 .. n_pair
 * were given.
 */
#ifndef ENGINE_MTP_FEED_H
#define ENGINE_MTP_FEED_H

#include "model/model.h"

struct mtp_feed {
    struct model *m;
    int64_t at, n, n_pair, cap;
    int32_t n_batch, adapter;
    float *in;                          /* [cap, n_embd] */
    struct batch_row *row;              /* [n_batch] */
    float *logits, *next;               /* [n_vocab]; [2, n_embd], of two guesses in turn */
};

/* The session's text, borrowed for a call. */
struct mtp_text {
    const int32_t *token;
    const uint8_t *kind;
    const struct kv_view *kv;
    int64_t n;
};

/* For steps of at most n_batch rows.  Errors: NOMEM. */
MUST_CHECK enum err mtp_feed_init(struct mtp_feed *f, struct model *m, int32_t n_batch,
                                  int32_t adapter);
void mtp_feed_release(struct mtp_feed *f);

/* *rows is where the hidden rows of the next n tokens go, [n, n_embd]; n <= n_batch.  When they are
 * there, mtp_feed_took().  Errors: those of model_draft(). */
MUST_CHECK enum err mtp_feed_room(struct mtp_feed *f, const struct mtp_text *t, int64_t n,
                                  float **rows);
void mtp_feed_took(struct mtp_feed *f, int64_t at, int64_t n);

/* The text has n tokens left, of which the pairs still hold; and more pairs than that, which will
 * hold again when the same token is computed once more. */
void mtp_feed_cut(struct mtp_feed *f, int64_t n);
void mtp_feed_hold(struct mtp_feed *f, int64_t n_pair);

/* Whether the row of this position is here, so that the text can go on behind it. */
bool mtp_feed_has(const struct mtp_feed *f, int64_t pos);

/* Give the layer every pair of the text.  Errors: those of model_draft(). */
MUST_CHECK enum err mtp_feed_flush(struct mtp_feed *f, const struct mtp_text *t);

/* Guess what follows `id`, which stands `ahead` tokens behind the text: 0 first, then each guess in
 * its turn.  f->logits are then the layer's.  Errors: those of model_draft(). */
MUST_CHECK enum err mtp_feed_guess(struct mtp_feed *f, const struct mtp_text *t, int32_t id,
                                   int64_t ahead);

#endif
