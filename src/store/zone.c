/* zone.c - reads TZif files, and the rule behind their last transition; calendar arithmetic. */
#include "store/zone.h"

#include "base/file.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400, HEADER_BYTES = 44, OFFSET_MAX = 26 * 3600 };

/* When clocks change in a year: day 'M' month.week.weekday, 'J' 1..365 without 29 February,
 * 'D' 0..365; `time` seconds after that day's midnight. */
struct change { char kind; int month, week, day; int32_t time; };

struct zone {
    int64_t *at;                        /* [n], rising: from then on ... */
    int32_t *offset;                    /* [n] ... this many seconds ahead */
    int32_t first, n;                   /* offset before at[0] */
    bool ruled, summer;                 /* a rule holds after the last; with summer time */
    int32_t standard, saved;            /* its offsets */
    struct change start, stop;
};

/* Days since 1970 of a date of the Gregorian calendar, and back. */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of(int64_t days, int64_t *y, int *m)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool leap(int64_t y)
{
    return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

/* The local time of a change in a year, in seconds since 1970 as if it were UTC. */
static int64_t change_at(const struct change *c, int64_t y)
{
    int64_t day = days_of(y, 1, 1) + c->day;

    if (c->kind == 'J')
        day += (leap(y) && c->day >= 60) - 1;
    if (c->kind == 'M') {
        int64_t first = days_of(y, c->month, 1);
        int64_t next = c->month == 12 ? days_of(y + 1, 1, 1) : days_of(y, c->month + 1, 1);
        int weekday = (int)((first + 4) % 7 + 7) % 7;           /* 1970 began on a Thursday */
        day = first + (c->day - weekday + 7) % 7 + 7 * (c->week - 1);
        while (day >= next)
            day -= 7;
    }
    return day * DAY + c->time;
}

static int32_t rule_offset(const struct zone *z, int64_t t)
{
    int64_t y, start, stop;
    int m;

    if (!z->summer)
        return z->standard;
    date_of(floor_div(t + z->standard, DAY), &y, &m);
    start = change_at(&z->start, y) - z->standard;
    stop = change_at(&z->stop, y) - z->saved;
    bool summer = start < stop ? t >= start && t < stop : t >= start || t < stop;
    return summer ? z->saved : z->standard;
}

int32_t zone_offset(const struct zone *z, int64_t t)
{
    int32_t low = 0, high = z->n;

    if (z->n == 0 || t >= z->at[z->n - 1]) {
        if (z->ruled)
            return rule_offset(z, t);
        return z->n ? z->offset[z->n - 1] : z->first;
    }
    while (low < high) {                /* how many lie at t or before */
        int32_t mid = low + (high - low) / 2;
        if (z->at[mid] <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? z->offset[low - 1] : z->first;
}

/* The first moment whose local time is `local` or later; one change of clocks within two days. */
static int64_t moment_of(const struct zone *z, int64_t local)
{
    int64_t low = local - DAY - OFFSET_MAX, high = local + DAY + OFFSET_MAX;
    int32_t before = zone_offset(z, low), after = zone_offset(z, high);

    if (before == after)
        return local - zone_offset(z, local - before);
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2;
        if (zone_offset(z, mid) == before)
            low = mid;
        else
            high = mid;
    }
    if (local - before < high)
        return local - before;
    return local - after > high ? local - after : high;
}

static int64_t local_of(const struct zone *z, enum span span, int64_t day, int step)
{
    int64_t y;
    int m;

    if (span == SPAN_DAY)
        return moment_of(z, (day + step) * DAY);
    if (span == SPAN_WEEK)
        return moment_of(z, (day - ((day + 3) % 7 + 7) % 7 + 7 * step) * DAY);
    date_of(day, &y, &m);
    if (step && ++m == 13) {
        m = 1;
        y++;
    }
    return moment_of(z, days_of(y, m, 1) * DAY);
}

void zone_span(const struct zone *z, enum span span, int64_t t, int64_t *begin, int64_t *end)
{
    int64_t local = t + zone_offset(z, t), day = floor_div(local, DAY);
    int64_t unit = span == SPAN_MINUTE ? 60 : 3600;

    if (span == SPAN_MINUTE || span == SPAN_HOUR) {
        *begin = t - (local - floor_div(local, unit) * unit);
        *end = *begin + unit;
        return;
    }
    *begin = local_of(z, span, day, 0);
    *end = local_of(z, span, day, 1);
    /* A date that clocks set back show again belongs to its period still. */
    if (t >= *end)
        *end = t + 1;
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool read_time(const char **p, int32_t *out)
{
    int sign = **p == '-' ? -1 : 1;
    int32_t part[3] = { 0 };

    *p += **p == '-' || **p == '+';
    for (int i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)**p))
            return false;
        for (int n = 0; n < 3 && isdigit((unsigned char)**p); n++)
            part[i] = part[i] * 10 + *(*p)++ - '0';
        if (**p != ':' || i == 2)
            break;
        ++*p;
    }
    *out = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
    return part[0] <= 167 && part[1] < 60 && part[2] < 60;
}

