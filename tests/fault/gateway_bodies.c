/* gateway_bodies.c - a configuration read and proved, a pattern run, while memory is short. */
#include "gateway_bodies.h"

#include "gateway/detect.h"
#include "gateway/prove.h"

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
