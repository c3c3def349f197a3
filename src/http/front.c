/* front.c - see front.h. */
#include "http/front.h"

#include "http/target.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static bool address_ok(struct piece p)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr any;

    if (p.len == 0 || p.len >= sizeof(text))
        return false;
    memcpy(text, p.at, p.len);
    text[p.len] = '\0';
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static bool listed(struct piece p, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (piece_is_nocase(p, list[i]))
            return true;
    return false;
}

/* A page of another site may make a name of its own mean this machine, and then call us by it.  An
 * address it cannot make mean anything else. */
bool front_host_ok(const struct conn *c)
{
    const struct server_options *o = &c->s->o;
    struct piece name = target_host_name(head_host(&c->call.head));

    return o->any_host || c->unix_socket || name.len == 0 || piece_is_nocase(name, "localhost") ||
           listed(name, o->host, o->n_host) || address_ok(name);
}

/* From the right, the first address that is not of a trusted proxy: what stands left of it was
 * written by whoever wanted to. */
void front_peer(struct conn *c)
{
    const struct server_options *o = &c->s->o;
    struct piece own = { c->peer, strlen(c->peer) };
    struct piece list = head_find_last(&c->call.head, "x-forwarded-for");

    snprintf(c->call.peer, sizeof(c->call.peer), "%s", c->peer);
    c->call.loopback = c->loopback;
    if (!listed(own, o->proxy, o->n_proxy) || !list.at)
        return;
    c->call.loopback = false;           /* whoever it is, it is behind the proxy */
    while (list.len) {
        size_t n = 0;
        while (n < list.len && list.at[list.len - 1 - n] != ',')
            n++;
        struct piece one = { list.at + list.len - n, n };
        list.len -= n + (n < list.len);
        while (one.len && one.at[0] == ' ')
            one.at++, one.len--;
        while (one.len && one.at[one.len - 1] == ' ')
            one.len--;
        if (!address_ok(one))
            return;
        snprintf(c->call.peer, sizeof(c->call.peer), "%.*s", (int)one.len, one.at);
        if (!listed(one, o->proxy, o->n_proxy))
            return;
    }
}

/* "http://host:port" of the page and our own Host name the same. */
static bool same_site(struct piece origin, struct piece host)
{
    size_t scheme = origin.len > 8 && !strncasecmp(origin.at, "https://", 8) ? 8
                    : origin.len > 7 && !strncasecmp(origin.at, "http://", 7) ? 7 : 0;

    return scheme && host.len == origin.len - scheme &&
           !strncasecmp(origin.at + scheme, host.at, host.len);
}

enum fault front_origin(struct conn *c)
{
    const struct server_options *o = &c->s->o;
    struct piece origin = head_find(&c->call.head, "origin");
    char value[HEAD_LINE_MAX];

    if (!origin.at || same_site(origin, head_host(&c->call.head)))
        return FAULT_none;
    if (!listed(origin, o->origin, o->n_origin) &&
        !listed((struct piece){ "*", 1 }, o->origin, o->n_origin))
        return FAULT_origin;
    snprintf(value, sizeof(value), "%.*s", (int)origin.len, origin.at);
    call_header(&c->call, "Access-Control-Allow-Origin", value);
    call_header(&c->call, "Vary", "Origin");
    call_header(&c->call, "Access-Control-Expose-Headers", "*");
    return FAULT_none;
}

bool front_preflight(struct conn *c)
{
    struct call *q = &c->call;
    struct piece fields = head_find(&q->head, "access-control-request-headers");
    struct buf allow = { 0 };
    char value[HEAD_LINE_MAX];
    bool ours = piece_is(head_method(&q->head), "OPTIONS") && head_find(&q->head, "origin").at &&
                head_find(&q->head, "access-control-request-method").at && !q->head.chunked &&
                !q->head.length &&
                conn_route(c, &allow) == FAULT_method;

    if (ours && !allow.broken) {
        call_header(q, "Access-Control-Allow-Methods", buf_text(&allow));
        snprintf(value, sizeof(value), "%.*s", (int)fields.len, fields.at ? fields.at : "");
        if (fields.len)
            call_header(q, "Access-Control-Allow-Headers", value);
        call_header(q, "Access-Control-Max-Age", "600");
        c->state = CONN_CALL;
        c->read_due = 0;
        call_reply(q, 204, "text/plain", "", 0);
    }
    buf_release(&allow);
    return ours;
}
