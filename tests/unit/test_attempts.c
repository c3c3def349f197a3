/* test_attempts.c - gateway/attempts.h: the next step of a request, in every order of failures. */
#include "gateway/attempts.h"

#include "gateway/prove_form.h"

#include "gateway_cases.h"

static struct circuits *circuits;
static struct choice choice;
static struct attempts a;
static struct attempts_step step;
static int64_t now;

static void open_with(const char *rules, const char *name, int affinity)
{
    struct choose_ask ask = case_ask(name);

    case_open(rules);
    cr_assert_eq(circuits_new(&circuits, case_config, NULL), OK);
    ask.affinity = affinity;
    choice = case_choose(&ask);
    now = 1000;
    step = attempts_start(&a, &(struct attempts_options){ .c = case_config, .circuits = circuits,
                          .choice = &choice, .now_ms = now, .random = 5, .may_continue = true });
}

static void begin(void)
{
    open_with("", "g", -1);
}

static void end(void)
{
    circuits_free(circuits);
    case_close();
}

static void outcome(struct attempts_outcome o)
{
    step = attempts_outcome(&a, &o, now);
}

static void fails(enum attempts_end e)
{
    outcome((struct attempts_outcome){ .end = e, .retry_after_ms = -1, .should_retry = -1 });
}

static void says(enum attempts_class class, int64_t retry_ms)
{
    outcome((struct attempts_outcome){ .end = END_STATUS, .error = class,
                                       .retry_after_ms = retry_ms, .should_retry = -1 });
}

static void wake(void)
{
    cr_assert_eq(step.what, DO_WAIT);
    cr_assert_geq(step.at_ms, now);
    now = step.at_ms;
    step = attempts_wake(&a, now);
}

static void sends(int model, enum path_kind kind)
{
    cr_assert_eq(step.what, DO_SEND, "%d", (int)step.what);
    cr_assert_eq(step.model, model, "model %d", step.model);
    cr_assert_eq(step.kind, kind, "%s", path_word(step.kind));
}

static void gives_up(enum attempts_error e)
{
    cr_assert_eq(step.what, DO_FAIL);
    cr_assert_eq(step.error, e, "%s", attempts_error_word(step.error));
}

Test(attempts, a_good_answer_is_one_attempt, .init = begin, .fini = end)
{
    sends(NEAR, PATH_call);
    cr_assert_eq(step.connect_ms, 1000);
    cr_assert_eq(step.total_ms, 60000);
    attempts_well(&a, now);
    attempts_visible(&a, SEEN_TEXT);
    fails(END_WELL);
    cr_assert_eq(step.what, DO_DONE);
}

Test(attempts, what_never_got_the_text_leaves_the_next_a_call, .init = begin, .fini = end)
{
    fails(END_DNS);
    sends(AWAY, PATH_call);
    fails(END_CONNECT);
    wake();
    sends(AWAY, PATH_call);
    fails(END_CONNECT);
    sends(LAST, PATH_call);
    fails(END_STATUS);
    wake();
    sends(LAST, PATH_retry);
}

Test(attempts, a_failure_is_tried_again_once_then_the_next, .init = begin, .fini = end)
{
    says(CLASS_FAILED, -1);
    cr_assert_eq(step.what, DO_WAIT);
    cr_assert(step.at_ms > now && step.at_ms < now + 2 * ATTEMPTS_WAIT_MS);
    wake();
    sends(NEAR, PATH_retry);
    says(CLASS_FAILED, -1);
    sends(AWAY, PATH_fallback);
    fails(END_CLOSED);
    wake();
    sends(AWAY, PATH_retry);
    fails(END_PROTOCOL);
    sends(LAST, PATH_fallback);
    says(CLASS_FAILED, -1);
    wake();
    says(CLASS_FAILED, -1);
    wake();
    sends(LAST, PATH_retry);
    says(CLASS_FAILED, -1);
    gives_up(ATTEMPTS_UPSTREAM);
}

Test(attempts, retry_after_and_x_should_retry_are_honoured, .init = begin, .fini = end)
{
    says(CLASS_FAILED, 3000);
    cr_assert_eq(step.at_ms, now + 3000);
    wake();
    outcome((struct attempts_outcome){ .end = END_STATUS, .error = CLASS_FAILED,
                                       .retry_after_ms = -1, .should_retry = 0 });
    sends(AWAY, PATH_fallback);
    says(CLASS_FAILED, ATTEMPTS_WAIT_MS_MAX + 1);
    sends(LAST, PATH_fallback);
}

