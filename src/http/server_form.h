/* server_form.h - what the files of the server share: server.c, listen.c, tls.c, conn.c, call.c.
 *
 *                  .--------- reply ended, connection kept ---------.
 *                  v                                                |
 *   accept --> CONN_HEAD --> CONN_BODY --> CONN_CALL ---------------+
 *                  |  refused    |             | reply ended, last  |
 *                  '-------------+-------------'--> CONN_CLOSING    |
 *                                                  flushed |        |
 *   CONN_DEAD <-- EOF, error, a deadline <-- CONN_LINGER <-'        |
 *
 * Callbacks are deferred by libevent, so that nothing runs inside a write.  A connection is
 * freed by
 * the reaper alone, on a turn of its own: conn_kill may be called from anywhere. */
#ifndef HTTP_SERVER_FORM_H
#define HTTP_SERVER_FORM_H

#include "http/chunked.h"
#include "http/loop_form.h"
#include "http/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>

enum { LISTENERS_MAX = 16, SIGNALS_MAX = 8, CALL_ID_MAX = 64, CALL_KEY_MAX = 64, PEER_BYTES = 64,
       CONN_OVER_MAX = 32, INPUT_MAX = 65536, UNSENT_MAX = 65536 };

enum conn_state { CONN_HEAD, CONN_BODY, CONN_CALL, CONN_CLOSING, CONN_LINGER, CONN_DEAD };

struct call {
    struct head head;
    struct chunked chunked;
    struct buf body, fields;            /* of the request; of the reply */
    struct route_match match;
    struct call_watch watch;
    const char *beat;
    char id[CALL_ID_MAX + 1], key[CALL_KEY_MAX + 1], peer[PEER_BYTES];
    int status;
    bool begun, loopback;               /* a byte of the request arrived; from this machine */
    bool streaming, chunk, no_body;     /* the reply: began; in chunks; to HEAD */
    bool full, last;                    /* call_write said false; the connection ends with it */
    double began;
    int64_t began_unix_ms;
    uint64_t body_left, bytes_in, sent_before;
};

struct conn {
    struct call call;                   /* first: a call is its connection */
    struct server *s;
    struct conn *next, *prev;
    struct bufferevent *bev;
    struct event *timer;
    enum conn_state state;
    double read_due, write_due, beat_due, timer_at;     /* on clock_s(); 0: none */
    uint64_t sent;                      /* bytes that left */
    char peer[PEER_BYTES];
    bool loopback, over, doomed, held, unix_socket;     /* held: not read from now */
};

struct listener {
    struct server *s;
    struct evconnlistener *ev;
    char *path;                         /* of a unix socket */
    int port;
    bool tls;
};

struct posted { void (*fn)(void *arg); void *arg; };
struct on_signal { struct event *ev; void (*fn)(void *arg); void *arg; };

struct server {
    struct server_options o;
    struct event_base *base;
    struct loop loop;                   /* the same, for others */
    struct event *reaper, *wake, *retry;
    struct conn *conns, *graves;
    int n_conn;
    size_t body_bytes, output_bytes;    /* of all connections: bodies kept, output that waits */
    struct listener listener[LISTENERS_MAX];
    int n_listener;
    struct on_signal signal[SIGNALS_MAX];
    int n_signal;
    void *tls;                          /* SSL_CTX; NULL without */
    bool draining, stopped;
    pthread_mutex_t lock;               /* of the four below */
    struct posted *queue;
    int queue_at, queue_n;
    int wake_fd;
};

/* Take over a socket; on failure it is closed. */
void conn_accept(struct listener *l, evutil_socket_t fd, const struct sockaddr *from);
void conn_kill(struct conn *c, enum call_gone why, const char *end);
void conn_free(struct conn *c);         /* by the reaper */
void conn_arm(struct conn *c);          /* the timer follows the deadlines */

/* The reply has been queued whole: log it, and go on to the next request or to the end. */
void conn_finish(struct conn *c);

/* End the connection on a later turn of the loop, so that nothing is called back inside a write.
 * */
void conn_doom(struct conn *c);

/* More output waits than all may have: end who has most of it, on a later turn. */
void conn_shed(struct server *s);

/* Nothing of the request is in progress and nothing waits to be written. */
bool conn_idle(const struct conn *c);

/* route_find() with the table of the options. */
static inline enum fault conn_route(struct conn *c, struct buf *allow)
{
    const struct server_options *o = &c->s->o;
    return route_find(&c->call.match, allow, o->route, o->n_route, o->base_path, &c->call.head);
}

/* A connection with TLS on it, or NULL. */
struct bufferevent *tls_accept(struct server *s, evutil_socket_t fd);
/* Tell the other side that nothing follows; without TLS nothing is done. */
void tls_close(struct bufferevent *bev);
void tls_free(struct server *s);

void listen_close_all(struct server *s);
bool listen_is_loopback(const struct sockaddr *a);

static inline struct conn *conn_of(const struct call *c)
{
    return (struct conn *)(uintptr_t)c;
}

#endif
