/* wire_talk.c - the messages of a conversation in OpenAI's form: roles, typed parts, tool calls.
 *
 * Spellings that mean the same become the same here, before anything is rendered or cached: a text
 * and a list of one text, null and "" and absent, and lines that change with every request. */
#include "wire/form.h"

#include <string.h>

/* Lines at the start of a system message that clients put there for others: they carry a counter
 * or a hash, say nothing to the model, and would make every prompt a new one. */
static const char *const volatile_lines[] = { "x-anthropic-billing-header:" };

/* Append a part of text, which is not empty. */
static enum err add_text(struct wire_message *m, struct wire_reader *in, enum wire_part_kind kind,
                         const json_t *text)
{
    m->part[m->n_part] = (struct wire_part){ .kind = kind };
    return wire_take_text(&m->part[m->n_part++].text, in, text);
}

static enum err unsupported_part(struct wire_reader *in, size_t i, size_t j, const char *type)
{
    static const char *const known[] = { "image_url", "input_audio", "file", "video_url",
                                         "audio_url" };
    struct wire_place p = wire_place("messages[%zu].content[%zu].type", i, j);

    for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
        if (!strcmp(type, known[k]))
            return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE, p.text, "Unsupported value: "
                               "'%s' is a part of type '%s', which this model cannot read. Send "
                               "text.", p.text, type);
    return wire_refuse(in->why, WIRE_E_VALUE, p.text, "Invalid value: '%s' must be 'text'.",
                       p.text);
}

/* A text with the mark of a cache, which clients of others send here too. */
static enum err carry_text(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                           const json_t *v, const json_t *text)
{
    struct wire_part *p = &m->part[m->n_part];
    bool refusal = p->refusal;
    enum err e = add_text(m, in, WIRE_PART_TEXT, text);

    p->refusal = refusal;
    wire_note_others(in, "messages[].content[]", v, " type text refusal cache_control ");
    if (refusal)
        wire_said(in, "messages[].content[].refusal");
    if (json_object_get(v, "cache_control"))
        wire_said(in, "messages[].content[].cache_control");
    return e != OK ? e : wire_take_cache(&p->cache, in,
                                         wire_place("messages[%zu].content[%zu].cache_control", i,
                                                    j).text, json_object_get(v, "cache_control"));
}

static enum err carry_image(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                            const json_t *v)
{
    const json_t *image = json_object_get(v, "image_url");
    struct wire_place p = wire_place("messages[%zu].content[%zu].image_url", i, j);
    struct wire_part *part = &m->part[m->n_part++];

    *part = (struct wire_part){ .kind = WIRE_PART_IMAGE };
    wire_said(in, "messages[].content[].image_url");
    if (!json_is_object(image))
        return image ? wire_wrong_type(in->why, p.text, "an object", image)
                     : wire_missing(in, p.text);
    wire_note_others(in, "messages[].content[].image_url", image, " url detail ");
    enum err e = wire_take_detail(part, in, p.text, "messages[].content[].image_url.detail",
                                  json_object_get(image, "detail"));
    return e != OK ? e : wire_take_address(part, in, p.text, json_object_get(image, "url"));
}

/* A part that only another server could read. */
static enum err carry_part(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                           const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));

    if (!strcmp(type, "image_url"))
        return carry_image(m, in, i, j, v);
    wire_said(in, !strcmp(type, "input_audio") ? "messages[].content[].input_audio"
                                               : "messages[].content[].(other)");
    return OK;
}

static enum err take_part(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                          const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const char *field = type && !strcmp(type, "refusal") ? "refusal" : "text";
    const json_t *text = json_object_get(v, field);

    if (!json_is_object(v))
        return wire_wrong_type(in->why, wire_place("messages[%zu].content[%zu]", i, j).text,
                               "an object", v);
    if (!type)
        return wire_missing(in, wire_place("messages[%zu].content[%zu].type", i, j).text);
    if (strcmp(type, "text") && (strcmp(type, "refusal") || m->role != WIRE_ASSISTANT))
        return in->carry ? carry_part(m, in, i, j, v) : unsupported_part(in, i, j, type);
    if (!json_is_string(text)) {
        struct wire_place p = wire_place("messages[%zu].content[%zu].%s", i, j, field);
        return text ? wire_wrong_type(in->why, p.text, "a string", text) : wire_missing(in, p.text);
    }
    if (!json_string_length(text))
        return OK;
    m->part[m->n_part].refusal = in->carry && *field == 'r';
    return in->carry ? carry_text(m, in, i, j, v, text) : add_text(m, in, WIRE_PART_TEXT, text);
}

