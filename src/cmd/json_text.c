/* json_text.c - see json_text.h. */
#include "cmd/json_text.h"

#include "base/json.h"

#include <utf8proc.h>

json_t *json_text(const char *bytes, size_t len)
{
    struct buf clean = { 0 };
    json_t *value = NULL;

    for (size_t at = 0; at < len;) {
        utf8proc_int32_t c;
        size_t left = len - at < 4 ? len - at : 4;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)bytes + at,
                                              (utf8proc_ssize_t)left, &c);
        if (n > 0)
            buf_add(&clean, bytes + at, (size_t)n);
        else
            buf_puts(&clean, "\xef\xbf\xbd");
        at += n > 0 ? (size_t)n : 1;
    }
    if (!clean.broken)
        value = json_stringn(buf_text(&clean), clean.len);
    buf_release(&clean);
    return value;
}

enum err json_put(struct buf *out, json_t *value, bool compact)
{
    json_write(out, value, JSON_ENCODE_ANY | (compact ? JSON_COMPACT : JSON_INDENT(2)));
    json_decref(value);
    if (out->broken)
        return err_set(ERR_NOMEM, "CMD-13", "out of memory while writing JSON; close other "
                       "programs and try again");
    if (!compact)
        buf_puts(out, "\n");
    return buf_ok(out);
}
