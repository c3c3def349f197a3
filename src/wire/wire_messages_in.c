/* wire_messages_in.c - the client's side of /v1/messages: its conversation, tools and format.
 *
 * A message of a user that holds results of calls and texts becomes a message for each result and
 * one for each run of texts, all but the first `joined`; so a result is a message of its own, as
 * elsewhere. */
#include "wire/form.h"

#include <stdio.h>
#include <string.h>

enum { ID_BYTES_MAX = 256, NAME_BYTES_MAX = 256, PROSE_BYTES_MAX = 1 << 20 };

/* Where a block stands, for errors and notes. */
struct where { size_t i, j; bool result; };

static struct wire_place at(const struct where *w, const char *field)
{
    return wire_place("messages[%zu].content[%zu]%s%s%s", w->i, w->j, w->result ? ".content" : "",
                      *field ? "." : "", field);
}

static enum err take_image(struct wire_part *p, struct wire_reader *in, const struct where *w,
                           const json_t *v)
{
    const json_t *source = json_object_get(v, "source");
    const char *type = json_string_value(json_object_get(source, "type"));
    struct wire_place place = at(w, "source");

    p->kind = WIRE_PART_IMAGE;
    if (!type)
        return wire_missing(in, place.text);
    if (!strcmp(type, "url"))
        return wire_take_address(p, in, place.text, json_object_get(source, "url"));
    if (strcmp(type, "base64")) {
        wire_said(in, "content[].image.file");
        p->kind = WIRE_PART_TEXT;       /* nothing that can be carried */
        return OK;
    }
    const json_t *data = json_object_get(source, "data");
    const json_t *mime = json_object_get(source, "media_type");
    if (!json_string_length(data) || !json_string_length(mime))
        return wire_missing(in, place.text);
    enum err e = wire_take_string(&p->mime, in, place.text, mime, 64);
    return e != OK ? e : wire_take_text(&p->text, in, data);
}

static enum err take_thinking(struct wire_part *p, struct wire_reader *in, const struct where *w,
                              const json_t *v, bool redacted)
{
    const json_t *text = json_object_get(v, redacted ? "data" : "thinking");
    const json_t *seal = redacted ? text : json_object_get(v, "signature");
    enum err e = OK;

    p->kind = WIRE_PART_THINK;
    if (!json_is_string(text))
        return wire_missing(in, at(w, redacted ? "data" : "thinking").text);
    if (!redacted)
        e = wire_take_text(&p->text, in, text);
    if (e != OK || !json_string_length(seal) ||
        !strcmp(json_string_value(seal), WIRE_NO_SIGNATURE))
        return e;
    p->sealed = redacted ? WIRE_SEAL_REDACTED : WIRE_SEAL_SIGNATURE;
    wire_said(in, redacted ? "content[].redacted_thinking" : "content[].thinking.signature");
    if (redacted)
        p->text = (struct wire_text){ "", 0 };
    return wire_take_text(&p->seal, in, seal);
}

static enum err take_use(struct wire_part *p, struct wire_reader *in, const struct where *w,
                         const json_t *v)
{
    const json_t *id = json_object_get(v, "id"), *name = json_object_get(v, "name");
    const json_t *input = json_object_get(v, "input");
    enum err e;

    p->kind = WIRE_PART_CALL;
    if (!json_string_length(id) || !json_string_length(name))
        return wire_missing(in, at(w, json_string_length(id) ? "name" : "id").text);
    if (!json_is_object(input))
        return input ? wire_wrong_type(in->why, at(w, "input").text, "an object", input)
                     : wire_missing(in, at(w, "input").text);
    if ((e = wire_take_string(&p->id, in, at(w, "id").text, id, ID_BYTES_MAX)) != OK ||
        (e = wire_take_string(&p->name, in, at(w, "name").text, name, NAME_BYTES_MAX)) != OK)
        return e;
    return wire_take_json(&p->text, in, input);
}

static enum err take_text(struct wire_part *p, struct wire_reader *in, const struct where *w,
                          const json_t *v)
{
    const json_t *text = json_object_get(v, "text");

    if (!json_is_string(text))
        return text ? wire_wrong_type(in->why, at(w, "text").text, "a string", text)
                    : wire_missing(in, at(w, "text").text);
    if (json_array_size(json_object_get(v, "citations")))
        wire_said(in, "content[].citations");
    return json_string_length(text) ? wire_take_text(&p->text, in, text) : OK;
}

