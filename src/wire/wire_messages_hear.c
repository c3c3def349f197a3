/* wire_messages_hear.c - the upstream's side of /v1/messages: its replies and streams.
 *
 * A stream is blocks one after the other, each begun, told and stopped under its number; what is
 * said of a block that is not open makes no sense. */
#include "wire/hear.h"

#include "base/json.h"

#include <string.h>

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "WIRE-11", "out of memory for the content of an answer; close other "
                   "programs");
}

/* What the start said and the end does not say again stays. */
static enum err take_usage(struct wire_answer *a, const json_t *u)
{
    json_t *all = NULL;
    enum err e = OK;

    if (!json_is_object(u))
        return OK;
    if (a->has_usage)
        e = json_parse_nul(&all, buf_text(&a->usage_json), a->usage_json.len, WIRE_REPLY_BYTES_MAX,
                           "usage");
    else if (!(all = json_object()))
        e = no_memory();
    if (e == OK && json_object_update(all, (json_t *)u))
        e = no_memory();
    if (e == OK) {
        const json_t *kept = json_object_get(all, "cache_creation");
        int64_t fresh = wire_int_of(all, "input_tokens", 0);
        struct wire_usage *to = &a->usage;
        to->cached_tok = wire_int_of(all, "cache_read_input_tokens", 0);
        to->kept_tok = wire_int_of(all, "cache_creation_input_tokens", 0);
        to->kept_hour_tok = wire_int_of(kept, "ephemeral_1h_input_tokens", 0);
        to->answer_tok = wire_int_of(all, "output_tokens", 0);
        to->prompt_tok = fresh + to->cached_tok + to->kept_tok;
        e = wire_answer_usage(a, all);
    }
    json_decref(all);
    return e;
}

static enum err say_seal(struct wire_answer *a, enum wire_seal seal, const json_t *text)
{
    struct wire_event e = { .kind = WIRE_SEAL, .seal = seal, .text = json_string_value(text),
                            .len = json_string_length(text),
                            .apart = seal == WIRE_SEAL_REDACTED };

    return e.len ? wire_say(a, &e) : OK;
}

/* Text that begins a block of its own is apart from the block before, even of the same kind. */
static enum err say_text(struct wire_answer *a, enum wire_event_kind kind, const json_t *text)
{
    struct wire_answer_choice *c = &a->choice[0];
    struct wire_event e = { .kind = kind, .text = json_string_value(text),
                            .len = json_string_length(text), .apart = c->fresh };

    if (!e.len)
        return OK;
    c->fresh = false;
    return wire_say(a, &e);
}

static enum err say_input(struct wire_answer *a, const json_t *input)
{
    struct buf text = { 0 };

    if (!json_is_object(input))
        return OK;
    wire_put_json(&text, input);
    struct wire_event e = { .kind = WIRE_ARGS, .text = buf_text(&text), .len = text.len };
    enum err code = text.broken ? no_memory() : wire_say(a, &e);
    buf_release(&text);
    return code;
}

/* A block, whole or as it begins. */
static enum err take_block(struct wire_answer *a, const json_t *b, bool whole)
{
    struct wire_answer_choice *c = &a->choice[0];
    const char *type = wire_str_of(b, "type");
    const json_t *input = json_object_get(b, "input");
    enum err e;

    c->fresh = true;
    c->block = WIRE_BLOCK_NONE;
    if (!strcmp(type, "text")) {
        c->block = WIRE_BLOCK_TEXT;
        return say_text(a, WIRE_TEXT, json_object_get(b, "text"));
    }
    if (!strcmp(type, "thinking")) {
        c->block = WIRE_BLOCK_THINK;
        e = say_text(a, WIRE_THINK, json_object_get(b, "thinking"));
        return e != OK ? e : say_seal(a, WIRE_SEAL_SIGNATURE, json_object_get(b, "signature"));
    }
    if (!strcmp(type, "redacted_thinking"))
        return say_seal(a, WIRE_SEAL_REDACTED, json_object_get(b, "data"));
    if (strcmp(type, "tool_use"))
        return OK;                      /* what the upstream does by itself */
    c->block = WIRE_BLOCK_CALL;
    if ((e = wire_say_call(a, 0, wire_str_of(b, "id"), wire_str_of(b, "name"))) != OK)
        return e;
    return whole || json_object_size(input) ? say_input(a, input) : OK;
}

