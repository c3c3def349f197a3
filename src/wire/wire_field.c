/* wire_field.c - reads the fields of a body by field.def, and names those it does not know. */
#include "wire/form.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct wire_field fields[] = {
#define FIELD(dialect, name, kind, lo, hi, where) \
    { &wire_dialect_##dialect, name, WIRE_KIND_##kind, lo, hi, \
      offsetof(struct wire_request, where) },
#include "wire/field.def"
#undef FIELD
};

enum { N_FIELD = sizeof(fields) / sizeof(*fields) };

const struct wire_field *wire_fields(const struct wire_dialect *d, size_t *n)
{
    size_t from = 0, to;

    while (from < N_FIELD && fields[from].dialect != d)
        from++;
    for (to = from; to < N_FIELD && fields[to].dialect == d; to++)
        ;
    *n = to - from;
    return fields + from;
}

static void *place_of(const struct wire_reader *in, const struct wire_field *f)
{
    return (char *)in->r + f->where;
}

/* In the API's own words. */
static enum err out_of_bounds(struct wire_error *why, const struct wire_field *f, bool whole,
                              double x, enum wire_code code)
{
    bool low = x < f->lo;

    return wire_refuse(why, code, f->name, "Invalid '%s': %s %s value. Expected a value %s %.15g, "
                       "but got %.15g instead.", f->name, whole ? "integer" : "decimal",
                       low ? "below minimum" : "above maximum", low ? ">=" : "<=",
                       low ? f->lo : f->hi, x);
}

static enum err take_number(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    bool whole = f->kind == WIRE_KIND_INT;
    double x = json_number_value(v);

    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return wire_wrong_type(in->why, f->name, whole ? "an integer" : "a number", v);
    if (!(x >= f->lo))
        return out_of_bounds(in->why, f, whole, x, whole ? WIRE_E_INT_LOW : WIRE_E_NUM_LOW);
    if (!(x <= f->hi))
        return out_of_bounds(in->why, f, whole, x, whole ? WIRE_E_INT_HIGH : WIRE_E_NUM_HIGH);
    if (whole)
        *(int64_t *)place_of(in, f) = json_integer_value(v);
    else
        *(double *)place_of(in, f) = x;
    return OK;
}

static enum err take_bool(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    if (!json_is_boolean(v))
        return wire_wrong_type(in->why, f->name, "a boolean", v);
    *(bool *)place_of(in, f) = json_is_true(v);
    return OK;
}

static enum err take_string(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t len = json_string_length(v);

    if (!json_is_string(v))
        return wire_wrong_type(in->why, f->name, "a string", v);
    if ((double)len > f->hi)
        return wire_too_long(in->why, f->name, f->hi, len);
    return (double)len < f->lo ? OK : wire_take_text(place_of(in, f), in, v);
}

enum { STOP_BYTES_MAX = 1024 };

static enum err take_stop_text(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t len = json_string_length(v);

    if (!json_is_string(v))
        return wire_wrong_type(in->why, f->name, "a string or an array of strings", v);
    if (len > STOP_BYTES_MAX)
        return wire_too_long(in->why, f->name, STOP_BYTES_MAX, len);
    if (strlen(json_string_value(v)) != len)
        return wire_refuse(in->why, WIRE_E_VALUE, f->name, "Invalid '%s': a stop sequence cannot "
                           "hold U+0000.", f->name);
    return len ? wire_take_text(&in->r->stop[in->r->n_stop++], in, v) : OK;
}

/* Empty stop strings stop nothing. */
static enum err take_stop(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    void *stop;
    enum err e;

    if ((double)n > f->hi)
        return wire_too_many(in->why, f->name, f->hi, n);
    if ((e = wire_take(&stop, in, n, sizeof(*in->r->stop))) != OK)
        return e;
    in->r->stop = stop;
    if (!json_is_array(v))
        return take_stop_text(in, f, v);
    for (size_t i = 0; i < n && e == OK; i++)
        e = take_stop_text(in, f, json_array_get(v, i));
    return e;
}

/* A token id in decimal, as a key; -1 when it is none. */
static int32_t id_of(const char *key)
{
    size_t n = strspn(key, "0123456789");
    long long id = n && n <= 10 && !key[n] ? strtoll(key, NULL, 10) : -1;

    return id <= INT32_MAX ? (int32_t)id : -1;
}

