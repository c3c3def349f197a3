/* config.c - reads a configuration: a walk over the text, libcyaml with the schema, the checks.
 *
 * Whatever libcyaml allocates hangs in one list with a bound, so that half-read configurations are
 * freed whole. */
#include "gateway/config_form.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block { struct block *next, *prev; size_t bytes; max_align_t data[]; };
struct config_memory { struct block *first; size_t bytes; bool exhausted; };

static void unlink_block(struct config_memory *m, struct block *b)
{
    if (b->prev)
        b->prev->next = b->next;
    else
        m->first = b->next;
    if (b->next)
        b->next->prev = b->prev;
    m->bytes -= b->bytes;
}

static void *config_mem(void *ctx, void *ptr, size_t bytes)
{
    struct config_memory *m = ctx;
    struct block *old = ptr ? (struct block *)((char *)ptr - offsetof(struct block, data)) : NULL;
    struct block *b;

    if (!bytes) {
        if (old)
            unlink_block(m, old);
        free(old);
        return NULL;
    }
    if (bytes > CONFIG_MEMORY_MAX || m->bytes > CONFIG_MEMORY_MAX - bytes) {
        m->exhausted = true;
        return NULL;
    }
    if (!(b = malloc(sizeof(*b) + bytes)))
        return NULL;
    *b = (struct block){ .next = m->first, .bytes = bytes };
    if (m->first)
        m->first->prev = b;
    m->first = b;
    m->bytes += bytes;
    if (old) {
        memcpy(b->data, old->data, old->bytes < bytes ? old->bytes : bytes);
        unlink_block(m, old);
        free(old);
    }
    return b->data;
}

