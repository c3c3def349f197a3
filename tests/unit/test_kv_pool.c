/* test_kv_pool.c - pages taken, shared, copied when written, and given back. */
#include <criterion/criterion.h>

#include "engine/kv_pool.h"

#include <string.h>

enum { PAGE_BYTES = 100, N_PAGE = 6, TOK = KV_PAGE_TOK };

static struct kv_pool *new_pool(struct kv_view *v, int n_view)
{
    struct kv_pool *p;

    cr_assert_eq(kv_pool_new(&p, PAGE_BYTES, N_PAGE), OK, "%s", err_text());
    for (int i = 0; i < n_view; i++)
        cr_assert_eq(kv_view_init(&v[i], N_PAGE), OK);
    return p;
}

static void free_pool(struct kv_pool *p, struct kv_view *v, int n_view)
{
    for (int i = 0; i < n_view; i++)
        kv_view_release(p, &v[i]);
    cr_assert_eq(kv_pool_unused(p), N_PAGE);
    kv_pool_free(p);
}

Test(kv_pool, a_view_grows_by_whole_pages_that_are_aligned_and_its_own)
{
    struct kv_view v[2];
    struct kv_pool *p = new_pool(v, 2);

    cr_assert(kv_pool_grow(p, &v[0], 0, 1));
    cr_assert(kv_pool_grow(p, &v[0], 1, TOK));
    cr_assert_eq(v[0].n_page, 1);
    cr_assert(kv_pool_grow(p, &v[0], TOK, TOK + 1));
    cr_assert(kv_pool_grow(p, &v[1], 0, 3 * TOK));
    cr_assert_eq(kv_pool_unused(p), 1);
    for (int i = 0; i < 2; i++)
        for (int64_t k = 0; k < v[i].n_page; k++) {
            cr_assert_eq((uintptr_t)v[i].page[k] % 64, 0);
            memset(v[i].page[k], 16 * i + (int)k, PAGE_BYTES);
        }
    for (int i = 0; i < 2; i++)
        for (int64_t k = 0; k < v[i].n_page; k++)
            for (int b = 0; b < PAGE_BYTES; b++)
                cr_assert_eq(v[i].page[k][b], 16 * i + k);
    free_pool(p, v, 2);
}

Test(kv_pool, growing_beyond_the_bound_changes_nothing)
{
    struct kv_view v[2];
    struct kv_pool *p = new_pool(v, 2);

    cr_assert(kv_pool_grow(p, &v[0], 0, 4 * TOK));
    cr_assert_not(kv_pool_grow(p, &v[1], 0, 3 * TOK));
    cr_assert_eq(v[1].n_page, 0);
    cr_assert_eq(kv_pool_unused(p), 2);
    kv_pool_cut(p, &v[0], 3 * TOK);
    cr_assert(kv_pool_grow(p, &v[1], 0, 3 * TOK));
    free_pool(p, v, 2);
}

Test(kv_pool, a_shared_last_page_is_copied_by_the_first_who_writes)
{
    struct kv_view v[2];
    struct kv_pool *p = new_pool(v, 2);
    const uint8_t *first, *last;

    cr_assert(kv_pool_grow(p, &v[0], 0, TOK + 10));
    memset(v[0].page[1], 7, PAGE_BYTES);
    kv_pool_share(p, &v[1], &v[0], TOK + 5);
    cr_assert_eq(kv_pool_unused(p), N_PAGE - 2);
    cr_assert_eq(kv_pool_held(p, v[0].page[1]), 2);
    first = v[0].page[0];
    last = v[0].page[1];
    cr_assert_eq(kv_pool_need(p, &v[1], TOK + 5, TOK + 6), 1);
    cr_assert(kv_pool_grow(p, &v[1], TOK + 5, TOK + 6));
    cr_assert_eq(v[1].page[0], first);
    cr_assert_neq(v[1].page[1], last);
    cr_assert_eq(v[0].page[1], last);
    cr_assert(!memcmp(v[1].page[1], last, PAGE_BYTES), "with what was in it");
    cr_assert_eq(kv_pool_need(p, &v[0], TOK + 10, TOK + 11), 0, "the other one is alone again");
    cr_assert_eq(kv_pool_held(p, v[0].page[0]), 2);
    cr_assert_eq(kv_pool_held(p, v[0].page[1]), 1);
    kv_view_release(p, &v[0]);
    cr_assert_eq(kv_pool_unused(p), N_PAGE - 2, "a shared page outlives who wrote it");
    free_pool(p, v + 1, 1);
}

Test(kv_pool, whole_shared_pages_are_never_copied)
{
    struct kv_view v[2];
    struct kv_pool *p = new_pool(v, 2);

    cr_assert(kv_pool_grow(p, &v[0], 0, 2 * TOK));
    kv_pool_share(p, &v[1], &v[0], 2 * TOK);
    cr_assert_eq(kv_pool_need(p, &v[1], 2 * TOK, 3 * TOK), 1);
    cr_assert(kv_pool_grow(p, &v[1], 2 * TOK, 3 * TOK));
    cr_assert_eq(v[0].page[1], v[1].page[1]);
    free_pool(p, v, 2);
}
