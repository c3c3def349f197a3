/* test_circuit.c - gateway/circuit.h: which upstream and which key may be asked, and when again. */
#include "gateway/circuit.h"

#include "gateway_cases.h"

static struct circuits *x;
static int64_t until;

static void begin(void)
{
    case_open("");
    cr_assert_eq(circuits_new(&x, case_config, NULL), OK);
}

static void end(void)
{
    circuits_free(x);
    case_close();
}

static struct circuit_pass go(int upstream, int64_t now)
{
    struct circuit_pass p;

    cr_assert_eq(circuit_take(x, upstream, now, &p, &until), CIRCUIT_GO);
    return p;
}

static void tell(int upstream, enum circuit_result r, int64_t retry_ms, int64_t now)
{
    struct circuit_pass p = go(upstream, now);

    circuit_report(x, &p, r, retry_ms, now);
    circuit_drop(x, &p);
}

static enum circuit_verdict peek(int upstream, int64_t now)
{
    return circuit_peek(x, upstream, now, &until);
}

Test(circuit, failures_in_the_window_open_and_old_ones_do_not, .init = begin, .fini = end)
{
    for (int i = 0; i < CIRCUIT_TRIP - 1; i++)
        tell(OWN, CIRCUIT_FAILED, -1, i);
    tell(OWN, CIRCUIT_FAILED, -1, 2 * CIRCUIT_WINDOW_MS);
    cr_assert_eq(peek(OWN, 2 * CIRCUIT_WINDOW_MS), CIRCUIT_GO);
    for (int i = 0; i < CIRCUIT_TRIP - 1; i++)
        tell(OWN, CIRCUIT_FAILED, -1, 2 * CIRCUIT_WINDOW_MS + i);
    cr_assert_eq(peek(OWN, 2 * CIRCUIT_WINDOW_MS + 10), CIRCUIT_CLOSED_TO_ALL);
    cr_assert_eq(peek(FAR, 2 * CIRCUIT_WINDOW_MS + 10), CIRCUIT_GO, "another upstream");
}

Test(circuit, failures_among_more_successes_do_not_open, .init = begin, .fini = end)
{
    for (int i = 0; i < 100; i++) {
        tell(OWN, CIRCUIT_WELL, -1, i);
        tell(OWN, CIRCUIT_WELL, -1, i);
        tell(OWN, CIRCUIT_FAILED, -1, i);
    }
    cr_assert_eq(peek(OWN, 100), CIRCUIT_GO);
}

static int64_t trip(int64_t now)
{
    while (peek(OWN, now) == CIRCUIT_GO)
        tell(OWN, CIRCUIT_FAILED, -1, now);
    return until;
}

Test(circuit, one_trial_goes_and_the_others_wait_for_it, .init = begin, .fini = end)
{
    int64_t at = trip(0);
    struct circuit_pass p, other;

    cr_assert_eq(at, CIRCUIT_OPEN_MS);
    cr_assert_eq(circuit_see(x, OWN, at - 1).state, CIRCUIT_OPEN);
    p = go(OWN, at);
    cr_assert(p.trial);
    cr_assert_eq(circuit_see(x, OWN, at).state, CIRCUIT_HALF);
    cr_assert_eq(circuit_take(x, OWN, at, &other, &until), CIRCUIT_CLOSED_TO_ALL);
    cr_assert(until > at && !other.live);
    circuit_report(x, &p, CIRCUIT_WELL, -1, at + 5);
    cr_assert_eq(peek(OWN, at + 5), CIRCUIT_GO, "before the trial itself has ended");
    circuit_report(x, &p, CIRCUIT_FAILED, -1, at + 6);
    circuit_drop(x, &p);
    cr_assert_eq(peek(OWN, at + 6), CIRCUIT_GO, "one failure is one");
}

Test(circuit, a_trial_that_fails_opens_for_longer_up_to_a_bound, .init = begin, .fini = end)
{
    int64_t now = trip(0), last = CIRCUIT_OPEN_MS;

    for (int i = 0; i < 30; i++) {
        tell(OWN, CIRCUIT_FAILED, -1, now);
        cr_assert_eq(peek(OWN, now), CIRCUIT_CLOSED_TO_ALL);
        int64_t ms = until - now;
        cr_assert_eq(ms, 2 * last < CIRCUIT_OPEN_MS_MAX ? 2 * last : CIRCUIT_OPEN_MS_MAX);
        last = ms;
        now = until;
    }
    tell(OWN, CIRCUIT_WELL, -1, now);
    cr_assert_eq(trip(now) - now, CIRCUIT_OPEN_MS, "success forgets");
}

Test(circuit, a_trial_that_says_nothing_lets_the_next_try, .init = begin, .fini = end)
{
    int64_t at = trip(0);
    struct circuit_pass p = go(OWN, at);

    circuit_drop(x, &p);
    cr_assert(!p.live);
    p = go(OWN, at);
    cr_assert(p.trial);
    circuit_drop(x, &p);
}

