/* sse.c - see sse.h. */
#include "http/sse.h"

#include <string.h>

void sse_event(struct buf *out, const char *name, const char *data, size_t len)
{
    size_t at = 0;

    if (name) {
        ASSERT(!strpbrk(name, "\r\n"));
        buf_printf(out, "event: %s\n", name);
    }
    do {
        size_t n = 0;
        while (at + n < len && data[at + n] != '\n' && data[at + n] != '\r')
            n++;
        buf_puts(out, "data: ");
        buf_add(out, data + at, n);
        buf_puts(out, "\n");
        at += n + 1;
        if (at < len && data[at - 1] == '\r' && data[at] == '\n')
            at++;
    } while (at <= len && len > 0);
    buf_puts(out, "\n");
}

void sse_comment(struct buf *out, const char *text)
{
    ASSERT(!strpbrk(text, "\r\n"));
    buf_printf(out, ": %s\n\n", text);
}

void sse_release(struct sse_reader *r)
{
    buf_release(&r->line);
    buf_release(&r->name);
    buf_release(&r->data);
}

static void forget_event(struct sse_reader *r)
{
    buf_cut(&r->name, 0);
    buf_cut(&r->data, 0);
    r->has_data = r->ended = false;
}

/* The line as a field: name, and the value after a colon and at most one space. */
static enum sse_result field(struct sse_reader *r)
{
    const char *line = buf_text(&r->line), *value;
    size_t len = r->line.len, n;

    if (!r->not_first && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3))
        line += 3, len -= 3;
    r->not_first = true;
    value = memchr(line, ':', len);
    n = value ? (size_t)(value - line) : len;
    value = value ? value + 1 : line + len;
    if (value < line + len && *value == ' ')
        value++;
    size_t n_value = (size_t)(line + len - value);
    if (n == 5 && !memcmp(line, "event", 5)) {
        buf_cut(&r->name, 0);
        buf_add(&r->name, value, n_value);
    } else if (n == 4 && !memcmp(line, "data", 4)) {
        if (n_value + 1 > r->max - r->data.len)
            return SSE_TOO_LONG;
        if (r->has_data)
            buf_puts(&r->data, "\n");
        buf_add(&r->data, value, n_value);
        r->has_data = true;
    }
    return r->name.broken || r->data.broken ? SSE_NO_MEMORY : SSE_MORE;
}

static enum sse_result line_done(struct sse_reader *r)
{
    bool empty = r->line.len == 0;
    enum sse_result e = SSE_MORE;

    if (!empty) {
        e = field(r);
        buf_cut(&r->line, 0);
        return e;
    }
    r->not_first = true;
    if (!r->has_data) {
        forget_event(r);
        return SSE_MORE;
    }
    r->ended = true;
    return SSE_EVENT;
}

enum sse_result sse_feed(struct sse_reader *r, const char *bytes, size_t len, size_t *used)
{
    enum sse_result e = SSE_MORE;

    ASSERT(r->max > 0);
    if (r->ended)
        forget_event(r);
    for (*used = 0; *used < len && e == SSE_MORE;) {
        const char *at = bytes + *used;
        size_t n = 0, room = len - *used;
        if (r->cr && *at == '\n') {
            r->cr = false;
            ++*used;
            continue;
        }
        r->cr = false;
        while (n < room && at[n] != '\r' && at[n] != '\n')
            n++;
        if (n > r->max - r->line.len)
            return SSE_TOO_LONG;
        buf_add(&r->line, at, n);
        if (r->line.broken)
            return SSE_NO_MEMORY;
        *used += n;
        if (n == room)
            break;
        r->cr = at[n] == '\r';
        ++*used;
        e = line_done(r);
    }
    return e;
}
