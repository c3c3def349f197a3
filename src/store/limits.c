/* limits.c - see limits.h.
 *
 * An account is a budget in one of its periods.  It lives from the first look at the period, for
 * the next one a little before it begins, until the period is over and its grants are settled. */
#include "store/limits.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum {
    AHEAD_S = 2,                        /* the next period's slice is leased so long before */
    IDLE_MS = 5000, IDLE_SHARE = 16,    /* unused for so long, only this part of a share is kept */
    EVERY_MS = 1000, IDLE_EVERY_MS = 30000, SOON_MS = 20,
    SHORT_MS = 500,                     /* what was not there is not asked for again so soon */
};

struct account {
    struct account *next;
    int64_t period, end;
    struct amount held, reserved, goal, need;
    int64_t used_ms, asked_ms, short_ms;
    bool asking, wanting, used_up;      /* used_up: the database had no more, at last */
};

struct limits {
    const struct limit_budget *budget;
    struct zone **zone;                 /* [n] */
    struct account **first;             /* [n] */
    int n, at, live;                    /* at: where the next plan begins */
    uint64_t epoch;
    int64_t until_ms;
    bool wanting;
};

enum err limits_new(struct limits **out, const struct limit_budget *budget, int n)
{
    struct limits *l = calloc(1, sizeof(*l));
    enum err e = OK;

    *out = NULL;
    if (l) {
        *l = (struct limits){ .budget = budget, .n = n, .live = 1 };
        l->zone = calloc((size_t)n + 1, sizeof(struct zone *));
        l->first = calloc((size_t)n + 1, sizeof(struct account *));
    }
    if (!l || !l->zone || !l->first)
        e = err_set(ERR_NOMEM, "LIMITS-01", "no memory for %d budgets", n);
    for (int i = 0; i < n && !e; i++)
        e = zone_open(&l->zone[i], budget[i].zone);
    if (e) {
        limits_free(l);
        return e;
    }
    *out = l;
    return OK;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->n; i++) {
        for (struct account *a = l->first ? l->first[i] : NULL, *next; a; a = next) {
            next = a->next;
            free(a);
        }
        if (l->zone)
            zone_free(l->zone[i]);
    }
    free(l->first);
    free(l->zone);
    free(l);
}

void limits_hold_until(struct limits *l, int64_t mono_ms)
{
    l->until_ms = mono_ms;
}

void limits_fence(struct limits *l)
{
    l->epoch++;
    for (int i = 0; i < l->n; i++)
        for (struct account *a = l->first[i]; a; a = a->next) {
            a->held = a->reserved = (struct amount){ { 0 } };
            a->asking = false;
            a->asked_ms = INT64_MIN / 2;
        }
}

static struct account *find(const struct limits *l, int budget, int64_t period)
{
    struct account *a = l->first[budget];

    while (a && a->period != period)
        a = a->next;
    return a;
}

/* The account that a moment lies in; NULL without memory. */
static struct account *account_at(struct limits *l, int budget, int64_t now_s)
{
    struct account *a = l->first[budget];
    int64_t begin, end;

    while (a && (now_s < a->period || now_s >= a->end))
        a = a->next;
    if (a)
        return a;
    zone_span(l->zone[budget], l->budget[budget].span, now_s, &begin, &end);
    if ((a = find(l, budget, begin)) || !(a = calloc(1, sizeof(*a)))) {
        if (a)
            a->end = end;
        return a;
    }
    *a = (struct account){ .next = l->first[budget], .period = begin, .end = end,
                           .asked_ms = INT64_MIN / 2, .used_ms = INT64_MIN / 2 };
    return l->first[budget] = a;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (list += strspn(list, " "); *list; list += strspn(list, " ")) {
        size_t n = strcspn(list, " ");
        if (n == len && !memcmp(list, word, n))
            return true;
        list += n;
    }
    return false;
}

static bool is_of(const struct limit_budget *b, const struct limit_who *who)
{
    switch (b->owner) {
    case LIMIT_TEAM: return !strcmp(b->id, who->team);
    case LIMIT_KEY:  return !strcmp(b->id, who->key);
    case LIMIT_TAG:  return has_word(who->tags, b->id);
    }
    return false;
}

/* Does the account lack something?  A soft budget is asked for a mere one of each. */
static bool lacks(struct account *a, const struct limit_budget *b, const struct amount *worst)
{
    bool short_of = false;

    for (int d = 0; d < AMOUNT_N; d++) {
        int64_t need = b->hard ? worst->n[d] : 1, left = a->held.n[d] - a->reserved.n[d];
        if (!b->limit.n[d] || need <= left)
            continue;
        short_of = true;
        if (a->need.n[d] < need)
            a->need.n[d] = need;
    }
    return short_of;
}

/* Half of what it should have is gone: more is asked for before it is missed. */
static bool low(const struct account *a, const struct limit_budget *b)
{
    for (int d = 0; d < AMOUNT_N; d++)
        if (b->limit.n[d] && a->held.n[d] - a->reserved.n[d] < a->goal.n[d] / 2)
            return true;
    return false;
}

