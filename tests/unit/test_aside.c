/* test_aside.c - gateway/aside.h: what is kept comes back to its maker, and never grows. */
#include "gateway/aside.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct aside *a;

static void begin(void)
{
    cr_assert_eq(aside_new(&a, &(struct aside_options){ .bytes = 64 << 10, .entries = 40,
                                                        .key_bytes = 32 << 10,
                                                        .key_entries = 10 }), OK);
}

static void end(void)
{
    aside_free(a);
}

static struct aside_text text(const char *s)
{
    return (struct aside_text){ s, strlen(s) };
}

static struct aside_handle by_id(const char *id)
{
    struct aside_text t = text(id);
    struct aside_handle h;

    cr_assert_eq(aside_handle(&h, ASIDE_BY_CALL, &t, 1), OK);
    return h;
}

static enum err put(const char *key, const char *id, const char *upstream, const char *seal)
{
    struct aside_part part = { .kind = 1, .sealed = 2, .text = text("thought"),
                               .seal = text(seal) };
    struct aside_entry e = { .upstream = upstream, .model = "m", .labels = 5, .part = &part,
                             .n_part = 1 };
    struct aside_handle h = by_id(id);

    return aside_put(a, key, &h, &e);
}

static struct aside_entry found;
static bool foreign;

static bool find(const char *key, const char *id, const char *upstream)
{
    struct aside_handle h = by_id(id);

    return aside_find(a, key, &h, upstream, 1, &found, &foreign);
}

Test(aside, a_signature_returns_to_its_maker_alone, .init = begin, .fini = end)
{
    cr_assert_eq(put("k1", "call_1", "far", "SIGNED"), OK);
    cr_assert(find("k1", "call_1", "far"));
    cr_assert(!foreign && found.n_part == 1 && found.part[0].sealed == 2);
    cr_assert_eq(found.part[0].seal.len, 6);
    cr_assert(!memcmp(found.part[0].seal.at, "SIGNED", 6));
    cr_assert(!memcmp(found.part[0].text.at, "thought", 7));
    cr_assert(find("k1", "call_1", "other"));
    cr_assert(foreign && found.n_part == 0 && !found.part);
    cr_assert_str_eq(found.model, "m");
    cr_assert_eq(found.labels, 5, "the labels of its text are everybody's");
    cr_assert(find("k1", "call_1", NULL));
    cr_assert(!foreign && found.n_part == 0);
}

Test(aside, other_keys_do_not_find_it, .init = begin, .fini = end)
{
    cr_assert_eq(put("k1", "call_1", "far", "S"), OK);
    cr_assert(!find("k2", "call_1", "far"));
    cr_assert(!find("k1", "call_2", "far"));
    cr_assert_eq(put("k2", "call_1", "own", "T"), OK);
    cr_assert(find("k1", "call_1", "far") && found.part[0].seal.at[0] == 'S');
    cr_assert(find("k2", "call_1", "own") && found.part[0].seal.at[0] == 'T');
    aside_forget(a, "k1");
    cr_assert(!find("k1", "call_1", "far"));
    cr_assert(find("k2", "call_1", "own"));
    cr_assert_eq(aside_counts(a).keys, 1);
}

Test(aside, a_handle_depends_on_how_texts_are_cut_and_on_its_kind)
{
    struct aside_text one[] = { text("ab"), text("c") }, two[] = { text("a"), text("bc") };
    struct aside_handle h[4];

    cr_assert_eq(aside_handle(&h[0], ASIDE_BY_TURN, one, 2), OK);
    cr_assert_eq(aside_handle(&h[1], ASIDE_BY_TURN, two, 2), OK);
    cr_assert_eq(aside_handle(&h[2], ASIDE_BY_ITEM, one, 2), OK);
    cr_assert_eq(aside_handle(&h[3], ASIDE_BY_TURN, one, 1), OK);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++)
            cr_assert(memcmp(&h[i], &h[j], sizeof(h[i])));
}

