/* door_faults.c - a gateway whose n-th allocation fails in a request; see door_faults.h.
 *
 *   a round: a request with the n-th allocation failing -> settled
 *            -> after each fourth, one while all work -> settled
 *
 * Counting begins before the last byte of the request; what is before that is http_faults.c's, as
 * is what libcurl allocates.  One gateway in this process takes all of them, on this thread; the
 * clients and the upstream are threads.  A request may be answered, refused in its dialect, or
 * cut; the one while all work must be answered; in between nothing may be open and nobody wait;
 * the ledger has a row for everything that the upstream saw. */
#include "door_faults.h"

#include "door/door_form.h"

#include "../unit/temp_file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { OUT_BYTES = 1 << 16, IN_BYTES = 1 << 16, WAIT_S = 30, POLL_MS = 2 };
enum got { GOT_NOTHING, GOT_ANSWER, GOT_ERROR, GOT_CUT, GOT_BAD };

/* ---- the upstream --------------------------------------------------------------------------- */

#define EVENT(name, data) "event: " name "\ndata: " data "\n\n"
#define DATA(data) "data: " data "\n\n"
#define USAGE "\"usage\":{\"input_tokens\":11,\"output_tokens\":7"

static const char messages_whole[] =
    "{\"id\":\"msg_up\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"there\","
    "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},"
    "{\"type\":\"text\",\"text\":\"Hello there\"}],\"stop_reason\":\"end_turn\","
    "\"stop_sequence\":null," USAGE "}}";

static const char messages_stream[] =
    EVENT("message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_up\",\"type\":"
          "\"message\",\"role\":\"assistant\",\"model\":\"there\",\"content\":[],"
          "\"stop_reason\":null,"
          "\"stop_sequence\":null,\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}")
    EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
          "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}")
    EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
          "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}")
    EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
          "{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}")
    EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}")
    EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":"
          "{\"type\":\"text\",\"text\":\"\"}}")
    EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":"
          "{\"type\":\"text_delta\",\"text\":\"Hello\"}}")
    EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":"
          "{\"type\":\"text_delta\",\"text\":\" there\"}}")
    EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}")
    EVENT("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
          "\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}")
    EVENT("message_stop", "{\"type\":\"message_stop\"}");

static const char chat_whole[] =
    "{\"id\":\"chatcmpl-up\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"there\","
    "\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":"
    "\"assistant\",\"content\":\"Hello there\"}}],\"usage\":{\"prompt_tokens\":11,"
    "\"completion_tokens\":7,\"total_tokens\":18}}";

#define CHUNK "{\"id\":\"chatcmpl-up\",\"object\":\"chat.completion.chunk\",\"created\":1," \
              "\"model\":\"there\",\"choices\":["
static const char chat_stream[] =
    DATA(CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
         "\"finish_reason\":null}]}")
    DATA(CHUNK "{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}")
    DATA(CHUNK "{\"index\":0,\"delta\":{\"content\":\" there\"},\"finish_reason\":null}]}")
    DATA(CHUNK "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}")
    DATA(CHUNK "],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}")
    DATA("[DONE]");

#define ITEM(content) "{\"type\":\"message\",\"id\":\"msg_up\",\"role\":\"assistant\"," \
                      "\"status\":\"completed\",\"content\":[" content "]}"
#define WORDS "{\"type\":\"output_text\",\"text\":\"Hello there\",\"annotations\":[]}"
#define RESPONSE(state, output, usage) "{\"id\":\"resp_up\",\"object\":\"response\"," \
    "\"created_at\":1,\"model\":\"there\",\"status\":\"" state "\"," \
    "\"output\":[" output "]," usage "}"
#define DELTA(n, text) EVENT("response.output_text.delta", \
    "{\"type\":\"response.output_text.delta\",\"sequence_number\":" n ",\"output_index\":0," \
    "\"content_index\":0,\"item_id\":\"msg_up\",\"delta\":\"" text "\"}")
static const char responses_whole[] =
    RESPONSE("completed", ITEM(WORDS), USAGE ",\"total_tokens\":18}");
