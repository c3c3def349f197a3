/* attempts.c - see attempts.h.
 *
 * After each outcome: say to the circuit what was learned, and decide about the candidate in work
 * (judge_*()): it is sent to again at once (another key), after a wait, or not any more (`out`).
 * go_on() then takes the first candidate that is left, by the kind of path that this would be.
 *
 * Why it ends: each send raises n_sent, or, where nothing was sent, puts a candidate out or waits;
 * sends and waits have bounds. */
#include "gateway/attempts.h"

#include <string.h>

static const struct config_model *model_of(const struct attempts *a, int i)
{
    return &a->c->models[a->choice->at[i].model];
}

static const struct config_upstream *upstream_of(const struct attempts *a, int i)
{
    return &a->c->upstreams[model_of(a, i)->at_upstream];
}

enum attempts_class attempts_class_of(int status, bool spent, bool context)
{
    if (spent || status == 402)
        return CLASS_SPENT;
    if (context || status == 413)
        return CLASS_CONTEXT;
    switch (status) {
    case 401: case 403:
        return CLASS_DENIED;
    case 404:
        return CLASS_NO_MODEL;
    case 408: case 409: case 425:
        return CLASS_FAILED;
    case 429:
        return CLASS_LIMIT;
    }
    return status >= 400 && status < 500 ? CLASS_REQUEST : CLASS_FAILED;
}

/* ---- steps --------------------------------------------------------------------------------- */

static struct attempts_step over(struct attempts *a, enum attempts_error error, int64_t retry_ms)
{
    a->state = ATTEMPTS_OVER;
    return (struct attempts_step){ .what = error == ATTEMPTS_OK ? DO_DONE : DO_FAIL,
                                   .error = error, .retry_after_ms = retry_ms };
}

/* The error of what went wrong last, when nothing is left.  retry_ms: when something is known to be
 * there again, -1: not known. */
static struct attempts_step give_up(struct attempts *a, int64_t retry_ms)
{
    const struct attempts_outcome *o = &a->last;
    bool said = o->end == END_STATUS || o->end == END_STREAM_ERROR;

    if (said && o->retry_after_ms > retry_ms)
        retry_ms = o->retry_after_ms;
    if (o->end == END_FULL)
        return over(a, ATTEMPTS_OVERLOADED, retry_ms);
    if (o->end == END_FIRST_BYTE || o->end == END_IDLE || o->end == END_TOTAL)
        return over(a, ATTEMPTS_DEADLINE, -1);
    if (said && o->error == CLASS_LIMIT)
        return over(a, ATTEMPTS_LIMIT, retry_ms);
    if (said && o->error == CLASS_CONTEXT)
        return over(a, ATTEMPTS_CONTEXT, -1);
    if (said && o->error == CLASS_REQUEST)
        return over(a, ATTEMPTS_REQUEST, -1);
    return over(a, ATTEMPTS_UPSTREAM, said && o->error == CLASS_FAILED ? retry_ms : -1);
}

static bool any_got(const struct attempts *a)
{
    for (int i = 0; i < a->choice->n; i++)
        if (a->got[i])
            return true;
    return false;
}

/* By which path would the text go to a candidate now? */
static enum path_kind kind_for(const struct attempts *a, int i)
{
    if (a->choice->kind != PATH_call)
        return a->choice->kind;
    if (a->seen)
        return PATH_continuation;
    return a->got[i] ? PATH_retry : any_got(a) ? PATH_fallback : PATH_call;
}

static bool may_go(const struct attempts *a, int i)
{
    return i >= a->lowest && !a->out[i] && a->choice->at[i].paths >> kind_for(a, i) & 1;
}

/* The choice is held to a model that lives. */
static bool is_held(const struct attempts *a)
{
    return a->choice->held && !a->dead;
}

