/* kv_pool.c - see kv_pool.h.
 *
 * Free pages are a stack, so that what was touched is used again before new memory is asked for. */
#include "engine/kv_pool.h"

#include "base/ck.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

struct kv_pool {
    uint8_t *memory;                    /* [n_page * stride], at a huge page's address */
    void *map;                          /* what it is cut from */
    uint64_t bytes, map_bytes, page_bytes, stride;
    int64_t n_page, n_free;
    uint32_t *held;                     /* [n_page]: by how many views */
    int64_t *free_page;                 /* [n_free], the last one is taken next */
};

static enum err map_region(struct kv_pool *p)
{
    void *at;

    if (!ck_mul(&p->bytes, p->stride, (uint64_t)p->n_page))
        return err_set(ERR_LIMIT, "KVPOOL-01", "%" PRId64 " pages of %" PRIu64 " bytes are more "
                       "than a process can have; use a smaller --ctx-size", p->n_page, p->stride);
    if (!ck_add(&p->map_bytes, p->bytes, HUGE_PAGE))
        p->map_bytes = UINT64_MAX;      /* refused below */
    at = mmap(NULL, p->map_bytes, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return err_set(ERR_NOMEM, "KVPOOL-02", "no address space for the KV cache of %" PRId64
                       " tokens (%.2f GB); use a smaller --ctx-size or --kv-type q8_0",
                       p->n_page * KV_PAGE_TOK, (double)p->bytes / 1e9);
    p->map = at;
    p->memory = (uint8_t *)at + (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
    madvise(p->memory, p->bytes, MADV_HUGEPAGE);        /* refused: small pages, slower */
    return OK;
}

enum err kv_pool_new(struct kv_pool **out, uint64_t page_bytes, int64_t n_page)
{
    struct kv_pool *p = calloc(1, sizeof(*p));
    enum err e;

    *out = NULL;
    ASSERT(n_page > 0 && page_bytes > 0);
    if (!p)
        return err_set(ERR_NOMEM, "KVPOOL-03", "no memory for a KV cache");
    p->page_bytes = page_bytes;
    p->stride = (page_bytes + 63) / 64 * 64;
    p->n_page = n_page;
    p->held = calloc((size_t)n_page, sizeof(*p->held));
    p->free_page = calloc((size_t)n_page, sizeof(*p->free_page));
    e = p->held && p->free_page ? map_region(p) :
        err_set(ERR_NOMEM, "KVPOOL-04", "no memory to count %" PRId64 " KV pages; use a smaller "
                "--ctx-size", n_page);
    if (e) {
        kv_pool_free(p);
        return e;
    }
    while (p->n_free < n_page) {        /* page 0 on top */
        p->free_page[p->n_free] = n_page - 1 - p->n_free;
        p->n_free++;
    }
    *out = p;
    return OK;
}

void kv_pool_free(struct kv_pool *p)
{
    if (!p)
        return;
    if (p->map)
        munmap(p->map, p->map_bytes);
    free(p->held);
    free(p->free_page);
    free(p);
}

int64_t kv_pool_total(const struct kv_pool *p)
{
    return p->n_page;
}

int64_t kv_pool_unused(const struct kv_pool *p)
{
    return p->n_free;
}

static int64_t index_of(const struct kv_pool *p, const uint8_t *page)
{
    int64_t i = (page - p->memory) / (int64_t)p->stride;

    ASSERT(page >= p->memory && i < p->n_page && p->held[i] > 0);
    return i;
}

static uint8_t *take(struct kv_pool *p)
{
    int64_t i = p->free_page[--p->n_free];

    ASSERT(p->held[i] == 0);
    p->held[i] = 1;
    return p->memory + (uint64_t)i * p->stride;
}

void kv_pool_drop(struct kv_pool *p, const uint8_t *page)
{
    int64_t i = index_of(p, page);

    if (--p->held[i] == 0)
        p->free_page[p->n_free++] = i;
}

enum err kv_view_init(struct kv_view *v, int64_t n_page)
{
    *v = (struct kv_view){ .page = calloc((size_t)n_page, sizeof(*v->page)) };
    return v->page ? OK : err_set(ERR_NOMEM, "KVPOOL-05", "no memory for a list of %" PRId64
                                  " KV pages; use a smaller --ctx-size", n_page);
}

void kv_view_release(struct kv_pool *p, struct kv_view *v)
{
    kv_pool_cut(p, v, 0);
    free(v->page);
    *v = (struct kv_view){ 0 };
}

/* Whether the page that token n_old goes to is there already and others hold it too. */
static bool shares_last(const struct kv_pool *p, const struct kv_view *v, int64_t n_old)
{
    int64_t last = n_old / KV_PAGE_TOK;

    return last < v->n_page && p->held[index_of(p, v->page[last])] > 1;
}

int64_t kv_pool_need(const struct kv_pool *p, const struct kv_view *v, int64_t n_old,
                     int64_t n_new)
{
    int64_t more = kv_pages(n_new) - v->n_page;

    ASSERT(n_new > n_old && kv_pages(n_old) <= v->n_page);
    return (more > 0 ? more : 0) + shares_last(p, v, n_old);
}

bool kv_pool_grow(struct kv_pool *p, struct kv_view *v, int64_t n_old, int64_t n_new)
{
    int64_t last = n_old / KV_PAGE_TOK;

    if (kv_pool_need(p, v, n_old, n_new) > p->n_free)
        return false;
    if (shares_last(p, v, n_old)) {
        uint8_t *own = take(p);
        if (n_old % KV_PAGE_TOK)
            memcpy(own, v->page[last], p->page_bytes);
        kv_pool_drop(p, v->page[last]);
        v->page[last] = own;
    }
    while (v->n_page < kv_pages(n_new))
        v->page[v->n_page++] = take(p);
    return true;
}

void kv_pool_share(struct kv_pool *p, struct kv_view *v, const struct kv_view *from,
                   int64_t n_tok)
{
    ASSERT(v->n_page == 0 && kv_pages(n_tok) <= from->n_page);
    while (v->n_page < kv_pages(n_tok)) {
        kv_pool_hold(p, from->page[v->n_page]);
        v->page[v->n_page] = from->page[v->n_page];
        v->n_page++;
    }
}

void kv_pool_cut(struct kv_pool *p, struct kv_view *v, int64_t n_tok)
{
    while (v->n_page > kv_pages(n_tok))
        kv_pool_drop(p, v->page[--v->n_page]);
}

void kv_pool_hold(struct kv_pool *p, const uint8_t *page)
{
    p->held[index_of(p, page)]++;
}

uint32_t kv_pool_held(const struct kv_pool *p, const uint8_t *page)
{
    return p->held[index_of(p, page)];
}
