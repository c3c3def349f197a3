/* serve.c - see serve.h: a server's life, and replies on their way out.
 *
 *   new -> (listening) -> start: loading, 503 -> ready -> SIGTERM: draining -> the loop's end
 */
#include "serve/form.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* --- routes ---------------------------------------------------------------------------------- */

static const struct route routes[] = {
#define ROUTE(method, path, auth, body_max, fn) \
    { method, path, auth, body_max, fn }, { method, "/v1" path, auth, body_max, fn },
#include "serve/route.def"
#undef ROUTE
};
enum { N_ROUTE = sizeof(routes) / sizeof(*routes) };

static enum fault authorise(void *arg, struct call *c, int auth)
{
    struct serve *s = arg;
    enum fault f;
    const struct key *key = gate_key(&s->gate, call_head(c), (unsigned)auth, &f);

    if (key)
        call_set_key(c, key->id);
    return f;
}

/* --- replies --------------------------------------------------------------------------------- */

enum { PIECE = 16384 };

void serve_room(void *arg)
{
    struct job *j = arg;
    bool room = true;

    while (j->resting && room && j->rest_at < j->rest.len) {
        size_t n = j->rest.len - j->rest_at;
        n = n < PIECE ? n : PIECE;
        room = call_write(j->call, j->rest.data + j->rest_at, n);
        j->rest_at += n;
    }
    if (!j->resting || !room)
        return;
    call_end(j->call);
    job_free(j);
}

static void write_whole(struct job *j, struct buf *out, bool ended, bool early, int status)
{
    const char *beat = wire_heartbeat(j->r.dialect, false);

    if (early && !j->streaming) {
        call_stream(j->call, 200, "application/json", beat);
        j->streaming = true;
    }
    if (!ended)
        return;
    if (j->streaming) {
        j->rest = *out;
        *out = (struct buf){ 0 };
        j->resting = true;
        return;
    }
    if (status != 200) {
        call_header(j->call, "Retry-After", "1");
        call_header(j->call, "x-should-retry", wire_error_retry(j->why.code) ? "true" : "false");
    }
    call_reply(j->call, status, "application/json", buf_text(out), out->len);
}

static void write_stream(struct job *j, const struct buf *out, bool ended)
{
    if (out->len)
        call_write(j->call, out->data, out->len);
    if (ended)
        call_end(j->call);
}

/* No memory for the reply: a stream ends without its end, and a whole one is refused. */
static void lose(struct job *j)
{
    struct wire_error why;

    wire_error_set(&why, WIRE_E_NO_MEMORY, NULL, NULL);
    if (j->streaming)
        call_end(j->call);
    else
        refuse(j->call, &why);
    j->call = NULL;
}

void serve_deliver(void *arg)
{
    struct serve *s = arg;
    struct job *j;

    for (;;) {
        pthread_mutex_lock(&s->lock);
        j = s->outbox;
        if (!j)
            s->posted = false;
        else
            s->outbox = j->next_out;
        struct buf out = j ? j->out : (struct buf){ 0 };
        bool ended = j && j->ended, early = j && j->early, known = j && j->known;
        int status = j ? j->status : 0;
        if (j) {
            j->out = (struct buf){ 0 };
            j->posted = false;
        }
        pthread_mutex_unlock(&s->lock);
        if (!j)
            return;
        if (known && !j->told)
            reuse_tell(j);
        if (ended && j->whole && j->receipt)
            receipt_keep(j);
        if (j->call && out.broken) {
            lose(j);
            worker_drop(s, j);
        } else if (j->call && j->r.stream)
            write_stream(j, &out, ended);
        else if (j->call)
            write_whole(j, &out, ended, early, status);
        buf_release(&out);
        if (ended) {
            gate_leave(&s->gate, &j->pass, j->n_answer_tok);
            if (j->resting)
                serve_room(j);
            else
                job_free(j);
        }
    }
}

double serve_now(const struct serve *s)
{
    return s->o.clock ? s->o.clock() : clock_s();
}

void serve_loading(struct serve *s, double part)
{
    atomic_store(&s->loading, (int)(1000 * (part < 0 ? 0 : part > 1 ? 1 : part)));
}

/* --- life ------------------------------------------------------------------------------------ */

enum err serve_new(struct serve **out, const struct serve_options *o)
{
    struct serve *s = calloc(1, sizeof(*s));
    enum err e;

