/* json.h - JSON from outside: size and nesting are checked before jansson sees the text; and JSON
 * written whole or not at all. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* jansson parses and frees by recursion; 64 levels is more than any format here needs. */
enum { JSON_DEPTH_MAX = 64 };

/* Parse one JSON value of `len` bytes, white space around it allowed.  Duplicate keys, invalid
 * UTF-8 and integers beyond 64 bits are refused.  `what` names the text in the error ("x.json").
 * On success *out is yours: json_decref().  Errors: LIMIT (longer than `max`, nested deeper than
 * JSON_DEPTH_MAX), FORMAT (with line and column), NOMEM. */
MUST_CHECK enum err json_parse(json_t **out, const char *text, size_t len, size_t max,
                               const char *what);

/* The same for text that a model wrote: strings may hold U+0000, so read them with their length. */
MUST_CHECK enum err json_parse_nul(json_t **out, const char *text, size_t len, size_t max,
                                   const char *what);

/* An upper bound of the memory the parsed text takes, without that of its strings, in units of
 * about 32 bytes; for text that is not JSON, of what is allocated until that is seen.  A few bytes
 * of text make hundreds of memory ("{},{},"), so a limit on the text alone bounds little. */
size_t json_cost(const char *text, size_t len);

/* Append a value as jansson's flags say; out of memory, or a value that is NULL, breaks `out`.  Not
 * json_dumps(): that loses keys when memory runs out. */
void json_write(struct buf *out, const json_t *value, size_t flags);

/* The same as a string of its own, free() it; NULL: no memory, or a value that is NULL. */
char *json_string_new(const json_t *value, size_t flags);

#endif
