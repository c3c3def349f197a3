/* client_form.h - what the files of the client share: client.c, client_ask.c, client_reply.c.
 *
 *   client_send -> REQ_NEW --(next turn)--> REQ_RUNS --(whole, failed, late, cancelled)--> REQ_OVER
 *
 * libcurl may call us while we call it, and then takes no other call but curl_easy_pause.  So a
 * request that needs one (to begin, to go on, to end) stands in `todo` until libcurl is left, and
 * is freed from there alone, or by whoever ends it outside libcurl. */
#ifndef HTTP_CLIENT_FORM_H
#define HTTP_CLIENT_FORM_H

#include "base/buf.h"
#include "http/client.h"
#include "http/loop_form.h"
#include "http/sse.h"

#include <curl/curl.h>
#include <stdbool.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "croft needs libcurl 7.87 or later"
#endif

enum req_state { REQ_NEW, REQ_RUNS, REQ_OVER };

struct client_req {
    struct client *c;
    struct client_req *next, *prev, *todo_next;
    enum req_state state;
    enum client_end why;                /* CLIENT_OK: undecided until libcurl says */
    bool in_todo, paused;
    bool held;                          /* libcurl keeps a piece that found us paused */
    struct client_ask a;                /* its texts are gone, but for the body */
    CURL *easy;
    struct curl_slist *fields;
    struct event *timer;
    double first_due, idle_due, total_due, timer_at;    /* on clock_s(); 0: none */
    struct buf head;                    /* of the reply: name NUL value NUL ... */
    size_t head_bytes;
    int status;                         /* of the head that is being read */
    bool head_done, is_events, whole;   /* whole: libcurl has handed all of it to us */
    uint64_t body_bytes;
    size_t sent;                        /* of a body that is sent once */
    struct sse_reader sse;
    struct buf rest;                    /* of a piece in whose middle we were paused */
    char reason[CURL_ERROR_SIZE + 64], error[CURL_ERROR_SIZE];
};

struct client {
    struct event_base *base;
    CURLM *multi;
    struct event *timer, *wake;         /* libcurl's; for `todo` */
    struct client_req *all, *todo;
    int inside;                         /* libcurl is being called */
    bool settling;
};

/* Texts, fields, bounds of the request into its handle, client_ask.c.  Errors: ARG, NOMEM. */
MUST_CHECK enum err client_prepare(struct client_req *r, const struct client_ask *a);

/* libcurl's callbacks for the reply, client_reply.c. */
size_t client_on_head(char *line, size_t size, size_t n, void *arg);
size_t client_on_body(char *bytes, size_t size, size_t n, void *arg);
int client_on_connected(void *arg, char *ip, char *local_ip, int port, int local_port);

/* Hand over what is kept of the last piece. */
void client_deliver_rest(struct client_req *r);

/* From inside a callback: the request is to end so; on_end is called when libcurl is left. */
void client_stop(struct client_req *r, enum client_end why);
void client_arm(struct client_req *r);  /* the timer follows the deadlines */

#endif
