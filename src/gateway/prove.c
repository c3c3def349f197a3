/* prove.c - looks through the sets of labels that matter (prove.h says which) for a path along
 * which the rules let text go where `never` holds. */
#include "gateway/prove_form.h"

#include <stdlib.h>
#include <string.h>

/* Sets of labels, each once; a table of twice as many places. */
struct sets { uint64_t *set; uint32_t *slot; uint32_t n; };
enum { SLOTS = 2 * PROVE_SETS_MAX };

static enum err sets_add(struct sets *s, uint64_t set, const char *never)
{
    uint64_t at = (set * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

    for (at %= SLOTS; s->slot[at]; at = (at + 1) % SLOTS)
        if (s->set[s->slot[at] - 1] == set)
            return OK;
    if (s->n == PROVE_SETS_MAX)
        return err_set(ERR_LIMIT, "GPROVE-01", "never '%s': the rules tell more than %d sets of "
                       "labels apart, so nothing is proved; let fewer rules that allow have labels "
                       "of their own", never, PROVE_SETS_MAX);
    s->set[s->n++] = set;
    s->slot[at] = s->n;
    return OK;
}

/* The labels of `never` and of at most PROVE_CHAIN_MAX rules that allow. */
static enum err sets_fill(struct sets *s, const struct config *c, const struct config_rule *never)
{
    uint32_t end = 0;
    enum err e;

    s->n = 0;
    memset(s->slot, 0, SLOTS * sizeof(*s->slot));
    e = sets_add(s, never->when_set, never->name);
    for (int step = 0; step < PROVE_CHAIN_MAX && !e && end < s->n; step++) {
        uint32_t begin = end;
        end = s->n;
        for (uint32_t i = begin; i < end; i++)
            for (unsigned r = 0; r < c->rules_count && !e; r++)
                if (c->rules[r].allow)
                    e = sets_add(s, s->set[i] | c->rules[r].when_set, never->name);
    }
    return e;
}

static bool is_better(const struct counter *a, int n_failed, uint64_t labels)
{
    int now = __builtin_popcountll(labels), then = __builtin_popcountll(a->labels);

    return a->never < 0 || now < then || (now == then && n_failed < a->n_failed);
}

/* Every path of one request against one line of `never`. */
static void try_request(struct counter *best, struct request *r, int never, int model, int group)
{
    for (int k = 0; k < PATH_N; k++) {
        enum path_kind kind = (enum path_kind)k;
        enum sink sink = path_sink(kind);
        for (int i = 0; i < (sink == SINK_MODEL ? r->n : 1); i++) {
            int place = sink == SINK_MODEL ? r->member[i] : place_of_sink(r->c, sink);
            if (!policy_never(r->p, never, r->labels, place, kind))
                continue;
            struct way w = reach[kind](r, i);
            if (w.cost == NO_WAY || !is_better(best, w.cost, r->labels))
                continue;
            *best = (struct counter){ .never = never, .labels = r->labels, .kind = kind,
                                      .place = place, .model = model, .group = group };
            best->rule = policy_decide(r->p, r->labels, place, kind).rule;
            best->n_failed = failures(r, kind, i, w, best->failed);
            ASSERT(best->n_failed == w.cost);
        }
    }
}

/* Everything a request can name: nothing that is there (it is refused, logged all the same),
 * models, groups. */
static void each_request(struct request *r, const struct config *c, const struct policy *p,
                         uint64_t labels, int never, struct counter *best, uint32_t *n_path)
{
    int n_model = (int)c->models_count, n_group = (int)c->groups_count;

    for (int t = -1; t < n_model + n_group; t++) {
        int model = t < n_model ? t : -1, group = t < n_model ? -1 : t - n_model;
        request_init(r, c, p, labels, model, group);
        if (p) {
            try_request(best, r, never, model, group);
            continue;
        }
        for (int k = 0; k < PATH_N; k++)
            for (int i = 0; i < (path_sink((enum path_kind)k) == SINK_MODEL ? r->n : 1); i++)
                if (reach[k](r, i).cost != NO_WAY)
                    n_path[k] = path_sink((enum path_kind)k) == SINK_MODEL ? n_path[k] + 1 : 1;
    }
}

enum err prove(struct proof *out, const struct config *c, const struct policy *p)
{
    struct sets s = { .set = malloc(PROVE_SETS_MAX * sizeof(*s.set)),
                      .slot = malloc(SLOTS * sizeof(*s.slot)) };
    struct request *r = malloc(sizeof(*r));
    enum err e = OK;

    *out = (struct proof){ 0 };
    if (!s.set || !s.slot || !r)
        e = err_set(ERR_NOMEM, "GPROVE-02", "no memory to prove anything");
    if (!e)
        each_request(r, c, NULL, 0, -1, NULL, out->n_path);
    for (int v = 0; !e && v < (int)c->never_count; v++) {
        struct counter *best = &out->counter[out->n_counter];
        best->never = -1;
        e = sets_fill(&s, c, &c->never[v]);
        for (uint32_t i = 0; !e && i < s.n; i++)
            each_request(r, c, p, s.set[i], v, best, NULL);
        out->n_set += s.n;
        out->n_counter += best->never >= 0;
    }
    free(s.set);
    free(s.slot);
    free(r);
    return e;
}

const struct counter *proof_shortest(const struct proof *p)
{
    const struct counter *best = NULL;

    for (int i = 0; i < p->n_counter; i++)
        if (!best || is_better(best, p->counter[i].n_failed, p->counter[i].labels))
            best = &p->counter[i];
    return best;
}