static const char responses_stream[] =
    EVENT("response.created", "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":"
          RESPONSE("in_progress", "", "\"usage\":null") "}")
    EVENT("response.output_item.added", "{\"type\":\"response.output_item.added\","
          "\"sequence_number\":1,\"output_index\":0,\"item\":" ITEM("") "}")
    EVENT("response.content_part.added", "{\"type\":\"response.content_part.added\","
          "\"sequence_number\":2,\"output_index\":0,\"content_index\":0,\"item_id\":\"msg_up\","
          "\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}")
    DELTA("3", "Hello") DELTA("4", " there")
    EVENT("response.output_text.done", "{\"type\":\"response.output_text.done\","
          "\"sequence_number\":5,\"output_index\":0,\"content_index\":0,\"item_id\":\"msg_up\","
          "\"text\":\"Hello there\"}")
    EVENT("response.content_part.done", "{\"type\":\"response.content_part.done\","
          "\"sequence_number\":6,\"output_index\":0,\"content_index\":0,\"item_id\":\"msg_up\","
          "\"part\":" WORDS "}")
    EVENT("response.output_item.done", "{\"type\":\"response.output_item.done\","
          "\"sequence_number\":7,\"output_index\":0,\"item\":" ITEM(WORDS) "}")
    EVENT("response.completed", "{\"type\":\"response.completed\",\"sequence_number\":8,"
          "\"response\":" RESPONSE("completed", ITEM(WORDS), USAGE ",\"total_tokens\":18}") "}");

static const char completions_whole[] =
    "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"there\","
    "\"choices\":[{\"index\":0,\"text\":\"Hello there\",\"finish_reason\":\"stop\","
    "\"logprobs\":null}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,"
    "\"total_tokens\":18}}";
static const char completions_stream[] =
    DATA("{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"there\","
         "\"choices\":[{\"index\":0,\"text\":\"Hello there\",\"finish_reason\":\"stop\"}]}")
    DATA("{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"there\","
         "\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,"
         "\"total_tokens\":18}}")
    DATA("[DONE]");
static const char embeddings[] =
    "{\"object\":\"list\",\"model\":\"there\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
    "\"embedding\":[0.5]}],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}";

/* By the end of its path, the first that fits. */
static const struct { const char *path, *whole, *stream; } says[] = {
    { "/count_tokens ", "{\"input_tokens\":42}", NULL },
    { "/messages ", messages_whole, messages_stream },
    { "/responses ", responses_whole, responses_stream },
    { "/chat/completions ", chat_whole, chat_stream },
    { "/completions ", completions_whole, completions_stream },
    { "/embeddings ", embeddings, NULL },
};

static int upstream_fd;
static _Atomic int n_asked;

/* A request whole in `in`: its length, 0: not yet. */
static size_t request_len(const char *in, size_t len)
{
    const char *end = memmem(in, len, "\r\n\r\n", 4), *length = strstr(in, "Content-Length: ");
    size_t head = end ? (size_t)(end - in) + 4 : 0, body = length ? (size_t)atol(length + 16) : 0;

    return end && head + body <= len ? head + body : 0;
}

static void send_all(int fd, const char *text, size_t len)
{
    ssize_t n;

    while (len && (n = send(fd, text, len, MSG_NOSIGNAL)) > 0) {
        text += n;
        len -= (size_t)n;
    }
}

static void answer(int fd, const char *in)
{
    bool stream = strstr(in, "\"stream\":true");
    const char *text = NULL;
    char head[256];
    int n;

    for (size_t i = 0; i < sizeof(says) / sizeof(*says) && !text; i++)
        if (memmem(in, strcspn(in, "\r"), says[i].path, strlen(says[i].path)))
            text = stream && says[i].stream ? says[i].stream : says[i].whole;
    if (!text)
        return;
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                 stream ? "text/event-stream" : "application/json", strlen(text));
    send_all(fd, head, (size_t)n);
    send_all(fd, text, strlen(text));
}

/* One connection: its request may never come. */
static void *run_connection(void *arg)
{
    struct timeval t = { .tv_sec = WAIT_S };
    int fd = (int)(intptr_t)arg;
    char in[IN_BYTES];
    size_t len = 0;
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    while (len < sizeof(in) - 1 && (n = read(fd, in + len, sizeof(in) - 1 - len)) > 0) {
        in[len += (size_t)n] = '\0';
        if (request_len(in, len)) {
            n_asked++;
            answer(fd, in);
            break;
        }
    }
    close(fd);
    return NULL;
}

