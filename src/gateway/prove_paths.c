/* prove_paths.c - which paths text can take through a gateway, and what must fail for it.
 *
 * A request goes to the first member that may have it and can be had.  Members are
 *   called          when none before got the text (those that may have it could not be had);
 *   fallen back to  when one before got it and failed, and so did those between that may have it;
 *   retried         when they got it and failed, with another key of theirs;
 *   continued at    when one got it and broke off inside its answer: itself or a later member that
 *                   accepts `continue`.
 * Counting tokens and embeddings walk down the group by themselves.  In a weighted group any member
 * may come first and any next. */
#include "gateway/prove_form.h"

#include <string.h>

static const struct way no_way = { .cost = NO_WAY, .first = -1, .via = -1 };

static bool accepts(const struct request *r, int i, enum accepts what)
{
    return r->c->models[r->member[i]].accepts & what;
}

static enum dialect dialect_of(const struct request *r, int i)
{
    return r->c->upstreams[r->c->models[r->member[i]].at_upstream].dialect;
}

static bool comes_before(const struct request *r, int a, int b)
{
    return r->any_order ? a != b : a < b;
}

static bool is_shorter(struct way a, struct way b)
{
    return a.cost != NO_WAY && (b.cost == NO_WAY || a.cost < b.cost);
}

/* Members in [from, to) that may have the text by this kind and so must fail first; none in a
 * weighted group, where the one wanted may be next. */
static int in_between(const struct request *r, enum path_kind kind, int from, int to)
{
    int n = 0;

    for (int j = from; !r->any_order && j < to; j++)
        n += r->may[kind][j];
    return n;
}

static struct way to_call(const struct request *r, int i)
{
    if (!r->may[PATH_call][i])
        return no_way;
    return (struct way){ in_between(r, PATH_call, 0, i), i, -1 };
}

static struct way to_fallback(const struct request *r, int i)
{
    struct way best = no_way;

    for (int f = 0; r->may[PATH_fallback][i] && f < r->n; f++) {
        if (!comes_before(r, f, i) || r->call[f].cost == NO_WAY)
            continue;
        int between = in_between(r, PATH_fallback, f + 1, i);
        struct way w = { r->call[f].cost + 1 + between, f, f };
        if (is_shorter(w, best))
            best = w;
    }
    return best;
}

void request_init(struct request *r, const struct config *c, const struct policy *p,
                  uint64_t labels, int model, int group)
{
    const struct config_group *g = group >= 0 ? &c->groups[group] : NULL;

    r->c = c;
    r->p = p;
    r->labels = labels;
    r->n = g ? g->n_model : model >= 0;
    r->any_order = g && g->weighted;
    for (int i = 0; i < r->n; i++)
        r->member[i] = g ? g->model[i] : model;
    for (int k = 0; k < PATH_N; k++) {
        bool able = true;
        for (int i = 0; i < r->n; i++) {
            if (k == PATH_continuation)
                able = accepts(r, i, ACCEPTS_CONTINUE);
            else if (k == PATH_count_tokens)
                able = dialect_of(r, i) == DIALECT_ANTHROPIC;
            else if (k == PATH_embeddings)
                able = accepts(r, i, ACCEPTS_EMBEDDINGS);
            r->may[k][i] = able && (!p || policy_decide(p, labels, r->member[i],
                                                        (enum path_kind)k).allow);
        }
    }
    for (int i = 0; i < r->n; i++)
        r->call[i] = to_call(r, i);
    for (int i = 0; i < r->n; i++) {
        r->fallback[i] = to_fallback(r, i);
        r->tried[i] = is_shorter(r->fallback[i], r->call[i]) ? r->fallback[i] : r->call[i];
    }
}

static struct way reach_call(const struct request *r, int i)
{
    return r->call[i];
}

static struct way reach_fallback(const struct request *r, int i)
{
    return r->fallback[i];
}

static struct way reach_retry(const struct request *r, int i)
{
    struct way w = r->tried[i];

    if (w.cost == NO_WAY || !r->may[PATH_retry][i])
        return no_way;
    return (struct way){ w.cost + 1, w.first, i };
}

static struct way reach_continuation(const struct request *r, int i)
{
    struct way best = no_way;

