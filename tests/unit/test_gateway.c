/* test_gateway.c - gateway/config.h, policy.h, prove.h: what a file may hold and promise. */
#include "gateway/prove.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD \
    "listen: {address: 127.0.0.1:4010}\n" \
    "state: {folder: /tmp/none}\n" \
    "ledger: {url: 'sqlite:/tmp/none/l.db'}\n"
#define UPSTREAMS \
    "upstreams:\n" \
    "  - {name: own, dialect: chat, url: 'http://127.0.0.1:1/v1', country: de}\n" \
    "  - {name: far, dialect: anthropic, url: 'https://far.example', country: us}\n"
#define MODELS \
    "models:\n" \
    "  - {name: near, upstream: own, aliases: [a], accepts: [continue]}\n" \
    "  - {name: away, upstream: far, accepts: [reasoning], origin: us}\n"
#define GROUP "groups:\n  - {name: g, members: [{model: a}, {model: away}]}\n"
#define LABELS "labels:\n  - {name: one}\n  - {name: two}\n"
#define WHOLE HEAD UPSTREAMS MODELS GROUP LABELS

static enum err parse(struct config **c, const char *text)
{
    return config_parse(c, text, strlen(text), "x.yaml");
}

static void refused(const char *text, const char *id, const char *words)
{
    struct config *c;
    enum err e = parse(&c, text);

    cr_assert(e == ERR_FORMAT || e == ERR_LIMIT, "%s", text);
    cr_assert_null(c);
    cr_assert_str_eq(err_id(), id, "%s", err_text());
    cr_assert(strstr(err_text(), words), "'%s' is not in: %s", words, err_text());
}

Test(gateway_config, every_section_of_the_sample_is_read)
{
    struct config *c;

    cr_assert_eq(parse(&c, config_sample), OK, "%s", err_text());
    cr_assert_eq(c->upstreams_count, 2);
    cr_assert_eq(c->upstreams[0].timeouts.ms[TIMEOUT_FIRST_BYTE], 120000);
    cr_assert_eq(c->upstreams[1].dialect, DIALECT_ANTHROPIC);
    cr_assert_str_eq(c->upstreams[1].keys[0], "env:ANTHROPIC_API_KEY");
    cr_assert_eq(config_model_find(c, "default"), 0);
    cr_assert_str_eq(c->models[0].as, "deepseek-r2");
    cr_assert_eq(c->models[1].accepts, (unsigned)(ACCEPTS_TOOLS | ACCEPTS_IMAGES | ACCEPTS_SCHEMA |
                                                  ACCEPTS_REASONING));
    cr_assert_eq(c->groups[0].n_model, 2);
    cr_assert(c->labels[0].strict && !c->labels[1].strict);
    cr_assert_eq(config_labels(c), 4);
    cr_assert_eq(config_label_find(c, "unscanned"), 3);
    cr_assert_eq(c->teams[0].label_set, 1);
    cr_assert_eq(c->budgets[0].limit.picodollars, INT64_C(250) * 1000000000000);
    cr_assert(c->budgets[0].hard && !c->ledger.seldom);
    config_free(c);
}

Test(gateway_config, an_error_has_file_line_field_and_remedy)
{
    refused(HEAD UPSTREAMS "models:\n  - {name: m, upstream: nobody}\n", "GREF-08",
            "x.yaml:8: models[0].upstream: there is no upstream 'nobody'; add it");
    refused(HEAD UPSTREAMS "models:\n  - {name: m, upstream: own, hue: red}\n", "GCONF-19",
            "x.yaml:8");
    refused(HEAD UPSTREAMS "models:\n  - name: m\n", "GCONF-19", "upstream");
    refused(HEAD "upstreams:\n  - {name: o, dialect: ftp, url: 'http://a'}\n", "GCONF-19",
            "x.yaml:5: dialect");
}

Test(gateway_config, what_a_yaml_text_may_not_hold_is_refused)
{
    refused("", "GCONF-14", "gateway init");
    refused("listen: {address: &a x}\n", "GCONF-07", "x.yaml:1");
    refused("a: *b\n", "GCONF-11", "x.yaml:1");
    refused("a: !!str b\n", "GCONF-07", "tags");
    refused("a: 1\nb: 2\na: 3\n", "GCONF-04", "x.yaml:3: a is there already, in line 1");
    refused("a: 1\n---\nb: 2\n", "GCONF-10", "second");
    refused("a: \"\\0\"\n", "GCONF-06", "0x00");
    refused("a: [[[[[[[[[[[[[[]]]]]]]]]]]]]]\n", "GCONF-09", "12 levels");
    refused("a: {\n", "GCONF-13", "x.yaml:2");
    refused("a: \xff\n", "GCONF-13", "not YAML");
}

