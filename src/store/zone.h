/* zone.h - time zones, and the calendar periods of budgets in them.
 *
 * Times are UTC, in seconds since 1970.  A zone is a file of the system's database (RFC 8536),
 * read once; nothing here asks the environment or the C library, whose zone is one for all
 * threads. */
#ifndef STORE_ZONE_H
#define STORE_ZONE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { ZONE_FILE_MAX = 1 << 20 };

enum span { SPAN_MINUTE, SPAN_HOUR, SPAN_DAY, SPAN_WEEK, SPAN_MONTH, SPAN_N };

struct zone;

/* "Europe/Berlin"; NULL and "UTC" need no file.  *out is yours: zone_free().
 * Errors: MISSING (there is no such file), FORMAT, NOMEM, LIMIT. */
MUST_CHECK enum err zone_open(struct zone **out, const char *name);
MUST_CHECK enum err zone_parse(struct zone **out, const void *bytes, size_t len, const char *name);
void zone_free(struct zone *z);

/* Seconds that its clocks are ahead of UTC at that time. */
int32_t zone_offset(const struct zone *z, int64_t t);

/* The period that `t` lies in: begin <= t < end.  A day begins with the first moment of its date;
 * weeks begin on Monday.  An hour that clocks show twice is two hours. */
void zone_span(const struct zone *z, enum span span, int64_t t, int64_t *begin, int64_t *end);

#endif
