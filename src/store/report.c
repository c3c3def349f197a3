/* report.c - sums over the ledger's attempts, see ledger.h. */
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DOLLAR INT64_C(1000000000000)

struct sums { struct ledger_sum *sum; size_t n, cap; enum ledger_by by; };

static struct ledger_sum *sum_of(struct sums *s, const char *name, size_t len)
{
    if (len > LEDGER_NAME_MAX)
        len = LEDGER_NAME_MAX;
    for (size_t i = 0; i < s->n; i++)
        if (strlen(s->sum[i].name) == len && !memcmp(s->sum[i].name, name, len))
            return &s->sum[i];
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct ledger_sum *more = realloc(s->sum, cap * sizeof(*more));
        if (!more)
            return NULL;
        s->sum = more;
        s->cap = cap;
    }
    struct ledger_sum *sum = &s->sum[s->n++];
    *sum = (struct ledger_sum){ .attempts = 0 };
    memcpy(sum->name, name, len);
    return sum;
}

static enum err add(struct sums *s, const char *name, size_t len, const struct db_cell *c)
{
    struct ledger_sum *sum = sum_of(s, name, len);

    if (!sum)
        return err_set(ERR_NOMEM, "REPORT-01", "no memory for the ledger's sums");
    sum->attempts += c[1].n;
    sum->exact += c[2].n;
    sum->estimated += c[3].n;
    sum->open += c[4].n;
    sum->prompt += c[5].n;
    sum->completion += c[6].n;
    sum->picodollars += c[8].n % DOLLAR;
    sum->dollars += c[7].n + c[8].n / DOLLAR + sum->picodollars / DOLLAR;
    sum->picodollars %= DOLLAR;
    return OK;
}

static enum err add_row(void *arg, const struct db_cell *c)
{
    struct sums *s = arg;
    char day[32];
    enum err e = OK;

    if (s->by == BY_DAY) {
        time_t t = (time_t)(c[0].n * 86400);
        struct tm tm;
        strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&t, &tm));
        return add(s, day, strlen(day), c);
    }
    if (s->by != BY_TAG || !*c[0].text)
        return add(s, c[0].text, strlen(c[0].text), c);
    for (const char *p = c[0].text; *p && !e; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        e = add(s, p, len, c);
        p += len;
    }
    return e;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ledger_sum *)a)->name, ((const struct ledger_sum *)b)->name);
}

enum err ledger_sums(struct db *db, enum ledger_by by, struct ledger_sum **out, size_t *n)
{
    static const enum statement statement[BY_N] = {
        [BY_KEY] = ST_sum_by_key, [BY_TEAM] = ST_sum_by_team, [BY_MODEL] = ST_sum_by_model,
        [BY_TAG] = ST_sum_by_tag, [BY_DAY] = ST_sum_by_day,
    };
    struct sums s = { .by = by };
    enum err e = db_run(db, statement[by], NULL, add_row, &s, NULL);

    if (e) {
        free(s.sum);
        s = (struct sums){ .by = by };
    }
    if (s.n)
        qsort(s.sum, s.n, sizeof(*s.sum), by_name);
    *out = s.sum;
    *n = s.n;
    return e;
}