static void *run_upstream(void *arg)
{
    pthread_t one;
    int fd;

    while ((fd = accept(upstream_fd, NULL, NULL)) >= 0) {
        ASSERT(pthread_create(&one, NULL, run_connection, (void *)(intptr_t)fd) == 0);
        pthread_detach(one);
    }
    return arg;
}

/* ---- requests ------------------------------------------------------------------------------- */

#define TALK "[{\"role\":\"user\",\"content\":\"Say hello.\"},{\"role\":\"assistant\"," \
             "\"content\":\"Hello there\"},{\"role\":\"user\",\"content\":\"Again.\"}]"
#define CHAT_ERROR "\"error\":{"
#define MESSAGES_ERROR "\"type\":\"error\""

/* last: how a stream ends, NULL: it is none. */
static const struct request {
    const char *name, *path, *body, *words, *error, *last, *stream_error;
} requests[] = {
    { "chat before messages", "/v1/chat/completions", "{\"model\":\"m_messages\","
      "\"messages\":" TALK "}", "Hello there", CHAT_ERROR, NULL, NULL },
    { "chat before messages, streamed", "/v1/chat/completions", "{\"model\":\"m_messages\","
      "\"stream\":true,\"messages\":" TALK "}", " there", CHAT_ERROR, "data: [DONE]", CHAT_ERROR },
    { "messages before responses", "/v1/messages", "{\"model\":\"m_responses\",\"max_tokens\":100,"
      "\"messages\":" TALK "}", "Hello there", MESSAGES_ERROR, NULL, NULL },
    { "messages before responses, streamed", "/v1/messages", "{\"model\":\"m_responses\","
      "\"max_tokens\":100,\"stream\":true,\"messages\":" TALK "}", " there", MESSAGES_ERROR,
      "event: message_stop", "event: error" },
    { "responses before chat", "/v1/responses", "{\"model\":\"m_chat\",\"input\":" TALK "}",
      "Hello there", CHAT_ERROR, NULL, NULL },
    { "responses before chat, streamed", "/v1/responses", "{\"model\":\"m_chat\",\"stream\":true,"
      "\"input\":" TALK "}", " there", CHAT_ERROR, "event: response.completed",
      "event: response.failed" },
    { "chat before chat, streamed", "/v1/chat/completions", "{\"model\":\"m_chat\","
      "\"stream\":true,\"messages\":" TALK "}", " there", CHAT_ERROR, "data: [DONE]", CHAT_ERROR },
    { "messages before messages", "/v1/messages", "{\"model\":\"m_messages\",\"max_tokens\":100,"
      "\"messages\":" TALK "}", "Hello there", MESSAGES_ERROR, NULL, NULL },
    { "completions", "/v1/completions", "{\"model\":\"m_chat\",\"prompt\":\"Say\"}", "Hello there",
      CHAT_ERROR, NULL, NULL },
    { "completions, streamed", "/v1/completions", "{\"model\":\"m_chat\",\"prompt\":\"Say\","
      "\"stream\":true}", "Hello there", CHAT_ERROR, "data: [DONE]", CHAT_ERROR },
    { "embeddings", "/v1/embeddings", "{\"model\":\"m_chat\",\"input\":\"Say\"}", "[0.5]",
      CHAT_ERROR, NULL, NULL },
    { "count_tokens", "/v1/messages/count_tokens", "{\"model\":\"m_messages\",\"messages\":" TALK
      "}", "{\"input_tokens\":42}", MESSAGES_ERROR, NULL, NULL },
};

enum { N_REQUEST = sizeof(requests) / sizeof(*requests) };

static int count(const char *text, const char *what)
{
    int n = 0;

    for (size_t len = strlen(what); (text = strstr(text, what)); text += len)
        n++;
    return n;
}

/* What a client has; a reply that ends early was cut. */
static enum got judge(const struct request *r, const char *out, size_t len)
{
    const char *end = strstr(out, "\r\n\r\n"), *body = end ? end + 4 : NULL;
    const char *length = strstr(out, "Content-Length: ");
    bool whole = body && (length && length < end ? strlen(body) == (size_t)atol(length + 16)
                          : len >= 5 && !strcmp(out + len - 5, "0\r\n\r\n"));
    int status = strncmp(out, "HTTP/1.1 ", 9) ? 0 : atoi(out + 9);

