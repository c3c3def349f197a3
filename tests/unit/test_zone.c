/* test_zone.c - time zones and calendar periods: what Python's zoneinfo says, and the days clocks
 * change. */
#include "store/zone.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static struct zone *opened(const char *name)
{
    struct zone *z;

    if (name && strcmp(name, "UTC") && access("/usr/share/zoneinfo/UTC", R_OK))
        cr_skip_test("no tzdata here");
    cr_assert_eq(zone_open(&z, name), OK, "%s", err_text());
    return z;
}

static void expect(const char *name, enum span span, int64_t t, int64_t begin, int64_t end)
{
    struct zone *z = opened(name);
    int64_t b, e;

    zone_span(z, span, t, &b, &e);
    cr_expect(b == begin && e == end, "%s %d %lld: %lld .. %lld", name, span, (long long)t,
              (long long)b, (long long)e);
    zone_free(z);
}

Test(zone, utc_has_no_offset_and_plain_periods)
{
    expect("UTC", SPAN_MINUTE, 1767268859, 1767268800, 1767268860);
    expect(NULL, SPAN_HOUR, 1767268859, 1767268800, 1767272400);
    expect("UTC", SPAN_DAY, 1767268859, 1767225600, 1767312000);            /* 2026-01-01 */
    expect("UTC", SPAN_WEEK, 1767268859, 1766966400, 1767571200);           /* Monday */
    expect("UTC", SPAN_MONTH, 1767268859, 1767225600, 1769904000);
    expect("UTC", SPAN_MONTH, 1709164800, 1706745600, 1709251200);          /* a leap year */
    expect("UTC", SPAN_DAY, -1, -86400, 0);
}

Test(zone, a_day_when_clocks_change_has_23_or_25_hours)
{
    expect("Europe/Berlin", SPAN_DAY, 1774746000, 1774738800, 1774738800 + 23 * 3600);
    expect("Europe/Berlin", SPAN_DAY, 1792890000, 1792879200, 1792879200 + 25 * 3600);
    expect("Europe/Berlin", SPAN_MONTH, 1774746000, 1772319600, 1774994400);
    expect("America/New_York", SPAN_DAY, 1772985600, 1772946000, 1772946000 + 23 * 3600);
}

Test(zone, the_rule_holds_in_years_behind_the_table)
{
    struct zone *z = opened("Europe/Berlin");

    cr_expect_eq(zone_offset(z, 4102444800), 3600);             /* 2100-01-01 */
    cr_expect_eq(zone_offset(z, 4118083200), 7200);             /* 2100-07-01 */
    cr_expect_eq(zone_offset(z, 4120675200), 7200);
    zone_free(z);
    z = opened("Australia/Sydney");                             /* summer over the new year */
    cr_expect_eq(zone_offset(z, 4102444800), 11 * 3600);
    cr_expect_eq(zone_offset(z, 4118083200), 10 * 3600);
    zone_free(z);
}

Test(zone, a_midnight_that_is_skipped_begins_the_day_late)
{
    /* Beirut's clocks go from 00:00 to 01:00: 2022-03-27 begins at 01:00. */
    expect("Asia/Beirut", SPAN_DAY, 1648375200, 1648332000, 1648332000 + 23 * 3600);
}

Test(zone, an_hour_shown_twice_is_two_hours)
{
    struct zone *z = opened("Europe/Berlin");
    int64_t b1, b2, e;

    zone_span(z, SPAN_HOUR, 1792886400 + 60, &b1, &e);          /* 02:01 in summer time */
    zone_span(z, SPAN_HOUR, 1792890000 + 60, &b2, &e);          /* 02:01 again */
    cr_expect_eq(b2 - b1, 3600);
    zone_free(z);
}

Test(zone, periods_follow_each_other_without_gap_or_overlap)
{
    static const char *const name[] = { "UTC", "Europe/Berlin", "America/New_York", "Asia/Beirut",
                                        "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
                                        "America/Sao_Paulo", "Africa/Casablanca" };

    for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++) {
        struct zone *z = opened(name[i]);
        /* Where clocks change by half an hour, the hours around it overlap. */
        for (enum span s = strstr(name[i], "Howe") ? SPAN_DAY : SPAN_HOUR; s < SPAN_N; s++) {
            int64_t t = 1262304000, b, e, last = 0;             /* 2010 .. */
            zone_span(z, s, t, &b, &e);
            for (int k = 0; k < 3000 && e < 4102444800; k++) {
                cr_assert(b <= t && t < e, "%s", name[i]);
                cr_assert(!last || b == last, "%s %d: %lld after %lld", name[i], s, (long long)b,
                          (long long)last);
                last = e;
                t = e;
                zone_span(z, s, t, &b, &e);
            }
        }
        zone_free(z);
    }
}

Test(zone, what_is_no_zone_is_refused)
{
    struct zone *z;

    cr_expect_eq(zone_open(&z, "../../etc/passwd"), ERR_ARG);
    cr_expect_eq(zone_open(&z, "/etc/passwd"), ERR_ARG);
    cr_expect_eq(zone_open(&z, "Europe/Nowhere"), ERR_MISSING);
    cr_expect_eq(zone_parse(&z, "TZif2", 5, "short"), ERR_FORMAT);
    cr_expect_null(z);
}
