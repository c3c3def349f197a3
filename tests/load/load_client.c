/* load_client.c - asks a server for streams of chat, many at once, and measures.
 *
 *   load_client PORT [path=P] [key=K] [model=M] [rate=N | clients=N] [requests=N] [cancel=PERCENT]
 *
 * rate: so many begin in a second, whatever became of the others, and each is measured from when it
 * was due.  clients: so many at once, each asks again when it has its answer.  Of the requests the
 * given part is left after their first event.  Prints one line of JSON; times are microseconds.
 *
 *   HEAD -> SIZE -> DATA -> SIZE ... -> TRAILER -> (whole: idle, ready for the next)
 */
#include "net.h"

#include <event2/buffer.h>
#include <event2/event.h>

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { LINKS_MAX = 8192, HEAD_MAX = 65536 };
enum state { IDLE, HEAD, SIZE, DATA, TRAILER };

struct link {
    struct bufferevent *bev;
    enum state state;
    size_t chunk_left;
    int64_t due_us;
    uint32_t first_us;
    bool leaves, seen;                  /* seen: an event came */
};

static struct event_base *base;
static struct link *idle[LINKS_MAX];
static int n_idle, n_link, port;
static long n_max = 10000, rate, clients = 1, cancel, n_begun, n_whole, n_left, n_failed, n_sample;
static uint32_t *whole_us, *first_us;
static char ask[4096];
static int64_t start_us;

static void next(struct link *l);

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void over(void)
{
    if (n_whole + n_left + n_failed == n_max)
        event_base_loopbreak(base);
}

static void link_free(struct link *l)
{
    bufferevent_free(l->bev);
    free(l);
    n_link--;
}

/* The request of a link has ended, and the link with it. */
static void dead(struct link *l, long *count)
{
    bool asked = l->state != IDLE;

    for (int i = 0; i < n_idle && !asked; i++)
        if (idle[i] == l)
            idle[i--] = idle[--n_idle];
    *count += asked;
    link_free(l);
    over();
    if (asked && !rate)
        next(NULL);
}

static void whole(struct link *l)
{
    first_us[n_sample] = l->first_us;
    whole_us[n_sample++] = (uint32_t)(now_us() - l->due_us);
    n_whole++;
    l->state = IDLE;
    over();
    if (rate)
        idle[n_idle++] = l;
    else
        next(l);
}

/* False: more must come.  The head is followed by chunks; anything else is a failure. */
static bool read_head(struct link *l, struct evbuffer *in, bool *good)
{
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    static char head[HEAD_MAX + 1];
    size_t n;

    *good = end.pos <= HEAD_MAX - 4;
    if (end.pos < 0 || !*good)
        return false;
    n = (size_t)end.pos + 4;
    evbuffer_remove(in, head, n);
    head[n] = '\0';
    *good = !strncmp(head, "HTTP/1.1 200", 12) && strcasestr(head, "transfer-encoding: chunked");
    l->state = SIZE;
    return *good;
}

static bool read_data(struct link *l, struct evbuffer *in)
{
    size_t have = evbuffer_get_length(in), n = have < l->chunk_left ? have : l->chunk_left;

    evbuffer_drain(in, n);
    l->chunk_left -= n;
    if (!l->seen)
        l->first_us = (uint32_t)(now_us() - l->due_us);
    l->seen = true;
    if (l->chunk_left)
        return false;
    l->state = SIZE;
    return true;
}

/* One step of the state machine; false: it waits, or the link is gone. */
static bool step(struct link *l)
{
    struct evbuffer *in = bufferevent_get_input(l->bev);
    bool good = true, more;
    char *line;

    if (l->state == HEAD) {
        more = read_head(l, in, &good);
        if (!good)
            dead(l, &n_failed);
        return more;
    }
    if (l->state == DATA) {
        more = read_data(l, in);
        if (!l->leaves)
            return more;
        dead(l, &n_left);
        return false;
    }
    line = l->state == IDLE ? NULL : evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT);
    if (!line)
        return false;
    if (l->state == TRAILER) {
        free(line);
        whole(l);
        return false;
    }
    l->chunk_left = strtoul(line, NULL, 16);
    l->state = l->chunk_left ? DATA : TRAILER;
    l->chunk_left += 2;                 /* and its line end */
    free(line);
    return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    while (step(arg))
        ;
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        dead(arg, &n_failed);
}

