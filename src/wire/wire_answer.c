/* wire_answer.c - an upstream's answer as events: what all dialects share.
 *
 * init -> BEGIN -> events of the choices, each closed by END -> DONE.  Bytes that make no sense, an
 * error the upstream states, and an end before all choices have ended become FAIL; nothing follows
 * DONE or FAIL. */
#include "wire/hear.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "WIRE-09", "out of memory while reading an answer; close other "
                   "programs");
}

struct wire_answer_choice *wire_answer_choice(struct wire_answer *a, size_t index)
{
    if (index >= WIRE_ANSWER_CHOICE_MAX)
        return NULL;
    if (index >= a->n_choice) {
        struct wire_answer_choice *more = realloc(a->choice, (index + 1) * sizeof(*more));
        if (!more)
            return NULL;
        for (size_t i = a->n_choice; i <= index; i++)
            more[i] = (struct wire_answer_choice){ .open = -1, .last = WIRE_BEGIN };
        a->choice = more;
        a->n_choice = index + 1;
    }
    return &a->choice[index];
}

enum err wire_say_begin(struct wire_answer *a)
{
    struct wire_event begin = { .kind = WIRE_BEGIN, .usage = a->usage };

    if (a->begun || a->over)
        return OK;
    a->begun = true;
    return a->emit(a->arg, &begin);
}

enum err wire_say(struct wire_answer *a, const struct wire_event *e)
{
    bool of_choice = e->kind != WIRE_DONE && e->kind != WIRE_FAIL;
    struct wire_answer_choice *c = of_choice ? &a->choice[e->choice] : NULL;
    enum err code;

    if (a->over || (c && c->ended))
        return OK;
    if (c && e->kind == WIRE_ARGS && c->last != WIRE_CALL && c->last != WIRE_ARGS)
        return wire_say_wrong(a, "arguments of no call");
    if (e->kind != WIRE_FAIL && (code = wire_say_begin(a)) != OK)
        return code;
    if (c)
        c->last = e->kind;
    a->over = !of_choice;
    return a->emit(a->arg, e);
}

enum err wire_say_text(struct wire_answer *a, enum wire_event_kind kind, size_t choice,
                       const json_t *text)
{
    struct wire_event e = { .kind = kind, .choice = choice, .text = json_string_value(text),
                            .len = json_string_length(text) };

    return e.len ? wire_say(a, &e) : OK;
}

enum err wire_say_call(struct wire_answer *a, size_t choice, const char *id, const char *name)
{
    struct wire_answer_choice *c = &a->choice[choice];
    struct wire_event e = { .kind = WIRE_CALL, .choice = choice, .id = id, .name = name };
    char made[128];

    if (!*name)
        return wire_say_wrong(a, "a call without a name");
    if (++c->n_call > WIRE_CALL_MAX)
        return wire_say_wrong(a, "too many calls");
    if (!*id) {
        snprintf(made, sizeof(made), "call_%.64s_%zu_%zu", buf_text(&a->id), choice, c->n_call);
        for (char *at = made; *at; at++)
            if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *at))
                *at = '_';
        e.id = made;
    }
    return wire_say(a, &e);
}

enum err wire_say_end(struct wire_answer *a, size_t choice, enum wire_finish f,
                      const json_t *match)
{
    struct wire_answer_choice *c = &a->choice[choice];
    struct wire_event e = { .kind = WIRE_END, .choice = choice, .finish = f,
                            .text = json_string_value(match), .len = json_string_length(match) };

    if (c->ended)
        return OK;
    if (f == WIRE_FINISH_STOP && c->n_call)     /* some say "stop" after calls */
        e.finish = WIRE_FINISH_CALLS;
    enum err code = wire_say(a, &e);
    c->ended = true;
    return code;
}

enum err wire_say_done(struct wire_answer *a)
{
    struct wire_event e = { .kind = WIRE_DONE, .usage = a->usage,
                            .usage_json = a->has_usage ? buf_text(&a->usage_json) : NULL };
    bool ended = a->n_choice;

    if (a->usage_json.broken || a->id.broken || a->model.broken)
        return no_memory();
    for (size_t i = 0; i < a->n_choice; i++)
        ended = ended && a->choice[i].ended;
    ended = ended && a->n_choice == (a->n_max ? a->n_max : 1);
    return ended ? wire_say(a, &e) : wire_say_wrong(a, "it ended too early");
}