Test(aside, what_comes_later_replaces_what_was_there, .init = begin, .fini = end)
{
    cr_assert_eq(put("k1", "x", "far", "OLD"), OK);
    size_t bytes = aside_counts(a).bytes;
    cr_assert_eq(put("k1", "x", "own", "NEW"), OK);
    cr_assert_eq(aside_counts(a).entries, 1);
    cr_assert_eq(aside_counts(a).bytes, bytes);
    cr_assert(find("k1", "x", "own") && !memcmp(found.part[0].seal.at, "NEW", 3));
    cr_assert_eq(aside_counts(a).evicted, 0);
}

Test(aside, the_longest_unused_of_a_key_goes_first, .init = begin, .fini = end)
{
    char id[16];

    cr_assert_eq(put("other", "o", "far", "S"), OK);
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        cr_assert_eq(put("k1", id, "far", "S"), OK);
    }
    cr_assert(find("k1", "c0", "far"));
    cr_assert_eq(put("k1", "c10", "far", "S"), OK);
    cr_assert(find("k1", "c0", "far"), "it was used");
    cr_assert(!find("k1", "c1", "far"));
    cr_assert(find("other", "o", "far"), "a key that fills its share drives out its own");
}

Test(aside, bytes_and_entries_never_pass_their_bounds, .init = begin, .fini = end)
{
    char id[16], key[16], *big = calloc(1, 40 << 10);

    srand(7);
    memset(big, 'x', (40 << 10) - 1);
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)(rand() % 9000);
        char c = big[n];
        snprintf(id, sizeof(id), "%d", rand() % 60);
        snprintf(key, sizeof(key), "k%d", rand() % 9);
        big[n] = '\0';
        enum err e = put(key, id, "far", big);
        big[n] = c;
        cr_assert_eq(e, OK);
        cr_assert(find(key, id, "far") && found.part[0].seal.len == n);
        if (rand() % 50 == 0)
            aside_forget(a, key);
        struct aside_counts s = aside_counts(a);
        cr_assert(s.bytes <= 64 << 10 && s.entries <= 40 && s.keys <= 9);
    }
    cr_assert_gt(aside_counts(a).evicted, 1000);
    cr_assert_eq(put("k1", "big", "far", big), ERR_LIMIT);
    cr_assert(!find("k1", "big", "far"));
    aside_reset(a);
    cr_assert_eq(aside_counts(a).bytes, 0);
    cr_assert_eq(aside_counts(a).keys, 0);
    free(big);
}

Test(aside, labels_move_with_the_configuration_or_the_entry_is_forgotten, .init = begin,
     .fini = end)
{
    int to[64];

    for (int i = 0; i < 64; i++)
        to[i] = i + 1 < 64 ? i + 1 : -1;
    cr_assert_eq(put("k1", "x", "far", "S"), OK);
    aside_relabel(a, to);
    cr_assert(find("k1", "x", "far"));
    cr_assert_eq(found.labels, 10);
    to[3] = -1;
    aside_relabel(a, to);
    cr_assert(!find("k1", "x", "far"), "its text had a label that is no more");
}

Test(aside, who_made_a_call_is_known_without_its_text, .init = begin, .fini = end)
{
    struct aside_entry e = { .upstream = "far", .model = "away" };
    struct aside_handle h = by_id("call_9");

    cr_assert_eq(aside_put(a, "k", &h, &e), OK);
    cr_assert(find("k", "call_9", "far"));
    cr_assert(found.n_part == 0 && !strcmp(found.model, "away"));
}

Test(aside, what_is_out_of_date_is_not_found_and_gone, .init = begin, .fini = end)
{
    struct aside_entry e = { .upstream = "far", .model = "away", .until_ms = 100 };
    struct aside_handle h = by_id("call_9");

    cr_assert_eq(aside_put(a, "k", &h, &e), OK);
    cr_assert(aside_find(a, "k", &h, NULL, 99, &found, &foreign));
    cr_assert_eq(found.until_ms, 100);
    cr_assert(!aside_find(a, "k", &h, NULL, 100, &found, &foreign));
    cr_assert_eq(aside_counts(a).entries, 0);
    cr_assert(!aside_find(a, "k", &h, NULL, 1, &found, &foreign));
}
