/* wire_talk.c - the messages of a conversation in OpenAI's form: roles, typed parts, tool calls.
 *
 * Spellings that mean the same become the same here, before anything is rendered or cached: a text
 * and a list of one text, null and "" and absent, and lines that change with every request. */
#include "wire/form.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Lines at the start of a system message that clients put there for others: they carry a counter
 * or a hash, say nothing to the model, and would make every prompt a new one. */
static const char *const volatile_lines[] = { "x-anthropic-billing-header:" };

/* Where we are, for the client: "messages[3].content[0].type". */
struct place { char text[WIRE_NAME_BYTES]; };

__attribute__((format(printf, 1, 2))) static struct place place(const char *fmt, ...)
{
    struct place p;
    va_list args;

    va_start(args, fmt);
    vsnprintf(p.text, sizeof(p.text), fmt, args);
    va_end(args);
    return p;
}

static bool is_absent(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && !json_string_length(v));
}

/* An optional string of at most `max` bytes. */
static enum err take_string(struct wire_text *out, struct wire_reader *in, const char *param,
                            const json_t *v, size_t max)
{
    if (is_absent(v))
        return OK;
    if (!json_is_string(v))
        return wire_wrong_type(in->why, param, "a string", v);
    if (json_string_length(v) > max)
        return wire_too_long(in->why, param, (double)max, json_string_length(v));
    return wire_take_text(out, in, v);
}

static enum err missing(struct wire_reader *in, const char *param)
{
    return wire_refuse(in->why, WIRE_E_MISSING, param, "Missing required parameter: '%s'.", param);
}

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
    struct place p = place("messages[%zu].content[%zu].type", i, j);

    for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
        if (!strcmp(type, known[k]))
            return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE, p.text, "Unsupported value: "
                               "'%s' is a part of type '%s', which this model cannot read. Send "
                               "text.", p.text, type);
    return wire_refuse(in->why, WIRE_E_VALUE, p.text, "Invalid value: '%s' must be 'text'.",
                       p.text);
}

static enum err take_part(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                          const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const char *field = type && !strcmp(type, "refusal") ? "refusal" : "text";
    const json_t *text = json_object_get(v, field);

    if (!json_is_object(v))
        return wire_wrong_type(in->why, place("messages[%zu].content[%zu]", i, j).text,
                               "an object", v);
    if (!type)
        return missing(in, place("messages[%zu].content[%zu].type", i, j).text);
    if (strcmp(type, "text") && (strcmp(type, "refusal") || m->role != WIRE_ASSISTANT))
        return unsupported_part(in, i, j, type);
    if (!json_is_string(text)) {
        struct place p = place("messages[%zu].content[%zu].%s", i, j, field);
        return text ? wire_wrong_type(in->why, p.text, "a string", text) : missing(in, p.text);
    }
    return json_string_length(text) ? add_text(m, in, WIRE_PART_TEXT, text) : OK;
}

static enum err take_content(struct wire_message *m, struct wire_reader *in, size_t i,
                             const json_t *v)
{
    struct place p = place("messages[%zu].content", i);
    enum err e = OK;

    if (json_is_string(v))
        return json_string_length(v) ? add_text(m, in, WIRE_PART_TEXT, v) : OK;
    if ((!v || json_is_null(v)) && m->role == WIRE_ASSISTANT)
        return OK;
    if (!v)
        return missing(in, p.text);
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
    if ((e = take_string(&call->name, in, param, name, WIRE_NAME_BYTES)) != OK)
        return e;
    return wire_take_text(&call->text, in, arguments);
}