Test(circuit, a_429_holds_its_key_and_the_others_take_turns, .init = begin, .fini = end)
{
    struct circuit_pass a = go(FAR, 0), b = go(FAR, 0), c = go(FAR, 0), d = go(FAR, 0);

    cr_assert(a.key == 0 && b.key == 1 && c.key == 2 && d.key == 0);
    circuit_report(x, &b, CIRCUIT_LIMIT, 7000, 0);
    for (int i = 0; i < 6; i++)
        cr_assert_neq(go(FAR, i).key, 1);
    circuit_report(x, &a, CIRCUIT_LIMIT, 3000, 0);
    circuit_report(x, &c, CIRCUIT_LIMIT, 5000, 0);
    cr_assert_eq(peek(FAR, 10), CIRCUIT_LIMITED);
    cr_assert_eq(until, 3000);
    cr_assert_eq(circuit_see(x, FAR, 10).state, CIRCUIT_CLOSED, "the upstream is not open");
    cr_assert_eq(circuit_see_key(x, FAR, 2, 10).until_ms, 5000);
    cr_assert_eq(peek(FAR, 2999), CIRCUIT_LIMITED);
    cr_assert_eq(go(FAR, 3000).key, 0);
    cr_assert_eq(peek(FAR, 3000), CIRCUIT_LIMITED, "one tries the key again, not all");
}

Test(circuit, a_429_without_a_time_holds_longer_each_time, .init = begin, .fini = end)
{
    int64_t now = 0, last = 0;

    for (int i = 0; i < 12; i++) {
        tell(OWN, CIRCUIT_LIMIT, -1, now);
        cr_assert_eq(peek(OWN, now), CIRCUIT_LIMITED);
        cr_assert(until - now >= last && until - now <= CIRCUIT_LIMIT_MS_MAX);
        last = until - now;
        now = until;
    }
    cr_assert_eq(last, CIRCUIT_LIMIT_MS_MAX);
}

Test(circuit, calls_that_are_told_429_together_are_one_time, .init = begin, .fini = end)
{
    struct circuit_pass p[20];

    for (int i = 0; i < 20; i++)
        p[i] = go(OWN, 0);
    for (int i = 0; i < 20; i++)
        circuit_report(x, &p[i], CIRCUIT_LIMIT, -1, 0);
    cr_assert_eq(peek(OWN, 0), CIRCUIT_LIMITED);
    cr_assert_eq(until, CIRCUIT_LIMIT_MS);
}

Test(circuit, spent_and_refused_keys_are_held_longer, .init = begin, .fini = end)
{
    tell(OWN, CIRCUIT_SPENT, -1, 0);
    cr_assert_eq(peek(OWN, 0), CIRCUIT_LIMITED);
    cr_assert_eq(until, CIRCUIT_SPENT_MS);
    tell(MORE, CIRCUIT_DENIED, 1, 0);
    cr_assert_eq(peek(MORE, 0), CIRCUIT_LIMITED);
    cr_assert_eq(until, CIRCUIT_SPENT_MS, "a wait does not make a key right");
}

Test(circuit, retry_after_holds_an_upstream_within_a_bound, .init = begin, .fini = end)
{
    tell(OWN, CIRCUIT_FAILED, 4000, 0);
    cr_assert_eq(peek(OWN, 3999), CIRCUIT_CLOSED_TO_ALL);
    cr_assert_eq(until, 4000);
    tell(MORE, CIRCUIT_FAILED, INT64_MAX, 0);
    cr_assert_eq(peek(MORE, 0), CIRCUIT_CLOSED_TO_ALL);
    cr_assert_eq(until, CIRCUIT_HOLD_MS_MAX);
}

Test(circuit, a_probe_takes_the_trial_and_does_not_forget_how_long, .init = begin, .fini = end)
{
    struct circuit_pass p;
    int64_t at = trip(0);

    cr_assert_eq(circuit_probe(x, at - 1, &p), -1);
    cr_assert_eq(circuit_probe(x, at, &p), OWN);
    cr_assert_eq(circuit_probe(x, at, &(struct circuit_pass){ 0 }), -1, "one at a time");
    cr_assert_eq(peek(OWN, at), CIRCUIT_CLOSED_TO_ALL);
    circuit_report(x, &p, CIRCUIT_WELL, -1, at);
    circuit_drop(x, &p);
    cr_assert_eq(peek(OWN, at), CIRCUIT_GO);
    cr_assert_eq(trip(at) - at, 2 * CIRCUIT_OPEN_MS);
    at = until;
    cr_assert_eq(circuit_probe(x, at, &p), OWN);
    circuit_report(x, &p, CIRCUIT_FAILED, -1, at);
    circuit_drop(x, &p);
    cr_assert_eq(peek(OWN, at), CIRCUIT_CLOSED_TO_ALL);
    cr_assert_eq(until - at, 4 * CIRCUIT_OPEN_MS);
}

Test(circuit, a_new_configuration_goes_on_where_upstreams_are_the_same, .init = begin, .fini = end)
{
    struct circuit_pass old = go(MORE, 0);
    struct circuits *next;

    trip(0);
    tell(FAR, CIRCUIT_LIMIT, 9000, 0);
    cr_assert_eq(circuits_new(&next, case_config, x), OK);
    circuits_free(x);
    x = next;
    cr_assert_eq(peek(OWN, 10), CIRCUIT_CLOSED_TO_ALL);
    cr_assert_eq(circuit_see_key(x, FAR, 0, 10).until_ms, 9000);
    circuit_report(x, &old, CIRCUIT_LIMIT, 9000, 0);
    circuit_drop(x, &old);
    cr_assert_eq(peek(MORE, 10), CIRCUIT_GO, "a pass of the old ones says nothing");
}
