/* chunked.h - a chunked request body, piece by piece, strictly.
 *
 * A size is 1 to 8 hexadecimal digits and CR LF, nothing else: no extension, no sign, no space.
 * After the last chunk comes the empty line: trailers are refused.  No memory beyond the struct.
 * */
#ifndef HTTP_CHUNKED_H
#define HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum chunked_result { CHUNKED_MORE, CHUNKED_DATA, CHUNKED_DONE, CHUNKED_BAD };

/* A zeroed struct is ready. */
struct chunked { uint32_t left; uint8_t state, n_digit; };

/* Take bytes: until some belong to the body (CHUNKED_DATA: *data, *n_data, which lie in bytes),
 * the body ended, or it shows to be malformed.  *used is how many were taken, all with
 * CHUNKED_MORE.  After DATA call again with the rest; after DONE or BAD no more. */
enum chunked_result chunked_feed(struct chunked *c, const char *bytes, size_t len, size_t *used,
                                 const char **data, size_t *n_data);

#endif
