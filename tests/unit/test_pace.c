/* test_pace.c - how many tokens to draft, from costs and luck that the test makes up. */
#include <criterion/criterion.h>

#include "engine/pace.h"

/* Steps of r rows take one + (r - 1) * row seconds; the guess is right with chance `luck`. */
struct world { double one, row, luck; };

static uint64_t random_state;

static bool lucky(double chance)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 40) / (1 << 24) < chance;
}

/* n_tok tokens with a drafter that always offers 15; the seconds that took. */
static double generate(struct pace *p, enum draft_kind kind, struct world w, int n_tok,
                       double guess_s, int *n_draft)
{
    double seconds = 0, gain;

    *n_draft = 0;
    for (int made = 0; made < n_tok;) {
        int k = pace_choose(p, kind, 4, 15, &gain), right = 0;
        if (k && guess_s > 0)
            pace_guess(p, kind, k, k * guess_s);
        double s = w.one + k * w.row;
        pace_step(p, k + 1, s);
        bool ok = true;
        for (int i = 0; i < (k ? k : guess_s > 0 ? 0 : 1) && ok; i++) {
            ok = lucky(w.luck);
            pace_seen(p, kind, 4 + i, ok);
            right += ok && k;
        }
        seconds += s + k * guess_s;
        *n_draft += k;
        made += 1 + right;
    }
    return seconds;
}

Test(pace, drafts_many_when_guesses_are_right_and_rows_are_cheap)
{
    struct world w = { 1, 0.05, 0.95 };
    struct pace p;
    int n_draft;

    pace_init(&p);
    double s = generate(&p, DRAFT_lookup, w, 4000, 0, &n_draft);
    cr_assert_lt(s, 4000 * 0.25);
    cr_assert_gt(n_draft, 2000);
}

Test(pace, costs_next_to_nothing_when_guesses_are_wrong)
{
    struct world w = { 1, 0.3, 0.02 };
    struct pace p;
    int n_draft;

    pace_init(&p);
    double s = generate(&p, DRAFT_lookup, w, 4000, 0, &n_draft);
    cr_assert_lt(s, 4000 * 1.01, "%g", s);
    cr_assert_lt(n_draft, 40);
    pace_init(&p);
    s = generate(&p, DRAFT_model, w, 4000, 0.2, &n_draft);
    cr_assert_lt(s, 4000 * 1.03, "%g", s);
}

Test(pace, stops_when_rows_are_dear_and_begins_again_when_luck_returns)
{
    struct world dear = { 1, 1, 0.9 }, good = { 1, 0.1, 0.95 }, bad = { 1, 0.1, 0.05 };
    struct pace p;
    int n_draft;

    pace_init(&p);
    double s = generate(&p, DRAFT_lookup, dear, 2000, 0, &n_draft);
    cr_assert_lt(s, 2000 * 1.02, "%g", s);
    for (int d = 0; d < DRAFT_COUNT; d++) {
        double guess = d == DRAFT_lookup ? 0 : 0.1;
        pace_init(&p);
        generate(&p, (enum draft_kind)d, good, 2000, guess, &n_draft);
        cr_assert_gt(n_draft, 500);
        generate(&p, (enum draft_kind)d, bad, 2000, guess, &n_draft);
        double s_bad = generate(&p, (enum draft_kind)d, bad, 2000, guess, &n_draft);
        cr_assert_lt(s_bad, 2000 * 1.01, "drafter %d: %g s, %d drafts", d, s_bad, n_draft);
        generate(&p, (enum draft_kind)d, good, 2000, guess, &n_draft);
        cr_assert_gt(n_draft, 300, "drafter %d: %d", d, n_draft);
    }
}

Test(pace, one_slow_step_does_not_decide_for_long)
{
    struct world w = { 1, 0.05, 0.95 };
    struct pace p;
    int n_draft;

    pace_init(&p);
    generate(&p, DRAFT_lookup, w, 2000, 0, &n_draft);
    pace_step(&p, 16, 500);
    pace_step(&p, 8, 500);
    double s = generate(&p, DRAFT_lookup, w, 2000, 0, &n_draft);
    cr_assert_lt(s, 2000 * 0.3, "%g", s);
}

