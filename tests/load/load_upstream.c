/* load_upstream.c - an upstream that costs next to nothing, for measuring what stands before it.
 *
 *   load_upstream [events=N] [gap_us=N]
 *
 * Every POST is answered with a stream of chat completion chunks: N of text, one with the end, one
 * with usage, [DONE]; each leaves in a turn of the loop of its own, gap_us apart.  GET /meter is
 * {"asked", "finished", "left"}.  Prints "port N".  Nothing that it is asked is checked. */
#include "net.h"

#include <event2/buffer.h>
#include <event2/event.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 65536 };

struct link {
    struct bufferevent *bev;
    struct event *turn;                 /* when the next event is written */
    size_t body_left;
    int at;                             /* events that were written; -1: no answer runs */
    char id[32];
};

static struct event_base *base;
static int n_event = 4;
static struct timeval gap;
static unsigned long asked, finished, left_early;

static void link_free(struct link *l)
{
    left_early += l->at >= 0;
    event_free(l->turn);
    bufferevent_free(l->bev);
    free(l);
}

static void put_chunk(struct evbuffer *out, const char *data)
{
    evbuffer_add_printf(out, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
}

static void write_event(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;
    struct evbuffer *out = bufferevent_get_output(l->bev);
    char data[512], *end = data;

    (void)fd;
    (void)what;
    end += snprintf(data, sizeof(data), "{\"id\":\"%s\",\"object\":\"chat.completion.chunk\","
                    "\"created\":1700000000,\"model\":\"load\",\"choices\":[", l->id);
    if (l->at < n_event)
        snprintf(end, 256, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
                 "\"word %d \"},\"finish_reason\":null}]}", l->at);
    else if (l->at == n_event)
        snprintf(end, 256, "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
    else
        snprintf(end, 256, "],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%d,"
                 "\"total_tokens\":%d}}", n_event, n_event + 9);
    put_chunk(out, data);
    if (l->at++ <= n_event) {
        event_add(l->turn, &gap);
        return;
    }
    put_chunk(out, "[DONE]");
    evbuffer_add(out, "0\r\n\r\n", 5);
    finished++;
    l->at = -1;
}

static void answer(struct link *l, bool meter)
{
    struct evbuffer *out = bufferevent_get_output(l->bev);
    char text[128];
    int n = snprintf(text, sizeof(text), "{\"asked\": %lu, \"finished\": %lu, \"left\": %lu}",
                     asked, finished, left_early);

    if (meter) {
        evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "Content-Length: %d\r\n\r\n%s", n, text);
        return;
    }
    snprintf(l->id, sizeof(l->id), "chatcmpl-%lu", ++asked);
    evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n");
    l->at = 0;
    event_add(l->turn, &gap);
}

/* The head of the next request: its length, and what is asked.  False: not there yet. */
static bool take_head(struct link *l, bool *meter)
{
    struct evbuffer *in = bufferevent_get_input(l->bev);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    static char head[HEAD_MAX + 1];
    const char *length;
    size_t n;

    if (end.pos < 0 || end.pos > HEAD_MAX - 4)
        return false;
    n = (size_t)end.pos + 4;
    evbuffer_remove(in, head, n);
    head[n] = '\0';
    length = strcasestr(head, "\r\ncontent-length:");
    l->body_left = length ? strtoul(length + 17, NULL, 10) : 0;
    *meter = !strncmp(head, "GET", 3);
    return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct link *l = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    bool meter = false;
    size_t n;

    if (l->at >= 0 || (!l->body_left && !take_head(l, &meter)))
        return;
    n = evbuffer_get_length(in) < l->body_left ? evbuffer_get_length(in) : l->body_left;
    evbuffer_drain(in, n);
    l->body_left -= n;
    if (!l->body_left)
        answer(l, meter);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        link_free(arg);
}

static void on_accept(struct evconnlistener *ear, evutil_socket_t fd, struct sockaddr *a, int len,
                      void *arg)
{
    struct link *l = calloc(1, sizeof(*l));

    (void)ear;
    (void)a;
    (void)len;
    (void)arg;
    if (!l)
        exit(1);
    l->at = -1;
    l->bev = net_accepted(base, fd);
    l->turn = evtimer_new(base, write_event, l);
    bufferevent_setcb(l->bev, on_read, NULL, on_end, l);
    bufferevent_enable(l->bev, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "events=", 7))
            n_event = atoi(argv[i] + 7);
        else if (!strncmp(argv[i], "gap_us=", 7))
            gap.tv_usec = atol(argv[i] + 7);
    }
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    printf("port %d\n", net_listen(base, on_accept, NULL));
    fflush(stdout);
    return event_base_dispatch(base) < 0;
}
