/* front.h - what stands before a route: the name we are called by, who asks, and from which page.
 *
 * Between server.c's options and conn.c; a handler sees none of it. */
#ifndef HTTP_FRONT_H
#define HTTP_FRONT_H

#include "http/server_form.h"

/* Whether Host is one of ours: an address, localhost, or a name of the options. */
bool front_host_ok(const struct conn *c);

/* The client's address: that of the connection, or what a trusted one says in X-Forwarded-For. */
void front_peer(struct conn *c);

/* FAULT_origin for a page that may not ask; adds the fields of CORS for one that may. */
enum fault front_origin(struct conn *c);

/* A browser asks whether a page may ask: true when this was that, and the reply is made. */
bool front_preflight(struct conn *c);

#endif
