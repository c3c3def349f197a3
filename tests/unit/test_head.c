/* test_head.c - http/head.h and http/chunked.h: what is taken, and everything that two readers
 * could understand differently, whole and byte by byte. */
#include "http/chunked.h"
#include "http/head.h"
#include "http/route.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Feed in pieces of `step` bytes; *taken is how many bytes were. */
static enum head_result feed(struct head *h, const char *text, size_t len, size_t step,
                             size_t *taken)
{
    enum head_result r = HEAD_MORE;
    size_t used;

    for (*taken = 0; *taken < len && r == HEAD_MORE; *taken += used) {
        size_t n = len - *taken < step ? len - *taken : step;
        r = head_feed(h, text + *taken, n, &used);
        cr_assert(r != HEAD_MORE || used == n);
        if (r == HEAD_REFUSED)
            break;
    }
    return r;
}

static void takes(struct head *h, const char *text)
{
    size_t taken;

    head_reset(h);
    cr_assert_eq(feed(h, text, strlen(text), 1, &taken), HEAD_DONE, "%s: %s", text,
                 fault_text(h->fault));
    cr_assert_eq(taken, strlen(text));
    head_reset(h);
    cr_assert_eq(feed(h, text, strlen(text), SIZE_MAX, &taken), HEAD_DONE);
    cr_assert_eq(taken, strlen(text));
}

static void refuses_bytes(const char *text, size_t len, enum fault why)
{
    struct head h = { 0 };
    size_t taken;

    for (size_t step = 1; step <= 64; step = step == 1 ? 3 : step == 3 ? 64 : 65) {
        head_reset(&h);
        cr_assert_eq(feed(&h, text, len, step, &taken), HEAD_REFUSED, "taken: %.100s", text);
        cr_assert_eq(h.fault, why, "%.100s: %s, not %s", text, fault_code(h.fault),
                     fault_code(why));
    }
    head_release(&h);
}

