/* door_ask.c - a request: read, labelled, its candidates; then the steps of attempts.h. */
#include "door/door_form.h"

#include "http/sse.h"
#include "refuse/refuse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- its end -------------------------------------------------------------------------------- */

void ask_count_end(struct ask *a, enum door_end end)
{
    if (!a->counted)
        a->d->n.request[end]++;
    a->counted = true;
}

static void ask_free(struct ask *a)
{
    struct door *d = a->d;

    if (a->next)
        a->next->prev = a->prev;
    if (a->prev)
        a->prev->next = a->next;
    else
        d->asks = a->next;
    d->n_ask--;
    try_release(a);
    loop_timer_free(a->timer);
    if (a->replying)
        wire_reply_release(&a->reply);
    if (a->read)
        wire_request_release(&a->r);
    kept_free(a->kept);
    aside_free(a->found);
    buf_release(&a->made);
    buf_release(&a->frames);
    buf_release(&a->said);
    world_drop(a->w);
    free(a);
}

void ask_end(struct ask *a)
{
    a->state = ASK_OVER;
    loop_timer_stop(a->timer);
    if (!a->call && !a->try.pending && !a->try.req && !a->try.cutting && !a->fetch)
        ask_free(a);
}

static void on_timer(void *arg)
{
    struct ask *a = arg;
    struct wire_error why;

    if (a->state == ASK_WAIT) {
        a->state = ASK_NEW;
        ask_step(a, attempts_wake(&a->attempts, door_now_ms()));
    } else if (a->state == ASK_KEPT) {
        kept_late(a);
    } else if (a->state == ASK_BOOKS) {
        try_books_late(a);
    } else if (a->state == ASK_ENTER) {
        try_enter(a);
    } else if (a->state == ASK_SENT) {
        reply_hold_over(a);
    } else if (a->state == ASK_SLICE || a->state == ASK_LANE) {
        wire_error_set(&why, WIRE_E_OVERLOADED, NULL, a->state == ASK_SLICE ?
                       "The ledger did not answer in time; try again." :
                       "The model's server has no room for so many requests; try again.");
        a->try.why = why;
        try_outcome(a, END_UNSENT, CLASS_FAILED);
    }
}

/* Without memory to wait it is now: early is not never. */
void ask_timer(struct ask *a, int64_t ms)
{
    if (ms <= 0 || loop_timer_set(a->timer, (double)ms / 1000))
        loop_timer_soon(a->timer);
}

/* What a reply that has begun may still say. */
static enum err put_fail(struct ask *a, struct buf *out, const struct wire_error *why)
{
    struct wire_event fail = { .kind = WIRE_FAIL, .error = why };
    struct buf body = { 0 };
    enum err e;

    if (a->replying)
        return a->reply.done ? OK : wire_reply_event(&a->reply, out, &fail);
    wire_error_write(&body, a->in, why);
    e = buf_ok(&body);
    if (a->r.stream)
        sse_event(out, NULL, buf_text(&body), body.len);
    else
        buf_add(out, buf_text(&body), body.len);
    buf_release(&body);
    return e ? e : buf_ok(out);
}

void ask_tell(struct ask *a, const struct wire_error *why, enum door_end end)
{
    struct buf out = { 0 };
    struct call *c = a->call;

    ask_count_end(a, end);
    a->call = NULL;
    if (c && !a->streaming) {
        refuse_with(c, a->in, why);
    } else if (c && !put_fail(a, &out, why)) {
        call_write(c, buf_text(&out), out.len);
        call_end(c);
    } else if (c) {
        call_cut(c);                    /* no memory to say it: it must not look whole */
    }
    buf_release(&out);
}

void ask_fail(struct ask *a, const struct wire_error *why, enum door_end end)
{
    ask_tell(a, why, end);
    ask_end(a);
}

