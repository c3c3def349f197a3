/* test_sse.c - http/sse.h and http/access.h: frames written and read back in any pieces; what a
 * line of the log holds. */
#include "http/access.h"
#include "http/sse.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* All events of a text fed in pieces, as "name=data|name=data|"; "!" for one that is too long. */
static void events(struct buf *out, const char *text, size_t step, size_t max)
{
    struct sse_reader r = { .max = max };
    size_t len = strlen(text), used;
    enum sse_result e = SSE_MORE;

    buf_cut(out, 0);
    for (size_t at = 0; at < len && e != SSE_TOO_LONG; at += used) {
        e = sse_feed(&r, text + at, len - at < step ? len - at : step, &used);
        if (e == SSE_EVENT)
            buf_printf(out, "%s=%s|", buf_text(&r.name), buf_text(&r.data));
        if (e == SSE_TOO_LONG)
            buf_puts(out, "!");
    }
    sse_release(&r);
}

static void reads(const char *text, size_t max, const char *want)
{
    struct buf got = { 0 };

    for (size_t step = 1; step <= strlen(text); step++) {
        events(&got, text, step, max);
        cr_assert_str_eq(buf_text(&got), want, "%s in pieces of %zu", text, step);
    }
    buf_release(&got);
}

Test(sse, reads_events_whatever_ends_their_lines)
{
    reads("data: a\n\ndata: b\n\n", 99, "=a|=b|");
    reads("data: a\r\n\r\ndata: b\r\n\r\n", 99, "=a|=b|");
    reads("data: a\r\rdata: b\r\r", 99, "=a|=b|");
    reads("event: ping\ndata: a\ndata: b\n\n", 99, "ping=a\nb|");
    reads("\xef\xbb\xbf" "data:a\n\n", 99, "=a|");
    reads(": comment\n\n: again\n\ndata: a\n\n", 99, "=a|");
    reads("data:  a\n\n", 99, "= a|");
    reads("data\n\n", 99, "=|");
    reads("event: x\n\ndata: a\n\n", 99, "=a|");
    reads("datax: a\nid: 4\nretry: 5\ndata: b\n\n", 99, "=b|");
}

Test(sse, loses_an_event_that_nothing_ended)
{
    reads("data: a\n", 99, "");
    reads("data: a\n\ndata: b", 99, "=a|");
}

Test(sse, is_bounded_by_line_and_by_event)
{
    reads("data: 1234\n\n", 10, "=1234|");
    reads("data: 12345\n\n", 10, "!");
    reads("data: 12\ndata: 34\n\n", 10, "=12\n34|");
    reads("data: 123\ndata: 4567\ndata: 890\n\n", 10, "!");
}

Test(sse, writes_what_it_reads)
{
    struct buf text = { 0 }, got = { 0 };

    sse_event(&text, NULL, "{\"a\":1}", 7);
    sse_event(&text, "delta", "one\ntwo\r\nthree\rfour\n", 20);
    sse_comment(&text, "");
    sse_event(&text, NULL, "", 0);
    cr_assert_eq(strncmp(buf_text(&text), "data: {\"a\":1}\n\nevent: delta\ndata: one\n", 38), 0);
    events(&got, buf_text(&text), 1000, 1000);
    size_t first = got.len;
    cr_assert_gt(first, 0);
    struct sse_reader r = { .max = 100 };
    size_t used, at = 0;
    cr_assert_eq(sse_feed(&r, text.data + at, text.len - at, &used), SSE_EVENT);
    cr_assert_str_eq(buf_text(&r.data), "{\"a\":1}");
    at += used;
    cr_assert_eq(sse_feed(&r, text.data + at, text.len - at, &used), SSE_EVENT);
    cr_assert_str_eq(buf_text(&r.data), "one\ntwo\nthree\nfour\n");
    cr_assert_str_eq(buf_text(&r.name), "delta");
    at += used;
    cr_assert_eq(sse_feed(&r, text.data + at, text.len - at, &used), SSE_EVENT);
    cr_assert_eq(r.data.len, 0);
    sse_release(&r);
    buf_release(&text);
    buf_release(&got);
}

Test(access, writes_json_without_query_or_control_characters)
{
    static const char path[] = "/v1/\"x\x01\\?token=secret";
    struct access_line l = { .unix_ms = 1800000000123, .id = "r-1", .peer = "127.0.0.1",
                             .method = "GET",
                             .route = "/v1/models", .path = path, .path_len = sizeof(path) - 1,
                             .status = 200, .bytes_in = 3, .bytes_out = 4, .ms = 1.5,
                             .end = "done" };
    struct buf out = { 0 };
    json_t *j;

    access_format(&out, &l);
    cr_assert_null(strstr(buf_text(&out), "secret"));
    cr_assert_eq(out.data[out.len - 1], '\n');
    cr_assert_not_null(j = json_loads(buf_text(&out), 0, NULL));
    cr_assert_str_eq(json_string_value(json_object_get(j, "path")), "/v1/\"x\x01\\");
    cr_assert_str_eq(json_string_value(json_object_get(j, "time")), "2027-01-15T08:00:00.123Z");
    cr_assert(json_is_null(json_object_get(j, "key")));
    cr_assert_eq(json_integer_value(json_object_get(j, "status")), 200);
    json_decref(j);
    buf_release(&out);
}

Test(access, drops_and_counts_when_nobody_reads)
{
    struct access_line l = { .id = "r", .path = "/", .path_len = 1, .end = "done" };
    enum { N = 30000 };
    struct access *a;
    int ends[2], lines = 0;
    uint64_t dropped, told = 0;
    char line[512];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(access_open(&a, ends[1]), OK);
    for (int i = 0; i < N; i++)
        access_put(a, &l);
    dropped = access_dropped(a);
    cr_assert_gt(dropped, 0);
    FILE *in = fdopen(ends[0], "r");
    cr_assert_not_null(in);
    while (lines + (int)dropped < N && fgets(line, sizeof(line), in))
        lines++;
    access_put(a, &l);                  /* the line that tells */
    access_close(a);
    close(ends[1]);
    while (fgets(line, sizeof(line), in))
        if (sscanf(line, "{\"dropped_lines\":%lu}", &told) == 1)
            break;
    cr_assert_eq(told, dropped);
    fclose(in);
}
