/* logits_mtp.h - what `croft logits --mtp` adds: the logits of the MTP layer. */
#ifndef CMD_LOGITS_MTP_H
#define CMD_LOGITS_MTP_H

#include "cmd/load.h"

/* Called with the logits [n_vocab] for position i + 2, i = 0, 1, ... n - 2: what the layer makes
 * of token i + 1 and the hidden row of token i. */
typedef enum err logits_mtp_fn(void *arg, int64_t i, const float *logits);

/* `id` [n] are the tokens that l->session holds, all of one kind; at most n_batch in a step.  The
 * model computes them again for their hidden rows, and the session is as before.
 * Errors: ARG (no MTP layer), NOMEM, those of model_step() and of `row`. */
MUST_CHECK enum err logits_mtp(const struct loaded *l, const int32_t *id, int64_t n,
                               enum tok_kind kind, int32_t n_batch, logits_mtp_fn *row,
                               void *arg);

/* ARG where the model has no MTP layer. */
MUST_CHECK enum err logits_mtp_check(const struct model *m);

#endif
