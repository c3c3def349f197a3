/* head.c - see head.h.
 *
 *   bytes of a line --CR--> cr --LF--> line_done: request line, then fields, then the empty line
 *          \-- anything that cannot be there --> refused, at the first byte that shows it
 *
 * A line is judged when it is complete, the framing when the head is.  Names are lower-cased where
 * they lie.
 */
#include "http/head.h"

#include "http/target.h"

#include <string.h>
#include <strings.h>

static const struct { int status; const char *code, *text; } faults[FAULT_COUNT] = {
    [FAULT_none] = { 500, "internal", "the server failed" },
#define FAULT(id, status, code, text) [FAULT_##id] = { status, code, text },
#include "http/fault.def"
#undef FAULT
};

int fault_status(enum fault f)
{
    return faults[f].status;
}

const char *fault_code(enum fault f)
{
    return faults[f].code;
}

const char *fault_text(enum fault f)
{
    return faults[f].text;
}

void head_reset(struct head *h)
{
    buf_release(&h->text);
    buf_release(&h->path);
    *h = (struct head){ 0 };
}

void head_release(struct head *h)
{
    head_reset(h);
}

static struct piece piece_of(const struct head *h, struct head_span s)
{
    return (struct piece){ buf_text(&h->text) + s.at, s.len };
}

struct piece head_method(const struct head *h)
{
    return piece_of(h, h->method);
}

struct piece head_target(const struct head *h)
{
    return piece_of(h, h->target);
}

struct piece head_query(const struct head *h)
{
    return piece_of(h, h->query);
}

struct piece head_host(const struct head *h)
{
    return piece_of(h, h->host);
}

struct piece head_segment(const struct head *h, int i)
{
    ASSERT(i >= 0 && i < h->n_segment);
    return (struct piece){ buf_text(&h->path) + h->segment[i].at, h->segment[i].len };
}

bool piece_is(struct piece p, const char *text)
{
    return p.len == strlen(text) && !memcmp(p.at, text, p.len);
}

bool piece_is_nocase(struct piece p, const char *text)
{
    return p.len == strlen(text) && !strncasecmp(p.at, text, p.len);
}

struct piece head_find(const struct head *h, const char *name)
{
    return head_find_at(h, name, 0);
}

struct piece head_find_at(const struct head *h, const char *name, int i)
{
    for (int k = 0; k < h->n_field; k++)
        if (piece_is(piece_of(h, h->field[k].name), name) && i-- == 0)
            return piece_of(h, h->field[k].value);
    return (struct piece){ NULL, 0 };
}

struct piece head_find_last(const struct head *h, const char *name)
{
    for (int i = h->n_field; i-- > 0;)
        if (piece_is(piece_of(h, h->field[i].name), name))
            return piece_of(h, h->field[i].value);
    return (struct piece){ NULL, 0 };
}

/* What a method and a field's name are made of (RFC 9110, token). */
static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static enum head_result refuse(struct head *h, enum fault f)
{
    h->fault = f;
    return HEAD_REFUSED;
}

static struct head_span span_of(const struct head *h, const char *at, size_t len)
{
    return (struct head_span){ (uint16_t)(at - h->text.data), (uint16_t)len };
}

/* METHOD SP TARGET SP HTTP/1.x, one space each. */
static enum fault request_line(struct head *h, const char *line, size_t len)
{
    const char *version = len > 9 ? line + len - 9 : "";
    size_t n = 0, target_len;

    while (n < len && is_token(line[n]))
        n++;
    if (n == 0 || n > HEAD_METHOD_MAX || n + 10 >= len || line[n] != ' ' ||
        memcmp(version, " HTTP/", 6) || version[7] != '.')
        return FAULT_request_line;
    if (version[6] < '0' || version[6] > '9' || version[8] < '0' || version[8] > '9')
        return FAULT_request_line;
    if (version[6] != '1' || version[8] > '1')
        return FAULT_version;
    h->minor = version[8] - '0';
    target_len = len - 9 - (n + 1);
    for (size_t i = 0; i < target_len; i++)
        if (line[n + 1 + i] <= ' ' || line[n + 1 + i] > '~')
            return FAULT_request_line;
    h->method = span_of(h, line, n);
    h->target = span_of(h, line + n + 1, target_len);
    return FAULT_none;
}

static enum fault field_line(struct head *h, char *line, size_t len)
{
    size_t n = 0, from, to = len;

    if (line[0] == ' ' || line[0] == '\t')
        return FAULT_fold;
    while (n < len && is_token(line[n])) {
        if (line[n] >= 'A' && line[n] <= 'Z')
            line[n] = (char)(line[n] + 'a' - 'A');
        n++;
    }
    if (n == 0 || n == len || line[n] != ':')
        return FAULT_field;
    for (size_t i = n + 1; i < len; i++)
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
            return FAULT_field;
    if (h->n_field == HEAD_FIELDS_MAX)
        return FAULT_head_long;
    for (from = n + 1; from < to && (line[from] == ' ' || line[from] == '\t'); from++)
        ;
    while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t'))
        to--;
    h->field[h->n_field++] = (struct head_field){ span_of(h, line, n),
                                                  span_of(h, line + from, to - from) };
    return FAULT_none;
}

