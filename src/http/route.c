/* route.c - see route.h. */
#include "http/route.h"

#include <string.h>

/* Whether the segments from `i` on are those of the path. */
static bool path_fits(struct route_match *m, const char *path, int i, const struct head *h)
{
    m->n_param = 0;
    for (path += *path == '/'; *path; i++) {
        size_t n = strcspn(path, "/");
        if (i == h->n_segment)
            return false;
        struct piece s = head_segment(h, i);
        if (path[0] == '{') {
            ASSERT(path[n - 1] == '}' && m->n_param < ROUTE_PARAMS_MAX);
            m->param[m->n_param++] = i;
        } else if (s.len != n || memcmp(s.at, path, n)) {
            return false;
        }
        path += n + (path[n] == '/');
    }
    return i == h->n_segment;
}

/* How many segments the base has; -1: the path does not begin with them. */
static int base_segments(const char *base, const struct head *h)
{
    int i = 0;

    for (base += *base == '/'; *base; i++) {
        size_t n = strcspn(base, "/");
        struct piece s = i < h->n_segment ? head_segment(h, i) : (struct piece){ "", 0 };
        if (s.len != n || memcmp(s.at, base, n))
            return -1;
        base += n + (base[n] == '/');
    }
    return i;
}

enum fault route_find(struct route_match *out, struct buf *allow, const struct route *routes,
                      int n_route, const char *base, const struct head *h)
{
    int from = base_segments(base ? base : "", h);
    struct piece method = head_method(h);
    bool is_head = piece_is(method, "HEAD"), any = false;

    for (int i = 0; i < n_route && !h->any_method_target && from >= 0; i++) {
        const struct route *r = &routes[i];
        if (!path_fits(out, r->path, from, h))
            continue;
        if (piece_is(method, r->method) || (is_head && !strcmp(r->method, "GET"))) {
            out->route = r;
            buf_cut(allow, 0);
            return FAULT_none;
        }
        buf_printf(allow, "%s%s%s", any ? ", " : "", r->method,
                   strcmp(r->method, "GET") ? "" : ", HEAD");
        any = true;
    }
    *out = (struct route_match){ 0 };
    return any ? FAULT_method : FAULT_no_route;
}