Test(gateway_config, names_are_of_one_thing_and_of_something_that_is_there)
{
    refused(HEAD UPSTREAMS MODELS "groups:\n  - {name: a, members: [{model: near}]}\n", "GREF-07",
            "'a'");
    refused(HEAD UPSTREAMS MODELS "groups:\n  - {name: g, members: [{model: x}]}\n", "GREF-14",
            "'x'");
    refused(HEAD UPSTREAMS MODELS "groups:\n  - {name: g, members: [{model: h}]}\n"
            "  - {name: h, members: [{model: g}]}\n", "GREF-13", "holds itself");
    refused(WHOLE "rules:\n  - {name: r, action: forbid, when: [three]}\n", "GREF-21",
            "rules[0].when[0]: there is no label 'three'");
    refused(WHOLE "never:\n  - {name: r, where: {model: [a]}}\n", "GREF-22", "alias");
    refused(WHOLE "never:\n  - {name: r}\n  - {name: r}\n", "GREF-23", "never[0]");
    refused(WHOLE "teams:\n  - {name: t, models: [x]}\n", "GREF-25", "'x'");
    refused(WHOLE "budgets:\n  - {name: b, team: t, period: day, mode: soft, limit: {tokens: 1}}\n",
            "GREF-28", "no team 't'");
    refused(WHOLE "budgets:\n  - {name: b, tag: t, period: day, mode: soft, "
            "limit: {requests: 0}}\n", "GREF-32", "limits nothing");
}

Test(gateway_config, a_secret_in_the_file_is_refused_and_not_repeated)
{
    refused(HEAD "upstreams:\n  - {name: o, dialect: chat, url: 'http://a', "
            "keys: [sk-verysecret]}\n" MODELS, "GREF-02", "x.yaml:5: upstreams[0].keys[0]");
    cr_assert_null(strstr(err_text(), "verysecret"));
    refused("listen: {address: 'a:1'}\nstate: {folder: f}\nledger: {url: 'postgres://u:pw@h/d'}\n"
            UPSTREAMS MODELS, "GREF-26", "env:NAME");
    cr_assert_null(strstr(err_text(), "pw"));
}

Test(gateway_config, a_ledger_is_synced_seldom_where_it_is_a_file)
{
    struct config *c;

    cr_assert_eq(parse(&c, "listen: {address: 127.0.0.1:4010}\nstate: {folder: f}\n"
                       "ledger: {url: 'sqlite:f/l.db', sync: normal}\n" UPSTREAMS MODELS), OK,
                 "%s", err_text());
    cr_assert(c->ledger.seldom);
    config_free(c);
    refused("listen: {address: 127.0.0.1:4010}\nstate: {folder: f}\n"
            "ledger: {url: env:DB, sync: normal}\n" UPSTREAMS MODELS, "GREF-36", "ledger.sync");
}

Test(gateway_config, groups_in_groups_open_without_doubling)
{
    char text[8192];
    int n = snprintf(text, sizeof(text), "%s", HEAD UPSTREAMS MODELS
                     "groups:\n  - {name: g0, members: [{model: near}, {model: away}]}\n");
    struct config *c;

    for (int i = 1; i < 60; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "  - {name: g%d, members: [{model: g%d}, {model: g%d}]}\n", i, i - 1, i - 1);
    cr_assert_eq(parse(&c, text), OK, "%s", err_text());
    cr_assert_eq(c->groups[59].n_model, 2);
    cr_assert_eq(c->groups[59].model[1], 1);
    config_free(c);
}

struct world { struct config *c; struct policy *p; struct proof proof; };

static struct world *proved(const char *rules)
{
    static struct world w;
    char text[4096];

    snprintf(text, sizeof(text), "%s%s", WHOLE, rules);
    cr_assert_eq(parse(&w.c, text), OK, "%s", err_text());
    cr_assert_eq(policy_new(&w.p, w.c), OK);
    cr_assert_eq(prove(&w.proof, w.c, w.p), OK, "%s", err_text());
    return &w;
}

static void end(struct world *w)
{
    policy_free(w->p);
    config_free(w->c);
}

