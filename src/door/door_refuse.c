/* door_refuse.c - in which dialect a call is refused. */
#include "door/door_form.h"

#include "refuse/refuse.h"

const struct wire_dialect *refuse_dialect(const struct call *c)
{
    const struct head *h = call_head(c);

    for (int i = 0; i < h->n_segment; i++)
        if (piece_is(head_segment(h, i), "messages"))
            return wire_dialect_find("messages");
    return wire_dialect_find(head_find(h, "anthropic-version").at ? "messages" : "chat");
}

void refuse_by_fault(void *door, const struct call *c, enum fault f, struct buf *body,
                     const char **type)
{
    (void)door;
    refuse_fault_in(refuse_dialect(c), c, f, body, type);
}