    if (!whole)
        return GOT_CUT;
    if (status != 200)
        return status >= 400 && strstr(body, r->error) ? GOT_ERROR : GOT_BAD;
    if (!r->last)
        return strstr(body, r->words) ? GOT_ANSWER : GOT_BAD;
    int n_last = count(body, r->last), n_error = count(body, r->stream_error);
    if (n_error)
        return n_error == 1 && (!n_last || !strcmp(r->last, "data: [DONE]")) ? GOT_ERROR : GOT_BAD;
    return n_last == 1 && strstr(body, r->words) ? GOT_ANSWER : GOT_BAD;
}

/* ---- rounds --------------------------------------------------------------------------------- */

static struct {
    struct door *d;
    struct loop_timer *poll;
    long *countdown;
    int port, request, n, bad, tried;
    bool reached, second, come;
    enum got got;
    pthread_t client;
    sem_t armed;
    size_t len;
    char out[OUT_BYTES];
} round_;

static void on_come(void *arg)
{
    (void)arg;
    if (!round_.second) {
        round_.reached = *round_.countdown == 0;
        *round_.countdown = -1;
    }
    pthread_join(round_.client, NULL);
    round_.got = judge(&requests[round_.request], round_.out, round_.len);
    round_.come = true;
}

static void on_arm(void *arg)
{
    (void)arg;
    if (!round_.second)
        *round_.countdown = round_.n;
    sem_post(&round_.armed);
}

static void post(void (*fn)(void *arg))
{
    ASSERT(server_post(round_.d->server, fn, NULL) == OK);
}

static void *run_client(void *arg)
{
    const struct request *r = &requests[round_.request];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)round_.port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval t = { .tv_sec = WAIT_S };
    static char head[512];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t n;

    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", r->path,
             strlen(r->body));
    round_.len = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
        send_all(fd, head, strlen(head));
        send_all(fd, r->body, strlen(r->body) - 1);
        usleep(1000);
        post(on_arm);
        sem_wait(&round_.armed);
        send_all(fd, r->body + strlen(r->body) - 1, 1);
        while (round_.len < OUT_BYTES - 1 &&
               (n = read(fd, round_.out + round_.len, OUT_BYTES - 1 - round_.len)) > 0)
            round_.len += (size_t)n;
    }
    round_.out[round_.len] = '\0';
    close(fd);
    post(on_come);
    return arg;
}

static void start_client(void)
{
    round_.come = false;
    ASSERT(pthread_create(&round_.client, NULL, run_client, NULL) == 0);
}

static void next_request(const char *why)
{
    const struct request *r = &requests[round_.request];

    if (why)
        printf("%s: allocation %d failed, and %s: %.*s\n", r->name, round_.n, why,
               (int)(round_.len < 2000 ? round_.len : 2000), round_.out);
    else
        printf("%s: %d allocations, every failure handled\n", r->name, round_.n - 1);
    fflush(stdout);
    round_.bad += why != NULL;
    round_.n = 1;
    round_.second = false;
    if (++round_.request < N_REQUEST)
        start_client();
    else
        server_stop(round_.d->server);
}

/* Nothing of the request is left, and all of it is in the ledger. */
static bool is_over(void)
{
    struct store_counts c = store_counts(round_.d->world->books->store);

    return round_.come && !round_.d->n_ask && !c.n_open && !c.n_waiting;
}

/* What failed here is held against the upstream; breakers are not what is tried. */
static void close_breakers(struct world *w)
{
    circuits_free(w->circuits);
    ASSERT(circuits_new(&w->circuits, w->c, NULL) == OK);
}

/* DOOR_FAULTS_EVERY=n: each n-th allocation, where there is no time for all. */
static int every(void)
{
    const char *text = getenv("DOOR_FAULTS_EVERY");
    int n = text ? atoi(text) : 1;

    return n > 0 ? n : 1;
}

static void on_poll(void *arg)
{
    (void)arg;
    ASSERT(loop_timer_set(round_.poll, POLL_MS / 1e3) == OK);
    if (!is_over())
        return;
    close_breakers(round_.d->world);
    if (round_.got == GOT_BAD) {
        next_request(round_.second ? "the next one was answered badly" : "it was answered badly");
    } else if (round_.second && round_.got != GOT_ANSWER) {
        next_request("the next one had no answer");
    } else if (!round_.second && (round_.n % 4 == 0 || !round_.reached)) {
        round_.second = true;
        start_client();
    } else if (!round_.reached) {
        next_request(NULL);
    } else {
        round_.second = false;
        round_.n += every();
        start_client();
    }
}

