/* flow.h - one answer on its way from token ids to events: text, thinking apart, stop strings never
 * half shown, log-probabilities beside the text they belong to.
 */
#ifndef SERVE_FLOW_H
#define SERVE_FLOW_H

#include "base/buf.h"
#include "engine/logprob.h"
#include "engine/sampler.h"
#include "text/chat.h"
#include "wire/wire.h"

struct flow_token {
    int32_t id;
    float logprob;                      /* NAN: none */
    int n_top;
    struct { int32_t id; float logprob; } top[LOGPROB_TOP_MAX];
    int64_t begin, end;                 /* bytes of the answer before it, and with it */
};

/* Text of an answer or of thinking, with the tokens that are whole with it.  Borrowed. */
typedef enum err flow_emit_fn(void *arg, enum wire_event_kind kind, const char *text, size_t len,
                              const struct wire_logprob *logprob, size_t n_logprob);

struct flow_options {
    const struct tokenizer *tok;
    int32_t n_vocab;
    int n_top;                          /* alternatives with each token; -1: no log-probabilities */
    struct chat_think think;            /* zeroed: no thinking */
    const char *const *stop;            /* borrowed for flow_init */
    int n_stop;
    bool goes_on;                       /* a text: a space at its start belongs to it */
    flow_emit_fn *emit;
    void *arg;
};

struct flow {
    struct flow_options o;
    struct detok detok;
    struct think_split split;
    struct stop_match *stop;
    struct buf shown;                   /* of the answer, not yet handed on */
    struct flow_token *tok;             /* that wait for their text, [n] */
    size_t n, cap;
    int64_t n_tok, n_think;             /* taken; of them thinking */
    int64_t n_fed, n_shown;             /* bytes of the answer into and out of the stop matcher */
    bool hit;                           /* a stop string is complete */
    enum err e;
};

/* Yours: flow_release(), whatever is returned.  Errors: NOMEM. */
MUST_CHECK enum err flow_init(struct flow *f, const struct flow_options *o);
void flow_release(struct flow *f);

/* A token drawn from these logits.  After a hit nothing more is taken.  Errors: NOMEM, those of
 * `emit`. */
MUST_CHECK enum err flow_take(struct flow *f, int32_t id, const float *logits);

/* A token that was drawn, of at most n_max: taken unless it is an end token.  *ends: the answer
 * does, and why.  Errors: as flow_take(). */
MUST_CHECK enum err flow_draw(struct flow *f, int32_t id, const float *logits, int64_t n_max,
                              bool *ends, enum wire_finish *why);

/* No token follows: what was held back.  Errors: as flow_take(). */
MUST_CHECK enum err flow_end(struct flow *f);

/* A token of an echoed prompt, with the logits it follows from (NULL: the first one) and its text,
 * past thinking and stop strings.  Errors: as flow_take(). */
MUST_CHECK enum err flow_echo(struct flow *f, int32_t id, const float *logits, const char *text,
                              size_t len);

#endif
