/* gateway_cases.h - a configuration of four models at three upstreams, for tests of decisions. */
#ifndef TESTS_GATEWAY_CASES_H
#define TESTS_GATEWAY_CASES_H

#include "gateway/choose.h"

#include <criterion/criterion.h>
#include <string.h>

enum { OWN, FAR, MORE };                /* upstreams */
enum { NEAR, SMALL, AWAY, LAST };       /* models */

#define CASE_HEAD \
    "listen: {address: 127.0.0.1:4010}\n" \
    "state: {folder: /tmp/none}\n" \
    "ledger: {url: 'sqlite:/tmp/none/l.db'}\n" \
    "upstreams:\n" \
    "  - {name: own, dialect: chat, url: 'http://127.0.0.1:1/v1', country: de,\n" \
    "     timeouts: {connect: 1s, first_byte: 10s, idle: 10s, total: 60s}}\n" \
    "  - {name: far, dialect: anthropic, url: 'https://far.example', country: us,\n" \
    "     keys: [env:A, env:B, env:C], timeouts: {total: 60s}}\n" \
    "  - {name: more, dialect: chat, url: 'https://more.example', country: us,\n" \
    "     timeouts: {total: 60s}}\n" \
    "models:\n" \
    "  - {name: near, upstream: own, aliases: [a], context: 1000, max_output: 500,\n" \
    "     accepts: [tools, continue]}\n" \
    "  - {name: small, upstream: own, context: 100, accepts: [schema]}\n" \
    "  - {name: away, upstream: far, context: 5000, accepts: [tools, images, reasoning]}\n" \
    "  - {name: last, upstream: more, accepts: [tools, images, continue, embeddings]}\n" \
    "groups:\n" \
    "  - {name: g, members: [{model: a}, {model: away}, {model: last}]}\n" \
    "  - {name: w, order: weighted, members: [{model: near, weight: 6},\n" \
    "     {model: away, weight: 3}, {model: last, weight: 1}]}\n" \
    "labels:\n  - {name: one}\n  - {name: two}\n"

static struct config *case_config;
static struct policy *case_policy;

static inline void case_open(const char *rules)
{
    char text[8192];

    snprintf(text, sizeof(text), "%s%s", CASE_HEAD, rules);
    cr_assert_eq(config_parse(&case_config, text, strlen(text), "x.yaml"), OK, "%s", err_text());
    cr_assert_eq(policy_new(&case_policy, case_config), OK);
}

static inline void case_close(void)
{
    policy_free(case_policy);
    config_free(case_config);
    case_policy = NULL;
    case_config = NULL;
}

static inline struct choose_ask case_ask(const char *name)
{
    return (struct choose_ask){ .name = name, .kind = PATH_call, .key.any = true,
                                .team.any = true, .affinity = -1 };
}

static inline struct choice case_choose(const struct choose_ask *ask)
{
    struct choice x;

    choose(&x, case_config, case_policy, ask);
    return x;
}

#endif
