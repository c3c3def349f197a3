/* buf.h - a growing byte buffer that is always NUL-terminated: text being built.
 *
 * A zeroed struct is an empty buffer.  Appending never fails in the middle: when memory runs
 * out the buffer turns `broken`, later appends do nothing, and buf_ok() reports it once. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buf { char *data; size_t len, cap; bool broken; };

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Keep the first `len` bytes; len is at most b->len. */
void buf_cut(struct buf *b, size_t len);

/* The text so far, never NULL.  Borrowed until the next call on the buffer. */
const char *buf_text(const struct buf *b);

/* OK, or ERR_NOMEM when an append was lost. */
MUST_CHECK enum err buf_ok(const struct buf *b);

/* Free the memory; the struct is an empty buffer again. */
void buf_release(struct buf *b);

#endif
