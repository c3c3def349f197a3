/* door_try.c - an attempt: room in the lane, a grant of the budgets, its audit row and its journal
 * entry, the way out; its settlement, once.
 *
 *   begin -> LANE -> ENTER -> (admit) -> SLICE -> BOOKS -> SENT -> done | outcome
 *
 * Until SENT nothing of the text has left, and what was journalled is void. */
#include "door/door_form.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void admit(struct ask *a);

void try_release(struct ask *a)
{
    struct try *t = &a->try;

    ASSERT(!t->pending && !t->req && !t->attempt && !t->lane);
    buf_release(&t->body);
    buf_release(&t->whole);
    wire_answer_release(&t->answer);
}

static struct lane *lane_of(const struct ask *a)
{
    return a->w->upstream[a->try.step.upstream].lane;
}

static void unsent(struct ask *a, enum wire_code code, const char *text)
{
    wire_error_set(&a->try.why, code, NULL, text ? "%s" : NULL, text);
    try_outcome(a, END_UNSENT, CLASS_FAILED);
}

void try_begin(struct ask *a)
{
    struct lane *l = lane_of(a);
    bool full;

    a->state = ASK_LANE;
    if (lane_enter(l, a, &full)) {
        a->try.lane = l;
        try_enter(a);
    } else if (full) {
        unsent(a, WIRE_E_QUEUE_FULL, NULL);
    } else {
        ask_timer(a, a->attempts.deadline_ms - door_now_ms());
    }
}

void try_entered(struct ask *a)
{
    a->try.lane = lane_of(a);
    a->state = ASK_ENTER;
    ask_timer(a, 0);
}

void try_enter(struct ask *a)
{
    struct wire_error why;

    if (money_worst(a, a->try.step.model, &why)) {
        a->try.why = why;
        try_outcome(a, END_UNSENT, CLASS_FAILED);
    } else if (body_write(a)) {
        try_outcome(a, END_UNSENT, CLASS_REQUEST);
    } else {
        admit(a);
    }
}

/* ---- budgets -------------------------------------------------------------------------------- */

static void refuse_budget(struct ask *a, int budget)
{
    const struct limit_budget *b = budget >= 0 ? &a->w->books->budget[budget] : NULL;
    int64_t now = (int64_t)time(NULL);
    bool soon = b && (b->span == SPAN_MINUTE || b->span == SPAN_HOUR);

    if (soon) {
        wire_error_set(&a->try.why, WIRE_E_RATE_REQUESTS, NULL, "The limit '%s' is reached for "
                       "this %s; try again when it is over.", b->name,
                       b->span == SPAN_MINUTE ? "minute" : "hour");
        a->try.why.retry_after_s = (uint32_t)(b->span == SPAN_MINUTE ? 60 - now % 60
                                                                     : 3600 - now % 3600);
    } else {
        wire_error_set(&a->try.why, WIRE_E_QUOTA, NULL, "The budget%s%s%s is spent until its "
                       "period ends, or what is left of it is less than this request may cost.",
                       b ? " '" : "", b ? b->name : "", b ? "'" : "");
    }
    try_outcome(a, END_UNSENT, CLASS_FAILED);
}

static void wait_for_slices(struct ask *a)
{
    struct books *b = a->w->books;

    if (a->state != ASK_SLICE)
        ask_timer(a, SLICE_WAIT_MS);
    a->state = ASK_SLICE;
    a->queued = b->later;
    b->later = a;
}

/* Where it waits, if it does. */
static void quit_queue(struct ask *a)
{
    struct ask **at = &a->w->books->later;

    if (a->state == ASK_LANE && a->waiting)
        lane_quit(lane_of(a), a);
    while (a->state == ASK_SLICE && *at && *at != a)
        at = &(*at)->queued;
    if (a->state == ASK_SLICE && *at)
        *at = a->queued;
}

static void open_books(struct ask *a);