static void refuses(const char *text, enum fault why)
{
    refuses_bytes(text, strlen(text), why);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

Test(head, has_method_path_query_and_fields_as_sent)
{
    struct head h = { 0 };

    takes(&h, "POST /v1/chat?x=%41&y HTTP/1.1\r\nHost: Croft.local:8080\r\nX-Thing:  a b\t \r\n"
              "Content-Length: 12\r\nx-empty:\r\nx-thing: c\r\n\r\n");
    cr_assert(piece_is(head_method(&h), "POST"));
    cr_assert(piece_is(head_query(&h), "x=%41&y"));
    cr_assert(piece_is(head_host(&h), "Croft.local:8080"));
    cr_assert(piece_is(head_find(&h, "x-thing"), "a b"));
    cr_assert(piece_is(head_find_at(&h, "x-thing", 1), "c"));
    cr_assert_null(head_find_at(&h, "x-thing", 2).at);
    cr_assert(head_find(&h, "x-empty").at && head_find(&h, "x-empty").len == 0);
    cr_assert_null(head_find(&h, "absent").at);
    cr_assert(h.has_length && h.length == 12 && !h.chunked && h.keep_alive && !h.encoded);
    cr_assert_eq(h.n_segment, 2);
    cr_assert(piece_is(head_segment(&h, 0), "v1") && piece_is(head_segment(&h, 1), "chat"));
    head_release(&h);
}

Test(head, cuts_paths_before_it_decodes_them)
{
    struct head h = { 0 };

    takes(&h, "GET //v1///models/org%2Fname%20x/ HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_eq(h.n_segment, 3);
    cr_assert(piece_is(head_segment(&h, 2), "org/name x"));
    takes(&h, "GET /v1%2fmodels HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_eq(h.n_segment, 1);
    takes(&h, "GET http://a:80/x?q HTTP/1.1\r\nHost: A:80\r\n\r\n");
    cr_assert(h.n_segment == 1 && piece_is(head_query(&h), "q"));
    takes(&h, "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_eq(h.n_segment, 0);
    takes(&h, "OPTIONS * HTTP/1.1\r\nHost: [::1]:9\r\n\r\n");
    cr_assert(h.any_method_target);
    head_release(&h);
}

Test(head, knows_how_the_connection_goes_on)
{
    struct head h = { 0 };

    takes(&h, "GET / HTTP/1.0\r\n\r\n");
    cr_assert(!h.keep_alive && h.minor == 0);
    takes(&h, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    cr_assert(h.keep_alive);
    takes(&h, GET "Connection: upgrade, Close\r\n\r\n");
    cr_assert(!h.keep_alive);
    takes(&h, GET "Connection: closed\r\n\r\n");
    cr_assert(h.keep_alive);
    takes(&h, POST "Expect: 100-Continue\r\nTransfer-Encoding: Chunked\r\n\r\n");
    cr_assert(h.expect_continue && h.chunked);
    takes(&h, POST "Content-Encoding: gzip\r\n\r\n");
    cr_assert(h.encoded);
    head_release(&h);
}

Test(head, leaves_what_follows_to_the_next)
{
    static const char text[] = GET "\r\nGET /second";
    struct head h = { 0 };
    size_t used;

    cr_assert_eq(head_feed(&h, text, sizeof(text) - 1, &used), HEAD_DONE);
    cr_assert_eq(used, strlen(GET) + 2);
    head_release(&h);
}

Test(head, refuses_what_smugglers_send)
{
    refuses(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", FAULT_both_lengths);
    refuses(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", FAULT_both_lengths);
    refuses(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", FAULT_repeated);
    refuses(POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", FAULT_repeated);
    refuses(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            FAULT_repeated);
    static const char *const lengths[] = { "+5", "-5", "5, 5", "0x5", "5 5", "", "5;", "5\t6",
                                           "5.0", "1234567890123456" };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        char text[256];
        snprintf(text, sizeof(text), POST "Content-Length: %s\r\n\r\n", lengths[i]);
        refuses(text, FAULT_length);
    }
    static const char *const codings[] = { "xchunked", "chunked, chunked", "gzip, chunked",
                                           "identity", "chunked;q=1", "chunked,", "",
                                           "\vchunked" };
    for (size_t i = 0; i < sizeof(codings) / sizeof(*codings); i++) {
        char text[256];
        snprintf(text, sizeof(text), POST "Transfer-Encoding: %s\r\n\r\n", codings[i]);
        refuses(text, codings[i][0] == '\v' ? FAULT_field : FAULT_coding);
    }
    refuses("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", FAULT_coding);
    refuses(POST "Transfer-Encoding : chunked\r\n\r\n", FAULT_field);
    refuses(POST "Transfer-Encoding\r\n : chunked\r\n\r\n", FAULT_field);
    refuses(POST "X: a\r\n b\r\n\r\n", FAULT_fold);
    refuses(POST "\tX: a\r\n\r\n", FAULT_fold);
    refuses(POST ": a\r\n\r\n", FAULT_field);
    refuses(POST "X-\x80: a\r\n\r\n", FAULT_field);
    refuses(POST "X: a\x01\r\n\r\n", FAULT_field);
    refuses(GET "Authorization: a\r\nAuthorization: b\r\n\r\n", FAULT_repeated);
}

Test(head, refuses_lines_that_do_not_end_in_cr_lf)
{
    refuses("GET / HTTP/1.1\nHost: a\n\n", FAULT_line_end);
    refuses(GET "X: a\nY: b\r\n\r\n", FAULT_line_end);
    refuses(GET "X: a\rY: b\r\n\r\n", FAULT_line_end);
    refuses(GET "X: a\r\r\n\r\n", FAULT_line_end);
    refuses(GET "\n", FAULT_line_end);
    refuses_bytes("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 36, FAULT_line_end);
}

Test(head, refuses_request_lines_that_are_none)
{
    static const char *const lines[] = { "", "GET", "GET /", "GET / ", "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET /a b HTTP/1.1", "GET\t/ HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/11", "GET / HTTP/1.x", "G@T / HTTP/1.1",
        "GET /\x80 HTTP/1.1",
        "ABCDEFGHIJKLMNOPQ / HTTP/1.1", "GET HTTP/1.1" };

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s\r\nHost: a\r\n\r\n", lines[i]);
        refuses(text, FAULT_request_line);
    }
    refuses("GET / HTTP/2.0\r\n\r\n", FAULT_version);
    refuses("GET / HTTP/1.2\r\n\r\n", FAULT_version);
    refuses("GET / HTTP/0.9\r\n\r\n", FAULT_version);
}

Test(head, refuses_targets_with_two_readings)
{
    static const struct { const char *target; enum fault why; } no[] = {
        { "v1", FAULT_target }, { "*", FAULT_target }, { "a:80", FAULT_target },
        { "http:///x", FAULT_target }, { "http://b/x", FAULT_target },
        { "ftp://a/x", FAULT_target },
        { "http://u@a/x", FAULT_target }, { "/x#y", FAULT_target },
        { "/%", FAULT_escape }, { "/%4", FAULT_escape }, { "/%zz", FAULT_escape },
        { "/%00", FAULT_escape }, { "/%0a", FAULT_escape }, { "/%7f", FAULT_escape },
        { "/a\\b", FAULT_escape }, { "/%5c", FAULT_escape }, { "/%4/41", FAULT_escape },
        { "/..", FAULT_dots }, { "/a/./b", FAULT_dots }, { "/a/%2e%2E/b", FAULT_dots },
        { "/.%2e", FAULT_dots },
    };
    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
        char text[256];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", no[i].target);
        refuses(text, no[i].why);
    }
}

Test(head, refuses_hosts_that_are_none)
{
    static const char *const hosts[] = { "", "a b", "a/b", "a:", "a:0", "a:65536", "a:8x", "u@a",
        "[", "[]", "[::1", "[g]", "a,b", "a:1:2", "http://a" };

    refuses("GET / HTTP/1.1\r\n\r\n", FAULT_host);
    refuses(GET "Host: a\r\n\r\n", FAULT_repeated);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        char text[256];
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        refuses(text, FAULT_host);
    }
    refuses(GET "Expect: nothing\r\n\r\n", FAULT_expect);
}

static size_t fill(char *at, char byte, size_t n)
{
    memset(at, byte, n);
    return n;
}

Test(head, has_limits_on_line_count_and_sum)
{
    static char text[3 * HEAD_BYTES_MAX];
    struct head h = { 0 };
    size_t n, taken;

    n = (size_t)snprintf(text, sizeof(text), "GET /");
    n += fill(text + n, 'a', HEAD_LINE_MAX);
    refuses_bytes(text, n, FAULT_target_long);

    n = (size_t)snprintf(text, sizeof(text), GET "X: ");
    n += fill(text + n, 'a', HEAD_LINE_MAX - 4);
    n += (size_t)snprintf(text + n, 8, "\r\n\r\n");
    cr_assert_eq(feed(&h, text, n, 7, &taken), HEAD_DONE);
    head_reset(&h);
    text[n - 4] = 'a';
    refuses_bytes(text, n - 3, FAULT_head_long);

    n = (size_t)snprintf(text, sizeof(text), GET);
    for (int i = 1; i < HEAD_FIELDS_MAX; i++)
        n += (size_t)snprintf(text + n, 16, "X: %d\r\n", i);
    snprintf(text + n, 8, "\r\n");
    cr_assert_eq(feed(&h, text, n + 2, 7, &taken), HEAD_DONE);
    cr_assert_eq(h.n_field, HEAD_FIELDS_MAX);
    head_reset(&h);
    n += (size_t)snprintf(text + n, 16, "X: y\r\n\r\n");
    refuses_bytes(text, n, FAULT_head_long);

    n = (size_t)snprintf(text, sizeof(text), GET);
    for (int i = 0; i < 5; i++) {
        n += (size_t)snprintf(text + n, 8, "X: ");
        n += fill(text + n, 'b', 7000);
        n += (size_t)snprintf(text + n, 8, "\r\n");
    }
    refuses_bytes(text, n, FAULT_head_long);

    n = (size_t)snprintf(text, sizeof(text), "GET ");
    for (int i = 0; i <= HEAD_SEGMENTS_MAX; i++)
        n += (size_t)snprintf(text + n, 4, "/a");
    n += (size_t)snprintf(text + n, 64, " HTTP/1.1\r\nHost: a\r\n\r\n");
    refuses_bytes(text, n, FAULT_target_long);
}

/* The body of a chunked text in pieces of `step`; false: refused.  *rest is what is left over. */
static bool unchunk(const char *text, size_t step, char *body, size_t *n_body, size_t *rest)
{
    struct chunked c = { 0 };
    size_t len = strlen(text), used, n_data;
    const char *data;

    *n_body = 0;
    for (size_t at = 0; at < len; at += used) {
        size_t n = len - at < step ? len - at : step;
        enum chunked_result r = chunked_feed(&c, text + at, n, &used, &data, &n_data);
        if (r == CHUNKED_DATA)
            memcpy(body + *n_body, data, n_data);
        *n_body += n_data;
        *rest = len - at - used;
        if (r == CHUNKED_DONE || r == CHUNKED_BAD)
            return r == CHUNKED_DONE;
    }
    *rest = SIZE_MAX;
    return true;
}

Test(chunked, gives_the_body_in_any_pieces)
{
    static const char text[] = "5\r\nhello\r\n00001\r\n \r\nA\r\n0123456789\r\n0\r\n\r\nGET";
    char body[64];
    size_t n, rest;

    for (size_t step = 1; step < sizeof(text); step++) {
        cr_assert(unchunk(text, step, body, &n, &rest));
        cr_assert_eq(rest, 3);
        cr_assert(n == 16 && !memcmp(body, "hello 0123456789", 16));
    }
}

Test(chunked, refuses_what_has_two_readings)
{
    static const char *const no[] = { "-2\r\n", "+5\r\nhello\r\n", " 5\r\n", "5 \r\n", "5;a=b\r\n",
        "0x5\r\n", "5\nhello\n", "5\r\nhello\n", "5\r\nhelloX", "\r\n", "123456789\r\n", "5\rX",
        "0\r\nTrailer: x\r\n\r\n", "0\r\n\n", "0\r\n\rX", "5\r\nhello\r\r\n", "g\r\n",
        "5\r\nhello0\r\n" };
    char body[64];
    size_t n, rest;

    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
        for (size_t step = 1; step < 16; step++)
            cr_assert(!unchunk(no[i], step, body, &n, &rest), "%s", no[i]);
}

static void on_route(struct call *c, void *arg)
{
    (void)c;
    (void)arg;
}

Test(route, is_found_by_segments_and_says_what_is_allowed)
{
    static const struct route routes[] = {
        { "GET", "/", 1, 0, on_route },          { "GET", "/v1/models", 2, 0, on_route },
        { "GET", "/v1/models/{id}", 3, 0, on_route }, { "POST", "/v1/models", 4, 0, on_route },
        { "POST", "/a/{x}/b/{y}", 5, 0, on_route },
    };
    static const struct { const char *method,
                          *target; int auth; enum fault f; const char *allow; } row[] = {
        { "GET", "/", 1, FAULT_none, "" },
        { "HEAD", "/v1/models", 2, FAULT_none, "" },
        { "POST", "//v1/models/", 4, FAULT_none, "" },
        { "GET", "/v1/models/x%2Fy", 3, FAULT_none, "" },
        { "POST", "/a/1/b/2", 5, FAULT_none, "" },
        { "DELETE", "/v1/models", 0, FAULT_method, "GET, HEAD, POST" },
        { "POST", "/v1/models/x", 0, FAULT_method, "GET, HEAD" },
        { "GET", "/v1", 0, FAULT_no_route, "" },
        { "GET", "/v1/models/x/y", 0, FAULT_no_route, "" },
        { "GET", "/v1%2Fmodels", 0, FAULT_no_route, "" },
        { "get", "/v1/models", 0, FAULT_method, "GET, HEAD, POST" },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        struct route_match m;
        struct head h = { 0 };
        struct buf allow = { 0 };
        char text[128];
        snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", row[i].method,
                 row[i].target);
        takes(&h, text);
        cr_assert_eq(route_find(&m, &allow, routes, 5, NULL, &h), row[i].f, "%s", text);
        cr_assert_eq(m.route ? m.route->auth : 0, row[i].auth, "%s", text);
        cr_assert_str_eq(buf_text(&allow), row[i].allow);
        if (row[i].auth == 5)
            cr_assert(m.n_param == 2 && piece_is(head_segment(&h, m.param[1]), "2"));
        cr_assert_eq(route_find(&m, &allow, routes, 5, "/v1/", &h),
                     !strcmp(row[i].target, "/v1") && row[i].method[0] == 'G' ? FAULT_none
                     : FAULT_no_route);
        head_release(&h);
        buf_release(&allow);
    }
}
