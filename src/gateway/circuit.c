/* circuit.c - see circuit.h.
 *
 * An upstream and each of its keys have the same `struct gate`: shut until a time, how often it was
 * shut without success between (the next time is longer), and whether somebody is trying it now.
 * An upstream's also counts what failed, in buckets that turn with the clock. */
#include "gateway/circuit.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKET_MS = CIRCUIT_WINDOW_MS / CIRCUIT_BUCKETS, LEVEL_MAX = 16 };

struct gate {
    bool shut;                          /* until `until`, and then until a trial went well */
    bool trial;                         /* one that nobody has reported yet */
    int64_t until;
    unsigned level;                     /* times shut since it last went well */
    uint64_t n_opened;
};

struct bucket { int64_t turn; unsigned ok, failed; };

struct upstream {
    struct gate gate;
    struct bucket bucket[CIRCUIT_BUCKETS];
    int first_key, n_key, next_key;
    char *name, *url;
};

struct circuits {
    struct gate *key;
    int n, next_probe;
    uint32_t life;
    struct upstream upstream[];
};

/* ---- made and freed ------------------------------------------------------------------------ */

static int n_key_of(const struct config_upstream *u)
{
    return u->keys_count ? (int)u->keys_count : 1;
}

static const struct upstream *find_old(const struct circuits *from, const struct config_upstream *u)
{
    for (int i = 0; from && i < from->n; i++) {
        const struct upstream *old = &from->upstream[i];
        if (!strcmp(old->name, u->name) && !strcmp(old->url, u->url) && old->n_key == n_key_of(u))
            return old;
    }
    return NULL;
}

/* A trial that runs is the old circuits' affair. */
static struct gate gate_of_old(const struct gate *old)
{
    struct gate g = *old;

    g.trial = false;
    return g;
}

static bool set_upstream(struct circuits *x, int i, const struct config_upstream *u,
                         const struct circuits *from)
{
    const struct upstream *old = find_old(from, u);
    struct upstream *to = &x->upstream[i];

    to->first_key = i ? x->upstream[i - 1].first_key + x->upstream[i - 1].n_key : 0;
    to->n_key = n_key_of(u);
    to->name = strdup(u->name);
    to->url = strdup(u->url);
    if (!to->name || !to->url)
        return false;
    if (old) {
        to->gate = gate_of_old(&old->gate);
        to->next_key = old->next_key;
        memcpy(to->bucket, old->bucket, sizeof(to->bucket));
        for (int k = 0; k < to->n_key; k++)
            x->key[to->first_key + k] = gate_of_old(&from->key[old->first_key + k]);
    }
    return true;
}

enum err circuits_new(struct circuits **out, const struct config *c, const struct circuits *from)
{
    size_t n = c->upstreams_count, n_key = 0;
    struct circuits *x = calloc(1, sizeof(*x) + n * sizeof(x->upstream[0]));
    bool whole = x != NULL;

    for (size_t i = 0; i < n; i++)
        n_key += (size_t)n_key_of(&c->upstreams[i]);
    if (x) {
        x->n = (int)n;
        x->life = from ? from->life + 1 : 1;
        x->key = calloc(n_key + 1, sizeof(*x->key));
        whole = x->key != NULL;
    }
    for (size_t i = 0; i < n && whole; i++)
        whole = set_upstream(x, (int)i, &c->upstreams[i], from);
    *out = whole ? x : NULL;
    if (whole)
        return OK;
    circuits_free(x);
    return err_set(ERR_NOMEM, "CIRCUIT-01", "no memory for the circuits of %zu upstreams", n);
}

void circuits_free(struct circuits *x)
{
    for (int i = 0; x && i < x->n; i++) {
        free(x->upstream[i].name);
        free(x->upstream[i].url);
    }
    if (x)
        free(x->key);
    free(x);
}

/* ---- gates --------------------------------------------------------------------------------- */

static int64_t grown(int64_t first_ms, int64_t most_ms, unsigned level)
{
    int64_t ms = first_ms << (level < LEVEL_MAX ? level : LEVEL_MAX);

    return ms < most_ms ? ms : most_ms;
}

/* What was asked for counts, up to a bound; else longer each time.  Calls that fail together are
 * one time. */
