/* net.c - see net.h. */
#include "net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

enum { BACKLOG = 4096 };

static struct sockaddr_in here(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void at_once(evutil_socket_t fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

struct bufferevent *net_connect(struct event_base *base, int port, bufferevent_data_cb read,
                                bufferevent_event_cb event, void *arg)
{
    struct sockaddr_in to = here(port);
    struct bufferevent *b = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

    if (!b)
        exit(1);
    bufferevent_setcb(b, read, NULL, event, arg);
    bufferevent_enable(b, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(b, (struct sockaddr *)&to, sizeof(to)) < 0)
        exit(1);
    at_once(bufferevent_getfd(b));
    return b;
}

int net_listen(struct event_base *base, evconnlistener_cb accept, void *arg)
{
    struct sockaddr_in at = here(0);
    socklen_t len = sizeof(at);
    struct evconnlistener *ear =
        evconnlistener_new_bind(base, accept, arg, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
                                BACKLOG, (struct sockaddr *)&at, sizeof(at));

    if (!ear || getsockname(evconnlistener_get_fd(ear), (struct sockaddr *)&at, &len))
        exit(1);
    return ntohs(at.sin_port);
}

struct bufferevent *net_accepted(struct event_base *base, evutil_socket_t fd)
{
    struct bufferevent *b = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

    if (!b)
        exit(1);
    at_once(fd);
    return b;
}
