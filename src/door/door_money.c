/* door_money.c - what an attempt may cost at most, and what it has cost.
 *
 * A prompt has no more tokens than its body has bytes, what a server adds for tools and images
 * aside.  What is not known is taken to be the most that it may be, so that no budget is overshot;
 * a bill corrects it (croft gateway reconcile). */
#include "door/door_form.h"

#include "gateway/worst.h"

#include <string.h>

enum { ADDED_TOK = 2048, IMAGE_TOK = 16384, OUTPUT_TOK = 131072 };

static int64_t count_images(const struct wire_request *r)
{
    int64_t n = 0;

    for (size_t i = 0; i < r->n_message; i++)
        for (size_t k = 0; k < r->message[i].n_part; k++)
            n += r->message[i].part[k].kind == WIRE_PART_IMAGE;
    return n;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void count_worst(struct ledger_usage *worst, const struct ask *a,
                        const struct config_model *m)
{
    int64_t context = m->context ? (int64_t)m->context : INT64_MAX;
    int64_t each = m->max_output ? (int64_t)m->max_output : OUTPUT_TOK;

    *worst = (struct ledger_usage){ 0 };
    if (a->kind == PATH_count_tokens)
        return;
    worst->prompt = least((int64_t)a->r.body.len + (int64_t)a->said.len + ADDED_TOK +
                          IMAGE_TOK * count_images(&a->r), context);
    if (a->r.n_prompt > 1)              /* each prompt may fill the context */
        worst->prompt = (int64_t)a->r.body.len + ADDED_TOK;
    if (a->kind == PATH_embeddings)
        return;
    each = a->r.max_tok > 0 ? a->r.max_tok : least(each, context);
    worst->completion = least(each, OUTPUT_TOK * 8) * a->r.best_of *
                        (int64_t)(a->r.n_prompt ? a->r.n_prompt : 1);
}

enum err money_most(struct ledger_usage *out, const struct ask *a, int model)
{
    const struct price *p = a->w->price[model];
    enum err e = OK;

    count_worst(out, a, &a->w->c->models[model]);
    if (p && a->kind != PATH_count_tokens)
        e = worst_cost(&out->cost, p, out->prompt, out->completion, NULL);
    return e;
}

enum err money_worst(struct ask *a, int model, struct wire_error *why)
{
    const struct limit_who who = { a->who.team, a->who.key, a->who.tags };
    const struct config_model *m = &a->w->c->models[model];
    const struct price *p = a->w->price[model];
    struct ledger_usage *worst = &a->try.worst;
    enum err e = money_most(worst, a, model);

    if (a->kind == PATH_count_tokens)
        return OK;
    if (!e && (p || !books_count_dollars(a->w->books, &who)))
        return OK;
    worst->cost = 0;
    if (e && !books_count_dollars(a->w->books, &who))
        return OK;
    wire_error_set(why, WIRE_E_FORBIDDEN, "model", "What the model '%.80s' costs is not known%s"
                   "%.200s, and a budget of this key counts dollars.", m->name, e ? ": " : "",
                   e ? err_text() : "");
    return err_set(ERR_ARG, "DOOR-19", "no price of model %s under a budget of dollars", m->name);
}

static int64_t cached(const struct usage *u)
{
    return u->n[PRICE_CACHE_READ] + u->n[PRICE_CACHE_READ_AUDIO] + u->n[PRICE_CACHE_READ_IMAGE];
}

/* By the counts as the upstream wrote them. */
static bool priced(struct ask *a, const struct price *p, struct ledger_usage *out)
{
    const struct wire_answer *answer = &a->try.answer;
    struct usage u;
    struct cost cost;

    if (usage_parse(&u, buf_text(&answer->usage_json), answer->usage_json.len, "usage"))
        return false;
    if (u.tier == TIER_STANDARD && answer->tier.len &&
        usage_set_tier(&u, buf_text(&answer->tier)))
        return false;
    if (p && cost_of(&cost, p, &u))
        return false;
    *out = (struct ledger_usage){
        .prompt = u.prompt, .completion = u.completion, .cache_read = cached(&u),
        .cache_write = u.n[PRICE_CACHE_WRITE] + u.n[PRICE_CACHE_WRITE_1H],
        .reasoning = u.n[PRICE_REASONING], .cost = p ? cost.total : 0,
    };
    return true;
}

bool money_used(struct ask *a, bool whole, struct ledger_usage *out)
{
    struct try *t = &a->try;
    const struct price *p = a->w->price[t->step.model];
    int64_t seen = (int64_t)t->n_seen;

    *out = (struct ledger_usage){ 0 };
    if (a->kind == PATH_count_tokens)
        return whole;
    if (whole && t->answer.usage_whole && priced(a, p, out))
        return true;
    if (whole && t->answer.usage_whole)
        term_warn("request %s: what it used is not understood, so its worst case is taken: %s",
                  a->id, err_text());
    *out = t->worst;
    if (whole && !t->answer.usage_whole && seen < out->completion) {
        out->completion = seen;         /* a token has a byte at least */
        if (p && worst_cost(&out->cost, p, out->prompt, seen, NULL))
            out->cost = t->worst.cost;
    }
    return false;
}
