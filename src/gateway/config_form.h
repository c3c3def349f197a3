/* config_form.h - what the files that read a configuration share. */
#ifndef GATEWAY_CONFIG_FORM_H
#define GATEWAY_CONFIG_FORM_H

#include "base/buf.h"
#include "gateway/config.h"

#include <cyaml/cyaml.h>

/* The schema of the whole file; what it makes is a struct config. */
extern const cyaml_schema_value_t config_schema;

/* Where each value of the file stands: "models[3].upstream" -> a line. */
struct yaml_places {
    struct buf paths;                   /* one after another, each with its NUL */
    uint32_t *at, *line;                /* [n]: offset in paths; line, from 1 */
    uint32_t n, cap;
};

/* Walk the text before libcyaml does: one document, UTF-8, no anchors, aliases, tags or control
 * characters, bounded depth and number of values, no key twice.  `name` is for errors (FORMAT,
 * LIMIT, NOMEM).  `out` is released by yaml_places_release() on every path. */
MUST_CHECK enum err yaml_scan(struct yaml_places *out, const char *text, size_t len,
                              const char *name);
uint32_t yaml_line(const struct yaml_places *p, const char *path);     /* 0: not in the file */
void yaml_places_release(struct yaml_places *p);

/* A configuration being checked, and the value that is looked at, for the error. */
struct checking {
    struct config *c;
    const struct yaml_places *places;
    const char *name;                   /* of the file */
    struct buf path;                    /* "models[3].upstream" */
};

/* The references and values of a configuration that follows the schema. */
MUST_CHECK enum err config_check(struct checking *k);
MUST_CHECK enum err config_check_policy(struct checking *k);
MUST_CHECK enum err config_check_money(struct checking *k);

/* Set the path that errors speak of; then an error begins with "FILE:LINE: PATH: ". */
void check_at(struct checking *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *check_where(struct checking *k);

MUST_CHECK enum err check_name(struct checking *k, const char *name, const char *what);
MUST_CHECK enum err check_secret(struct checking *k, const char *text);

/* "250ms", "30s", "10m", "2h" in milliseconds; "12.5" dollars in 10^-12 dollar. */
bool config_duration(const char *text, int64_t *ms);
bool config_dollars(const char *text, int64_t *picodollars);

#endif