/* A server that reads text alone says so; another's is judged by carry.def. */
static enum err other(struct wire_reader *in, const struct where *w, const char *type)
{
    if (!in->carry)
        return wire_refuse(in->why, WIRE_E_UNSUPPORTED_VALUE, at(w, "type").text, "Unsupported "
                           "value: '%s' is a block of type '%.32s', which this model cannot read. "
                           "Send text.", at(w, "type").text, type);
    wire_said(in, w->result                     ? "content[].tool_result.(other)"
                  : !strcmp(type, "document") ? "content[].document" : "content[].(other)");
    return OK;
}

/* Append what a block says to the message: a part, or nothing. */
static enum err take_block(struct wire_message *m, struct wire_reader *in, const struct where *w,
                           const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    struct wire_part *p = &m->part[m->n_part];
    const json_t *cache = json_object_get(v, "cache_control");
    enum err e;

    *p = (struct wire_part){ .kind = WIRE_PART_TEXT };
    if (!json_is_object(v))
        return wire_wrong_type(in->why, at(w, "").text, "an object", v);
    if (!type)
        return wire_missing(in, at(w, "type").text);
    if (!strcmp(type, "text")) {
        e = take_text(p, in, w, v);
    } else if (!strcmp(type, "image") && in->carry) {
        wire_said(in, w->result ? "content[].tool_result.image" : "content[].image");
        e = take_image(p, in, w, v);
    } else if (!w->result && !strcmp(type, "thinking") && m->role == WIRE_ASSISTANT) {
        wire_said(in, "content[].thinking");
        e = take_thinking(p, in, w, v, false);
    } else if (!w->result && !strcmp(type, "redacted_thinking") && m->role == WIRE_ASSISTANT) {
        e = take_thinking(p, in, w, v, true);
    } else if (!w->result && !strcmp(type, "tool_use") && m->role == WIRE_ASSISTANT) {
        wire_said(in, "content[].tool_use");
        e = take_use(p, in, w, v);
    } else {
        return other(in, w, type);
    }
    wire_note_others(in, "content[]", v, " type text citations cache_control source thinking "
                     "signature data id name input ");
    if (e == OK && cache && !json_is_null(cache)) {
        wire_said(in, "content[].cache_control");
        e = wire_take_cache(&p->cache, in, at(w, "cache_control").text, cache);
    }
    m->n_part += p->text.at && (p->text.len || p->sealed || p->kind == WIRE_PART_CALL);
    return e;
}

static enum err take_result(struct wire_message *m, struct wire_reader *in, struct where *w,
                            const json_t *v)
{
    const json_t *content = json_object_get(v, "content"), *id = json_object_get(v, "tool_use_id");
    const json_t *cache = json_object_get(v, "cache_control");
    void *part;
    enum err e;

    m->role = WIRE_TOOL;
    m->failed = json_is_true(json_object_get(v, "is_error"));
    wire_said(in, "content[].tool_result");
    if (m->failed)
        wire_said(in, "content[].tool_result.is_error");
    if (!json_string_length(id))
        return wire_missing(in, at(w, "tool_use_id").text);
    wire_note_others(in, "content[].tool_result", v,
                     " type tool_use_id content is_error cache_control ");
    if ((e = wire_take_string(&m->call_id, in, at(w, "tool_use_id").text, id,
                              ID_BYTES_MAX)) != OK ||
        (e = wire_take(&part, in, json_array_size(content) + 1, sizeof(*m->part))) != OK)
        return e;
    m->part = part;
    if (cache && !json_is_null(cache)) {
        wire_said(in, "content[].cache_control");
        if ((e = wire_take_cache(&m->cache, in, at(w, "cache_control").text, cache)) != OK)
            return e;
    }
    w->result = true;
    if (json_is_string(content)) {
        if (json_string_length(content))
            e = wire_take_text(&m->part[m->n_part++].text, in, content);
    } else if (content && !json_is_null(content) && !json_is_array(content)) {
        e = wire_wrong_type(in->why, at(w, "").text, "a string or an array of blocks", content);
    }
    for (size_t k = 0; k < json_array_size(content) && e == OK; k++)
        e = take_block(m, in, w, json_array_get(content, k));
    w->result = false;
    return e;
}

