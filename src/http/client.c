/* client.c - see client.h: libcurl's multi interface driven by the loop, deadlines, ends. */
#include "http/client_form.h"

#include "base/term.h"

#include <stdlib.h>
#include <string.h>

const char *client_end_name(enum client_end end)
{
    static const char *const name[CLIENT_END_COUNT] = {
        "ok", "dns", "connect", "tls", "first_byte", "idle", "total", "too_large", "closed",
        "protocol", "cancelled", "nomem",
    };

    ASSERT(end < CLIENT_END_COUNT);
    return name[end];
}

const char *client_library(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

/* ---- the life of a request ---- */

static void wake(struct client *c)
{
    if (!c->inside && !c->settling)
        event_active(c->wake, EV_TIMEOUT, 0);
}

static void push(struct client_req *r)
{
    if (r->in_todo)
        return;
    r->in_todo = true;
    r->todo_next = r->c->todo;
    r->c->todo = r;
    wake(r->c);
}

/* Outside libcurl alone. */
static void req_free(struct client_req *r)
{
    struct client *c = r->c;

    if (r->in_todo) {
        struct client_req **at = &c->todo;
        while (*at != r)
            at = &(*at)->todo_next;
        *at = r->todo_next;
    }
    if (r->next)
        r->next->prev = r->prev;
    if (r->prev)
        r->prev->next = r->next;
    else if (c->all == r)
        c->all = r->next;
    if (r->easy) {
        c->inside++;
        curl_multi_remove_handle(c->multi, r->easy);
        c->inside--;
        curl_easy_cleanup(r->easy);
    }
    curl_slist_free_all(r->fields);
    if (r->timer)
        event_free(r->timer);
    buf_release(&r->head);
    buf_release(&r->rest);
    sse_release(&r->sse);
    free(r);
}

static void set_reason(struct client_req *r, enum client_end why)
{
    static const char *const late[CLIENT_END_COUNT] = {
        [CLIENT_FIRST_BYTE] = "the head of the reply did not come within %.3g s",
        [CLIENT_IDLE] = "no byte of the reply came for %.3g s",
        [CLIENT_TOTAL] = "the request took longer than %.3g s",
    };
    const int ms = why == CLIENT_FIRST_BYTE ? r->a.first_byte_ms
                   : why == CLIENT_IDLE ? r->a.idle_ms : r->a.total_ms;
    const char *said = why == CLIENT_TOO_LARGE ? "the reply is larger than it may be"
                       : why == CLIENT_CANCELLED ? "the request was cancelled"
                       : why == CLIENT_NOMEM ? "out of memory" : r->error;

    if (*r->reason)
        return;
    if (late[why])
        snprintf(r->reason, sizeof(r->reason), late[why], ms / 1e3);
    else
        snprintf(r->reason, sizeof(r->reason), "%s", said);
}

/* Call on_end, the last call of all. */
static void finish(struct client_req *r, enum client_end why)
{
    if (r->state == REQ_OVER)
        return;
    r->state = REQ_OVER;
    r->why = why;
    if (r->timer)
        event_del(r->timer);
    set_reason(r, why);
    r->a.on_end(r->a.arg, why);
}

/* End it from outside libcurl, or else as soon as that is left. */
static void end_now(struct client_req *r, enum client_end why)
{
    finish(r, why);
    if (r->c->inside || r->c->settling)
        push(r);
    else
        req_free(r);
}

void client_stop(struct client_req *r, enum client_end why)
{
    if (r->state == REQ_OVER || r->why != CLIENT_OK)
        return;
    r->why = why;
    push(r);
}

void client_cancel(struct client_req *r)
{
    if (r->state != REQ_OVER)
        end_now(r, CLIENT_CANCELLED);
}

void client_pause(struct client_req *r)
{
    r->paused = true;
    r->idle_due = 0;
}

void client_resume(struct client_req *r)
{
    if (!r->paused || r->state == REQ_OVER)
        return;
    r->paused = false;
    if (r->head_done)
        r->idle_due = clock_s() + r->a.idle_ms / 1e3;
    client_arm(r);
    push(r);
}

/* ---- deadlines ---- */

static void sooner(double *due, double at)
{
    if (at > 0 && (*due <= 0 || at < *due))
        *due = at;
}

/* A timer that would come too early is left: it looks again. */
void client_arm(struct client_req *r)
{
    double due = 0, wait;
    struct timeval tv;

    sooner(&due, r->first_due);
    sooner(&due, r->idle_due);
    sooner(&due, r->total_due);
    if (due <= 0 || (r->timer_at > 0 && r->timer_at <= due))
        return;
    wait = due - clock_s();
    wait = wait > 0.001 ? wait : 0.001;
    tv.tv_sec = (time_t)wait;
    tv.tv_usec = (suseconds_t)((wait - (double)tv.tv_sec) * 1e6);
    r->timer_at = due;
    if (evtimer_add(r->timer, &tv))
        client_stop(r, CLIENT_NOMEM);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct client_req *r = arg;
    double now = clock_s();

    (void)fd;
    (void)what;
    r->timer_at = 0;
    if (r->total_due > 0 && now >= r->total_due)
        end_now(r, CLIENT_TOTAL);
    else if (r->first_due > 0 && now >= r->first_due)
        end_now(r, CLIENT_FIRST_BYTE);
    else if (r->idle_due > 0 && now >= r->idle_due)
        end_now(r, CLIENT_IDLE);
    else
        client_arm(r);
}

/* ---- what libcurl reports ---- */

static bool connected(CURL *easy)
{
    curl_off_t t = 0;

    return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &t) == CURLE_OK && t > 0;
}

