/* policy.c - rules made into bits: which places each one means is worked out once, so that a
 * decision is three tests a rule. */
#include "gateway/policy.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES_MAX = MODELS_MAX + SINK_N, PLACE_WORDS = (PLACES_MAX + 63) / 64 };

struct condition {
    uint64_t when;
    uint32_t paths;
    bool allow;
    uint64_t place[PLACE_WORDS];        /* bit i: place i is meant */
};

struct policy {
    int n_rule, n_never;
    struct condition rule[RULES_MAX], never[NEVER_MAX];
};

int place_of_sink(const struct config *c, enum sink sink)
{
    return (int)c->models_count + (int)sink;
}

enum sink path_sink(enum path_kind kind)
{
    static const enum sink ends[] = {
#define PATH(id, word, end) SINK_##end,
#include "gateway/path.def"
#undef PATH
    };
    return ends[kind];
}

/* The value of an attribute at a place, or NULL. */
static const char *value_at(const struct config *c, int place, enum attr a)
{
    if (place < (int)c->models_count) {
        const struct config_model *m = &c->models[place];
        const struct config_upstream *u = &c->upstreams[m->at_upstream];
        if (a == ATTR_dialect)
            return dialect_word(u->dialect);
        return m->attr[a] ? m->attr[a] : u->attr[a];
    }
    switch ((enum sink)(place - (int)c->models_count)) {
    case SINK_LOG:    return c->listen.log.attr[a];
    case SINK_TRACE:  return c->listen.trace.attr[a];
    case SINK_STATE:  return c->state.attr[a];
    case SINK_LEDGER: return c->ledger.attr[a];
    case SINK_CLIENT: return a == ATTR_upstream ? sink_word(SINK_CLIENT) : NULL;
    default:          return NULL;
    }
}

/* Has the place a value of each attribute that is asked for?  *asked: is one? */
static bool has_all(const struct config *c, const struct config_where *w, int place, bool *asked)
{
    *asked = false;
    for (int a = 0; a < ATTR_N; a++) {
        const char *value = w->count[a] ? value_at(c, place, (enum attr)a) : NULL;
        bool has = false;
        for (unsigned i = 0; value && i < w->count[a] && !has; i++)
            has = !strcmp(w->value[a][i], value);
        *asked = *asked || w->count[a];
        if (w->count[a] && !has)
            return false;
    }
    return true;
}

static void compile(struct condition *out, const struct config *c, const struct config_rule *r)
{
    *out = (struct condition){ .when = r->when_set, .paths = r->paths, .allow = r->allow };
    for (int place = 0; place < (int)c->models_count + SINK_N; place++) {
        bool asked, where = has_all(c, &r->where, place, &asked);
        bool except = has_all(c, &r->except, place, &asked) && asked;
        if (where && !except)
            out->place[place / 64] |= UINT64_C(1) << place % 64;
    }
}

enum err policy_new(struct policy **out, const struct config *c)
{
    struct policy *p = calloc(1, sizeof(*p));

    *out = p;
    if (!p)
        return err_set(ERR_NOMEM, "GPOL-01", "no memory for the rules");
    p->n_rule = (int)c->rules_count;
    p->n_never = (int)c->never_count;
    for (int i = 0; i < p->n_rule; i++)
        compile(&p->rule[i], c, &c->rules[i]);
    for (int i = 0; i < p->n_never; i++)
        compile(&p->never[i], c, &c->never[i]);
    return OK;
}

void policy_free(struct policy *p)
{
    free(p);
}

static bool holds(const struct condition *r, uint64_t labels, int place, enum path_kind kind)
{
    return !(r->when & ~labels) && r->paths >> kind & 1 && r->place[place / 64] >> place % 64 & 1;
}

bool policy_never(const struct policy *p, int never, uint64_t labels, int place,
                  enum path_kind kind)
{
    return holds(&p->never[never], labels, place, kind);
}

struct verdict policy_decide(const struct policy *p, uint64_t labels, int place,
                             enum path_kind kind)
{
    struct verdict v = { .allow = true, .rule = -1, .never = -1 };

    for (int i = 0; i < p->n_rule && v.rule < 0; i++)
        if (holds(&p->rule[i], labels, place, kind))
            v = (struct verdict){ .allow = p->rule[i].allow, .rule = i, .never = -1 };
    for (int i = 0; i < p->n_never && v.never < 0; i++)
        if (holds(&p->never[i], labels, place, kind))
            v.never = i;
    return v;
}
