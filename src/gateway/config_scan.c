/* config_scan.c - a walk over a YAML text before it is read: where each value stands, and whether
 * anything is in it that a configuration does not need.
 *
 * libcyaml knows no lines once it has read, takes the last of two equal keys, and ends a text at a
 * NUL.  All of that is found here, event by event, with a stack of our own. */
#include "base/ck.h"
#include "gateway/config_form.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 12, VALUES_MAX = 1 << 16, KEYS_MAX = 64 };

struct level {
    bool mapping, value_next;           /* value_next: the key was read */
    size_t path_len;
    uint32_t n;                         /* entries so far */
    uint32_t key[KEYS_MAX];             /* of a mapping: places */
};

struct scan {
    struct yaml_places *out;
    const char *name;
    struct buf path;
    struct level level[DEPTH_MAX];
    int depth, documents;
};

static int line_of(const yaml_mark_t *mark)
{
    return mark->line < INT32_MAX ? (int)mark->line + 1 : INT32_MAX;
}

static enum err note_place(struct scan *s, int line)
{
    struct yaml_places *p = s->out;

    if (p->n == VALUES_MAX)
        return err_set(ERR_LIMIT, "GCONF-01", "%s:%d: more than %d values; a configuration this "
                       "large is not read", s->name, line, VALUES_MAX);
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 256;
        uint32_t *at = realloc(p->at, cap * sizeof(*at));
        p->at = at ? at : p->at;
        uint32_t *lines = at ? realloc(p->line, cap * sizeof(*lines)) : NULL;
        if (!lines)
            return err_set(ERR_NOMEM, "GCONF-02", "no memory to read %s", s->name);
        p->line = lines;
        p->cap = cap;
    }
    p->at[p->n] = (uint32_t)p->paths.len;
    p->line[p->n++] = (uint32_t)line;
    buf_add(&p->paths, buf_text(&s->path), s->path.len + 1);
    return buf_ok(&p->paths) ? ERR_NOMEM : buf_ok(&s->path);
}

/* A value begins: in a sequence it gets its index as the end of its path. */
static enum err begin_value(struct scan *s, int line)
{
    struct level *l = s->depth ? &s->level[s->depth - 1] : NULL;

    if (l && !l->mapping) {
        buf_cut(&s->path, l->path_len);
        buf_printf(&s->path, "[%u]", l->n++);
        return note_place(s, line);
    }
    if (l && !l->value_next)
        return err_set(ERR_FORMAT, "GCONF-03", "%s:%d: a key of a mapping is a word", s->name,
                       line);
    if (l)
        l->value_next = false;
    return OK;
}

static enum err begin_key(struct scan *s, struct level *l, const char *text, int line)
{
    const struct yaml_places *p = s->out;
    enum err e;

    buf_cut(&s->path, l->path_len);
    buf_printf(&s->path, "%s%.*s", l->path_len ? "." : "", CONFIG_NAME_MAX, text);
    for (uint32_t i = 0; i < l->n; i++)
        if (!strcmp(p->paths.data + p->at[l->key[i]], buf_text(&s->path)))
            return err_set(ERR_FORMAT, "GCONF-04", "%s:%d: %s is there already, in line %u; keep "
                           "one", s->name, line, buf_text(&s->path), p->line[l->key[i]]);
    if (l->n == KEYS_MAX)
        return err_set(ERR_LIMIT, "GCONF-05", "%s:%d: more than %d keys in one mapping", s->name,
                       line, KEYS_MAX);
    l->key[l->n++] = p->n;
    if ((e = note_place(s, line)))
        return e;
    l->value_next = true;
    return OK;
}

static enum err scalar(struct scan *s, const yaml_event_t *event, int line)
{
    struct level *l = s->depth ? &s->level[s->depth - 1] : NULL;
    const char *text = (const char *)event->data.scalar.value;

