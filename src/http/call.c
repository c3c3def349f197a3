/* call.c - see call.h: the reply, whole or in pieces, onto the connection's output. */
#include "http/server_form.h"

#include "base/term.h"

#include <string.h>
#include <time.h>

static const struct { int status; const char *phrase; } phrases[] = {
    { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
    { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" },
    { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
    { 408, "Request Timeout" }, { 409, "Conflict" }, { 413, "Content Too Large" },
    { 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" },
    { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 426, "Upgrade Required" },
    { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
    { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

const struct head *call_head(const struct call *c)
{
    return &c->head;
}

struct piece call_body(const struct call *c)
{
    return (struct piece){ buf_text(&c->body), c->body.len };
}

struct piece call_param(const struct call *c, int i)
{
    ASSERT(i >= 0 && i < c->match.n_param);
    return head_segment(&c->head, c->match.param[i]);
}

const struct route *call_route(const struct call *c)
{
    return c->match.route;
}

const char *call_id(const struct call *c)
{
    return c->id;
}

const char *call_peer(const struct call *c)
{
    return c->peer;
}

bool call_loopback(const struct call *c)
{
    return c->loopback;
}

void call_set_key(struct call *c, const char *id)
{
    snprintf(c->key, sizeof(c->key), "%s", id);
}

const char *call_key(const struct call *c)
{
    return c->key;
}

void call_watch(struct call *c, const struct call_watch *w)
{
    c->watch = *w;
}

static bool plain(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

void call_header(struct call *c, const char *name, const char *value)
{
    ASSERT(!c->status && plain(name) && plain(value));
    buf_printf(&c->fields, "%s: %s\r\n", name, value);
}

static const char *phrase_of(int status)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Other";
}

static void put(struct conn *c, const void *bytes, size_t len)
{
    if (!c->doomed && len && evbuffer_add(bufferevent_get_output(c->bev), bytes, len))
        conn_doom(c);
    conn_shed(c->s);
}

/* The head of a reply; `more` are its own lines, each with its end. */
static void put_head(struct call *c, int status, const char *type, const char *more)
{
    struct conn *conn = conn_of(c);
    struct buf head = { 0 };
    time_t now = time(NULL);
    char date[48];
    struct tm tm;

    ASSERT(conn->state == CONN_CALL && !c->status && plain(type));
    c->last = c->last || conn->s->draining;
    gmtime_r(&now, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buf_printf(&head, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nx-request-id: %s\r\n"
               "X-Content-Type-Options: nosniff\r\n%s%s", status, phrase_of(status), date, type,
               c->id, more, buf_text(&c->fields));
    if (c->last)
        buf_puts(&head, "Connection: close\r\n");
    else if (c->head.minor == 0)
        buf_puts(&head, "Connection: keep-alive\r\n");
    buf_puts(&head, "\r\n");
    c->status = status;
    if (head.broken || c->fields.broken)
        conn_doom(conn);
    put(conn, buf_text(&head), head.len);
    buf_release(&head);
}

void call_reply(struct call *c, int status, const char *type, const char *body, size_t len)
{
    char more[96] = "";

    ASSERT(status != 204 || len == 0);
    if (status != 204)
        snprintf(more, sizeof(more), "Content-Length: %zu\r\nCache-Control: no-store\r\n", len);
    put_head(c, status, type, more);
    if (!c->no_body)
        put(conn_of(c), body, len);
    conn_finish(conn_of(c));
}

void call_cut(struct call *c)
{
    struct conn *conn = conn_of(c);

    ASSERT(conn->state == CONN_CALL);
    c->watch = (struct call_watch){ 0 };
    conn_doom(conn);
}

static void plain_refusal(const struct call *c, enum fault f, struct buf *body)
{
    buf_printf(body,
               "{\"error\": {\"code\": \"%s\", \"message\": \"%s\", \"request_id\": \"%s\"}}\n",
               fault_code(f), fault_text(f), c->id);
}

void call_fail(struct call *c, enum fault f)
{
    const struct server_options *o = &conn_of(c)->s->o;
    const char *type = "application/json";
    struct buf body = { 0 };

    if (fault_status(f) == 503)
        call_header(c, "Retry-After", "1");
    if (fault_status(f) == 401)
        call_header(c, "WWW-Authenticate", "Bearer");
    if (o->refusal)
        o->refusal(o->arg, c, f, &body, &type);
    else
        plain_refusal(c, f, &body);
    if (body.broken)
        call_cut(c);
    else
        call_reply(c, fault_status(f), type, buf_text(&body), body.len);
    buf_release(&body);
}

void call_stream(struct call *c, int status, const char *type, const char *beat)
{
    struct conn *conn = conn_of(c);

    c->chunk = c->head.minor > 0;
    c->last = c->last || !c->chunk;     /* the end of the connection ends the body */
    put_head(c, status, type, c->chunk
             ? "Transfer-Encoding: chunked\r\nCache-Control: no-cache, no-transform\r\n"
               "X-Accel-Buffering: no\r\n"
             : "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n");
    c->streaming = true;
    c->beat = c->no_body ? NULL : beat;
    if (c->beat)
        conn->beat_due = clock_s() + conn->s->o.limits.beat_ms / 1000.0;
    conn_arm(conn);
}

bool call_write(struct call *c, const char *bytes, size_t len)
{
    struct conn *conn = conn_of(c);
    const struct server_limits *l = &conn->s->o.limits;
    size_t waiting = evbuffer_get_length(bufferevent_get_output(conn->bev));
    char size[24];

    ASSERT(conn->state == CONN_CALL && c->streaming);
    if (conn->doomed || len == 0 || c->no_body)
        return !conn->doomed;
    if (waiting >= l->output_max || len > l->output_max - waiting) {
        conn_doom(conn);
        return false;
    }
    if (c->chunk)
        put(conn, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", len));
    put(conn, bytes, len);
    if (c->chunk)
        put(conn, "\r\n", 2);
    if (c->beat)
        conn->beat_due = clock_s() + l->beat_ms / 1000.0;
    c->full = waiting + len >= l->output_high;
    return !c->full && !conn->doomed;
}

void call_end(struct call *c)
{
    struct conn *conn = conn_of(c);

    ASSERT(conn->state == CONN_CALL && c->streaming);
    if (c->chunk && !c->no_body)
        put(conn, "0\r\n\r\n", 5);
    conn_finish(conn);
}
