/* detect_pattern.c - patterns of the configuration over text that strangers send, with a bound.
 *
 * text/regex.h counts every move of the matcher, so no text makes a pattern run without end. */
#include "gateway/detect.h"

#include "text/regex.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

struct pattern { struct regex *regex; };

/* Does it match at all?  LIMIT: it did too much. */
static enum err run(const struct pattern *p, const char *text, size_t len, bool *found)
{
    struct regex_scan scan = { 0 };
    struct regex_run work;
    enum err e = regex_run_init(&work, 0);

    *found = false;
    if (e)
        return e;
    work.steps_max = PATTERN_STEPS + (uint64_t)PATTERN_STEPS_PER_BYTE * len;
    e = regex_next(p->regex, &work, text, len, &scan, found);
    regex_run_release(&work);
    return e;
}

enum err pattern_new(struct pattern **out, const char *text, size_t len)
{
    struct pattern *p;
    bool found;
    enum err e;

    *out = NULL;
    if (len > PATTERN_BYTES_MAX)
        return err_set(ERR_LIMIT, "GDET-01", "a pattern of %zu bytes; at most %d are read", len,
                       PATTERN_BYTES_MAX);
    if (utf8_check(text, len) != len || strstr(text, "\\C") || strstr(text, "(*") ||
        strstr(text, "(?C"))
        return err_set(ERR_FORMAT, "GDET-02", "\\C, (*...) and (?C...) are not taken, nor what is "
                       "not UTF-8; write the pattern without them");
    if (!(p = calloc(1, sizeof(*p))))
        return err_set(ERR_NOMEM, "GDET-03", "no memory for a pattern");
    e = regex_new(&p->regex, REGEX_COUNTED, text, len, "pattern");
    if (!e)
        e = run(p, "", 0, &found);
    if (!e && found)
        e = err_set(ERR_FORMAT, "GDET-04", "the pattern matches the empty text, so every text; "
                    "let it ask for a character");
    if (e)
        pattern_free(p);
    else
        *out = p;
    return e;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    regex_free(p->regex);
    free(p);
}

enum err pattern_found(const struct pattern *p, const char *text, size_t len, bool *found)
{
    enum err e;

    *found = true;
    if (utf8_check(text, len) != len)
        return OK;
    e = run(p, text, len, found);
    if (!e || e == ERR_NOMEM)
        return e;
    *found = true;
    return OK;
}
