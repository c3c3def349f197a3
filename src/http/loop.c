/* loop.c - see loop.h. */
#include "http/loop.h"

#include "http/loop_form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct loop_timer {
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_watch {
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};

enum err loop_new(struct loop **out)
{
    struct loop *l = calloc(1, sizeof(*l));

    *out = NULL;
    if (!l || !(l->base = event_base_new())) {
        free(l);
        return err_set(ERR_NOMEM, "LOOP-01", "out of memory or descriptors for an event loop");
    }
    *out = l;
    return OK;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    event_base_free(l->base);
    free(l);
}

enum err loop_run(struct loop *l)
{
    if (event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        return err_set(ERR_IO, "LOOP-02", "the event loop failed: %s", strerror(errno));
    return OK;
}

void loop_stop(struct loop *l)
{
    event_base_loopbreak(l->base);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->fn(t->arg);
}

enum err loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *t = calloc(1, sizeof(*t));

    *out = NULL;
    if (!t || !(t->ev = evtimer_new(l->base, on_timer, t))) {
        free(t);
        return err_set(ERR_NOMEM, "LOOP-03", "out of memory for a timer");
    }
    t->fn = fn;
    t->arg = arg;
    *out = t;
    return OK;
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    event_free(t->ev);
    free(t);
}

enum err loop_timer_set(struct loop_timer *t, double seconds)
{
    struct timeval wait;

    seconds = seconds > 0 ? seconds : 0;
    wait.tv_sec = (time_t)seconds;
    wait.tv_usec = (suseconds_t)((seconds - (double)wait.tv_sec) * 1e6);
    return evtimer_add(t->ev, &wait) == 0
           ? OK : err_set(ERR_NOMEM, "LOOP-04", "out of memory for a timer that is set");
}

void loop_timer_soon(struct loop_timer *t)
{
    event_active(t->ev, EV_TIMEOUT, 0);
}

void loop_timer_stop(struct loop_timer *t)
{
    evtimer_del(t->ev);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *w = arg;

    (void)fd;
    (void)what;
    w->fn(w->arg);
}

enum err loop_watch_new(struct loop_watch **out, struct loop *l, int fd, void (*fn)(void *arg),
                        void *arg)
{
    struct loop_watch *w = calloc(1, sizeof(*w));

    *out = NULL;
    if (!w || !(w->ev = event_new(l->base, fd, EV_READ | EV_PERSIST, on_readable, w)) ||
        event_add(w->ev, NULL)) {
        loop_watch_free(w);
        return err_set(ERR_NOMEM, "LOOP-05", "out of memory to watch a descriptor");
    }
    w->fn = fn;
    w->arg = arg;
    *out = w;
    return OK;
}

void loop_watch_free(struct loop_watch *w)
{
    if (!w)
        return;
    if (w->ev)
        event_free(w->ev);
    free(w);
}
