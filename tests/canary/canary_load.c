/* canary_load.c - clients: connections that ask one request after the other, read the whole reply,
 * and now and then leave before it is there.
 *
 *   next -> HEAD -> LENGTH | (SIZE -> DATA)* -> TRAILER -> next */
#include "canary.h"

#include "../load/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum state { HEAD, LENGTH, SIZE, DATA, TRAILER };

struct link {
    struct bufferevent *bev;
    enum state state;
    uint32_t number;
    bool leaves, closes;
    int status;
    size_t left;                        /* of the body or the chunk */
    struct text head, body;
};

static int gateway_port;
static uint32_t next_number, end_number;
static uint64_t n_over;
static void (*tell_some)(void), (*tell_end)(void);

static void next(struct link *l);

static void over(void)
{
    n_over++;
    if (n_over % 250 == 0)
        tell_some();
    if (next_number == end_number && n_over == n.begun)
        tell_end();
}

static void link_close(struct link *l)
{
    if (l->bev)
        bufferevent_free(l->bev);
    l->bev = NULL;
}

/* The request has ended; the next one begins on this connection, or on a new one. */
static void ended(struct link *l, bool keeps)
{
    if (!keeps)
        link_close(l);
    over();
    next(l);
}

static void whole(struct link *l)
{
    n.whole += l->status == 200;
    n.forbidden += l->status == 403;
    n.refused += l->status != 403 && l->status >= 400 && l->status < 500;
    n.failed += l->status >= 500;
    watch_client(l->number, l->status, l->head.at, l->head.len, l->body.at, l->body.len);
    ended(l, !l->closes);
}

static void broken(struct link *l)
{
    n.broken++;
    fprintf(stderr, "canary: request %u: the reply breaks off: %.60s\n", l->number,
            l->head.len ? l->head.at : "no head");
    ended(l, false);
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool read_head(struct link *l, struct evbuffer *in)
{
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    const char *length;
    size_t len = (size_t)end.pos + 4;

    if (end.pos < 0)
        return false;
    l->head.len = l->body.len = 0;
    text_add(&l->head, (const char *)evbuffer_pullup(in, (ev_ssize_t)len), len);
    evbuffer_drain(in, len);
    l->status = atoi(l->head.at + 9);
    l->closes = strcasestr(l->head.at, "connection: close") != NULL;
    length = strcasestr(l->head.at, "content-length:");
    l->left = length ? strtoul(length + 15, NULL, 10) : 0;
    l->state = length ? LENGTH : SIZE;
    return true;
}

static void read_data(struct link *l, struct evbuffer *in)
{
    size_t have = evbuffer_get_length(in), len = have < l->left ? have : l->left;

    if (len)
        text_add(&l->body, (const char *)evbuffer_pullup(in, (ev_ssize_t)len), len);
    evbuffer_drain(in, len);
    l->left -= len;
}

/* One step; false: it waits, or something else has begun. */
static bool step(struct link *l)
{
    struct evbuffer *in = bufferevent_get_input(l->bev);
    char *line;

    switch (l->state) {
    case HEAD:
        return read_head(l, in);
    case LENGTH:
        read_data(l, in);
        if (l->left)
            return false;
        whole(l);
        return false;
    case DATA:
        read_data(l, in);
        l->state = l->left ? DATA : SIZE;
        return !l->left;
    default:
        line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT);
        if (!line)
            return false;
        if (l->state == TRAILER) {
            free(line);
            whole(l);
            return false;
        }
        if (*line) {                    /* not the end of the chunk before */
            l->left = strtoul(line, NULL, 16);
            l->state = l->left ? DATA : TRAILER;
        }
        free(line);
        return true;
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct link *l = arg;

    if (l->leaves) {
        n.left++;
        ended(l, false);
        return;
    }
    while (l->bev == bev && step(l))
        ;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        broken(arg);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void next(struct link *l)
{
    static struct made made;

    if (next_number == end_number) {
        link_close(l);
        return;
    }
    if (!l->bev)
        l->bev = net_connect(base, gateway_port, on_read, on_event, l);
    l->number = next_number++;
    ask_make(&made, l->number);
    l->leaves = made.leaves;
    l->state = HEAD;
    l->head.len = 0;
    n.begun++;
    bufferevent_write(l->bev, made.bytes.at, made.bytes.len);
}

void load_begin(int port, uint32_t first, uint32_t count, int clients, void (*on_some)(void),
                void (*on_end)(void))
{
    static struct link link[LINKS_MAX];

    gateway_port = port;
    next_number = first;
    end_number = first + count;
    tell_some = on_some;
    tell_end = on_end;
    for (int i = 0; i < clients && i < LINKS_MAX && next_number < end_number; i++)
        next(&link[i]);
}
