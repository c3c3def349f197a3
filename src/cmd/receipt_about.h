/* receipt_about.h - what a receipt says of who answered: program, arithmetic, weights, adapter. */
#ifndef CMD_RECEIPT_ABOUT_H
#define CMD_RECEIPT_ABOUT_H

#include "base/buf.h"
#include "cmd/load.h"

#include <jansson.h>

/* {"build": {...}, "isa", "exact", "kv_type", "model": {"id", "sha256", "tensors"}, "adapter"}, of
 * which all but the model's id decides what is computed.  *out is yours.  Errors: those of
 * sums_get(). */
MUST_CHECK enum err receipt_about(json_t **out, const struct loaded *l, const char *id, bool exact,
                                  bool (*go_on)(void *arg), void *arg);

/* Whether a receipt that says `theirs` can be made again by a program that says `ours`: the same
 * weights, adapter and arithmetic.  *other_build: it is another program.  Errors: FORMAT, each
 * difference with an id of its own. */
MUST_CHECK enum err receipt_compare(const json_t *theirs, const json_t *ours, bool *other_build);

/* "0.4.0 (bed806b12, gcc 14.2.0)"; of what is no receipt "". */
void receipt_build_text(struct buf *out, const json_t *about);

#endif