static enum err take_content(struct wire_message *m, struct wire_reader *in, size_t i,
                             const json_t *v)
{
    struct wire_place p = wire_place("messages[%zu].content", i);
    enum err e = OK;

    if (json_is_string(v))
        return json_string_length(v) ? add_text(m, in, WIRE_PART_TEXT, v) : OK;
    if ((!v || json_is_null(v)) && m->role == WIRE_ASSISTANT)
        return OK;
    if (!v)
        return wire_missing(in, p.text);
    if (!json_is_array(v))
        return wire_wrong_type(in->why, p.text, "a string or an array of parts", v);
    for (size_t j = 0; j < json_array_size(v) && e == OK; j++)
        e = take_part(m, in, i, j, json_array_get(v, j));
    return e;
}

/* {"name", "arguments"} of a call. */
static enum err take_function(struct wire_part *call, struct wire_reader *in, const char *param,
                              const json_t *v)
{
    const json_t *name = json_object_get(v, "name"), *arguments = json_object_get(v, "arguments");
    enum err e;

    if (!json_is_string(name) || !json_is_string(arguments))
        return wire_refuse(in->why, !v || !name || !arguments ? WIRE_E_MISSING : WIRE_E_TYPE, param,
                           "Invalid '%s': a call has a string 'name' and a string 'arguments'.",
                           param);
    if ((e = wire_take_string(&call->name, in, param, name, WIRE_NAME_BYTES)) != OK)
        return e;
    return wire_take_text(&call->text, in, arguments);
}

static enum err take_call(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                          const json_t *v)
{
    struct wire_part *call = &m->part[m->n_part];
    const char *type = json_string_value(json_object_get(v, "type"));
    enum err e;

    if (in->carry && type && strcmp(type, "function")) {
        wire_said(in, "messages[].tool_calls[].(other)");
        return OK;
    }
    m->n_part++;
    call->kind = WIRE_PART_CALL;
    if (type && strcmp(type, "function"))
        return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE,
                           wire_place("messages[%zu].tool_calls[%zu].type", i, j).text,
                           "Unsupported value: 'messages[%zu].tool_calls[%zu].type' must be "
                           "'function'.", i, j);
    e = wire_take_string(&call->id, in, wire_place("messages[%zu].tool_calls[%zu].id", i, j).text,
                         json_object_get(v, "id"), 256);
    if (e != OK)
        return e;
    return take_function(call, in, wire_place("messages[%zu].tool_calls[%zu].function", i, j).text,
                         json_object_get(v, "function"));
}

static enum err take_calls(struct wire_message *m, struct wire_reader *in, size_t i,
                           const json_t *calls, const json_t *call)
{
    enum err e = OK;

    for (size_t j = 0; j < json_array_size(calls) && e == OK; j++)
        e = take_call(m, in, i, j, json_array_get(calls, j));
    if (call && !json_is_null(call) && in->carry)
        wire_said(in, "messages[].function_call");
    if (e == OK && call && !json_is_null(call)) {               /* the form before tool_calls */
        struct wire_part *part = &m->part[m->n_part++];
        part->kind = WIRE_PART_CALL;
        e = take_function(part, in, wire_place("messages[%zu].function_call", i).text, call);
    }
    return e;
}

/* Take whole volatile lines from the front of a system message. */
void wire_strip_volatile(struct wire_message *m, struct wire_request *r)
{
    for (size_t i = 0; m->n_part && i < sizeof(volatile_lines) / sizeof(*volatile_lines);) {
        struct wire_text *t = &m->part[0].text;
        if (strncmp(t->at, volatile_lines[i], strlen(volatile_lines[i]))) {
            i++;
            continue;
        }
        const char *end = memchr(t->at, '\n', t->len);
        size_t line = end ? (size_t)(end - t->at) + 1 : t->len;
        t->at += line;
        t->len -= line;
        r->n_volatile++;
        if (!t->len)
            memmove(m->part, m->part + 1, --m->n_part * sizeof(*m->part));
        i = 0;
    }
}

static enum err take_role(enum wire_role *out, struct wire_reader *in, size_t i, const json_t *v)
{
    static const struct { const char *word; enum wire_role role; } roles[] = {
        { "system", WIRE_SYSTEM }, { "developer", WIRE_DEVELOPER }, { "user", WIRE_USER },
        { "assistant", WIRE_ASSISTANT }, { "tool", WIRE_TOOL }, { "function", WIRE_TOOL },
    };
    struct wire_place p = wire_place("messages[%zu].role", i);

