/* access.c - see access.h.  Two buffers: one that callers fill, one that the thread writes. */
#include "http/access.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct access {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    struct buf queue;
    uint64_t dropped, told;             /* lines; those that a line has spoken of */
    bool closing;
    int fd;
};

static void put_text(struct buf *out, const char *name, const char *text, size_t len)
{
    buf_printf(out, ",\"%s\":", name);
    if (!text || len == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_puts(out, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            buf_printf(out, "\\u%04x", c);
        else
            buf_add(out, text + i, 1);
    }
    buf_puts(out, "\"");
}

static void put_string(struct buf *out, const char *name, const char *text)
{
    put_text(out, name, text, text ? strlen(text) : 0);
}

void access_format(struct buf *out, const struct access_line *l)
{
    time_t seconds = (time_t)(l->unix_ms / 1000);
    size_t n = 0;
    char when[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    while (n < l->path_len && n < ACCESS_PATH_MAX && l->path[n] != '?' && l->path[n] != '#')
        n++;
    buf_printf(out, "{\"time\":\"%s.%03dZ\"", when, (int)(l->unix_ms % 1000));
    put_string(out, "id", l->id);
    put_string(out, "peer", l->peer);
    put_string(out, "method", l->method);
    put_text(out, "path", l->path, n);
    put_string(out, "route", l->route);
    put_string(out, "key", l->key);
    buf_printf(out, ",\"status\":%d,\"bytes_in\":%llu,\"bytes_out\":%llu,\"ms\":%.3f", l->status,
               (unsigned long long)l->bytes_in, (unsigned long long)l->bytes_out, l->ms);
    put_string(out, "end", l->end);
    buf_puts(out, "}\n");
}

/* False when the descriptor takes no more. */
static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static void *writer(void *arg)
{
    struct access *a = arg;

    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->queue.len && !a->closing)
            pthread_cond_wait(&a->filled, &a->lock);
        if (!a->queue.len)
            break;
        struct buf full = a->queue;
        a->queue = (struct buf){ 0 };
        pthread_mutex_unlock(&a->lock);
        write_all(a->fd, buf_text(&full), full.len);
        buf_release(&full);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

enum err access_open(struct access **out, int fd)
{
    struct access *a = calloc(1, sizeof(*a));

    *out = NULL;
    if (!a)
        return err_set(ERR_NOMEM, "ACCESS-01", "out of memory for the access log");
    a->fd = fd;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->filled, NULL);
    if (pthread_create(&a->thread, NULL, writer, a)) {
        pthread_cond_destroy(&a->filled);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return err_set(ERR_NOMEM, "ACCESS-02", "cannot start the thread of the access log; the "
                       "limit on threads (ulimit -u) may be reached");
    }
    *out = a;
    return OK;
}

void access_put(struct access *a, const struct access_line *line)
{
    struct buf text = { 0 };

    access_format(&text, line);
    pthread_mutex_lock(&a->lock);
    if (a->dropped > a->told)
        buf_printf(&text, "{\"dropped_lines\":%llu}\n",
                   (unsigned long long)(a->dropped - a->told));
    if (text.broken || a->queue.len + text.len > ACCESS_QUEUE_BYTES) {
        a->dropped++;
    } else {
        buf_add(&a->queue, buf_text(&text), text.len);
        if (a->queue.broken) {
            a->queue.broken = false;    /* what was queued is whole: an append is all or nothing */
            a->dropped++;
        } else {
            a->told = a->dropped;
        }
        pthread_cond_signal(&a->filled);
    }
    pthread_mutex_unlock(&a->lock);
    buf_release(&text);
}

uint64_t access_dropped(struct access *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t n = a->dropped;
    pthread_mutex_unlock(&a->lock);
    return n;
}

void access_close(struct access *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->closing = true;
    pthread_cond_signal(&a->filled);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->filled);
    pthread_mutex_destroy(&a->lock);
    buf_release(&a->queue);
    free(a);
}