static enum err take_bias(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    const char *key;
    json_t *bias;
    void *all;
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, f->name, "an object", v);
    if (json_object_size(v) > WIRE_BIAS_MAX)
        return wire_too_many(in->why, f->name, WIRE_BIAS_MAX, json_object_size(v));
    if ((e = wire_take(&all, in, json_object_size(v), sizeof(*in->r->bias))) != OK)
        return e;
    in->r->bias = all;
    json_object_foreach((json_t *)v, key, bias) {
        double x = json_number_value(bias);
        if (id_of(key) < 0)
            return wire_refuse(in->why, WIRE_E_VALUE, f->name, "Invalid '%s': its keys must be "
                               "token ids in decimal.", f->name);
        if (!json_is_number(bias))
            return wire_wrong_type(in->why, f->name, "an object of numbers", bias);
        if (!(x >= f->lo && x <= f->hi))
            return out_of_bounds(in->why, f, false, x, x < f->lo ? WIRE_E_NUM_LOW
                                                                 : WIRE_E_NUM_HIGH);
        in->r->bias[in->r->n_bias++] = (struct wire_bias){ id_of(key), x };
    }
    return OK;
}

static enum err take_meta(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    const char *key;
    json_t *value;
    void *all;
    enum err e;

    if (!json_is_object(v))
        return wire_wrong_type(in->why, f->name, "an object", v);
    if (json_object_size(v) > WIRE_META_MAX)
        return wire_too_many(in->why, f->name, WIRE_META_MAX, json_object_size(v));
    if ((e = wire_take(&all, in, json_object_size(v), sizeof(*in->r->meta))) != OK)
        return e;
    in->r->meta = all;
    json_object_foreach((json_t *)v, key, value) {
        struct wire_meta *m = &in->r->meta[in->r->n_meta];
        if (!json_is_string(value))
            return wire_wrong_type(in->why, f->name, "an object of strings", value);
        if ((double)strlen(key) > f->lo)
            return wire_too_long(in->why, f->name, f->lo, strlen(key));
        if ((double)json_string_length(value) > f->hi)
            return wire_too_long(in->why, f->name, f->hi, json_string_length(value));
        m->key.at = arena_copy(&in->r->arena, key, strlen(key));
        m->key.len = strlen(key);
        if (!m->key.at) {
            wire_error_set(in->why, WIRE_E_NO_MEMORY, NULL, NULL);
            return err_set(ERR_NOMEM, "WIRE-03", "out of memory for a request's metadata; close "
                           "other programs");
        }
        if ((e = wire_take_text(&m->value, in, value)) != OK)
            return e;
        in->r->n_meta++;
    }
    return OK;
}

static const struct wire_word efforts[] = {
    { "none", WIRE_EFFORT_NONE }, { "minimal", WIRE_EFFORT_MINIMAL }, { "low", WIRE_EFFORT_LOW },
    { "medium", WIRE_EFFORT_MEDIUM }, { "high", WIRE_EFFORT_HIGH }, { "xhigh", WIRE_EFFORT_XHIGH },
    { "max", WIRE_EFFORT_MAX }, { "off", WIRE_EFFORT_NONE }, { NULL, 0 } };
static const struct wire_word thinkings[] = {
    { "enabled", WIRE_EFFORT_ON }, { "adaptive", WIRE_EFFORT_ON },
    { "disabled", WIRE_EFFORT_NONE }, { NULL, 0 } };
static const struct wire_word codings[] = { { "float", false }, { "base64", true }, { NULL, 0 } };

enum err wire_take_word(int *out, struct wire_reader *in, const char *param, const json_t *v,
                        const struct wire_word *words)
{
    char all[128];
    size_t n = 0;

    if (!json_is_string(v))
        return wire_wrong_type(in->why, param, "a string", v);
    for (const struct wire_word *w = words; w->word; w++) {
        if (!strcmp(w->word, json_string_value(v))) {
            *out = w->value;
            return OK;
        }
        n += (size_t)snprintf(all + n, sizeof(all) - n, "%s'%s'", n ? ", " : "", w->word);
    }
    return wire_refuse(in->why, WIRE_E_VALUE, param, "Invalid value for '%s': supported values "
                       "are %s.", param, all);
}

