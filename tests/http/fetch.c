/* fetch.c - all that the client of src/http can do, driven by tests/api/client.py.
 *
 *   fetch [NAME=VALUE]...
 *
 * url=, method=, body=, field=NAME:VALUE (several), proxy=, ca=, the deadlines and bounds by their
 * names in struct client_ask (idle_ms=200), events=1.  together=N requests run at once, times=N one
 * after the other.  pause=N pauses after that many bytes or events, says "paused" and goes on when
 * standard input has a line; cancel=N cancels after as many, 0 right after the request was sent;
 * also=URL sends a second request from inside the first piece of the first one.
 * Prints a line of JSON for each request when it ends. */
#include "base/term.h"
#include "http/client.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELDS_MAX = 16, TEXT_MAX = 300 };

struct fetch {
    struct client_req *r;
    struct buf text;                    /* the beginning of the body, or the events */
    uint64_t n_byte, hash;
    long n_piece, n_event, n_head;
    bool paused, is_also;
};

static struct client_field field[FIELDS_MAX];
static struct client_ask ask = { .field = field };
static struct client *client;
static struct loop *loop;
static struct loop_timer *poll_timer;
static long pause_at = -1, cancel_at = -1, together = 1, times = 1, running;
static const char *also;

static void start(const char *url, bool is_also);

static void put(json_t *line)
{
    json_dumpf(line, stdout, JSON_COMPACT);
    json_decref(line);
    printf("\n");
    fflush(stdout);
}

static void on_head(void *arg)
{
    struct fetch *f = arg;

    f->n_head++;
}

/* What to do after so many bytes or events. */
static void at(struct fetch *f, uint64_t n)
{
    if (also && !f->is_also) {
        const char *url = also;
        also = NULL;
        start(url, true);
    }
    if (cancel_at >= 0 && !f->is_also && n >= (uint64_t)cancel_at) {
        client_cancel(f->r);
    } else if (pause_at >= 0 && !f->paused && n >= (uint64_t)pause_at) {
        f->paused = true;
        client_pause(f->r);
        printf("paused\n");
        fflush(stdout);
        ASSERT(loop_timer_set(poll_timer, 0.005) == OK);
    }
}

static struct fetch *waiting;

static void on_body(void *arg, const char *bytes, size_t len)
{
    struct fetch *f = arg;
    size_t room = TEXT_MAX - f->text.len;

    waiting = f;
    f->n_piece++;
    f->n_byte += len;
    for (size_t i = 0; i < len; i++)
        f->hash = (f->hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    buf_add(&f->text, bytes, len < room ? len : room);
    at(f, f->n_byte);
}

static void on_event(void *arg, const char *name, const char *data, size_t len)
{
    struct fetch *f = arg;

    waiting = f;
    f->n_event++;
    f->n_byte += len;
    for (size_t i = 0; i < len; i++)
        f->hash = (f->hash ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    if (f->text.len < TEXT_MAX)
        buf_printf(&f->text, "%s=%.*s;", name, (int)(len < 100 ? len : 100), data);
    at(f, (uint64_t)f->n_event);
}

/* Goes on when there is a line, or the end, on standard input. */
static void on_poll(void *arg)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    char line[16];

    (void)arg;
    if (poll(&p, 1, 0) > 0) {
        ssize_t n = read(STDIN_FILENO, line, sizeof(line));
        (void)n;
        client_resume(waiting->r);
    } else {
        ASSERT(loop_timer_set(poll_timer, 0.005) == OK);
    }
}

static void on_end(void *arg, enum client_end end)
{
    struct fetch *f = arg;
    const char *type = client_reply_field(f->r, "content-type");
    const char *own = client_reply_field(f->r, "x-own");
    char hash[17];

    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)f->hash);
    put(json_pack("{s:s, s:i, s:s?, s:s?, s:I, s:I, s:I, s:I, s:s, s:s%, s:I, s:s, s:b}", "end",
                  client_end_name(end), "status", client_status(f->r), "type", type, "own", own,
                  "heads", (json_int_t)f->n_head, "bytes", (json_int_t)f->n_byte, "pieces",
                  (json_int_t)f->n_piece, "events", (json_int_t)f->n_event, "hash", hash, "text",
                  buf_text(&f->text), f->text.len, "retry_after_ms",
                  (json_int_t)client_retry_after_ms(f->r), "reason", client_reason(f->r), "also",
                  (int)f->is_also));
    buf_release(&f->text);
    running--;
    if (!f->is_also && --times > 0)
        start(ask.url, false);
    free(f);
    if (!running)
        loop_stop(loop);
}