static void want(struct limits *l, struct account *a)
{
    if (!a->asking)
        a->wanting = l->wanting = true;
}

static bool can_never(const struct limit_budget *b, const struct amount *worst)
{
    for (int d = 0; d < AMOUNT_N; d++)
        if (b->hard && b->limit.n[d] && worst->n[d] > b->limit.n[d])
            return true;
    return false;
}

/* One budget's word on a call. */
static enum limit_verdict judge(struct limits *l, int i, const struct amount *worst,
                                int64_t now_s, int64_t mono_ms, struct limit_grant *g)
{
    const struct limit_budget *b = &l->budget[i];
    struct account *a = account_at(l, i, now_s);

    if (!a)
        return LIMIT_GONE;
    if (g->n == LEDGER_CHARGES_MAX)
        return LIMIT_TOO_MANY;
    a->used_ms = mono_ms;
    g->at[g->n].budget = i;
    g->at[g->n++].period = a->period;
    if (can_never(b, worst))
        return LIMIT_REFUSED;
    if (!lacks(a, b, worst)) {
        if (low(a, b) && mono_ms - a->asked_ms >= SOON_MS)
            want(l, a);
        return LIMIT_GRANTED;
    }
    if (mono_ms < a->short_ms) {
        if (b->hard)
            return LIMIT_REFUSED;
        g->soft = i;
        return LIMIT_GRANTED;
    }
    want(l, a);
    if (b->hard)
        return LIMIT_LATER;
    if (a->used_up)                     /* until it is told otherwise */
        g->soft = i;
    return LIMIT_GRANTED;
}

enum limit_verdict limits_admit(struct limits *l, const struct limit_who *who,
                                const struct amount *worst, int64_t now_s, int64_t mono_ms,
                                struct limit_grant *grant, int *budget)
{
    struct limit_grant g = { .worst = *worst, .epoch = l->epoch, .soft = -1 };
    enum limit_verdict verdict = LIMIT_GRANTED;
    int at = -1;

    if (budget)
        *budget = -1;
    if (mono_ms >= l->until_ms)
        return LIMIT_GONE;
    for (int i = 0; i < l->n; i++) {
        if (!is_of(&l->budget[i], who))
            continue;
        enum limit_verdict v = judge(l, i, worst, now_s, mono_ms, &g);
        if (v != LIMIT_GRANTED && (verdict == LIMIT_GRANTED || v != LIMIT_LATER)) {
            verdict = v;
            at = i;
        }
    }
    if (budget)
        *budget = at;
    if (verdict != LIMIT_GRANTED)
        return verdict;
    for (int i = 0; i < g.n; i++)
        if (l->budget[g.at[i].budget].hard)
            amount_add(&find(l, g.at[i].budget, g.at[i].period)->reserved, worst);
    *grant = g;
    return LIMIT_GRANTED;
}

void limits_spend(struct limits *l, const struct limit_grant *g, const struct amount *used)
{
    for (int i = 0; i < g->n && g->epoch == l->epoch; i++) {
        struct account *a = find(l, g->at[i].budget, g->at[i].period);
        if (a && !l->budget[g->at[i].budget].hard)
            amount_add(&a->reserved, used);
    }
}

int limits_soft(const struct limits *l, const struct limit_grant *g)
{
    for (int i = 0; i < g->n; i++) {
        const struct account *a = find(l, g->at[i].budget, g->at[i].period);
        if (a && a->used_up && !l->budget[g->at[i].budget].hard)
            return g->at[i].budget;
    }
    return g->soft;
}

void limits_settle(struct limits *l, const struct limit_grant *g, const struct amount *used)
{
    for (int i = 0; i < g->n && g->epoch == l->epoch; i++) {
        struct account *a = find(l, g->at[i].budget, g->at[i].period);
        if (!a)
            continue;
        amount_take(&a->reserved, l->budget[g->at[i].budget].hard ? &g->worst : used);
        amount_take(&a->held, used);
    }
}

void limits_charges(const struct limits *l, const struct limit_grant *g, struct buf *out)
{
    for (int i = 0; i < g->n; i++)
        buf_printf(out, "%s%s=%lld", i ? " " : "", l->budget[g->at[i].budget].name,
                   (long long)g->at[i].period);
}

/* What lies beyond the goal by a quarter is returned. */
static struct amount excess(const struct account *a)
{
    struct amount back;

    for (int d = 0; d < AMOUNT_N; d++) {
        int64_t left = a->held.n[d] - a->reserved.n[d] - a->need.n[d];
        back.n[d] = left > a->goal.n[d] + a->goal.n[d] / 4 ? left - a->goal.n[d] : 0;
    }
    return back;
}