enum err wire_say_fail(struct wire_answer *a, const struct wire_error *why)
{
    struct wire_event e = { .kind = WIRE_FAIL, .error = why };

    return wire_say(a, &e);
}

enum err wire_say_wrong(struct wire_answer *a, const char *what)
{
    struct wire_error why;

    wire_error_set(&why, WIRE_E_UPSTREAM, NULL, "The model's server gave an answer that cannot be "
                   "used: %s.", what);
    return wire_say_fail(a, &why);
}

int64_t wire_int_of(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(object, key);

    bool good = json_is_integer(v) && json_integer_value(v) >= 0 &&
                json_integer_value(v) <= (json_int_t)1 << 53;

    return good ? json_integer_value(v) : otherwise;
}

const char *wire_str_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

enum err wire_answer_usage(struct wire_answer *a, const json_t *usage)
{
    buf_cut(&a->usage_json, 0);
    wire_put_json(&a->usage_json, usage);
    a->has_usage = a->usage_whole = true;
    return a->usage_json.broken ? no_memory() : OK;
}

enum err wire_answer_about(struct wire_answer *a, const json_t *head)
{
    if (!a->id.len)
        buf_puts(&a->id, wire_str_of(head, "id"));
    if (!a->model.len)
        buf_puts(&a->model, wire_str_of(head, "model"));
    if (*wire_str_of(head, "service_tier")) {       /* asked for at first, then given */
        buf_cut(&a->tier, 0);
        buf_puts(&a->tier, wire_str_of(head, "service_tier"));
    }
    return a->id.broken || a->model.broken || a->tier.broken ? no_memory() : OK;
}

/* Parse what came; *out is NULL when it is no object, and then FAIL was said. */
static enum err parse(json_t **out, struct wire_answer *a, const char *text, size_t len)
{
    enum err e = ERR_LIMIT;

    *out = NULL;
    if (len <= WIRE_REPLY_BYTES_MAX && json_cost(text, len) <= WIRE_JSON_COST_MAX)
        e = json_parse_nul(out, text, len, WIRE_REPLY_BYTES_MAX, "answer");
    if (e == ERR_NOMEM)
        return e;
    if (e == OK && json_is_object(*out))
        return OK;
    json_decref(*out);
    *out = NULL;
    return wire_say_wrong(a, e == ERR_LIMIT ? "it is too large" : "it is no JSON object");
}

enum err wire_answer_event(struct wire_answer *a, const char *data, size_t len)
{
    json_t *json;
    enum err e;

    if (a->over)
        return OK;
    if (len == 6 && !memcmp(data, "[DONE]", 6))
        return a->dialect == &wire_dialect_chat ? wire_say_done(a) : OK;
    if ((e = parse(&json, a, data, len)) != OK || !json)
        return e;
    e = a->dialect->hear(a, json);
    json_decref(json);
    return e;
}

enum err wire_answer_end(struct wire_answer *a)
{
    if (a->over)
        return OK;
    if (a->dialect == &wire_dialect_chat)       /* some leave [DONE] out */
        return wire_say_done(a);
    return wire_say_wrong(a, "it ended too early");
}

enum err wire_answer_whole(struct wire_answer *a, const char *body, size_t len)
{
    struct wire_error why;
    json_t *json;
    enum err e = parse(&json, a, body, len);

    if (e != OK || !json)
        return e;
    if ((e = wire_answer_about(a, json)) != OK)
        ;
    else if (json_is_object(json_object_get(json, "error"))) {
        wire_error_take(&why, 0, json);
        e = wire_say_fail(a, &why);
    } else {
        e = a->dialect->hear_whole(a, json);
    }
    json_decref(json);
    return e;
}

void wire_answer_release(struct wire_answer *a)
{
    free(a->choice);
    buf_release(&a->usage_json);
    buf_release(&a->id);
    buf_release(&a->model);
    buf_release(&a->tier);
    *a = (struct wire_answer){ 0 };
}

/* ---- errors ---- */