/* Fields whose second appearance could be read by somebody else instead of the first. */
static bool repeated(const struct head *h)
{
    static const char *const once[] = { "authorization", "content-encoding", "content-length",
                                        "content-type", "expect", "host", "origin",
                                        "transfer-encoding", "x-api-key", "x-request-id" };

    for (size_t k = 0; k < sizeof(once) / sizeof(*once); k++) {
        int n = 0;
        for (int i = 0; i < h->n_field; i++)
            n += piece_is(piece_of(h, h->field[i].name), once[k]);
        if (n > 1)
            return true;
    }
    return false;
}

static enum fault framing(struct head *h)
{
    struct piece length = head_find(h, "content-length");
    struct piece coding = head_find(h, "transfer-encoding");

    if (length.at && coding.at)
        return FAULT_both_lengths;
    if (coding.at && (!piece_is_nocase(coding, "chunked") || h->minor == 0))
        return FAULT_coding;
    h->chunked = coding.at != NULL;
    if (!length.at)
        return FAULT_none;
    if (length.len == 0 || length.len > HEAD_LENGTH_DIGITS)
        return FAULT_length;
    for (size_t i = 0; i < length.len; i++) {
        if (length.at[i] < '0' || length.at[i] > '9')
            return FAULT_length;
        h->length = h->length * 10 + (uint64_t)(length.at[i] - '0');
    }
    h->has_length = true;
    return FAULT_none;
}

/* Whether a list such as "keep-alive, Upgrade" has the word, in every field of that name. */
static bool list_has(const struct head *h, const char *name, const char *word)
{
    for (int i = 0; i < h->n_field; i++) {
        struct piece list = piece_of(h, h->field[i].value);
        if (!piece_is(piece_of(h, h->field[i].name), name))
            continue;
        for (size_t at = 0; at < list.len;) {
            struct piece one = { list.at + at, 0 };
            while (at + one.len < list.len && one.at[one.len] != ',')
                one.len++;
            at += one.len + 1;
            while (one.len && (one.at[0] == ' ' || one.at[0] == '\t'))
                one.at++, one.len--;
            while (one.len && (one.at[one.len - 1] == ' ' || one.at[one.len - 1] == '\t'))
                one.len--;
            if (piece_is_nocase(one, word))
                return true;
        }
    }
    return false;
}

static enum fault whole_head(struct head *h)
{
    struct piece expect, encoding, host;
    enum fault f;

    if (repeated(h))
        return FAULT_repeated;
    if ((f = framing(h)))
        return f;
    host = head_find(h, "host");
    if (host.at ? !target_host_ok(host) : h->minor > 0)
        return FAULT_host;
    if (host.at)
        h->host = span_of(h, host.at, host.len);
    if ((f = target_parse(h)))
        return f;
    expect = head_find(h, "expect");
    if (expect.at && !piece_is_nocase(expect, "100-continue"))
        return FAULT_expect;
    h->expect_continue = expect.at && h->minor > 0;
    encoding = head_find(h, "content-encoding");
    h->encoded = encoding.at && !piece_is_nocase(encoding, "identity");
    h->keep_alive = !list_has(h, "connection", "close") &&
                    (h->minor > 0 || list_has(h, "connection", "keep-alive"));
    return FAULT_none;
}

static enum head_result line_done(struct head *h)
{
    char *line = h->text.data + h->line_at;
    size_t len = h->text.len - h->line_at;
    enum fault f;

    if (h->method.len == 0)
        f = request_line(h, line, len);
    else if (len > 0)
        f = field_line(h, line, len);
    else if ((f = whole_head(h)) == FAULT_none)
        return HEAD_DONE;
    h->line_at = h->text.len;
    return f ? refuse(h, f) : HEAD_MORE;
}

static enum fault too_long(const struct head *h)
{
    if (h->text.len - h->line_at >= HEAD_LINE_MAX)
        return h->method.len ? FAULT_head_long : FAULT_target_long;
    return h->text.len >= HEAD_BYTES_MAX ? FAULT_head_long : FAULT_none;
}

enum head_result head_feed(struct head *h, const char *bytes, size_t len, size_t *used)
{
    enum head_result r = HEAD_MORE;

    ASSERT(!h->fault);
    for (*used = 0; *used < len && r == HEAD_MORE;) {
        size_t run = 0, room = len - *used;
        const char *at = bytes + *used;
        if (h->cr) {
            if (*at != '\n')
                return refuse(h, FAULT_line_end);
            h->cr = false;
            ++*used;
            r = line_done(h);
            continue;
        }
        while (run < room && at[run] != '\r' && at[run] != '\n' && at[run] != '\0' &&
               run < HEAD_LINE_MAX)
            run++;
        if (run > HEAD_BYTES_MAX - h->text.len)
            run = HEAD_BYTES_MAX - h->text.len;
        buf_add(&h->text, at, run);
        if (h->text.broken)
            return refuse(h, FAULT_memory);
        *used += run;
        if (too_long(h))
            return refuse(h, too_long(h));
        if (*used == len)
            break;
        if (bytes[*used] != '\r')
            return refuse(h, FAULT_line_end);
        h->cr = true;
        ++*used;
    }
    return r;
}
