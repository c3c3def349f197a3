/* bench_samples.c - see bench_samples.h. */
#include "cmd/bench_samples.h"

#include <math.h>
#include <stdlib.h>

enum err samples_add(struct samples *s, double seconds)
{
    double us = seconds * 1e6 + 0.5;

    if (s->n == SAMPLES_MAX)
        return err_set(ERR_LIMIT, "BSERVE-81", "%d times are measured, which is the most that are "
                       "kept; measure for less long", SAMPLES_MAX);
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 1024;
        uint32_t *more = realloc(s->us, cap * sizeof(*more));
        if (!more)
            return err_set(ERR_NOMEM, "BSERVE-82", "no memory for %zu measured times", cap);
        s->us = more;
        s->cap = cap;
    }
    s->us[s->n++] = us < 0 ? 0 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    s->sorted = false;
    return OK;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double samples_percentile(struct samples *s, double p)
{
    size_t rank;

    if (!s->n)
        return 0;
    if (!s->sorted)
        qsort(s->us, s->n, sizeof(*s->us), by_value);
    s->sorted = true;
    /* p n is exact for whole p, so that no rank is one too high by rounding. */
    rank = (size_t)ceil(p * (double)s->n / 100);
    return s->us[rank ? rank - 1 : 0] / 1e3;
}

double samples_mean(const struct samples *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->n; i++)
        sum += s->us[i];
    return s->n ? sum / (double)s->n / 1e3 : 0;
}

void samples_release(struct samples *s)
{
    free(s->us);
    *s = (struct samples){ 0 };
}
