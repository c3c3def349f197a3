/* test_choose.c - gateway/choose.h: who may answer, in which order, and what decided. */
#include "gateway_cases.h"

#define FORBID_AWAY \
    "rules:\n" \
    "  - {name: stay, action: forbid, when: [one], where: {country: [us]}}\n"

static char said[4096];

static const char *refusal(const struct choice *x, const char *name)
{
    struct buf out = { 0 };

    choice_refusal(&out, case_config, x, name);
    snprintf(said, sizeof(said), "%s", buf_text(&out));
    buf_release(&out);
    return said;
}

Test(choose, a_group_is_its_models_in_order_and_an_alias_is_its_model)
{
    struct choose_ask ask = case_ask("g");

    case_open("");
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_ALLOWED);
    cr_assert_eq(x.n, 3);
    cr_assert_eq(x.n_allowed, 3);
    cr_assert_eq(x.first, 0);
    cr_assert(x.at[0].model == NEAR && x.at[1].model == AWAY && x.at[2].model == LAST);
    ask = case_ask("a");
    x = case_choose(&ask);
    cr_assert(x.n == 1 && x.at[0].model == NEAR && x.group == -1);
    ask = case_ask("nobody");
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_NO_MODEL);
    cr_assert_eq(x.n, 0);
    case_close();
}

Test(choose, a_rule_decides_before_what_the_model_can)
{
    struct choose_ask ask = case_ask("g");

    case_open(FORBID_AWAY);
    ask.labels = 1;
    ask.needs = ACCEPTS_REASONING;
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.at[0].why, CHOICE_LACKS);
    cr_assert_eq(x.at[0].lacks, (unsigned)ACCEPTS_REASONING);
    cr_assert_eq(x.at[1].why, CHOICE_RULE);
    cr_assert_eq(x.at[2].why, CHOICE_RULE);
    cr_assert_eq(x.at[2].lack, CHOICE_LACKS);
    cr_assert_eq(x.why, CHOICE_RULE);
    cr_assert_str_eq(refusal(&x, "g"), "Text with the label one may not go to 'g': rule stay "
                     "forbids it.");
    case_close();
}

Test(choose, the_first_permitted_and_able_member_is_first)
{
    struct choose_ask ask = case_ask("g");

    case_open(FORBID_AWAY);
    ask.needs = ACCEPTS_IMAGES;
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.first, 1);
    ask.labels = 1;
    ask.needs = ACCEPTS_TOOLS;
    x = case_choose(&ask);
    cr_assert(x.first == 0 && x.n_allowed == 1);
    case_close();
}

Test(choose, rules_of_single_paths_leave_the_others)
{
    struct choose_ask ask = case_ask("g");

    case_open("rules:\n  - {name: once, action: forbid, paths: [retry, fallback],\n"
              "     where: {model: [away]}}\n");
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.at[1].why, CHOICE_ALLOWED);
    cr_assert(x.at[1].paths >> PATH_call & 1);
    cr_assert_not(x.at[1].paths >> PATH_retry & 1);
    cr_assert_not(x.at[1].paths >> PATH_fallback & 1);
    cr_assert_not(x.at[1].paths >> PATH_continuation & 1, "it does not accept `continue`");
    cr_assert(x.at[2].paths >> PATH_continuation & 1);
    cr_assert_not(x.at[2].paths >> PATH_log & 1, "a sink is no candidate's path");
    case_close();
}

Test(choose, a_line_of_never_holds_whatever_the_rules_say)
{
    struct choose_ask ask = case_ask("away");

    case_open("never:\n  - {name: abroad, when: [two], where: {country: [us]}}\n");
    ask.labels = 2;
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_NEVER);
    cr_assert_eq(x.at[0].paths, 0);
    cr_assert(strstr(refusal(&x, "away"), "never abroad forbids it"));
    case_close();
}

Test(choose, length_and_output_exclude_by_size_before_sending)
{
    struct choose_ask ask = case_ask("g");

    case_open("");
    ask.prompt_tok = 900;
    ask.output_tok = 101;
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.at[0].why, CHOICE_CONTEXT);
    cr_assert_eq(x.first, 1);
    ask.output_tok = 100;
    x = case_choose(&ask);
    cr_assert_eq(x.at[0].why, CHOICE_ALLOWED);
    ask.output_tok = 501;
    x = case_choose(&ask);
    cr_assert_eq(x.at[0].why, CHOICE_OUTPUT);
    ask.prompt_tok = UINT64_MAX;
    x = case_choose(&ask);
    cr_assert_eq(x.at[1].why, CHOICE_CONTEXT);
    cr_assert_eq(x.at[2].why, CHOICE_ALLOWED, "nobody said how much it takes");
    ask = case_ask("small");
    ask.prompt_tok = 200;
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_CONTEXT);
    cr_assert(strstr(refusal(&x, "small"), "maximum context length is 100 tokens"));
    case_close();
}