static void shut(struct gate *g, bool trial, int64_t now_ms, int64_t first_ms, int64_t most_ms,
                 int64_t retry_after_ms)
{
    int64_t ms = grown(first_ms, most_ms, g->level);
    bool again = !g->shut || trial;

    if (retry_after_ms >= 0)
        ms = retry_after_ms < CIRCUIT_HOLD_MS_MAX ? retry_after_ms : CIRCUIT_HOLD_MS_MAX;
    if (again || now_ms + ms > g->until)
        g->until = now_ms + ms;
    g->n_opened += !g->shut;
    g->shut = true;
    if (trial)
        g->trial = false;
    if (again && g->level < LEVEL_MAX)
        g->level++;
}

/* May one pass now?  `until`: else the earliest time; of a trial that runs nobody knows. */
static bool may_pass(const struct gate *g, int64_t now_ms, int64_t *until)
{
    if (!g->shut || (now_ms >= g->until && !g->trial))
        return true;
    *until = g->trial ? now_ms + BUCKET_MS : g->until;
    return false;
}

static void open_again(struct gate *g)
{
    g->shut = g->trial = false;
    g->level = 0;
}

/* ---- passes -------------------------------------------------------------------------------- */

/* The next key in turn that is not held; -1: none. */
static int turn_key(const struct circuits *x, const struct upstream *u, int64_t now_ms,
                    int64_t *until_ms)
{
    *until_ms = INT64_MAX;
    for (int i = 0; i < u->n_key; i++) {
        int k = (u->next_key + i) % u->n_key;
        int64_t until = 0;
        if (may_pass(&x->key[u->first_key + k], now_ms, &until))
            return k;
        *until_ms = until < *until_ms ? until : *until_ms;
    }
    return -1;
}

static enum circuit_verdict look(const struct circuits *x, int upstream, int64_t now_ms, int *key,
                                 int64_t *until_ms)
{
    const struct upstream *u = &x->upstream[upstream];

    *until_ms = 0;
    if (!may_pass(&u->gate, now_ms, until_ms))
        return CIRCUIT_CLOSED_TO_ALL;
    *key = turn_key(x, u, now_ms, until_ms);
    return *key < 0 ? CIRCUIT_LIMITED : CIRCUIT_GO;
}

enum circuit_verdict circuit_peek(const struct circuits *x, int upstream, int64_t now_ms,
                                  int64_t *until_ms)
{
    int key;

    return look(x, upstream, now_ms, &key, until_ms);
}

enum circuit_verdict circuit_take(struct circuits *x, int upstream, int64_t now_ms,
                                  struct circuit_pass *pass, int64_t *until_ms)
{
    struct upstream *u = &x->upstream[upstream];
    int key = 0;
    enum circuit_verdict v = look(x, upstream, now_ms, &key, until_ms);

    *pass = (struct circuit_pass){ 0 };
    if (v != CIRCUIT_GO)
        return v;
    struct gate *g = &x->key[u->first_key + key];
    *pass = (struct circuit_pass){ .upstream = upstream, .key = key, .trial = u->gate.shut,
                                   .key_trial = g->shut, .live = true, .life = x->life };
    u->gate.trial = u->gate.shut;
    g->trial = g->shut;
    u->next_key = (key + 1) % u->n_key;
    *until_ms = 0;
    return CIRCUIT_GO;
}

/* ---- what was learned ---------------------------------------------------------------------- */

/* `now` may be any number, so its turn is rounded down. */
static struct bucket *bucket_of(struct upstream *u, int64_t now_ms)
{
    int64_t turn = now_ms / BUCKET_MS - (now_ms % BUCKET_MS < 0);
    struct bucket *b = &u->bucket[((turn % CIRCUIT_BUCKETS) + CIRCUIT_BUCKETS) % CIRCUIT_BUCKETS];

    if (b->turn != turn)
        *b = (struct bucket){ .turn = turn };
    return b;
}

static bool trips(struct upstream *u, int64_t now_ms)
{
    int64_t turn = bucket_of(u, now_ms)->turn;
    unsigned ok = 0, failed = 0;

    for (int i = 0; i < CIRCUIT_BUCKETS; i++)
        if (u->bucket[i].turn > turn - CIRCUIT_BUCKETS && u->bucket[i].turn <= turn) {
            ok += u->bucket[i].ok;
            failed += u->bucket[i].failed;
        }
    return failed >= CIRCUIT_TRIP && failed >= ok;
}

