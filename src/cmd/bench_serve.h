/* bench_serve.h - what the files of `croft bench serve` share: a load on a server, and its levels.
 *
 *   read options -> find the model -> weigh words -> each level: send, measure -> report
 *
 * A level is a number of clients, each of which sends its next request when its last one ended, or
 * a rate, at which requests arrive whatever becomes of those before them. */
#ifndef CMD_BENCH_SERVE_H
#define CMD_BENCH_SERVE_H

#include "base/opt.h"
#include "base/term.h"
#include "cmd/bench_samples.h"
#include "cmd/bench_stat.h"
#include "http/client.h"

#include <jansson.h>

enum { LOAD_CLIENTS_MAX = 4096, LOAD_ERRORS_MAX = 32, LOAD_NAME = 32, LOAD_TEXT = 240 };

struct load_error { char name[LOAD_NAME]; int64_t n; };

/* One level and what was measured.  Of replies that began, whatever became of them: first, gap;
 * of those that were whole: whole, the tokens. */
struct load_level {
    int n_client;                       /* 0: an open loop */
    double rate;                        /* requests a second, of an open loop */
    struct samples first, gap, whole;   /* to the first text; between pieces; to the end */
    int64_t n_sent, n_ok, n_failed, n_cancelled;
    int64_t n_late;                     /* due while LOAD_CLIENTS_MAX were on their way: not sent */
    int64_t prompt_tok, cached_tok, output_tok;
    int64_t n_without_usage;            /* replies whose pieces were counted as tokens */
    double seconds;                     /* from the first request to the last end */
    struct load_error error[LOAD_ERRORS_MAX];
    int n_error;
    char first_error[LOAD_TEXT];        /* a sentence about the first one */
    bool full;                          /* ended early: SAMPLES_MAX times were measured */
};

struct load {
    bool chat;
    const char *ca_file, *proxy;        /* borrowed from the options; NULL: none */
    char *base, *model;                 /* ".../v1"; yours */
    char *auth;                         /* "Bearer ...", or NULL */
    int64_t n_request;                  /* of a level; 0: by duration */
    double duration;                    /* seconds; 0: by number */
    int64_t prompt_tok, shared_tok, max_tok;
    uint64_t seed;
    int timeout_ms;
    json_t *extra;                      /* fields for every body, or NULL */
    json_t *prompts;                    /* array of --prompts, or NULL */
    double tok_per_word, tok_fixed;     /* of a prompt of words: what a word and the rest take */
    bool weighed;                       /* the server said how many tokens words are */
    int64_t next_prompt;                /* no two requests of a run have the same prompt */
    struct loop *loop;
    struct client *client;
    struct load_level level[BENCH_LIST_MAX];
    int n_level, n_done;                /* levels that began */
    bool interrupted;
    struct progress progress;
    double progress_done;               /* of earlier levels */
};

/* --- requests, bench_serve_ask.c ---------------------------------------------------------- */

/* The body of the next streamed request; *text is yours: free().  Errors: NOMEM. */
MUST_CHECK enum err load_body(char **text, struct load *l);

/* The body of a request with a prompt of so many words, for one token, not streamed. */
MUST_CHECK enum err load_body_of_words(char **text, const struct load *l, int n_word);

/* Read --prompts into l->prompts.  Errors: MISSING, IO, FORMAT (with the line), LIMIT, NOMEM. */
MUST_CHECK enum err load_read_prompts(struct load *l, const char *path);

/* Request number i's part of the time between arrivals, of mean 1 (exponential). */
double load_arrival(uint64_t seed, int64_t i);

/* The request itself, but for body and calls.  *url is yours: buf_release(), after client_send. */
struct client_ask load_ask(const struct load *l, const char *path, struct buf *url,
                           struct client_field field[2]);

/* --- one level, bench_serve_run.c --------------------------------------------------------- */

/* Returns when all its requests ended, or Ctrl-C was pressed (l->interrupted).  What requests fail
 * of is counted.  Errors: NOMEM, IO (of the loop), ARG. */
MUST_CHECK enum err load_run(struct load *l, struct load_level *level);

/* --- replies, bench_serve_reply.c --------------------------------------------------------- */

/* What an event of a stream says. */
struct load_event {
    bool done, text, error;             /* [DONE]; it brings text; it is an error */
    bool has_usage;
    int64_t prompt_tok, cached_tok, output_tok;
    char message[LOAD_TEXT];            /* of an error */
};
void load_event_read(struct load_event *out, const char *data, size_t len);

/* The message of an error's body, or its beginning, made fit for a sentence. */
void load_error_text(char out[LOAD_TEXT], const char *body, size_t len);

/* --- before and after, bench_serve.c, bench_serve_out.c ----------------------------------- */

MUST_CHECK enum err bench_serve(struct opt_set *o);
MUST_CHECK enum err load_report(struct load *l, bool json);

#endif
