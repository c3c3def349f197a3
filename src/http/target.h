/* target.h - the request target and the Host field: what is asked for, and of whom. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include "http/head.h"

/* host, host:port, [ipv6]:port; letters, digits, and . - _ in a name. */
bool target_host_ok(struct piece host);

/* The name or address in a host_ok() text: without port, without brackets. */
struct piece target_host_name(struct piece host);

/* Fill segments, query and any_method_target from the target: a path; http://host/path, where host
 * must be that of the Host field; or * with OPTIONS.  Empty segments are dropped. */
enum fault target_parse(struct head *h);

#endif