Test(gateway_policy, the_first_rule_that_holds_decides)
{
    struct world *w = proved("rules:\n  - {name: r, action: forbid, when: [one], "
                             "except: {country: [de]}}\n"
                             "  - {name: s, action: allow, when: [one, two]}\n"
                             "never:\n  - {name: n, when: [two], where: {origin: [us]}}\n");
    struct verdict v = policy_decide(w->p, 0, 1, PATH_call);

    cr_assert(v.allow && v.rule == -1 && v.never == -1 && policy_lets(v));
    v = policy_decide(w->p, 3, 1, PATH_call);
    cr_assert(!v.allow && v.rule == 0 && v.never == 0 && !policy_lets(v));
    v = policy_decide(w->p, 3, 0, PATH_call);
    cr_assert(v.allow && v.rule == 1 && policy_lets(v));
    v = policy_decide(w->p, 2, 1, PATH_call);
    cr_assert(v.allow && v.never == 0 && !policy_lets(v));
    v = policy_decide(w->p, 1, place_of_sink(w->c, SINK_CLIENT), PATH_error);
    cr_assert(!v.allow, "a place without a country is not one with the right one");
    end(w);
}

Test(gateway_prove, the_shortest_way_is_named)
{
    struct world *w = proved("rules:\n  - {name: r, action: forbid, when: [one], paths: [call]}\n"
                             "never:\n  - {name: n, when: [one], where: {country: [us]}, "
                             "paths: [call, retry, fallback]}\n");

    cr_assert_eq(w->proof.n_counter, 0, "nothing is called, so nothing fails over");
    end(w);
    w = proved("rules:\n  - {name: r, action: forbid, when: [one], paths: [call], where: {country: "
               "[us]}}\nnever:\n  - {name: n, when: [one], where: {country: [us]}, "
               "paths: [call, fallback, retry]}\n");
    cr_assert_eq(w->proof.n_counter, 1);
    const struct counter *x = proof_shortest(&w->proof);
    cr_assert(x->kind == PATH_fallback && x->labels == 1 && x->place == 1 && x->group == 0);
    cr_assert(x->n_failed == 1 && x->failed[0] == 0 && x->rule == -1);
    end(w);
}

Test(gateway_prove, a_label_that_unlocks_is_found)
{
    struct world *w = proved("rules:\n  - {name: up, action: allow, when: [one, two]}\n"
                             "  - {name: down, action: forbid, when: [one]}\n"
                             "never:\n  - {name: n, when: [one], where: {model: [away]}}\n");
    const struct counter *x = proof_shortest(&w->proof);

    cr_assert(x && x->labels == 3 && x->n_failed == 0 && x->rule == 0);
    end(w);
}

Test(gateway_prove, each_kind_of_path_exists_where_it_should)
{
    struct world *w = proved("");
    static const uint32_t want[PATH_N] = {
        [PATH_call] = 4, [PATH_fallback] = 1, [PATH_retry] = 4, [PATH_continuation] = 2,
        [PATH_count_tokens] = 2, [PATH_kept_aside] = 1, [PATH_error] = 1,
    };

    for (int k = 0; k < PATH_N; k++)
        cr_assert_eq(w->proof.n_path[k], want[k], "%s: %u", path_word((enum path_kind)k),
                     w->proof.n_path[k]);
    end(w);
}

Test(gateway_prove, too_many_sets_of_labels_are_an_error)
{
    struct config *c;
    struct policy *p;
    struct proof *proof = malloc(sizeof(*proof));
    char *text = malloc(1 << 16);
    int n = snprintf(text, 1 << 16, "%s", HEAD UPSTREAMS MODELS "labels:\n");

    for (int i = 0; i < 40; i++)
        n += snprintf(text + n, 100, "  - {name: l%d}\n", i);
    n += snprintf(text + n, 100, "rules:\n");
    for (int i = 0; i < 40; i++)
        n += snprintf(text + n, 100, "  - {name: r%d, action: allow, when: [l%d]}\n", i, i);
    snprintf(text + n, 100, "never:\n  - {name: n, where: {country: [us]}}\n");
    cr_assert_eq(parse(&c, text), OK, "%s", err_text());
    cr_assert_eq(policy_new(&p, c), OK);
    cr_assert_eq(prove(proof, c, p), ERR_LIMIT);
    cr_assert_str_eq(err_id(), "GPROVE-01");
    policy_free(p);
    config_free(c);
    free(proof);
    free(text);
}