static struct link *link_new(void)
{
    struct link *l = calloc(1, sizeof(*l));

    l->bev = net_connect(base, port, on_read, on_end, l);
    n_link++;
    return l;
}

/* Begin the next request, on `l` or an idle link or a new one. */
static void next(struct link *l)
{
    if (n_begun == n_max || (!l && !n_idle && n_link == LINKS_MAX)) {
        if (l)
            idle[n_idle++] = l;
        return;
    }
    l = l ? l : n_idle ? idle[--n_idle] : link_new();
    l->due_us = rate ? start_us + n_begun * 1000000 / rate : now_us();
    l->leaves = n_begun * 7919 % 100 < cancel;
    l->seen = false;
    l->state = HEAD;
    n_begun++;
    bufferevent_write(l->bev, ask, strlen(ask));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    int64_t due = (now_us() - start_us) * rate / 1000000;

    (void)fd;
    (void)what;
    (void)arg;
    while (n_begun < n_max && n_begun < due && (n_idle || n_link < LINKS_MAX))
        next(NULL);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static unsigned at(uint32_t *us, long n, double part)
{
    return n ? us[(long)((double)(n - 1) * part)] : 0;
}

static void report(void)
{
    double seconds = (double)(now_us() - start_us) / 1e6;

    qsort(whole_us, (size_t)n_sample, sizeof(*whole_us), by_size);
    qsort(first_us, (size_t)n_sample, sizeof(*first_us), by_size);
    printf("{\"requests\": %ld, \"whole\": %ld, \"left\": %ld, \"failed\": %ld, \"seconds\": %.3f, "
           "\"rate\": %.1f, \"p50\": %u, \"p99\": %u, \"first_p50\": %u, \"first_p99\": %u}\n",
           n_begun, n_whole, n_left, n_failed, seconds, (double)n_begun / seconds,
           at(whole_us, n_sample, 0.5), at(whole_us, n_sample, 0.99), at(first_us, n_sample, 0.5),
           at(first_us, n_sample, 0.99));
}

static const char *word(int argc, char **argv, const char *name, const char *usual)
{
    size_t n = strlen(name);

    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
            return argv[i] + n + 1;
    return usual;
}

int main(int argc, char **argv)
{
    struct timeval tick = { .tv_usec = 200 };
    struct event_config *precise = event_config_new();
    struct event *ticks;
    char body[512];

    port = argc > 1 ? atoi(argv[1]) : 0;
    n_max = atol(word(argc, argv, "requests", "10000"));
    rate = atol(word(argc, argv, "rate", "0"));
    clients = atol(word(argc, argv, "clients", "1"));
    cancel = atol(word(argc, argv, "cancel", "0"));
    snprintf(body, sizeof(body), "{\"model\":\"%.64s\",\"stream\":true,\"stream_options\":"
             "{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":"
             "\"Say some words, please.\"}]}", word(argc, argv, "model", "load"));
    snprintf(ask, sizeof(ask), "POST %.256s HTTP/1.1\r\nHost: localhost\r\n"
             "Authorization: Bearer %.256s\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             word(argc, argv, "path", "/v1/chat/completions"), word(argc, argv, "key", "none"),
             strlen(body), body);
    whole_us = calloc((size_t)n_max + 1, sizeof(*whole_us));
    first_us = calloc((size_t)n_max + 1, sizeof(*first_us));
    if (!port || !whole_us || !first_us)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    event_config_set_flag(precise, EVENT_BASE_FLAG_PRECISE_TIMER);      /* not of milliseconds */
    base = event_base_new_with_config(precise);
    ticks = event_new(base, -1, EV_PERSIST, on_tick, NULL);
    start_us = now_us();
    if (rate)
        event_add(ticks, &tick);
    for (long i = 0; !rate && i < clients; i++)
        next(NULL);
    event_base_dispatch(base);
    report();
    return n_failed != 0;
}
