/* health.h - whether a server answers.  Pure: the clock is the caller's. */
#ifndef SERVE_HEALTH_H
#define SERVE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* Work that waits this long without a step is stuck. */
#define HEALTH_STUCK_S 30.0

struct health {
    bool loaded, draining;
    int64_t n_wait, n_work;             /* sequences */
    double moved;                       /* when a step ended, or work came to an engine at rest */
};

/* "ok", or why it does not answer: "loading", "draining", "stuck". */
const char *health_status(const struct health *h, double now);

#endif
