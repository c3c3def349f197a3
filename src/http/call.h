/* call.h - one request and its reply, as a handler sees it.
 *
 * A handler runs on the event loop's thread when the request is whole.  It replies at once, or
 * keeps
 * the call, sets a watch and replies later, on the same thread: other threads hand over by
 * server_post().  A call is over, and its pointer must not be used again, when call_reply,
 * call_fail, call_end or call_cut return, and when the watch's `gone` is called.
 *
 *   call_reply | call_fail                           the whole reply
 *   call_stream -> call_write* -> call_end           a reply in pieces
 *   call_cut                                         in place of any of them: no more of it
 */
#ifndef HTTP_CALL_H
#define HTTP_CALL_H

#include "http/head.h"

struct call;
struct route;

/* The request.  Borrowed until the call is over. */
const struct head *call_head(const struct call *c);
struct piece call_body(const struct call *c);
struct piece call_param(const struct call *c, int i);   /* what the route's i-th {...} took */
const struct route *call_route(const struct call *c);   /* NULL: none was found */
const char *call_id(const struct call *c);              /* x-request-id, taken or made */
const char *call_peer(const struct call *c);            /* an address without port, or "unix";
                                                           the client's, behind a trusted proxy */
bool call_loopback(const struct call *c);               /* from this machine */

/* The id of the key that was shown, for the log; copied. */
void call_set_key(struct call *c, const char *id);
const char *call_key(const struct call *c);             /* "" without */

enum call_gone { GONE_CLIENT, GONE_SLOW, GONE_SERVER };  /* left; took too little; we stop */
struct call_watch {
    void (*gone)(void *arg, enum call_gone why);        /* the call is over, nothing was ended */
    void (*room)(void *arg);            /* after call_write said false; may be NULL */
    void *arg;
};
void call_watch(struct call *c, const struct call_watch *w);

/* A field of the reply, before it begins.  Name and value hold no control characters (ASSERT). */
void call_header(struct call *c, const char *name, const char *value);

/* What should be said cannot be: end the connection, on a later turn of the loop.  The watch is not
 * called.  The call is over. */
void call_cut(struct call *c);

void call_reply(struct call *c, int status, const char *type, const char *body, size_t len);

/* A refusal of the catalogue, in the form server_options.refusal gives it. */
void call_fail(struct call *c, enum fault f);

/* Begin a reply of unknown length.  `beat` is sent whenever nothing else was for beat_ms (": \n\n"
 * for events, "\n" before JSON; NULL: nothing); a literal. */
void call_stream(struct call *c, int status, const char *type, const char *beat);

/* Queue a piece.  False: enough is queued, wait for `room`.  What is written all the same counts
 * towards output_max, where the client is cut off (gone, GONE_SLOW, on a later turn of the
 * loop). */
bool call_write(struct call *c, const char *bytes, size_t len);
void call_end(struct call *c);

#endif
