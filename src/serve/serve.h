/* serve.h - `croft serve`: a model behind an HTTP server.
 *
 *   serve_new -> serve_listen* -> serve_start -> serve_run -> serve_free
 *                  (a thread of its own runs the event loop from here)
 *
 * The thread that calls serve_run is the engine's: it alone touches the stepper.  Before it, every
 * route that needs the model answers 503.
 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include "base/sha256.h"
#include "engine/stepper.h"
#include "http/access.h"
#include "text/chat.h"

/* All borrowed while the server lives. */
struct serve_options {
    const char *id;                     /* the model's name */
    const char *const *alias;           /* other names of it, [n_alias] */
    int n_alias;
    bool strict_models;                 /* an unknown name is a 404; else it is this model */
    const char *fingerprint;
    const char *keys;                   /* key file; NULL: nobody is asked for a key, and only
                                           addresses of this machine are listened on */
    const char *cert, *cert_key;        /* PEM; NULL: no TLS */
    const char *base_path;              /* NULL: none */
    const char *const *origin, *const *host, *const *proxy;     /* as in struct server_options */
    int n_origin, n_host, n_proxy;
    int64_t queue_max, queue_tok_max;   /* sequences and their tokens that may wait */
    int32_t n_seq_max;                  /* sequences in work at once: the stepper's */
    double deadline_s;                  /* a request's whole time */
    struct access *access;              /* NULL: no log */
    double (*clock)(void);              /* seconds; NULL: clock_s().  Sockets have their own. */
};

/* How the hidden rows of a text become one vector: that of its last token, their mean, that of its
 * first one. */
enum serve_pool { SERVE_POOL_LAST, SERVE_POOL_MEAN, SERVE_POOL_CLS };

/* Adapters as a model of their own: what requests call it, as rows name it, its SHA-256. */
struct serve_adapter { const char *name; int32_t mix; char sha256[SHA256_HEX_BYTES]; };

/* What receipts say of program, arithmetic, weights and adapter: *out, an object, is yours.  Called
 * once, on a thread of its own, when the first receipt is asked for; false of go_on ends it.
 * Errors: STOPPED, NOMEM. */
typedef enum err serve_about_fn(void *arg, bool (*go_on)(void *arg), void *go_on_arg,
                                json_t **out);

/* What is served.  Constant, and borrowed until serve_run returns. */
struct serve_model {
    struct stepper *stepper;
    const struct tokenizer *tok;
    const struct chat *chat;            /* NULL: a model without a chat format */
    int64_t n_ctx, created;
    int32_t n_vocab, n_embd, adapter;
    const struct serve_adapter *named;  /* [n_named] */
    int n_named;
    enum serve_pool pool;
    const char *day;                    /* "2026-01-31": what templates are told; NULL: today */
    serve_about_fn *about;              /* NULL: no receipts */
    void *about_arg;
    void (*on_ready)(void *arg);        /* on the loop's thread, once requests and signals are
                                           taken; NULL: nobody asks */
    void *ready_arg;
};

struct serve;

/* Errors: those of server_new(), keys_load(), server_tls(). */
MUST_CHECK enum err serve_new(struct serve **out, const struct serve_options *o);
void serve_free(struct serve *s);

/* Errors: those of server_listen(). */
MUST_CHECK enum err serve_listen(struct serve *s, const char *host, int port);
MUST_CHECK enum err serve_listen_unix(struct serve *s, const char *path);
int serve_port(const struct serve *s, int i);           /* as server_port() */

/* Start the event loop's thread.  Errors: NOMEM. */
MUST_CHECK enum err serve_start(struct serve *s);

/* How much of the model is loaded, from 0 to 1: what /health/ready says.  From any thread. */
void serve_loading(struct serve *s, double part);

/* Answer until SIGTERM or SIGINT came and the last reply has left; another of them cuts all off.
 * SIGHUP reads keys and certificate again.  `m` may be NULL, when there is no model after all: then
 * the loop's thread ends at once.  Errors: those of stepper_step(): then every request has failed.
 */
MUST_CHECK enum err serve_run(struct serve *s, const struct serve_model *m);

#endif
