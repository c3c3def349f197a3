/* door_label.c - what a text is: labels that the request names, and what detectors find in it.
 *
 * All strings of the body are looked at, keys and unknown fields too, for in one dialect all of it
 * passes; arguments of calls once more as the JSON that they are; the one field of the head that
 * may be sent on.  What no detector can read (images, files, token ids) is `unscanned`.  Labels and
 * tags of `metadata` are for the gateway alone: they are taken out of what is sent. */
#include "door/door_form.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

struct scan {
    const struct world *w;
    uint64_t labels, wanted;            /* found; those that something looks for */
    uint32_t detectors;                 /* that are still wanted */
    enum err e;
};

static void take_detectors(struct scan *s, uint32_t found)
{
    const struct config *c = s->w->c;

    for (unsigned i = 0; i < c->labels_count; i++)
        if (c->labels[i].detectors & found)
            s->labels |= UINT64_C(1) << i;
    s->detectors &= ~found;
}

static void look_at(struct scan *s, const char *text, size_t len)
{
    const struct config *c = s->w->c;
    bool found;

    if (s->detectors && len)
        take_detectors(s, detect(text, len, s->detectors));
    for (unsigned i = 0; i < c->labels_count; i++)
        for (unsigned k = 0; k < s->w->label[i].n && !s->e && !(s->labels >> i & 1); k++) {
            s->e = pattern_found(s->w->label[i].pattern[k], text, len, &found);
            if (!s->e && found)
                s->labels |= UINT64_C(1) << i;
        }
}

static void walk(struct scan *s, json_t *v, int inside);

/* Arguments of a call are JSON in a string: what its escapes hide is looked at too. */
static void look_inside(struct scan *s, const char *text, size_t len, int inside)
{
    json_t *json;

    if (inside > 1 || !len || (*text != '{' && *text != '[') ||
        json_cost(text, len) > WIRE_JSON_COST_MAX)
        return;
    if (json_parse_nul(&json, text, len, WIRE_BODY_BYTES_MAX, "arguments"))
        return;
    walk(s, json, inside + 1);
    json_decref(json);
}

static bool is_opaque(const json_t *object)
{
    static const char *const types[] = { "image", "image_url", "input_image", "input_audio",
                                         "audio", "file", "input_file", "document", "video_url",
                                         "video" };
    const char *type = json_string_value(json_object_get(object, "type"));

    for (size_t i = 0; type && i < sizeof(types) / sizeof(*types); i++)
        if (!strcmp(types[i], type))
            return true;
    return false;
}

/* Depth is bounded by json_parse(). */
static void walk(struct scan *s, json_t *v, int inside)
{
    const char *key;
    json_t *one;
    size_t i;

    if (json_is_string(v)) {
        look_at(s, json_string_value(v), json_string_length(v));
        look_inside(s, json_string_value(v), json_string_length(v), inside);
    } else if (json_is_array(v)) {
        json_array_foreach(v, i, one)
            walk(s, one, inside);
    } else if (json_is_object(v)) {
        if (is_opaque(v))
            s->labels |= UINT64_C(1) << s->w->c->unscanned;
        json_object_foreach(v, key, one) {
            look_at(s, key, strlen(key));
            walk(s, one, inside);
        }
    } else if (json_is_number(v)) {
        char text[32];
        int n = json_is_integer(v) ? snprintf(text, sizeof(text), "%lld",
                                              (long long)json_integer_value(v)) : 0;
        look_at(s, text, (size_t)n);
    }
}

static enum err scan_body(struct ask *a, json_t *body)
{
    struct scan s = { .w = a->w };
    const struct config *c = a->w->c;

    for (unsigned i = 0; i < c->labels_count; i++)
        s.detectors |= c->labels[i].detectors;
    walk(&s, body, 0);
    if (a->beta)
        look_at(&s, a->beta, strlen(a->beta));
    for (size_t i = 0; i < a->r.n_prompt; i++)
        if (a->r.prompt[i].id)
            s.labels |= UINT64_C(1) << c->unscanned;
    a->labels |= s.labels;
    return s.e;
}

/* "a, b": each a label of the configuration. */
static enum err take_labels(struct ask *a, const char *text, size_t len, struct wire_error *why)
{
    const char *at = text, *end = text + len;
    char name[CONFIG_NAME_MAX + 1];

    while (at < end) {
        size_t n;
        int label;
        while (at < end && strchr(" ,\t", *at))
            at++;
        for (n = 0; at + n < end && !strchr(" ,\t", at[n]);)
            n++;
        if (!n)
            break;
        snprintf(name, sizeof(name), "%.*s", (int)(n < sizeof(name) ? n : sizeof(name) - 1), at);
        label = config_label_find(a->w->c, name);
        if (label < 0) {
            wire_error_set(why, WIRE_E_VALUE, "x-croft-labels", "There is no label '%.64s' here.",
                           name);
            return err_set(ERR_ARG, "DOOR-14", "no such label");
        }
        a->labels |= UINT64_C(1) << label;
        at += n;
    }
    return OK;
}

/* Names of the ledger's tags: printable, without spaces; others are refused. */
static enum err take_tags(struct ask *a, const char *text, size_t len, struct wire_error *why)
{
    char *tags = a->who.tags;
    size_t at = strlen(tags);

