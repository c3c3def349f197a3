/* refuse.c - see refuse.h. */
#include "refuse/refuse.h"

#include "http/keys.h"

#include <stdio.h>

void refuse_with(struct call *c, const struct wire_dialect *d, const struct wire_error *why)
{
    struct buf body = { 0 };
    char seconds[16];

    wire_error_write(&body, d, why);
    if (body.broken) {
        buf_release(&body);
        call_fail(c, FAULT_memory);
        return;
    }
    snprintf(seconds, sizeof(seconds), "%u", why->retry_after_s ? why->retry_after_s : 1);
    if (wire_error_retry(why->code))
        call_header(c, "Retry-After", seconds);
    call_header(c, "x-should-retry", wire_error_retry(why->code) ? "true" : "false");
    call_reply(c, wire_error_status_in(d, why->code), "application/json", buf_text(&body),
               body.len);
    buf_release(&body);
}

/* The status is the fault's own: `code` only says how the body calls it. */
static enum wire_code code_of(const struct call *c, enum fault f)
{
    switch (f) {
    case FAULT_no_route:     return WIRE_E_NO_ROUTE;
    case FAULT_method:       return WIRE_E_METHOD;
    case FAULT_unauthorised: return keys_token(call_head(c)).at ? WIRE_E_BAD_KEY : WIRE_E_NO_KEY;
    case FAULT_forbidden:
    case FAULT_origin:       return WIRE_E_FORBIDDEN;
    case FAULT_encoded:      return WIRE_E_MEDIA_TYPE;
    case FAULT_body_long:    return WIRE_E_TOO_LARGE;
    case FAULT_slow:         return WIRE_E_SLOW;
    case FAULT_full:         return WIRE_E_NOT_READY;
    case FAULT_memory:       return WIRE_E_NO_MEMORY;
    default:                 return WIRE_E_VALUE;
    }
}

void refuse_fault_in(const struct wire_dialect *d, const struct call *c, enum fault f,
                     struct buf *body, const char **type)
{
    enum wire_code code = code_of(c, f);
    struct wire_error why;

    *type = "application/json";
    if (f == FAULT_unauthorised)
        wire_error_set(&why, code, NULL, NULL);
    else
        wire_error_set(&why, code, NULL, "Refused: %s.", fault_text(f));
    wire_error_write(body, d, &why);
}
