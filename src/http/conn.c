/* conn.c - one connection: from bytes to calls, its deadlines, its end.  The states are drawn in
 * server_form.h.
 *
 * A deadline is a sum: it moves with bytes that arrive or leave, a second for each rate_min of
 * them,
 * and never further than its whole span from now.  So one byte a second postpones nothing. */
#include "http/front.h"

#include "base/term.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static double span(int ms)
{
    return ms / 1000.0;
}

static void extend(const struct conn *c, double *due, size_t bytes, int ms)
{
    double latest = clock_s() + span(ms);

    if (*due > 0)
        *due += (double)bytes / c->s->o.limits.rate_min;
    if (*due > latest)
        *due = latest;
}

static void earlier(double *at, double due)
{
    if (due > 0 && (*at == 0 || due < *at))
        *at = due;
}

void conn_arm(struct conn *c)
{
    struct timeval tv;
    double at = 0, wait;

    earlier(&at, c->read_due);
    earlier(&at, c->write_due);
    earlier(&at, c->beat_due);
    if (c->state == CONN_DEAD || at == 0 || (c->timer_at > 0 && c->timer_at <= at))
        return;                         /* one that comes too early arms itself again */
    wait = at - clock_s();
    wait = wait < 0 ? 0 : wait;
    tv.tv_sec = (time_t)wait;
    tv.tv_usec = (suseconds_t)((wait - (double)tv.tv_sec) * 1e6);
    c->timer_at = at;
    if (event_add(c->timer, &tv))
        conn_doom(c);
}

/* Needs no memory: the timer runs at once, and finds it doomed. */
void conn_doom(struct conn *c)
{
    c->doomed = true;
    event_active(c->timer, EV_TIMEOUT, 0);
}