    for (int a = 0; r->may[PATH_continuation][i] && a < r->n; a++) {
        struct way w = r->tried[a];
        if (w.cost == NO_WAY || (a != i && !comes_before(r, a, i)))
            continue;
        w.cost += 1 + in_between(r, PATH_continuation, a, i);
        w.via = a;
        if (is_shorter(w, best))
            best = w;
    }
    return best;
}

/* Kinds that walk down the group alone. */
static struct way walk_down(const struct request *r, enum path_kind kind, int i)
{
    return r->may[kind][i] ? (struct way){ in_between(r, kind, 0, i), i, -1 } : no_way;
}

static struct way reach_count_tokens(const struct request *r, int i)
{
    return walk_down(r, PATH_count_tokens, i);
}

static struct way reach_embeddings(const struct request *r, int i)
{
    return walk_down(r, PATH_embeddings, i);
}

static struct way at_sink(const struct request *r, enum path_kind kind, bool open)
{
    int place = place_of_sink(r->c, path_sink(kind));

    if (!open || (r->p && !policy_decide(r->p, r->labels, place, kind).allow))
        return no_way;
    return (struct way){ 0, -1, -1 };
}

/* What is kept aside comes from a model that reasons and has the text. */
static struct way to_kept(const struct request *r, struct way open)
{
    struct way best = no_way;

    for (int a = 0; open.cost != NO_WAY && a < r->n; a++) {
        struct way w = r->tried[a], more = reach_continuation(r, a);
        if (!accepts(r, a, ACCEPTS_REASONING))
            continue;
        w.via = a;
        if (is_shorter(w, best))
            best = w;
        if (is_shorter(more, best))
            best = (struct way){ more.cost, more.first, a };
    }
    return best;
}

static struct way reach_kept_aside(const struct request *r, int i)
{
    (void)i;
    return to_kept(r, at_sink(r, PATH_kept_aside, true));
}

static struct way reach_kept_ledger(const struct request *r, int i)
{
    (void)i;
    return to_kept(r, at_sink(r, PATH_kept_ledger, r->c->state.kept_in_ledger));
}

static struct way reach_log(const struct request *r, int i)
{
    (void)i;
    return at_sink(r, PATH_log, r->c->listen.log.file && r->c->listen.log.text);
}

static struct way reach_trace(const struct request *r, int i)
{
    (void)i;
    return at_sink(r, PATH_trace, r->c->listen.trace.file && r->c->listen.trace.text);
}

/* An upstream's words about a request may quote it; they go to the client. */
static struct way reach_error(const struct request *r, int i)
{
    (void)i;
    return at_sink(r, PATH_error, true);
}

reach_fn *const reach[PATH_N] = {
#define PATH(id, word, ends) reach_##id,
#include "gateway/path.def"
#undef PATH
};

static int fail(const struct request *r, enum path_kind kind, int from, int to, int *failed, int n)
{
    for (int j = from; !r->any_order && j < to; j++)
        if (r->may[kind][j])
            failed[n++] = r->member[j];
    return n;
}

/* The failures of a way to member i that got the text by a call or a fallback. */
static int fail_before(const struct request *r, int i, struct way w, int *failed)
{
    int n = fail(r, PATH_call, 0, w.first, failed, 0);

    if (w.first == i)
        return n;
    failed[n++] = r->member[w.first];
    return fail(r, PATH_fallback, w.first + 1, i, failed, n);
}

int failures(const struct request *r, enum path_kind kind, int i, struct way w, int *failed)
{
    int n;

    if (path_sink(kind) != SINK_MODEL) {
        if (w.via < 0)
            return 0;
        if (r->tried[w.via].cost == w.cost)
            return fail_before(r, w.via, r->tried[w.via], failed);
        return failures(r, PATH_continuation, w.via, reach_continuation(r, w.via), failed);
    }
    if (kind == PATH_count_tokens || kind == PATH_embeddings)
        return fail(r, kind, 0, i, failed, 0);
    if (w.via < 0 || kind == PATH_fallback)
        return fail_before(r, i, w, failed);
    n = fail_before(r, w.via, r->tried[w.via], failed);
    failed[n++] = r->member[w.via];
    return kind == PATH_continuation ? fail(r, kind, w.via, i, failed, n) : n;
}
