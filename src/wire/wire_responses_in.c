/* wire_responses_in.c - the client's side of /v1/responses: its items, tools and format.
 *
 * What an assistant said is items of their own there: reasoning, messages, calls.  A row of them
 * becomes one message of typed parts in their order. */
#include "wire/form.h"

#include <string.h>

enum { ID_BYTES_MAX = 256, NAME_BYTES_MAX = 256 };

/* Where the next part goes: one array for the parts of all messages. */
struct items { struct wire_reader *in; struct wire_part *next; };

static struct wire_place at(size_t i, const char *field)
{
    return wire_place("input[%zu]%s%s", i, *field ? "." : "", field);
}

static enum err take_image(struct wire_part *p, struct wire_reader *in, size_t i, const json_t *v)
{
    p->kind = WIRE_PART_IMAGE;
    if (json_string_length(json_object_get(v, "file_id"))) {
        wire_said(in, "input[].content[].input_image.file_id");
        return OK;
    }
    enum err e = wire_take_detail(p, in, at(i, "detail").text,
                                  "input[].content[].input_image.detail",
                                  json_object_get(v, "detail"));
    return e != OK ? e : wire_take_address(p, in, at(i, "image_url").text,
                                           json_object_get(v, "image_url"));
}

/* Append what a part says to the message: a part, or nothing. */
static enum err take_part(struct items *it, struct wire_message *m, size_t i, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    struct wire_reader *in = it->in;
    struct wire_part *p = it->next;
    bool refusal;
    enum err e = OK;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, at(i, "content").text, "an array of objects", v);
    if (!type)
        return wire_missing(in, at(i, "content.type").text);
    *p = (struct wire_part){ .kind = WIRE_PART_TEXT };
    refusal = !strcmp(type, "refusal");
    if (refusal || !strcmp(type, "input_text") || !strcmp(type, "output_text") ||
        !strcmp(type, "text")) {
        const json_t *text = json_object_get(v, refusal ? "refusal" : "text");
        if (!json_is_string(text))
            return wire_missing(in, at(i, "content.text").text);
        wire_note_others(in, "input[].content[]", v,
                         " type text refusal annotations logprobs ");
        if (refusal)
            wire_said(in, "input[].content[].refusal");
        if (json_array_size(json_object_get(v, "annotations")))
            wire_said(in, "input[].content[].annotations");
        p->refusal = refusal && in->carry;
        if (json_string_length(text))
            e = wire_take_text(&p->text, in, text);
    } else if (!strcmp(type, "input_image") && in->carry) {
        wire_said(in, m->role == WIRE_TOOL ? "input[].function_call_output.image"
                                           : "input[].content[].input_image");
        e = take_image(p, in, i, v);
    } else if (in->carry) {
        wire_said(in, "input[].content[].(other)");
    } else {
        return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE, at(i, "content").text, "Unsupported "
                           "value: '%s' holds a part of type '%.32s', which this model cannot "
                           "read. Send text.", at(i, "content").text, type);
    }
    if (p->text.at) {
        m->n_part++;
        it->next++;
    }
    return e;
}

/* A text, or a list of parts. */
static enum err take_content(struct items *it, struct wire_message *m, size_t i, const char *field,
                             const json_t *v)
{
    enum err e = OK;

    if (json_is_string(v)) {
        if (!json_string_length(v))
            return OK;
        *it->next = (struct wire_part){ .kind = WIRE_PART_TEXT };
        m->n_part++;
        return wire_take_text(&it->next++->text, it->in, v);
    }
    if (!json_is_array(v))
        return v ? wire_wrong_type(it->in->why, at(i, field).text, "a string or an array of parts",
                                   v)
                 : wire_missing(it->in, at(i, field).text);
    for (size_t k = 0; k < json_array_size(v) && e == OK; k++)
        e = take_part(it, m, i, json_array_get(v, k));
    return e;
}

