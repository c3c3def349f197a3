/* test_health.c - whether a server answers, and what goes out early, under a clock that is set: a
 * server in this process, asked over loopback. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/term.h"
#include "serve/health.h"
#include "serve/serve.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Test(health, a_server_is_stuck_when_work_waits_for_30_seconds_without_a_step)
{
    struct health h = { .moved = 100 };

    cr_assert_str_eq(health_status(&h, 100), "loading");
    h.loaded = true;
    cr_assert_str_eq(health_status(&h, 1e6), "ok", "nothing waits");
    h.n_wait = 1;
    cr_assert_str_eq(health_status(&h, 130), "ok");
    cr_assert_str_eq(health_status(&h, 130.1), "stuck");
    h.n_wait = 0;
    h.n_work = 1;
    cr_assert_str_eq(health_status(&h, 130.1), "stuck", "in work, and no step ends");
    h.moved = 130;
    cr_assert_str_eq(health_status(&h, 130.1), "ok");
    h.draining = true;
    cr_assert_str_eq(health_status(&h, 500), "draining");
}

static void keep_part(void *arg, double part)
{
    *(double *)arg = part;
}

Test(health, who_watches_a_progress_is_told_its_part)
{
    struct progress p;
    double part = -1;

    progress_watch(keep_part, &part);
    progress_begin(&p, "reading", "B", 200);
    progress_update(&p, 50);
    cr_assert_float_eq(part, 0.25, 1e-9);
    progress_watch(NULL, NULL);
    progress_update(&p, 150);
    progress_end(&p);
    cr_assert_float_eq(part, 0.25, 1e-9);
}

/* --- a server ------------------------------------------------------------------------------- */

static atomic_int seconds;
static atomic_long engine_turns = LONG_MAX;     /* looks at the clock that the engine has left */
static _Thread_local bool is_engine;

/* The engine looks at it twice a step, holding nothing, and waits there when its turns are used. */
static double now(void)
{
    if (is_engine) {
        while (atomic_load(&engine_turns) <= 0)
            usleep(100);
        atomic_fetch_sub(&engine_turns, 1);
    }
    return 1000 + atomic_load(&seconds);
}

static int send_to(const struct serve *s, const char *method, const char *path, const char *body)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)serve_port(s, 0)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct buf b = { 0 };

    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
               "%zu\r\n\r\n%s", method, path, strlen(body), body);
    cr_assert_eq(write(fd, b.data, b.len), (ssize_t)b.len);
    buf_release(&b);
    return fd;
}

/* What comes until `word`, or the end. */
static void receive(int fd, struct buf *got, const char *word)
{
    char bytes[4096];
    ssize_t n;

    while (!strstr(buf_text(got), word) && (n = read(fd, bytes, sizeof(bytes))) > 0)
        buf_add(got, bytes, (size_t)n);
}

static const char *get(const struct serve *s, const char *path)
{
    static struct buf got;
    int fd = send_to(s, "GET", path, "");

    buf_cut(&got, 0);
    receive(fd, &got, "no such word");
    close(fd);
    return buf_text(&got);
}

static struct serve *start(double deadline_s)
{
    struct serve_options o = { .id = "stories", .queue_max = 8, .queue_tok_max = 1000,
                               .n_seq_max = 2, .deadline_s = deadline_s, .clock = now };
    struct serve *s;

    cr_assert_eq(serve_new(&s, &o), OK, "%s", err_text());
    cr_assert_eq(serve_listen(s, "127.0.0.1", 0), OK, "%s", err_text());
    cr_assert_eq(serve_start(s), OK, "%s", err_text());
    return s;
}

Test(health, while_it_loads_it_says_how_far_it_is)
{
    struct serve *s = start(10);

    cr_assert(strstr(get(s, "/health/ready"), " 503 "));
    cr_assert(strstr(get(s, "/health/ready"), "{\"status\":\"loading\",\"progress\":0.000}"));
    serve_loading(s, 0.25);
    cr_assert(strstr(get(s, "/v1/health/ready"), "{\"status\":\"loading\",\"progress\":0.250}"));
    cr_assert(strstr(get(s, "/v1/models"), " 503 "));
    cr_assert(strstr(get(s, "/v1/models"), "25 % of it is there"));
    serve_loading(s, 7);
    cr_assert(strstr(get(s, "/health/ready"), "\"progress\":1.000}"));
    cr_assert(strstr(get(s, "/health/live"), " 200 "), "it lives");
    cr_assert_eq(serve_run(s, NULL), OK, "no model after all");
    serve_free(s);
}

/* --- with a model ---------------------------------------------------------------------------- */

enum { N_CTX = 2048, N_SAID = 2000 };

