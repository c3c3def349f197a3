/* arena.c - see arena.h.  Blocks double in size up to a limit; a piece larger than half a block
 * gets one of its own, behind the current one, so that the rest of that is not lost. */
#include "base/arena.h"

#include "base/ck.h"
#include "base/err.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 4096, BLOCK_BYTES_MAX = 1 << 20 };

struct arena_block {
    struct arena_block *before;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){ .bytes_max = bytes_max };
}

/* The bytes a piece takes; false when that is more than the arena may still hold. */
static bool piece_bytes(uint64_t *out, const struct arena *a, size_t n, size_t size)
{
    return ck_mul(out, n, size) && ck_align(out, *out ? *out : 1, alignof(max_align_t)) &&
           *out <= a->bytes_max - a->bytes;
}

int arena_full(const struct arena *a, size_t n, size_t size)
{
    uint64_t bytes;

    return !piece_bytes(&bytes, a, n, size);
}

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b = malloc(sizeof(*b) + size);

    if (b)
        *b = (struct arena_block){ .size = size };
    return b;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    struct arena_block *b = a->last, *more;
    uint64_t bytes;

    if (!piece_bytes(&bytes, a, n, size))
        return NULL;
    if (!b || bytes > b->size - b->used) {
        size_t next = !b                              ? BLOCK_BYTES_MIN
                      : b->size < BLOCK_BYTES_MAX / 2 ? 2 * b->size
                                                      : BLOCK_BYTES_MAX;
        bool alone = bytes > next / 2;
        if (!(more = block_new(alone ? bytes : next)))
            return NULL;
        if (alone && b) {
            more->before = b->before;
            b->before = more;
        } else {
            more->before = b;
            a->last = more;
        }
        b = more;
    }
    void *piece = b->bytes + b->used;
    b->used += bytes;
    a->bytes += bytes;
    return memset(piece, 0, bytes);
}

char *arena_copy(struct arena *a, const void *bytes, size_t len)
{
    char *copy = len < SIZE_MAX ? arena_alloc(a, len + 1, 1) : NULL;

    if (copy && len)
        memcpy(copy, bytes, len);
    return copy;
}

void arena_release(struct arena *a)
{
    while (a->last) {
        struct arena_block *before = a->last->before;
        free(a->last);
        a->last = before;
    }
    a->bytes = 0;
}
