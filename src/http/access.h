/* access.h - the access log: a line of JSON per request, without bodies, queries or secrets.
 *
 * Only what struct access_line names is ever written.  Lines wait in a bounded queue for a
 * thread of
 * their own, so that a slow reader of the log never holds up the event loop; what does not fit is
 * dropped and counted, and the next line that fits says how many. */
#ifndef HTTP_ACCESS_H
#define HTTP_ACCESS_H

#include "base/buf.h"

#include <stdint.h>

enum { ACCESS_QUEUE_BYTES = 1 << 20, ACCESS_PATH_MAX = 256 };

/* Texts may be NULL or empty: then they are null in the log.  All are borrowed for the call. */
struct access_line {
    int64_t unix_ms;                    /* when the request's first byte came */
    const char *id, *peer, *method, *route, *key;   /* x-request-id; address; pattern; key's id */
    const char *path;                   /* as sent; cut at '?', '#' and ACCESS_PATH_MAX */
    size_t path_len;
    int status;                         /* 0: the client left before there was one */
    uint64_t bytes_in, bytes_out;       /* body bytes taken, all bytes sent */
    double ms;                          /* from the first byte to the last */
    const char *end;                    /* "done", "client left", "too slow", ... */
};

/* The line as JSON, with its line feed.  Bytes that are not ASCII are written as \u00XX. */
void access_format(struct buf *out, const struct access_line *line);

struct access;

/* Write to a descriptor, which stays yours. */
MUST_CHECK enum err access_open(struct access **out, int fd);
void access_put(struct access *a, const struct access_line *line);

/* Lines dropped so far. */
uint64_t access_dropped(struct access *a);

/* Writes what is queued, as far as the descriptor takes it. */
void access_close(struct access *a);

#endif
