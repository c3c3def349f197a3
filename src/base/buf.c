/* buf.c - see buf.h.  Growth is by half, so n appends cost O(n) bytes of copying. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and the NUL. */
static bool reserve(struct buf *b, size_t more)
{
    size_t need;

    if (b->broken || __builtin_add_overflow(b->len + 1, more, &need)) {
        b->broken = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    size_t cap = need + need / 2;
    char *data = cap >= need ? realloc(b->data, cap) : NULL;
    if (!data) {
        b->broken = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    if (reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_cut(struct buf *b, size_t len)
{
    ASSERT(len <= b->len);
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

const char *buf_text(const struct buf *b)
{
    return b->data ? b->data : "";
}

enum err buf_ok(const struct buf *b)
{
    return b->broken ? err_set(ERR_NOMEM, "BUF-01", "out of memory while building a text of %zu "
                               "bytes; close other programs and try again", b->len) : OK;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ 0 };
}