static enum err take_call(struct wire_message *m, struct wire_reader *in, size_t i, size_t j,
                          const json_t *v)
{
    struct wire_part *call = &m->part[m->n_part++];
    const char *type = json_string_value(json_object_get(v, "type"));
    enum err e;

    call->kind = WIRE_PART_CALL;
    if (type && strcmp(type, "function"))
        return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE,
                           place("messages[%zu].tool_calls[%zu].type", i, j).text, "Unsupported "
                           "value: 'messages[%zu].tool_calls[%zu].type' must be 'function'.", i, j);
    e = take_string(&call->id, in, place("messages[%zu].tool_calls[%zu].id", i, j).text,
                    json_object_get(v, "id"), 256);
    if (e != OK)
        return e;
    return take_function(call, in, place("messages[%zu].tool_calls[%zu].function", i, j).text,
                         json_object_get(v, "function"));
}

static enum err take_calls(struct wire_message *m, struct wire_reader *in, size_t i,
                           const json_t *calls, const json_t *call)
{
    enum err e = OK;

    for (size_t j = 0; j < json_array_size(calls) && e == OK; j++)
        e = take_call(m, in, i, j, json_array_get(calls, j));
    if (e == OK && call && !json_is_null(call)) {               /* the form before tool_calls */
        struct wire_part *part = &m->part[m->n_part++];
        part->kind = WIRE_PART_CALL;
        e = take_function(part, in, place("messages[%zu].function_call", i).text, call);
    }
    return e;
}

/* Take whole volatile lines from the front of a system message. */
static void strip_volatile(struct wire_message *m, struct wire_request *r)
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
    struct place p = place("messages[%zu].role", i);

    *out = WIRE_USER;
    if (!v)
        return missing(in, p.text);
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
        return wire_wrong_type(in->why, place("messages[%zu].tool_calls", i).text, "an array",
                               calls);
    if (n > WIRE_PART_MAX)
        return wire_too_many(in->why, place("messages[%zu]", i).text, WIRE_PART_MAX, n);
    e = wire_take(&part, in, n + 3, sizeof(*m->part));
    m->part = part;
    return e;
}

static enum err take_message(struct wire_message *m, struct wire_reader *in, size_t i,
                             const json_t *v)
{
    const json_t *thought = json_object_get(v, "reasoning_content");
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, place("messages[%zu]", i).text, "an object", v);
    if ((e = take_role(&m->role, in, i, json_object_get(v, "role"))) != OK ||
        (e = take_string(&m->name, in, place("messages[%zu].name", i).text,
                         json_object_get(v, "name"), WIRE_NAME_BYTES)) != OK ||
        (e = take_string(&m->call_id, in, place("messages[%zu].tool_call_id", i).text,
                         json_object_get(v, "tool_call_id"), 256)) != OK ||
        (e = make_room(m, in, i, v)) != OK)
        return e;
    if (!thought)
        thought = json_object_get(v, "reasoning");
    if (m->role == WIRE_ASSISTANT && json_is_string(thought) && json_string_length(thought) &&
        (e = add_text(m, in, WIRE_PART_THINK, thought)) != OK)
        return e;
    if ((e = take_content(m, in, i, json_object_get(v, "content"))) != OK)
        return e;
    if (m->role == WIRE_ASSISTANT)
        return take_calls(m, in, i, json_object_get(v, "tool_calls"),
                          json_object_get(v, "function_call"));
    if (m->role == WIRE_SYSTEM || m->role == WIRE_DEVELOPER)
        strip_volatile(m, in->r);
    return OK;
}

enum err wire_take_messages(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t n = json_array_size(v);
    void *all;
    enum err e;

    if (!json_is_array(v))
        return wire_wrong_type(in->why, f->name, "an array of objects", v);
    if (!n)
        return wire_refuse(in->why, WIRE_E_LIST_EMPTY, f->name, "Invalid '%s': it is an empty "
                           "array.", f->name);
    if ((double)n > f->hi)
        return wire_too_many(in->why, f->name, f->hi, n);
    if ((e = wire_take(&all, in, n, sizeof(*in->r->message))) != OK)
        return e;
    in->r->message = all;
    in->r->n_message = n;
    for (size_t i = 0; i < n && e == OK; i++)
        e = take_message(&in->r->message[i], in, i, json_array_get(v, i));
    return e;
}
