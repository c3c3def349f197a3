/* place.c - which tensors are taken, where each lies, and the memory they lie in.  See place.h. */
#include "place/place_form.h"

#include "base/ck.h"
#include "kernels/tile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Groups beyond this are wider than any model's and would make a reader's room large. */
static const uint64_t GROUP_BYTES_MAX = 32u << 20, HUGE_BYTES = 2u << 20;

enum place_want place_want(const struct tensor_info *t)
{
    bool tiles = tile_has(t->type) && t->n_row % TILE_ROWS == 0 &&
                 t->row_bytes <= GROUP_BYTES_MAX / TILE_ROWS;

    return tiles ? PLACE_TILES : PLACE_ROWS;
}

/* A tensor of a packed file lies as it should where it is. */
static bool is_taken(const struct tensor_info *t, enum place_want want, bool rows_too)
{
    return want != PLACE_NOT && (rows_too || (want == PLACE_TILES && t->layout == LAYOUT_rows));
}

static uint64_t room_for(const struct tensor_info *t)
{
    return (t->bytes + 63) / 64 * 64;   /* bytes lie in a file: no overflow */
}

uint64_t place_bytes(const struct weights *w, const enum place_want *want, bool rows_too)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        if (is_taken(&w->tensor[i], want[i], rows_too) &&
            !ck_add(&sum, sum, room_for(&w->tensor[i])))
            return UINT64_MAX;
    return sum;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct taken *)a)->t->data;
    uintptr_t y = (uintptr_t)((const struct taken *)b)->t->data;

    return (x > y) - (x < y);
}

static enum err list_tensors(struct place *p, const struct weights *w,
                             const enum place_want *want, bool rows_too)
{
    uint64_t at = 0;

    p->taken = calloc((size_t)w->n_tensor + 1, sizeof(*p->taken));
    if (!p->taken)
        return err_set(ERR_NOMEM, "PLACE-03", "%s: no memory for a list of %llu tensors; close "
                       "other programs", w->file[0].path, (unsigned long long)w->n_tensor);
    for (uint64_t i = 0; i < w->n_tensor; i++)
        if (is_taken(&w->tensor[i], want[i], rows_too))
            p->taken[p->n_taken++] = (struct taken){
                .t = &w->tensor[i],
                .layout = want[i] == PLACE_TILES ? LAYOUT_tiles : LAYOUT_rows };
    qsort(p->taken, (size_t)p->n_taken, sizeof(*p->taken), by_address);
    for (uint64_t i = 0; i < p->n_taken; i++) {
        p->taken[i].offset = at;
        at += room_for(p->taken[i].t);
    }
    return OK;
}

/* From the pool of huge pages where the machine's owner has set one up that is large enough;
 * else ordinary memory at a multiple of 2 MiB, for which huge pages are asked. */
static enum err take_memory(struct place *p, const char *path)
{
    uint64_t bytes = p->bytes, mapped;
    int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;

    if (!ck_align(&mapped, bytes, HUGE_BYTES) || !ck_add(&mapped, mapped, HUGE_BYTES) ||
        mapped > SIZE_MAX / 2)
        mapped = SIZE_MAX / 2;          /* mmap refuses it below */
    p->map_bytes = (size_t)(mapped - HUGE_BYTES);
    p->map = mmap(NULL, p->map_bytes, prot, flags | MAP_HUGETLB, -1, 0);
    if (p->map == MAP_FAILED) {
        p->map_bytes = (size_t)mapped;
        p->map = mmap(NULL, p->map_bytes, prot, flags, -1, 0);
    }
    if (p->map == MAP_FAILED) {
        p->map = NULL;
        return err_set(ERR_NOMEM, "PLACE-04", "%s: no memory for the %.1f MB of its weights: %s; "
                       "use --pack off without --no-mmap, which reads them from the file as they "
                       "are needed", path, (double)bytes / 1e6, strerror(errno));
    }
    uintptr_t start = ((uintptr_t)p->map + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    p->memory = (uint8_t *)p->map + (start - (uintptr_t)p->map);
    if (bytes >= HUGE_BYTES)            /* advice: small pages hold the same weights */
        madvise(p->memory, (size_t)bytes, MADV_HUGEPAGE);
    return OK;
}

enum err place_open(struct place **out, const struct weights *w, const enum place_want *want,
                    const struct place_options *o)
{
    uint64_t bytes = place_bytes(w, want, o->rows_too);
    struct place *p;
    enum err e;

    *out = NULL;
    if (!bytes)
        return OK;
    if (!(p = calloc(1, sizeof(*p))))
        return err_set(ERR_NOMEM, "PLACE-05", "%s: no memory to place its weights; close other "
                       "programs", w->file[0].path);
    p->bytes = bytes;
    if ((e = list_tensors(p, w, want, o->rows_too)) || (e = take_memory(p, w->file[0].path)))
        goto fail;
    /* Opening looked at a few pages among the tensors: they must not count beside the packed. */
    for (int i = 0; i < w->n_file; i++)
        if (!w->file[i].in_memory && w->file[i].data)
            madvise((void *)(uintptr_t)w->file[i].data, (size_t)w->file[i].bytes, MADV_DONTNEED);
    if ((e = place_load(p, w, o)))
        goto fail;
    mprotect(p->map, p->map_bytes, PROT_READ);      /* weights are constant from here on */
    *out = p;
    return OK;
fail:
    place_free(p);
    return e;
}

void place_free(struct place *p)
{
    if (!p)
        return;
    if (p->map)
        munmap(p->map, p->map_bytes);
    free(p->taken);
    free(p);
}

const uint8_t *place_find(const struct place *p, const uint8_t *at, enum layout *layout)
{
    uint64_t low = 0, high = p->n_taken;

    while (low < high) {
        uint64_t mid = (low + high) / 2;
        const struct taken *k = &p->taken[mid];
        if ((uintptr_t)at < (uintptr_t)k->t->data) {
            high = mid;
        } else if ((uintptr_t)at >= (uintptr_t)k->t->data + k->t->bytes) {
            low = mid + 1;
        } else {
            *layout = k->layout;        /* a group of rows has the same offset in both layouts */
            return p->memory + k->offset + (at - k->t->data);
        }
    }
    return at;
}

const uint8_t *place_memory(const struct place *p, uint64_t *bytes)
{
    *bytes = p->bytes;
    return p->memory;
}
