/* chunked.c - see chunked.h.
 *
 *   SIZE --CR--> SIZE_LF --> DATA --all of it--> DATA_CR --> DATA_LF --> SIZE
 *                       \--0--> END_CR --> END_LF --> done
 */
#include "http/chunked.h"

#include "base/hex.h"

enum { SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF, END_CR, END_LF, DIGITS_MAX = 8 };

/* One byte of framing; false when it cannot stand there. */
static int step(struct chunked *c, char byte)
{
    int digit = hex_value(byte);

    switch (c->state) {
    case SIZE:
        if (digit >= 0 && c->n_digit < DIGITS_MAX) {
            c->left = c->left << 4 | (uint32_t)digit;
            c->n_digit++;
            return 1;
        }
        c->state = SIZE_LF;
        return byte == '\r' && c->n_digit > 0;
    case SIZE_LF:
        c->state = c->left ? DATA : END_CR;
        return byte == '\n';
    case DATA_CR:
        c->state = DATA_LF;
        return byte == '\r';
    case DATA_LF:
        *c = (struct chunked){ 0 };
        return byte == '\n';
    case END_CR:
        c->state = END_LF;
        return byte == '\r';
    default:
        return byte == '\n';
    }
}

enum chunked_result chunked_feed(struct chunked *c, const char *bytes, size_t len, size_t *used,
                                 const char **data, size_t *n_data)
{
    *n_data = 0;
    for (*used = 0; *used < len;) {
        if (c->state == DATA) {
            size_t n = len - *used < c->left ? len - *used : c->left;
            *data = bytes + *used;
            *n_data = n;
            *used += n;
            c->left -= (uint32_t)n;
            if (c->left == 0)
                c->state = DATA_CR;
            return CHUNKED_DATA;
        }
        int end = c->state == END_LF;
        if (!step(c, bytes[*used]))
            return CHUNKED_BAD;
        ++*used;
        if (end)
            return CHUNKED_DONE;
    }
    return CHUNKED_MORE;
}
