/* json_text.h - the commands' --json output: jansson values made from bytes that may be wrong. */
#ifndef CMD_JSON_TEXT_H
#define CMD_JSON_TEXT_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* A string of any bytes: those that are not UTF-8 become U+FFFD.  NULL without memory. */
json_t *json_text(const char *bytes, size_t len);

/* Append a value as text, indented unless `compact`; the value is taken, NULL allowed (it counts
 * as out of memory).  Errors: NOMEM. */
MUST_CHECK enum err json_put(struct buf *out, json_t *value, bool compact);

#endif
