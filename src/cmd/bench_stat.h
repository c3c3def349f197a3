/* bench_stat.h - medians, how far they can be trusted, and lists of numbers on a command line. */
#ifndef CMD_BENCH_STAT_H
#define CMD_BENCH_STAT_H

#include "base/err.h"

#include <stdint.h>

/* The median of v [n], between the smallest interval of two of the values that holds the median
 * of what v was drawn from with a probability of at least 95 %; where n is too small for one
 * (below 6), all of them.  `coverage` is that probability (binomial: nothing is assumed about the
 * distribution); 0 for n = 1.  Zeros for n = 0. */
struct bench_interval { double median, low, high, coverage, min, max; };

/* Errors: NOMEM. */
MUST_CHECK enum err bench_interval(struct bench_interval *out, const double *v, int n);

enum { BENCH_LIST_MAX = 32 };
struct bench_list { int64_t v[BENCH_LIST_MAX]; int n; };

/* "128,512,4k" into numbers between min and max.  Errors: ARG (with the flag's name), LIMIT. */
MUST_CHECK enum err bench_list_parse(struct bench_list *l, const char *flag, const char *text,
                                     int64_t min, int64_t max);

#endif
