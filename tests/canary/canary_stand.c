/* canary_stand.c - six upstreams on loopback, two of each dialect.  What is asked is searched
 * (canary_watch.c); what is done about it, well or badly, follows from the seed, the request's
 * number and how often it was asked.
 *
 *   HEAD -> BODY -> (an answer: first part, on the next turn the rest) -> HEAD | closed */
#include "canary.h"

#include "../load/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { HEAD_MAX = 65536 };

struct stand {
    struct bufferevent *bev;
    struct event *turn;                 /* writes the rest */
    int upstream;
    char *head;                         /* of the request whose body is awaited */
    size_t head_len, body_len, rest_at;
    struct text rest;                   /* an answer, written up to rest_at */
    bool read, busy, closes, chunked;   /* read: no body is awaited */
};

static int index_of[UPSTREAMS];

enum dialect stand_dialect(int upstream)
{
    static const enum dialect dialects[] = { CHAT, RESPONSES, MESSAGES };

    return dialects[upstream % 3];
}

static void stand_free(struct stand *s)
{
    event_free(s->turn);
    bufferevent_free(s->bev);
    free(s->head);
    free(s->rest.at);
    free(s);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_part(struct stand *s, size_t upto)
{
    struct evbuffer *out = bufferevent_get_output(s->bev);
    size_t len = upto - s->rest_at;

    if (!len)
        return;
    if (s->chunked)
        evbuffer_add_printf(out, "%zx\r\n", len);
    evbuffer_add(out, s->rest.at + s->rest_at, len);
    if (s->chunked)
        evbuffer_add(out, "\r\n", 2);
    s->rest_at = upto;
}

/* All of it, and the end that it is to have. */
static void write_rest(evutil_socket_t fd, short what, void *arg)
{
    struct stand *s = arg;

    (void)fd;
    (void)what;
    write_part(s, s->rest.len);
    if (s->closes) {
        if (!evbuffer_get_length(bufferevent_get_output(s->bev)))
            stand_free(s);
        return;                         /* else on_drained() */
    }
    if (s->chunked)
        evbuffer_add(bufferevent_get_output(s->bev), "0\r\n\r\n", 5);
    s->busy = false;
    bufferevent_trigger(s->bev, EV_READ, 0);
}

static void on_drained(struct bufferevent *bev, void *arg)
{
    struct stand *s = arg;

    (void)bev;
    if (s->closes && s->busy && s->rest_at == s->rest.len)
        stand_free(s);
}

static void put_head(struct stand *s, int status, const char *type, const char *more, size_t len)
{
    struct evbuffer *out = bufferevent_get_output(s->bev);

    evbuffer_add_printf(out, "HTTP/1.1 %d Said\r\nContent-Type: %s\r\n%s", status, type, more);
    if (s->chunked)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n\r\n");
    else
        evbuffer_add_printf(out, "Content-Length: %zu\r\n\r\n", len);
}

/* ---- deeds ---------------------------------------------------------------------------------- */

static enum deed draw(uint64_t *chance, bool stream)
{
    static const enum deed whole[] = { SAYS_500, SAYS_400, SAYS_429, SAYS_503, SAYS_404, SAYS_LONG,
                                       ERROR_IN_200, GARBAGE, NO_HEAD, RESETS, SAYS_500, SAYS_400 };
    static const enum deed streamed[] = { ERROR_FIRST, ERROR_LATE, CUT_FIRST, CUT_LATE, CUT_LATE };

    if (chance_of(chance, 85))
        return WELL;
    if (stream && chance_of(chance, 60))
        return streamed[chance_below(chance, 5)];
    return whole[chance_below(chance, 12)];
}

/* Words of the request that stand in an error: one of its canaries, whatever it was part of. */
static void echo_of(char out[64], const char *body, size_t len, uint64_t *chance)
{
    const char *at = body, *end = body + len, *hit = NULL;
    unsigned skip = chance_below(chance, 4);

    while ((at = memmem(at, (size_t)(end - at), "zq7k", 4)) && end - at >= 14) {
        hit = at;
        at += 14;
        if (!skip--)
            break;
    }
    snprintf(out, 64, "%.*s", hit ? 14 : 3, hit ? hit : "it.");
}

/* A reply that is no stream: its bytes are s->rest. */
static void reply(struct stand *s, int status, const char *more)
{
    put_head(s, status, "application/json", more, s->rest.len);
    write_rest(-1, 0, s);
}

static void reply_error(struct stand *s, enum deed deed, enum dialect d, const char *echo)
{
    static const int status[DEEDS] = { [SAYS_500] = 500, [SAYS_400] = 400, [SAYS_429] = 429,
                                       [SAYS_503] = 503, [SAYS_404] = 404, [SAYS_LONG] = 413,
                                       [ERROR_IN_200] = 200 };

    say_error(&s->rest, d, status[deed], echo);
    reply(s, status[deed], deed == SAYS_429 ? "Retry-After: 0\r\n" : "");
}

static void drop(struct stand *s, bool reset)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (reset)
        setsockopt(bufferevent_getfd(s->bev), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    stand_free(s);
}

/* A stream, in two parts; what is wrong with it is behind the first. */
static void reply_stream(struct stand *s, enum deed deed, enum dialect d, size_t first, size_t half,
                         const char *echo)
{
    struct timeval now = { 0 };
    bool early = deed == ERROR_FIRST || deed == CUT_FIRST;
    size_t cut = early ? first : half;

    s->chunked = true;
    put_head(s, 200, "text/event-stream", "", 0);
    if (deed == ERROR_FIRST || deed == ERROR_LATE) {
        s->rest.len = cut;
        say_error_event(&s->rest, d, echo);
    } else if (deed == CUT_FIRST || deed == CUT_LATE) {
        s->rest.len = cut;
        s->closes = true;
    }
    write_part(s, cut);
    event_add(s->turn, &now);
}

static void answer(struct stand *s, enum dialect d, uint32_t number, const char *body)
{
    struct record *r = &record[number - record_first];
    uint64_t chance = chance_begin(seed, number, 1u + r->n_asked);
    bool stream = r->stream && memmem(body, s->body_len, "\"stream\":true", 13);
    bool calls = r->n_asked < 255 && d != COMPLETIONS && d != EMBEDDINGS && d != COUNT &&
                 memmem(body, s->body_len, "\"tools\":[", 9) && chance_of(&chance, 80);
    enum deed deed = draw(&chance, stream);
    size_t first, half;
    char echo[64];

    r->n_asked++;
    n.deed[deed]++;
    echo_of(echo, body, s->body_len, &chance);
    if (deed == NO_HEAD || deed == RESETS) {
        drop(s, deed == RESETS);
        return;
    }
    if (deed >= SAYS_500 && deed <= ERROR_IN_200) {
        reply_error(s, deed, d, echo);
        return;
    }
    if (deed == GARBAGE)
        text_put(&s->rest, "{\"what\": [%s", echo);
    else
        say_answer(&s->rest, &first, &half, d, stream, number, calls);
    r->calls = deed == WELL && calls;
    if (stream && deed != GARBAGE)
        reply_stream(s, deed, d, first, half, echo);
    else
        reply(s, 200, "");
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool take_head(struct stand *s, struct evbuffer *in)
{
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    const char *length;

    if (end.pos < 0 || end.pos > HEAD_MAX)
        return false;
    free(s->head);
    s->head_len = (size_t)end.pos + 4;
    s->head = calloc(1, s->head_len + 1);
    if (!s->head)
        exit(1);
    s->read = false;
    evbuffer_remove(in, s->head, s->head_len);
    length = strcasestr(s->head, "\r\ncontent-length:");
    s->body_len = length ? strtoul(length + 17, NULL, 10) : 0;
    return true;
}

static enum dialect dialect_in(const struct stand *s)
{
    static const struct { const char *path; enum dialect d; } routes[] = {
        { "/count_tokens ", COUNT }, { "/embeddings ", EMBEDDINGS }, { "/chat/completions ", CHAT },
        { "/completions ", COMPLETIONS }, { "/messages ", MESSAGES }, { "/responses ", RESPONSES },
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
        if (strstr(s->head, routes[i].path))
            return routes[i].d;
    return DIALECTS;
}

/* The whole request is there. */
static void take(struct stand *s, const char *body)
{
    enum dialect d = dialect_in(s);
    int model;
    int64_t by;

    s->rest.len = s->rest_at = 0;
    s->chunked = s->closes = false;
    s->busy = true;
    if (!strncmp(s->head, "GET ", 4)) {         /* a probe */
        text_put(&s->rest, "{\"object\":\"list\",\"data\":[]}");
        reply(s, 200, "");
        return;
    }
    n.asked++;
    n.misrouted += d == DIALECTS;
    by = watch_upstream(s->upstream, d, s->head, s->head_len, body, s->body_len, &model);
    if (by >= 0) {
        answer(s, d, (uint32_t)by, body);
        return;
    }
    n.unread++;
    say_error(&s->rest, d, 400, "that");
    reply(s, 400, "");
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct stand *s = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    static char body[BODY_MAX + 1];

    if (s->busy || (s->read && !take_head(s, in)) || evbuffer_get_length(in) < s->body_len)
        return;
    if (s->body_len > BODY_MAX)
        exit(1);
    evbuffer_remove(in, body, s->body_len);
    body[s->body_len] = '\0';
    s->read = true;
    take(s, body);                      /* it may be gone then */
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        stand_free(arg);
}

static void on_accept(struct evconnlistener *ear, evutil_socket_t fd, struct sockaddr *a, int len,
                      void *arg)
{
    struct stand *s = calloc(1, sizeof(*s));

    (void)ear;
    (void)a;
    (void)len;
    if (!s)
        exit(1);
    s->upstream = *(int *)arg;
    s->read = true;
    s->bev = net_accepted(base, fd);
    s->turn = evtimer_new(base, write_rest, s);
    bufferevent_setcb(s->bev, on_read, on_drained, on_event, s);
    bufferevent_enable(s->bev, EV_READ | EV_WRITE);
}

void stand_open(int port[UPSTREAMS])
{
    for (int i = 0; i < UPSTREAMS; i++) {
        index_of[i] = i;
        port[i] = net_listen(base, on_accept, &index_of[i]);
    }
}
