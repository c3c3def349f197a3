/* packed_file.h - a model written as a packed file (formats/packed.h), to be mapped as it is. */
#ifndef PLACE_PACKED_FILE_H
#define PLACE_PACKED_FILE_H

#include "place/place.h"

/* How many tensors of a model would lie in tiles; want [n_tensor]. */
uint64_t packed_count(const struct weights *w, const enum place_want *want);

/* Write all metadata and tensors of w, which is not a folder, to `path`: one file, whatever the
 * number of shards, that appears under its name when it is complete.  on_progress as in
 * place_options.  Errors: IO, NOMEM, LIMIT (metadata beyond a header's size), STOPPED. */
MUST_CHECK enum err packed_write(const char *path, const struct weights *w,
                                 const enum place_want *want,
                                 bool (*on_progress)(void *arg, uint64_t done, uint64_t total),
                                 void *arg);

#endif
