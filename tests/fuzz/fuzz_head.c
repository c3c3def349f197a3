/* fuzz_head.c - any bytes given as a request head: the same verdict in one piece and byte by
 * byte, and
 * what is taken keeps its promises. */
#include "http/head.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum head_result feed(struct head *h, const char *bytes, size_t size, size_t step,
                             size_t *taken)
{
    enum head_result r = HEAD_MORE;
    size_t used;

    for (*taken = 0; *taken < size && r == HEAD_MORE; *taken += used) {
        size_t n = size - *taken < step ? size - *taken : step;
        r = head_feed(h, bytes + *taken, n, &used);
        ASSERT(used <= n && (r != HEAD_MORE || used == n));
    }
    return r;
}

static void check_taken(const struct head *h, const char *bytes, size_t taken)
{
    struct piece host = head_host(h);

    ASSERT(taken >= 4 && !memcmp(bytes + taken - 4, "\r\n\r\n", 4));
    ASSERT(h->text.len <= HEAD_BYTES_MAX && h->n_field <= HEAD_FIELDS_MAX);
    ASSERT(!(h->chunked && h->has_length) && (h->minor == 0 || host.len));
    ASSERT(h->any_method_target ? h->n_segment == 0 : head_target(h).len > 0);
    for (size_t i = 0; i < taken; i++)
        ASSERT(bytes[i] != '\n' || (i > 0 && bytes[i - 1] == '\r'));
    for (int i = 0; i < h->n_segment; i++) {
        struct piece s = head_segment(h, i);
        ASSERT(s.len > 0 && !piece_is(s, ".") && !piece_is(s, ".."));
        for (size_t k = 0; k < s.len; k++)
            ASSERT((unsigned char)s.at[k] >= ' ' && s.at[k] != 0x7f && s.at[k] != '\\');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct head one = { 0 }, many = { 0 };
    size_t taken, taken_many;
    enum head_result r = feed(&one, bytes, size, SIZE_MAX, &taken);

    ASSERT(feed(&many, bytes, size, 1, &taken_many) == r && one.fault == many.fault);
    if (r == HEAD_DONE) {
        ASSERT(taken == taken_many && one.n_segment == many.n_segment);
        check_taken(&one, bytes, taken);
    }
    ASSERT((r == HEAD_REFUSED) == (one.fault != FAULT_none));
    head_release(&one);
    head_release(&many);
    return 0;
}
