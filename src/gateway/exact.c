/* exact.c - see exact.h. */
#include "gateway/exact.h"

#include "base/buf.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

static bool of_number(char c)
{
    return c && strchr("+-.0123456789eE", c);
}

/* The same JSON with each number in quotes.  The text is known to be JSON: outside of strings
 * only numbers begin with a digit or a minus. */
static void quote_numbers(struct buf *out, const char *text, size_t len)
{
    bool in_string = false;
    size_t from = 0;

    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            in_string = !in_string;
        } else if (!in_string && (text[i] == '-' || (text[i] >= '0' && text[i] <= '9'))) {
            size_t n = 1;
            while (i + n < len && of_number(text[i + n]))
                n++;
            buf_add(out, text + from, i - from);
            buf_puts(out, "\"=");
            buf_add(out, text + i, n);
            buf_puts(out, "\"");
            i += n - 1;
            from = i + 1;
        }
    }
    buf_add(out, text + from, len - from);
}

enum err exact_json(json_t **out, const char *text, size_t len, size_t max, const char *what)
{
    struct buf quoted = { 0 };
    enum err e = json_parse(out, text, len, max, what);

    json_decref(*out);
    *out = NULL;
    if (e)
        return e;
    quote_numbers(&quoted, text, len);
    e = buf_ok(&quoted);
    if (!e)
        e = json_parse(out, quoted.data, quoted.len, quoted.len, what);
    buf_release(&quoted);
    return e;
}

/* A number's text taken apart: value = 0.DIGITS x 10^point, the first digit not 0. */
struct parts { const char *at, *end; bool negative; char digit[64]; int n; long point; };

/* Digits up to the first other byte; how many there were.  Zeros at the front are not kept, and
 * of digits behind the room's end only where the point stands counts. */
static int take_digits(struct parts *p, bool fraction)
{
    int seen = 0;

    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, seen++) {
        bool kept = p->n || *p->at != '0';
        if (kept && p->n < (int)sizeof(p->digit))
            p->digit[p->n++] = *p->at;
        if (kept && !fraction)
            p->point++;
        else if (!kept && fraction)
            p->point--;
    }
    return seen;
}

static bool take_exponent(struct parts *p)
{
    bool negative;
    long e = 0;
    int seen = 0;

    if (p->at == p->end || (*p->at != 'e' && *p->at != 'E'))
        return true;
    p->at++;
    negative = p->at < p->end && *p->at == '-';
    if (p->at < p->end && (*p->at == '-' || *p->at == '+'))
        p->at++;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, seen++)
        e = e < 100000000 ? 10 * e + (*p->at - '0') : e;
    p->point += negative ? -e : e;
    return seen > 0;
}

static bool take_number(struct parts *p)
{
    int seen;

    p->negative = p->at < p->end && *p->at == '-';
    p->at += p->negative;
    seen = take_digits(p, false);
    if (seen && p->at < p->end && *p->at == '.') {
        p->at++;
        seen = take_digits(p, true);
    }
    return seen && take_exponent(p) && p->at == p->end;
}

enum exact exact_amount(int64_t *out, const char *text, size_t len)
{
    struct parts p = { .at = text, .end = text + len };
    int64_t v = 0;
    bool rounded = false;
    long n;                             /* digits before the point, counted in parts */

    *out = 0;
    if (!take_number(&p))
        return EXACT_NO_NUMBER;
    if (!p.n)
        return EXACT_OK;
    if (p.negative)
        return EXACT_NEGATIVE;
    n = p.point + 12;
    if (n > 19)
        return EXACT_TOO_LARGE;
    for (long i = 0; i < n; i++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, i < p.n ? p.digit[i] - '0' : 0, &v))
            return EXACT_TOO_LARGE;
    for (long i = n > 0 ? n : 0; i < p.n; i++)
        rounded |= p.digit[i] != '0';
    if (n >= 0 && n < p.n && p.digit[n] >= '5' && __builtin_add_overflow(v, 1, &v))
        return EXACT_TOO_LARGE;
    *out = v;
    return !v ? EXACT_TOO_SMALL : rounded ? EXACT_ROUNDED : EXACT_OK;
}

void exact_text(char out[EXACT_TEXT_BYTES], int64_t amount)
{
    uint64_t v = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    size_t n = (size_t)snprintf(out, EXACT_TEXT_BYTES, "%s%llu.%012llu", amount < 0 ? "-" : "",
                                (unsigned long long)(v / EXACT_ONE),
                                (unsigned long long)(v % EXACT_ONE));

    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[n - 1] = '\0';
}
