/* door.c - see door.h: the life of a gateway.
 *
 *   open: load, prove, books -> listen -> run: (SIGHUP: another world)
 *                                                -> SIGTERM: drain -> close */
#include "door/door_form.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TICK_MS = 500, OUTPUT_MAX = 4 << 20 };

static const struct route routes[] = {
#define ROUTE(method, path, auth, body_max, fn) \
    { method, path, auth, body_max, fn }, { method, "/v1" path, auth, body_max, fn },
#include "door/door_route.def"
#undef ROUTE
};

int64_t door_now_ms(void)
{
    return (int64_t)(clock_s() * 1000);
}

/* SplitMix64: spreads waits, orders weighted groups, names replies; no secret hangs on it. */
uint64_t door_random(struct door *d)
{
    uint64_t x = d->random += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* ---- what comes by itself ------------------------------------------------------------------- */

static void on_tick(void *arg)
{
    struct door *d = arg;
    int64_t now = door_now_ms();

    books_poll(d);
    books_sweep(d, false);
    if (!d->draining)
        probe_tick(d);
    for (struct ask *a = d->asks; a; a = a->next)
        if (now - a->began_ms >= QUIET_MS)
            reply_quiet(a);
    if (loop_timer_set(d->tick, TICK_MS / 1e3))
        loop_timer_soon(d->tick);       /* no memory to wait: it must not be the last */
}

static void on_end(void *arg)
{
    struct door *d = arg;

    if (d->draining) {
        server_stop(d->server);
        return;
    }
    d->draining = true;
    term_note("ending: no new requests are taken; those in progress get their answers");
    server_drain(d->server);
}

/* Label i of the old configuration is label to[i] of the new one. */
static void relabel(struct door *d, const struct config *old, const struct config *fresh)
{
    int to[64];

    for (int i = 0; i < 64; i++)
        to[i] = i < config_labels(old) ? config_label_find(fresh, config_label_name(old, i)) : -1;
    aside_relabel(d->aside, to);
}

static enum err apply_listen(struct door *d, const struct config *c)
{
    return c->listen.tls_cert ? server_tls(d->server, c->listen.tls_cert, c->listen.tls_key) : OK;
}

static void on_hup(void *arg)
{
    struct door *d = arg;
    struct world *fresh, *old = d->world;
    enum err e = world_new(&fresh, d, d->path);

    if (!e && (e = apply_listen(d, fresh->c)))
        world_drop(fresh);
    if (e) {
        term_error(e);
        term_note("the configuration stays as it was");
        return;
    }
    if (strcmp(old->c->listen.address, fresh->c->listen.address))
        term_warn("listen.address is read at the start alone; %s goes on",
                  old->c->listen.address);
    relabel(d, old->c, fresh->c);
    if (strcmp(old->c->ledger.url, fresh->c->ledger.url))
        aside_reset(d->aside);          /* keys of the same id are others there */
    d->world = fresh;
    world_drop(old);
    term_note("the configuration was read again");
}

/* ---- life ----------------------------------------------------------------------------------- */

static enum err open_log(struct door *d, const struct config *c)
{
    const char *file = c->listen.log.file;

    if (!file)
        return OK;
    d->access_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (d->access_fd < 0)
        return err_set(ERR_IO, "DOOR-21", "%s: the log cannot be opened: %s; name another file "
                       "under listen", file, strerror(errno));
    return access_open(&d->access, d->access_fd);
}

/* The log's file stands in the configuration, which is whole only with a server to open books on;
 * so it is loaded once for this. */
static enum err make_server(struct door *d)
{
    struct config *c = NULL;
    struct server_options o = {
        .route = routes, .n_route = sizeof(routes) / sizeof(*routes), .arg = d,
        .authorise = who_may, .refusal = refuse_by_fault, .any_host = true,
        .limits = { .output_max = OUTPUT_MAX, .conn_max = 16384 },
    };
    enum err e = config_load(&c, d->path);

    if (!e)
        e = open_log(d, c);
    config_free(c);
    o.access = d->access;
    if (!e)
        e = server_new(&d->server, &o);
    if (!e)
        e = client_new(&d->client, server_loop(d->server), 0);
    if (!e)
        e = aside_new(&d->aside, &(struct aside_options){ 0 });
    return e ? e : loop_timer_new(&d->tick, server_loop(d->server), on_tick, d);
}

/* "127.0.0.1:4010", "[::1]:4010". */
static enum err listen_on(struct door *d, const struct config *c)
{
    const char *address = c->listen.address, *colon = strrchr(address, ':');
    bool bracket = *address == '[' && colon > address && colon[-1] == ']';
    char host[256];

    snprintf(host, sizeof(host), "%.*s", (int)(colon - address) - 2 * bracket,
             address + bracket);
    return server_listen(d->server, host, atoi(colon + 1), c->listen.tls_cert != NULL);
}

/* Beyond this machine only with keys. */
static enum err check_open(struct door *d)
{
    const char *address = d->world->c->listen.address;

    books_poll(d);                      /* the keys are there */
    if (!d->world->books->keyless || !strncmp(address, "127.", 4) ||
        !strncmp(address, "localhost:", 10) || !strncmp(address, "[::1]:", 6))
        return OK;
    return err_set(ERR_ARG, "DOOR-23", "%s is open to others, and the ledger has no key yet; make "
                   "one with croft key add ID -c %s", address, d->path);
}

/* Each request takes two descriptors: as many as the system lets us have. */
static void raise_descriptors(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= l.rlim_max)
        return;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l))
        term_warn("at most %llu descriptors can be open; raise ulimit -n for more requests",
                  (unsigned long long)l.rlim_cur);
}

