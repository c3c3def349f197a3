/* wire_responses_hear.c - the upstream's side of /v1/responses: its replies and streams.
 *
 * A stream is items one after the other; what an item said in pieces is not said again when it is
 * done, and what it did not say in pieces is said then. */
#include "wire/hear.h"

#include <string.h>

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "WIRE-13", "out of memory for the content of an answer; close other "
                   "programs");
}

static enum err take_usage(struct wire_answer *a, const json_t *u)
{
    if (!json_is_object(u))
        return OK;
    a->usage = (struct wire_usage){
        .prompt_tok = wire_int_of(u, "input_tokens", 0),
        .answer_tok = wire_int_of(u, "output_tokens", 0),
        .cached_tok = wire_int_of(json_object_get(u, "input_tokens_details"), "cached_tokens", 0),
        .kept_tok = wire_int_of(json_object_get(u, "input_tokens_details"), "cache_write_tokens",
                                0),
        .think_tok = wire_int_of(json_object_get(u, "output_tokens_details"), "reasoning_tokens",
                                 0) };
    return wire_answer_usage(a, u);
}

static enum err say(struct wire_answer *a, enum wire_event_kind kind, bool refusal,
                    const json_t *text)
{
    struct wire_answer_choice *c = &a->choice[0];
    struct wire_event e = { .kind = kind, .refusal = refusal, .text = json_string_value(text),
                            .len = json_string_length(text),
                            .apart = c->fresh && kind != WIRE_ARGS };

    if (!e.len)
        return OK;
    c->fresh = false;
    return wire_say(a, &e);
}

/* Paragraphs of reasoning that came apart. */
static enum err say_break(struct wire_answer *a)
{
    struct wire_event e = { .kind = WIRE_THINK, .text = "\n\n", .len = 2 };

    return a->choice[0].last == WIRE_THINK && !a->choice[0].fresh ? wire_say(a, &e) : OK;
}

static enum err begin_item(struct wire_answer *a, const json_t *item)
{
    struct wire_answer_choice *c = &a->choice[0];
    const char *type = wire_str_of(item, "type");

    c->fresh = true;
    c->block = WIRE_BLOCK_NONE;
    if (!strcmp(type, "message"))
        c->block = WIRE_BLOCK_TEXT;
    else if (!strcmp(type, "reasoning"))
        c->block = WIRE_BLOCK_THINK;
    else if (!strcmp(type, "function_call")) {
        c->block = WIRE_BLOCK_CALL;
        return wire_say_call(a, 0, wire_str_of(item, "call_id"), wire_str_of(item, "name"));
    }
    return OK;
}

/* The texts of a list of parts, when none of them was said in pieces. */
static enum err say_parts(struct wire_answer *a, enum wire_event_kind kind, const json_t *parts)
{
    enum err e = OK;

    for (size_t i = 0; i < json_array_size(parts) && e == OK; i++) {
        const json_t *part = json_array_get(parts, i), *no = json_object_get(part, "refusal");
        if (kind == WIRE_THINK)
            e = say_break(a);
        if (e == OK)
            e = say(a, kind, no != NULL, no ? no : json_object_get(part, "text"));
    }
    return e;
}

static enum err say_seal(struct wire_answer *a, const json_t *item)
{
    const json_t *seal = json_object_get(item, "encrypted_content");
    struct wire_event e = { .kind = WIRE_SEAL, .seal = WIRE_SEAL_ENCRYPTED,
                            .id = wire_str_of(item, "id"), .text = json_string_value(seal),
                            .len = json_string_length(seal), .apart = a->choice[0].fresh };

    return e.len ? wire_say(a, &e) : OK;
}

static enum err end_item(struct wire_answer *a, const json_t *item)
{
    const json_t *summary = json_object_get(item, "summary");
    struct wire_answer_choice *c = &a->choice[0];
    enum err e = OK;

    if (c->block == WIRE_BLOCK_CALL && c->fresh)
        e = say(a, WIRE_ARGS, false, json_object_get(item, "arguments"));
    else if (c->block == WIRE_BLOCK_TEXT && c->fresh)
        e = say_parts(a, WIRE_TEXT, json_object_get(item, "content"));
    else if (c->block == WIRE_BLOCK_THINK) {
        if (c->fresh)
            e = say_parts(a, WIRE_THINK, json_array_size(summary)
                          ? summary : json_object_get(item, "content"));
        if (e == OK)
            e = say_seal(a, item);
    }
    c->open = -1;
    c->block = WIRE_BLOCK_NONE;
    return e;
}

static enum err take_item(struct wire_answer *a, const json_t *item)
{
    enum err e = begin_item(a, item);

