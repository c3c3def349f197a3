/* ck.h - checked arithmetic for every integer that came from a file or a user.
 *
 * Each returns true when the exact result fits and was stored; a false result leaves *out
 * unspecified and must become an error.  Rule R1 of the house: no raw + or * on such values. */
#ifndef BASE_CK_H
#define BASE_CK_H

#include <stdbool.h>
#include <stdint.h>

static inline bool ck_add(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool ck_mul(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Round `a` up to a multiple of `to`, a power of two. */
static inline bool ck_align(uint64_t *out, uint64_t a, uint64_t to)
{
    if (!ck_add(out, a, to - 1))
        return false;
    *out &= ~(to - 1);
    return true;
}

#endif