static void went_well(struct upstream *u, struct gate *key, const struct circuit_pass *pass,
                      int64_t now_ms)
{
    bucket_of(u, now_ms)->ok++;
    if (pass->trial) {
        unsigned level = u->gate.level;
        open_again(&u->gate);
        u->gate.level = pass->probe ? level : 0;
        memset(u->bucket, 0, sizeof(u->bucket));
    } else if (!u->gate.shut && !pass->probe) {
        u->gate.level = 0;
    }
    if (pass->probe)
        return;
    if (pass->key_trial)
        open_again(key);
    else if (!key->shut)
        key->level = 0;
}

static void failed(struct upstream *u, const struct circuit_pass *pass, int64_t retry_after_ms,
                   int64_t now_ms)
{
    bucket_of(u, now_ms)->failed++;
    if (pass->trial || retry_after_ms >= 0 || (!u->gate.shut && trips(u, now_ms)))
        shut(&u->gate, pass->trial, now_ms, CIRCUIT_OPEN_MS, CIRCUIT_OPEN_MS_MAX, retry_after_ms);
}

static void hold_key(struct gate *key, enum circuit_result result, int64_t retry_after_ms,
                     int64_t now_ms, bool trial)
{
    bool limit = result == CIRCUIT_LIMIT;

    if (key->shut && !trial && retry_after_ms < 0)
        return;
    shut(key, trial, now_ms, limit ? CIRCUIT_LIMIT_MS : CIRCUIT_SPENT_MS,
         limit ? CIRCUIT_LIMIT_MS_MAX : CIRCUIT_SPENT_MS_MAX, limit ? retry_after_ms : -1);
}

/* An upstream that says 429, 402 or 401 lives: a trial of it went well.  Of a key nothing was
 * learned where the upstream failed. */
void circuit_report(struct circuits *x, struct circuit_pass *pass, enum circuit_result result,
                    int64_t retry_after_ms, int64_t now_ms)
{
    struct upstream *u;
    struct gate *key;

    if (!pass->live || pass->life != x->life)
        return;
    u = &x->upstream[pass->upstream];
    key = &x->key[u->first_key + pass->key];
    if (result == CIRCUIT_WELL) {
        went_well(u, key, pass, now_ms);
    } else if (result == CIRCUIT_FAILED) {
        failed(u, pass, retry_after_ms, now_ms);
        if (pass->key_trial)
            key->trial = false;
    } else {
        if (pass->trial)
            open_again(&u->gate);
        hold_key(key, result, retry_after_ms, now_ms, pass->key_trial);
    }
    pass->trial = pass->key_trial = false;
}

void circuit_drop(struct circuits *x, struct circuit_pass *pass)
{
    if (pass->live && pass->life == x->life) {
        struct upstream *u = &x->upstream[pass->upstream];
        if (pass->trial)
            u->gate.trial = false;
        if (pass->key_trial)
            x->key[u->first_key + pass->key].trial = false;
    }
    *pass = (struct circuit_pass){ 0 };
}

/* A key's hold is no reason not to look whether the upstream is there: any key does. */
int circuit_probe(struct circuits *x, int64_t now_ms, struct circuit_pass *pass)
{
    *pass = (struct circuit_pass){ 0 };
    for (int i = 0; i < x->n; i++) {
        int at = (x->next_probe + i) % x->n;
        struct upstream *u = &x->upstream[at];
        int64_t until;
        if (!u->gate.shut || !may_pass(&u->gate, now_ms, &until))
            continue;
        u->gate.trial = true;
        x->next_probe = (at + 1) % x->n;
        *pass = (struct circuit_pass){ .upstream = at, .key = u->next_key, .trial = true,
                                       .live = true, .probe = true, .life = x->life };
        return at;
    }
    return -1;
}

/* ---- looked at ----------------------------------------------------------------------------- */

static struct circuit_seen see(const struct gate *g, int64_t now_ms)
{
    enum circuit_state state = !g->shut ? CIRCUIT_CLOSED
                               : g->trial || now_ms >= g->until ? CIRCUIT_HALF : CIRCUIT_OPEN;

    return (struct circuit_seen){ state, state == CIRCUIT_OPEN ? g->until : 0, g->n_opened };
}

struct circuit_seen circuit_see(const struct circuits *x, int upstream, int64_t now_ms)
{
    return see(&x->upstream[upstream].gate, now_ms);
}

struct circuit_seen circuit_see_key(const struct circuits *x, int upstream, int key, int64_t now_ms)
{
    return see(&x->key[x->upstream[upstream].first_key + key], now_ms);
}

const char *circuit_word(enum circuit_state state)
{
    return state == CIRCUIT_CLOSED ? "closed" : state == CIRCUIT_OPEN ? "open" : "half_open";
}