static enum err take_effort(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    int value = WIRE_EFFORT_UNSET;
    enum err e = OK;

    if (f->kind == WIRE_KIND_THINK && !json_is_boolean(v))
        return wire_wrong_type(in->why, f->name, "a boolean", v);
    if (f->kind == WIRE_KIND_THINK)
        value = json_is_true(v) ? WIRE_EFFORT_ON : WIRE_EFFORT_NONE;
    else if (!json_is_string(v) || json_string_length(v))       /* "" is as good as absent */
        e = wire_take_word(&value, in, f->name, v,
                           f->kind == WIRE_KIND_EFFORT ? efforts : thinkings);
    if (e == OK && value == WIRE_EFFORT_ON && in->r->effort > WIRE_EFFORT_ON)
        return OK;
    if (e == OK && value != WIRE_EFFORT_UNSET)
        in->r->effort = (enum wire_effort)value;
    return e;
}

static enum err take_coding(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    int value = false;
    enum err e = wire_take_word(&value, in, f->name, v, codings);

    if (e == OK)
        *(bool *)place_of(in, f) = value;
    return e;
}

/* Does it ask for nothing beyond what is done anyway? */
static bool is_plain(const json_t *v)
{
    const char *word = json_string_value(json_is_object(v) ? json_object_get(v, "type") : v);

    if (json_is_array(v))
        return json_array_size(v) == 0 || (json_array_size(v) == 1 &&
                                           is_plain(json_array_get(v, 0)));
    return word && (!strcmp(word, "auto") || !strcmp(word, "none") || !strcmp(word, "text") ||
                    !*word);
}

static enum err take_unbuilt(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    bool empty = json_is_array(v)    ? json_array_size(v) == 0
                 : json_is_object(v) ? json_object_size(v) == 0
                                     : json_is_string(v) && !json_string_length(v);

    bool wants_empty = f->kind == WIRE_KIND_EMPTY || f->kind == WIRE_KIND_TOOLS;

    if (in->carry || (wants_empty ? empty : f->kind != WIRE_KIND_REFUSED && is_plain(v)))
        return OK;
    return wire_refuse(in->why, WIRE_E_UNSUPPORTED, f->name, "Unsupported parameter: '%s' is not "
                       "supported by this server. Leave it out.", f->name);
}

static enum err take_object(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    return json_is_object(v) ? OK : wire_wrong_type(in->why, f->name, "an object", v);
}

static enum err take_maybe(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    if (!in->carry)
        return OK;
    if (!json_is_boolean(v))
        return wire_wrong_type(in->why, f->name, "a boolean", v);
    *(int64_t *)place_of(in, f) = json_is_true(v);
    return OK;
}

/* What an answer made here has no use for, and one made elsewhere has. */
static enum err take_carried(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    const struct wire_dialect *d = in->r->dialect;

    if (!in->carry)
        return f->kind == WIRE_KIND_HARMLESS ? OK : take_unbuilt(in, f, v);
    switch (f->kind) {
    case WIRE_KIND_TOOLS:  return d->take_tools(in, v);
    case WIRE_KIND_CHOICE: return d->take_choice(in, v);
    case WIRE_KIND_FORMAT: return d->take_format(in, v);
    default:               return wire_take_extra(in, f->name, v);
    }
}

static enum err take(struct wire_reader *in, const struct wire_field *f, const json_t *v)
{
    switch (f->kind) {
    case WIRE_KIND_TEXT:       return take_string(in, f, v);
    case WIRE_KIND_BOOL:       return take_bool(in, f, v);
    case WIRE_KIND_INT:
    case WIRE_KIND_NUM:        return take_number(in, f, v);
    case WIRE_KIND_STOP:       return take_stop(in, f, v);
    case WIRE_KIND_BIAS:       return take_bias(in, f, v);
    case WIRE_KIND_META:       return take_meta(in, f, v);
    case WIRE_KIND_EFFORT:
    case WIRE_KIND_THINK:
    case WIRE_KIND_THINK_WORD: return take_effort(in, f, v);
    case WIRE_KIND_CODING:     return take_coding(in, f, v);
    case WIRE_KIND_MESSAGES:   return in->r->dialect->take_messages(in, f, v);
    case WIRE_KIND_PROMPT:     return wire_take_prompt(in, f, v);
    case WIRE_KIND_OBJECT:     return take_object(in, f, v);
    case WIRE_KIND_MAYBE:      return take_maybe(in, f, v);
    case WIRE_KIND_BESIDE:     return OK;
    case WIRE_KIND_HARMLESS:
    case WIRE_KIND_TOOLS:
    case WIRE_KIND_CHOICE:
    case WIRE_KIND_FORMAT:     return take_carried(in, f, v);
    case WIRE_KIND_REFUSED:
    case WIRE_KIND_EMPTY:
    case WIRE_KIND_PLAIN:      return take_unbuilt(in, f, v);
    }
    return OK;
}

