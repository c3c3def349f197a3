/* err.c - the per-thread error record.  See err.h for the rules. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char text[ERR_TEXT_BYTES];
static _Thread_local const char *text_id = "";

enum err err_set(enum err code, const char *id, const char *fmt, ...)
{
    va_list args;

    ASSERT(code != OK);
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    text_id = id;
    return code;
}

enum err err_wrap(enum err code, const char *fmt, ...)
{
    char what[ERR_TEXT_BYTES], joined[2 * ERR_TEXT_BYTES + 2];
    va_list args;

    ASSERT(code != OK);
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    snprintf(joined, sizeof(joined), "%s: %s", what, text);
    joined[sizeof(text) - 1] = '\0';
    memcpy(text, joined, strlen(joined) + 1);
    return code;
}

const char *err_text(void)
{
    return text;
}

const char *err_id(void)
{
    return text_id;
}

void err_save(struct err_record *out, enum err code)
{
    out->code = code;
    out->id = text_id;
    memcpy(out->text, text, sizeof(text));
}

enum err err_restore(const struct err_record *record)
{
    text_id = record->id;
    memcpy(text, record->text, sizeof(text));
    return record->code;
}

const char *err_name(enum err code)
{
    switch (code) {
    case OK:          return "ok";
    case ERR_NOMEM:   return "nomem";
    case ERR_IO:      return "io";
    case ERR_FORMAT:  return "format";
    case ERR_LIMIT:   return "limit";
    case ERR_ARG:     return "arg";
    case ERR_BUSY:    return "busy";
    case ERR_MISSING: return "missing";
    case ERR_STOPPED: return "stopped";
    case ERR_PIPE:    return "pipe";
    }
    return "unknown";
}

_Noreturn void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
