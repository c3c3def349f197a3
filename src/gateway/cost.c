/* cost.c - see cost.h: which rate each count pays. */
#include "gateway/cost.h"

#include "gateway/exact.h"

#include <string.h>

#define TIER(...)
#define TIMES(...)
#define REFUSE(...)
#define WORD(...)
#define PLAIN(...)
#define RATE(id, field, instead, side, part, text) { PRICE_##instead, COST_##side },
static const struct { enum price_id instead; enum cost_side side; } rule[PRICE_N] = {
#include "gateway/price.def"
};
#undef RATE
#undef REFUSE

enum cost_side cost_side(enum price_id id)
{
    return rule[id].side;
}

static bool has(const struct price *p, enum price_id id)
{
    for (int i = 0; i < p->n_rate; i++)
        if (p->rate[i].id == id)
            return true;
    return false;
}

#define RATE(...)
#define HAS(id) has(p, PRICE_##id)
#define REFUSE(name, when, text) \
    if (p->refused >> i++ & 1 && (when)) \
        field = name;

static enum err check(const struct price *p, const struct usage *u)
{
    const char *field = NULL;
    int i = 0;

    if (p->bad)
        return err_set(ERR_FORMAT, "COST-01", "%s: %s of the price file %s, so that what it costs "
                       "is not known", p->model, p->bad, p->why);
#include "gateway/price.def"
    if (field)
        return err_set(ERR_FORMAT, "COST-02", "%s: %s of the price file applies to this usage and "
                       "is not computed by this version", p->model, field);
    return OK;
}

#undef RATE
#undef REFUSE

static bool crossed(const struct price *p, int64_t above, int64_t prompt)
{
    return !above || prompt > above || (prompt == above && !strcmp(p->provider, "xai"));
}

/* The rate of the highest threshold that the prompt has crossed: the tier's own, else the one
 * without tier. */
static const struct price_rate *rate_of(const struct price *p, enum price_id id,
                                        const struct usage *u)
{
    const struct price_rate *best = NULL;

    for (int i = 0; i < p->n_rate; i++) {
        const struct price_rate *r = &p->rate[i];
        if (r->id != id || (r->tier != u->tier && r->tier != TIER_STANDARD) ||
            !crossed(p, r->above, u->prompt))
            continue;
        if (!best || r->above > best->above || (r->above == best->above && r->tier == u->tier))
            best = r;
    }
    return best;
}

/* A tier that has its own price for output and none for reasoning charges reasoning as output. */
static bool as_output(const struct price *p, const struct usage *u)
{
    bool output = false;

    for (int i = 0; i < p->n_rate && u->tier != TIER_STANDARD; i++) {
        if (p->rate[i].id == PRICE_REASONING && p->rate[i].tier == u->tier)
            return false;
        output |= p->rate[i].id == PRICE_OUTPUT && p->rate[i].tier == u->tier &&
                  !p->rate[i].above;
    }
    return output;
}

/* A batch costs about half, so a model without such a price has none there.  Only reads of the
 * cache pay what they always do, and what is no token. */
static bool needs_batch(enum price_id id)
{
    return rule[id].side != COST_OTHER && id != PRICE_CACHE_READ && id != PRICE_CACHE_READ_AUDIO &&
           id != PRICE_CACHE_READ_IMAGE;
}

static enum err find_rate(const struct price_rate **out, const struct price *p,
                          const struct usage *u, enum price_id of)
{
    enum price_id id = of == PRICE_REASONING && as_output(p, u) ? PRICE_OUTPUT : of;

    for (*out = NULL; id != PRICE_NONE && !*out; id = rule[id].instead)
        *out = rate_of(p, id, u);
    if (!*out)
        return err_set(ERR_MISSING, "COST-03", "%s: the price file has no %s for %lld x %s",
                       p->model, price_field(of), (long long)u->n[of], price_part(of));
    if (u->tier == TIER_BATCH && (*out)->tier != TIER_BATCH && needs_batch((*out)->id))
        return err_set(ERR_MISSING, "COST-04", "%s: the price file has no %s%s for a prompt of "
                       "%lld tokens in a batch", p->model, price_field((*out)->id),
                       (*out)->above ? "_above_..._batches" : "_batches", (long long)u->prompt);
    return OK;
}

/* rate x factor, halves up. */
static enum err times(int64_t *rate, const struct price *p, int64_t factor)
{
    __extension__ typedef unsigned __int128 wide;
    wide v = (wide)*rate * (wide)factor + (wide)(EXACT_ONE / 2);