Test(attempts, another_key_then_the_next_member_then_the_clients_turn, .init = begin, .fini = end)
{
    says(CLASS_LIMIT, 20000);
    sends(AWAY, PATH_fallback);
    int first = step.key;
    says(CLASS_LIMIT, 20000);
    sends(AWAY, PATH_retry);
    cr_assert_neq(step.key, first);
    says(CLASS_SPENT, -1);
    sends(AWAY, PATH_retry);
    says(CLASS_DENIED, -1);
    sends(LAST, PATH_fallback);
    says(CLASS_LIMIT, 15000);
    gives_up(ATTEMPTS_LIMIT);
    cr_assert_eq(step.retry_after_ms, 15000);
}

Test(attempts, a_short_429_of_the_last_member_is_waited_for, .init = begin, .fini = end)
{
    fails(END_DNS);
    fails(END_DNS);
    sends(LAST, PATH_call);
    for (int i = 0; i < ATTEMPTS_AGAIN_LAST; i++) {
        says(CLASS_LIMIT, 2000);
        cr_assert_eq(step.at_ms, now + 2000);
        wake();
        sends(LAST, PATH_retry);
    }
    says(CLASS_LIMIT, 2000);
    gives_up(ATTEMPTS_LIMIT);
}

Test(attempts, a_wrong_request_is_wrong_everywhere, .init = begin, .fini = end)
{
    says(CLASS_REQUEST, -1);
    gives_up(ATTEMPTS_REQUEST);
}

Test(attempts, too_long_goes_to_a_larger_context, .init = begin, .fini = end)
{
    says(CLASS_CONTEXT, -1);
    sends(AWAY, PATH_fallback);
    says(CLASS_CONTEXT, -1);
    sends(LAST, PATH_fallback);
    says(CLASS_CONTEXT, -1);
    gives_up(ATTEMPTS_CONTEXT);
}

Test(attempts, an_error_inside_a_stream_before_anything_is_seen_falls_back, .init = begin,
     .fini = end)
{
    attempts_well(&a, now);
    outcome((struct attempts_outcome){ .end = END_STREAM_ERROR, .error = CLASS_SPENT,
                                       .retry_after_ms = -1, .should_retry = -1 });
    sends(AWAY, PATH_fallback);
}

Test(attempts, visible_text_is_continued_where_that_is_accepted, .init = begin, .fini = end)
{
    attempts_visible(&a, SEEN_TEXT);
    fails(END_CLOSED);
    sends(NEAR, PATH_continuation);
    fails(END_IDLE);
    sends(LAST, PATH_continuation);
    attempts_visible(&a, SEEN_TEXT | SEEN_REASONING);
    fails(END_CLOSED);
    sends(LAST, PATH_continuation);
    fails(END_CLOSED);
    gives_up(ATTEMPTS_UPSTREAM);
}

Test(attempts, visible_calls_and_reasoning_alone_are_not_continued)
{
    const unsigned seen[] = { SEEN_CALL, SEEN_REASONING, SEEN_TEXT | SEEN_CALL };

    for (int i = 0; i < 3; i++) {
        begin();
        attempts_visible(&a, seen[i]);
        fails(END_CLOSED);
        gives_up(ATTEMPTS_UPSTREAM);
        end();
    }
}

Test(attempts, rules_of_paths_are_kept)
{
    open_with("rules:\n  - {name: r, action: forbid, paths: [retry], where: {model: [near]}}\n"
              "  - {name: f, action: forbid, paths: [fallback], where: {model: [away]}}\n"
              "  - {name: c, action: forbid, paths: [continuation], where: {model: [last]}}\n",
              "g", -1);
    says(CLASS_FAILED, -1);
    sends(LAST, PATH_fallback);
    attempts_visible(&a, SEEN_TEXT);
    fails(END_CLOSED);
    gives_up(ATTEMPTS_UPSTREAM);
    end();
}

Test(attempts, a_member_that_may_only_be_fallen_back_to_waits_for_its_turn)
{
    open_with("rules:\n  - {name: c, action: forbid, paths: [call],"
              " where: {model: [near, away]}}\n", "g", -1);
    sends(LAST, PATH_call);
    fails(END_DNS);
    gives_up(ATTEMPTS_UPSTREAM);
    end();
}

Test(attempts, calls_that_wait_stay_with_their_model_while_it_lives)
{
    open_with("", "g", AWAY);
    sends(AWAY, PATH_call);
    says(CLASS_LIMIT, 20000);
    says(CLASS_LIMIT, 20000);
    says(CLASS_LIMIT, 20000);
    gives_up(ATTEMPTS_LIMIT);
    end();

    open_with("", "g", AWAY);
    says(CLASS_CONTEXT, -1);
    gives_up(ATTEMPTS_CONTEXT);
    end();
}

