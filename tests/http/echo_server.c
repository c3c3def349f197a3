/* echo_server.c - a server of all that src/http can do, driven by tests/api/http.py.
 *
 *   echo_server [NAME=VALUE]...
 *
 * listen=HOST (several), tls=HOST with cert=FILE and key=FILE before it, unix=PATH, keys=FILE,
 * host=NAME (one more that Host may have), proxy=ADDRESS, origin=ORIGIN, base=PATH, and the
 * limits by their names (head_ms=200).
 * Prints a line "port N" for each listening socket, then "ready"; the access log goes to standard
 * error.  SIGTERM drains, SIGHUP reads keys and certificate again, SIGINT stops. */
#include "base/term.h"
#include "http/keys.h"
#include "http/server.h"
#include "http/sse.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct server *server;
static struct keys *keys;
static const char *keys_path, *cert_path, *key_path, *own_host, *proxy, *origin;
static int gone[3], rooms, refused_posts;
static atomic_int posters;               /* threads that will call server_post */

static void hello(struct call *c, void *arg)
{
    (void)arg;
    call_reply(c, 200, "text/plain", "hello\n", 6);
}

static void echo(struct call *c, void *arg)
{
    struct piece body = call_body(c);

    (void)arg;
    call_header(c, "x-peer", call_peer(c));
    call_header(c, "x-loopback", call_loopback(c) ? "yes" : "no");
    call_reply(c, 200, "application/octet-stream", body.at, body.len);
}

static void model(struct call *c, void *arg)
{
    struct piece id = call_param(c, 0);

    (void)arg;
    call_reply(c, 200, "text/plain", id.at, id.len);
}

static void who(struct call *c, void *arg)
{
    (void)arg;
    call_reply(c, 200, "text/plain", call_key(c), strlen(call_key(c)));
}

static void status(struct call *c, void *arg)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "{\"client\": %d, \"slow\": %d, \"server\": %d, "
                     "\"rooms\": %d, \"refused_posts\": %d, \"connections\": %d}",
                     gone[GONE_CLIENT],
                     gone[GONE_SLOW], gone[GONE_SERVER], rooms, refused_posts,
                     server_connections(server));

    (void)arg;
    call_reply(c, 200, "application/json", text, (size_t)n);
}

/* A reply in pieces: as many as there is room for, then those that `room` asks for. */
struct stream { struct call *c; long at, n; bool waits; };

static void on_gone(void *arg, enum call_gone why)
{
    gone[why]++;
    free(arg);
}

static void produce(void *arg)
{
    struct stream *s = arg;
    struct buf event = { 0 };
    char data[64];
    bool room = true;

    rooms += s->waits;
    while (room && s->at < s->n) {
        buf_cut(&event, 0);
        snprintf(data, sizeof(data), "{\"n\": %ld, \"pad\": \"%032d\"}", s->at++, 0);
        sse_event(&event, NULL, data, strlen(data));
        room = call_write(s->c, buf_text(&event), event.len);
    }
    s->waits = true;
    buf_release(&event);
    if (s->at == s->n && room) {
        call_end(s->c);
        free(s);
    }
}

static long number(struct piece p)
{
    char text[16];

    snprintf(text, sizeof(text), "%.*s", (int)(p.len < 15 ? p.len : 15), p.at);
    return strtol(text, NULL, 10);
}

static struct stream *stream_new(struct call *c, long n, const char *beat)
{
    struct stream *s = calloc(1, sizeof(*s));

    ASSERT(s);
    *s = (struct stream){ .c = c, .n = n };
    call_watch(c, &(struct call_watch){ on_gone, produce, s });
    call_stream(c, 200, "text/event-stream", beat);
    return s;
}

static void stream(struct call *c, void *arg)
{
    (void)arg;
    produce(stream_new(c, number(call_param(c, 0)), ": \n\n"));
}

/* Says nothing but its heartbeat, until the client leaves. */
static void silent(struct call *c, void *arg)
{
    (void)arg;
    stream_new(c, 1, ": \n\n");
}

/* Takes no notice of back-pressure. */
static void flood(struct call *c, void *arg)
{
    struct stream *s = stream_new(c, 1, NULL);
    static char piece[4096];

    (void)arg;
    memset(piece, 'x', sizeof(piece));
    for (int i = 0; i < 10000; i++)
        call_write(s->c, piece, sizeof(piece));
}

/* So many KiB at once, and the reply's end. */
static void pile(struct call *c, void *arg)
{
    static char piece[1024];

    (void)arg;
    memset(piece, 'x', sizeof(piece));
    call_stream(c, 200, "text/plain", NULL);
    for (long n = number(call_param(c, 0)); n > 0; n--)
        call_write(c, piece, sizeof(piece));
    call_end(c);
}

/* A thread of its own hands the reply in. */
static void reply_later(void *arg)
{
    struct stream *s = arg;

    if (s->c)
        call_reply(s->c, 200, "text/plain", "later\n", 6);
    free(s);
}

static void *other_thread(void *arg)
{
    struct timespec moment = { 0, 2000000 };

    nanosleep(&moment, NULL);
    while (server_post(server, reply_later, arg))
        nanosleep(&moment, NULL);
    atomic_fetch_sub(&posters, 1);
    return NULL;
}

static void later_gone(void *arg, enum call_gone why)
{
    gone[why]++;
    ((struct stream *)arg)->c = NULL;
}

static void later(struct call *c, void *arg)
{
    struct stream *s = calloc(1, sizeof(*s));
    pthread_t thread;

    (void)arg;
    ASSERT(s);
    s->c = c;
    call_watch(c, &(struct call_watch){ later_gone, NULL, s });
    atomic_fetch_add(&posters, 1);
    ASSERT(!pthread_create(&thread, NULL, other_thread, s));
    pthread_detach(thread);
}

