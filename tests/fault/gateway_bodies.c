/* gateway_bodies.c - a configuration read and proved, a pattern run, keys and what decides about a
 * request, while memory is short. */
#include "gateway_bodies.h"

#include "gateway/aside.h"
#include "gateway/attempts.h"
#include "gateway/detect.h"
#include "gateway/keyring.h"
#include "gateway/prove.h"
#include "gateway/sealed.h"

#include <string.h>

enum err body_gateway(void)
{
    static struct proof proof;
    struct config *c;
    struct policy *p = NULL;
    enum err e = config_parse(&c, config_sample, strlen(config_sample), "sample");

    ASSERT(e == OK || c == NULL);
    if (!e)
        e = policy_new(&p, c);
    if (!e)
        e = prove(&proof, c, p);
    policy_free(p);
    config_free(c);
    return e;
}

enum err body_pattern(void)
{
    struct pattern *p;
    bool found;
    enum err e = pattern_new(&p, "a[0-9]+b", 8);

    if (!e)
        e = pattern_found(p, "xa12b", 5, &found);
    ASSERT(e || found);
    pattern_free(p);
    return e;
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

enum err body_keyring(void)
{
    struct key_row row[] = {
        { .id = "a", .hmac = ZEROS, .scopes = "infer", .team = "t", .models = "x y", .labels = "l",
          .tags = "" },
        { .id = "b", .hmac = ZEROS, .scopes = "", .team = "", .models = "", .labels = "",
          .tags = "u v" },
    };
    struct key_rows rows = { .version = 1, .salt = ZEROS, .row = row, .n = 2 };
    struct keyring_room room = { 0 };
    struct key_row back;
    struct keyring *k;
    enum err e = keyring_new(&k, &rows);

    ASSERT(e == OK || !k);
    if (!e) {
        const struct key *key = keys_find(keyring_keys(k), "a", 1);
        e = keyring_row(&back, key, keyring_may(k, key), &room);
        ASSERT(e || !strcmp(back.models, "x y"));
    }
    keyring_room_release(&room);
    keyring_free(k);
    return e;
}

static enum err keep(void)
{
    const struct aside_text id = { "call_1", 6 };
    const struct aside_part part = { .text = { "thought", 7 }, .seal = { "sealed", 6 } };
    const struct aside_entry entry = { .upstream = "own", .model = "r2", .part = &part,
                                       .n_part = 1 };
    struct aside_handle h;
    struct aside_entry back;
    struct aside *a;
    bool foreign;
    enum err e = aside_new(&a, &(struct aside_options){ .entries = 16 });

    if (e)
        return e;
    if (!(e = aside_handle(&h, ASIDE_BY_CALL, &id, 1)))
        e = aside_put(a, "key", &h, &entry);
    ASSERT(e == OK || aside_counts(a).entries == 0);
    ASSERT(e || (aside_find(a, "key", &h, "own", 1, &back, &foreign) && back.n_part == 1));
    aside_free(a);
    return e;
}

static enum err seal_and_open(const struct config *c, const struct sealer *s)
{
    const struct aside_part part = { .text = { "thought", 7 }, .seal = { "sealed", 6 } };
    const struct aside_entry entry = { .upstream = "own", .model = "r2", .labels = 1,
                                       .part = &part, .n_part = 1 };
    const struct aside_handle h = { { 1 } };
    struct sealed_room there = { .part = NULL }, back = { .part = NULL };
    struct aside_entry out;
    struct kept_row row;
    enum err e = sealed_make(&row, &there, s, c, "key", &h, &entry, 1);

    if (!e)
        e = sealed_open(&out, &back, s, c, &row);
    ASSERT(e || (out.n_part == 1 && out.labels == 1));
    sealed_room_release(&there);
    sealed_room_release(&back);
    return e;
}

enum err body_sealed(void)
{
    const char *secret = ZEROS;
    struct sealer *s = NULL;
    struct config *c;
    enum err e = config_parse(&c, config_sample, strlen(config_sample), "sample");

    if (!e)
        e = sealer_new(&s, &secret, 1);
    if (!e)
        e = seal_and_open(c, s);
    sealer_free(s);
    config_free(c);
    return e;
}

enum err body_decide(void)
{
    struct choose_ask ask = { .name = "best", .kind = PATH_call, .key.any = true,
                              .team.any = true, .affinity = -1 };
    struct circuits *circuits = NULL;
    struct config *c;
    struct policy *p = NULL;
    static struct attempts a;
    static struct choice x;
    enum err e = config_parse(&c, config_sample, strlen(config_sample), "sample");

    if (!e)
        e = policy_new(&p, c);
    if (!e)
        e = circuits_new(&circuits, c, NULL);
    if (!e) {
        choose(&x, c, p, &ask);
        attempts_start(&a, &(struct attempts_options){ .c = c, .circuits = circuits,
                                                       .choice = &x });
        attempts_cancel(&a);
        e = keep();
    }
    circuits_free(circuits);
    policy_free(p);
    config_free(c);
    return e;
}
