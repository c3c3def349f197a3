/* outbox.h - what a thread has finished, handed to the thread that asked, with a descriptor to
 * wait for. */
#ifndef STORE_OUTBOX_H
#define STORE_OUTBOX_H

#include "base/err.h"

#include <pthread.h>

struct outbox_item {
    struct outbox_item *next;
    void (*run)(struct outbox_item *item);      /* on the thread that polls; may free the item */
};

struct outbox {
    pthread_mutex_t lock;
    struct outbox_item *first, **last;
    int fd;                             /* readable while something is in it; -1: not open */
};

MUST_CHECK enum err outbox_init(struct outbox *o);
void outbox_release(struct outbox *o);

void outbox_put(struct outbox *o, struct outbox_item *item);    /* from any thread */
int outbox_run(struct outbox *o);       /* run what is in it, in its order: how many */

#endif