static size_t waiting(const struct conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

bool conn_idle(const struct conn *c)
{
    return c->state == CONN_HEAD && !c->call.begun && waiting(c) == 0 &&
           evbuffer_get_length(bufferevent_get_input(c->bev)) == 0;
}

void conn_shed(struct server *s)
{
    struct conn *most = NULL;
    size_t sum = 0;

    if (s->output_bytes <= s->o.limits.output_total_max)
        return;
    for (struct conn *c = s->conns; c; c = c->next) {
        if (c->doomed)
            continue;
        sum += waiting(c);
        most = !most || waiting(c) > waiting(most) ? c : most;
    }
    if (most && sum > s->o.limits.output_total_max)
        conn_doom(most);
}

static void await_head(struct conn *c)
{
    c->state = CONN_HEAD;
    c->read_due = clock_s() + span(c->s->o.limits.idle_ms);
    c->beat_due = 0;
}

/* The memory of one request, given back. */
static void forget_call(struct conn *c)
{
    c->s->body_bytes -= c->call.body.len;
    head_release(&c->call.head);
    buf_release(&c->call.body);
    buf_release(&c->call.fields);
    c->call = (struct call){ 0 };
}

static void log_call(struct conn *c, const char *end)
{
    struct call *q = &c->call;
    bool head_known = q->head.method.len > 0;
    char method[HEAD_METHOD_MAX + 1] = "";
    struct piece path = { NULL, 0 };

    if (!c->s->o.access || !q->begun)
        return;
    if (head_known) {
        struct piece m = head_method(&q->head);
        snprintf(method, sizeof(method), "%.*s", (int)m.len, m.at);
        path = head_target(&q->head);
    }
    struct access_line line = {
        .unix_ms = q->began_unix_ms, .id = q->id, .peer = q->peer[0] ? q->peer : c->peer,
        .method = method,
        .route = q->match.route ? q->match.route->path : NULL, .key = q->key, .path = path.at,
        .path_len = path.len, .status = q->status, .bytes_in = q->bytes_in, .end = end,
        .bytes_out = c->sent + waiting(c) - q->sent_before, .ms = (clock_s() - q->began) * 1000,
    };
    access_put(c->s->o.access, &line);
}

void conn_kill(struct conn *c, enum call_gone why, const char *end)
{
    struct server *s = c->s;

    if (c->state == CONN_DEAD)
        return;
    bool called = c->state == CONN_CALL;
    log_call(c, end);
    c->state = CONN_DEAD;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->prev = NULL;
    c->next = s->graves;
    s->graves = c;
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    event_active(s->reaper, EV_TIMEOUT, 0);
    if (called && c->call.watch.gone)
        c->call.watch.gone(c->call.watch.arg, why);
}

/* Everything was sent: say so to the other side, and read what it still sends, so that the system
 * does not throw our last bytes away with a reset. */
static void linger(struct conn *c)
{
    tls_close(c->bev);
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    c->state = CONN_LINGER;
    c->read_due = clock_s() + span(c->s->o.limits.linger_ms);
    c->write_due = c->beat_due = 0;
    conn_arm(c);
}

void conn_finish(struct conn *c)
{
    bool last = c->call.last || c->s->draining;

    log_call(c, "done");
    forget_call(c);
    if (last) {
        c->state = CONN_CLOSING;
        c->read_due = c->beat_due = 0;
        if (waiting(c) == 0)
            linger(c);
    } else {
        await_head(c);
        bufferevent_trigger(c->bev, EV_READ,
                            BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
    }
    conn_arm(c);
}

/* A refusal while the body, or something that is no request, is still arriving ends the
 * connection. */
static bool refuse(struct conn *c, enum fault f)
{
    c->call.last = true;
    c->state = CONN_CALL;
    call_fail(&c->call, f);
    return false;
}

static bool id_ok(struct piece p)
{
    for (size_t i = 0; i < p.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
                    p.at[i]) ||
            !p.at[i])
            return false;
    return p.len > 0 && p.len <= CALL_ID_MAX;
}

static void make_id(struct call *q)
{
    struct piece given = q->head.method.len ? head_find(&q->head, "x-request-id")
                                            : (struct piece){ NULL, 0 };
    uint64_t r[2] = { 0, 0 };

    if (given.at && id_ok(given)) {
        snprintf(q->id, sizeof(q->id), "%.*s", (int)given.len, given.at);
        return;
    }
    if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
        r[0] = (uint64_t)(clock_s() * 1e9);
    snprintf(q->id, sizeof(q->id), "%016llx%016llx", (unsigned long long)r[0],
             (unsigned long long)r[1]);
}

/* Whether there is room, for us, and from a page that may ask. */
static enum fault admit(struct conn *c)
{
    if (c->over)
        return FAULT_full;
    return front_host_ok(c) ? front_origin(c) : FAULT_misdirected;
}

/* Who may, and how large: everything that can be refused before the body is. */
static enum fault judge(struct conn *c)
{
    struct call *q = &c->call;
    struct server_options *o = &c->s->o;
    struct buf allow = { 0 };
    enum fault f;

    f = conn_route(c, &allow);
    if (f == FAULT_method && !allow.broken)
        call_header(q, "Allow", buf_text(&allow));
    buf_release(&allow);
    if (f == FAULT_none && q->match.route->auth)
        f = o->authorise(o->arg, q, q->match.route->auth);
    if (f == FAULT_none && q->head.encoded)
        f = FAULT_encoded;
    if (f == FAULT_none && q->head.has_length && q->head.length > q->match.route->body_max)
        f = FAULT_body_long;
    return f;
}

static bool dispatch(struct conn *c)
{
    c->state = CONN_CALL;
    c->read_due = 0;
    c->call.match.route->handle(&c->call, c->s->o.arg);
    ASSERT(c->state != CONN_CALL || c->call.watch.gone);    /* who keeps a call watches it */
    return c->state == CONN_HEAD;
}

static bool head_done(struct conn *c)
{
    static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct call *q = &c->call;
    bool has_body = q->head.chunked || q->head.length > 0;
    enum fault f;

    make_id(q);
    front_peer(c);
    q->last = !q->head.keep_alive;
    q->no_body = piece_is(head_method(&q->head), "HEAD");
    f = admit(c);
    if (f == FAULT_none && front_preflight(c))
        return c->state == CONN_HEAD;
    if (f || (f = judge(c))) {
        if (has_body || f == FAULT_full)
            return refuse(c, f);
        c->state = CONN_CALL;
        c->read_due = 0;
        call_fail(q, f);
        return c->state == CONN_HEAD;
    }
    if (!has_body)
        return dispatch(c);
    if (q->head.expect_continue && evbuffer_get_length(bufferevent_get_input(c->bev)) == 0 &&
        evbuffer_add(bufferevent_get_output(c->bev), proceed, sizeof(proceed) - 1))
        conn_doom(c);
    q->body_left = q->head.length;
    c->state = CONN_BODY;
    c->read_due = clock_s() + span(c->s->o.limits.body_ms);
    return true;
}

static bool read_head(struct conn *c, const char *bytes, size_t len, size_t *used)
{
    enum head_result r;

    if (!c->call.begun) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        c->call.begun = true;
        c->call.began = clock_s();
        c->call.began_unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
        c->call.sent_before = c->sent + waiting(c);
        c->read_due = clock_s() + span(c->s->o.limits.head_ms);
    }
    r = head_feed(&c->call.head, bytes, len, used);
    evbuffer_drain(bufferevent_get_input(c->bev), *used);
    if (r == HEAD_DONE)
        return head_done(c);
    if (r == HEAD_MORE)
        return true;
    make_id(&c->call);
    return refuse(c, c->call.head.fault);
}

