/* fuzz_gateway.c - any bytes as a gateway's configuration: refused, or whole, and then proved or
 * refuted by a path that the rules do let through.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address,undefined; without it, replay.c is the main. */
#include "gateway/detect.h"
#include "gateway/prove.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_proof(const struct config *c, const struct policy *p, const struct proof *proof)
{
    for (int i = 0; i < proof->n_counter; i++) {
        const struct counter *x = &proof->counter[i];
        struct verdict v = policy_decide(p, x->labels, x->place, x->kind);
        ASSERT(v.allow && v.never >= 0 && !policy_lets(v) && v.rule == x->rule);
        ASSERT(policy_never(p, x->never, x->labels, x->place, x->kind));
        for (int j = 0; j < x->n_failed; j++)
            ASSERT(x->failed[j] >= 0 && x->failed[j] < (int)c->models_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proof proof;
    struct config *c;
    struct policy *p;
    struct find span;
    enum err e = config_parse(&c, (const char *)data, size, "fuzz.yaml");

    for (int d = 0; d < DETECTOR_N; d++)
        for (size_t at = 0; detect_next((enum detector)d, (const char *)data, size, at, &span);) {
            ASSERT(span.begin >= at && span.end > span.begin && span.end <= size);
            at = span.end;
        }
    ASSERT(e == OK ? c != NULL : c == NULL && (e == ERR_FORMAT || e == ERR_LIMIT));
    if (e)
        return 0;
    for (unsigned i = 0; i < c->models_count; i++)
        ASSERT(c->models[i].at_upstream >= 0 && config_model_find(c, c->models[i].name) == (int)i);
    ASSERT(policy_new(&p, c) == OK);
    e = prove(&proof, c, p);
    ASSERT(e == OK || e == ERR_LIMIT);
    if (!e)
        check_proof(c, p, &proof);
    policy_free(p);
    config_free(c);
    return 0;
}
