/* fuzz_audit.c - any bytes as a chain and, behind a NUL, as its heads: verified without a crash,
 * each problem with a row; any bytes as a time zone too. */
#include "store/audit.h"
#include "store/zone.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_problem(void *arg, const char *file, int64_t row, const char *what)
{
    int64_t *n = arg;

    ASSERT(file[0] && row >= 0 && what[0]);
    ++*n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    const char *heads = nul ? (const char *)nul + 1 : "";
    struct audit_totals t;
    struct zone *z;
    int64_t n = 0, begin, end;

    if (audit_verify_bytes("gfuzz", data, len, heads, nul ? size - len - 1 : 0, on_problem, &n,
                           &t) == OK)
        ASSERT((t.problems == 0) == (n == 0) && n <= t.problems && t.torn <= 1);
    if (zone_parse(&z, data, size, "fuzz") == OK)
        for (int64_t at = -4102444800; at <= 4102444800; at += 512805600)
            for (enum span span = SPAN_MINUTE; span < SPAN_N; span++) {
                zone_span(z, span, at, &begin, &end);
                ASSERT(at < end);
            }
    zone_free(z);
    return 0;
}
