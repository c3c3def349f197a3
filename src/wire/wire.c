/* wire.c - the list of dialects, and a request's way in: size, cost, JSON, fields, checks. */
#include "wire/carry.h"
#include "wire/form.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name; enum wire_task task; const struct wire_dialect *d; }
dialects[] = {
#define DIALECT(name, task) { #name, task, &wire_dialect_##name },
#include "wire/dialect.def"
#undef DIALECT
};

enum { N_DIALECT = sizeof(dialects) / sizeof(*dialects) };

const struct wire_dialect *wire_dialect_at(size_t i)
{
    return i < N_DIALECT ? dialects[i].d : NULL;
}

const struct wire_dialect *wire_dialect_find(const char *name)
{
    for (size_t i = 0; i < N_DIALECT; i++)
        if (!strcmp(dialects[i].name, name))
            return dialects[i].d;
    return NULL;
}

static size_t index_of(const struct wire_dialect *d)
{
    size_t i = 0;

    while (dialects[i].d != d)
        ASSERT(++i < N_DIALECT);
    return i;
}

const char *wire_dialect_name(const struct wire_dialect *d)
{
    return dialects[index_of(d)].name;
}

enum wire_task wire_dialect_task(const struct wire_dialect *d)
{
    return dialects[index_of(d)].task;
}

const char *wire_heartbeat(const struct wire_dialect *d, bool stream)
{
    return stream ? d->beat : d->beat_whole;
}

static void set_defaults(struct wire_request *r, const struct wire_dialect *d)
{
    *r = (struct wire_request){
        .dialect = d, .n = 1, .best_of = WIRE_ABSENT, .max_tok = WIRE_ABSENT,
        .top_k = WIRE_ABSENT, .seed = WIRE_ABSENT, .top_logprobs = WIRE_ABSENT,
        .dimensions = WIRE_ABSENT, .parallel = WIRE_ABSENT, .budget = WIRE_ABSENT,
        .format.strict = -1, .temperature = NAN, .top_p = NAN, .min_p = NAN,
        .frequency_penalty = NAN, .presence_penalty = NAN,
    };
    arena_init(&r->arena, WIRE_REQUEST_BYTES_MAX);
}

/* What jansson cannot read: where, and what was expected; not the text that it quotes, of which
 * nobody knows yet whether it may stand in an error. */
static enum err not_json(struct wire_error *why, enum err e)
{
    const char *text = err_text(), *at = strstr(text, "line ");
    const char *quote = at ? strstr(at, " near ") : NULL;

    if (e == ERR_NOMEM)
        wire_error_set(why, WIRE_E_NO_MEMORY, NULL, NULL);
    else if (e == ERR_LIMIT)
        return wire_refuse(why, WIRE_E_BAD_JSON, NULL, "The body is JSON nested deeper than %d "
                           "levels; flatten it.", JSON_DEPTH_MAX);
    else
        return wire_refuse(why, WIRE_E_BAD_JSON, NULL, "The body is not valid JSON: %.*s.",
                           quote ? (int)(quote - at) : 200, at ? at : "it ends too early");
    return e;
}

static enum err read_body(json_t **out, struct wire_error *why, const char *body, size_t len)
{
    *out = NULL;
    if (len > WIRE_BODY_BYTES_MAX || json_cost(body, len) > WIRE_JSON_COST_MAX)
        return wire_refuse(why, WIRE_E_TOO_LARGE, NULL, "The body of %zu bytes is too large: at "
                           "most %d bytes are read, of not too many values; shorten it.", len,
                           (int)WIRE_BODY_BYTES_MAX);
    enum err e = json_parse_nul(out, body, len, WIRE_BODY_BYTES_MAX, "body");
    if (e != OK)
        return not_json(why, e);
    if (json_is_object(*out))
        return OK;
    e = wire_wrong_type(why, "", "an object", *out);
    json_decref(*out);
    *out = NULL;
    return e;
}

static enum err keep_body(struct wire_reader *in, const char *body, size_t len)
{
    void *at;
    enum err e = wire_take(&at, in, len + 1, 1);

    if (e != OK)
        return e;
    memcpy(at, body, len);
    in->r->body = (struct wire_text){ at, len };
    return OK;
}

static enum err parse(struct wire_request *r, struct wire_error *why, const struct wire_dialect *d,
                      const char *body, size_t len, bool carry)
{
    struct wire_reader in = { r, why, NULL, carry };
    json_t *json;
    enum err e;

    set_defaults(r, d);
    *why = (struct wire_error){ 0 };
    if ((e = read_body(&json, why, body, len)) != OK)
        return e;
    in.body = json;
    e = carry ? keep_body(&in, body, len) : OK;
    if (e == OK && (e = wire_take_fields(&in, json)) == OK)
        e = d->check(r, why);
    json_decref(json);
    if (e != OK)
        wire_request_release(r);
    return e;
}

enum err wire_parse(struct wire_request *r, struct wire_error *why, const struct wire_dialect *d,
                    const char *body, size_t len)
{
    return parse(r, why, d, body, len, false);
}

enum err wire_read(struct wire_request *r, struct wire_error *why, const struct wire_dialect *d,
                   const char *body, size_t len)
{
    return parse(r, why, d, body, len, true);
}

void wire_request_release(struct wire_request *r)
{
    arena_release(&r->arena);
}

enum err wire_take(void **out, struct wire_reader *in, size_t n, size_t size)
{
    if ((*out = arena_alloc(&in->r->arena, n, size)))
        return OK;
    if (arena_full(&in->r->arena, n, size))
        return wire_refuse(in->why, WIRE_E_TOO_LARGE, NULL, "The request takes more than %d bytes "
                           "once it is read; shorten it.", (int)WIRE_REQUEST_BYTES_MAX);
    wire_error_set(in->why, WIRE_E_NO_MEMORY, NULL, NULL);
    return err_set(ERR_NOMEM, "WIRE-01", "out of memory for %zu bytes of a request; close other "
                   "programs", n * size);
}

enum err wire_take_text(struct wire_text *out, struct wire_reader *in, const json_t *string)
{
    size_t len = json_string_length(string);
    void *at;
    enum err e = wire_take(&at, in, len + 1, 1);

    if (e != OK)
        return e;
    memcpy(at, json_string_value(string), len);
    *out = (struct wire_text){ at, len };
    return OK;
}
