/* listen.c - listening sockets: IPv4, IPv6, and in the file system. */
#include "http/server_form.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, RETRY_MS = 100 };

bool listen_is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_UNIX)
        return true;
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return a->sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127));
}

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *from,
                      int len,
                      void *arg)
{
    (void)ev;
    (void)len;
    conn_accept(arg, fd, from);
}

/* Without descriptors the socket stays readable: rest a moment instead of spinning. */
static void on_accept_error(struct evconnlistener *ev, void *arg)
{
    struct listener *l = arg;
    struct timeval wait = { 0, RETRY_MS * 1000 };

    (void)ev;
    for (int i = 0; i < l->s->n_listener; i++)
        if (l->s->listener[i].ev)
            evconnlistener_disable(l->s->listener[i].ev);
    event_add(l->s->retry, &wait);
}

/* Take over a bound socket. */
static enum err add(struct server *s, int fd, bool tls, const char *path)
{
    struct listener *l = &s->listener[s->n_listener];
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);

    *l = (struct listener){ .s = s, .tls = tls, .port = -1, .path = path ? strdup(path) : NULL };
    if (!path || l->path)
        l->ev = evconnlistener_new(s->base, on_accept, l,
                                   LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED |
                                   LEV_OPT_CLOSE_ON_FREE, BACKLOG, fd);
    if (!l->ev || evconnlistener_enable(l->ev)) {
        if (l->ev)
            evconnlistener_free(l->ev);
        else
            close(fd);
        if (path)
            unlink(path);
        free(l->path);
        return err_set(ERR_NOMEM, "LISTEN-01", "out of memory for a listening socket");
    }
    evconnlistener_set_error_cb(l->ev, on_accept_error);
    if (!path && getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        l->port = ntohs(a.ss_family == AF_INET6
                        ? ((struct sockaddr_in6 *)(void *)&a)->sin6_port
                        : ((struct sockaddr_in *)(void *)&a)->sin_port);
    s->n_listener++;
    return OK;
}

static enum err full(const struct server *s)
{
    return s->n_listener < LISTENERS_MAX ? OK : err_set(ERR_LIMIT, "LISTEN-02", "a server listens "
                                                        "on at most %d addresses", LISTENERS_MAX);
}

static enum err listen_one(struct server *s, const struct addrinfo *a, const char *host, int port,
                           bool tls)
{
    int fd, on = 1;

    if (full(s))
        return ERR_LIMIT;
    if (!s->o.authorise && !listen_is_loopback(a->ai_addr))
        return err_set(ERR_ARG, "LISTEN-03", "%s is not an address of this machine alone, and no "
                       "keys are asked for; make keys, or listen on 127.0.0.1", host);
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (a->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0)
        return add(s, fd, tls, NULL);
    enum err e = err_set(ERR_IO, "LISTEN-04", "cannot listen on %s port %d: %s; %s", host, port,
                         strerror(errno), errno == EADDRINUSE
                         ? "another program does, end it or choose another port"
                         : "choose an address and a port this user may have");
    if (fd >= 0)
        close(fd);
    return e;
}

enum err server_listen(struct server *s, const char *host, int port, bool tls)
{
    struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    char service[16];
    enum err e = OK;

    ASSERT(!tls || s->tls);
    if (port < 0 || port > 65535)
        return err_set(ERR_ARG, "LISTEN-05", "there is no port %d; 0 to 65535", port);
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &want, &list))
        return err_set(ERR_ARG, "LISTEN-06", "%s: is no address of this machine", host);
    for (const struct addrinfo *a = list; a && !e; a = a->ai_next)
        e = listen_one(s, a, host, port, tls);
    freeaddrinfo(list);
    return e;
}

/* A socket that nobody answers on was left by a program that is gone. */
static void remove_stale(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED &&
        lstat(a->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(a->sun_path);
    close(fd);
}

enum err server_listen_unix(struct server *s, const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    int fd, rc;

    if (full(s))
        return ERR_LIMIT;
    if (len == 0 || len >= sizeof(a.sun_path))
        return err_set(ERR_ARG, "LISTEN-07", "%s: a socket's path has at most %zu bytes", path,
                       sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, path, len + 1);
    remove_stale(&a);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177);          /* its owner alone, from the first moment */
    rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof(a));
    umask(mask);
    if (rc == 0)
        return add(s, fd, false, path);
    enum err e = err_set(ERR_IO, "LISTEN-08", "cannot listen on %s: %s; choose a path that is not "
                         "taken", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return e;
}

int server_port(const struct server *s, int i)
{
    return i >= 0 && i < s->n_listener ? s->listener[i].port : -1;
}

void listen_close_all(struct server *s)
{
    for (int i = 0; i < s->n_listener; i++) {
        struct listener *l = &s->listener[i];
        if (l->ev)
            evconnlistener_free(l->ev);
        if (l->path)
            unlink(l->path);
        free(l->path);
        l->ev = NULL;
        l->path = NULL;
    }
}