/* Keep a piece of the body, within the route's limit and what all bodies may take. */
static enum fault keep(struct conn *c, const char *bytes, size_t len)
{
    struct call *q = &c->call;

    if (len > q->match.route->body_max - q->body.len)
        return FAULT_body_long;
    if (len > c->s->o.limits.body_total_max - c->s->body_bytes)
        return FAULT_full;
    size_t before = q->body.len;
    buf_add(&q->body, bytes, len);
    if (q->body.broken)
        return FAULT_memory;
    c->s->body_bytes += q->body.len - before;
    q->bytes_in = q->body.len;
    return FAULT_none;
}

static bool read_body(struct conn *c, const char *bytes, size_t len, size_t *used)
{
    struct call *q = &c->call;
    enum chunked_result r = CHUNKED_DATA;
    const char *data = bytes;
    size_t n_data;
    enum fault f;

    if (q->head.chunked) {
        r = chunked_feed(&q->chunked, bytes, len, used, &data, &n_data);
    } else {
        n_data = len < q->body_left ? len : (size_t)q->body_left;
        *used = n_data;
        q->body_left -= n_data;
        if (q->body_left == 0)
            r = CHUNKED_DONE;
    }
    f = r == CHUNKED_BAD ? FAULT_chunk : keep(c, data, n_data);
    extend(c, &c->read_due, *used, c->s->o.limits.body_ms);
    evbuffer_drain(bufferevent_get_input(c->bev), *used);
    if (f)
        return refuse(c, f);
    return r == CHUNKED_DONE ? dispatch(c) : true;
}

/* Take the first run of bytes that lie together; false when there is nothing more to do now. */
static bool step(struct conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    struct evbuffer_iovec run;
    size_t used;

    if (evbuffer_peek(in, -1, NULL, &run, 1) < 1 || run.iov_len == 0)
        return false;
    if (c->state == CONN_HEAD)
        return read_head(c, run.iov_base, run.iov_len, &used);
    if (c->state == CONN_BODY)
        return read_body(c, run.iov_base, run.iov_len, &used);
    if (c->state == CONN_CLOSING || c->state == CONN_LINGER)
        evbuffer_drain(in, evbuffer_get_length(in));
    return false;
}

/* A client that sends ahead of its answers waits in its own socket.  (libevent's own high-water
 * mark
 * is not used: it fails badly without memory.) */