    for (size_t i = 0; i < event->data.scalar.length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return err_set(ERR_FORMAT, "GCONF-06", "%s:%d: a control character (0x%02x) in a "
                           "value; take it out", s->name, line, (unsigned char)text[i]);
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return err_set(ERR_FORMAT, "GCONF-07", "%s:%d: anchors and tags are not read; write the "
                       "value itself, in quotes where it begins with & or !", s->name, line);
    return l && l->mapping && !l->value_next ? begin_key(s, l, text, line) : begin_value(s, line);
}

static enum err open_level(struct scan *s, bool mapping, bool marked, int line)
{
    enum err e = begin_value(s, line);

    if (e)
        return e;
    if (marked)
        return err_set(ERR_FORMAT, "GCONF-08", "%s:%d: anchors and tags are not read; write the "
                       "value itself", s->name, line);
    if (s->depth == DEPTH_MAX)
        return err_set(ERR_LIMIT, "GCONF-09", "%s:%d: nested deeper than %d levels", s->name, line,
                       DEPTH_MAX);
    struct level *l = &s->level[s->depth++];
    l->mapping = mapping;
    l->value_next = false;
    l->path_len = s->path.len;
    l->n = 0;
    return OK;
}

static enum err one_event(struct scan *s, const yaml_event_t *event)
{
    int line = line_of(&event->start_mark);

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (s->documents++)
            return err_set(ERR_FORMAT, "GCONF-10", "%s:%d: a second document; one file is one "
                           "configuration", s->name, line);
        return OK;
    case YAML_ALIAS_EVENT:
        return err_set(ERR_FORMAT, "GCONF-11", "%s:%d: aliases (*name) are not read; write the "
                       "value again", s->name, line);
    case YAML_SCALAR_EVENT:
        return scalar(s, event, line);
    case YAML_MAPPING_START_EVENT:
        return open_level(s, true, event->data.mapping_start.anchor ||
                          event->data.mapping_start.tag, line);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(s, false, event->data.sequence_start.anchor ||
                          event->data.sequence_start.tag, line);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        s->depth--;
        return OK;
    default:
        return OK;
    }
}

static enum err walk(struct scan *s, yaml_parser_t *parser)
{
    yaml_event_t event;
    enum err e = OK;
    bool end = false;

    while (!e && !end) {
        if (!yaml_parser_parse(parser, &event))
            return parser->error == YAML_MEMORY_ERROR
                ? err_set(ERR_NOMEM, "GCONF-12", "no memory to read %s", s->name)
                : err_set(ERR_FORMAT, "GCONF-13", "%s:%d: not YAML: %s", s->name,
                          line_of(&parser->problem_mark),
                          parser->problem ? parser->problem : "it cannot be read");
        end = event.type == YAML_STREAM_END_EVENT;
        e = one_event(s, &event);
        yaml_event_delete(&event);
    }
    if (!e && !s->documents)
        e = err_set(ERR_FORMAT, "GCONF-14", "%s: is empty; croft gateway init prints one to begin "
                    "with", s->name);
    return e;
}

enum err yaml_scan(struct yaml_places *out, const char *text, size_t len, const char *name)
{
    struct scan *s = calloc(1, sizeof(*s));
    yaml_parser_t parser;
    enum err e;

    *out = (struct yaml_places){ 0 };
    if (!s || !yaml_parser_initialize(&parser)) {
        free(s);
        return err_set(ERR_NOMEM, "GCONF-15", "no memory to read %s", name);
    }
    s->out = out;
    s->name = name;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    e = walk(s, &parser);
    if (e == ERR_NOMEM)
        e = err_set(e, "GCONF-16", "no memory to read %s", name);
    yaml_parser_delete(&parser);
    buf_release(&s->path);
    free(s);
    return e;
}

uint32_t yaml_line(const struct yaml_places *p, const char *path)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (!strcmp(p->paths.data + p->at[i], path))
            return p->line[i];
    return 0;
}

void yaml_places_release(struct yaml_places *p)
{
    buf_release(&p->paths);
    free(p->at);
    free(p->line);
    *p = (struct yaml_places){ 0 };
}
