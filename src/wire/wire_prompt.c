/* wire_prompt.c - prompts and inputs: a text, texts, token ids, or lists of them. */
#include "wire/form.h"

#include <stdio.h>

static enum err take_ids(struct wire_prompt *p, struct wire_reader *in, const char *param,
                         const json_t *list)
{
    size_t n = json_array_size(list);
    void *ids;
    enum err e = wire_take(&ids, in, n, sizeof(*p->id));

    if (e != OK)
        return e;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v))
            return wire_wrong_type(in->why, param, "an array of token ids", v);
        if (id < 0 || id > INT32_MAX)
            return wire_refuse(in->why, id < 0 ? WIRE_E_INT_LOW : WIRE_E_INT_HIGH, param,
                               "Invalid '%s': %lld is no token id.", param, (long long)id);
        ((int32_t *)ids)[i] = (int32_t)id;
    }
    *p = (struct wire_prompt){ .id = ids, .n_id = n };
    return OK;
}

/* One prompt; an empty text is one for a completion, where the model may begin by itself. */
static enum err take_one(struct wire_prompt *p, struct wire_reader *in, const char *param,
                         const json_t *v)
{
    bool embed = wire_dialect_task(in->r->dialect) == WIRE_TASK_EMBED;

    if (json_is_array(v))
        return json_array_size(v) ? take_ids(p, in, param, v)
                                  : wire_refuse(in->why, WIRE_E_LIST_EMPTY, param, "Invalid '%s': "
                                                "it is an empty array.", param);
    if (!json_is_string(v))
        return wire_wrong_type(in->why, param, "a string or an array of token ids", v);
    if (embed && !json_string_length(v))
        return wire_refuse(in->why, WIRE_E_VALUE, param, "Invalid '%s': it is an empty string.",
                           param);
    return wire_take_text(&p->text, in, v);
}

enum err wire_take_prompt(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    struct wire_request *r = in->r;
    bool many = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
    size_t n = many ? json_array_size(v) : 1;
    char param[WIRE_NAME_BYTES];
    void *all;
    enum err e;

    if ((double)n > f->hi)
        return wire_too_many(in->why, f->name, f->hi, n);
    if (!n)
        return wire_refuse(in->why, WIRE_E_LIST_EMPTY, f->name, "Invalid '%s': it is an empty "
                           "array.", f->name);
    if ((e = wire_take(&all, in, n, sizeof(*r->prompt))) != OK)
        return e;
    r->prompt = all;
    r->n_prompt = n;
    if (!many)
        return take_one(&r->prompt[0], in, f->name, v);
    for (size_t i = 0; i < n && e == OK; i++) {
        snprintf(param, sizeof(param), "%s[%zu]", f->name, i);
        e = take_one(&r->prompt[i], in, param, json_array_get(v, i));
    }
    return e;
}
