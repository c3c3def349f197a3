/* reader.c - long requests are read on a thread of their own.
 *
 *   ask.c: reader_put --> [list] --> the reader's thread: ask_read --post--> ask.c: ask_go_on
 *
 * JSON, template and tokenizer take a second for a prompt of some megabytes, and the loop's thread
 * has heartbeats and tokens of others to write meanwhile.  A job that is read is the reader's
 * alone, and has its body as a copy, for its client may leave. */
#include "serve/form.h"

#include <time.h>

/* Bodies that wait to be read, in all. */
enum { READER_BYTES_MAX = 64 << 20 };

static void read_done(void *arg)
{
    struct job *j = arg;
    struct reader *r = &j->s->reader;

    pthread_mutex_lock(&j->s->lock);
    r->n_bytes -= j->body.len;
    pthread_mutex_unlock(&j->s->lock);
    buf_release(&j->body);
    ask_go_on(j);
}

/* The next one; NULL: it is over. */
static struct job *next(struct serve *s)
{
    struct reader *r = &s->reader;
    struct job *j;

    pthread_mutex_lock(&s->lock);
    while (!r->first && !r->stop)
        pthread_cond_wait(&r->wake, &s->lock);
    j = r->stop ? NULL : r->first;
    if (j) {
        r->first = j->next_read;
        r->last = r->first ? r->last : NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return j;
}

static void *run(void *arg)
{
    struct timespec moment = { 0, 2000000 };
    struct serve *s = arg;
    struct job *j;

    while ((j = next(s))) {
        ask_read(j, buf_text(&j->body), j->body.len);
        while (server_post(s->server, read_done, j))
            nanosleep(&moment, NULL);   /* too many wait: the loop takes them soon */
    }
    return NULL;
}

enum err reader_put(struct job *j)
{
    struct serve *s = j->s;
    struct reader *r = &s->reader;
    struct piece body = call_body(j->call);
    enum err e = OK;

    buf_add(&j->body, body.at, body.len);
    if (j->body.broken)
        return buf_ok(&j->body);
    pthread_mutex_lock(&s->lock);
    if (!r->started)
        r->started = !pthread_create(&r->thread, NULL, run, s);
    if (!r->started || j->body.len > READER_BYTES_MAX - r->n_bytes) {
        wire_error_set(&j->why, WIRE_E_OVERLOADED, NULL, NULL);
        j->why.retry_after_s = 2;
        e = err_set(ERR_BUSY, "SERVE-37", "as many long requests are being read as may be");
    } else {
        r->n_bytes += j->body.len;
        j->next_read = NULL;
        *(r->last ? &r->last->next_read : &r->first) = j;
        r->last = j;
        pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

void reader_end(struct serve *s)
{
    struct reader *r = &s->reader;

    pthread_mutex_lock(&s->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&s->lock);
    if (r->started)
        pthread_join(r->thread, NULL);
    r->started = false;
    while (r->first) {
        struct job *j = r->first;
        r->first = j->next_read;
        job_free(j);
    }
    r->last = NULL;
}
