/* route.h - the table of routes: which handler a method and a path have.
 *
 * What a request may do is decided by the route it resolved to, never by its path's text. */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include "http/head.h"

struct call;
typedef void route_fn(struct call *c, void *arg);

enum { ROUTE_PARAMS_MAX = 4 };

/* A path is segments: "/v1/models/{id}"; {...} takes any one segment.  The first route that fits
 * wins.  HEAD goes to the GET route. */
struct route {
    const char *method, *path;
    int auth;                           /* what server_options.authorise is asked; 0: nobody is */
    size_t body_max;                    /* bytes; 0: a body is refused */
    route_fn *handle;
};

struct route_match { const struct route *route; int param[ROUTE_PARAMS_MAX], n_param; };

/* The route of a head that is done, its path taken after `base` ("/croft", "" or NULL: nothing).
 *  With FAULT_method `allow` holds the methods the path takes;
 * with FAULT_no_route there is none. */
enum fault route_find(struct route_match *out, struct buf *allow, const struct route *routes,
                      int n_route, const char *base, const struct head *h);

#endif
