/* test_prefix.c - kept pages against a list of texts compared one by one. */
#include <criterion/criterion.h>

#include "engine/prefix.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum { N_TEXT = 60, TEXT_MAX = 300, N_PAGE = 400, PAGE_BYTES = KV_PAGE_TOK * 4 };

struct text {
    struct prefix_owner owner;
    int32_t token[TEXT_MAX];
    uint8_t kind[TEXT_MAX];
    int64_t n;
};

static struct { uint64_t rng; struct kv_pool *pool; struct prefix *p; struct text *text; } t;

static uint32_t dice(uint32_t n)
{
    t.rng = t.rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t.rng >> 33) % n;
}

static void begin(void)
{
    t.rng = 7;
    cr_assert_eq(kv_pool_new(&t.pool, PAGE_BYTES, N_PAGE), OK);
    cr_assert_eq(prefix_new(&t.p, t.pool), OK);
    t.text = calloc(N_TEXT, sizeof(*t.text));
}

static void end(void)
{
    prefix_free(t.p);
    cr_assert_eq(kv_pool_unused(t.pool), N_PAGE, "pages were lost");
    kv_pool_free(t.pool);
    free(t.text);
}

/* One of three owners; often another text to somewhere, then its own. */
static void write_text(struct text *x, int n_before)
{
    const struct text *from = n_before ? &t.text[dice((uint32_t)n_before)] : NULL;

    x->owner = (struct prefix_owner){ dice(2), (int32_t)(dice(4) == 0) };
    x->n = 1 + dice(TEXT_MAX);
    for (int64_t i = 0; i < x->n; i++) {
        x->token[i] = (int32_t)dice(5);
        x->kind[i] = dice(20) == 0;
    }
    if (from && dice(4)) {
        int64_t same = dice((uint32_t)from->n + 1);
        x->owner = from->owner;
        memcpy(x->token, from->token, (size_t)(same < x->n ? same : x->n) * sizeof(*x->token));
        memcpy(x->kind, from->kind, (size_t)(same < x->n ? same : x->n));
    }
}

static int64_t agree(const struct text *a, const struct text *b)
{
    int64_t n = 0;

    if (a->owner.party != b->owner.party || a->owner.adapter != b->owner.adapter)
        return 0;
    while (n < a->n && n < b->n && a->token[n] == b->token[n] && a->kind[n] == b->kind[n])
        n++;
    return n;
}

static struct prefix_match find(const struct text *x)
{
    return prefix_find(t.p, x->owner, x->token, x->kind, x->n);
}

/* What is shared holds the text's own tokens; then the rest is computed, and kept. */
static void read_and_keep(const struct text *x)
{
    struct prefix_match m = find(x);
    struct kv_view v;

    cr_assert_eq(kv_view_init(&v, kv_pages(TEXT_MAX)), OK);
    prefix_share(t.p, m, &v);
    for (int64_t i = 0; i < m.n_tok; i++)
        cr_assert_eq(((int32_t *)(void *)v.page[i / KV_PAGE_TOK])[i % KV_PAGE_TOK], x->token[i]);
    if (m.n_tok < x->n)
        cr_assert(kv_pool_grow(t.pool, &v, m.n_tok, x->n));
    for (int64_t i = m.n_tok; i < x->n; i++)
        ((int32_t *)(void *)v.page[i / KV_PAGE_TOK])[i % KV_PAGE_TOK] = x->token[i];
    prefix_keep(t.p, x->owner, x->token, x->kind, x->n, &v);
    kv_view_release(t.pool, &v);
}

Test(prefix, finds_the_longest_beginning_that_any_text_had)
{
    begin();
    for (int i = 0; i < N_TEXT; i++) {
        struct text *x = &t.text[i];
        int64_t want = 0;
        write_text(x, i);
        for (int k = 0; k < i; k++)
            want = agree(x, &t.text[k]) > want ? agree(x, &t.text[k]) : want;
        cr_assert_eq(find(x).n_tok, want, "text %d", i);
        cr_assert_eq(find(x).end == PREFIX_WHOLE, want == x->n, "text %d", i);
        read_and_keep(x);
        cr_assert_eq(find(x).n_tok, x->n, "text %d is kept", i);
        cr_assert_eq(kv_pool_total(t.pool) - kv_pool_unused(t.pool), prefix_n_page(t.p));
    }
    end();
}