/* How many events fit when nobody takes them. */
static void nothing(void *arg)
{
    (void)arg;
}

static void fill_queue(struct call *c, void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++)
        refused_posts += server_post(server, nothing, NULL) == ERR_BUSY;
    status(c, arg);
}

static const struct route routes[] = {
    { "GET", "/hello", 0, 0, hello },
    { "GET", "/", 0, 0, hello },
    { "POST", "/echo", 0, 1 << 20, echo },
    { "POST", "/small", 0, 8, echo },
    { "GET", "/models/{id}", 0, 0, model },
    { "GET", "/status", 0, 0, status },
    { "GET", "/stream/{n}", 0, 0, stream },
    { "GET", "/silent", 0, 0, silent },
    { "GET", "/flood", 0, 0, flood },
    { "GET", "/pile/{kb}", 0, 0, pile },
    { "GET", "/later", 0, 0, later },
    { "GET", "/queue", 0, 0, fill_queue },
    { "GET", "/who", KEY_INFER, 0, who },
    { "POST", "/who", KEY_INFER, 100, who },
    { "POST", "/admin", KEY_ADMIN, 100, who },
};

static enum fault authorise(void *arg, struct call *c, int auth)
{
    const struct key *key;

    (void)arg;
    if (!keys || keys_check(keys, keys_token(call_head(c)), time(NULL), &key) != KEY_OK)
        return FAULT_unauthorised;
    call_set_key(c, key->id);
    return key->scopes & (unsigned)auth ? FAULT_none : FAULT_forbidden;
}

static void on_term(void *arg)
{
    (void)arg;
    server_drain(server);
}

static void on_int(void *arg)
{
    (void)arg;
    server_stop(server);
}

static void on_hup(void *arg)
{
    (void)arg;
    if (keys && keys_reload(&keys, keys_path))
        term_error(ERR_ARG);
    if (cert_path && server_tls(server, cert_path, key_path))
        term_error(ERR_ARG);
}

static bool set_limit(struct server_limits *l, const char *name, long value)
{
#define LIMIT(field) \
    if (!strcmp(name, #field)) { \
        l->field = (__typeof__(l->field))value; \
        return true; \
    }
    LIMIT(conn_max)
    LIMIT(idle_ms)
    LIMIT(head_ms)
    LIMIT(body_ms)
    LIMIT(write_ms)
    LIMIT(rate_min)
    LIMIT(beat_ms)
    LIMIT(linger_ms)
    LIMIT(output_high)
    LIMIT(output_max)
    LIMIT(output_total_max)
    LIMIT(body_total_max)
    LIMIT(post_max)
#undef LIMIT
    return false;
}

static enum err listen_on(const char *name, const char *value)
{
    if (!strcmp(name, "listen"))
        return server_listen(server, value, 0, false);
    if (!strcmp(name, "unix"))
        return server_listen_unix(server, value);
    if (strcmp(name, "tls"))
        return OK;
    enum err e = server_tls(server, cert_path, key_path);
    return e ? e : server_listen(server, value, 0, true);
}

/* Options first, so that the server is made with them; then the listeners in their order. */
static enum err start(int argc, char **argv, struct access *log)
{
    struct server_options o = { .route = routes, .n_route = sizeof(routes) / sizeof(*routes),
                                .authorise = authorise, .access = log, .host = &own_host,
                                .proxy = &proxy, .origin = &origin };
    enum err e = OK;

    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        ASSERT(value);
        *value++ = '\0';
        if (!strcmp(argv[i], "keys"))
            keys_path = value;
        else if (!strcmp(argv[i], "cert"))
            cert_path = value;
        else if (!strcmp(argv[i], "key"))
            key_path = value;
        else if (!strcmp(argv[i], "host"))
            own_host = value, o.n_host = 1;
        else if (!strcmp(argv[i], "proxy"))
            proxy = value, o.n_proxy = 1;
        else if (!strcmp(argv[i], "origin"))
            origin = value, o.n_origin = 1;
        else if (!strcmp(argv[i], "base"))
            o.base_path = value;
        else if (strcmp(argv[i], "listen") && strcmp(argv[i], "unix") && strcmp(argv[i], "tls"))
            ASSERT(set_limit(&o.limits, argv[i], strtol(value, NULL, 10)));
    }
    if (keys_path && (e = keys_load(&keys, keys_path)))
        return e;
    e = server_new(&server, &o);
    for (int i = 1; i < argc && !e; i++)
        e = listen_on(argv[i], argv[i] + strlen(argv[i]) + 1);
    if (!e)
        e = server_on_signal(server, SIGTERM, on_term, NULL);
    if (!e)
        e = server_on_signal(server, SIGINT, on_int, NULL);
    return e ? e : server_on_signal(server, SIGHUP, on_hup, NULL);
}

int main(int argc, char **argv)
{
    struct access *log;
    enum err e;

    signal(SIGPIPE, SIG_IGN);
    if ((e = access_open(&log, STDERR_FILENO)) || (e = start(argc, argv, log))) {
        fprintf(stderr, "echo_server: %s [%s]\n", err_text(), err_id());
        return 1;
    }
    for (int i = 0; server_port(server, i) > 0; i++)
        printf("port %d\n", server_port(server, i));
    printf("ready\n");
    fflush(stdout);
    e = server_run(server);
    while (atomic_load(&posters))
        usleep(1000);
    server_free(server);
    access_close(log);
    keys_free(keys);
    printf("done\n");
    return e != OK;
}
