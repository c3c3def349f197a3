/* http_faults.c - a server and its requests while memory is short; see http_faults.h.
 *
 * The client is a process of its own, so that only the server's allocations are counted. */
#include "http_faults.h"

#include "http/client.h"
#include "http/keys.h"
#include "http/server.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char socket_path[96], keys_path[96];
static struct server *server;

static void *allocate(size_t n)
{
    return malloc(n);
}

static void *reallocate(void *p, size_t n)
{
    return realloc(p, n);
}

static void quiet(int severity, const char *text)
{
    (void)severity;
    (void)text;
}

void http_prepare(const char *folder)
{
    char token[KEY_TOKEN_BYTES];
    struct key key = { .id = "a", .scopes = KEY_INFER, .created = 1800000000 };
    struct keys *k;

    event_set_mem_functions(allocate, reallocate, free);
    event_set_log_callback(quiet);
    snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
    snprintf(keys_path, sizeof(keys_path), "%s/keys.json", folder);
    ASSERT(keys_new(&k) == OK && keys_add(k, &key, token) == OK);
    ASSERT(keys_write(k, keys_path) == OK);
    keys_free(k);
}

enum err http_body_keys(void)
{
    struct keys *k;
    enum err e = keys_load(&k, keys_path);

    keys_free(k);
    return e;
}

static void echo(struct call *c, void *arg)
{
    struct piece body = call_body(c);

    (void)arg;
    call_header(c, "x-more", "1");
    call_reply(c, 200, "text/plain", body.at, body.len);
}

static void on_gone(void *arg, enum call_gone why)
{
    (void)arg;
    (void)why;
}

static void stream(struct call *c, void *arg)
{
    (void)arg;
    call_watch(c, &(struct call_watch){ .gone = on_gone });
    call_stream(c, 200, "text/event-stream", ": \n\n");
    for (int i = 0; i < 3; i++)
        call_write(c, "data: x\n\n", 9);
    call_end(c);
}

static const struct route routes[] = {
    { "POST", "/echo", 0, 4096, echo },
    { "GET", "/stream", 0, 0, stream },
};

static enum err start(void)
{
    struct server_options o = { .route = routes, .n_route = 2, .limits.idle_ms = 200,
                                .limits.head_ms = 200, .limits.body_ms = 200,
                                .limits.write_ms = 200, .limits.linger_ms = 200 };
    enum err e = server_new(&server, &o);

    return e ? e : server_listen_unix(server, socket_path);
}

/* libevent does without some of what it asks for, so that a server may come of it all the same. */
int http_start_fails(long *countdown)
{
    for (int n = 1;; n++) {
        *countdown = n;
        enum err e = start();
        bool reached = *countdown == 0;
        *countdown = -1;
        server_free(server);
        server = NULL;
        if (access(socket_path, F_OK) == 0 || (e != OK && e != ERR_NOMEM) || (e && !reached)) {
            printf("server_new: allocation %d failed and was badly handled: %s\n", n, err_text());
            return 1;
        }
        if (!reached) {
            printf("server_new, listening: %d allocations, every failure handled\n", n - 1);
            return 0;
        }
    }
}