struct running {
    struct weights *w;
    struct model *m;
    struct tokenizer *tok;
    struct stepper *stepper;
    struct serve *s;
    struct serve_model sm;
    pthread_t engine;
};

static void *engine(void *arg)
{
    struct running *r = arg;

    is_engine = true;
    cr_assert_eq(serve_run(r->s, &r->sm), OK, "%s", err_text());
    return NULL;
}

static void run(struct running *r)
{
    struct model_options mo = { .n_thread = 1, .isa = isa_detect(), .kv_type = QTYPE_f16,
                                .n_batch_max = 64 };
    struct stepper_options so = { .n_ctx = N_CTX, .n_seq_max = 2, .n_batch = 64,
                                  .n_page = 2 * kv_pages(N_CTX) };

    cr_assert_eq(weights_open(&r->w, "models/stories260K.gguf", NULL), OK, "%s", err_text());
    cr_assert_eq(tokenizer_new(&r->tok, r->w), OK);
    cr_assert_eq(model_open(&r->m, r->w, &mo), OK);
    cr_assert_eq(stepper_new(&r->stepper, r->m, &so), OK);
    r->sm = (struct serve_model){ .stepper = r->stepper, .tok = r->tok, .n_ctx = N_CTX,
                                  .n_vocab = model_info(r->m)->n_vocab };
    r->s = start(600);
    cr_assert_eq(pthread_create(&r->engine, NULL, engine, r), 0);
    while (strstr(get(r->s, "/health/ready"), "loading"))
        usleep(1000);
}

static void stop(struct running *r)
{
    kill(getpid(), SIGTERM);
    pthread_join(r->engine, NULL);
    serve_free(r->s);
    stepper_free(r->stepper);
    model_free(r->m);
    tokenizer_free(r->tok);
    weights_free(r->w);
}

/* A long answer, whole, in work; the engine rests in the middle of it. */
static int ask_long(const struct running *r)
{
    char body[160];

    snprintf(body, sizeof(body), "{\"prompt\":\"Once\",\"temperature\":0,\"max_tokens\":%d,"
             "\"logit_bias\":{\"1\":-100,\"2\":-100}}", N_SAID);
    atomic_store(&engine_turns, N_SAID / 8);
    int fd = send_to(r->s, "POST", "/v1/completions", body);
    while (!strstr(get(r->s, "/metrics"), "croft_work_sequences 1"))
        usleep(1000);
    return fd;
}

/* The headers that go out when an answer takes more than 20 seconds. */
static void receive_early(int fd, struct buf *got)
{
    atomic_fetch_add(&seconds, 21);
    atomic_store(&engine_turns, N_SAID / 8);
    receive(fd, got, "\r\n\r\n");
    cr_assert(strstr(buf_text(got), "HTTP/1.1 200 OK"), "%s", buf_text(got));
    cr_assert(strstr(buf_text(got), "Transfer-Encoding: chunked"), "%s", buf_text(got));
}

Test(health, a_whole_reply_sends_its_headers_after_20_seconds_and_its_body_when_it_is_there)
{
    struct running r;
    struct buf got = { 0 };
    char want[64];

    run(&r);
    int fd = ask_long(&r);
    receive_early(fd, &got);
    atomic_store(&engine_turns, LONG_MAX);
    receive(fd, &got, "\r\n0\r\n\r\n");
    snprintf(want, sizeof(want), "\"completion_tokens\":%d,", N_SAID);
    cr_assert(strstr(buf_text(&got), want), "%.300s", buf_text(&got));
    close(fd);

    buf_cut(&got, 0);                   /* and before 20 seconds they wait for the body */
    fd = send_to(r.s, "POST", "/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":2}");
    receive(fd, &got, "no such word");
    cr_assert(strstr(buf_text(&got), "Content-Length: "), "%s", buf_text(&got));
    close(fd);

    buf_cut(&got, 0);                   /* an error that comes later has no status left */
    fd = ask_long(&r);
    receive_early(fd, &got);
    atomic_fetch_add(&seconds, 600);
    atomic_store(&engine_turns, LONG_MAX);
    receive(fd, &got, "\r\n0\r\n\r\n");
    cr_assert(strstr(buf_text(&got), "deadline_exceeded"), "%.300s", buf_text(&got));
    close(fd);
    for (int i = 0; i < 20000 && !strstr(get(r.s, "/health/ready"), "{\"status\":\"ok\"}"); i++)
        usleep(1000);                   /* the clock jumped; the count of what is in work follows */
    cr_assert(strstr(get(r.s, "/health/ready"), "{\"status\":\"ok\"}"));
    buf_release(&got);
    stop(&r);
}