Test(pace, cost_of_rows_follows_what_was_measured)
{
    struct pace p;

    pace_init(&p);
    for (int i = 0; i < 50; i++) {
        pace_step(&p, 1, 2);
        pace_step(&p, 4, 3);
        pace_step(&p, 12, 5);
    }
    cr_assert_float_eq(pace_cost(&p, 1), 1, 1e-9);
    cr_assert_float_eq(pace_cost(&p, 2), 1 + 0.5 / 3, 0.05);
    cr_assert_float_eq(pace_cost(&p, 4), 1.5, 0.05);
    cr_assert_float_eq(pace_cost(&p, 8), 2, 0.05);
    cr_assert_float_eq(pace_cost(&p, 10), 2.25, 0.05);
    cr_assert_float_eq(pace_cost(&p, 16), 2.5 + 4 * 0.12, 0.05);
    cr_assert_float_eq(pace_cost(&p, 64), 2.5 + 52 * 0.12, 0.2);
}

Test(pace, a_length_from_which_rows_are_dear_is_kept_from)
{
    struct pace p;
    double gain;
    int n_three = 0;

    pace_init(&p);
    for (int i = 0; i < 1000; i++) {
        int k = pace_choose(&p, DRAFT_lookup, 6, 15, &gain);
        pace_step(&p, k + 1, k < 4 ? 1 + 0.1 * k : 4 + 0.2 * k);
        for (int j = 0; j < (k ? k : 1); j++)
            pace_seen(&p, DRAFT_lookup, 6 + j, true);
        n_three += k == 3;
    }
    /* 4 tokens for 1.3 are more than 16 for 7; the rest are plain steps now and then, and tries */
    cr_assert_gt(n_three, 950, "%d", n_three);
}

static int taken(const struct pace_offer *o, int n)
{
    int sum = 0;

    for (int i = 0; i < n; i++) {
        cr_assert(o[i].take >= 0 && o[i].take <= o[i].n);
        sum += o[i].take;
    }
    return sum;
}

Test(pace, of_several_sequences_the_surest_guesses_fill_a_step_while_they_pay)
{
    struct pace_offer o[4] = { { 40, 4, 0 }, { 2, 8, 0 }, { 40, 2, 0 }, { 12, 8, 0 } };
    struct pace p;

    pace_init(&p);
    pace_share(&p, DRAFT_lookup, o, 4, 4, 64);
    cr_assert_eq(o[0].take, 4);
    cr_assert_eq(o[2].take, 2);
    cr_assert_lt(o[1].take, o[3].take);
    pace_share(&p, DRAFT_lookup, o, 4, 4, 3);
    cr_assert_eq(taken(o, 4), 3);
    cr_assert_eq(o[0].take + o[2].take, 3, "the surest first");
    pace_share(&p, DRAFT_lookup, o, 4, 62, 64);
    cr_assert_eq(taken(o, 4), 0, "two guesses among 62 rows gain too little");
    for (int i = 0; i < 40; i++)
        pace_seen(&p, DRAFT_lookup, 40, false);
    pace_share(&p, DRAFT_lookup, o, 4, 4, 64);
    cr_assert_eq(o[0].take, 0, "they were wrong too often");
}

Test(pace, no_guess_pays_where_rows_cost_as_much_as_steps)
{
    struct pace_offer o[2] = { { 40, 8, 0 }, { 40, 8, 0 } };
    struct pace p;

    pace_init(&p);
    for (int i = 0; i < 200; i++) {     /* no step of one row among them */
        pace_step(&p, 2, 1.0);
        pace_step(&p, 3, 1.9);
        pace_step(&p, 4, 2.8);
        pace_step(&p, 8, 6.0);
        pace_step(&p, 16, 12.0);
    }
    pace_share(&p, DRAFT_lookup, o, 2, 2, 64);
    cr_assert_eq(taken(o, 2), 0);
    for (int i = 0; i < 400; i++) {
        pace_step(&p, 2, 1.0);
        pace_step(&p, 4, 1.1);
        pace_step(&p, 8, 1.3);
        pace_step(&p, 16, 1.6);
    }
    pace_share(&p, DRAFT_lookup, o, 2, 2, 64);
    cr_assert_gt(taken(o, 2), 8);
}