    *out = NULL;
    if (!s)
        return err_set(ERR_NOMEM, "SERVE-22", "no memory for a server");
    s->o = *o;
    s->started = serve_now(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->reader.wake, NULL);
    struct server_options so = {
        .n_route = N_ROUTE, .arg = s, .authorise = o->keys ? authorise : NULL,
        .refusal = refuse_fault, .access = o->access, .host = o->host, .n_host = o->n_host,
        .base_path = o->base_path, .proxy = o->proxy, .n_proxy = o->n_proxy, .origin = o->origin,
        .n_origin = o->n_origin, .limits = { .output_max = WIRE_REPLY_BYTES_MAX },
    };
    s->route = malloc(sizeof(routes));
    s->slot = calloc((size_t)o->n_seq_max, sizeof(*s->slot));
    e = s->route && s->slot ? gate_open(&s->gate, o->keys) :
        err_set(ERR_NOMEM, "SERVE-23", "no memory for the routes");
    if (e == OK) {
        memcpy(s->route, routes, sizeof(routes));
        for (int i = 0; i < N_ROUTE && !o->keys; i++)
            s->route[i].auth = 0;
        so.route = s->route;
        e = queue_init(&s->queue, o->queue_max, o->queue_tok_max, o->n_seq_max);
    }
    if (e == OK)
        e = server_new(&s->server, &so);
    if (e == OK && o->cert)
        e = server_tls(s->server, o->cert, o->cert_key);
    if (e != OK) {
        serve_free(s);
        return e;
    }
    *out = s;
    return OK;
}

void serve_free(struct serve *s)
{
    if (!s)
        return;
    ASSERT(!s->loop_started || s->loop_done);
    server_free(s->server);
    while (s->all)
        job_free(s->all);
    receipts_release(&s->receipts);
    queue_release(&s->queue);
    gate_close(&s->gate);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->reader.wake);
    pthread_mutex_destroy(&s->lock);
    free(s->route);
    free(s->slot);
    free(s);
}

enum err serve_listen(struct serve *s, const char *host, int port)
{
    return server_listen(s->server, host, port, s->o.cert != NULL);
}

enum err serve_listen_unix(struct serve *s, const char *path)
{
    return server_listen_unix(s->server, path);
}

int serve_port(const struct serve *s, int i)
{
    return server_port(s->server, i);
}

static void *loop(void *arg)
{
    struct serve *s = arg;
    enum err e = server_run(s->server);

    if (e != OK)
        term_error(e);
    pthread_mutex_lock(&s->lock);
    s->loop_done = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

enum err serve_start(struct serve *s)
{
    if (pthread_create(&s->loop, NULL, loop, s))
        return err_set(ERR_NOMEM, "SERVE-24", "the system gives no thread for the server");
    s->loop_started = true;
    return OK;
}

static void on_end(void *arg)
{
    struct serve *s = arg;

    if (s->draining) {
        server_stop(s->server);
        return;
    }
    s->draining = true;
    term_note("ending: no new requests are taken; those in progress get their answers");
    server_drain(s->server);
}

static void on_hup(void *arg)
{
    struct serve *s = arg;
    enum err e = gate_reload(&s->gate);

    if (e == OK && s->o.cert)
        e = server_tls(s->server, s->o.cert, s->o.cert_key);
    if (e != OK)
        term_error(e);
    else
        term_note("keys and certificate were read again");
}

struct ready { struct serve *s; const struct serve_model *m; };

static void on_ready(void *arg)
{
    struct ready *r = arg;
    struct serve *s = r->s;

    s->m = r->m;
    if (!s->m)
        server_stop(s->server);
    else if (server_on_signal(s->server, SIGTERM, on_end, s) ||
             server_on_signal(s->server, SIGINT, on_end, s) ||
             server_on_signal(s->server, SIGHUP, on_hup, s))
        term_error(ERR_NOMEM);
    else if (s->m->on_ready)
        s->m->on_ready(s->m->ready_arg);
    free(r);
}

enum err serve_run(struct serve *s, const struct serve_model *m)
{
    struct ready *r = malloc(sizeof(*r));
    enum err e = OK;

    ASSERT(r);
    *r = (struct ready){ s, m };
    pthread_mutex_lock(&s->lock);
    if (m)
        s->seen.load = stepper_load(m->stepper);
    s->seen.moved = serve_now(s);
    pthread_mutex_unlock(&s->lock);
    ASSERT(server_post(s->server, on_ready, r) == OK);
    worker_run(s, m);
    pthread_join(s->loop, NULL);
    maker_end(s);
    reader_end(s);
    if (s->broken)
        e = err_restore(&s->why_broken);
    return e;
}