static enum err catch_signals(struct door *d)
{
    enum err e = server_on_signal(d->server, SIGTERM, on_end, d);

    if (!e)
        e = server_on_signal(d->server, SIGINT, on_end, d);
    return e ? e : server_on_signal(d->server, SIGHUP, on_hup, d);
}

enum err door_open(struct door **out, const char *path)
{
    struct door *d = calloc(1, sizeof(*d));
    enum err e;

    *out = NULL;
    if (!d)
        return err_set(ERR_NOMEM, "DOOR-22", "no memory for a gateway");
    d->path = path;
    d->access_fd = -1;
    d->started = clock_s();
    if (getrandom(&d->random, sizeof(d->random), 0) != (ssize_t)sizeof(d->random))
        d->random = (uint64_t)getpid();
    raise_descriptors();
    e = make_server(d);
    if (!e)
        e = world_new(&d->world, d, path);
    if (!e)
        e = apply_listen(d, d->world->c);
    if (!e)
        e = check_open(d);
    if (!e)
        e = listen_on(d, d->world->c);
    if (!e)
        e = loop_timer_set(d->tick, 0);
    if (!e)
        e = catch_signals(d);
    if (e) {
        door_close(d);
        return e;
    }
    *out = d;
    return OK;
}

enum err door_run(struct door *d)
{
    return server_run(d->server);
}

/* Clients are gone by now, but some calls may be finished without them. */
static void end_asks(struct door *d)
{
    struct ask *next;

    d->closing = true;
    for (struct ask *a = d->asks; a; a = next) {
        next = a->next;
        if (a->call) {
            a->call = NULL;             /* the server has dropped it */
            ask_count_end(a, DOOR_LEFT);
        }
        try_cancel(a);
    }
}

void door_close(struct door *d)
{
    if (!d)
        return;
    if (d->server)
        server_stop(d->server);
    end_asks(d);
    if (d->client)
        client_free(d->client);
    for (int i = 0; i < CLOSE_WAIT_MS / 10 && d->asks; i++) {
        books_poll(d);                  /* rows and journals that wait call back */
        usleep(10000);
    }
    if (d->world)
        world_drop(d->world);
    books_sweep(d, true);
    loop_timer_free(d->tick);
    aside_free(d->aside);
    server_free(d->server);
    if (d->access)
        access_close(d->access);
    if (d->access_fd >= 0)
        close(d->access_fd);
    free(d);
}

void door_describe(const struct door *d, struct buf *out)
{
    const struct config *c = d->world->c;
    const char *scheme = c->listen.tls_cert ? "https" : "http";

    buf_printf(out, "%u models, %u groups at %s://%s/v1", c->models_count, c->groups_count, scheme,
               c->listen.address);
}
