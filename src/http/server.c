/* server.c - see server.h: the loop, what other threads hand in, draining, the reaper. */
#include "http/server_form.h"

#include "base/term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors for all else; connections where the process has few. */
enum { CONN_MANY = 4096, CONN_SPARE = 128, CONN_FEW = 64 };

/* Connections that the process can have, with as many descriptors as it is allowed. */
static int conn_room(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r))
        return CONN_FEW;
    if (r.rlim_cur < r.rlim_max && r.rlim_cur < CONN_MANY + CONN_SPARE) {
        r.rlim_cur = r.rlim_max < CONN_MANY + CONN_SPARE ? r.rlim_max : CONN_MANY + CONN_SPARE;
        if (setrlimit(RLIMIT_NOFILE, &r) || getrlimit(RLIMIT_NOFILE, &r))
            return CONN_FEW;
    }
    if (r.rlim_cur >= CONN_MANY + CONN_SPARE)
        return CONN_MANY;
    return r.rlim_cur > CONN_FEW + CONN_SPARE ? (int)r.rlim_cur - CONN_SPARE : CONN_FEW;
}

static void set_defaults(struct server_limits *l)
{
    static const struct server_limits usual = {
        .idle_ms = 75000, .head_ms = 10000, .body_ms = 30000, .write_ms = 30000,
        .rate_min = 1024, .beat_ms = 10000, .linger_ms = 2000, .output_high = 24 << 10,
        .output_max = 256 << 10, .output_total_max = (size_t)256 << 20,
        .body_total_max = (size_t)256 << 20, .post_max = 4096,
    };
#define USUAL(field) l->field = l->field ? l->field : usual.field
    l->conn_max = l->conn_max ? l->conn_max : conn_room();
    USUAL(idle_ms);
    USUAL(head_ms);
    USUAL(body_ms);
    USUAL(write_ms);
    USUAL(rate_min);
    USUAL(beat_ms);
    USUAL(linger_ms);
    USUAL(output_high);
    USUAL(output_max);
    USUAL(output_total_max);
    USUAL(body_total_max);
    USUAL(post_max);
#undef USUAL
}

static void end_if_drained(struct server *s)
{
    if (s->n_conn == 0 && (s->draining || s->stopped))
        event_base_loopbreak(s->base);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    while (s->graves) {
        struct conn *c = s->graves;
        s->graves = c->next;
        conn_free(c);
        s->n_conn--;
    }
    end_if_drained(s);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    for (int i = 0; i < s->n_listener; i++)
        if (s->listener[i].ev)
            evconnlistener_enable(s->listener[i].ev);
}

/* What is posted while this runs waits for the next turn, so that sockets get theirs. */
static void run_posted(struct server *s)
{
    int n;

    pthread_mutex_lock(&s->lock);
    n = s->queue_n;
    while (n-- > 0) {
        struct posted p = s->queue[s->queue_at];
        s->queue_at = (s->queue_at + 1) % s->o.limits.post_max;
        s->queue_n--;
        pthread_mutex_unlock(&s->lock);
        p.fn(p.arg);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) > 0)
        run_posted(arg);
}

enum err server_post(struct server *s, void (*fn)(void *arg), void *arg)
{
    uint64_t one = 1;
    bool room;

