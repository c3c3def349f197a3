/* arena.h - memory that lives and dies together, with a maximum from birth: one request's, say.
 *
 * Pieces come from blocks of the heap and are zeroed; none is freed alone. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena { struct arena_block *last; size_t bytes, bytes_max; };

/* An empty arena that will hold at most `bytes_max` bytes of pieces, padding included. */
void arena_init(struct arena *a, size_t bytes_max);

/* `n` zeroed items of `size` bytes, aligned for any type; n = 0 gives a valid pointer.  NULL: the
 * system has no memory, or the maximum is reached (arena_full() tells them apart). */
void *arena_alloc(struct arena *a, size_t n, size_t size);

/* A copy of `len` bytes and a NUL behind them; NULL as above. */
char *arena_copy(struct arena *a, const void *bytes, size_t len);

/* Would `n` more items of `size` bytes go over the maximum? */
int arena_full(const struct arena *a, size_t n, size_t size);

/* Free everything; the arena is empty again, with the same maximum. */
void arena_release(struct arena *a);

#endif
