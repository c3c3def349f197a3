/* test_client.c - a server that asks itself through the client, both on one loop: what a gateway
 * does.  What other servers do to a client is tests/api/client.py. */
#include <criterion/criterion.h>

#include "http/client.h"
#include "http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One call that is passed on, and what has come back of it. */
struct passed { struct call *call; struct client_req *r; struct buf body; };

static struct server *server;
static struct client *client;
static char base[64];
static int n_ended[CLIENT_END_COUNT];

static void hello(struct call *c, void *arg)
{
    (void)arg;
    call_reply(c, 200, "text/plain", "hello", 5);
}

static void never_gone(void *arg, enum call_gone why)
{
    (void)arg;
    (void)why;
}

static void never(struct call *c, void *arg)
{
    (void)arg;
    call_watch(c, &(struct call_watch){ .gone = never_gone });
    call_stream(c, 200, "text/event-stream", NULL);
    call_write(c, "data: x\n\n", 9);
}

static void passed_body(void *arg, const char *bytes, size_t len)
{
    struct passed *p = arg;

    buf_add(&p->body, bytes, len);
}

static void passed_end(void *arg, enum client_end end)
{
    struct passed *p = arg;

    n_ended[end]++;
    if (p->call && end == CLIENT_OK)
        call_reply(p->call, client_status(p->r), "text/plain", buf_text(&p->body), p->body.len);
    else if (p->call)
        call_reply(p->call, 502, "text/plain", client_end_name(end), strlen(client_end_name(end)));
    buf_release(&p->body);
    free(p);
}

static void passed_gone(void *arg, enum call_gone why)
{
    struct passed *p = arg;

    (void)why;
    p->call = NULL;
    client_cancel(p->r);
}

static void pass(struct call *c, const char *path)
{
    struct passed *p = calloc(1, sizeof(*p));
    char url[128];

    snprintf(url, sizeof(url), "%s%s", base, path);
    p->call = c;
    call_watch(c, &(struct call_watch){ passed_gone, NULL, p });
    cr_assert_eq(client_send(&p->r, client, &(struct client_ask){
        .url = url, .arg = p, .on_body = passed_body, .on_end = passed_end }), OK);
}

static void through(struct call *c, void *arg)
{
    (void)arg;
    pass(c, "/hello");
}

static void through_never(struct call *c, void *arg)
{
    (void)arg;
    pass(c, "/never");
}

static const struct route routes[] = {
    { "GET", "/hello", 0, 0, hello }, { "GET", "/never", 0, 0, never },
    { "GET", "/through", 0, 0, through }, { "GET", "/through_never", 0, 0, through_never },
};

static void open_both(void)
{
    struct server_options o = { .route = routes, .n_route = 4 };

    cr_assert_eq(server_new(&server, &o), OK);
    cr_assert_eq(server_listen(server, "127.0.0.1", 0, false), OK);
    cr_assert_eq(client_new(&client, server_loop(server), 0), OK);
    snprintf(base, sizeof(base), "http://127.0.0.1:%d", server_port(server, 0));
}

static void close_both(void)
{
    client_free(client);
    server_free(server);
}

/* --- one request from outside ---------------------------------------------------------------- */

struct asked { struct client_req *r; struct buf body; enum client_end end; int status, n_end; };

static void asked_body(void *arg, const char *bytes, size_t len)
{
    struct asked *a = arg;

    buf_add(&a->body, bytes, len);
}

static void asked_end(void *arg, enum client_end end)
{
    struct asked *a = arg;

    a->end = end;
    a->status = client_status(a->r);
    a->n_end++;
    server_stop(server);
}

static void ask(struct asked *a, const char *path, int total_ms)
{
    char url[128];

    snprintf(url, sizeof(url), "%s%s", base, path);
    *a = (struct asked){ .n_end = 0 };
    cr_assert_eq(client_send(&a->r, client, &(struct client_ask){
        .url = url, .arg = a, .on_body = asked_body, .on_end = asked_end,
        .total_ms = total_ms }), OK);
}

Test(client, a_server_asks_another_on_the_same_loop)
{
    struct asked a;

    open_both();
    ask(&a, "/through", 0);
    cr_assert_eq(server_run(server), OK);
    cr_assert_eq(a.end, CLIENT_OK);
    cr_assert_eq(a.status, 200);
    cr_assert_str_eq(buf_text(&a.body), "hello");
    cr_assert_eq(n_ended[CLIENT_OK], 1);
    buf_release(&a.body);
    close_both();
}

Test(client, what_is_passed_on_is_cancelled_with_the_client_that_asked)
{
    struct asked a;

    open_both();
    ask(&a, "/through_never", 300);
    cr_assert_eq(server_run(server), OK);
    cr_assert_eq(a.end, CLIENT_TOTAL);
    cr_assert_eq(n_ended[CLIENT_CANCELLED], 1);
    buf_release(&a.body);
    close_both();
}

Test(client, freeing_it_cancels_what_runs)
{
    struct asked a[3];

    open_both();
    for (int i = 0; i < 3; i++)
        ask(&a[i], "/hello", 0);
    client_free(client);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(a[i].end, CLIENT_CANCELLED);
        cr_assert_eq(a[i].n_end, 1);
        buf_release(&a[i].body);
    }
    server_free(server);
}

Test(client, every_end_has_a_name_of_its_own)
{
    for (int i = 0; i < CLIENT_END_COUNT; i++)
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(client_end_name((enum client_end)i),
                              client_end_name((enum client_end)k));
}