static void put_out(struct attempts *a, int i, bool dead)
{
    a->out[i] = true;
    if (dead && i == a->choice->first)
        a->dead = true;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct attempts_step send_to(struct attempts *a, int i, int64_t now_ms)
{
    const struct config_upstream *u = upstream_of(a, i);
    int64_t left = a->deadline_ms - now_ms;

    a->state = ATTEMPTS_LIVE;
    a->at = i;
    a->same = -1;
    a->well = false;
    return (struct attempts_step){
        .what = DO_SEND, .candidate = i, .model = a->choice->at[i].model,
        .upstream = model_of(a, i)->at_upstream, .key = a->pass.key, .kind = kind_for(a, i),
        .number = a->n_sent++, .retry_after_ms = -1,
        .connect_ms = least(left, u->timeouts.ms[TIMEOUT_CONNECT]),
        .first_byte_ms = least(left, u->timeouts.ms[TIMEOUT_FIRST_BYTE]),
        .idle_ms = least(left, u->timeouts.ms[TIMEOUT_IDLE]),
        .total_ms = least(left, u->timeouts.ms[TIMEOUT_TOTAL]),
    };
}

static bool can_wait(const struct attempts *a, int64_t until_ms, int64_t most_ms, int64_t now_ms)
{
    return until_ms - now_ms <= most_ms && until_ms < a->deadline_ms && a->n_wait < ATTEMPTS_MAX;
}

static struct attempts_step wait_until(struct attempts *a, int64_t at_ms, int same)
{
    a->state = ATTEMPTS_WAITING;
    a->wake_ms = at_ms;
    a->same = same;
    a->n_wait++;
    return (struct attempts_step){ .what = DO_WAIT, .at_ms = at_ms, .retry_after_ms = -1 };
}

/* Nobody can be asked now: the earliest that can be, and whether it is worth waiting for. */
struct later { int64_t until_ms; bool worth, limited, open; };

static void consider(const struct attempts *a, struct later *l, enum circuit_verdict v,
                     int64_t until_ms, int64_t now_ms)
{
    bool limited = v == CIRCUIT_LIMITED;

    l->limited |= limited;
    l->open |= !limited;
    l->until_ms = least(l->until_ms, until_ms);
    l->worth |= can_wait(a, until_ms, limited ? ATTEMPTS_WAIT_MS_MAX : ATTEMPTS_OPEN_MS_MAX,
                         now_ms);
}

static struct attempts_step none_now(struct attempts *a, const struct later *l, int64_t now_ms)
{
    int64_t retry_ms = l->until_ms < INT64_MAX ? l->until_ms - now_ms : -1;

    if (l->worth)
        return wait_until(a, l->until_ms, -1);
    if (a->failed)
        return give_up(a, retry_ms);
    return over(a, l->open || !l->limited ? ATTEMPTS_OVERLOADED : ATTEMPTS_LIMIT, retry_ms);
}

/* The first candidate that is left and can be asked now. */
static struct attempts_step go_on(struct attempts *a, int64_t now_ms)
{
    struct later l = { .until_ms = INT64_MAX };
    int first = a->choice->first;

    if (now_ms >= a->deadline_ms)
        return over(a, ATTEMPTS_DEADLINE, -1);
    if (a->n_sent >= ATTEMPTS_MAX)
        return give_up(a, -1);
    if (is_held(a) && !may_go(a, first))
        a->dead = true;
    for (int i = is_held(a) ? first : 0; i < a->choice->n; i++) {
        int upstream = model_of(a, i)->at_upstream;
        int64_t until;
        if (!may_go(a, i))
            continue;
        enum circuit_verdict v = circuit_take(a->circuits, upstream, now_ms, &a->pass, &until);
        if (v == CIRCUIT_GO)
            return send_to(a, i, now_ms);
        if (is_held(a) && v == CIRCUIT_CLOSED_TO_ALL) {
            a->dead = true;
            return go_on(a, now_ms);
        }
        consider(a, &l, v, until, now_ms);
        if (is_held(a))
            break;
    }
    return none_now(a, &l, now_ms);
}

/* ---- outcomes ------------------------------------------------------------------------------ */

static bool is_error(const struct attempts_outcome *o, enum attempts_class class)
{
    return (o->end == END_STATUS || o->end == END_STREAM_ERROR) && o->error == class;
}

/* What the circuit learns of it. */
static void report(struct attempts *a, const struct attempts_outcome *o, int64_t now_ms)
{
    enum circuit_result r = CIRCUIT_FAILED;
    bool said = o->end == END_STATUS || o->end == END_STREAM_ERROR;

    if (o->end == END_WELL || is_error(o, CLASS_NO_MODEL) || is_error(o, CLASS_CONTEXT) ||
        is_error(o, CLASS_REQUEST))
        r = CIRCUIT_WELL;
    else if (is_error(o, CLASS_LIMIT))
        r = CIRCUIT_LIMIT;
    else if (is_error(o, CLASS_SPENT))
        r = CIRCUIT_SPENT;
    else if (is_error(o, CLASS_DENIED))
        r = CIRCUIT_DENIED;
    bool known = o->end != END_UNSENT && o->end != END_FULL && !(o->end == END_TOTAL && a->well) &&
                 !(r == CIRCUIT_WELL && a->well);
    if (known)
        circuit_report(a->circuits, &a->pass, r, said ? o->retry_after_ms : -1, now_ms);
    circuit_drop(a->circuits, &a->pass);
}

/* Is there another candidate to ask, now or later? */
static bool another(const struct attempts *a)
{
    for (int i = 0; i < a->choice->n && !is_held(a); i++)
        if (i != a->at && may_go(a, i))
            return true;
    return false;
}

/* 429, no money, no right: the next key at once; else 429 alone may be waited for. */
static struct attempts_step judge_key(struct attempts *a, const struct attempts_outcome *o,
                                      int64_t now_ms)
{
    int64_t until;
    int n_key = (int)upstream_of(a, a->at)->keys_count;

    if (a->n_key[a->at] + 1 < n_key && may_go(a, a->at) && now_ms < a->deadline_ms &&
        a->n_sent < ATTEMPTS_MAX &&
        circuit_take(a->circuits, model_of(a, a->at)->at_upstream, now_ms, &a->pass, &until) ==
            CIRCUIT_GO) {
        a->n_key[a->at]++;
        return send_to(a, a->at, now_ms);
    }
    if (o->error != CLASS_LIMIT || o->should_retry == 0)
        put_out(a, a->at, true);
    else if (a->n_again[a->at]++ >= ATTEMPTS_AGAIN_LAST)
        put_out(a, a->at, false);
    if (a->out[a->at] && is_held(a) && a->at == a->choice->first)
        return give_up(a, -1);
    return go_on(a, now_ms);
}

/* Too long for it: those of a larger context are left. */
static struct attempts_step judge_context(struct attempts *a, int64_t now_ms)
{
    uint64_t size = model_of(a, a->at)->context;

    if (is_held(a))
        return give_up(a, -1);
    put_out(a, a->at, false);
    for (int i = 0; i < a->choice->n && size; i++)
        if (model_of(a, i)->context && model_of(a, i)->context <= size)
            put_out(a, i, false);
    return go_on(a, now_ms);
}

/* How often may the same candidate be asked again after a failure? */
static int again_most(const struct attempts *a, const struct attempts_outcome *o)
{
    bool never = o->end == END_TLS || o->end == END_DNS || o->end == END_TOO_LARGE ||
                 o->end == END_TOTAL;

    if (never || o->should_retry == 0)
        return 0;
    if (o->end == END_FIRST_BYTE)       /* it has taken minutes */
        return another(a) ? 0 : ATTEMPTS_AGAIN;
    return another(a) ? ATTEMPTS_AGAIN : ATTEMPTS_AGAIN_LAST;
}

static struct attempts_step judge_failed(struct attempts *a, const struct attempts_outcome *o,
                                         int64_t now_ms)
{
    bool said = o->end == END_STATUS || o->end == END_STREAM_ERROR;
    unsigned char *again = &a->n_again[a->at];
    int64_t wait = (int64_t)ATTEMPTS_WAIT_MS << (*again < 8 ? *again : 8);

    wait = wait / 2 + (int64_t)(a->random >> 1) % wait;
    if (said && o->retry_after_ms >= 0)
        wait = o->retry_after_ms;
    if (*again < again_most(a, o) && may_go(a, a->at) &&
        can_wait(a, now_ms + wait, ATTEMPTS_WAIT_MS_MAX, now_ms)) {
        ++*again;
        return wait_until(a, now_ms + wait, a->at);
    }
    put_out(a, a->at, true);
    return go_on(a, now_ms);
}

/* Something is out already: the rest can be asked for at once, or nothing can. */
static struct attempts_step judge_seen(struct attempts *a, const struct attempts_outcome *o,
                                       int64_t now_ms)
{
    bool wrong = is_error(o, CLASS_REQUEST) || is_error(o, CLASS_CONTEXT) ||
                 is_error(o, CLASS_NO_MODEL);

    if (!a->may_continue || !(a->seen & SEEN_TEXT) || a->seen & SEEN_CALL)
        return give_up(a, -1);
    if (wrong || a->n_again[a->at]++ >= ATTEMPTS_AGAIN || again_most(a, o) == 0)
        put_out(a, a->at, true);
    return go_on(a, now_ms);
}

static struct attempts_step judge(struct attempts *a, const struct attempts_outcome *o,
                                  int64_t now_ms)
{
    if (o->end == END_WELL)
        return over(a, ATTEMPTS_OK, -1);
    if (o->end == END_UNSENT)
        return over(a, ATTEMPTS_UNSENT, -1);
    a->last = *o;
    a->failed = true;
    if (now_ms >= a->deadline_ms)
        return over(a, ATTEMPTS_DEADLINE, -1);
    if (a->seen)
        return judge_seen(a, o, now_ms);
    if (is_error(o, CLASS_REQUEST))
        return give_up(a, -1);
    if (is_error(o, CLASS_CONTEXT))
        return judge_context(a, now_ms);
    if (is_error(o, CLASS_LIMIT) || is_error(o, CLASS_SPENT) || is_error(o, CLASS_DENIED))
        return judge_key(a, o, now_ms);
    if (o->end == END_FULL && is_held(a))
        return give_up(a, -1);
    if (o->end == END_FULL || is_error(o, CLASS_NO_MODEL)) {
        put_out(a, a->at, true);
        return go_on(a, now_ms);
    }
    return judge_failed(a, o, now_ms);
}

/* ---- what the caller says ------------------------------------------------------------------ */

struct attempts_step attempts_start(struct attempts *a, const struct attempts_options *o)
{
    int64_t total = 0;

    ASSERT(o->choice->why == CHOICE_ALLOWED);
    *a = (struct attempts){ .c = o->c, .circuits = o->circuits, .choice = o->choice,
                            .random = o->random, .may_continue = o->may_continue, .same = -1,
                            .at = o->choice->first };
    for (int i = 0; i < a->choice->n; i++)
        if (a->choice->at[i].paths && upstream_of(a, i)->timeouts.ms[TIMEOUT_TOTAL] > total)
            total = upstream_of(a, i)->timeouts.ms[TIMEOUT_TOTAL];
    a->deadline_ms = o->now_ms + total;
    return go_on(a, o->now_ms);
}

void attempts_well(struct attempts *a, int64_t now_ms)
{
    ASSERT(a->state == ATTEMPTS_LIVE);
    if (!a->well)
        circuit_report(a->circuits, &a->pass, CIRCUIT_WELL, -1, now_ms);
    a->well = true;
}

void attempts_visible(struct attempts *a, unsigned seen)
{
    ASSERT(a->state == ATTEMPTS_LIVE);
    a->seen |= seen;
}

struct attempts_step attempts_outcome(struct attempts *a, const struct attempts_outcome *o,
                                      int64_t now_ms)
{
    ASSERT(a->state == ATTEMPTS_LIVE);
    report(a, o, now_ms);
    if (o->end > END_TLS) {
        a->got[a->at] = true;
        if (a->lowest < a->at)
            a->lowest = a->at;
    }
    return judge(a, o, now_ms);
}

struct attempts_step attempts_wake(struct attempts *a, int64_t now_ms)
{
    int i = a->same;
    int64_t until;

    ASSERT(a->state == ATTEMPTS_WAITING);
    if (now_ms < a->wake_ms)            /* too early: a timer that rounds down */
        return (struct attempts_step){ .what = DO_WAIT, .at_ms = a->wake_ms,
                                       .retry_after_ms = -1 };
    if (i >= 0 && now_ms < a->deadline_ms && a->n_sent < ATTEMPTS_MAX && may_go(a, i) &&
        circuit_take(a->circuits, model_of(a, i)->at_upstream, now_ms, &a->pass, &until) ==
            CIRCUIT_GO)
        return send_to(a, i, now_ms);
    return go_on(a, now_ms);
}

void attempts_cancel(struct attempts *a)
{
    if (a->state == ATTEMPTS_LIVE)
        circuit_drop(a->circuits, &a->pass);
    a->state = ATTEMPTS_OVER;
}

const char *attempts_end_word(enum attempts_end end)
{
    static const char *const word[END_N] = {
        [END_UNSENT] = "unsent", [END_FULL] = "full", [END_DNS] = "dns", [END_CONNECT] = "connect",
        [END_TLS] = "tls", [END_FIRST_BYTE] = "first_byte", [END_IDLE] = "idle",
        [END_TOTAL] = "total", [END_CLOSED] = "closed", [END_PROTOCOL] = "protocol",
        [END_TOO_LARGE] = "too_large", [END_STATUS] = "status",
        [END_STREAM_ERROR] = "stream_error", [END_WELL] = "well",
    };
    return word[end];
}

const char *attempts_error_word(enum attempts_error error)
{
    switch (error) {
    case ATTEMPTS_OK:         return "ok";
    case ATTEMPTS_UNSENT:     return "unsent";
    case ATTEMPTS_REQUEST:    return "request";
    case ATTEMPTS_CONTEXT:    return "context";
    case ATTEMPTS_LIMIT:      return "limit";
    case ATTEMPTS_OVERLOADED: return "overloaded";
    case ATTEMPTS_UPSTREAM:   return "upstream";
    case ATTEMPTS_DEADLINE:   return "deadline";
    }
    return "?";
}