static void admit(struct ask *a)
{
    struct try *t = &a->try;
    const struct limit_who who = { a->who.team, a->who.key, a->who.tags };
    const struct amount worst = { { t->step.number == 0,
                                    t->worst.prompt + t->worst.completion, t->worst.cost } };
    int budget;

    switch (store_admit(a->w->books->store, &who, &worst, &t->grant, &budget)) {
    case LIMIT_GRANTED:
        t->granted = true;
        open_books(a);
        break;
    case LIMIT_LATER:
        wait_for_slices(a);
        break;
    case LIMIT_REFUSED:
        refuse_budget(a, budget);
        break;
    case LIMIT_GONE:
        unsent(a, WIRE_E_NOT_READY, "The ledger does not answer, so that nothing can be asked "
               "now; try again.");
        break;
    case LIMIT_TOO_MANY:
        unsent(a, WIRE_E_VALUE, "The request has tags of more budgets than one request may "
               "count towards.");
        break;
    }
}

void try_slices(struct ask *a)
{
    admit(a);
}

/* ---- audit row and journal ------------------------------------------------------------------ */

static void release_grant(struct ask *a)
{
    if (a->try.granted)
        store_release(a->w->books->store, &a->try.grant);
    a->try.granted = false;
}

static void settle(struct ask *a, enum attempt_state state, const struct ledger_usage *usage)
{
    struct try *t = &a->try;
    struct door_counts *n = &a->d->n;

    if (!t->attempt)
        return;
    store_settle(a->w->books->store, t->attempt, state, usage, buf_text(&t->answer.id), NULL,
                 NULL);
    t->attempt = NULL;
    t->granted = false;
    t->settled = true;
    n->exact += state == ATTEMPT_EXACT;
    n->estimated += state == ATTEMPT_ESTIMATED;
    n->unsent += state == ATTEMPT_VOID;
    if (state == ATTEMPT_VOID)
        return;
    t->cost = usage->cost;
    n->prompt_tok += usage->prompt;
    n->completion_tok += usage->completion;
    n->picodollars += usage->cost;
}

static void opened(struct ask *a)
{
    struct try *t = &a->try;
    const struct ledger_usage none = { 0 };

    if (!a->call) {
        settle(a, ATTEMPT_VOID, &none);
        try_cancel(a);
    } else if (t->refused_books) {
        unsent(a, WIRE_E_NOT_READY, "The ledger or the audit log cannot be written, so that "
               "nothing can be asked now; try again.");
    } else {
        loop_timer_stop(a->timer);
        a->state = ASK_SENT;
        if (leave_to(a))
            try_outcome(a, END_UNSENT, CLASS_FAILED);
    }
}

/* Neither yes nor no: the client is told, and what comes later is void. */
void try_books_late(struct ask *a)
{
    struct wire_error why;

    wire_error_set(&why, WIRE_E_NOT_READY, NULL, "The ledger or the audit log did not answer in "
                   "time, so that nothing was asked; try again.");
    ask_tell(a, &why, DOOR_FAILED);
}

static void on_row(void *arg, enum err e)
{
    struct ask *a = arg;

    a->try.refused_books |= e != OK;
    if (e)
        term_error(e);
    if (!--a->try.pending)
        opened(a);
}

static void on_journal(void *arg, enum err e)
{
    struct ask *a = arg;

    a->try.refused_books |= e != OK;
    if (e) {
        a->try.attempt = NULL;
        a->try.granted = false;
    }
    if (!--a->try.pending)
        opened(a);
}

static enum err journal(struct ask *a)
{
    struct try *t = &a->try;
    const struct config *c = a->w->c;
    const struct ledger_attempt row = {
        .request = a->id, .upstream = c->upstreams[t->step.upstream].name, .key = a->who.key,
        .team = a->who.team, .model = c->models[t->step.model].name, .tags = a->who.tags,
        .requests = t->step.number == 0, .worst = t->worst,
    };

    return store_journal(a->w->books->store, &t->attempt, &row, &t->grant, on_journal, a);
}

static void open_books(struct ask *a)
{
    struct buf row = { 0 };
    enum err e;

    a->state = ASK_BOOKS;
    ask_timer(a, BOOKS_WAIT_MS);
    a->try.pending = 1;                 /* for this function */
    audit_row(&row, a, &a->try.step, NULL);
    e = buf_ok(&row);
    if (!e)
        e = audit_put(a->w->books->audit, buf_text(&row), row.len, audit_strict(a), on_row, a);
    buf_release(&row);
    if (!e) {
        a->try.pending++;
        e = journal(a);
        a->try.pending += !e;
    }
    if (e) {
        term_error(e);
        a->try.refused_books = true;
    }
    if (!--a->try.pending)
        opened(a);
}