/* The value of "a" or "a.b". */
static json_t *value_of(const json_t *body, const char *name)
{
    const char *dot = strchr(name, '.');
    char outer[WIRE_NAME_BYTES];

    if (!dot)
        return json_object_get(body, name);
    snprintf(outer, sizeof(outer), "%.*s", (int)(dot - name), name);
    return json_object_get(json_object_get(body, outer), dot + 1);
}

/* Keep a name that a log can show: cut, and without control characters. */
static void note_unknown(struct wire_request *r, const char *outer, const char *key)
{
    if (r->n_unknown < WIRE_UNKNOWN_MAX) {
        char *name = r->unknown[r->n_unknown];
        snprintf(name, WIRE_NAME_BYTES, "%s%s%s", outer, *outer ? "." : "", key);
        for (; *name; name++)
            if (!isprint((unsigned char)*name) || *name == '"' || *name == '\\')
                *name = '?';
    }
    r->n_unknown++;
}

static bool is_known(const struct wire_field *f, size_t n, const char *outer, const char *key)
{
    size_t len = strlen(outer);

    for (size_t i = 0; i < n; i++)
        if (!len ? !strcmp(f[i].name, key) : !strncmp(f[i].name, outer, len) &&
                                             f[i].name[len] == '.' &&
                                             !strcmp(f[i].name + len + 1, key))
            return true;
    return false;
}

/* Does it ask for nothing?  false, what holds nothing, and one answer. */
static bool is_idle(const char *key, const json_t *v)
{
    if (json_is_null(v))
        return true;
    if (!strcmp(key, "modalities") || !strcmp(key, "function_call"))
        return is_plain(v);
    if (!strcmp(key, "truncation"))
        return json_is_string(v) && !strcmp(json_string_value(v), "disabled");
    return (!strcmp(key, "n") && json_integer_value(v) == 1) || json_is_false(v) ||
           (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) ||
           (json_is_object(v) && !json_object_size(v));
}

static void note_unknowns(struct wire_reader *in, const struct wire_field *f, size_t n,
                          json_t *object, const char *outer)
{
    char name[2 * WIRE_NAME_BYTES];
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
        if (!is_known(f, n, outer, key))
            note_unknown(in->r, outer, key);
        else if (in->carry && !is_idle(key, value)) {
            snprintf(name, sizeof(name), "%s%s%s", outer, *outer ? "." : "", key);
            wire_said(in, name);
        }
}

/* Many messages have the same. */
static bool is_noted(const struct wire_request *r, const char *outer, const char *key)
{
    char name[WIRE_NAME_BYTES];

    snprintf(name, sizeof(name), "%s%s%s", outer, *outer ? "." : "", key);
    for (size_t i = 0; i < r->n_unknown && i < WIRE_UNKNOWN_MAX; i++)
        if (!strcmp(r->unknown[i], name))
            return true;
    return false;
}

void wire_note_others(struct wire_reader *in, const char *outer, const json_t *object,
                      const char *known)
{
    char word[WIRE_NAME_BYTES + 2];
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value) {
        snprintf(word, sizeof(word), " %.*s ", WIRE_NAME_BYTES - 1, key);
        if (!strstr(known, word) && !is_noted(in->r, outer, key))
            note_unknown(in->r, outer, key);
    }
}

enum err wire_take_fields(struct wire_reader *in, json_t *body)
{
    size_t n;
    const struct wire_field *f = wire_fields(in->r->dialect, &n);
    enum err e = OK;

    note_unknowns(in, f, n, body, "");
    for (size_t i = 0; i < n && e == OK; i++) {
        json_t *v = value_of(body, f[i].name);
        if (v && !json_is_null(v))
            e = take(in, &f[i], v);
        else if (f[i].kind == WIRE_KIND_MESSAGES || f[i].kind == WIRE_KIND_PROMPT)
            e = wire_refuse(in->why, WIRE_E_MISSING, f[i].name, "Missing required parameter: "
                            "'%s'.", f[i].name);
        if (v && e == OK && f[i].kind == WIRE_KIND_OBJECT)
            note_unknowns(in, f, n, v, f[i].name);
    }
    return e;
}