Test(attempts, a_model_that_is_dead_is_left_downwards_if_it_got_the_text)
{
    open_with("", "g", AWAY);
    says(CLASS_FAILED, -1);
    wake();
    says(CLASS_FAILED, -1);
    wake();
    says(CLASS_FAILED, -1);
    sends(LAST, PATH_fallback);
    end();

    open_with("", "g", AWAY);
    fails(END_DNS);
    sends(NEAR, PATH_call);
    end();
}

static void break_upstream(int upstream)
{
    struct circuit_pass p;
    int64_t until;

    while (circuit_take(circuits, upstream, now, &p, &until) == CIRCUIT_GO) {
        circuit_report(circuits, &p, CIRCUIT_FAILED, -1, now);
        circuit_drop(circuits, &p);
    }
}

static void again(void)
{
    step = attempts_start(&a, &(struct attempts_options){ .c = case_config, .circuits = circuits,
                          .choice = &choice, .now_ms = now, .random = 5 });
}

Test(attempts, open_circuits_are_passed_over_and_all_open_is_503, .init = begin, .fini = end)
{
    attempts_cancel(&a);
    break_upstream(OWN);
    again();
    sends(AWAY, PATH_call);
    attempts_cancel(&a);
    break_upstream(FAR);
    break_upstream(MORE);
    again();
    gives_up(ATTEMPTS_OVERLOADED);
    cr_assert_eq(step.retry_after_ms, CIRCUIT_OPEN_MS);
    now += CIRCUIT_OPEN_MS - 500;
    again();
    wake();
    sends(NEAR, PATH_call);
}

Test(attempts, the_deadline_ends_waits_and_attempts, .init = begin, .fini = end)
{
    now += 59000;
    says(CLASS_FAILED, 900);
    wake();
    cr_assert_eq(step.what, DO_SEND);
    cr_assert_eq(step.total_ms, 100);
    cr_assert_eq(step.connect_ms, 100);
    says(CLASS_FAILED, 5000);
    cr_assert_eq(step.what, DO_SEND, "the next one, for the rest of the time");
    now += 100;
    fails(END_TOTAL);
    gives_up(ATTEMPTS_DEADLINE);
}

Test(attempts, a_client_that_leaves_gives_its_trial_to_the_next, .init = begin, .fini = end)
{
    attempts_cancel(&a);
    break_upstream(OWN);
    now += CIRCUIT_OPEN_MS;
    again();
    sends(NEAR, PATH_call);
    cr_assert(a.pass.trial);
    attempts_cancel(&a);
    again();
    sends(NEAR, PATH_call);
    cr_assert(a.pass.trial);
}

Test(attempts, what_was_not_sent_is_nobodys_fault, .init = begin, .fini = end)
{
    for (int i = 0; i < 2 * CIRCUIT_TRIP; i++) {
        fails(END_UNSENT);
        gives_up(ATTEMPTS_UNSENT);
        again();
        sends(NEAR, PATH_call);
    }
    fails(END_FULL);
    sends(AWAY, PATH_call);
    fails(END_FULL);
    fails(END_FULL);
    gives_up(ATTEMPTS_OVERLOADED);
}

/* ---- any order of anything ----------------------------------------------------------------- */

static uint64_t seed;
static int n_kind[PATH_N], n_error[ATTEMPTS_DEADLINE + 1], n_waited;

static unsigned below(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((seed >> 33) % n);
}

struct walk {
    int sent, waited, live, lowest;
    bool got[MEMBERS_MAX], visible;
    int64_t deadline;
};

/* What is done is among what the prover looks at. */
static void check_proof(void)
{
    static struct request r;
    int model = choice.group < 0 ? choice.at[0].model : -1, i = 0;

    request_init(&r, case_config, case_policy, choice.labels, model, choice.group);
    while (i < r.n && r.member[i] != step.model)
        i++;
    cr_assert_lt(i, r.n);
    cr_assert_neq(reach[step.kind](&r, i).cost, NO_WAY, "%s to %s is no path of the proof",
                  path_word(step.kind), case_config->models[step.model].name);
}