Test(choose, counting_and_embeddings_go_where_they_exist)
{
    struct choose_ask ask = case_ask("g");

    case_open("");
    ask.kind = PATH_count_tokens;
    ask.prompt_tok = 100000;
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.at[0].why, CHOICE_DIALECT);
    cr_assert_eq(x.at[1].why, CHOICE_ALLOWED);
    cr_assert_eq(x.first, 1);
    ask.kind = PATH_embeddings;
    x = case_choose(&ask);
    cr_assert_eq(x.first, 2);
    cr_assert_eq(x.n_allowed, 1);
    ask = case_ask("near");
    ask.kind = PATH_embeddings;
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_LACKS);
    case_close();
}

Test(choose, scopes_are_of_names_and_a_model_has_several)
{
    const char *const names[] = { "near", "w" };
    struct choose_ask ask = case_ask("a");

    case_open("");
    ask.key = (struct choice_scope){ names, 2, false };
    struct choice x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_ALLOWED);
    ask.name = "g";
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_KEY_SCOPE);
    cr_assert_eq(x.n, 0);
    ask.key.any = true;
    ask.team = (struct choice_scope){ names, 1, false };
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_TEAM_SCOPE);
    cr_assert_str_eq(refusal(&x, "g"),
                     "The model 'g' does not exist or you do not have access to it.");
    ask.team = (struct choice_scope){ NULL, 0, false };
    ask.name = "near";
    x = case_choose(&ask);
    cr_assert_eq(x.why, CHOICE_TEAM_SCOPE, "no name at all");
    case_close();
}

Test(choose, weighted_members_are_all_drawn_and_first_by_their_weight)
{
    struct choose_ask ask = case_ask("w");
    int first[4] = { 0 };

    case_open("");
    for (uint64_t i = 0; i < 10000; i++) {
        ask.random = i * 7919;
        struct choice x = case_choose(&ask);
        unsigned seen = 0;
        for (int k = 0; k < x.n; k++)
            seen |= 1u << x.at[k].model;
        cr_assert_eq(x.n, 3);
        cr_assert_eq(seen, 1u << NEAR | 1u << AWAY | 1u << LAST);
        first[x.at[0].model]++;
        struct choice again = case_choose(&ask);
        cr_assert(again.at[0].model == x.at[0].model && again.at[1].model == x.at[1].model);
    }
    cr_assert(first[NEAR] > 5700 && first[NEAR] < 6300, "%d", first[NEAR]);
    cr_assert(first[AWAY] > 2700 && first[AWAY] < 3300, "%d", first[AWAY]);
    cr_assert(first[LAST] > 800 && first[LAST] < 1200, "%d", first[LAST]);
    case_close();
}

Test(choose, calls_that_wait_hold_their_model)
{
    struct choose_ask ask = case_ask("g");

    case_open(FORBID_AWAY);
    ask.affinity = LAST;
    struct choice x = case_choose(&ask);
    cr_assert(x.held && x.first == 2 && x.at[2].model == LAST, "places of an ordered group stay");
    ask.name = "w";
    x = case_choose(&ask);
    cr_assert(x.held && x.first == 0 && x.at[0].model == LAST && x.n == 3);
    ask.labels = 1;
    x = case_choose(&ask);
    cr_assert(!x.held, "a model that may not have the text is not held to");
    ask.affinity = SMALL;
    ask.labels = 0;
    x = case_choose(&ask);
    cr_assert(!x.held && x.n_allowed == 3, "one that is not named is not");
    case_close();
}

Test(choose, what_decided_is_told_to_people_and_programs)
{
    struct choose_ask ask = case_ask("g");
    struct buf out = { 0 };

    case_open(FORBID_AWAY);
    ask.labels = 1;
    ask.needs = ACCEPTS_TOOLS;
    struct choice x = case_choose(&ask);
    choice_text(&out, case_config, &x, "g");
    cr_assert(strstr(buf_text(&out), "rule stay forbids"), "%s", buf_text(&out));
    buf_release(&out);
    json_t *j = choice_json(case_config, &x, "g"), *list = json_object_get(j, "candidates");
    cr_assert_eq(json_array_size(list), 3);
    json_t *two = json_array_get(list, 1);
    cr_assert_str_eq(json_string_value(json_object_get(two, "verdict")), "rule");
    cr_assert_str_eq(json_string_value(json_object_get(two, "rule")), "stay");
    cr_assert_str_eq(json_string_value(json_object_get(j, "first")), "near");
    json_decref(j);
    case_close();
}