    v /= (wide)EXACT_ONE;
    if (v > INT64_MAX)
        return err_set(ERR_LIMIT, "COST-05", "%s: a price with its factors is more than 64 bits "
                       "hold", p->model);
    *rate = (int64_t)v;
    return OK;
}

static const struct price_factor *factor_of(const struct price *p, enum price_times id,
                                            const char *key)
{
    for (int i = 0; i < p->n_factor; i++)
        if (p->factor[i].id == id && !strcmp(p->factor[i].key, key))
            return &p->factor[i];
    return NULL;
}

static bool has_factor(const struct price *p, enum price_times id)
{
    for (int i = 0; i < p->n_factor; i++)
        if (p->factor[i].id == id)
            return true;
    return false;
}

/* Speed and place must be among a model's factors when it has any of that kind: a new place of a
 * provider that charges for places is not free. */
static enum err join_factors(int64_t *factor, const struct price *p, const struct usage *u)
{
    const struct { enum price_times id; const char *key; bool on, must; } want[] = {
        { TIMES_SPEED, "fast", u->fast, true },
        { TIMES_GEO, u->geo, *u->geo != 0, has_factor(p, TIMES_GEO) },
        { TIMES_RESIDENCY, u->residency, *u->residency != 0, false },
    };

    *factor = EXACT_ONE;
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
        const struct price_factor *f = factor_of(p, want[i].id, want[i].key);
        enum err e = OK;
        if (want[i].on && f)
            e = times(factor, p, f->factor);
        else if (want[i].on && want[i].must)
            e = err_set(ERR_MISSING, "COST-06", "%s: the price file has no factor for '%s' in "
                        "provider_specific_entry", p->model, want[i].key);
        if (e)
            return e;
    }
    return OK;
}

/* What is priced by number or length does not pay its tokens as well; where it has no such price,
 * the tokens are all there is to pay. */
static void choose_units(struct usage *u, const struct price *p)
{
    static const struct { enum price_id unit, token; } pair[] = {
        { PRICE_IMAGE, PRICE_INPUT_IMAGE }, { PRICE_AUDIO_SECOND, PRICE_INPUT_AUDIO },
        { PRICE_VIDEO_SECOND, PRICE_INPUT_VIDEO },
    };
    bool google = !strncmp(p->provider, "vertex_ai", 9) || !strcmp(p->provider, "gemini");
    bool once = *p->search_unit ? !strcmp(p->search_unit, "per_prompt") : google;

    for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++)
        if (u->n[pair[i].unit])
            u->n[has(p, pair[i].unit) ? pair[i].token : pair[i].unit] = 0;
    for (int id = PRICE_SEARCH_LOW; id <= PRICE_SEARCH_HIGH && once; id++)
        u->n[id] = u->n[id] > 0;
    if (!has(p, PRICE_REQUEST))
        u->n[PRICE_REQUEST] = 0;
}

static enum err add_part(struct cost *c, const struct price *p, const struct usage *u,
                         enum price_id id, int64_t factor)
{
    struct cost_part *part = &c->part[c->n];
    enum cost_side side = rule[id].side;
    int64_t *sum = side == COST_PROMPT ? &c->prompt
                   : side == COST_COMPLETION ? &c->completion : &c->other;
    const struct price_rate *r;
    enum err e = find_rate(&r, p, u, id);

    if (e)
        return e;
    *part = (struct cost_part){ .of = id, .priced = r->id, .units = u->n[id], .rate = r->amount };
    if (side != COST_OTHER && (e = times(&part->rate, p, factor)))
        return e;
    if (__builtin_mul_overflow(part->units, part->rate, &part->amount) ||
        __builtin_add_overflow(*sum, part->amount, sum) ||
        __builtin_add_overflow(c->total, part->amount, &c->total))
        return err_set(ERR_LIMIT, "COST-07", "%s: %lld x %s cost more than 9,223,372 dollars",
                       p->model, (long long)part->units, price_part(id));
    c->n++;
    return OK;
}

enum err cost_of(struct cost *c, const struct price *p, const struct usage *usage)
{
    struct usage u = *usage;
    int64_t factor;
    enum err e;

    *c = (struct cost){ 0 };
    if ((e = check(p, &u)) || (e = join_factors(&factor, p, &u)))
        return e;
    choose_units(&u, p);
    for (int id = 0; id < PRICE_N; id++)
        if (u.n[id] && (e = add_part(c, p, &u, (enum price_id)id, factor)))
            return e;
    return OK;
}
