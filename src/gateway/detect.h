/* detect.h - personal data and secrets in text: what raises labels without being asked.
 *
 * Pure functions of bytes.  A find only ever adds a label.  Something is always missed: a rule for
 * what must not leave names the label that people give, too. */
#ifndef GATEWAY_DETECT_H
#define GATEWAY_DETECT_H

#include "gateway/config.h"

struct find { size_t begin, end; };

/* The first find of a detector that begins at `from` or behind it. */
bool detect_next(enum detector d, const char *text, size_t len, size_t from, struct find *out);

/* Which of the `wanted` detectors find something: bit d. */
uint32_t detect(const char *text, size_t len, uint32_t wanted);

/* A PCRE2 pattern of the configuration, over UTF-8.  Its work is counted; a text that takes more
 * than PATTERN_STEPS and PATTERN_STEPS_PER_BYTE counts as found.  *out is yours: pattern_free().
 * Errors: FORMAT (does not compile, matches the empty text, \C), LIMIT (too long), NOMEM. */
enum { PATTERN_BYTES_MAX = 1024, PATTERN_STEPS = 100000, PATTERN_STEPS_PER_BYTE = 50 };
struct pattern;
MUST_CHECK enum err pattern_new(struct pattern **out, const char *text, size_t len);
void pattern_free(struct pattern *p);

/* Text that is not UTF-8 counts as found.  Errors: NOMEM. */
MUST_CHECK enum err pattern_found(const struct pattern *p, const char *text, size_t len,
                                  bool *found);

/* The finders, one for each line of detector.def; detect_next() is how they are called. */
#define DETECTOR(id, word) \
    bool detect_##id(const char *text, size_t len, size_t from, struct find *out);
#include "gateway/detector.def"
#undef DETECTOR

#endif