static struct wire_message *new_message(struct items *it, enum wire_role role)
{
    struct wire_message *m = &it->in->r->message[it->in->r->n_message++];

    *m = (struct wire_message){ .role = role, .part = it->next };
    return m;
}

/* The assistant's turn that an item goes on with, or begins. */
static struct wire_message *turn(struct items *it)
{
    struct wire_request *r = it->in->r;

    if (r->n_message && r->message[r->n_message - 1].role == WIRE_ASSISTANT)
        return &r->message[r->n_message - 1];
    return new_message(it, WIRE_ASSISTANT);
}

static enum err take_message(struct items *it, size_t i, const json_t *v)
{
    static const struct wire_word roles[] = {
        { "user", WIRE_USER }, { "assistant", WIRE_ASSISTANT }, { "system", WIRE_SYSTEM },
        { "developer", WIRE_DEVELOPER }, { NULL, 0 } };
    const json_t *word = json_object_get(v, "role");
    int role = WIRE_USER;
    enum err e = word ? wire_take_word(&role, it->in, at(i, "role").text, word, roles)
                      : wire_missing(it->in, at(i, "role").text);

    if (e != OK)
        return e;
    wire_note_others(it->in, "input[]", v, " type id status role content ");
    struct wire_message *m = role == WIRE_ASSISTANT ? turn(it)
                                                    : new_message(it, (enum wire_role)role);
    e = take_content(it, m, i, "content", json_object_get(v, "content"));
    if (e == OK && (role == WIRE_SYSTEM || role == WIRE_DEVELOPER))
        wire_strip_volatile(m, it->in->r);
    return e;
}

/* The summaries, or where there are none the reasoning itself, as one text. */
static enum err take_thought(struct wire_part *p, struct wire_reader *in, const json_t *v)
{
    const json_t *list = json_object_get(v, "summary");
    struct buf all = { 0 };
    void *text;

    if (!json_array_size(list))
        list = json_object_get(v, "content");
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *t = json_object_get(json_array_get(list, k), "text");
        buf_puts(&all, all.len && json_string_length(t) ? "\n\n" : "");
        if (json_is_string(t))
            buf_add(&all, json_string_value(t), json_string_length(t));
    }
    enum err e = wire_take(&text, in, all.len + 1, 1);
    if (e == OK && all.broken) {
        wire_error_set(in->why, WIRE_E_NO_MEMORY, NULL, NULL);
        e = err_set(ERR_NOMEM, "WIRE-12", "out of memory for the reasoning of a request; close "
                    "other programs");
    }
    if (e == OK) {
        memcpy(text, buf_text(&all), all.len);
        p->text = (struct wire_text){ text, all.len };
    }
    buf_release(&all);
    return e;
}

static enum err take_reasoning(struct items *it, size_t i, const json_t *v)
{
    const json_t *seal = json_object_get(v, "encrypted_content");
    struct wire_message *m = turn(it);
    struct wire_part *p = it->next++;
    struct wire_reader *in = it->in;
    enum err e;

    *p = (struct wire_part){ .kind = WIRE_PART_THINK };
    m->n_part++;
    wire_said(in, "input[].reasoning");
    wire_note_others(in, "input[].reasoning", v, " type id status summary content "
                     "encrypted_content ");
    if ((e = take_thought(p, in, v)) != OK ||
        (e = wire_take_string(&p->item, in, at(i, "id").text, json_object_get(v, "id"),
                              ID_BYTES_MAX)) != OK)
        return e;
    if (json_string_length(seal)) {
        p->sealed = WIRE_SEAL_ENCRYPTED;
        wire_said(in, "input[].reasoning.encrypted_content");
        e = wire_take_text(&p->seal, in, seal);
    }
    if (!p->text.len && !p->sealed) {   /* it says nothing at all */
        m->n_part--;
        it->next--;
    }
    return e;
}

