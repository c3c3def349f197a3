/* wire_chat_tools.c - the tools of a chat request, which of them, and the form of the answer, read
 * for another server. */
#include "wire/form.h"

#include <string.h>

enum { NAME_BYTES_MAX = 256, PROSE_BYTES_MAX = 1 << 20 };

enum err wire_take_strict(int *out, struct wire_reader *in, const char *param, const json_t *v)
{
    if (v && !json_is_null(v) && !json_is_boolean(v))
        return wire_wrong_type(in->why, param, "a boolean", v);
    *out = v && !json_is_null(v) ? json_is_true(v) : -1;
    return OK;
}

/* name, description, strict, and the schema under `key`, of a function or a format. */
enum err wire_take_function(struct wire_tool *t, struct wire_reader *in, const char *param,
                            const json_t *v, const char *key)
{
    const json_t *schema = json_object_get(v, key);
    enum err e;

    if (!json_is_object(v))
        return v ? wire_wrong_type(in->why, param, "an object", v) : wire_missing(in, param);
    if (!json_string_length(json_object_get(v, "name")))
        return wire_refuse(in->why, WIRE_E_MISSING, param, "Invalid '%s': it needs a string "
                           "'name'.", param);
    if ((e = wire_take_string(&t->name, in, param, json_object_get(v, "name"),
                              NAME_BYTES_MAX)) != OK ||
        (e = wire_take_string(&t->description, in, param, json_object_get(v, "description"),
                              PROSE_BYTES_MAX)) != OK ||
        (e = wire_take_strict(&t->strict, in, param, json_object_get(v, "strict"))) != OK)
        return e;
    if (!schema || json_is_null(schema))
        return OK;
    if (!json_is_object(schema))
        return wire_wrong_type(in->why, param, "a JSON schema", schema);
    return wire_take_json(&t->schema, in, schema);
}

enum err wire_chat_take_tools(struct wire_reader *in, const json_t *v)
{
    enum err e = wire_tool_room(in, "tools", v);

    for (size_t i = 0; i < json_array_size(v) && e == OK; i++) {
        const json_t *item = json_array_get(v, i), *f = json_object_get(item, "function");
        const char *type = json_string_value(json_object_get(item, "type"));
        struct wire_tool *t = &in->r->tool[in->r->n_tool];
        if (type && strcmp(type, "function")) {
            wire_said(in, "tools[].(other)");
            continue;
        }
        wire_note_others(in, "tools[]", item, " type function cache_control ");
        wire_note_others(in, "tools[].function", f, " name description parameters strict ");
        if (json_object_get(item, "cache_control"))
            wire_said(in, "tools[].cache_control");
        struct wire_place p = wire_place("tools[%zu].function", i);
        e = wire_take_function(t, in, p.text, f, "parameters");
        if (e == OK)
            e = wire_take_cache(&t->cache, in, p.text, json_object_get(item, "cache_control"));
        in->r->n_tool++;
    }
    return e;
}

enum err wire_take_choice_word(struct wire_reader *in, const char *param, const json_t *v)
{
    static const struct wire_word words[] = {
        { "auto", WIRE_CHOICE_AUTO }, { "none", WIRE_CHOICE_NONE },
        { "required", WIRE_CHOICE_REQUIRED }, { NULL, 0 } };
    int value = WIRE_CHOICE_UNSET;
    enum err e = wire_take_word(&value, in, param, v, words);

    if (e == OK)
        in->r->choice = (enum wire_tool_choice)value;
    return e;
}

enum err wire_take_choice_name(struct wire_reader *in, const char *param, const json_t *name)
{
    if (!json_string_length(name))
        return wire_refuse(in->why, WIRE_E_MISSING, param, "Invalid '%s': it needs the 'name' of a "
                           "function.", param);
    in->r->choice = WIRE_CHOICE_NAMED;
    return wire_take_string(&in->r->choice_name, in, param, name, NAME_BYTES_MAX);
}

enum err wire_chat_take_choice(struct wire_reader *in, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));

    if (!json_is_object(v))
        return wire_take_choice_word(in, "tool_choice", v);
    if (type && strcmp(type, "function")) {
        wire_said(in, "tool_choice.(other)");
        return OK;
    }
    return wire_take_choice_name(in, "tool_choice",
                                 json_object_get(json_object_get(v, "function"), "name"));
}

enum err wire_chat_take_format(struct wire_reader *in, const json_t *v)
{
    const json_t *schema = json_object_get(v, "json_schema");
    const char *type = json_string_value(json_object_get(v, "type"));
    struct wire_tool t = { .strict = -1 };
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, "response_format", "an object", v);
    if (!type)
        return wire_missing(in, "response_format.type");
    if (!strcmp(type, "text"))
        return OK;
    if (!strcmp(type, "json_object")) {
        in->r->format.kind = WIRE_FORMAT_JSON;
        wire_said(in, "response_format.json_object");
        return OK;
    }
    if (strcmp(type, "json_schema")) {
        wire_said(in, "response_format.(other)");
        return OK;
    }
    wire_note_others(in, "response_format.json_schema", schema,
                     " name description schema strict ");
    if ((e = wire_take_function(&t, in, "response_format.json_schema", schema, "schema")) != OK)
        return e;
    wire_said(in, "response_format.json_schema.name");
    if (t.description.at)
        wire_said(in, "response_format.json_schema.description");
    if (t.strict >= 0)
        wire_said(in, "response_format.json_schema.strict");
    in->r->format = (struct wire_format){ WIRE_FORMAT_SCHEMA, t.name, t.description, t.schema,
                                          t.strict };
    return OK;
}