static const char request[] =
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    "DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/* All that the server sends until it ends the connection; the length. */
static size_t ask(char *out, size_t cap)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t len = 0;
    ssize_t n;

    memcpy(a.sun_path, socket_path, strlen(socket_path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
        return 0;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
        while (len < cap - 1 && (n = read(fd, out + len, cap - 1 - len)) > 0)
            len += (size_t)n;
    out[len] = '\0';
    close(fd);
    return len;
}

/* While all allocations work, everything must be there. */
static int client(bool all)
{
    static char out[8192];
    const char *last;

    alarm(30);                          /* only a server that hangs takes that long */
    ask(out, sizeof(out));
    if (!all)
        return 0;
    last = strstr(out, "0\r\n\r\n");
    return !(strstr(out, "hello") && strstr(out, "abc") && strstr(out, " 405 ") && last &&
             !last[5]);
}

static pid_t start_client(bool all)
{
    pid_t child = fork();

    ASSERT(child >= 0);
    if (child == 0)
        _exit(client(all));
    return child;
}

/* The first client is done, with or without an answer: a second follows, when all work. */
struct round { long *countdown; pid_t child; int status; bool reached, second; };

static void on_child(void *arg)
{
    struct round *r = arg;
    int status = -1;

    waitpid(r->child, &status, 0);
    r->status |= status;
    if (r->second) {
        server_stop(server);
        return;
    }
    r->reached = *r->countdown == 0;
    *r->countdown = -1;
    r->second = true;
    r->child = start_client(true);
}

int http_requests_fail(long *countdown)
{
    for (int n = 1;; n++) {
        struct round r = { .countdown = countdown };
        ASSERT(start() == OK && server_on_signal(server, SIGCHLD, on_child, &r) == OK);
        r.child = start_client(false);
        *countdown = n;
        enum err e = server_run(server);
        *countdown = -1;
        server_free(server);
        if (e || r.status || !r.second) {
            printf("requests: allocation %d failed, and the server did not serve on\n", n);
            return 1;
        }
        if (!r.reached) {
            printf("requests: %d allocations, every failure handled\n", n - 1);
            return 0;
        }
    }
}

/* --- a client -------------------------------------------------------------------------------- */

static const char reply[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-More: 1\r\n"
    "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n";

/* A process that answers every request of every connection with `reply`, until it is killed. */
static pid_t start_replies(int listener)
{
    char in[4096];
    pid_t child = fork();

    ASSERT(child >= 0);
    while (child == 0) {
        int fd = accept(listener, NULL, NULL);
        while (fd >= 0 && read(fd, in, sizeof(in)) > 0)
            if (send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL) < 0)
                break;
        close(fd);
    }
    return child;
}

struct asked { struct loop *loop; struct client_req *r; int n_event, n_end; enum client_end end; };

static void asked_event(void *arg, const char *name, const char *data, size_t len)
{
    struct asked *a = arg;

    (void)name;
    (void)data;
    a->n_event += len == 1;
    if (a->n_event == 1) {              /* what is left of the piece is kept meanwhile */
        client_pause(a->r);
        client_resume(a->r);
    }
}

static void asked_end(void *arg, enum client_end end)
{
    struct asked *a = arg;

    a->n_end++;
    a->end = end;
    loop_stop(a->loop);
}

static enum err ask_client(struct asked *a, struct client *c)
{
    char url[256] = "http+unix://", one[2] = "";
    size_t len = strlen(url);
    struct client_field field = { "X-Key", "value" };
    enum err e;

    for (const char *at = socket_path; *at && len + 6 < sizeof(url); at++) {
        one[0] = *at;
        len += (size_t)snprintf(url + len, sizeof(url) - len, "%s", *at == '/' ? "%2F" : one);
    }
    snprintf(url + len, sizeof(url) - len, "/x");
    e = client_send(&a->r, c, &(struct client_ask){
        .url = url, .field = &field, .n_field = 1, .body = "{}", .body_len = 2, .arg = a,
        .on_event = asked_event, .on_end = asked_end, .total_ms = 20000 });
    return e ? e : loop_run(a->loop);
}

static int one_client(long *countdown, int n, bool *reached)
{
    struct asked a = { .loop = NULL }, next;
    struct client *c = NULL;
    enum err e;
    int bad = 0;

    *countdown = n;
    e = loop_new(&a.loop);
    if (!e)
        e = client_new(&c, a.loop, 0);
    if (!e)
        e = ask_client(&a, c);
    *reached = *countdown == 0;
    *countdown = -1;
    bad = (e && (e != ERR_NOMEM || !*reached || a.n_end)) || (!e && a.n_end != 1) ||
          (!*reached && (a.end != CLIENT_OK || a.n_event != 2));
    if (c && !bad) {
        next = (struct asked){ .loop = a.loop };
        bad = ask_client(&next, c) != OK || next.end != CLIENT_OK || next.n_event != 2;
    }
    client_free(c);
    loop_free(a.loop);
    return bad;
}

int http_client_fails(long *countdown)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), n = 1;
    bool reached = true, bad = false;
    pid_t child;

    unlink(socket_path);
    memcpy(a.sun_path, socket_path, strlen(socket_path) + 1);
    ASSERT(listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof(a)));
    ASSERT(!listen(listener, 16));
    child = start_replies(listener);
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, allocate, free, reallocate, strdup, calloc);
    for (; reached && !bad; n++)
        bad = one_client(countdown, n, &reached);
    curl_global_cleanup();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(listener);
    unlink(socket_path);
    if (bad)
        printf("client: allocation %d failed and was badly handled: %s\n", n - 1, err_text());
    else
        printf("client, a request: %d allocations, every failure handled\n", n - 2);
    return bad;
}