static enum err take_call(struct items *it, size_t i, const json_t *v)
{
    const json_t *id = json_object_get(v, "call_id"), *name = json_object_get(v, "name");
    const json_t *arguments = json_object_get(v, "arguments");
    struct wire_message *m = turn(it);
    struct wire_part *p = it->next++;
    struct wire_reader *in = it->in;
    enum err e;

    *p = (struct wire_part){ .kind = WIRE_PART_CALL };
    m->n_part++;
    wire_said(in, "input[].function_call");
    if (json_string_length(json_object_get(v, "namespace")))
        wire_said(in, "input[].function_call.namespace");
    wire_note_others(in, "input[].function_call", v,
                     " type id status call_id name arguments namespace ");
    if (!json_string_length(id) || !json_string_length(name) || !json_is_string(arguments))
        return wire_missing(in, at(i, !json_string_length(id)     ? "call_id"
                                      : !json_string_length(name) ? "name" : "arguments").text);
    if ((e = wire_take_string(&p->id, in, at(i, "call_id").text, id, ID_BYTES_MAX)) != OK ||
        (e = wire_take_string(&p->name, in, at(i, "name").text, name, NAME_BYTES_MAX)) != OK ||
        (e = wire_take_string(&p->item, in, at(i, "id").text, json_object_get(v, "id"),
                              ID_BYTES_MAX)) != OK)
        return e;
    return wire_take_text(&p->text, in, arguments);
}

static enum err take_output(struct items *it, size_t i, const json_t *v)
{
    struct wire_message *m = new_message(it, WIRE_TOOL);

    wire_said(it->in, "input[].function_call_output");
    wire_note_others(it->in, "input[].function_call_output", v, " type id status call_id output ");
    if (!json_string_length(json_object_get(v, "call_id")))
        return wire_missing(it->in, at(i, "call_id").text);
    enum err e = wire_take_string(&m->call_id, it->in, at(i, "call_id").text,
                                  json_object_get(v, "call_id"), ID_BYTES_MAX);
    return e != OK ? e : take_content(it, m, i, "output", json_object_get(v, "output"));
}

static enum err take_reference(struct items *it, size_t i, const json_t *v)
{
    struct wire_part *p = it->next;

    if (!json_string_length(json_object_get(v, "id")))
        return wire_missing(it->in, at(i, "id").text);
    wire_said(it->in, "input[].item_reference");
    *p = (struct wire_part){ .kind = WIRE_PART_REF };
    struct wire_message *m = turn(it);
    m->n_part++;
    it->next++;
    return wire_take_string(&p->id, it->in, at(i, "id").text, json_object_get(v, "id"),
                            ID_BYTES_MAX);
}

static enum err take_item(struct items *it, size_t i, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));

    if (!json_is_object(v))
        return wire_wrong_type(it->in->why, at(i, "").text, "an object", v);
    if (json_string_length(json_object_get(v, "id")) &&
        (!type || !strcmp(type, "message") || !strncmp(type, "function_call", 13)))
        wire_said(it->in, "input[].id");
    if (!type || !strcmp(type, "message"))
        return take_message(it, i, v);
    if (!strcmp(type, "reasoning"))
        return take_reasoning(it, i, v);
    if (!strcmp(type, "function_call"))
        return take_call(it, i, v);
    if (!strcmp(type, "function_call_output"))
        return take_output(it, i, v);
    if (!it->in->carry)
        return wire_refuse(it->in->why, WIRE_E_UNSUPPORTED_VALUE, at(i, "type").text, "Unsupported "
                           "value: '%s' is '%.32s', which this server does not know.",
                           at(i, "type").text, type);
    if (!strcmp(type, "item_reference"))
        return take_reference(it, i, v);
    wire_said(it->in, !strcmp(type, "web_search_call") ? "input[].web_search_call"
                                                       : "input[].(other)");
    return OK;
}

static size_t count_parts(const json_t *v)
{
    size_t n = 2;

    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        n += 1 + json_array_size(json_object_get(item, "content")) +
             json_array_size(json_object_get(item, "output"));
    }
    return n;
}