Test(prefix, what_was_used_longest_ago_goes_first_and_from_its_end)
{
    int64_t n_page, left;

    begin();
    for (int i = 0; i < N_TEXT; i++) {
        write_text(&t.text[i], i);
        read_and_keep(&t.text[i]);
    }
    n_page = prefix_n_page(t.p);
    cr_assert(prefix_can_free(t.p, n_page) && !prefix_can_free(t.p, n_page + 1));
    read_and_keep(&t.text[3]);
    read_and_keep(&t.text[9]);
    left = kv_pages(t.text[3].n) + kv_pages(t.text[9].n);
    while (prefix_n_page(t.p) > left)
        cr_assert(prefix_drop(t.p));
    cr_assert_eq(find(&t.text[9]).n_tok, t.text[9].n);
    cr_assert_eq(find(&t.text[3]).n_tok, t.text[3].n);
    for (left = t.text[9].n; prefix_n_page(t.p) > kv_pages(t.text[9].n);)
        cr_assert(prefix_drop(t.p));
    for (int64_t n; prefix_drop(t.p); left = n) {
        n = find(&t.text[9]).n_tok;
        cr_assert(n % KV_PAGE_TOK == 0 && kv_pages(left) - kv_pages(n) == 1, "a page from its end");
    }
    cr_assert_eq(left, 0);
    end();
}

Test(prefix, a_page_that_a_sequence_holds_is_given_up_but_not_free)
{
    struct kv_view v;
    struct text *x;

    begin();
    x = &t.text[0];
    *x = (struct text){ .n = 130 };
    read_and_keep(x);
    cr_assert_eq(kv_view_init(&v, kv_pages(TEXT_MAX)), OK);
    prefix_share(t.p, find(x), &v);
    cr_assert_not(prefix_can_free(t.p, 1));
    while (prefix_drop(t.p))
        ;
    cr_assert_eq(kv_pool_unused(t.pool), N_PAGE - 3);
    kv_view_release(t.pool, &v);
    cr_assert_eq(find(x).n_tok, 0);
    end();
}

Test(prefix, says_why_a_text_is_not_found_further)
{
    struct text *x, *y;

    begin();
    x = &t.text[0];
    y = &t.text[1];
    *x = *y = (struct text){ .n = 200 };
    for (int i = 0; i < TEXT_MAX; i++)
        x->token[i] = y->token[i] = i;
    cr_assert_eq(find(x).end, PREFIX_NONE);
    read_and_keep(x);
    cr_assert_eq(find(x).end, PREFIX_WHOLE);
    y->n = 250;
    cr_assert(find(y).end == PREFIX_ENDS && find(y).n_tok == 200);
    y->token[150] = 7;
    cr_assert(find(y).end == PREFIX_DIFFERS && find(y).n_tok == 150);
    y->token[150] = 150;
    y->kind[64] = TOK_SAMPLED;
    cr_assert(find(y).end == PREFIX_KIND && find(y).n_tok == 64);
    y->kind[64] = TOK_PROMPT;
    y->owner.party = 3;
    cr_assert_eq(find(y).end, PREFIX_NONE, "of others nothing is said");
    cr_assert(prefix_drop(t.p) && prefix_drop(t.p));
    cr_assert(find(x).end == PREFIX_GIVEN_UP && find(x).n_tok == 128);
    read_and_keep(x);
    cr_assert_eq(find(x).end, PREFIX_WHOLE);
    while (prefix_drop(t.p))
        ;
    cr_assert(find(x).end == PREFIX_GIVEN_UP && find(x).n_tok == 0);
    end();
}