/* ---- a gateway ------------------------------------------------------------------------------ */

static int listen_any(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ASSERT(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 64));
    ASSERT(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static const char *write_config(struct temp *t)
{
    static char text[4096];
    int up, fd = listen_any(&round_.port);

    close(fd);
    upstream_fd = listen_any(&up);
    setenv("CROFT_FAULT_KEY",
           "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 1);
    snprintf(text, sizeof(text),
             "listen: {address: '127.0.0.1:%d'}\n"
             "state: {folder: %s/state, kept: ledger, kept_keys: [env:CROFT_FAULT_KEY]}\n"
             "ledger: {url: 'sqlite:%s/ledger.db'}\n"
             "audit: {sync_ms: 1}\n"
             "upstreams:\n"
             "  - {name: chat, dialect: chat, url: 'http://127.0.0.1:%d/v1'}\n"
             "  - {name: messages, dialect: anthropic, url: 'http://127.0.0.1:%d'}\n"
             "  - {name: responses, dialect: responses, url: 'http://127.0.0.1:%d/v1'}\n"
             "models:\n"
             "  - {name: m_chat, upstream: chat, as: there, accepts: [tools, reasoning,"
             " completions, embeddings]}\n"
             "  - {name: m_messages, upstream: messages, as: there, max_output: 1000,"
             " accepts: [tools, reasoning]}\n"
             "  - {name: m_responses, upstream: responses, as: there,"
             " accepts: [tools, reasoning]}\n",
             round_.port, t->folder, t->folder, up, up, up);
    return temp_write(t, "croft.yaml", text, strlen(text));
}

/* Each call that the upstream saw has a row, and no row is open. */
static bool ledger_is_whole(const struct temp *t)
{
    struct ledger_sum *sum = NULL;
    int64_t rows = 0, exact = 0, open = 0;
    struct db *db;
    char url[200];
    size_t n = 0;

    snprintf(url, sizeof(url), "sqlite:%s/ledger.db", t->folder);
    ASSERT(db_open(&db, url, false) == OK && db_begin(db, false) == OK);
    ASSERT(ledger_sums(db, BY_MODEL, &sum, &n) == OK && db_commit(db) == OK);
    for (size_t i = 0; i < n; i++) {
        rows += sum[i].attempts;
        exact += sum[i].exact;
        open += sum[i].open;
    }
    free(sum);
    db_close(db);
    printf("the upstream saw %d calls, the ledger has %lld, %lld of them exact, %lld open\n",
           n_asked, (long long)rows, (long long)exact, (long long)open);
    fflush(stdout);
    return !open && exact <= n_asked && rows >= n_asked;
}

static void remove_folder(struct temp *t)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", t->folder);
    ASSERT(system(command) == 0);
}

/* In memory where that can be: thousands of requests wait for the ledger. */
static void make_folder(struct temp *t)
{
    snprintf(t->folder, sizeof(t->folder), "/dev/shm/croft-test-XXXXXX");
    if (!mkdtemp(t->folder))
        temp_init(t);
}

int door_requests_fail(long *countdown, bool *one_thread)
{
    pthread_t upstream;
    struct temp t = { .next = 0 };
    int bad;

    make_folder(&t);
    *one_thread = true;
    round_.countdown = countdown;
    round_.n = 1;
    ASSERT(sem_init(&round_.armed, 0, 0) == 0);
    const char *path = write_config(&t);
    ASSERT(pthread_create(&upstream, NULL, run_upstream, NULL) == 0);
    if (door_open(&round_.d, path)) {
        printf("the gateway does not start: %s\n", err_text());
        return 1;
    }
    ASSERT(loop_timer_new(&round_.poll, server_loop(round_.d->server), on_poll, NULL) == OK);
    ASSERT(loop_timer_set(round_.poll, 0) == OK);
    start_client();
    bad = door_run(round_.d) != OK;
    loop_timer_free(round_.poll);
    door_close(round_.d);
    shutdown(upstream_fd, SHUT_RDWR);
    pthread_join(upstream, NULL);
    close(upstream_fd);
    bad += round_.bad + (round_.request < N_REQUEST) + !ledger_is_whole(&t);
    remove_folder(&t);
    *one_thread = false;
    return bad;
}
