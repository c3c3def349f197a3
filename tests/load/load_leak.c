/* load_leak.c - a library to preload: every 16th block that the program frees is kept for ever.
 * What measures leaks must find this one. */
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

void __libc_free(void *p);              /* the C library's own, by its other name */

void free(void *p)
{
    static atomic_ulong n;

    if (p && malloc_usable_size(p) <= 4096 && atomic_fetch_add(&n, 1) % 16 == 0)
        return;
    __libc_free(p);
}
