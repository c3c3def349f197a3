/* client.h - a client of HTTP/1.1 that asks many servers at once, on one loop.
 *
 * A request is sent with client_send() and tells its story by calls on the loop's thread:
 *
 *   on_head (once, the reply's head is whole) -> on_body or on_event (any number) -> on_end (once)
 *
 * on_end is the last of all, and may come without the others.  None is called inside client_send(),
 * client_pause() or client_resume(); all of these, and client_cancel(), may be called inside any.
 *
 * Nothing is done that was not asked for: no redirects, cookies, netrc or proxies of the
 * environment, no content encodings.  Connections are kept and used again; a request whose kept
 * connection turns out to be closed before any byte of the reply is sent once more, but not a body
 * that is to be sent `once`.  Certificates
 * are always checked.  What a request holds in memory of its reply is bounded: a head of 64 KiB,
 * under 256 KiB of its body, and the event being read (event_max). */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/err.h"
#include "http/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct client_req;

enum { CLIENT_HEAD_MAX = 65536, CLIENT_URL_MAX = 8192 };

/* How a request ended. */
enum client_end {
    CLIENT_OK,                          /* the reply is whole, whatever its status */
    CLIENT_DNS,                         /* no address for the name, or not in time */
    CLIENT_CONNECT,                     /* refused, unreachable, or not in time */
    CLIENT_TLS,                         /* no TLS with it, or a certificate that proves nothing */
    CLIENT_FIRST_BYTE,                  /* connect to whole head took longer than first_byte_ms */
    CLIENT_IDLE,                        /* no byte of the body for idle_ms */
    CLIENT_TOTAL,                       /* all of it took longer than total_ms */
    CLIENT_TOO_LARGE,                   /* the head, the body, or a line or event of a stream */
    CLIENT_CLOSED,                      /* the other side closed before the reply was whole */
    CLIENT_PROTOCOL,                    /* what came is not HTTP */
    CLIENT_CANCELLED,                   /* by client_cancel() or client_free() */
    CLIENT_NOMEM,
    CLIENT_END_COUNT
};

/* "ok", "dns", "connect", "tls", "first_byte", "idle", "total", "too_large", "closed",
 * "protocol", "cancelled", "nomem". */
const char *client_end_name(enum client_end end);

struct client_field { const char *name, *value; };

struct client_ask {
    const char *method;                 /* "GET"; NULL: POST with a body, else GET */
    const char *url;                    /* http://, https://, or a socket in the file system:
                                           http+unix://%2Frun%2Fcroft.sock/v1/models */
    const struct client_field *field;   /* of the request's head, beside Host and the length */
    int n_field;
    const char *body;                   /* borrowed until on_end, the rest is copied; NULL: none */
    size_t body_len;
    bool once;                          /* nobody gets the body twice: CLIENT_CLOSED instead */
    const char *proxy;                  /* http://HOST:PORT; NULL: none */
    const char *ca_file;                /* certificates to trust (PEM); NULL: the system's */
    int connect_ms;                     /* name, connection and TLS: 0 is 10 s */
    int first_byte_ms, idle_ms;         /* 0 is 10 minutes, 2 minutes; idle rests while paused */
    int total_ms;                       /* 0 is an hour */
    uint64_t body_max;                  /* bytes of the reply's body; 0: no bound */
    size_t event_max;                   /* bytes of a line, and of an event's data: 0 is 1 MiB */

    void *arg;                          /* handed to the four below */
    void (*on_head)(void *arg);         /* or NULL */
    void (*on_body)(void *arg, const char *bytes, size_t len);      /* or NULL */

    /* For a reply of text/event-stream in place of on_body; NULL: such a reply is a body too. */
    void (*on_event)(void *arg, const char *name, const char *data, size_t len);
    void (*on_end)(void *arg, enum client_end end);
};

/* Keeps up to `pool_max` connections (0: 256) for the next requests.  The loop is borrowed.  *out
 * is yours: client_free().  Errors: NOMEM. */
MUST_CHECK enum err client_new(struct client **out, struct loop *l, int pool_max);

/* Requests that run are cancelled.  Not inside any call of this header. */
void client_free(struct client *c);

/* *out is borrowed until on_end returns.  Errors: ARG (the URL; a field with a line end: its
 * name, not its value), NOMEM. */
MUST_CHECK enum err client_send(struct client_req **out, struct client *c,
                                const struct client_ask *a);

/* No body or event is handed over from now until client_resume(), and soon nothing is read. */
void client_pause(struct client_req *r);
void client_resume(struct client_req *r);

/* on_end is called inside, with CLIENT_CANCELLED, and nothing after it; the connection is closed.
 * Nothing happens when on_end was called already and has not returned. */
void client_cancel(struct client_req *r);

/* From on_head on, 0 before. */
int client_status(const struct client_req *r);

/* The value of the reply's first field of that name (lower case), or NULL.  From on_head on. */
const char *client_reply_field(const struct client_req *r, const char *name);

/* How long the reply asks to wait before the next try, by retry-after-ms or Retry-After (seconds or
 * a date), at most a day, in milliseconds; -1: it does not say. */
int64_t client_retry_after_ms(const struct client_req *r);

/* Why it ended, as one sentence without anything of the request but its host.  Inside on_end. */
const char *client_reason(const struct client_req *r);

/* The version of libcurl. */
const char *client_library(void);

#endif
