/* wire_chat_hear.c - the upstream's side of /v1/chat/completions: its replies and streams. */
#include "wire/hear.h"

#include <string.h>

static enum err take_usage(struct wire_answer *a, const json_t *u)
{
    const json_t *in = json_object_get(u, "prompt_tokens_details");
    const json_t *out = json_object_get(u, "completion_tokens_details");

    if (!json_is_object(u))
        return OK;
    a->usage = (struct wire_usage){
        .prompt_tok = wire_int_of(u, "prompt_tokens", 0),
        .answer_tok = wire_int_of(u, "completion_tokens", 0),
        .cached_tok = wire_int_of(in, "cached_tokens",
                                  wire_int_of(u, "prompt_cache_hit_tokens", 0)),
        .kept_tok = wire_int_of(in, "cache_write_tokens", 0),
        .think_tok = wire_int_of(out, "reasoning_tokens", 0) };
    return wire_answer_usage(a, u);
}

/* A call, or more of its arguments.  In a stream they have numbers; one without belongs to the last
 * where it says no id. */
static enum err take_call(struct wire_answer *a, size_t choice, const json_t *call, bool whole)
{
    struct wire_answer_choice *c = &a->choice[choice];
    const json_t *f = json_object_get(call, "function");
    const char *id = wire_str_of(call, "id");
    int64_t index = whole ? (int64_t)c->n_call
                          : wire_int_of(call, "index", *id || !c->n_call ? c->open + 1 : c->open);
    const json_t *arguments = json_object_get(f, "arguments");
    enum err e = OK;

    if (index < c->open)
        return wire_say_wrong(a, "its calls are mixed with each other");
    if (index > c->open || !c->n_call) {
        e = wire_say_call(a, choice, id, wire_str_of(f, "name"));
        c->open = index;
    }
    return e != OK ? e : wire_say_text(a, WIRE_ARGS, choice, arguments);
}

static enum wire_finish finish_of(const char *word)
{
    return !strcmp(word, "length")                                        ? WIRE_FINISH_LENGTH
           : !strcmp(word, "tool_calls") || !strcmp(word, "function_call") ? WIRE_FINISH_CALLS
           : !strcmp(word, "content_filter")                              ? WIRE_FINISH_FILTER
                                                                          : WIRE_FINISH_STOP;
}

/* A delta of a stream, or a whole message. */
static enum err take_message(struct wire_answer *a, size_t choice, const json_t *m, bool whole)
{
    const json_t *thought = json_object_get(m, "reasoning_content");
    const json_t *refusal = json_object_get(m, "refusal");
    const json_t *calls = json_object_get(m, "tool_calls");
    struct wire_event no = { .kind = WIRE_TEXT, .choice = choice, .refusal = true,
                             .text = json_string_value(refusal),
                             .len = json_string_length(refusal) };
    enum err e;

    if (!json_string_length(thought))
        thought = json_object_get(m, "reasoning");
    if ((e = wire_say_text(a, WIRE_THINK, choice, thought)) != OK ||
        (e = wire_say_text(a, WIRE_TEXT, choice, json_object_get(m, "content"))) != OK)
        return e;
    if (no.len && (e = wire_say(a, &no)) != OK)
        return e;
    for (size_t i = 0; i < json_array_size(calls) && e == OK; i++)
        e = take_call(a, choice, json_array_get(calls, i), whole);
    return e;
}

static enum err take_choices(struct wire_answer *a, const json_t *choices, bool whole)
{
    enum err e = OK;

    for (size_t i = 0; i < json_array_size(choices) && e == OK && !a->over; i++) {
        const json_t *v = json_array_get(choices, i);
        size_t index = (size_t)wire_int_of(v, "index", whole ? (int64_t)i : 0);
        const char *finish = wire_str_of(v, "finish_reason");
        if (index >= (a->n_max ? a->n_max : 1))
            return wire_say_wrong(a, "too many choices");
        if (!wire_answer_choice(a, index))
            return err_set(ERR_NOMEM, "WIRE-10", "out of memory for a choice of an answer; close "
                           "other programs");
        if (a->choice[index].ended)
            continue;
        e = take_message(a, index, json_object_get(v, whole ? "message" : "delta"), whole);
        if (e == OK && (*finish || whole))
            e = wire_say_end(a, index, finish_of(finish), NULL);
    }
    return e;
}

enum err wire_chat_hear(struct wire_answer *a, const json_t *data)
{
    struct wire_error why;
    enum err e = wire_answer_about(a, data);

    if (e != OK)
        return e;
    const json_t *error = json_object_get(data, "error");
    if (error && !json_is_null(error)) {
        wire_error_take(&why, 0, data);
        return wire_say_fail(a, &why);
    }
    e = take_usage(a, json_object_get(data, "usage"));
    return e != OK ? e : take_choices(a, json_object_get(data, "choices"), false);
}

enum err wire_chat_hear_whole(struct wire_answer *a, const json_t *body)
{
    enum err e = take_usage(a, json_object_get(body, "usage"));

    if (e == OK)
        e = take_choices(a, json_object_get(body, "choices"), true);
    return e != OK ? e : wire_say_done(a);
}