static bool skip_name(const char **p)
{
    const char *from = *p;

    if (**p == '<') {
        *p = strchr(*p, '>');
        return *p && (*p)++;
    }
    while (isalpha((unsigned char)**p))
        ++*p;
    return *p - from >= 3;
}

static bool read_change(const char **p, struct change *c)
{
    int n = 0;

    if (*(*p)++ != ',')
        return false;
    *c = (struct change){ .kind = 'D', .time = 2 * 3600 };
    if (sscanf(*p, "M%2d.%1d.%1d%n", &c->month, &c->week, &c->day, &n) == 3 && n) {
        c->kind = 'M';
        if (c->month < 1 || c->month > 12 || c->week < 1 || c->week > 5 || c->day < 0 ||
            c->day > 6)
            return false;
    } else if (sscanf(*p, "J%3d%n", &c->day, &n) == 1 && n) {
        c->kind = 'J';
    } else if (sscanf(*p, "%3d%n", &c->day, &n) != 1 || !n) {
        return false;
    }
    *p += n;
    if (c->day < 0 || c->day > 365)
        return false;
    if (**p != '/')
        return true;
    ++*p;
    return read_time(p, &c->time);
}

/* "CET-1CEST,M3.5.0,M10.5.0/3": offsets there count westwards. */
static bool read_rule(struct zone *z, const char *p)
{
    if (!*p)
        return true;
    if (!skip_name(&p) || !read_time(&p, &z->standard))
        return false;
    z->standard = -z->standard;
    z->ruled = true;
    if (!*p)
        return true;
    z->summer = true;
    z->saved = z->standard + 3600;
    if (!skip_name(&p))
        return false;
    if (*p != ',') {
        if (!read_time(&p, &z->saved))
            return false;
        z->saved = -z->saved;
    }
    return read_change(&p, &z->start) && read_change(&p, &z->stop) && !*p &&
           abs(z->standard) <= OFFSET_MAX && abs(z->saved) <= OFFSET_MAX;
}