static enum err take_delta(struct wire_answer *a, const json_t *delta)
{
    const char *type = wire_str_of(delta, "type");
    enum wire_block block = a->choice[0].block;

    if (!strcmp(type, "text_delta") && block == WIRE_BLOCK_TEXT)
        return say_text(a, WIRE_TEXT, json_object_get(delta, "text"));
    if (!strcmp(type, "thinking_delta") && block == WIRE_BLOCK_THINK)
        return say_text(a, WIRE_THINK, json_object_get(delta, "thinking"));
    if (!strcmp(type, "signature_delta") && block == WIRE_BLOCK_THINK)
        return say_seal(a, WIRE_SEAL_SIGNATURE, json_object_get(delta, "signature"));
    if (!strcmp(type, "input_json_delta") && block == WIRE_BLOCK_CALL)
        return wire_say_text(a, WIRE_ARGS, 0, json_object_get(delta, "partial_json"));
    return OK;
}

static enum wire_finish finish_of(const char *word)
{
    static const struct { const char *word; enum wire_finish finish; } words[] = {
        { "max_tokens", WIRE_FINISH_LENGTH }, { "tool_use", WIRE_FINISH_CALLS },
        { "stop_sequence", WIRE_FINISH_MATCH }, { "refusal", WIRE_FINISH_FILTER },
        { "model_context_window_exceeded", WIRE_FINISH_FULL },
        { "pause_turn", WIRE_FINISH_PAUSE } };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (!strcmp(words[i].word, word))
            return words[i].finish;
    return WIRE_FINISH_STOP;
}

static enum err take_start(struct wire_answer *a, const json_t *data)
{
    const json_t *message = json_object_get(data, "message");
    enum err e = wire_answer_about(a, message);

    if (e == OK)
        e = take_usage(a, json_object_get(message, "usage"));
    a->usage_whole = false;
    return e != OK ? e : wire_say_begin(a);
}

static enum err take_end(struct wire_answer *a, const json_t *data)
{
    const json_t *delta = json_object_get(data, "delta");
    const char *reason = wire_str_of(delta, "stop_reason");
    enum err e = take_usage(a, json_object_get(data, "usage"));

    if (e != OK || !*reason)
        return e;
    return wire_say_end(a, 0, finish_of(reason), json_object_get(delta, "stop_sequence"));
}

enum err wire_messages_hear(struct wire_answer *a, const json_t *data)
{
    const char *type = wire_str_of(data, "type");
    int64_t index = wire_int_of(data, "index", -2);
    struct wire_answer_choice *c = wire_answer_choice(a, 0);
    struct wire_error why;

    if (!c)
        return no_memory();
    if (!strcmp(type, "error")) {
        wire_error_take(&why, 0, data);
        return wire_say_fail(a, &why);
    }
    if (!strcmp(type, "message_start"))
        return take_start(a, data);
    if (!strcmp(type, "message_delta"))
        return take_end(a, data);
    if (!strcmp(type, "message_stop"))
        return wire_say_done(a);
    if (!strcmp(type, "content_block_start")) {
        if (c->open >= 0 || index < 0 || c->ended)
            return wire_say_wrong(a, "a block begins inside another");
        c->open = index;
        return take_block(a, json_object_get(data, "content_block"), false);
    }
    if (strncmp(type, "content_block_", 14))
        return OK;                      /* ping, and what is new */
    if (index != c->open)
        return wire_say_wrong(a, "it tells of a block that is not open");
    if (!strcmp(type, "content_block_delta"))
        return take_delta(a, json_object_get(data, "delta"));
    c->open = -1;
    return OK;
}

enum err wire_messages_hear_whole(struct wire_answer *a, const json_t *body)
{
    const json_t *content = json_object_get(body, "content");
    enum err e = take_usage(a, json_object_get(body, "usage"));

    if (!wire_answer_choice(a, 0))
        return no_memory();
    if (e == OK && !json_is_array(content))
        return wire_say_wrong(a, "it has no content");
    for (size_t i = 0; i < json_array_size(content) && e == OK && !a->over; i++)
        e = take_block(a, json_array_get(content, i), true);
    if (e == OK)
        e = wire_say_end(a, 0, finish_of(wire_str_of(body, "stop_reason")),
                         json_object_get(body, "stop_sequence"));
    return e != OK ? e : wire_say_done(a);
}
