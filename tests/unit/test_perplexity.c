/* test_perplexity.c - the arithmetic of perplexity on logits whose answer is known on paper. */
#include "eval/perplexity.h"

#include <criterion/criterion.h>
#include <math.h>

#define NEAR(a, b, tol) cr_assert(fabs((a) - (b)) <= (tol), "%.17g is not %.17g", (a), (b))

Test(perplexity, equal_logits_give_log_of_the_vocabulary)
{
    float x[100] = { 0 };

    for (int i = 0; i < 100; i++)
        x[i] = 3.5f;
    NEAR(perplexity_nll(x, 100, 7), log(100), 1e-12);
}

Test(perplexity, a_shift_of_all_logits_changes_nothing)
{
    float x[4] = { 1, 2, 3, 4 }, y[4] = { 1025, 1026, 1027, 1028 };

    for (int i = 0; i < 4; i++)
        NEAR(perplexity_nll(x, 4, i), perplexity_nll(y, 4, i), 1e-12);
}

Test(perplexity, huge_logits_neither_overflow_nor_vanish)
{
    float x[3] = { 30000, -30000, 29990 };

    NEAR(perplexity_nll(x, 3, 0), log1p(exp(-10)), 1e-12);
    NEAR(perplexity_nll(x, 3, 1), 60000 + log1p(exp(-10)), 1e-9);
}

Test(perplexity, a_logit_that_is_not_finite_is_not_hidden)
{
    float x[3] = { 0, NAN, 1 }, y[3] = { 0, INFINITY, 1 };

    cr_assert(!isfinite(perplexity_nll(x, 3, 0)));
    cr_assert(!isfinite(perplexity_nll(y, 3, 0)));
}

Test(perplexity, value_and_error_are_those_of_the_mean_propagated)
{
    const double nll[4] = { 1, 2, 3, 6 };       /* mean 3, variance (with n) 3.5 */
    struct perplexity p = { 0 };

    for (int i = 0; i < 4; i++)
        perplexity_add(&p, nll[i]);
    NEAR(perplexity_value(&p), exp(3), 1e-12);
    NEAR(perplexity_error(&p), sqrt(3.5 / 3) * exp(3), 1e-10);
}

Test(perplexity, nothing_scored_has_no_value_and_one_has_no_error)
{
    struct perplexity p = { 0 };

    cr_assert(isnan(perplexity_value(&p)));
    perplexity_add(&p, 2);
    NEAR(perplexity_value(&p), exp(2), 1e-12);
    cr_assert_eq(perplexity_error(&p), 0);
}

Test(perplexity, certain_predictions_have_no_error)
{
    struct perplexity p = { 0 };

    for (int i = 0; i < 10; i++)
        perplexity_add(&p, 0.1);
    NEAR(perplexity_error(&p), 0.0, 1e-7);
}

Test(perplexity, incomplete_chunks_are_left_out_and_chunks_limits_them)
{
    struct perplexity_options o = { .n_chunk_tok = 512 };

    cr_assert_eq(perplexity_chunks(511, &o), 0);
    cr_assert_eq(perplexity_chunks(1024, &o), 2);
    cr_assert_eq(perplexity_chunks(1535, &o), 2);
    o.n_chunk_max = 1;
    cr_assert_eq(perplexity_chunks(1535, &o), 1);
    o.n_chunk_max = 9;
    cr_assert_eq(perplexity_chunks(1535, &o), 2);
}