static int64_t big(const uint8_t *p, int bytes)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

    for (int i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

struct counts { size_t utc, std, leap, time, type, chars; };

static bool read_header(struct counts *c, const uint8_t *p, size_t len)
{
    size_t *const to[] = { &c->utc, &c->std, &c->leap, &c->time, &c->type, &c->chars };

    if (len < HEADER_BYTES || memcmp(p, "TZif", 4))
        return false;
    for (int i = 0; i < 6; i++) {
        int64_t n = big(p + 20 + 4 * i, 4);
        if (n < 0 || n > ZONE_FILE_MAX)
            return false;
        *to[i] = (size_t)n;
    }
    return c->type > 0;
}

/* The bytes of a block whose times have `wide` bytes. */
static size_t block_bytes(const struct counts *c, size_t wide)
{
    return c->time * (wide + 1) + c->type * 6 + c->chars + c->leap * (wide + 4) + c->std + c->utc;
}

static bool read_block(struct zone *z, const uint8_t *p, const struct counts *c)
{
    const uint8_t *kind = p + c->time * 8, *type = kind + c->time;

    z->first = (int32_t)big(type, 4);
    for (size_t i = 0; i < c->type; i++)
        if (llabs(big(type + 6 * i, 4)) > OFFSET_MAX)
            return false;
    for (size_t i = 0; i < c->time; i++) {
        z->at[i] = big(p + 8 * i, 8);
        if (kind[i] >= c->type || (i && z->at[i] <= z->at[i - 1]))
            return false;
        z->offset[i] = (int32_t)big(type + 6 * kind[i], 4);
    }
    z->n = (int32_t)c->time;
    return true;
}

/* The second block, of 64-bit times, and the rule behind it. */
static bool read_zone(struct zone *z, const uint8_t *p, size_t len)
{
    struct counts c;
    char rule[128];
    size_t skip, n;

    if (!read_header(&c, p, len) || p[4] < '2' ||
        (skip = HEADER_BYTES + block_bytes(&c, 4)) > len)
        return false;
    p += skip;
    len -= skip;
    if (!read_header(&c, p, len) || (skip = HEADER_BYTES + block_bytes(&c, 8)) >= len)
        return false;
    z->at = calloc(c.time + 1, sizeof(*z->at));
    z->offset = calloc(c.time + 1, sizeof(*z->offset));
    if (!z->at || !z->offset || !read_block(z, p + HEADER_BYTES, &c))
        return false;
    p += skip;
    len -= skip;
    n = len > 1 ? strcspn((const char *)p + 1, "\n") : 0;
    if (p[0] != '\n' || n + 2 > len || n >= sizeof(rule))
        return false;
    snprintf(rule, sizeof(rule), "%.*s", (int)n, (const char *)p + 1);
    return read_rule(z, rule);
}

enum err zone_parse(struct zone **out, const void *bytes, size_t len, const char *name)
{
    struct zone *z = calloc(1, sizeof(*z));
    char *copy = len <= ZONE_FILE_MAX ? malloc(len + 1) : NULL;
    bool good = false;

    *out = NULL;
    if (z && copy) {                    /* with a NUL behind it, for the rule */
        memcpy(copy, bytes, len);
        copy[len] = '\0';
        good = read_zone(z, (const uint8_t *)copy, len);
    }
    bool no_memory = !z || (!copy && len <= ZONE_FILE_MAX) || (z->at && !z->offset);
    free(copy);
    if (good) {
        *out = z;
        return OK;
    }
    zone_free(z);
    if (no_memory)
        return err_set(ERR_NOMEM, "ZONE-01", "no memory for the time zone %.64s", name);
    return err_set(ERR_FORMAT, "ZONE-02", "the file of the time zone %.64s is none; install the "
                   "package tzdata anew", name);
}

enum err zone_open(struct zone **out, const char *name)
{
    char path[128], *text;
    size_t len;
    enum err e;

    *out = NULL;
    if (!name || !strcmp(name, "UTC")) {
        *out = calloc(1, sizeof(**out));
        return *out ? OK : err_set(ERR_NOMEM, "ZONE-03", "no memory for a time zone");
    }
    if (strstr(name, "..") || name[0] == '/' || strlen(name) > 64)
        return err_set(ERR_ARG, "ZONE-04", "'%.64s' is no time zone; write UTC or a name such as "
                       "Europe/Berlin", name);
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    if ((e = file_read_text(&text, &len, path, ZONE_FILE_MAX)))
        return err_wrap(e, "the time zone %s needs the package tzdata", name);
    e = zone_parse(out, text, len, name);
    free(text);
    return e;
}

void zone_free(struct zone *z)
{
    if (!z)
        return;
    free(z->at);
    free(z->offset);
    free(z);
}