    for (size_t i = 0; i < len; i++) {
        bool gap = strchr(" ,\t", text[i]) != NULL;
        if (text[i] < ' ' || text[i] > '~' || at + 2 >= sizeof(a->who.tags)) {
            wire_error_set(why, WIRE_E_VALUE, "x-croft-tags", "Tags are words of printable ASCII, "
                           "%d bytes altogether.", (int)sizeof(a->who.tags) - 2);
            return err_set(ERR_ARG, "DOOR-15", "no tags");
        }
        if (i == 0 && at && !gap)
            tags[at++] = ' ';
        if (!gap)
            tags[at++] = text[i];
        else if (at && tags[at - 1] != ' ')
            tags[at++] = ' ';
    }
    while (at && tags[at - 1] == ' ')
        at--;
    tags[at] = '\0';
    return OK;
}

/* ---- those that metadata names -------------------------------------------------------------- */

static const struct {
    const char *key;
    enum err (*take)(struct ask *a, const char *text, size_t len, struct wire_error *why);
} ours[] = { { "croft_labels", take_labels }, { "croft_tags", take_tags } };

enum { N_OURS = sizeof(ours) / sizeof(*ours) };

static bool is_ours(const char *key)
{
    for (size_t i = 0; i < N_OURS; i++)
        if (!strcmp(key, ours[i].key))
            return true;
    return false;
}

/* Read from the body, for not every dialect's metadata is a part of the neutral request. */
static enum err take_meta(struct ask *a, const json_t *body, struct wire_error *why)
{
    const json_t *meta = json_object_get(body, "metadata");
    size_t n = 0;
    enum err e = OK;

    for (size_t i = 0; i < N_OURS && !e; i++) {
        const json_t *v = json_object_get(meta, ours[i].key);
        a->named = a->named || v;
        if (json_is_string(v)) {
            e = ours[i].take(a, json_string_value(v), json_string_length(v), why);
        } else if (v && !json_is_null(v)) {
            wire_error_set(why, WIRE_E_VALUE, "metadata", "Invalid 'metadata.%s': it must be a "
                           "text, names with commas between them.", ours[i].key);
            e = err_set(ERR_ARG, "DOOR-29", "no text");
        }
    }
    for (size_t i = 0; i < a->r.n_meta; i++)
        if (!is_ours(a->r.meta[i].key.at))
            a->r.meta[n++] = a->r.meta[i];
    a->r.n_meta = n;
    return e;
}

bool label_strip(struct ask *a, json_t *body)
{
    json_t *meta = json_object_get(body, "metadata");

    (void)a;
    for (size_t i = 0; i < N_OURS; i++)
        json_object_del(meta, ours[i].key);
    if (json_is_object(meta) && !json_object_size(meta))
        json_object_del(body, "metadata");
    return true;
}

/* Every line of the head counts: a proxy may have added one. */
static enum err take_head(struct ask *a, const struct head *h, struct wire_error *why)
{
    struct piece p;
    enum err e = OK;

    for (int i = 0; !e && (p = head_find_at(h, "x-croft-labels", i)).at; i++)
        e = take_labels(a, p.at, p.len, why);
    for (int i = 0; !e && (p = head_find_at(h, "x-croft-tags", i)).at; i++)
        e = take_tags(a, p.at, p.len, why);
    return e;
}

enum err label_ask(struct ask *a, const struct head *h, const char *labels,
                   struct wire_error *why)
{
    json_t *body = NULL;
    enum err e = h ? take_head(a, h, why) : OK;

    a->labels |= a->who.labels;
    if (!e && labels)
        e = take_labels(a, labels, strlen(labels), why);
    if (e)
        return e;
    e = json_parse_nul(&body, a->r.body.at, a->r.body.len, WIRE_BODY_BYTES_MAX, "body");
    if (!e && (e = take_meta(a, body, why))) {
        json_decref(body);
        return e;
    }
    if (!e)
        e = scan_body(a, body);
    json_decref(body);
    if (e)
        wire_error_set(why, WIRE_E_NO_MEMORY, NULL, NULL);
    return e;
}

uint32_t label_needs(const struct ask *a)
{
    const struct wire_request *r = &a->r;
    uint32_t needs = r->n_tool ? ACCEPTS_TOOLS : 0;

    for (size_t i = 0; i < r->n_message; i++)
        for (size_t k = 0; k < r->message[i].n_part; k++) {
            enum wire_part_kind kind = r->message[i].part[k].kind;
            needs |= kind == WIRE_PART_IMAGE ? (uint32_t)ACCEPTS_IMAGES
                     : kind == WIRE_PART_CALL ? (uint32_t)ACCEPTS_TOOLS : 0;
        }
    if (r->format.kind == WIRE_FORMAT_SCHEMA)
        needs |= ACCEPTS_SCHEMA;
    if (r->effort != WIRE_EFFORT_UNSET && r->effort != WIRE_EFFORT_NONE)
        needs |= ACCEPTS_REASONING;
    if (wire_dialect_task(a->in) == WIRE_TASK_COMPLETE)
        needs |= ACCEPTS_COMPLETIONS;
    if (wire_dialect_task(a->in) == WIRE_TASK_EMBED)
        needs |= ACCEPTS_EMBEDDINGS;
    return needs;
}
