/* wire_take.c - values that several dialects spell alike, read for somebody else: JSON kept as
 * text, marks of a cache, addresses of images. */
#include "wire/form.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct wire_place wire_place(const char *fmt, ...)
{
    struct wire_place p;
    va_list args;

    va_start(args, fmt);
    vsnprintf(p.text, sizeof(p.text), fmt, args);
    va_end(args);
    return p;
}

enum err wire_missing(struct wire_reader *in, const char *param)
{
    return wire_refuse(in->why, WIRE_E_MISSING, param, "Missing required parameter: '%s'.", param);
}

enum err wire_take_string(struct wire_text *out, struct wire_reader *in, const char *param,
                          const json_t *v, size_t max)
{
    if (!v || json_is_null(v) || (json_is_string(v) && !json_string_length(v)))
        return OK;
    if (!json_is_string(v))
        return wire_wrong_type(in->why, param, "a string", v);
    if (json_string_length(v) > max)
        return wire_too_long(in->why, param, (double)max, json_string_length(v));
    return wire_take_text(out, in, v);
}

enum err wire_take_json(struct wire_text *out, struct wire_reader *in, const json_t *v)
{
    struct buf text = { 0 };
    void *at = NULL;
    enum err e = OK;

    wire_put_json(&text, v);
    if (text.broken) {
        wire_error_set(in->why, WIRE_E_NO_MEMORY, NULL, NULL);
        e = err_set(ERR_NOMEM, "WIRE-07", "out of memory for a value of a request; close other "
                    "programs");
    }
    if (e == OK && (e = wire_take(&at, in, text.len + 1, 1)) == OK) {
        memcpy(at, buf_text(&text), text.len);
        *out = (struct wire_text){ at, text.len };
    }
    buf_release(&text);
    return e;
}

enum err wire_take_cache(enum wire_cache *out, struct wire_reader *in, const char *param,
                         const json_t *v)
{
    const char *ttl = json_string_value(json_object_get(v, "ttl"));

    if (!v || json_is_null(v))
        return OK;
    if (!json_is_object(v))
        return wire_wrong_type(in->why, param, "an object", v);
    *out = ttl && !strcmp(ttl, "1h") ? WIRE_CACHE_HOUR : WIRE_CACHE_SHORT;
    return OK;
}

/* "data:image/png;base64,..." is what it holds, anything else an address. */
enum err wire_take_address(struct wire_part *p, struct wire_reader *in, const char *param,
                           const json_t *v)
{
    static const char mark[] = ";base64,";
    const char *at = json_string_value(v), *data;
    enum err e;

    if (!json_is_string(v))
        return v ? wire_wrong_type(in->why, param, "a string", v) : wire_missing(in, param);
    if (!json_string_length(v))
        return wire_refuse(in->why, WIRE_E_VALUE, param, "Invalid '%s': it is empty.", param);
    if ((e = wire_take_text(&p->text, in, v)) != OK)
        return e;
    if (strncmp(at, "data:", 5) || !(data = strstr(at, mark)) || data == at + 5)
        return OK;
    size_t n = (size_t)(data - at) - 5;
    void *mime;
    if ((e = wire_take(&mime, in, n + 1, 1)) != OK)
        return e;
    memcpy(mime, at + 5, n);
    p->mime = (struct wire_text){ mime, n };
    p->text.at += n + 5 + strlen(mark);
    p->text.len -= n + 5 + strlen(mark);
    return OK;
}

enum err wire_take_detail(struct wire_part *p, struct wire_reader *in, const char *param,
                          const char *field, const json_t *v)
{
    const char *word = json_string_value(v);

    if (word && !strcmp(word, "auto"))
        return OK;
    if (json_string_length(v))
        wire_said(in, field);
    return wire_take_string(&p->detail, in, param, v, 16);
}

enum err wire_take_extra(struct wire_reader *in, const char *name, const json_t *v)
{
    struct wire_extra *x = &in->r->extra[in->r->n_extra];

    ASSERT(in->r->n_extra < WIRE_EXTRA_MAX);
    enum err e = wire_take_json(&x->json, in, v);
    if (e != OK)
        return e;
    const char *dot = strrchr(name, '.');
    x->name = dot ? dot + 1 : name;
    in->r->n_extra++;
    return OK;
}

enum err wire_tool_room(struct wire_reader *in, const char *param, const json_t *v)
{
    void *tool;

    if (!json_is_array(v))
        return wire_wrong_type(in->why, param, "an array of objects", v);
    if (json_array_size(v) > WIRE_TOOL_MAX)
        return wire_too_many(in->why, param, WIRE_TOOL_MAX, json_array_size(v));
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_object(json_array_get(v, i)))
            return wire_wrong_type(in->why, wire_place("%s[%zu]", param, i).text, "an object",
                                   json_array_get(v, i));
    enum err e = wire_take(&tool, in, json_array_size(v), sizeof(*in->r->tool));
    in->r->tool = tool;
    in->r->n_tool = 0;
    return e;
}

enum err wire_check_list(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t n = json_array_size(v);

    if (!json_is_array(v))
        return wire_wrong_type(in->why, f->name, "an array of objects", v);
    if (!n)
        return wire_refuse(in->why, WIRE_E_LIST_EMPTY, f->name, "Invalid '%s': it is an empty "
                           "array.", f->name);
    if ((double)n > f->hi)
        return wire_too_many(in->why, f->name, f->hi, n);
    return OK;
}