    pthread_mutex_lock(&s->lock);
    room = s->queue_n < s->o.limits.post_max;
    if (room) {
        int at = (s->queue_at + s->queue_n++) % s->o.limits.post_max;
        s->queue[at] = (struct posted){ fn, arg };
    }
    pthread_mutex_unlock(&s->lock);
    /* The counter is full only when the loop has not read for 2^64 - 1 posts. */
    if (room && write(s->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        return OK;
    return room ? OK : err_set(ERR_BUSY, "SERVER-01",
                               "%d events wait for the server's loop already",
                               s->o.limits.post_max);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct on_signal *h = arg;

    (void)fd;
    (void)what;
    h->fn(h->arg);
}

enum err server_on_signal(struct server *s, int signo, void (*fn)(void *arg), void *arg)
{
    struct on_signal *h = &s->signal[s->n_signal];

    if (s->n_signal == SIGNALS_MAX)
        return err_set(ERR_LIMIT, "SERVER-02", "a server handles at most %d signals", SIGNALS_MAX);
    *h = (struct on_signal){ evsignal_new(s->base, signo, on_signal, h), fn, arg };
    if (!h->ev || evsignal_add(h->ev, NULL)) {
        if (h->ev)
            event_free(h->ev);
        return err_set(ERR_NOMEM, "SERVER-03", "out of memory for a signal's handler");
    }
    s->n_signal++;
    return OK;
}

/* Every route but those of auth 0 needs somebody to ask. */
static enum err check_routes(const struct server_options *o)
{
    for (int i = 0; i < o->n_route; i++)
        if (o->route[i].auth && !o->authorise)
            return err_set(ERR_ARG, "SERVER-04", "%s %s asks for a key, and nobody checks keys",
                           o->route[i].method, o->route[i].path);
    return OK;
}

static bool make_events(struct server *s)
{
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->base = s->loop.base = event_base_new();
    if (s->wake_fd < 0 || !s->base)
        return false;
    s->queue = calloc((size_t)s->o.limits.post_max, sizeof(*s->queue));
    s->reaper = evtimer_new(s->base, on_reap, s);
    s->retry = evtimer_new(s->base, on_retry, s);
    s->wake = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    return s->queue && s->reaper && s->retry && s->wake && event_add(s->wake, NULL) == 0;
}

enum err server_new(struct server **out, const struct server_options *o)
{
    struct server *s;
    enum err e = check_routes(o);

    *out = NULL;
    if (e)
        return e;
    if (!(s = calloc(1, sizeof(*s))))
        return err_set(ERR_NOMEM, "SERVER-05", "out of memory for a server");
    s->o = *o;
    s->wake_fd = -1;
    set_defaults(&s->o.limits);
    pthread_mutex_init(&s->lock, NULL);
    if (!make_events(s)) {
        server_free(s);
        return err_set(ERR_NOMEM, "SERVER-06", "out of memory or descriptors for a server");
    }
    *out = s;
    return OK;
}

static void bury_all(struct server *s)
{
    while (s->conns)
        conn_kill(s->conns, GONE_SERVER, "server stopped");
}

static void event_drop(struct event *e)
{
    if (e)
        event_free(e);
}

void server_free(struct server *s)
{
    if (!s)
        return;
    if (s->base) {
        bury_all(s);
        if (s->queue)
            run_posted(s);
        on_reap(-1, 0, s);
    }
    listen_close_all(s);
    tls_free(s);
    for (int i = 0; i < s->n_signal; i++)
        event_drop(s->signal[i].ev);
    event_drop(s->reaper);
    event_drop(s->retry);
    event_drop(s->wake);
    if (s->base)
        event_base_free(s->base);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->queue);
    free(s);
}

enum err server_run(struct server *s)
{
    if (s->stopped || (s->draining && s->n_conn == 0))
        return OK;
    if (event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        return err_set(ERR_IO, "SERVER-07", "the event loop failed: %s", strerror(errno));
    return OK;
}

void server_drain(struct server *s)
{
    struct conn *next;

    s->draining = true;
    listen_close_all(s);
    for (struct conn *c = s->conns; c; c = next) {
        next = c->next;
        if (conn_idle(c))
            conn_kill(c, GONE_SERVER, "drained");
    }
    end_if_drained(s);
}

void server_stop(struct server *s)
{
    s->stopped = true;
    listen_close_all(s);
    bury_all(s);
    end_if_drained(s);
}

struct loop *server_loop(struct server *s)
{
    return &s->loop;
}

int server_connections(const struct server *s)
{
    return s->n_conn;
}

const char *server_library(void)
{
    return event_get_version();
}
