/* bench_samples.h - times as they are measured, and their exact percentiles. */
#ifndef CMD_BENCH_SAMPLES_H
#define CMD_BENCH_SAMPLES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAMPLES_MAX = 1 << 24 };         /* 64 MiB of them */

/* A zeroed struct is empty.  Microseconds; longer than 71 minutes counts as that. */
struct samples { uint32_t *us; size_t n, cap; bool sorted; };

/* Errors: NOMEM; LIMIT (SAMPLES_MAX are there). */
MUST_CHECK enum err samples_add(struct samples *s, double seconds);

/* In milliseconds: the smallest sample that at least p percent of all do not exceed (nearest rank,
 * 0 < p <= 100).  0 of none. */
double samples_percentile(struct samples *s, double p);
double samples_mean(const struct samples *s);           /* milliseconds; 0 of none */
void samples_release(struct samples *s);

#endif
