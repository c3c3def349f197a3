/* run_many.h - `croft run --n N`: several answers to one prompt, which is read once.
 *
 * Answer i draws with seed + i, so the first is that of --n 1.  Each is token for token what its
 * seed gives alone.
 */
#ifndef CMD_RUN_MANY_H
#define CMD_RUN_MANY_H

#include "cmd/answer.h"

/* Make --n answers and write them in their order, apart: as text, or with --json as an array of
 * what one answer is.  Errors: those of answer_make(), STOPPED. */
MUST_CHECK enum err run_many(struct loaded *l, struct opt_set *o, const struct tok_list *ids,
                             const unsigned char *kind, const struct answer_options *ao);

#endif
