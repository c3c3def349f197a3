/* loop.h - the event loop of one thread, timers and descriptors on it, for code above this folder.
 *
 * Everything here belongs to the loop's thread, and what a timer calls runs on it. */
#ifndef HTTP_LOOP_H
#define HTTP_LOOP_H

#include "base/err.h"

struct loop;
struct loop_timer;
struct loop_watch;

/* A loop without a server; one of a server is server_loop().  *out is yours: loop_free(), after
 * all timers and clients on it.  Errors: NOMEM. */
MUST_CHECK enum err loop_new(struct loop **out);
void loop_free(struct loop *l);

/* Until loop_stop().  Errors: IO. */
MUST_CHECK enum err loop_run(struct loop *l);

/* End loop_run() after what is running now. */
void loop_stop(struct loop *l);

/* A timer that calls `fn` once each time it was set.  *out is yours: loop_timer_free().
 * Errors: NOMEM. */
MUST_CHECK enum err loop_timer_new(struct loop_timer **out, struct loop *l,
                                   void (*fn)(void *arg), void *arg);
void loop_timer_free(struct loop_timer *t);

/* So many seconds from now (0: on the next turn), in place of when it was set for before.
 * Errors: NOMEM. */
MUST_CHECK enum err loop_timer_set(struct loop_timer *t, double seconds);

/* On the next turn.  Needs no memory. */
void loop_timer_soon(struct loop_timer *t);
void loop_timer_stop(struct loop_timer *t);

/* Call `fn` whenever a descriptor, which stays yours, is readable.  *out is yours:
 * loop_watch_free(), before the descriptor is closed.  Errors: NOMEM. */
MUST_CHECK enum err loop_watch_new(struct loop_watch **out, struct loop *l, int fd,
                                   void (*fn)(void *arg), void *arg);
void loop_watch_free(struct loop_watch *w);

#endif