static enum err take_role(enum wire_role *out, struct wire_reader *in, size_t i, const json_t *v)
{
    static const struct wire_word roles[] = { { "user", WIRE_USER },
                                              { "assistant", WIRE_ASSISTANT },
                                              { "system", WIRE_SYSTEM }, { NULL, 0 } };
    struct wire_place p = wire_place("messages[%zu].role", i);
    int role = WIRE_USER;
    enum err e = v ? wire_take_word(&role, in, p.text, v, roles) : wire_missing(in, p.text);

    *out = (enum wire_role)role;
    return e;
}

/* The messages that one of the client's becomes, appended to r->message. */
static enum err take_message(struct wire_reader *in, size_t i, const json_t *v)
{
    const json_t *content = json_object_get(v, "content");
    struct wire_request *r = in->r;
    struct wire_message *first = &r->message[r->n_message], *m = first;
    size_t n = json_array_size(content);
    struct wire_place p = wire_place("messages[%zu]", i);
    enum wire_role role;
    void *part;
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, p.text, "an object", v);
    if ((e = take_role(&role, in, i, json_object_get(v, "role"))) != OK)
        return e;
    if (!content || (!json_is_string(content) && !json_is_array(content))) {
        p = wire_place("messages[%zu].content", i);
        return content ? wire_wrong_type(in->why, p.text, "a string or an array of blocks",
                                         content)
                       : wire_missing(in, p.text);
    }
    if (n > WIRE_PART_MAX)
        return wire_too_many(in->why, p.text, WIRE_PART_MAX, n);
    if (json_object_get(v, "output_config"))
        wire_said(in, "messages[].(other)");
    wire_note_others(in, "messages[]", v, " role content output_config ");
    if ((e = wire_take(&part, in, n + 1, sizeof(*m->part))) != OK)
        return e;
    *m = (struct wire_message){ .role = role, .part = part };
    r->n_message++;
    if (json_is_string(content) && json_string_length(content))
        e = wire_take_text(&m->part[m->n_part++].text, in, content);
    for (struct where w = { i, 0, false }; w.j < n && e == OK; w.j++) {
        const json_t *block = json_array_get(content, w.j);
        const char *type = json_string_value(json_object_get(block, "type"));
        bool result = role == WIRE_USER && type && !strcmp(type, "tool_result");
        if ((result && (m->n_part || m->role == WIRE_TOOL)) || (!result && m->role == WIRE_TOOL)) {
            struct wire_part *room = (struct wire_part *)part + w.j;
            m = &r->message[r->n_message++];
            *m = (struct wire_message){ .role = role, .part = room, .joined = true };
        }
        e = result ? take_result(m, in, &w, block) : take_block(m, in, &w, block);
    }
    if (e == OK && role == WIRE_SYSTEM)
        wire_strip_volatile(first, r);
    return e;
}

static enum err take_system(struct wire_reader *in, const json_t *v)
{
    struct wire_message *m = &in->r->message[0];
    struct where w = { 0, 0, false };
    size_t n = json_array_size(v);
    void *part;
    enum err e;

    if (!v || json_is_null(v))
        return OK;
    if (!json_is_string(v) && !json_is_array(v))
        return wire_wrong_type(in->why, "system", "a string or an array of blocks", v);
    if (n > WIRE_PART_MAX)
        return wire_too_many(in->why, "system", WIRE_PART_MAX, n);
    if ((e = wire_take(&part, in, n + 1, sizeof(*m->part))) != OK)
        return e;
    *m = (struct wire_message){ .role = WIRE_SYSTEM, .part = part };
    in->r->n_message = 1;
    if (json_is_string(v) && json_string_length(v))
        e = wire_take_text(&m->part[m->n_part++].text, in, v);
    for (; w.j < n && e == OK; w.j++)
        e = take_block(m, in, &w, json_array_get(v, w.j));
    wire_strip_volatile(m, in->r);
    in->r->n_message = m->n_part > 0;
    return e;
}

/* Messages at most: one for the system, for each of the client's, and for each block. */
static size_t count(const json_t *v)
{
    size_t n = 1;

    for (size_t i = 0; i < json_array_size(v); i++)
        n += 1 + json_array_size(json_object_get(json_array_get(v, i), "content"));
    return n;
}

enum err wire_messages_take(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t n = json_array_size(v);
    void *all;
    enum err e;

    if ((e = wire_check_list(in, f, v)) != OK ||
        (e = wire_take(&all, in, count(v), sizeof(*in->r->message))) != OK)
        return e;
    in->r->message = all;
    e = take_system(in, json_object_get(in->body, "system"));
    for (size_t i = 0; i < n && e == OK; i++)
        e = take_message(in, i, json_array_get(v, i));
    return e;
}