/* ---- its end -------------------------------------------------------------------------------- */

static void cut(struct ask *a)
{
    struct client_req *req = a->try.req;

    a->try.req = NULL;
    a->try.cutting = true;
    if (req)
        client_cancel(req);
    a->try.cutting = false;
}

static void leave_lane(struct ask *a)
{
    struct lane *l = a->try.lane;

    a->try.lane = NULL;
    if (l)
        lane_leave(l);
}

/* By how it ended: never sent; an error that was said instead of an answer; cut. */
static void settle_end(struct ask *a, enum attempts_end end)
{
    const struct ledger_usage none = { 0 };
    struct ledger_usage used;

    if (end == END_UNSENT || end == END_DNS || end == END_CONNECT || end == END_TLS)
        settle(a, ATTEMPT_VOID, &none);
    else if (end == END_STATUS && (a->try.status >= 300 || a->try.why.code != WIRE_E_UPSTREAM))
        settle(a, ATTEMPT_EXACT, &none);
    else if (a->try.attempt)
        settle(a, money_used(a, false, &used) ? ATTEMPT_EXACT : ATTEMPT_ESTIMATED, &used);
}

void try_outcome(struct ask *a, enum attempts_end end, enum attempts_class error)
{
    struct try *t = &a->try;
    const struct attempts_outcome o = { end, error, t->retry_after_ms, t->should_retry };
    struct attempts_step next;

    quit_queue(a);
    a->d->n.attempt[end]++;
    settle_end(a, end);
    release_grant(a);
    cut(a);
    leave_lane(a);
    next = attempts_outcome(&a->attempts, &o, door_now_ms());
    if (a->call) {
        ask_step(a, next);
    } else {
        attempts_cancel(&a->attempts);
        ask_end(a);
    }
}

void try_done(struct ask *a)
{
    struct ledger_usage used;
    const struct attempts_outcome well = { END_WELL, CLASS_FAILED, -1, -1 };
    bool exact = money_used(a, true, &used);

    kept_put(a);
    a->d->n.attempt[END_WELL]++;
    settle(a, exact ? ATTEMPT_EXACT : ATTEMPT_ESTIMATED, &used);
    leave_lane(a);
    attempts_outcome(&a->attempts, &well, door_now_ms());
    ask_count_end(a, DOOR_DONE);
}

void try_cancel(struct ask *a)
{
    struct ledger_usage used;

    if (a->state == ASK_SENT && a->w->c->ledger.finish && !a->d->closing)
        return;
    if (a->try.pending)
        return;                         /* opened() comes back */
    quit_queue(a);
    if (a->try.attempt)
        settle(a, money_used(a, false, &used) ? ATTEMPT_EXACT : ATTEMPT_ESTIMATED, &used);
    release_grant(a);
    cut(a);
    leave_lane(a);
    attempts_cancel(&a->attempts);
    ask_end(a);
}

enum attempts_class try_class(const struct wire_error *why, int status)
{
    switch (why->code) {
    case WIRE_E_RATE_REQUESTS:
    case WIRE_E_RATE_TOKENS:
    case WIRE_E_QUEUE_FULL:  return CLASS_LIMIT;
    case WIRE_E_QUOTA:       return CLASS_SPENT;
    case WIRE_E_NO_KEY:
    case WIRE_E_BAD_KEY:
    case WIRE_E_FORBIDDEN:   return CLASS_DENIED;
    case WIRE_E_NO_MODEL:    return CLASS_NO_MODEL;
    case WIRE_E_CONTEXT:
    case WIRE_E_TOO_LARGE:   return CLASS_CONTEXT;
    case WIRE_E_SLOW:        return CLASS_FAILED;
    case WIRE_E_THREAD_GONE: return CLASS_REQUEST;
    default:
        if (status >= 300)
            return attempts_class_of(status, false, false);
        return wire_error_status(why->code) < 500 ? CLASS_REQUEST : CLASS_FAILED;
    }
}
