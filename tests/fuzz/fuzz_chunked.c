/* fuzz_chunked.c - any bytes given as a chunked body: the same body in one piece and byte by
 * byte. */
#include "http/chunked.h"

#include "base/buf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum chunked_result feed(struct buf *body, const char *bytes, size_t size, size_t step,
                                size_t *taken)
{
    enum chunked_result r = CHUNKED_MORE;
    struct chunked c = { 0 };
    size_t used, n_piece;
    const char *piece;

    for (*taken = 0; *taken < size; *taken += used) {
        size_t n = size - *taken < step ? size - *taken : step;
        r = chunked_feed(&c, bytes + *taken, n, &used, &piece, &n_piece);
        ASSERT(used <= n && (r != CHUNKED_MORE || used == n));
        ASSERT(r == CHUNKED_DATA || n_piece == 0);
        if (r == CHUNKED_DATA) {
            ASSERT(n_piece > 0 && piece >= bytes && piece + n_piece <= bytes + size);
            buf_add(body, piece, n_piece);
        } else if (r != CHUNKED_MORE) {
            *taken += used;
            break;
        }
    }
    return r == CHUNKED_DATA ? CHUNKED_MORE : r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf one = { 0 }, many = { 0 };
    size_t taken, taken_many;
    enum chunked_result r = feed(&one, (const char *)data, size, SIZE_MAX, &taken);

    ASSERT(feed(&many, (const char *)data, size, 1, &taken_many) == r && taken == taken_many);
    ASSERT(one.len == many.len && !memcmp(buf_text(&one), buf_text(&many), one.len));
    ASSERT(r != CHUNKED_DONE || !memcmp(data + taken - 4, "\r\n\r\n", 4));
    buf_release(&one);
    buf_release(&many);
    return 0;
}
