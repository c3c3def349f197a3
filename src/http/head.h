/* head.h - the head of an HTTP/1 request, byte by byte, strictly.
 *
 * A pure state machine over bytes: no input or output, no clock.  It takes what RFC 9112 says and
 * nothing that two readers could understand differently: no LF without CR, no continued lines, no
 * space before a colon, no length that is not plain digits, no two lengths.  It keeps the bytes in
 * one buffer that never exceeds HEAD_BYTES_MAX.
 *
 *   head_feed -> HEAD_MORE (all taken) -> ... -> HEAD_DONE | HEAD_REFUSED (h->fault says why)
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { HEAD_BYTES_MAX = 32768, HEAD_LINE_MAX = 8192, HEAD_FIELDS_MAX = 100, HEAD_SEGMENTS_MAX = 32,
       HEAD_METHOD_MAX = 16, HEAD_LENGTH_DIGITS = 15 };

enum fault {
    FAULT_none,
#define FAULT(id, status, code, text) FAULT_##id,
#include "http/fault.def"
#undef FAULT
    FAULT_COUNT
};

int fault_status(enum fault f);         /* 400, 413, ... */
const char *fault_code(enum fault f);   /* "bad_length": for programs, never renamed */
const char *fault_text(enum fault f);   /* one sentence, without names of ours */

/* A piece of the head: borrowed, valid until the next head_reset or head_release. */
struct piece { const char *at; size_t len; };

enum head_result { HEAD_MORE, HEAD_DONE, HEAD_REFUSED };

struct head_span { uint16_t at, len; };
struct head_field { struct head_span name, value; };

struct head {
    struct buf text, path;              /* the head as it came; the decoded segments */
    struct head_field field[HEAD_FIELDS_MAX];
    struct head_span segment[HEAD_SEGMENTS_MAX];
    struct head_span method, target, query, host;
    int n_field, n_segment;
    size_t line_at;                     /* where the line that is arriving begins in text */
    enum fault fault;
    int minor;                          /* HTTP/1.minor */
    bool cr, any_method_target;         /* a CR arrived; the target is * */
    bool keep_alive, chunked, has_length, expect_continue, encoded;
    uint64_t length;                    /* of the body, when has_length */
};

/* A zeroed struct is ready.  reset keeps no memory either: an idle connection holds none. */
void head_reset(struct head *h);
void head_release(struct head *h);

/* Take bytes until the head is complete; *used is how many were taken, all of them with HEAD_MORE.
 * After HEAD_DONE or HEAD_REFUSED only the getters and reset may be called. */
enum head_result head_feed(struct head *h, const char *bytes, size_t len, size_t *used);

/* Getters; of a head that is done. */
struct piece head_method(const struct head *h);
struct piece head_target(const struct head *h);         /* as sent, with the query */
struct piece head_query(const struct head *h);          /* after '?', not decoded; may be empty */
struct piece head_host(const struct head *h);           /* with port; empty in HTTP/1.0 without */

/* The path's segments, percent-decoded: "/v1//models/a%2Fb/" has v1, models, a/b.  A slash that
 * was escaped never separates. */
struct piece head_segment(const struct head *h, int i);

/* The value of a field by its lower-case name, without white space around it; at NULL when absent.
 * With repeated fields (none of those that decide framing, host or identity) the first. */
struct piece head_find(const struct head *h, const char *name);

/* The i-th of that name, from 0: what a list is made of that several fields may hold. */
struct piece head_find_at(const struct head *h, const char *name, int i);

/* The last of that name: what the nearest proxy added. */
struct piece head_find_last(const struct head *h, const char *name);

bool piece_is(struct piece p, const char *text);        /* the same bytes */
bool piece_is_nocase(struct piece p, const char *text); /* letters of ASCII in any case */

#endif
