/* sse.h - server-sent events: frames written, and frames read from bytes as they come.
 *
 * Read as the WHATWG specification says: CR, LF or CR LF end a line, a comment is passed over, an
 * event without data is none, and one that its empty line did not end is lost. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include "base/buf.h"

/* Append one event: "event: NAME" unless name is NULL, a "data: " line for each line of the data,
 * the empty line.  The name holds no line end (ASSERT). */
void sse_event(struct buf *out, const char *name, const char *data, size_t len);

/* Append a comment of one line, which every client passes over: the heartbeat of a stream. */
void sse_comment(struct buf *out, const char *text);

enum sse_result { SSE_MORE, SSE_EVENT, SSE_TOO_LONG, SSE_NO_MEMORY };

/* A zeroed struct but for max is ready. */
struct sse_reader {
    size_t max;                         /* bytes of a line, and of an event's data */
    struct buf line, name, data;        /* of the event: its name ("" is message), its data */
    bool cr, ended, has_data, not_first;
};

/* Take bytes until an event is complete: name and data are then those of the reader, borrowed
 * until the next feed.  *used is how many were taken, all with SSE_MORE.  TOO_LONG and NO_MEMORY
 * are final. */
enum sse_result sse_feed(struct sse_reader *r, const char *bytes, size_t len, size_t *used);
void sse_release(struct sse_reader *r);

#endif
