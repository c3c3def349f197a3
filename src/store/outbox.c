/* outbox.c - see outbox.h. */
#include "store/outbox.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum err outbox_init(struct outbox *o)
{
    *o = (struct outbox){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
    pthread_mutex_init(&o->lock, NULL);
    o->last = &o->first;
    if (o->fd < 0)
        return err_set(ERR_IO, "OUTBOX-01", "the system gave no event descriptor: %s; raise the "
                       "limit of open files (ulimit -n)", strerror(errno));
    return OK;
}

void outbox_release(struct outbox *o)
{
    if (!o->last)
        return;
    pthread_mutex_destroy(&o->lock);
    if (o->fd >= 0)
        close(o->fd);
    *o = (struct outbox){ .fd = -1 };
}

void outbox_put(struct outbox *o, struct outbox_item *item)
{
    const uint64_t one = 1;
    bool first;

    item->next = NULL;
    pthread_mutex_lock(&o->lock);
    first = !o->first;                  /* who polls takes all that is there by then */
    *o->last = item;
    o->last = &item->next;
    pthread_mutex_unlock(&o->lock);
    while (first && write(o->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

int outbox_run(struct outbox *o)
{
    struct outbox_item *item, *next;
    uint64_t n;
    int ran = 0;

    while (read(o->fd, &n, sizeof(n)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&o->lock);
    item = o->first;
    o->first = NULL;
    o->last = &o->first;
    pthread_mutex_unlock(&o->lock);
    for (; item; item = next, ran++) {
        next = item->next;
        item->run(item);
    }
    return ran;
}
