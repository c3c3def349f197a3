/* door_lane.c - room before an upstream: so many requests are in, the others stand in a queue that
 * is fair to keys.
 *
 * A request that comes is given a turn: as many behind the turn that is up as its key has requests
 * in the queue already.  The lowest turn is next, so that keys alternate however much each asks. */
#include "door/door_form.h"

#include <stdlib.h>
#include <string.h>

struct lane *lane_take(struct lane **all, const char *name, uint32_t max)
{
    struct lane *l = *all;

    while (l && strcmp(l->name, name))
        l = l->next;
    if (!l) {
        if (!(l = calloc(1, sizeof(*l))) || !(l->name = strdup(name))) {
            free(l);
            return NULL;
        }
        l->last = &l->first;
        l->next = *all;
        *all = l;
    }
    l->refs++;
    l->max = max;
    return l;
}

void lane_drop(struct lane **all, struct lane *l)
{
    if (!l || --l->refs)
        return;
    while (*all != l)
        all = &(*all)->next;
    *all = l->next;
    free(l->name);
    free(l);
}

static bool has_room(const struct lane *l)
{
    return !l->max || l->busy < l->max;
}

bool lane_enter(struct lane *l, struct ask *a, bool *full)
{
    *full = false;
    if (!l->n_waiting && has_room(l)) {
        l->busy++;
        return true;
    }
    *full = l->n_waiting >= LANE_WAITING_MAX;
    if (*full)
        return false;
    a->turn = l->turn + 1;
    for (const struct ask *b = l->first; b; b = b->queued)
        a->turn += !strcmp(b->who.key, a->who.key);
    a->queued = NULL;
    *l->last = a;
    l->last = &a->queued;
    l->n_waiting++;
    a->waiting = true;
    return false;
}

void lane_quit(struct lane *l, struct ask *a)
{
    struct ask **at = &l->first;

    while (*at != a)
        at = &(*at)->queued;
    *at = a->queued;
    if (l->last == &a->queued)
        l->last = at;
    l->n_waiting--;
    a->waiting = false;
}

void lane_leave(struct lane *l)
{
    struct ask *next;

    l->busy--;
    while (has_room(l) && (next = l->first)) {
        for (struct ask *a = l->first; a; a = a->queued)
            if (a->turn < next->turn)
                next = a;
        lane_quit(l, next);
        l->turn = next->turn;
        l->busy++;
        try_entered(next);
    }
}