/* ---- tools ---- */

static void note_tool(struct wire_reader *in, const json_t *v)
{
    static const char *const marks[] = { "defer_loading", "eager_input_streaming",
                                         "cache_control" };
    char name[WIRE_NAME_BYTES];

    for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
        if (json_is_true(json_object_get(v, marks[i])) ||
            json_is_object(json_object_get(v, marks[i]))) {
            snprintf(name, sizeof(name), "tools[].%s", marks[i]);
            wire_said(in, name);
        }
    wire_note_others(in, "tools[]", v, " type name description input_schema strict defer_loading "
                     "eager_input_streaming cache_control ");
}

enum err wire_messages_take_tools(struct wire_reader *in, const json_t *v)
{
    enum err e = wire_tool_room(in, "tools", v);

    for (size_t i = 0; i < json_array_size(v) && e == OK; i++) {
        const json_t *item = json_array_get(v, i);
        const char *type = json_string_value(json_object_get(item, "type"));
        struct wire_tool *t = &in->r->tool[in->r->n_tool];
        struct wire_place p = wire_place("tools[%zu]", i);
        if (type && strcmp(type, "custom")) {
            wire_said(in, "tools[].(other)");
            continue;
        }
        note_tool(in, item);
        if ((e = wire_take_function(t, in, p.text, item, "input_schema")) == OK)
            e = wire_take_cache(&t->cache, in, p.text, json_object_get(item, "cache_control"));
        in->r->n_tool++;
    }
    return e;
}

enum err wire_messages_take_choice(struct wire_reader *in, const json_t *v)
{
    static const struct wire_word words[] = {
        { "auto", WIRE_CHOICE_AUTO }, { "any", WIRE_CHOICE_REQUIRED },
        { "none", WIRE_CHOICE_NONE }, { "tool", WIRE_CHOICE_NAMED }, { NULL, 0 } };
    const json_t *single = json_object_get(v, "disable_parallel_tool_use");
    const json_t *type = json_object_get(v, "type");
    int choice = WIRE_CHOICE_UNSET;
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, "tool_choice", "an object", v);
    if (!type)
        return wire_missing(in, "tool_choice.type");
    if ((e = wire_take_word(&choice, in, "tool_choice.type", type, words)) != OK)
        return e;
    in->r->choice = (enum wire_tool_choice)choice;
    if (json_is_boolean(single)) {
        in->r->parallel = !json_is_true(single);
        wire_said(in, "tool_choice.disable_parallel_tool_use");
    }
    return choice == WIRE_CHOICE_NAMED
           ? wire_take_choice_name(in, "tool_choice", json_object_get(v, "name")) : OK;
}

enum err wire_messages_take_format(struct wire_reader *in, const json_t *v)
{
    const json_t *schema = json_object_get(v, "schema");
    const char *type = json_string_value(json_object_get(v, "type"));

    if (!json_is_object(v))
        return wire_wrong_type(in->why, "output_config.format", "an object", v);
    if (!type || strcmp(type, "json_schema")) {
        wire_said(in, "output_config.format.(other)");
        return OK;
    }
    if (!json_is_object(schema))
        return schema ? wire_wrong_type(in->why, "output_config.format.schema", "an object",
                                        schema)
                      : wire_missing(in, "output_config.format.schema");
    in->r->format.kind = WIRE_FORMAT_SCHEMA;
    in->r->format.strict = 1;           /* it has no other form */
    return wire_take_json(&in->r->format.schema, in, schema);
}

void wire_messages_scrub(json_t *body, bool count)
{
    static const char *const uncounted[] = {
        "max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "metadata",
        "service_tier", "inference_geo", "container" };
    json_t *messages = json_object_get(body, "messages");

    for (size_t i = 0; count && i < sizeof(uncounted) / sizeof(*uncounted); i++)
        json_object_del(body, uncounted[i]);

    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *content = json_object_get(json_array_get(messages, i), "content");
        for (size_t k = json_array_size(content); k-- > 0;) {
            const char *seal = json_string_value(json_object_get(json_array_get(content, k),
                                                                 "signature"));
            if (seal && !strcmp(seal, WIRE_NO_SIGNATURE))
                json_array_remove(content, k);
        }
    }
}
