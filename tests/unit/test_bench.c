/* test_bench.c - the arithmetic of `croft bench`: lists, medians and their intervals, ceilings. */
#include "cmd/bench.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(bench, a_list_has_numbers_with_commas_between)
{
    struct bench_list l;

    cr_assert_eq(bench_list_parse(&l, "x", "1,2k,0", 0, 5000), OK);
    cr_assert(l.n == 3 && l.v[0] == 1 && l.v[1] == 2048 && l.v[2] == 0);
    const char *bad[] = { "", ",", "1,", ",1", "1,,2", "1.5", "-1", "5001", "5k", "1 2", "k",
                          "0x10" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(bench_list_parse(&l, "x", bad[i], 0, 5000), ERR_ARG, "%s", bad[i]);
        cr_assert_str_eq(err_id(), "BENCH-10");
    }
}

Test(bench, a_list_ends_at_its_limit)
{
    struct bench_list l;
    char text[2 * BENCH_LIST_MAX + 2] = "";

    for (int i = 0; i < BENCH_LIST_MAX; i++)
        memcpy(text + 2 * i, "7,", 2);
    text[2 * BENCH_LIST_MAX - 1] = 0;
    cr_assert_eq(bench_list_parse(&l, "x", text, 0, 10), OK);
    cr_assert_eq(l.n, BENCH_LIST_MAX);
    memcpy(text + 2 * BENCH_LIST_MAX - 1, ",7", 3);
    cr_assert_eq(bench_list_parse(&l, "x", text, 0, 10), ERR_LIMIT);
}

Test(bench, the_median_of_an_even_number_lies_between_two)
{
    const double v[] = { 4, 1, 3, 2 };
    struct bench_interval i;

    cr_assert_eq(bench_interval(&i, v, 4), OK);
    cr_assert(i.median == 2.5 && i.min == 1 && i.max == 4 && v[0] == 4);
    cr_assert_eq(bench_interval(&i, v, 1), OK);
    cr_assert(i.median == 4 && i.low == 4 && i.high == 4 && i.coverage == 0);
    cr_assert_eq(bench_interval(&i, v, 0), OK);
    cr_assert(i.median == 0);
}

/* Ranks and probabilities from a table of the sign test's intervals: n, rank, coverage. */
Test(bench, the_interval_of_a_median_has_the_ranks_of_the_binomial)
{
    const struct { int n, rank; double coverage; } known[] = {
        { 5, 1, 0.9375 }, { 6, 1, 0.96875 }, { 8, 1, 0.9921875 }, { 9, 2, 0.9609375 },
        { 10, 2, 0.978515625 }, { 12, 3, 0.96142578125 }, { 20, 6, 0.958610535 },
        { 25, 8, 0.956714749 },
    };

    for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++) {
        double v[32];
        struct bench_interval i;
        for (int j = 0; j < known[k].n; j++)
            v[j] = (j * 7 + 3) % known[k].n + 1;        /* 1 .. n in some order: 7 divides none */
        cr_assert_eq(bench_interval(&i, v, known[k].n), OK);
        cr_assert(i.low == known[k].rank && i.high == known[k].n + 1 - known[k].rank,
                  "%d values: %g to %g", known[k].n, i.low, i.high);
        cr_assert(fabs(i.coverage - known[k].coverage) < 1e-8, "%d: %.9f", known[k].n, i.coverage);
    }
}

Test(bench, an_operation_takes_the_longer_of_reading_and_computing)
{
    struct bench_ceiling c = { .n_round = 1, .read = 100,
                               .peak = { [PEAK_int8] = 1000, [PEAK_f32] = 250 } };
    struct profile_record r = { .ns = 1 };

    r.part[PROFILE_MAIN].bytes = 50;            /* 0.5 s */
    r.part[PROFILE_MAIN].ops[PEAK_int8] = 300;  /* 0.3 s */
    cr_assert(fabs(bench_ideal_s(&r, &c) - 0.5) < 1e-12);
    r.part[PROFILE_MAIN].ops[PEAK_f32] = 100;   /* 0.4 s more */
    cr_assert(fabs(bench_ideal_s(&r, &c) - 0.7) < 1e-12);
    r.part[PROFILE_LAST].bytes = 20;            /* one after the other: 0.2 s more */
    cr_assert(fabs(bench_ideal_s(&r, &c) - 0.9) < 1e-12);
    r.part[PROFILE_LAST].ops[PEAK_bf16] = 100;  /* no such peak: as f32, 0.4 s */
    cr_assert(fabs(bench_ideal_s(&r, &c) - 1.1) < 1e-12);
}

