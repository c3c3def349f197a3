/* place.h - where the weights of a model lie in memory: in the mapped file, or here, packed.
 *
 * A place owns one region of memory in 2 MiB pages that holds a model's matrices in the layout
 * the kernels want (tiles of sixteen rows, kernels/tile.h), each at a multiple of 64 bytes.  They
 * are read from the file's descriptor, past the page cache where the cache does not have them,
 * and packed on the way, piece by piece, by several threads: the file's layout is never in memory
 * as a whole, and the mapping of what was placed is never touched.
 */
#ifndef PLACE_PLACE_H
#define PLACE_PLACE_H

#include "base/err.h"
#include "base/pool.h"
#include "formats/weights.h"

#include <stdbool.h>
#include <stdint.h>

/* How a tensor's bytes may lie: where they are alone, copied as rows, or in tiles. */
enum place_want { PLACE_NOT, PLACE_ROWS, PLACE_TILES };

/* The best that the type and shape of a matrix allow: PLACE_TILES or PLACE_ROWS. */
enum place_want place_want(const struct tensor_info *t);

struct place_options {
    const struct pool *pool;            /* that will compute; NULL: one thread */
    bool nodes;                         /* put rows on the NUMA nodes of the pool's threads */
    bool rows_too;                      /* take PLACE_ROWS tensors as well: nothing stays mapped */
    /* May be NULL.  Called from the caller's thread ten times a second; false stops. */
    bool (*on_progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

struct place;

/* The bytes of memory that place_open() will take; want [n_tensor]. */
uint64_t place_bytes(const struct weights *w, const enum place_want *want, bool rows_too);

/* Read and pack.  `w` is borrowed until the end.  On success *out is yours: place_free(); it is
 * NULL when there is nothing to take.  Errors: NOMEM, IO (names file and byte), STOPPED. */
MUST_CHECK enum err place_open(struct place **out, const struct weights *w,
                               const enum place_want *want, const struct place_options *o);
void place_free(struct place *p);

/* Where the byte at `at` of a mapped tensor lies now, with its layout; `at` itself and *layout
 * unchanged when its tensor was not placed.  For tiles `at` must begin a group of rows. */
const uint8_t *place_find(const struct place *p, const uint8_t *at, enum layout *layout);

/* The memory it holds, for mlock(). */
const uint8_t *place_memory(const struct place *p, uint64_t *bytes);

#endif
