/* refuse.h - refusals of a server that speaks API dialects: errors of the catalogue of wire and
 * faults of http, as replies. */
#ifndef REFUSE_REFUSE_H
#define REFUSE_REFUSE_H

#include "http/call.h"
#include "wire/carry.h"

/* The whole reply of a call: the error in dialect d, and when to ask again. */
void refuse_with(struct call *c, const struct wire_dialect *d, const struct wire_error *why);

/* body, *type <- fault f of call c in dialect d, as server_options.refusal has to give it. */
void refuse_fault_in(const struct wire_dialect *d, const struct call *c, enum fault f,
                     struct buf *body, const char **type);

#endif
