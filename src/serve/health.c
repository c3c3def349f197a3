/* health.c - see health.h. */
#include "serve/health.h"

const char *health_status(const struct health *h, double now)
{
    if (!h->loaded)
        return "loading";
    if (h->draining)
        return "draining";
    return (h->n_wait || h->n_work) && now - h->moved > HEALTH_STUCK_S ? "stuck" : "ok";
}