static void check_send(struct walk *w)
{
    const struct candidate *one = &choice.at[step.candidate];

    cr_assert_eq(++w->live, 1, "two attempts live");
    n_kind[step.kind]++;
    cr_assert_eq(step.number, w->sent++);
    cr_assert_leq(w->sent, ATTEMPTS_MAX);
    cr_assert_eq(step.model, one->model);
    cr_assert(one->paths >> step.kind & 1, "%s is not allowed", path_word(step.kind));
    cr_assert_geq(step.candidate, w->lowest, "further up than one that got the text");
    cr_assert(!w->visible || step.kind == PATH_continuation, "a word would come twice");
    cr_assert(now < w->deadline && now + step.total_ms <= w->deadline);
    cr_assert(step.connect_ms > 0 && step.first_byte_ms > 0 && step.idle_ms > 0);
    bool any = false;
    for (int i = 0; i < choice.n; i++)
        any |= w->got[i];
    check_proof();
    if (choice.kind != PATH_call)
        cr_assert_eq(step.kind, choice.kind);
    else if (!w->visible)
        cr_assert_eq(step.kind, w->got[step.candidate] ? PATH_retry
                                : any ? PATH_fallback : PATH_call);
}

static void random_outcome(struct walk *w)
{
    struct attempts_outcome o = { .end = (enum attempts_end)below(END_N),
                                  .error = (enum attempts_class)below(CLASS_REQUEST + 1),
                                  .retry_after_ms = below(2) ? -1 : (int64_t)below(20000),
                                  .should_retry = (int)below(3) - 1 };

    if (o.end == END_WELL && below(3))  /* or nearly all would be short */
        o.end = END_STATUS;
    if (o.end == END_STATUS && o.error == CLASS_REQUEST && below(3))
        o.error = CLASS_FAILED;
    if (o.end > END_TLS && below(3) == 0) {
        attempts_well(&a, now);
        if (choice.kind == PATH_call && below(2)) {
            attempts_visible(&a, 1 + below(7));
            w->visible = true;
        }
    }
    if (o.end > END_TLS) {
        w->got[step.candidate] = true;
        if (step.candidate > w->lowest)
            w->lowest = step.candidate;
    }
    now += below(10) ? below(400) : below(30000);
    w->live--;
    step = attempts_outcome(&a, &o, now);
}

static void random_walk(void)
{
    struct walk w = { .deadline = now + 60000 };
    const char *const names[] = { "g", "w", "near", "away", "last" };
    struct choose_ask ask = case_ask(names[below(5)]);

    ask.kind = below(5) ? PATH_call : below(2) ? PATH_count_tokens : PATH_embeddings;
    ask.affinity = (int)below(6) - 1;
    ask.random = below(1000);
    ask.labels = below(4);
    choice = case_choose(&ask);
    if (choice.why != CHOICE_ALLOWED)
        return;
    step = attempts_start(&a, &(struct attempts_options){
        .c = case_config, .circuits = circuits, .choice = &choice, .now_ms = now,
        .random = below(1u << 30), .may_continue = below(4) > 0 });
    while (step.what == DO_SEND || step.what == DO_WAIT) {
        if (step.what == DO_SEND) {
            check_send(&w);
            if (below(40) == 0) {
                attempts_cancel(&a);
                cr_assert_eq(a.pass.live, false);
                return;
            }
            random_outcome(&w);
            continue;
        }
        cr_assert_leq(++w.waited, ATTEMPTS_MAX);
        cr_assert(step.at_ms >= now && step.at_ms < w.deadline);
        now = step.at_ms + below(3);
        step = attempts_wake(&a, now);
    }
    n_error[step.error]++;
    n_waited += w.waited;
    cr_assert_eq(w.live, 0);
    cr_assert_eq(a.state, ATTEMPTS_OVER);
    cr_assert_eq(a.pass.live, false, "a pass was not given back");
    cr_assert_eq(step.error == ATTEMPTS_OK, step.what == DO_DONE);
}

Test(attempts, whatever_happens_no_promise_is_broken)
{
    for (int rules = 0; rules < 2; rules++) {
        case_open(rules ? "rules:\n"
                  "  - {name: a, action: forbid, when: [one], paths: [call, retry],"
                  " where: {model: [near]}}\n"
                  "  - {name: b, action: forbid, when: [two], paths: [fallback, continuation],"
                  " where: {country: [us]}}\n" : "");
        cr_assert_eq(circuits_new(&circuits, case_config, NULL), OK);
        for (seed = 1, now = 0; seed && now < INT64_C(1000000000); now += below(5000))
            random_walk();
        end();
    }
    for (int i = 0; i <= ATTEMPTS_DEADLINE; i++)
        cr_assert_gt(n_error[i], 10, "%s", attempts_error_word((enum attempts_error)i));
    cr_assert(n_kind[PATH_call] > 1000 && n_kind[PATH_fallback] > 1000);
    cr_assert(n_kind[PATH_retry] > 1000 && n_kind[PATH_continuation] > 1000);
    cr_assert(n_kind[PATH_count_tokens] > 1000 && n_kind[PATH_embeddings] > 1000);
    cr_assert_gt(n_waited, 1000);
}
