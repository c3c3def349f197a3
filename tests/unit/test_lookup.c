/* test_lookup.c - the index of a text against a search by brute force, and what it may cost. */
#include <criterion/criterion.h>

#include "engine/lookup.h"

#include <stdlib.h>

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int agree(const int32_t *text, int64_t p, int64_t n)
{
    int i = 0;

    while (i < LOOKUP_MATCH_MAX && i < p && text[p - 1 - i] == text[n - 1 - i])
        i++;
    return i;
}

/* lookup.h's definition, slowly: the n tokens of `text`, all within the window. */
static int64_t brute_force(const int32_t *text, int64_t n, int *match)
{
    static const int len[] = { LOOKUP_LONG, LOOKUP_SHORT };
    int64_t best = -1;

    *match = 0;
    for (int k = 0; k < 2 && best < 0; k++) {
        int tried = 0;
        for (int64_t p = n - 1; p >= len[k] && tried < LOOKUP_TRIES; p--) {
            int m = agree(text, p, n);
            if (m < len[k])
                continue;
            tried++;
            if (m > *match) {
                *match = m;
                best = p;
            }
            if (m == LOOKUP_MATCH_MAX)
                break;
        }
    }
    return best;
}

static void compare(const int32_t *text, int64_t n, uint64_t what)
{
    struct lookup *x;
    int32_t got[8];
    int match, expected;

    cr_assert_eq(lookup_new(&x, n), OK);
    for (int64_t i = 0; i < n; i++) {
        lookup_add(x, text[i]);
        int64_t p = brute_force(text, i + 1, &expected);
        int found = lookup_find(x, got, 8, &match);
        int most = 2 * expected < 8 ? 2 * expected : 8;
        cr_assert_eq(found, p < 0 ? 0 : most, "text %llu, token %lld", (unsigned long long)what,
                     (long long)i);
        cr_assert_eq(match, expected, "text %llu, token %lld: %d tokens agree, not %d",
                     (unsigned long long)what, (long long)i, expected, match);
        for (int j = 0; j < found; j++) {
            int32_t want = p + j <= i ? text[p + j] : got[p + j - i - 1];
            cr_assert_eq(got[j], want, "text %llu, token %lld, guess %d",
                         (unsigned long long)what, (long long)i, j);
        }
    }
    lookup_free(x);
}

Test(lookup, finds_what_brute_force_finds_in_random_and_repeating_texts)
{
    enum { N = 500 };
    int32_t text[N];

    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t state = seed;
        uint32_t n_kind = 2 + (uint32_t)(seed * seed) % 97;
        for (int i = 0; i < N; i++) {
            bool copies = i > 40 && next_random(&state) % 20 < seed % 20;
            int back = copies ? 1 + (int)(next_random(&state) % 40) : 0;
            text[i] = copies ? text[i - back] : (int32_t)(next_random(&state) % n_kind);
        }
        compare(text, N, seed);
    }
}

Test(lookup, goes_on_with_its_own_guess_where_the_text_repeats_itself)
{
    static const int32_t text[] = { 7, 1, 2, 3, 1, 2, 3, 1, 2 };
    struct lookup *x;
    int32_t got[7];
    int match;

    cr_assert_eq(lookup_new(&x, 100), OK);
    cr_assert_eq(lookup_find(x, got, 7, &match), 0);
    for (int i = 0; i < 9; i++)
        lookup_add(x, text[i]);
    cr_assert_eq(lookup_find(x, got, 7, &match), 7);
    cr_assert_eq(match, 5);
    for (int i = 0; i < 7; i++)
        cr_assert_eq(got[i], (i + 2) % 3 + 1);
    lookup_reset(x);
    cr_assert_eq(lookup_find(x, got, 7, &match), 0);
    lookup_add(x, 1);
    lookup_add(x, 2);
    cr_assert_eq(lookup_find(x, got, 7, &match), 0);
    lookup_free(x);
}

Test(lookup, forgets_what_left_the_window_and_guesses_from_the_rest)
{
    enum { WINDOW = 256, N = 40 * WINDOW };
    struct lookup *x;
    int32_t *text = calloc(N, sizeof(*text)), got[4];
    uint64_t state = 5;
    int match, n_found = 0;

    cr_assert_eq(lookup_new(&x, WINDOW), OK);
    for (int64_t i = 0; i < N; i++) {
        text[i] = (int32_t)(next_random(&state) % 30);
        lookup_add(x, text[i]);
        if (!lookup_find(x, got, 4, &match))
            continue;
        bool there = false;
        for (int64_t p = i < WINDOW ? 1 : i - WINDOW + 1; p <= i && !there; p++)
            there = agree(text, p, i + 1) >= match && text[p] == got[0];
        cr_assert(there, "token %lld: %d tokens agree nowhere in the window", (long long)i, match);
        n_found++;
    }
    cr_assert_gt(n_found, N / 8);
    for (int i = 0; i < WINDOW; i++)
        lookup_add(x, 1000 + i);
    lookup_add(x, text[N - 2]);
    lookup_add(x, text[N - 1]);
    cr_assert_eq(lookup_find(x, got, 4, &match), 0, "found what was forgotten");
    free(text);
    lookup_free(x);
}
