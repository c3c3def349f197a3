/* wire_put.c - JSON on its way out: strings that are UTF-8 whatever came in, floats that read back
 * as they were, base64. */
#include "wire/form.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many bytes a character that begins with `first` has, and what its second one may be. */
static size_t shape_of(unsigned char first, unsigned char *lo, unsigned char *hi)
{
    *lo = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *hi = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Unicode's "maximal subpart": as many bytes of a broken character as could have begun one. */
size_t wire_utf8_next(enum wire_utf8 *state, const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;
    unsigned char lo, hi;
    size_t n = shape_of(b[0], &lo, &hi), i = 1;

    while (i < n && i < len && b[i] >= lo && b[i] <= hi) {
        lo = 0x80;
        hi = 0xbf;
        i++;
    }
    *state = n && i == n ? WIRE_UTF8_WHOLE : n && i == len ? WIRE_UTF8_CUT : WIRE_UTF8_BAD;
    return i;
}

static void put_byte(struct buf *out, char c)
{
    static const char *const named[] = { ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",
                                         ['\f'] = "\\f", ['\r'] = "\\r" };
    unsigned char u = (unsigned char)c;

    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if (u < sizeof(named) / sizeof(*named) && named[u])
        buf_puts(out, named[u]);
    else
        buf_printf(out, "\\u%04x", u);
}

void wire_put_string(struct buf *out, const char *bytes, size_t len)
{
    size_t from = 0, at = 0;            /* what lies between them is as it should be */

    buf_puts(out, "\"");
    while (at < len) {
        enum wire_utf8 state;
        size_t n = wire_utf8_next(&state, bytes + at, len - at);
        bool escape = state == WIRE_UTF8_WHOLE &&
                      ((unsigned char)bytes[at] < 0x20 || bytes[at] == 0x7f ||
                       bytes[at] == '"' || bytes[at] == '\\');
        if (state != WIRE_UTF8_WHOLE || escape) {
            buf_add(out, bytes + from, at - from);
            if (escape)
                put_byte(out, bytes[at]);
            else
                buf_puts(out, "\xef\xbf\xbd");
            from = at + n;
        }
        at += n;
    }
    buf_add(out, bytes + from, at - from);
    buf_puts(out, "\"");
}

void wire_put_text(struct buf *out, const char *text)
{
    if (text)
        wire_put_string(out, text, strlen(text));
    else
        buf_puts(out, "null");
}

void wire_put_float(struct buf *out, float x)
{
    char text[32];

    if (!isfinite(x)) {
        buf_puts(out, "-9999.0");
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    for (char *c = text; *c; c++)       /* a locale may write another decimal point */
        if (!strchr("0123456789+-e", *c))
            *c = '.';
    buf_puts(out, text);
    if (!strpbrk(text, ".e"))
        buf_puts(out, ".0");
}

void wire_put_base64(struct buf *out, const void *bytes, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    char four[4];

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
                     (left > 2 ? b[i + 2] : 0);
        for (int k = 0; k < 4; k++)
            four[k] = digit[v >> (18 - 6 * k) & 63];
        if (left < 3)
            four[3] = '=';
        if (left < 2)
            four[2] = '=';
        buf_add(out, four, 4);
    }
}

void wire_put_double(struct buf *out, double x)
{
    char text[40];

    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    for (char *c = text; *c; c++)
        if (!strchr("0123456789+-e", *c))
            *c = '.';
    buf_puts(out, text);
}

void wire_put_comma(struct buf *out)
{
    char last = out->len ? out->data[out->len - 1] : '{';

    if (last != '{' && last != '[' && last != ' ')
        buf_puts(out, ",");
}

void wire_put_key(struct buf *out, const char *key)
{
    wire_put_comma(out);
    buf_printf(out, "\"%s\":", key);
}

void wire_put_arena(struct buf *out, struct wire_text t)
{
    wire_put_string(out, t.at ? t.at : "", t.len);
}

void wire_put_event(struct buf *out, const char *name)
{
    buf_printf(out, "event: %s\ndata: ", name);
}

void wire_put_json(struct buf *out, const json_t *v)
{
    json_write(out, v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}
