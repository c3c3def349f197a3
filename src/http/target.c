/* target.c - see target.h.  Segments are cut first and decoded after, so that an escaped slash
 * cannot make another path than the one somebody in front of us saw. */
#include "http/target.h"

#include "base/hex.h"

#include <string.h>
#include <strings.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ":1" to ":65535", or nothing. */
static bool port_ok(const char *at, size_t len)
{
    int port = 0;

    if (len == 0)
        return true;
    if (len < 2 || len > 6 || at[0] != ':')
        return false;
    for (size_t i = 1; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        port = port * 10 + at[i] - '0';
    }
    return port > 0 && port < 65536;
}

bool target_host_ok(struct piece host)
{
    size_t n = 0;

    if (host.len && host.at[0] == '[') {
        for (n = 1; n < host.len && (hex_value(host.at[n]) >= 0 || strchr(":.", host.at[n])); n++)
            ;
        if (n < 3 || n == host.len || host.at[n++] != ']')
            return false;
    } else {
        while (n < host.len && (is_alnum(host.at[n]) || strchr(".-_", host.at[n])))
            n++;
    }
    return n > 0 && n < 256 && port_ok(host.at + n, host.len - n);
}

struct piece target_host_name(struct piece host)
{
    if (host.len && host.at[0] == '[') {
        const char *end = memchr(host.at, ']', host.len);
        return (struct piece){ host.at + 1, (size_t)(end - host.at - 1) };
    }
    const char *colon = memchr(host.at, ':', host.len);
    return (struct piece){ host.at, colon ? (size_t)(colon - host.at) : host.len };
}

/* One segment, decoded behind what h->path has. */
static enum fault add_segment(struct head *h, const char *at, size_t len)
{
    struct head_span *s = &h->segment[h->n_segment];

    if (h->n_segment == HEAD_SEGMENTS_MAX)
        return FAULT_target_long;
    s->at = (uint16_t)h->path.len;
    for (size_t i = 0; i < len; i++) {
        char c = at[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_value(at[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return FAULT_escape;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7f || c == '\\')
            return FAULT_escape;
        buf_add(&h->path, &c, 1);
    }
    if (h->path.broken)
        return FAULT_memory;
    s->len = (uint16_t)(h->path.len - s->at);
    h->n_segment++;
    if (piece_is(head_segment(h, h->n_segment - 1), ".") ||
        piece_is(head_segment(h, h->n_segment - 1), ".."))
        return FAULT_dots;
    return FAULT_none;
}

static enum fault cut_path(struct head *h, const char *path, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = 0;
        while (at + n < len && path[at + n] != '/')
            n++;
        enum fault f = n ? add_segment(h, path + at, n) : FAULT_none;
        if (f)
            return f;
        at += n + 1;
    }
    return FAULT_none;
}

/* The length of "http://host" before the path, 0 for a path alone; SIZE_MAX: not a target. */
static size_t authority_len(const struct head *h, struct piece target)
{
    struct piece host = head_host(h), at = target;
    size_t scheme = !strncasecmp(target.at, "http://", 7) ? 7
                    : !strncasecmp(target.at, "https://", 8) ? 8 : 0;

    if (scheme == 0)
        return target.at[0] == '/' ? 0 : SIZE_MAX;
    at.at += scheme;
    for (at.len = 0; scheme + at.len < target.len && at.at[at.len] != '/' && at.at[at.len] != '?';)
        at.len++;
    if (at.len == 0 || !target_host_ok(at))
        return SIZE_MAX;
    if (host.len && (host.len != at.len || strncasecmp(host.at, at.at, at.len)))
        return SIZE_MAX;
    return scheme + at.len;
}

enum fault target_parse(struct head *h)
{
    struct piece target = head_target(h);
    const char *question;
    size_t skip;

    if (piece_is(target, "*")) {
        h->any_method_target = true;
        return piece_is(head_method(h), "OPTIONS") ? FAULT_none : FAULT_target;
    }
    skip = authority_len(h, target);
    if (skip == SIZE_MAX || memchr(target.at, '#', target.len))
        return FAULT_target;
    question = memchr(target.at, '?', target.len);
    if (question) {
        size_t at = (size_t)(question - target.at) + 1;
        h->query = (struct head_span){ (uint16_t)(h->target.at + at),
                                       (uint16_t)(target.len - at) };
        target.len = at - 1;
    }
    return cut_path(h, target.at + skip, target.len - skip);
}