enum err wire_responses_take(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    const json_t *instructions = json_object_get(in->body, "instructions");
    size_t n = json_array_size(v);
    struct items it = { in, NULL };
    void *all, *parts;
    enum err e;

    if (!json_is_string(v) && !json_is_array(v))
        return wire_wrong_type(in->why, f->name, "a string or an array of items", v);
    if (!n && !json_string_length(v) && !in->carry)     /* some ask so whether a model is there */
        return wire_refuse(in->why, WIRE_E_LIST_EMPTY, f->name, "Invalid '%s': it is empty.",
                           f->name);
    if ((double)n > f->hi)
        return wire_too_many(in->why, f->name, f->hi, n);
    if ((e = wire_take(&all, in, n + 2, sizeof(*in->r->message))) != OK ||
        (e = wire_take(&parts, in, count_parts(v), sizeof(struct wire_part))) != OK)
        return e;
    in->r->message = all;
    it.next = parts;
    if (instructions && !json_is_null(instructions) && !json_is_string(instructions))
        return wire_wrong_type(in->why, "instructions", "a string", instructions);
    if (json_string_length(instructions)) {
        struct wire_message *m = new_message(&it, WIRE_SYSTEM);
        if ((e = take_content(&it, m, 0, "instructions", instructions)) != OK)
            return e;
        wire_strip_volatile(m, in->r);
    }
    if (json_is_string(v))
        return take_content(&it, new_message(&it, WIRE_USER), 0, "input", v);
    for (size_t i = 0; i < n && e == OK; i++)
        e = take_item(&it, i, json_array_get(v, i));
    return e;
}

/* ---- tools ---- */

enum err wire_responses_take_tools(struct wire_reader *in, const json_t *v)
{
    enum err e = wire_tool_room(in, "tools", v);

    for (size_t i = 0; i < json_array_size(v) && e == OK; i++) {
        const json_t *item = json_array_get(v, i);
        const char *type = json_string_value(json_object_get(item, "type"));
        struct wire_place p = wire_place("tools[%zu]", i);
        if (!type || strcmp(type, "function")) {
            wire_said(in, "tools[].(other)");
            continue;
        }
        wire_note_others(in, "tools[]", item, " type name description parameters strict ");
        e = wire_take_function(&in->r->tool[in->r->n_tool++], in, p.text, item, "parameters");
    }
    return e;
}

enum err wire_responses_take_choice(struct wire_reader *in, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));

    if (!json_is_object(v))
        return wire_take_choice_word(in, "tool_choice", v);
    if (!type || strcmp(type, "function")) {
        wire_said(in, "tool_choice.(other)");
        return OK;
    }
    return wire_take_choice_name(in, "tool_choice", json_object_get(v, "name"));
}

enum err wire_responses_take_format(struct wire_reader *in, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    struct wire_tool t = { .strict = -1 };
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, "text.format", "an object", v);
    if (!type)
        return wire_missing(in, "text.format.type");
    if (!strcmp(type, "text"))
        return OK;
    if (!strcmp(type, "json_object")) {
        in->r->format.kind = WIRE_FORMAT_JSON;
        wire_said(in, "text.format.json_object");
        return OK;
    }
    if (strcmp(type, "json_schema")) {
        wire_said(in, "text.format.(other)");
        return OK;
    }
    wire_note_others(in, "text.format", v, " type name description schema strict ");
    if ((e = wire_take_function(&t, in, "text.format", v, "schema")) != OK)
        return e;
    wire_said(in, "text.format.name");
    if (t.description.at)
        wire_said(in, "text.format.description");
    if (t.strict >= 0)
        wire_said(in, "text.format.strict");
    in->r->format = (struct wire_format){ WIRE_FORMAT_SCHEMA, t.name, t.description, t.schema,
                                          t.strict };
    return OK;
}