static void ask_for(struct limits *l, int i, struct account *a, int64_t mono_ms, bool idle,
                    bool opening, struct limit_ask *out)
{
    struct amount back = excess(a), need = a->need;

    if (a->asked_ms == INT64_MIN / 2)   /* its goal is not known yet */
        back = (struct amount){ { 0 } };
    amount_take(&a->held, &back);
    for (int d = 0; d < AMOUNT_N; d++) {
        int64_t left = a->held.n[d] - a->reserved.n[d];
        need.n[d] = need.n[d] > left ? need.n[d] - left : 0;
    }
    a->asking = true;
    a->wanting = false;
    a->asked_ms = mono_ms;
    *out = (struct limit_ask){ .budget = i, .epoch = l->epoch, .whole = a->need, .ask = {
        .budget = l->budget[i].name, .period = a->period, .limit = l->budget[i].limit,
        .back = back, .need = need, .share = idle && !opening ? IDLE_SHARE : 1 } };
}

/* True when *out was filled.  A period that is over is left once nothing is in work. */
static bool plan_account(struct limits *l, int i, struct account **link, int64_t now_s,
                         int64_t mono_ms, bool opening, struct limit_ask *out)
{
    struct account *a = *link;
    int64_t since = mono_ms - a->asked_ms;
    bool idle = mono_ms - a->used_ms > IDLE_MS;

    if (a->asking)
        return false;
    if (now_s < a->period - AHEAD_S || now_s >= a->end) {
        if (amount_any(&a->reserved) || !idle)
            return false;
        *out = (struct limit_ask){ .budget = i, .epoch = l->epoch, .ask = {
            .budget = l->budget[i].name, .period = a->period, .share = 1, .leave = true } };
        *link = a->next;
        free(a);
        return true;
    }
    if (!opening && !(a->wanting && since >= (amount_any(&a->need) ? 0 : SOON_MS)) &&
        since < (idle ? IDLE_EVERY_MS : EVERY_MS))
        return false;
    ask_for(l, i, a, mono_ms, idle, opening, out);
    return true;
}

int limits_plan(struct limits *l, int64_t now_s, int64_t mono_ms, bool opening,
                struct limit_ask *ask, int max)
{
    int n = 0;

    l->wanting = false;
    for (int step = 0; step < l->n; step++) {
        int i = (l->at + step) % l->n;
        if (n == max) {
            l->at = i;
            l->wanting = true;
            break;
        }
        struct account *now = account_at(l, i, now_s);
        if (now && now_s >= now->end - AHEAD_S && !opening)
            (void)account_at(l, i, now->end);
        for (struct account **link = &l->first[i]; *link && n < max;) {
            const struct account *next = (*link)->next;
            n += plan_account(l, i, link, now_s, mono_ms, opening, &ask[n]);
            if (*link != next)          /* not taken out */
                link = &(*link)->next;
        }
    }
    return n;
}

void limits_live(struct limits *l, int live)
{
    if (l->live == live)
        return;
    l->live = live;
    for (int i = 0; i < l->n; i++)
        for (struct account *a = l->first[i]; a; a = a->next)
            a->wanting = true;
    l->wanting = true;
}

/* We have none left, and the database had none to lease. */
static bool is_used_up(const struct account *a, const struct limit_budget *b,
                       const struct amount *free_)
{
    for (int d = 0; d < AMOUNT_N; d++)
        if (b->limit.n[d] && a->held.n[d] - a->reserved.n[d] < 1 && free_->n[d] < 1)
            return true;
    return false;
}

void limits_answer(struct limits *l, const struct limit_ask *ask, int64_t mono_ms)
{
    struct account *a = find(l, ask->budget, ask->ask.period);

    if (ask->epoch != l->epoch || ask->ask.leave || !a)
        return;
    limits_live(l, ask->got.live);
    a->asking = false;
    a->held = ask->got.held;            /* as the database has it, whatever was lost on the way */
    a->goal = ask->got.goal;
    a->short_ms = 0;
    a->used_up = is_used_up(a, &l->budget[ask->budget], &ask->got.free);
    for (int d = 0; d < AMOUNT_N; d++) {
        if (l->budget[ask->budget].limit.n[d] && ask->whole.n[d] &&
            a->held.n[d] - a->reserved.n[d] < ask->whole.n[d])
            a->short_ms = mono_ms + SHORT_MS;
        if (a->need.n[d] <= ask->whole.n[d])
            a->need.n[d] = 0;
        else
            want(l, a);
    }
    if (ask->ask.share > 1) {           /* it may be all that the others wait for */
        struct amount back = excess(a);
        if (amount_any(&back))
            want(l, a);
    }
}

void limits_lost(struct limits *l, const struct limit_ask *ask)
{
    struct account *a = find(l, ask->budget, ask->ask.period);

    if (!a || ask->epoch != l->epoch || ask->ask.leave)
        return;
    a->asking = false;
    want(l, a);
}

bool limits_wanting(const struct limits *l)
{
    return l->wanting;
}