void config_free(struct config *c)
{
    struct config_memory *m = c ? c->memory : NULL;

    if (!m)
        return;
    for (struct block *b = m->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(m);
}

/* What libcyaml says of an error: a sentence, then where, from the inside out. */
struct said { char what[200], field[100]; unsigned line; };

static void listen_to(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct said *s = ctx;
    char text[400];
    const char *line, *quote;

    (void)level;
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if ((line = strstr(text, "(line: ")) && !s->line)
        s->line = (unsigned)strtoul(line + 7, NULL, 10);
    if ((quote = strstr(text, "in mapping field '")) && !s->field[0])
        snprintf(s->field, sizeof(s->field), "%.*s", (int)strcspn(quote + 18, "'"), quote + 18);
    if (!s->what[0] && !strstr(text, "Backtrace"))
        snprintf(s->what, sizeof(s->what), "%s", strncmp(text, "Load: ", 6) ? text : text + 6);
}

/* The remedy for what libcyaml finds wrong. */
static const char *remedy(cyaml_err_t why)
{
    switch (why) {
    case CYAML_ERR_INVALID_KEY:            return "take it out, or mend its spelling";
    case CYAML_ERR_MAPPING_FIELD_MISSING:  return "add it";
    case CYAML_ERR_INVALID_VALUE:          return "give a word or a number that it takes";
    case CYAML_ERR_STRING_LENGTH_MIN:      return "give it a value, or take it out";
    case CYAML_ERR_SEQUENCE_ENTRIES_MIN:   return "give it an entry, or take it out";
    case CYAML_ERR_STRING_LENGTH_MAX:
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX:   return "make it shorter";
    default:                               return "compare it with what croft gateway init prints";
    }
}

static enum err schema_error(cyaml_err_t why, const struct said *s, const struct config_memory *m,
                             const char *name)
{
    if (m->exhausted)
        return err_set(ERR_LIMIT, "GCONF-17", "%s: takes more than %d MB of memory", name,
                       CONFIG_MEMORY_MAX >> 20);
    if (why == CYAML_ERR_OOM)
        return err_set(ERR_NOMEM, "GCONF-18", "no memory to read %s", name);
    return err_set(ERR_FORMAT, "GCONF-19", "%s:%u: %s%s%s; %s", name, s->line, s->field,
                   s->field[0] ? ": " : "", s->what[0] ? s->what : cyaml_strerror(why),
                   remedy(why));
}

static enum err read_schema(struct config **out, const char *text, size_t len, const char *name)
{
    struct config_memory *m = calloc(1, sizeof(*m));
    struct said said = { .line = 0 };
    cyaml_config_t how = { .log_fn = listen_to, .log_ctx = &said, .log_level = CYAML_LOG_ERROR,
                           .mem_fn = config_mem, .mem_ctx = m, .flags = CYAML_CFG_NO_ALIAS };
    struct config *c = NULL, failed = { .memory = m };
    cyaml_err_t why;
    enum err e;

    if (!m)
        return err_set(ERR_NOMEM, "GCONF-20", "no memory to read %s", name);
    why = cyaml_load_data((const uint8_t *)text, len, &how, &config_schema, (cyaml_data_t **)&c,
                          NULL);
    if (why == CYAML_OK && c) {
        c->memory = m;
        *out = c;
        return OK;
    }
    e = schema_error(why, &said, m, name);
    config_free(&failed);
    return e;
}

enum err config_parse(struct config **out, const char *text, size_t len, const char *name)
{
    struct yaml_places places;
    enum err e;

    *out = NULL;
    if (len > CONFIG_BYTES_MAX)
        return err_set(ERR_LIMIT, "GCONF-21", "%s: %zu bytes; at most %d are read", name, len,
                       CONFIG_BYTES_MAX);
    e = yaml_scan(&places, text, len, name);
    if (!e)
        e = read_schema(out, text, len, name);
    if (!e) {
        struct checking k = { .c = *out, .places = &places, .name = name };
        e = config_check(&k);
        e = e ? e : buf_ok(&k.path);
        buf_release(&k.path);
    }
    yaml_places_release(&places);
    if (e) {
        config_free(*out);
        *out = NULL;
    }
    return e;
}

enum err config_load(struct config **out, const char *path)
{
    char *text;
    size_t len;
    enum err e = file_read_text(&text, &len, path, CONFIG_BYTES_MAX);

    *out = NULL;
    if (e)
        return e;
    e = config_parse(out, text, len, path);
    free(text);
    return e;
}

int config_model_find(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->models_count; i++) {
        if (!strcmp(c->models[i].name, name))
            return (int)i;
        for (unsigned j = 0; j < c->models[i].aliases_count; j++)
            if (!strcmp(c->models[i].aliases[j], name))
                return (int)i;
    }
    return -1;
}

int config_group_find(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->groups_count; i++)
        if (!strcmp(c->groups[i].name, name))
            return (int)i;
    return -1;
}

int config_labels(const struct config *c)
{
    return (int)c->labels_count + (c->unscanned == (int)c->labels_count);
}

const char *config_label_name(const struct config *c, int label)
{
    return label < (int)c->labels_count ? c->labels[label].name : "unscanned";
}

int config_label_find(const struct config *c, const char *name)
{
    for (int i = 0; i < config_labels(c); i++)
        if (!strcmp(config_label_name(c, i), name))
            return i;
    return -1;
}

const char *path_word(enum path_kind kind)
{
    static const char *const word[] = {
#define PATH(id, text, ends) text,
#include "gateway/path.def"
#undef PATH
    };
    return word[kind];
}

const char *attr_word(enum attr attr)
{
    static const char *const word[] = {
#define ATTR(id, text) text,
#include "gateway/attr.def"
#undef ATTR
    };
    return word[attr];
}

const char *sink_word(enum sink sink)
{
    static const char *const word[] = { "log", "trace", "state", "ledger", "client" };
    return word[sink];
}

const char *dialect_word(enum dialect dialect)
{
    static const char *const word[] = { "chat", "responses", "anthropic" };
    return word[dialect];
}