static void hold_back(struct conn *c)
{
    bool full = evbuffer_get_length(bufferevent_get_input(c->bev)) >= INPUT_MAX;

    if (c->held == full)
        return;
    c->held = full;
    if (full)
        bufferevent_disable(c->bev, EV_READ);
    else if (bufferevent_enable(c->bev, EV_READ))
        conn_doom(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;

    (void)bev;
    while (c->state != CONN_DEAD && step(c))
        ;
    if (c->s->draining && c->state != CONN_DEAD && conn_idle(c))
        conn_kill(c, GONE_SERVER, "drained");
    if (c->state != CONN_DEAD)
        hold_back(c);
    conn_arm(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    struct conn *c = arg;

    (void)bev;
    if (c->state == CONN_CLOSING && waiting(c) == 0)
        linger(c);
    else if (c->state == CONN_HEAD && c->s->draining && conn_idle(c))
        conn_kill(c, GONE_SERVER, "drained");
    else if (c->state == CONN_CALL && c->call.full &&
             waiting(c) <= c->s->o.limits.output_high / 2) {
        c->call.full = false;
        if (c->call.watch.room)
            c->call.watch.room(c->call.watch.arg);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct conn *c = arg;

    (void)bev;
    if (what & BEV_EVENT_CONNECTED || c->state == CONN_DEAD)
        return;
    if ((what & BEV_EVENT_EOF) && waiting(c) > 0 &&
        (c->state == CONN_CLOSING || (c->state == CONN_HEAD && !c->call.begun))) {
        c->state = CONN_CLOSING;        /* it will send no more, and may still read */
        c->read_due = 0;
        return;
    }
    conn_kill(c, GONE_CLIENT, "client left");
}

/* What leaves moves the deadline of what waits. */
static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;
    size_t len = evbuffer_get_length(out);

    c->sent += info->n_deleted;
    c->s->output_bytes += info->n_added;
    c->s->output_bytes -= info->n_deleted;
    if (len == 0)
        c->write_due = 0;
    else if (c->write_due == 0)
        c->write_due = clock_s() + span(c->s->o.limits.write_ms);
    else if (info->n_deleted)
        extend(c, &c->write_due, info->n_deleted, c->s->o.limits.write_ms);
    if (info->n_added)
        conn_arm(c);
}

void conn_free(struct conn *c)
{
    c->s->output_bytes -= waiting(c);
    evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
    forget_call(c);
    bufferevent_free(c->bev);
    event_free(c->timer);
    free(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    double now = clock_s() + 1e-4;

    (void)fd;
    (void)what;
    c->timer_at = 0;
    if (c->state == CONN_DEAD)
        return;
    if (c->doomed || (c->write_due > 0 && now >= c->write_due)) {
        conn_kill(c, GONE_SLOW, "too slow a reader");
    } else if (c->read_due > 0 && now >= c->read_due) {
        if ((c->state == CONN_HEAD && c->call.begun) || c->state == CONN_BODY) {
            if (!c->call.id[0])
                make_id(&c->call);
            refuse(c, FAULT_slow);
        } else {
            conn_kill(c, GONE_SLOW, "idle");
        }
    } else if (c->beat_due > 0 && now >= c->beat_due) {
        c->beat_due = clock_s() + span(c->s->o.limits.beat_ms);
        if (waiting(c) == 0)
            call_write(&c->call, c->call.beat, strlen(c->call.beat));
    }
    conn_arm(c);
}

static void name_peer(struct conn *c, const struct sockaddr *from)
{
    const void *at = from->sa_family == AF_INET
                     ? (const void *)&((const struct sockaddr_in *)(const void *)from)->sin_addr
                     : (const void *)&((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;

    c->unix_socket = from->sa_family != AF_INET && from->sa_family != AF_INET6;
    c->loopback = c->unix_socket || listen_is_loopback(from);
    if (c->unix_socket || !inet_ntop(from->sa_family, at, c->peer, sizeof(c->peer)))
        snprintf(c->peer, sizeof(c->peer), "unix");
}

void conn_accept(struct listener *l, evutil_socket_t fd, const struct sockaddr *from)
{
    struct server *s = l->s;
    struct conn *c = NULL;
    int on = 1, unsent = UNSENT_MAX;

    if (s->n_conn < s->o.limits.conn_max + CONN_OVER_MAX && (c = calloc(1, sizeof(*c)))) {
        c->bev = l->tls ? tls_accept(s, fd)
                        : bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE |
                                                 BEV_OPT_DEFER_CALLBACKS);
        c->timer = c->bev ? evtimer_new(s->base, on_timer, c) : NULL;
        if (c->timer && evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c))
            goto ready;
    }
    if (c && c->timer)
        event_free(c->timer);
    if (c && c->bev)
        bufferevent_free(c->bev);
    else
        evutil_closesocket(fd);
    free(c);
    return;

ready:
    c->s = s;
    c->over = s->n_conn >= s->o.limits.conn_max;
    name_peer(c, from);
    if (!c->unix_socket) {              /* nothing waits long in the system,
                           where nobody sees it */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    }
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    s->n_conn++;
    await_head(c);
    c->read_due = clock_s() + span(s->o.limits.head_ms);    /* a new client has something to say */
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_WRITE, s->o.limits.output_high / 2, 0);
    if (bufferevent_enable(c->bev, EV_READ | EV_WRITE))
        conn_doom(c);
    conn_arm(c);
}