/* A bench of one row whose two runs took 1 s and 2 s for 10 tokens. */
static void judge_one(struct bench *b, struct bench_row *row, uint64_t bytes, uint64_t int8)
{
    static double rate[2] = { 10, 5 };

    term_init(true, true, false);       /* quiet: what is raised is said in notes */
    *row = (struct bench_row){ .n = 10, .n_run = 2, .rate = rate, .n_thread = 1 };
    *b = (struct bench){ .row = row, .n_row = 1, .n_run = 2, .thread = { { 1 }, 1 } };
    b->ceiling[0] = (struct bench_ceiling){ .n_thread = 1, .n_round = 5, .read = 100,
                                            .peak = { [PEAK_int8] = 1000, [PEAK_f32] = 250 } };
    cr_assert_eq(profile_new(&row->profile, 2), OK);
    profile_get(row->profile, 0, PROFILE_qkv)->part[PROFILE_MAIN].bytes = bytes;
    profile_get(row->profile, 1, PROFILE_down)->part[PROFILE_MAIN].ops[PEAK_int8] = int8;
    cr_assert_eq(bench_judge(b), OK);
    profile_free(row->profile);
}

Test(bench, a_row_is_held_against_the_sum_of_its_operations)
{
    struct bench b;
    struct bench_row row;

    judge_one(&b, &row, 100, 500);              /* of both runs: 1 s and 0.5 s for 20 tokens */
    cr_assert(row.speed.median == 7.5 && fabs(row.ceiling - 20 / 1.5) < 1e-9);
    cr_assert(!row.ceiling_raised && !b.ceiling[0].read_raised);
}

Test(bench, a_step_of_several_rows_is_held_against_one_of_one_row)
{
    double rate[] = { 10, 20, 30, 40 };
    struct bench_row row[4] = {
        { .n_seq = 1, .n_each = 1 }, { .n_seq = 2, .n_each = 2 }, { .n_seq = 3, .n_each = 1 },
        { .n_seq = 4, .n_each = 1, .depth = 5 },
    };
    struct bench b = { .row = row, .n_row = 4, .n_run = 1, .thread = { { 1 }, 1 } };

    for (int i = 0; i < 4; i++) {
        row[i].decode = true;
        row[i].n = 6;
        row[i].n_run = row[i].n_thread = 1;
        row[i].rate = &rate[i];
    }
    cr_assert(bench_row_tok(&row[0]) == 6 && bench_row_tok(&row[1]) == 24);
    cr_assert_eq(bench_judge(&b), OK);
    cr_assert(row[0].step_cost == 0 && row[1].step_cost == 2 && row[2].step_cost == 1);
    cr_assert(row[3].step_cost == 0);           /* nothing of one row at its depth */
}

Test(bench, a_ceiling_that_a_run_beat_is_raised_to_the_run)
{
    struct bench b;
    struct bench_row row;

    judge_one(&b, &row, 400, 0);                /* the fast run read 200 in its second */
    cr_assert(b.ceiling[0].read_raised && b.ceiling[0].read == 200 && row.ceiling == 10);
    judge_one(&b, &row, 0, 4000);
    cr_assert(b.ceiling[0].peak_raised[PEAK_int8] && b.ceiling[0].peak[PEAK_int8] == 2000);
    judge_one(&b, &row, 180, 1500);             /* neither alone, but 3.3 s for what took 2 */
    cr_assert(!b.ceiling[0].read_raised && row.ceiling_raised && row.ceiling == 10);
}
