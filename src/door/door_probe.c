/* door_probe.c - whether an upstream that is open answers again: a request that costs no tokens. */
#include "door/door_form.h"

#include <stdlib.h>

struct probe {
    struct probe *next;
    struct world *w;
    struct circuit_pass pass;
    struct client_req *req;
};

static void on_end(void *arg, enum client_end end)
{
    struct probe *p = arg;
    struct door *d = p->w->d;
    struct probe **at = &d->probes;
    bool well = end == CLIENT_OK && client_status(p->req) < 500;

    if (end != CLIENT_CANCELLED)
        circuit_report(p->w->circuits, &p->pass, well ? CIRCUIT_WELL : CIRCUIT_FAILED, -1,
                       door_now_ms());
    circuit_drop(p->w->circuits, &p->pass);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    world_drop(p->w);
    free(p);
}

static bool begin(struct world *w, const struct circuit_pass *pass)
{
    struct probe *p = calloc(1, sizeof(*p));

    if (!p)
        return false;
    *p = (struct probe){ w->d->probes, w, *pass, NULL };
    if (leave_empty(&p->req, w, pass, p, on_end)) {
        free(p);
        return false;
    }
    w->refs++;
    w->d->probes = p;
    w->d->n.probes++;
    return true;
}

void probe_tick(struct door *d)
{
    struct circuit_pass pass;

    while (circuit_probe(d->world->circuits, door_now_ms(), &pass) >= 0)
        if (!begin(d->world, &pass)) {
            circuit_drop(d->world->circuits, &pass);
            return;
        }
}
