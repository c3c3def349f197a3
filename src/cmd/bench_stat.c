/* bench_stat.c - medians, how far they can be trusted, and lists of numbers on a command line. */
#include "cmd/bench_stat.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The probability that fewer than k of n fair coins show heads. */
static double coins_below(int n, int k)
{
    double p = exp2(-n), sum = 0;

    for (int i = 0; i < k; i++) {
        sum += p;
        p *= (double)(n - i) / (i + 1);
    }
    return sum;
}

enum err bench_interval(struct bench_interval *out, const double *v, int n)
{
    double *sorted = malloc((size_t)(n ? n : 1) * sizeof(*sorted));
    int k = 1, mid = n / 2;

    *out = (struct bench_interval){ 0 };
    if (!sorted)
        return err_set(ERR_NOMEM, "BENCH-17", "no memory for %d runs", n);
    if (n) {
        memcpy(sorted, v, (size_t)n * sizeof(*sorted));
        qsort(sorted, (size_t)n, sizeof(*sorted), by_value);
        while (k + 1 <= mid && 1 - 2 * coins_below(n, k + 1) >= 0.95)
            k++;
        *out = (struct bench_interval){
            .median = n % 2 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2,
            .low = sorted[k - 1], .high = sorted[n - k], .coverage = 1 - 2 * coins_below(n, k),
            .min = sorted[0], .max = sorted[n - 1],
        };
    }
    free(sorted);
    return OK;
}

enum err bench_list_parse(struct bench_list *l, const char *flag, const char *text, int64_t min,
                          int64_t max)
{
    const char *p = text;

    l->n = 0;
    for (;;) {
        char *end = NULL;
        long long v = isdigit((unsigned char)*p) ? strtoll(p, &end, 10) : -1;
        if (end && (*end == 'k' || *end == 'K') && v <= max) {
            v *= 1024;
            end++;
        }
        if (!end || (*end && *end != ',') || v < min || v > max)
            return err_set(ERR_ARG, "BENCH-10", "--%s %s: write numbers from %lld to %lld with "
                           "commas between, for example 128,512", flag, text, (long long)min,
                           (long long)max);
        if (l->n == BENCH_LIST_MAX)
            return err_set(ERR_LIMIT, "BENCH-11", "--%s: at most %d numbers", flag,
                           BENCH_LIST_MAX);
        l->v[l->n++] = v;
        p = end + 1;
        if (!*end)
            return OK;
    }
}