    *out = WIRE_USER;
    if (!v)
        return wire_missing(in, p.text);
    if (!json_is_string(v))
        return wire_wrong_type(in->why, p.text, "a string", v);
    for (size_t k = 0; k < sizeof(roles) / sizeof(*roles); k++)
        if (!strcmp(json_string_value(v), roles[k].word)) {
            *out = roles[k].role;
            return OK;
        }
    return wire_refuse(in->why, WIRE_E_VALUE, p.text, "Invalid value for '%s': supported values "
                       "are 'system', 'developer', 'user', 'assistant', 'tool' and 'function'.",
                       p.text);
}

/* Room for all parts a message can have: its contents, its calls, and what it thought. */
static enum err make_room(struct wire_message *m, struct wire_reader *in, size_t i, const json_t *v)
{
    const json_t *calls = json_object_get(v, "tool_calls");
    size_t n = json_array_size(json_object_get(v, "content")) + json_array_size(calls);
    void *part;
    enum err e;

    if (calls && !json_is_null(calls) && !json_is_array(calls))
        return wire_wrong_type(in->why, wire_place("messages[%zu].tool_calls", i).text, "an array",
                               calls);
    if (n > WIRE_PART_MAX)
        return wire_too_many(in->why, wire_place("messages[%zu]", i).text, WIRE_PART_MAX, n);
    e = wire_take(&part, in, n + 3, sizeof(*m->part));
    m->part = part;
    return e;
}

/* What a message holds beside its texts and calls. */
static void note_message(struct wire_reader *in, const json_t *v)
{
    const char *role = json_string_value(json_object_get(v, "role"));
    const json_t *thought = json_object_get(v, "reasoning_content");

    wire_note_others(in, "messages[]", v, " role content name tool_calls tool_call_id refusal "
                     "function_call reasoning_content reasoning audio ");
    if (json_string_length(json_object_get(v, "name")))
        wire_said(in, "messages[].name");
    if (json_string_length(thought ? thought : json_object_get(v, "reasoning")))
        wire_said(in, "messages[].reasoning_content");
    if (json_is_object(json_object_get(v, "audio")))
        wire_said(in, "messages[].audio");
    if (role && !strcmp(role, "function"))
        wire_said(in, "messages[].function_call");
}

static enum err take_message(struct wire_message *m, struct wire_reader *in, size_t i,
                             const json_t *v)
{
    const json_t *thought = json_object_get(v, "reasoning_content");
    const json_t *refusal = json_object_get(v, "refusal");
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, wire_place("messages[%zu]", i).text, "an object", v);
    if ((e = take_role(&m->role, in, i, json_object_get(v, "role"))) != OK ||
        (e = wire_take_string(&m->name, in, wire_place("messages[%zu].name", i).text,
                              json_object_get(v, "name"), WIRE_NAME_BYTES)) != OK ||
        (e = wire_take_string(&m->call_id, in, wire_place("messages[%zu].tool_call_id", i).text,
                              json_object_get(v, "tool_call_id"), 256)) != OK ||
        (e = make_room(m, in, i, v)) != OK)
        return e;
    if (!thought)
        thought = json_object_get(v, "reasoning");
    if (m->role == WIRE_ASSISTANT && json_is_string(thought) && json_string_length(thought) &&
        (e = add_text(m, in, WIRE_PART_THINK, thought)) != OK)
        return e;
    if (in->carry)
        note_message(in, v);
    if ((e = take_content(m, in, i, json_object_get(v, "content"))) != OK)
        return e;
    if (in->carry && m->role == WIRE_ASSISTANT && json_string_length(refusal)) {
        wire_said(in, "messages[].content[].refusal");
        if ((e = add_text(m, in, WIRE_PART_TEXT, refusal)) != OK)
            return e;
        m->part[m->n_part - 1].refusal = true;
    }
    if (m->role == WIRE_ASSISTANT)
        return take_calls(m, in, i, json_object_get(v, "tool_calls"),
                          json_object_get(v, "function_call"));
    if (m->role == WIRE_SYSTEM || m->role == WIRE_DEVELOPER)
        wire_strip_volatile(m, in->r);
    return OK;
}

enum err wire_take_messages(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t n = json_array_size(v);
    void *all;
    enum err e;

    if ((e = wire_check_list(in, f, v)) != OK ||
        (e = wire_take(&all, in, n, sizeof(*in->r->message))) != OK)
        return e;
    in->r->message = all;
    in->r->n_message = n;
    for (size_t i = 0; i < n && e == OK; i++)
        e = take_message(&in->r->message[i], in, i, json_array_get(v, i));
    return e;
}
