/* net.h - sockets of the programs that load a gateway: on 127.0.0.1, without Nagle's delay. */
#ifndef LOAD_NET_H
#define LOAD_NET_H

#include <event2/bufferevent.h>
#include <event2/listener.h>

/* A connection to `port`; ends the program when there can be none. */
struct bufferevent *net_connect(struct event_base *base, int port, bufferevent_data_cb read,
                                bufferevent_event_cb event, void *arg);

/* Listen on a port of the system's choice, which is returned. */
int net_listen(struct event_base *base, evconnlistener_cb accept, void *arg);

/* What a listener has accepted. */
struct bufferevent *net_accepted(struct event_base *base, evutil_socket_t fd);

#endif
