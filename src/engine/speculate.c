/* speculate.c - steps of a token and its drafts.
 *
 * The session holds the `len` tokens that were pushed, and behind them `n_ahead` drafts whose
 * rows are computed; `rows` are the logits of the last pushed token and of the drafts, in order.
 * Without rows the logits are the session's own. */
#include "engine/speculate.h"

#include "base/term.h"
#include "engine/pace.h"

#include <stdlib.h>
#include <string.h>

struct speculate {
    struct session *s;
    struct sampler *sampler;
    int64_t len, len_step;              /* pushed; before the last step */
    int n_ahead, n_vocab;
    const float *rows;                  /* of len - 1 and the drafts behind it; NULL: none */
    int32_t *id;                        /* [n_ctx + DRAFT_MOST], what was pushed */
    uint8_t *kind;                      /* [n_ctx] */
    void *drafter[DRAFT_COUNT];         /* NULL: not used */
    int most[DRAFT_COUNT], limit;
    struct draft draft[DRAFT_COUNT];    /* its last proposal, and how much of it was right */
    int n_seen[DRAFT_COUNT];
    bool paced;
    struct pace pace;
    struct speculate_stats stats;
};

static enum err new_drafters(struct speculate *p, const struct speculate_options *o)
{
    int32_t most = session_push_most(p->s) - 1;
    bool any = false;

    for (int d = 0; d < DRAFT_COUNT; d++) {
        any = any || o->use[d];
        const struct drafter_def *def = drafter_def((enum draft_kind)d);
        p->most[d] = o->n_max ? o->n_max : def->most;
        if (p->most[d] > most)
            p->most[d] = most;
        if (!o->use[d])
            continue;
        enum err e = def->new(&p->drafter[d], &o->draft);
        if (e != OK)
            return e;
    }
    return any ? session_push_ready(p->s) : OK;
}

enum err speculate_new(struct speculate **out, const struct speculate_options *o)
{
    struct speculate *p = calloc(1, sizeof(*p));
    size_t n_ctx = (size_t)session_ctx(o->draft.session);
    enum err e;

    *out = NULL;
    ASSERT(o->n_max >= 0 && o->n_max <= DRAFT_MOST);
    if (p) {
        p->s = o->draft.session;
        p->n_vocab = model_info(session_parts(p->s).model)->n_vocab;
        p->paced = o->paced;
        p->limit = DRAFT_MOST;
        p->id = calloc(n_ctx + DRAFT_MOST, sizeof(*p->id));
        p->kind = calloc(n_ctx, sizeof(*p->kind));
        pace_init(&p->pace);
    }
    if (!p || !p->id || !p->kind)
        e = err_set(ERR_NOMEM, "DRAFT-03", "no memory to draft tokens; use --draft off");
    else
        e = new_drafters(p, o);
    if (e != OK) {
        speculate_free(p);
        return e;
    }
    *out = p;
    return OK;
}

void speculate_free(struct speculate *p)
{
    if (!p)
        return;
    for (int d = 0; d < DRAFT_COUNT; d++)
        drafter_def((enum draft_kind)d)->release(p->drafter[d]);
    free(p->id);
    free(p->kind);
    free(p);
}

static struct draft_text text(const struct speculate *p, int64_t n)
{
    return (struct draft_text){ p->id, p->kind, n, p->sampler };
}

enum err speculate_begin(struct speculate *p, struct sampler *sampler,
                         session_progress_fn *progress, void *arg)
{
    struct session_parts parts = session_parts(p->s);
    enum err e = OK;

    ASSERT(parts.has_logits);
    p->sampler = sampler;
    p->len = session_len(p->s);
    p->n_ahead = 0;
    p->rows = NULL;
    memcpy(p->id, parts.token, (size_t)p->len * sizeof(*p->id));
    memcpy(p->kind, parts.kind, (size_t)p->len * sizeof(*p->kind));
    struct draft_text t = text(p, p->len);
    for (int d = 0; d < DRAFT_COUNT; d++) {
        p->draft[d].n = 0;
        if (e == OK && p->drafter[d])
            e = drafter_def((enum draft_kind)d)->read(p->drafter[d], &t, progress, arg);
    }
    return e;
}

int64_t speculate_len(const struct speculate *p)
{
    return p->len;
}

const float *speculate_logits(const struct speculate *p)
{
    return p->rows ? p->rows : session_logits(p->s);
}

void speculate_limit(struct speculate *p, int n)
{
    p->limit = n;
}

struct speculate_stats speculate_stats(const struct speculate *p)
{
    return p->stats;
}

struct speculate_stats speculate_since(const struct speculate *p,
                                       const struct speculate_stats *before)
{
    struct speculate_stats s = p->stats;

    s.n_step -= before->n_step;
    s.n_tok -= before->n_tok;
    s.n_draft -= before->n_draft;
    s.n_right -= before->n_right;
    s.n_passed -= before->n_passed;
    return s;
}

