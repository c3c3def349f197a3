/* sums.h - which weights a model has: a checksum of each tensor, computed once for its files. */
#ifndef CMD_SUMS_H
#define CMD_SUMS_H

#include "formats/weights.h"

#include <jansson.h>

/* {"sha256": "...", "tensors": {"output.weight": "Q8_0 64x512 3f01...", ...}}: each tensor's type,
 * shape and SHA-256 of its rows, and the SHA-256 of those lines.  They are kept in sums/ of the
 * cache folder under what the files are (device, inode, size, time of change); a folder that
 * cannot be written is no error.  The same for a packed file.  False of `go_on` ends it.  *out is
 * yours.  Errors: NOMEM, STOPPED. */
MUST_CHECK enum err sums_get(json_t **out, const struct weights *w, bool (*go_on)(void *arg),
                             void *arg);

#endif
