/* replay.h - a receipt: what an answer was made of and from, and the answer made again, alone.
 *
 * A receipt is one JSON object without fractions (docs/receipts.md names its members).  "sha256" is
 * that of all the others, written compactly with sorted keys (receipt_sum); what it says of
 * program, machine and weights is for the caller to compare.
 *
 *   receipt_read -> receipt_need -> receipt_replay
 */
#ifndef SERVE_REPLAY_H
#define SERVE_REPLAY_H

#include "base/sha256.h"
#include "engine/session.h"
#include "serve/serve.h"

/* False: out of memory. */
bool receipt_sum(const json_t *receipt, char hex[SHA256_HEX_BYTES]);

/* Whether it is a whole receipt that nobody changed.  Errors: FORMAT, NOMEM. */
MUST_CHECK enum err receipt_read(const json_t *receipt);

/* Tokens that a session needs for it.  This and the next one: of a receipt that was read. */
int64_t receipt_need(const json_t *receipt);

/* Derive prompts, kinds, seeds and sampler from the stored request, and draw every token of every
 * answer again; *n_tok of them.  `m` needs no stepper.  Errors: FORMAT (what differs), LIMIT,
 * NOMEM, those of session_sync() and sampler_next(). */
MUST_CHECK enum err receipt_replay(const struct serve_model *m, struct session *s,
                                   const json_t *receipt, int64_t *n_tok);

#endif