static bool has_address(CURL *easy)
{
    curl_off_t t = 0;

    return curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &t) == CURLE_OK && t > 0;
}

static enum client_end end_of(const struct client_req *r, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return r->head_done ? CLIENT_OK : CLIENT_CLOSED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return CLIENT_DNS;
    case CURLE_OPERATION_TIMEDOUT:
        return has_address(r->easy) ? CLIENT_CONNECT : CLIENT_DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
        return CLIENT_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return CLIENT_TLS;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND:
        return CLIENT_CLOSED;
    case CURLE_RECV_ERROR:
        /* One code for a proxy that refuses, a bad chunk and a reset: only the words differ. */
        if (!connected(r->easy))
            return CLIENT_CONNECT;
        return strstr(r->error, "chunk") ? CLIENT_PROTOCOL : CLIENT_CLOSED;
    case CURLE_OUT_OF_MEMORY:
#if LIBCURL_VERSION_NUM >= 0x080600
    case CURLE_TOO_LARGE:
#endif
        /* How libcurl says that one line of a head is longer than it takes. */
        return connected(r->easy) && !r->head_done ? CLIENT_TOO_LARGE : CLIENT_NOMEM;
    default:
        return CLIENT_PROTOCOL;
    }
}

static void collect_done(struct client *c)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left))) {
        CURLcode code = m->data.result;
        struct client_req *r = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        if (!*r->error)
            snprintf(r->error, sizeof(r->error), "%s", curl_easy_strerror(code));
        if (r->state != REQ_OVER) {
            /* Events of a whole reply that are still kept are handed over first. */
            if (code == CURLE_OK && r->why == CLIENT_OK && r->rest.len) {
                r->whole = true;
                continue;
            }
            finish(r, r->why != CLIENT_OK ? r->why : end_of(r, code));
        }
        push(r);
    }
}

static void begin(struct client_req *r)
{
    struct client *c = r->c;
    CURLMcode m;

    r->state = REQ_RUNS;
    c->inside++;
    m = curl_multi_add_handle(c->multi, r->easy);
    c->inside--;
    if (m != CURLM_OK)
        client_stop(r, CLIENT_NOMEM);
}

static void go_on(struct client_req *r)
{
    if (r->rest.len)
        client_deliver_rest(r);
    if (r->paused || r->rest.len || r->state == REQ_OVER || r->why != CLIENT_OK)
        return;
    if (r->whole) {
        finish(r, CLIENT_OK);
        push(r);
    } else if (r->held) {
        r->held = false;
        r->c->inside++;
        CURLcode code = curl_easy_pause(r->easy, CURLPAUSE_CONT);
        r->c->inside--;
        if (code != CURLE_OK)
            client_stop(r, CLIENT_NOMEM);
    }
}

