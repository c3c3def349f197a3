/* server.h - a server of HTTP/1.1: listeners, connections, limits, draining.
 *
 * One thread runs the event loop (server_run) and every handler.  Only server_post may be called
 * from another.  Everything is bounded: connections, heads, bodies (each and together), output
 * that
 * waits; every wait has a deadline that bytes arriving slowly do not postpone. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http/access.h"
#include "http/call.h"
#include "http/loop.h"
#include "http/route.h"

struct server;

/* Zero means the default, which stands behind each. */
struct server_limits {
    int conn_max;                       /* 4096, or what the descriptors of the process allow; a
                                           few more are told 503, the rest are closed */
    int idle_ms, head_ms, body_ms;      /* 75 s between requests, 10 s a head, 30 s a body ... */
    int write_ms;                       /* 30 s of output that waits ... */
    int rate_min;                       /* ... each a second more per this many bytes: 1024 */
    int beat_ms, linger_ms;             /* 10 s; 2 s to read what a refused client still sends */
    size_t output_high, output_max;     /* 24 KiB: call_write says false; 256 KiB: cut off */
    size_t output_total_max;            /* 256 MiB that wait in all: cut off who has most */
    size_t body_total_max;              /* 256 MiB of bodies that are being received or handled */
    int post_max;                       /* 4096 events of other threads that wait */
};

struct server_options {
    const struct route *route;          /* borrowed while the server lives */
    int n_route;
    void *arg;                          /* handed to handlers and to the functions below */

    /* FAULT_none when the request may use its route (whose auth is not 0), or why not; the head is
     * there, the body is not.  Without this function no route may have another auth than 0, and
     * addresses beyond this machine are refused. */
    enum fault (*authorise)(void *arg, struct call *c, int auth);

    /* The body of a refusal, and its type; NULL: {"error": {"code", "message", "request_id"}}. */
    void (*refusal)(void *arg, const struct call *c, enum fault f, struct buf *body,
                    const char **type);

    struct access *access;              /* borrowed; NULL: no log */
    const char *const *host;            /* names that Host may have beside addresses, localhost */
    int n_host;
    bool any_host;                      /* no check of Host */
    const char *base_path;              /* "/croft": before every route's path; NULL: nothing */
    const char *const *proxy;           /* addresses (or "unix") trusted in X-Forwarded-For */
    int n_proxy;
    const char *const *origin;          /* pages beside our own: "https://a.example", or "*" */
    int n_origin;
    struct server_limits limits;
};

/* Errors: NOMEM, ARG (a route that nobody could authorise). */
MUST_CHECK enum err server_new(struct server **out, const struct server_options *o);

/* Watches get GONE_SERVER, and what was posted and waits is run.  No thread may post any more. */
void server_free(struct server *s);

/* Listen on every address of a host ("127.0.0.1", "::1", "localhost"); port 0 is any.  With `tls`
 * server_tls must have been called.  Errors: ARG, IO (with what to do), NOMEM, LIMIT. */
MUST_CHECK enum err server_listen(struct server *s, const char *host, int port, bool tls);

/* Listen on a socket in the file system, for its owner (mode 600); removed by server_free. */
MUST_CHECK enum err server_listen_unix(struct server *s, const char *path);

/* The port of the i-th listening socket, in the order they were made; -1: there is none. */
int server_port(const struct server *s, int i);

/* Certificate chain and key (PEM), for connections from now on; again to change them, also while
 * the server runs.  On failure what was there stays.  Errors: MISSING, ARG, NOMEM. */
MUST_CHECK enum err server_tls(struct server *s, const char *cert, const char *key);

/* Run `fn` on the loop's thread.  From any thread.  ERR_BUSY: post_max wait already. */
MUST_CHECK enum err server_post(struct server *s, void (*fn)(void *arg), void *arg);

/* Call `fn` on the loop's thread when the signal comes.  Errors: NOMEM, LIMIT. */
MUST_CHECK enum err server_on_signal(struct server *s, int signo, void (*fn)(void *arg),
                                     void *arg);

/* Until server_stop, or until server_drain has seen the last connection off.  Errors: IO. */
MUST_CHECK enum err server_run(struct server *s);

/* Take no more connections, end idle ones, let replies finish; then server_run returns. */
void server_drain(struct server *s);

/* Cut everything now: watches get GONE_SERVER. */
void server_stop(struct server *s);

/* The loop that server_run() runs, for timers and clients on it, which must be freed before the
 * server.  Borrowed while the server lives; loop_run() and loop_free() are not for it. */
struct loop *server_loop(struct server *s);

/* The version of libevent. */
const char *server_library(void);

/* Connections that are open, for metrics. */
int server_connections(const struct server *s);

#endif