static const struct { const char *word; enum wire_code code; } words[] = {
    { "context_length_exceeded", WIRE_E_CONTEXT }, { "insufficient_quota", WIRE_E_QUOTA },
    { "billing_error", WIRE_E_QUOTA }, { "rate_limit_exceeded", WIRE_E_RATE_REQUESTS },
    { "rate_limit_error", WIRE_E_RATE_REQUESTS }, { "overloaded_error", WIRE_E_OVERLOADED },
    { "overloaded", WIRE_E_OVERLOADED }, { "authentication_error", WIRE_E_BAD_KEY },
    { "invalid_api_key", WIRE_E_BAD_KEY }, { "permission_error", WIRE_E_FORBIDDEN },
    { "model_not_found", WIRE_E_NO_MODEL }, { "not_found_error", WIRE_E_NO_MODEL },
    { "request_too_large", WIRE_E_TOO_LARGE }, { "timeout_error", WIRE_E_DEADLINE },
    { "unsupported_parameter", WIRE_E_UNSUPPORTED }, { "invalid_type", WIRE_E_TYPE },
    { "unsupported_value", WIRE_E_UNSUPPORTED_VALUE },
    { "missing_required_parameter", WIRE_E_MISSING },
    { "thread_not_found", WIRE_E_THREAD_GONE }, { "thread_unsupported_request", WIRE_E_NO_THREAD },
    { "invalid_request_error", WIRE_E_VALUE }, { "invalid_prompt", WIRE_E_VALUE },
};

static enum wire_code code_of_status(int status)
{
    switch (status) {
    case 401: return WIRE_E_BAD_KEY;
    case 402: return WIRE_E_QUOTA;
    case 403: return WIRE_E_FORBIDDEN;
    case 404: return WIRE_E_NO_MODEL;
    case 408: return WIRE_E_SLOW;
    case 413: return WIRE_E_TOO_LARGE;
    case 429: return WIRE_E_RATE_REQUESTS;
    case 503:
    case 529: return WIRE_E_OVERLOADED;
    case 504: return WIRE_E_DEADLINE;
    default:  return status >= 400 && status < 500 ? WIRE_E_VALUE : WIRE_E_UPSTREAM;
    }
}

/* Its code says more than its type, and that more than the status. */
static enum wire_code code_of(int status, const char *code, const char *type, const char *text)
{
    const char *const said[] = { code, type };

    if (strstr(text, "maximum context length") || strstr(text, "prompt is too long"))
        return WIRE_E_CONTEXT;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
            if (!strcmp(words[i].word, said[k]) &&
                (words[i].code != WIRE_E_VALUE || !status || status == 400))
                return words[i].code;
    return code_of_status(status);
}

void wire_error_take(struct wire_error *why, int status, const json_t *body)
{
    const json_t *error = json_object_get(body, "error");
    const char *text = json_string_value(error), *word;

    if (!json_is_object(error))
        error = body;
    text = text ? text : wire_str_of(error, "message");
    word = wire_str_of(error, "code");
    if (!*word)
        word = wire_str_of(json_object_get(error, "details"), "error_code");
    enum wire_code code = code_of(status, word, wire_str_of(error, "type"), text);
    wire_error_set(why, code, wire_str_of(error, "param"), *text ? "%s" : NULL, text);
}

enum err wire_error_read(struct wire_error *why, const struct wire_dialect *d, int status,
                         const char *body, size_t len)
{
    json_t *json = NULL;
    enum err e = ERR_FORMAT;

    (void)d;                            /* all three say it under "error" */
    if (len <= WIRE_BODY_BYTES_MAX && json_cost(body, len) <= WIRE_JSON_COST_MAX)
        e = json_parse_nul(&json, body, len, WIRE_BODY_BYTES_MAX, "error");
    if (e == ERR_NOMEM)
        return e;
    if (e == OK && json_is_object(json))
        wire_error_take(why, status, json);
    else
        wire_error_set(why, code_of_status(status), NULL, NULL);
    json_decref(json);
    return OK;
}

int wire_error_status_in(const struct wire_dialect *d, enum wire_code code)
{
    if (d == &wire_dialect_messages && code == WIRE_E_QUOTA)
        return 402;
    return d == &wire_dialect_messages && code == WIRE_E_OVERLOADED ? 529 : wire_error_status(code);
}
