/* client_reply.c - a reply as libcurl hands it over: its head line by line, its body in pieces. */
#include "http/client_form.h"

#include "base/term.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { DAY_MS = 24 * 3600 * 1000 };

int client_on_connected(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct client_req *r = arg;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    r->first_due = clock_s() + r->a.first_byte_ms / 1e3;
    client_arm(r);
    return CURL_PREREQFUNC_OK;
}

/* ---- the head ---- */

/* "HTTP/1.1 200 OK" begins a head: of an interim reply, or of the one that counts. */
static bool status_line(struct client_req *r, const char *line, size_t len)
{
    if (len < 12 || !isdigit((unsigned char)line[9]) || !isdigit((unsigned char)line[10]) ||
        !isdigit((unsigned char)line[11]) || line[8] != ' ' || line[9] == '0')
        return false;
    r->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    buf_cut(&r->head, 0);
    return r->status != 101;
}

static bool field_line(struct client_req *r, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len), *value;

    if (!colon || colon == line || memchr(line, '\0', len))
        return false;
    for (const char *at = line; at < colon; at++) {
        char c = (char)tolower((unsigned char)*at);
        if ((unsigned char)c <= ' ')
            return false;
        buf_add(&r->head, &c, 1);
    }
    buf_add(&r->head, "", 1);
    for (value = colon + 1; value < line + len && (*value == ' ' || *value == '\t'); value++)
        ;
    while (line + len > value && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    buf_add(&r->head, value, (size_t)(line + len - value));
    buf_add(&r->head, "", 1);
    return true;
}

static bool is_event_stream(const struct client_req *r)
{
    static const char type[] = "text/event-stream";
    const char *value = client_reply_field(r, "content-type");

    return value && !strncasecmp(value, type, strlen(type)) &&
           (!value[strlen(type)] || strchr("; \t", value[strlen(type)]));
}

static void head_whole(struct client_req *r)
{
    r->head_done = true;
    r->first_due = 0;
    r->idle_due = clock_s() + r->a.idle_ms / 1e3;
    client_arm(r);
    r->is_events = r->a.on_event && is_event_stream(r);
    if (r->a.on_head)
        r->a.on_head(r->a.arg);
}

static bool goes_on(const struct client_req *r)
{
    return r->state != REQ_OVER && r->why == CLIENT_OK;
}

size_t client_on_head(char *line, size_t size, size_t n, void *arg)
{
    struct client_req *r = arg;
    size_t all = size * n, len = all;
    bool ok = true;

    if (!goes_on(r))
        return 0;
    r->head_bytes += all;
    if (r->head_bytes > CLIENT_HEAD_MAX) {
        client_stop(r, CLIENT_TOO_LARGE);
        return 0;
    }
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    if (r->head_done)
        return all;                     /* trailers are counted and dropped */
    if (len > 5 && !memcmp(line, "HTTP/", 5))
        ok = status_line(r, line, len);
    else if (len)
        ok = field_line(r, line, len);
    else if (r->status >= 200)
        head_whole(r);
    if (!ok) {
        snprintf(r->reason, sizeof(r->reason), "a line of the reply's head is not HTTP/1.1");
        client_stop(r, CLIENT_PROTOCOL);
    } else if (r->head.broken) {
        client_stop(r, CLIENT_NOMEM);
    }
    return goes_on(r) ? all : 0;
}

int client_status(const struct client_req *r)
{
    return r->head_done ? r->status : 0;
}

const char *client_reply_field(const struct client_req *r, const char *name)
{
    const char *at = buf_text(&r->head), *end = at + r->head.len;

    while (r->head_done && at < end) {
        const char *value = at + strlen(at) + 1;
        if (!strcmp(at, name))
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

int64_t client_retry_after_ms(const struct client_req *r)
{
    const char *text = client_reply_field(r, "retry-after-ms"), *seconds;
    double ms = -1;
    char *end;
    time_t when;

    if (text && isdigit((unsigned char)*text)) {
        ms = strtod(text, &end);
        ms = *end ? -1 : ms;
    }
    seconds = client_reply_field(r, "retry-after");
    if (ms < 0 && seconds && isdigit((unsigned char)*seconds)) {
        ms = strtod(seconds, &end) * 1e3;
        ms = *end ? -1 : ms;
    } else if (ms < 0 && seconds && (when = curl_getdate(seconds, NULL)) >= 0) {
        ms = difftime(when, time(NULL)) * 1e3;
        ms = ms > 0 ? ms : 0;
    }
    return ms < 0 ? -1 : ms < DAY_MS ? (int64_t)ms : DAY_MS;
}

/* ---- the body ---- */

/* Events of a piece; what is left of it when we are paused in its middle is kept. */
static void deliver_events(struct client_req *r, const char *bytes, size_t len)
{
    size_t used = 0;

    while (len && goes_on(r) && !r->paused) {
        struct sse_reader *s = &r->sse;
        enum sse_result got = sse_feed(s, bytes, len, &used);
        bytes += used;
        len -= used;
        if (got == SSE_EVENT)
            r->a.on_event(r->a.arg, buf_text(&s->name), buf_text(&s->data), s->data.len);
        else if (got != SSE_MORE)
            client_stop(r, got == SSE_TOO_LONG ? CLIENT_TOO_LARGE : CLIENT_NOMEM);
    }
    if (len && goes_on(r)) {
        buf_add(&r->rest, bytes, len);
        if (r->rest.broken)
            client_stop(r, CLIENT_NOMEM);
    }
}

void client_deliver_rest(struct client_req *r)
{
    struct buf piece = r->rest;

    r->rest = (struct buf){ 0 };
    deliver_events(r, buf_text(&piece), piece.len);
    buf_release(&piece);
}

size_t client_on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct client_req *r = arg;
    size_t len = size * n;

    if (!goes_on(r))
        return 0;
    if (r->paused || r->rest.len) {
        r->held = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    r->body_bytes += len;
    if (r->a.body_max && r->body_bytes > r->a.body_max) {
        client_stop(r, CLIENT_TOO_LARGE);
        return 0;
    }
    r->idle_due = clock_s() + r->a.idle_ms / 1e3;
    if (r->is_events)
        deliver_events(r, bytes, len);
    else if (r->a.on_body)
        r->a.on_body(r->a.arg, bytes, len);
    return goes_on(r) ? len : 0;
}