/* Do what had to wait until libcurl was left. */
static void settle(struct client *c)
{
    struct client_req *r;

    if (c->inside || c->settling)
        return;
    c->settling = true;
    collect_done(c);
    while ((r = c->todo)) {
        c->todo = r->todo_next;
        r->in_todo = false;
        if (r->state != REQ_OVER && r->why != CLIENT_OK)
            finish(r, r->why);
        if (r->state == REQ_OVER)
            req_free(r);
        else if (r->state == REQ_NEW)
            begin(r);
        else
            go_on(r);
        collect_done(c);
    }
    c->settling = false;
}

static void act(struct client *c, curl_socket_t fd, int what)
{
    int running;

    c->inside++;
    curl_multi_socket_action(c->multi, fd, what, &running);
    c->inside--;
    settle(c);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    act(arg, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_curl_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    settle(arg);
}

/* libcurl wants to know of a socket: `what` says which of reading and writing, or no more.  A
 * failure would end every request, so it ends the one whose socket it is. */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *old)
{
    struct client *c = arg;
    struct client_req *r = NULL;
    struct event *ev = old;
    short flags = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
                          (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);

    if (ev)
        event_free(ev);
    ev = what == CURL_POLL_REMOVE ? NULL : event_new(c->base, fd, flags, on_socket, c);
    curl_multi_assign(c->multi, fd, ev);
    if (what == CURL_POLL_REMOVE || (ev && event_add(ev, NULL) == 0))
        return 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
    if (r)
        client_stop(r, CLIENT_NOMEM);
    return 0;
}

static int set_curl_timer(CURLM *multi, long wait_ms, void *arg)
{
    struct client *c = arg;
    struct timeval tv = { wait_ms / 1000, wait_ms % 1000 * 1000 };

    (void)multi;
    if (wait_ms < 0)
        evtimer_del(c->timer);
    else if (evtimer_add(c->timer, &tv))
        event_active(c->timer, EV_TIMEOUT, 0);          /* too early is no harm */
    return 0;
}

/* ---- the client ---- */

static bool make(struct client *c, struct loop *l, int pool_max)
{
    c->base = l->base;
    c->multi = curl_multi_init();
    c->timer = evtimer_new(c->base, on_curl_timer, c);
    c->wake = evtimer_new(c->base, on_wake, c);
    return c->multi && c->timer && c->wake &&
           !curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) &&
           !curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) &&
           !curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_curl_timer) &&
           !curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) &&
           !curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) &&
           !curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)(pool_max ? pool_max : 256));
}

enum err client_new(struct client **out, struct loop *l, int pool_max)
{
    struct client *c = NULL;

    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(ERR_NOMEM, "CLIENT-01", "libcurl does not start");
    if (!(c = calloc(1, sizeof(*c))) || !make(c, l, pool_max)) {
        if (c)
            client_free(c);
        else
            curl_global_cleanup();
        return err_set(ERR_NOMEM, "CLIENT-02", "out of memory for an HTTP client");
    }
    *out = c;
    return OK;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    ASSERT(!c->inside && !c->settling);
    c->settling = true;
    while (c->all) {
        finish(c->all, CLIENT_CANCELLED);
        req_free(c->all);
    }
    curl_multi_cleanup(c->multi);
    if (c->timer)
        event_free(c->timer);
    if (c->wake)
        event_free(c->wake);
    free(c);
    curl_global_cleanup();
}

enum err client_send(struct client_req **out, struct client *c, const struct client_ask *a)
{
    struct client_req *r = calloc(1, sizeof(*r));
    enum err e;

    ASSERT(a->url && a->on_end && a->body_len <= INT64_MAX);
    *out = NULL;
    if (!r)
        return err_set(ERR_NOMEM, "CLIENT-03", "out of memory for a request");
    r->c = c;
    r->timer = evtimer_new(c->base, on_deadline, r);
    e = r->timer ? client_prepare(r, a) : err_set(ERR_NOMEM, "CLIENT-04", "out of memory for a "
                                                  "request's deadlines");
    if (e) {
        req_free(r);
        return e;
    }
    if ((r->next = c->all))
        c->all->prev = r;
    c->all = r;
    r->total_due = clock_s() + r->a.total_ms / 1e3;
    client_arm(r);
    push(r);
    *out = r;
    return OK;
}

const char *client_reason(const struct client_req *r)
{
    return r->reason;
}