static void on_gone(void *arg, enum call_gone why)
{
    struct ask *a = arg;

    (void)why;
    a->call = NULL;
    ask_count_end(a, DOOR_LEFT);
    try_cancel(a);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Between us and the upstream: its words may show a part of our key. */
static bool is_ours(enum wire_code code)
{
    return code == WIRE_E_NO_KEY || code == WIRE_E_BAD_KEY || code == WIRE_E_FORBIDDEN ||
           code == WIRE_E_QUOTA || code == WIRE_E_NO_MODEL;
}

static void put_error(struct wire_error *why, const struct ask *a, const struct attempts_step *s)
{
    static const enum wire_code codes[] = {
        [ATTEMPTS_OK] = WIRE_E_SERVER, [ATTEMPTS_UNSENT] = WIRE_E_SERVER,
        [ATTEMPTS_REQUEST] = WIRE_E_VALUE, [ATTEMPTS_CONTEXT] = WIRE_E_CONTEXT,
        [ATTEMPTS_LIMIT] = WIRE_E_RATE_REQUESTS, [ATTEMPTS_OVERLOADED] = WIRE_E_OVERLOADED,
        [ATTEMPTS_UPSTREAM] = WIRE_E_UPSTREAM, [ATTEMPTS_DEADLINE] = WIRE_E_DEADLINE,
    };
    const struct wire_error *said = &a->try.why;
    int64_t wait_s = (s->retry_after_ms + 999) / 1000;
    bool own = s->error == ATTEMPTS_UNSENT;
    int client = place_of_sink(a->w->c, SINK_CLIENT);

    /* Its words may quote the text. */
    bool may = policy_lets(policy_decide(a->w->policy, a->labels, client, PATH_error));
    if (own) {
        *why = *said;
    } else if (*said->text && may && (s->error == ATTEMPTS_REQUEST || s->error == ATTEMPTS_CONTEXT))
        wire_error_set(why, codes[s->error] == WIRE_E_CONTEXT ? WIRE_E_CONTEXT : said->code,
                       said->param, "%s", said->text);
    else if (*said->text && may && s->error == ATTEMPTS_UPSTREAM && !is_ours(said->code))
        wire_error_set(why, WIRE_E_UPSTREAM, NULL, "%s", said->text);
    else
        wire_error_set(why, codes[s->error], NULL, s->error == ATTEMPTS_UPSTREAM ?
                       "The model's server failed; try again." : s->error == ATTEMPTS_LIMIT ?
                       "The model's server takes no more requests now; try again later." :
                       s->error == ATTEMPTS_OVERLOADED ?
                       "No server of this model takes requests now; try again later." :
                       s->error == ATTEMPTS_CONTEXT ?
                       "The request is longer than the model's context." : NULL);
    if (s->retry_after_ms >= 0)
        why->retry_after_s = (uint32_t)(wait_s < 86400 ? wait_s : 86400);
}

static enum door_end end_of(const struct wire_error *why)
{
    return why->code == WIRE_E_QUOTA ? DOOR_QUOTA : why->code == WIRE_E_FORBIDDEN ? DOOR_FORBIDDEN
           : wire_error_status(why->code) < 500 ? DOOR_REFUSED : DOOR_FAILED;
}

static enum err begin_reply(struct ask *a)
{
    struct wire_about about = { .id = a->reply_id, .model = a->r.model.at,
                                .created = (int64_t)time(NULL) };
    enum err e;

    snprintf(a->reply_id, sizeof(a->reply_id), "%016" PRIx64 "%016" PRIx64, door_random(a->d),
             door_random(a->d));
    if (wire_dialect_task(a->in) != WIRE_TASK_CHAT || a->kind == PATH_count_tokens)
        return OK;
    e = wire_reply_init(&a->reply, &a->r, &about);
    a->replying = true;
    return e;
}

/* An attempt from the start: nothing of the one before it was shown, but perhaps a beginning. */
static enum err forget(struct ask *a)
{
    kept_free(a->kept);
    a->kept = NULL;
    buf_cut(&a->said, 0);
    buf_cut(&a->frames, 0);
    buf_cut(&a->made, 0);
    if (!a->replying || !a->reply.begun || (a->streaming && a->r.stream))
        return OK;
    wire_reply_release(&a->reply);
    a->replying = false;
    return begin_reply(a);
}

void ask_step(struct ask *a, struct attempts_step step)
{
    struct wire_error why;

    switch (step.what) {
    case DO_SEND:
        try_release(a);
        a->held = false;
        a->try = (struct try){ .step = step, .cost = -1, .retry_after_ms = -1,
                               .should_retry = -1 };
        if (step.kind != PATH_continuation && forget(a)) {
            wire_error_set(&a->try.why, WIRE_E_NO_MEMORY, NULL, NULL);
            try_outcome(a, END_UNSENT, CLASS_FAILED);
        } else {
            try_begin(a);
        }
        break;
    case DO_WAIT:
        a->state = ASK_WAIT;
        ask_timer(a, step.at_ms - door_now_ms());
        break;
    case DO_DONE:
        ask_end(a);
        break;
    case DO_FAIL:
        put_error(&why, a, &step);
        ask_fail(a, &why, end_of(&why));
        break;
    }
}

/* ---- its beginning -------------------------------------------------------------------------- */

static void no_row(void *arg, enum err e)
{
    (void)arg;
    if (e)
        term_error(e);
}

/* Why nobody may have it: 403 names label and rule; the audit log has it too. */
static void refuse_choice(struct ask *a)
{
    static const struct { enum choice_why why; enum wire_code code; } codes[] = {
        { CHOICE_NO_MODEL, WIRE_E_NO_MODEL }, { CHOICE_KEY_SCOPE, WIRE_E_NO_MODEL },
        { CHOICE_TEAM_SCOPE, WIRE_E_NO_MODEL }, { CHOICE_RULE, WIRE_E_FORBIDDEN },
        { CHOICE_NEVER, WIRE_E_FORBIDDEN }, { CHOICE_LACKS, WIRE_E_UNSUPPORTED_VALUE },
        { CHOICE_DIALECT, WIRE_E_NO_MODEL }, { CHOICE_OUTPUT, WIRE_E_INT_HIGH },
        { CHOICE_CONTEXT, WIRE_E_CONTEXT },
    };
    enum wire_code code = WIRE_E_VALUE;
    struct buf text = { 0 }, row = { 0 };
    struct wire_error why;

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (codes[i].why == a->choice.why)
            code = codes[i].code;
    choice_refusal(&text, a->w->c, &a->choice, a->r.model.at ? a->r.model.at : "");
    wire_error_set(&why, code, "model", "%s", buf_text(&text));
    if (code == WIRE_E_FORBIDDEN) {
        audit_row(&row, a, NULL, choice_word(a->choice.why));
        if (buf_ok(&row) || audit_put(a->w->books->audit, buf_text(&row), row.len,
                                      audit_strict(a), no_row, NULL))
            term_error(ERR_NOMEM);
    }
    buf_release(&row);
    buf_release(&text);
    ask_fail(a, &why, code == WIRE_E_FORBIDDEN ? DOOR_FORBIDDEN : DOOR_REFUSED);
}

bool ask_may_continue(const struct ask *a)
{
    const struct wire_request *r = &a->r;

    return !r->n_tool && r->best_of == 1 && r->format.kind == WIRE_FORMAT_TEXT && !r->logprobs &&
           wire_dialect_task(r->dialect) == WIRE_TASK_CHAT;
}

/* Members whose dialect would refuse something of the request by its name, while others would not;
 * with those alone the refusal is the answer. */
static void pass_over(struct ask *a)
{
    struct choice *x = &a->choice;

    for (int i = 0; i < x->n && x->n_allowed > 1; i++) {
        struct candidate *one = &x->at[i];
        const struct config *c = a->w->c;
        if (one->why != CHOICE_ALLOWED || (x->held && i == x->first) ||
            !wire_refuses(&a->r, world_dialect(&c->upstreams[c->models[one->model].at_upstream])))
            continue;
        one->why = one->lack = CHOICE_FIELD;
        one->paths = 0;
        x->n_allowed--;
    }
    while (!x->held && x->first + 1 < x->n && x->at[x->first].why != CHOICE_ALLOWED)
        x->first++;
}

void ask_choose(struct ask *a, int affinity, uint64_t random)
{
    struct choose_ask ask = {
        .name = a->r.model.at, .kind = a->kind, .labels = a->labels, .needs = label_needs(a),
        .prompt_tok = (uint64_t)a->prompt_tok, .key = a->who.names, .team = a->who.team_names,
        .output_tok = a->r.max_tok > 0 ? (uint64_t)a->r.max_tok : 0, .affinity = affinity,
        .random = random,
    };

    choose(&a->choice, a->w->c, a->w->policy, &ask);
    pass_over(a);
}

void ask_go(struct ask *a)
{
    struct attempts_options o = { .c = a->w->c, .circuits = a->w->circuits, .choice = &a->choice,
                                  .now_ms = door_now_ms(), .random = door_random(a->d),
                                  .may_continue = ask_may_continue(a) };
    struct wire_error why;
    int affinity;

    kept_find(a, &affinity);
    ask_choose(a, affinity, door_random(a->d));
    if (a->choice.why == CHOICE_DIALECT && a->kind == PATH_count_tokens) {
        count_estimate(a);
        return;
    }
    if (a->choice.why != CHOICE_ALLOWED) {
        refuse_choice(a);
        return;
    }
    if (begin_reply(a)) {
        wire_error_set(&why, WIRE_E_NO_MEMORY, NULL, NULL);
        ask_fail(a, &why, DOOR_FAILED);
        return;
    }
    ask_step(a, attempts_start(&a->attempts, &o));
}

static struct ask *ask_new(struct door *d, struct call *c, const char *dialect,
                           enum path_kind kind)
{
    static void (*const room)(void *) = reply_room;
    struct ask *a = calloc(1, sizeof(*a));

    if (!a || loop_timer_new(&a->timer, server_loop(d->server), on_timer, a)) {
        free(a);
        call_fail(c, FAULT_memory);
        return NULL;
    }
    a->d = d;
    a->w = d->world;
    a->w->refs++;
    a->call = c;
    a->in = wire_dialect_find(dialect);
    a->kind = kind;
    a->began_ms = door_now_ms();
    a->try.cost = -1;
    snprintf(a->id, sizeof(a->id), "%s", call_id(c));
    a->next = d->asks;
    if (a->next)
        a->next->prev = a;
    d->asks = a;
    d->n_ask++;
    call_watch(c, &(struct call_watch){ on_gone, room, a });
    return a;
}

static void take_beta(struct ask *a)
{
    struct piece beta = head_find(call_head(a->call), "anthropic-beta");

    if (beta.len && !(a->beta = arena_copy(&a->r.arena, beta.at, beta.len)))
        term_warn("request %s: no memory for its anthropic-beta, which is left out", a->id);
}

static void enter(struct call *c, struct door *d, const char *dialect, enum path_kind kind)
{
    struct ask *a = ask_new(d, c, dialect, kind);
    struct piece body = call_body(c);
    struct wire_error why;
    enum fault f;

    if (!a)
        return;
    if ((f = who_asks(&a->who, a->w, c))) {
        a->call = NULL;
        ask_count_end(a, DOOR_REFUSED);
        call_fail(c, f);
        ask_end(a);
        return;
    }
    if (wire_read(&a->r, &why, a->in, body.at, body.len)) {
        ask_fail(a, &why, DOOR_REFUSED);
        return;
    }
    a->read = true;
    a->prompt_tok = (int64_t)(body.len / BYTES_PER_TOKEN);
    take_beta(a);
    if (!a->r.model.at) {
        wire_error_set(&why, WIRE_E_MISSING, "model", "You must provide a model: a name that "
                       "GET /v1/models lists.");
        ask_fail(a, &why, DOOR_REFUSED);
    } else if (label_ask(a, call_head(c), NULL, &why)) {
        ask_fail(a, &why, DOOR_REFUSED);
    } else if (!kept_ask(a)) {
        ask_go(a);
    }
}

void enter_chat(struct call *c, void *door)
{
    enter(c, door, "chat", PATH_call);
}

void enter_completions(struct call *c, void *door)
{
    enter(c, door, "completions", PATH_call);
}

void enter_embeddings(struct call *c, void *door)
{
    enter(c, door, "embeddings", PATH_embeddings);
}

void enter_messages(struct call *c, void *door)
{
    enter(c, door, "messages", PATH_call);
}

void enter_responses(struct call *c, void *door)
{
    enter(c, door, "responses", PATH_call);
}

void enter_count(struct call *c, void *door)
{
    enter(c, door, "messages", PATH_count_tokens);
}
