/* fuzz_sse.c - any bytes given as a stream of events: the same events in one piece and byte by
 * byte. */
#include "http/sse.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 64 };

static enum sse_result feed(struct buf *all, const char *bytes, size_t size, size_t step)
{
    struct sse_reader r = { .max = MAX };
    enum sse_result e = SSE_MORE;
    size_t used;

    for (size_t at = 0; at < size && e != SSE_TOO_LONG; at += used) {
        size_t n = size - at < step ? size - at : step;
        e = sse_feed(&r, bytes + at, n, &used);
        ASSERT(e != SSE_NO_MEMORY && used <= n && (e != SSE_MORE || used == n));
        ASSERT(r.line.len <= MAX && r.data.len <= MAX && r.name.len <= MAX);
        if (e == SSE_EVENT) {
            buf_add(all, buf_text(&r.name), r.name.len + 1);
            buf_add(all, buf_text(&r.data), r.data.len + 1);
        }
        if (e == SSE_TOO_LONG)
            break;
    }
    sse_release(&r);
    return e == SSE_EVENT ? SSE_MORE : e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf one = { 0 }, many = { 0 };
    enum sse_result e = feed(&one, (const char *)data, size, SIZE_MAX);

    ASSERT(feed(&many, (const char *)data, size, 1) == e);
    ASSERT(one.len == many.len && !memcmp(buf_text(&one), buf_text(&many), one.len));
    buf_release(&one);
    buf_release(&many);
    return 0;
}