static void start(const char *url, bool is_also)
{
    struct fetch *f = calloc(1, sizeof(*f));
    struct client_ask a = ask;
    enum err e;

    ASSERT(f);
    f->is_also = is_also;
    f->hash = UINT64_C(0xcbf29ce484222325);
    a.url = url;
    a.arg = f;
    e = client_send(&f->r, client, &a);
    if (e) {
        put(json_pack("{s:s, s:s}", "error", err_name(e), "text", err_text()));
        free(f);
        if (!running)
            loop_stop(loop);
        return;
    }
    running++;
    if (cancel_at == 0)
        client_cancel(f->r);
}

static bool number(const char *name, const char *value)
{
    static const struct { const char *name; int *to; } ints[] = {
        { "connect_ms", &ask.connect_ms }, { "first_byte_ms", &ask.first_byte_ms },
        { "idle_ms", &ask.idle_ms }, { "total_ms", &ask.total_ms },
    };
    static const struct { const char *name; long *to; } longs[] = {
        { "pause", &pause_at }, { "cancel", &cancel_at }, { "together", &together },
        { "times", &times },
    };

    for (size_t i = 0; i < sizeof(ints) / sizeof(*ints); i++)
        if (!strcmp(name, ints[i].name))
            return *ints[i].to = atoi(value), true;
    for (size_t i = 0; i < sizeof(longs) / sizeof(*longs); i++)
        if (!strcmp(name, longs[i].name))
            return *longs[i].to = atol(value), true;
    if (!strcmp(name, "body_max"))
        return ask.body_max = strtoull(value, NULL, 10), true;
    if (!strcmp(name, "event_max"))
        return ask.event_max = strtoull(value, NULL, 10), true;
    return false;
}

static void option(char *text)
{
    char *value = strchr(text, '='), *colon;

    ASSERT(value);
    *value++ = '\0';
    if (!strcmp(text, "url")) {
        ask.url = value;
    } else if (!strcmp(text, "method")) {
        ask.method = value;
    } else if (!strcmp(text, "body")) {
        ask.body = value;
        ask.body_len = strlen(value);
    } else if (!strcmp(text, "proxy")) {
        ask.proxy = value;
    } else if (!strcmp(text, "ca")) {
        ask.ca_file = value;
    } else if (!strcmp(text, "also")) {
        also = value;
    } else if (!strcmp(text, "events")) {
        ask.on_event = on_event;
    } else if (!strcmp(text, "field")) {
        ASSERT((colon = strchr(value, ':')) && ask.n_field < FIELDS_MAX);
        *colon = '\0';
        field[ask.n_field++] = (struct client_field){ value, colon + 1 };
    } else {
        ASSERT(number(text, value));
    }
}

int main(int argc, char **argv)
{
    enum err e;

    ask.on_head = on_head;
    ask.on_body = on_body;
    ask.on_end = on_end;
    for (int i = 1; i < argc; i++)
        option(argv[i]);
    ASSERT(ask.url);
    e = loop_new(&loop);
    if (!e)
        e = client_new(&client, loop, 0);
    if (!e)
        e = loop_timer_new(&poll_timer, loop, on_poll, NULL);
    for (long i = 0; i < together && !e; i++)
        start(ask.url, false);
    if (!e && running)
        e = loop_run(loop);
    loop_timer_free(poll_timer);
    client_free(client);
    loop_free(loop);
    if (e)
        fprintf(stderr, "fetch: %s\n", err_text());
    return e != OK;
}
