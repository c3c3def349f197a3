/* refuse.c - errors to replies: chat's form, whatever the route. */
#include "serve/form.h"

#include "refuse/refuse.h"

void refuse(struct call *c, const struct wire_error *why)
{
    refuse_with(c, wire_dialect_find("chat"), why);
}

void refuse_fault(void *arg, const struct call *c, enum fault f, struct buf *body,
                  const char **type)
{
    (void)arg;
    refuse_fault_in(wire_dialect_find("chat"), c, f, body, type);
}

void refuse_why(struct wire_error *why, enum err e, const char *param)
{
    if (e == ERR_NOMEM)
        wire_error_set(why, WIRE_E_NO_MEMORY, NULL, NULL);
    else
        wire_error_set(why, WIRE_E_VALUE, param, "Invalid '%s': %s.", param, err_text());
}
