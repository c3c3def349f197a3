/* door_body.c - what is sent: the request in the upstream's dialect; completions and embeddings as
 * they came, but for the model's name and labels; a continuation with what was said so far. */
#include "door/door_form.h"

#include "base/json.h"

#include <string.h>

enum { OUTPUT_USUAL = 8192 };           /* where a dialect demands a number and nobody said one */

static enum err no_memory(struct ask *a)
{
    wire_error_set(&a->try.why, WIRE_E_NO_MEMORY, NULL, NULL);
    return err_set(ERR_NOMEM, "DOOR-17", "no memory to write a request");
}

static const char *name_there(const struct config_model *m)
{
    return m->as ? m->as : m->name;
}

/* The body with changes of its object: false, no memory. */
typedef bool edit_fn(struct ask *a, json_t *body);

static enum err edit(struct ask *a, const char *text, size_t len, edit_fn *fn, struct buf *out)
{
    json_t *body;
    enum err e = json_parse_nul(&body, text, len, WIRE_REQUEST_BYTES_MAX, "body");
    bool ok;

    if (e)
        return no_memory(a);
    ok = fn(a, body);
    if (ok)
        json_write(out, body, JSON_COMPACT);
    json_decref(body);
    return ok && !out->broken ? OK : no_memory(a);
}

/* The body that is to be sent, changed. */
static enum err change(struct ask *a, edit_fn *fn)
{
    struct buf changed = { 0 };
    enum err e = edit(a, buf_text(&a->try.body), a->try.body.len, fn, &changed);

    buf_release(&a->try.body);
    a->try.body = changed;
    return e;
}

static bool pass(struct ask *a, json_t *body)
{
    const struct config_model *m = &a->w->c->models[a->try.step.model];
    json_t *options = json_object_get(body, "stream_options");
    bool ok = !json_object_set_new(body, "model", json_string(name_there(m)));

    label_strip(a, body);
    if (!a->r.stream)
        return ok;
    if (!json_is_object(options)) {
        ok = !json_object_set_new(body, "stream_options", json_object()) && ok;
        options = json_object_get(body, "stream_options");
    }
    return !json_object_set_new(options, "include_usage", json_true()) && ok;
}

/* The start of the answer, as its last message: the upstream goes on from there. */
static bool append_said(struct ask *a, json_t *body)
{
    json_t *list = json_object_get(body, "messages");
    json_t *m = json_pack("{s:s, s:s%}", "role", "assistant", "content", buf_text(&a->said),
                          a->said.len);

    if (!json_is_array(list)) {
        json_decref(m);
        return false;
    }
    return !json_array_append_new(list, m);
}

static bool has_seals(const struct wire_request *r)
{
    for (size_t i = 0; i < r->n_message; i++)
        for (size_t k = 0; k < r->message[i].n_part; k++)
            if (r->message[i].part[k].sealed)
                return true;
    return false;
}

static enum err write_carried(struct ask *a)
{
    struct try *t = &a->try;
    const struct config_model *m = &a->w->c->models[t->step.model];
    struct wire_target to = {
        .dialect = a->w->upstream[t->step.upstream].dialect, .model = name_there(m),
        .max_tok = m->max_output ? (int64_t)m->max_output : OUTPUT_USUAL,
        .thoughts = m->accepts & ACCEPTS_REASONING, .usage = true,
        .count = a->kind == PATH_count_tokens,
    };
    struct wire_request r = a->r;       /* shares everything with it */
    enum err e;

    if (a->in != to.dialect && !kept_return(a, &r))
        return no_memory(a);
    e = wire_write(&t->body, &t->notes, &t->why, &r, &to);
    if (!e && a->in == to.dialect && a->named)
        e = change(a, label_strip);
    if (!e && a->in == to.dialect && has_seals(&a->r))
        e = change(a, kept_strip);
    if (!e && t->step.kind == PATH_continuation)
        e = change(a, append_said);
    return e;
}

enum err body_write(struct ask *a)
{
    struct try *t = &a->try;
    const struct wire_dialect *to = a->w->upstream[t->step.upstream].dialect;

    t->raw = a->in == to && !a->reply.begun;
    if (wire_dialect_task(a->in) == WIRE_TASK_CHAT)
        return write_carried(a);
    t->raw = true;
    if (strcmp(wire_dialect_name(to), "messages"))
        return edit(a, a->r.body.at, a->r.body.len, pass, &t->body);
    wire_error_set(&t->why, WIRE_E_UNSUPPORTED_VALUE, "model", "The server of this model has no "
                   "%s.", wire_dialect_name(a->in));
    return err_set(ERR_ARG, "DOOR-18", "an upstream without %s", wire_dialect_name(a->in));
}

bool body_usage(struct buf *usage_json, const char *data, size_t len)
{
    json_t *object = NULL;
    bool found;

    if (!memmem(data, len, "\"usage\"", 7) || json_cost(data, len) > WIRE_JSON_COST_MAX ||
        json_parse_nul(&object, data, len, WIRE_REPLY_BYTES_MAX, "answer"))
        return false;
    found = json_is_object(json_object_get(object, "usage"));
    if (found) {
        buf_cut(usage_json, 0);
        json_write(usage_json, json_object_get(object, "usage"), JSON_COMPACT);
    }
    json_decref(object);
    return found && !usage_json->broken;
}

/* The object that a body is, with a member of this name that is not null; NULL: it is not. */
static json_t *object_with(const char *data, size_t len, const char *name)
{
    json_t *object = NULL, *member;

    if (json_cost(data, len) > WIRE_JSON_COST_MAX ||
        json_parse_nul(&object, data, len, WIRE_REPLY_BYTES_MAX, "answer"))
        return NULL;
    member = json_object_get(object, name);
    if (member && !json_is_null(member))
        return object;
    json_decref(object);
    return NULL;
}

bool body_fails(const char *data, size_t len)
{
    json_t *object = memmem(data, len, "\"error\"", 7) ? object_with(data, len, "error") : NULL;
    bool fails = object != NULL;

    json_decref(object);
    return fails;
}

bool body_answers(const struct wire_dialect *d, const char *data, size_t len)
{
    const char *list = wire_dialect_task(d) == WIRE_TASK_EMBED ? "data" : "choices";
    json_t *object = object_with(data, len, list);
    bool answers = json_is_array(json_object_get(object, list));

    json_decref(object);
    return answers;
}
