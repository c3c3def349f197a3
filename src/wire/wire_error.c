/* wire_error.c - the catalogue of errors, and the sentences around it. */
#include "wire/form.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum retry { NO, LATER };

static const struct { int status; enum retry retry; } errors[] = {
#define ERROR(id, status, type, code, retry) [WIRE_E_##id] = { status, retry },
#include "wire/error.def"
#undef ERROR
};

/* What is said where the place that refuses has nothing to add. */
static const char *plain_text(enum wire_code code)
{
    switch (code) {
    case WIRE_E_NO_KEY:     return "You did not provide an API key: send it as `Authorization: "
                                   "Bearer KEY`.";
    case WIRE_E_BAD_KEY:    return "The API key is not valid.";
    case WIRE_E_FORBIDDEN:  return "The API key may not use this.";
    case WIRE_E_SLOW:       return "The request did not arrive in time.";
    case WIRE_E_MEDIA_TYPE: return "The body must be JSON, not compressed.";
    case WIRE_E_QUEUE_FULL: return "The server has as many requests as it can hold; try again.";
    case WIRE_E_NOT_READY:  return "The server is not ready; try again.";
    case WIRE_E_NO_MEMORY:  return "The server has no memory for this request; try again.";
    case WIRE_E_DEADLINE:   return "The answer did not come in time.";
    case WIRE_E_SERVER:     return "The server had an error while answering; try again.";
    default:                return "The request cannot be answered.";
    }
}

static void vset(struct wire_error *why, enum wire_code code, const char *param, const char *fmt,
                 va_list args)
{
    *why = (struct wire_error){ .code = code };
    snprintf(why->param, sizeof(why->param), "%s", param ? param : "");
    if (fmt)
        vsnprintf(why->text, sizeof(why->text), fmt, args);
    else
        snprintf(why->text, sizeof(why->text), "%s", plain_text(code));
}

void wire_error_set(struct wire_error *why, enum wire_code code, const char *param,
                    const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vset(why, code, param, fmt, args);
    va_end(args);
}

enum err wire_refuse(struct wire_error *why, enum wire_code code, const char *param,
                     const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vset(why, code, param, fmt, args);
    va_end(args);
    return err_set(ERR_ARG, "WIRE-02", "%s", why->text);
}

enum err wire_wrong_type(struct wire_error *why, const char *param, const char *want,
                         const json_t *got)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a decimal number", [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean", [JSON_NULL] = "null",
    };

    return wire_refuse(why, WIRE_E_TYPE, param, "Invalid type for '%s': expected %s, but got %s "
                       "instead.", *param ? param : "body", want, names[json_typeof(got)]);
}

enum err wire_too_long(struct wire_error *why, const char *param, double hi, size_t len)
{
    return wire_refuse(why, WIRE_E_STR_LONG, param, "Invalid '%s': string too long. Expected a "
                       "string with maximum length %.0f, but got a string with length %zu instead.",
                       param, hi, len);
}

enum err wire_too_many(struct wire_error *why, const char *param, double hi, size_t n)
{
    return wire_refuse(why, WIRE_E_LIST_LONG, param, "Invalid '%s': array too long. Expected an "
                       "array with maximum length %.0f, but got an array with length %zu instead.",
                       param, hi, n);
}

void wire_error_context(struct wire_error *why, const char *param, int64_t n_ctx, int64_t n_prompt)
{
    wire_error_set(why, WIRE_E_CONTEXT, param, "This model's maximum context length is %lld "
                   "tokens. However, your messages resulted in %lld tokens. Please reduce the "
                   "length of the messages.", (long long)n_ctx, (long long)n_prompt);
}

/* The first two numbers that stand by themselves. */
static int numbers_of(const char *text, long long n[2])
{
    int found = 0;

    for (const char *at = text; *at && found < 2; at++) {
        size_t len = strspn(at, "0123456789");
        const unsigned char *end = (const unsigned char *)at + len;
        bool part = isalnum(*end) || (*end && strchr("-._", *end) && isalnum(end[1]));
        if (!len)
            continue;
        if ((at == text || at[-1] == ' ' || at[-1] == '(') && len < 16 && !part)
            n[found++] = strtoll(at, NULL, 10);
        at += len - 1;
    }
    return found;
}

void wire_put_error_text(struct buf *out, const struct wire_error *why, enum wire_words words)
{
    static const char *const known[] = { "maximum context length", "prompt is too long" };
    char text[sizeof(why->text) + 64];
    long long n[2] = { 0, 0 };

    if (why->code != WIRE_E_CONTEXT || strstr(why->text, known[words])) {
        wire_put_text(out, why->text);
        return;
    }
    if (numbers_of(why->text, n) == 2 && n[0] != n[1]) {
        long long most = n[0] < n[1] ? n[0] : n[1], had = n[0] < n[1] ? n[1] : n[0];
        if (words == WIRE_WORDS_OPENAI)
            snprintf(text, sizeof(text), "This model's maximum context length is %lld tokens. "
                     "However, your messages resulted in %lld tokens. Please reduce the length "
                     "of the messages.", most, had);
        else
            snprintf(text, sizeof(text), "prompt is too long: %lld tokens > %lld maximum", had,
                     most);
    } else {
        snprintf(text, sizeof(text), words == WIRE_WORDS_OPENAI ? "The maximum context length is "
                 "exceeded: %s" : "prompt is too long: %s", why->text);
    }
    wire_put_text(out, text);
}

int wire_error_status(enum wire_code code)
{
    return errors[code].status;
}

bool wire_error_retry(enum wire_code code)
{
    return errors[code].retry == LATER;
}

void wire_error_write(struct buf *out, const struct wire_dialect *d, const struct wire_error *why)
{
    d->error(out, why);
}
