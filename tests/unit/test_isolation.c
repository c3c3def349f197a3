/* test_isolation.c - what one party learns of another's prompts from the work its own cost.
 *
 * T-ISO: a victim asks one of two prompts, or nothing of the kind, beside others' work; then a
 * prober asks the first one.  The work until its first token is all that it sees.  The area under
 * the curve is the chance that it costs less after the victim asked the same than after another,
 * a tie counting half: 0.5 is a guess, 1 is certainty. */
#include <criterion/criterion.h>

#include "engine/sched.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIALS = 400, N_PROMPT = 320, N_CTX = 512, VICTIM = 1, OTHER = 2, BYSTANDER = 3 };

static uint64_t rng;

static uint32_t dice(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

static void write_prompt(int32_t *id, uint32_t which)
{
    for (int32_t i = 0; i < N_PROMPT; i++)
        id[i] = (int32_t)((which * 2654435761u + (uint32_t)i * 40503u) % 1000);
}

/* Until `q` asks; the work of the steps meanwhile, each as its bystanders make it. */
static int64_t work_until_asked(struct sched *s, const struct sched_seq *q)
{
    struct sched_step step;
    int64_t work = 0;

    for (bool asked = false; !asked;) {
        cr_assert(sched_plan(s, &step));
        work += step.work;
        sched_computed(s);
        for (int32_t i = 0; i < step.n_ask; i++) {
            bool again;
            if (step.ask[i] == q)
                asked = true;
            else if (dice(30) == 0)
                sched_end(s, step.ask[i]);
            else
                cr_assert_eq(sched_push(s, step.ask[i], (int32_t)dice(1000), &again), OK);
        }
    }
    return work;
}

static struct sched_seq *ask(struct sched *s, uint64_t party, uint32_t which)
{
    int32_t id[N_PROMPT];
    struct sched_request r = { .id = id, .n = N_PROMPT, .party = party };
    struct sched_seq *q;

    write_prompt(id, which);
    cr_assert_eq(sched_add(s, &r, &q), OK);
    return q;
}

/* One trial: what the prober's first token cost. */
static int64_t probe(uint64_t prober, bool same)
{
    struct sched_options o = { .n_seq_max = 8, .n_row_max = 64, .n_ctx = N_CTX, .work_step = 16,
                               .gap = 2 };
    struct kv_pool *p;
    struct sched *s;
    struct sched_seq *q;
    int64_t work;

    cr_assert_eq(kv_pool_new(&p, 64, 64), OK);
    cr_assert_eq(sched_new(&s, p, &o), OK);
    for (uint32_t n = dice(3); n--;)
        ask(s, BYSTANDER, 100 + dice(50));
    q = ask(s, VICTIM, same ? 1 : 2);
    work_until_asked(s, q);
    sched_end(s, q);
    q = ask(s, prober, 1);
    work = work_until_asked(s, q);
    sched_end(s, q);
    sched_free(s);
    kv_pool_free(p);
    return work;
}

static double area(uint64_t prober)
{
    static int64_t after_same[TRIALS], after_other[TRIALS];
    double sum = 0;

    rng = 5;
    for (int i = 0; i < TRIALS; i++) {
        after_same[i] = probe(prober, true);
        after_other[i] = probe(prober, false);
    }
    for (int i = 0; i < TRIALS; i++)
        for (int k = 0; k < TRIALS; k++)
            sum += after_same[i] < after_other[k] ? 1 : after_same[i] == after_other[k] ? 0.5 : 0;
    return sum / TRIALS / TRIALS;
}

Test(isolation, another_party_learns_nothing_and_one_sees_its_own_prompts)
{
    double across = area(OTHER), within = area(VICTIM);

    printf("isolation: area under the curve %.3f across parties, %.3f within one\n", across,
           within);
    cr_assert(across > 0.45 && across < 0.55, "%.3f", across);
    cr_assert_gt(within, 0.95, "%.3f", within);
}