    return e != OK || a->over ? e : end_item(a, item);
}

/* Whether there is a response in it that has ended, and how. */
static enum err take_response(struct wire_answer *a, const json_t *response, bool whole)
{
    const json_t *output = json_object_get(response, "output");
    const char *status = wire_str_of(response, "status");
    const char *reason = wire_str_of(json_object_get(response, "incomplete_details"), "reason");
    struct wire_error why;
    enum err e = take_usage(a, json_object_get(response, "usage"));

    if (e == OK && !strcmp(status, "failed")) {
        wire_error_take(&why, 0, response);
        return wire_say_fail(a, &why);
    }
    for (size_t i = 0; whole && i < json_array_size(output) && e == OK && !a->over; i++)
        e = take_item(a, json_array_get(output, i));
    if (e != OK)
        return e;
    if (strcmp(status, "completed") && strcmp(status, "incomplete"))
        return wire_say_wrong(a, "it is not complete");
    enum wire_finish f = *status == 'c'                      ? WIRE_FINISH_STOP
                         : !strcmp(reason, "content_filter") ? WIRE_FINISH_FILTER
                                                             : WIRE_FINISH_LENGTH;
    e = wire_say_end(a, 0, f, NULL);
    return e != OK ? e : wire_say_done(a);
}

static enum err take_delta(struct wire_answer *a, const char *type, const json_t *data)
{
    static const struct {
        const char *type;
        enum wire_block block;
        enum wire_event_kind kind;
        bool refusal;
    } deltas[] = {
        { "response.output_text.delta", WIRE_BLOCK_TEXT, WIRE_TEXT, false },
        { "response.refusal.delta", WIRE_BLOCK_TEXT, WIRE_TEXT, true },
        { "response.reasoning_summary_text.delta", WIRE_BLOCK_THINK, WIRE_THINK, false },
        { "response.reasoning_text.delta", WIRE_BLOCK_THINK, WIRE_THINK, false },
        { "response.function_call_arguments.delta", WIRE_BLOCK_CALL, WIRE_ARGS, false } };

    for (size_t i = 0; i < sizeof(deltas) / sizeof(*deltas); i++)
        if (!strcmp(deltas[i].type, type)) {
            if (wire_int_of(data, "output_index", -2) != a->choice[0].open)
                return wire_say_wrong(a, "it tells of an item that is not open");
            return deltas[i].block != a->choice[0].block ? OK
                   : say(a, deltas[i].kind, deltas[i].refusal, json_object_get(data, "delta"));
        }
    return OK;                          /* what is said again, and what is new */
}

static enum err take_item_event(struct wire_answer *a, const char *type, const json_t *data)
{
    const json_t *item = json_object_get(data, "item");
    int64_t index = wire_int_of(data, "output_index", -2);
    struct wire_answer_choice *c = &a->choice[0];

    a->itemised = true;
    if (!strcmp(type, "response.output_item.added")) {
        if (c->open >= 0 || index < 0)
            return wire_say_wrong(a, "an item begins inside another");
        c->open = index;
        return begin_item(a, item);
    }
    if (c->open >= 0 && index != c->open)
        return wire_say_wrong(a, "an item ends that is not open");
    return c->open >= 0 ? end_item(a, item) : take_item(a, item);
}

enum err wire_responses_hear(struct wire_answer *a, const json_t *data)
{
    const char *type = wire_str_of(data, "type");
    const json_t *response = json_object_get(data, "response");
    struct wire_answer_choice *c = wire_answer_choice(a, 0);
    struct wire_error why;
    enum err e;

    if (!c)
        return no_memory();
    if (!strcmp(type, "error")) {
        wire_error_take(&why, 0, data);
        return wire_say_fail(a, &why);
    }
    if (!strcmp(type, "response.created") || !strcmp(type, "response.in_progress")) {
        e = wire_answer_about(a, response);
        return e != OK ? e : wire_say_begin(a);
    }
    if (!strcmp(type, "response.completed") || !strcmp(type, "response.incomplete") ||
        !strcmp(type, "response.failed")) {
        e = wire_answer_about(a, response);
        return e != OK ? e : take_response(a, response, !a->itemised);
    }
    if (!strncmp(type, "response.output_item.", 21))
        return take_item_event(a, type, data);
    if (!strcmp(type, "response.content_part.added")) {
        c->fresh = true;
        return OK;
    }
    if (!strcmp(type, "response.reasoning_summary_part.added"))
        return say_break(a);
    return take_delta(a, type, data);
}

enum err wire_responses_hear_whole(struct wire_answer *a, const json_t *body)
{
    return wire_answer_choice(a, 0) ? take_response(a, body, true) : no_memory();
}