enum err speculate_settle(struct speculate *p)
{
    if (p->rows)
        session_push_keep(p->s, p->len - p->len_step);
    p->rows = NULL;
    p->n_ahead = 0;
    return session_feed(p->s);
}

/* The token is the text's: what was guessed in its place is judged, and the drafters told. */
static void take(struct speculate *p, int32_t id)
{
    p->id[p->len] = id;
    p->kind[p->len] = TOK_SAMPLED;
    struct draft_text t = text(p, p->len + 1);
    for (int d = 0; d < DRAFT_COUNT; d++) {
        struct draft *g = &p->draft[d];
        if (!p->drafter[d])
            continue;
        if (g->n) {
            bool right = g->id[p->n_seen[d]] == id;
            pace_seen(&p->pace, (enum draft_kind)d, g->strength + p->n_seen[d], right);
            p->n_seen[d]++;
            if (!right || p->n_seen[d] == g->n)
                g->n = 0;
        }
        drafter_def((enum draft_kind)d)->add(p->drafter[d], &t);
    }
}

static enum err ask(struct speculate *p, int d, const struct draft_text *t, int n)
{
    double start = clock_s();
    enum err e = drafter_def((enum draft_kind)d)->propose(p->drafter[d], t, n, &p->draft[d]);

    p->n_seen[d] = 0;
    if (e != OK)
        p->draft[d].n = 0;
    else if (!drafter_def((enum draft_kind)d)->costless && p->draft[d].n)
        pace_guess(&p->pace, (enum draft_kind)d, p->draft[d].n, clock_s() - start);
    return e;
}

/* The drafts of the step, at most `room`: of the drafter from which most is expected, and without
 * a pace of the first one that proposes any. */
static enum err choose(struct speculate *p, int64_t room, const int32_t **draft, int *n)
{
    struct draft_text t = text(p, p->len + 1);
    int best = -1, n_best = 0;
    double gain, gain_best = 0;
    bool passed = false;
    enum err e = OK;

    *n = 0;
    for (int d = 0; d < DRAFT_COUNT && e == OK; d++) {
        bool costless = drafter_def((enum draft_kind)d)->costless;
        int most = p->most[d] < room ? p->most[d] : (int)room;
        if (!p->drafter[d] || most < 1 || (!p->paced && n_best))
            continue;
        if (costless || !p->paced)
            e = ask(p, d, &t, most);
        int offered = costless || !p->paced ? p->draft[d].n : most, k = offered;
        int strength = costless || !p->paced ? p->draft[d].strength : 1;
        gain = 0;
        if (p->paced && offered)
            k = pace_choose(&p->pace, (enum draft_kind)d, strength, offered, &gain);
        passed = passed || (offered && !k);
        if (k && (best < 0 || gain > gain_best)) {
            best = d;
            n_best = k;
            gain_best = gain;
        }
    }
    if (e == OK && best >= 0 && p->paced && !drafter_def((enum draft_kind)best)->costless)
        e = ask(p, best, &t, n_best);
    if (e != OK || best < 0) {
        p->stats.n_passed += passed;
        return e;
    }
    *draft = p->draft[best].id;
    *n = n_best < p->draft[best].n ? n_best : p->draft[best].n;
    return OK;
}

/* A draft's row may fail where plain decoding would not have gone: then the token alone. */
static enum err compute(struct speculate *p, int32_t id, const int32_t *draft, int n)
{
    int32_t ids[SESSION_PUSH_MOST] = { id };
    double start = clock_s();
    enum err e = OK;

    if (n) {
        memcpy(ids + 1, draft, (size_t)n * sizeof(*ids));
        e = session_push_many(p->s, ids, n + 1, &p->rows);
    }
    if (!n || e != OK) {
        n = 0;
        p->rows = NULL;
        e = session_push(p->s, id);
    }
    if (e != OK)
        return e;
    pace_step(&p->pace, n + 1, clock_s() - start);
    p->len_step = p->len;
    p->n_ahead = n;
    p->stats.n_step++;
    p->stats.n_draft += n;
    return OK;
}

enum err speculate_push(struct speculate *p, int32_t id, int64_t n_more)
{
    int64_t room = session_ctx(p->s) - p->len - 1;
    const int32_t *draft = NULL;
    int n = 0;
    enum err e = OK;

    if (p->n_ahead && session_tokens(p->s)[p->len] == id) {
        take(p, id);
        p->len++;
        p->rows += p->n_vocab;
        p->n_ahead--;
        p->stats.n_tok++;
        p->stats.n_right++;
        return OK;
    }
    if (p->n_ahead)
        session_truncate(p->s, p->len);
    p->n_ahead = 0;
    p->rows = NULL;
    if (room < 0)
        return session_push(p->s, id);  /* says that the context is full */
    take(p, id);
    if (room > n_more - 1)
        room = n_more - 1;
    if (room > p->limit)
        room = p->limit;
    if (room > 0)
        e = choose(p, room, &draft, &n);
    if (e == OK)
        e = compute(p, id, draft, n);
    if (e != OK)
        return e;
    p->len++;
    p->stats.n_tok++;
    return OK;
}
