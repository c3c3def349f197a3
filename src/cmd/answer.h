/* answer.h - one answer: token ids in, text out as it is made.
 *
 *   ids -> session_sync -> [sampler -> detok -> think_split -> stop_match -> out] -> speculate_push
 *
 * Used by run and chat alike.
 */
#ifndef CMD_ANSWER_H
#define CMD_ANSWER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"
#include "cmd/load.h"
#include "engine/logprob.h"
#include "engine/sampler.h"
#include "text/chat.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum answer_end {
    ANSWER_DONE,                        /* the model ended it */
    ANSWER_STOP,                        /* a stop string */
    ANSWER_MAX,                         /* --max-tokens */
    ANSWER_FULL,                        /* the context is full */
    ANSWER_INTERRUPT,                   /* Ctrl-C */
};

/* Where text goes, in order, as whole characters.  `n_tok` tokens of thinking so far. */
typedef enum err answer_text_fn(void *arg, enum chat_part part, const char *text, size_t len,
                                int64_t n_think_tok);

/* The context is full in the middle of an answer of n_said tokens so far: give a shorter prompt for
 * the same answer, or leave *ids empty when there is nothing to leave out. */
typedef enum err answer_room_fn(void *arg, int64_t n_said, struct tok_list *ids,
                                unsigned char **kind);

/* A token of the answer, and with --logprobs the best ones in its place.  Log-probabilities are
 * of the model's own distribution, before any sampler. */
struct answer_token {
    int32_t id;
    int n_top;
    double logprob;
    struct { int32_t id; double logprob; } top[LOGPROB_TOP_MAX];
};

struct answer_options {
    struct sampler_options sampling;    /* with the two lists below */
    struct sampler_bias *bias;          /* owned */
    struct sampler_breaker *breaker;    /* owned */
    const char **stop;                  /* owned list of borrowed strings */
    int n_stop;
    bool keep_tokens;                   /* in answer.tok */
    int n_logprob;                      /* alternatives to keep; -1: no log-probabilities */
    int64_t n_max;                      /* -1: no limit */
    struct chat_think think;            /* zeroed: no thinking */
    bool goes_on;                       /* with a text: a space at its start belongs to it */
    answer_text_fn *text;               /* may be NULL */
    answer_room_fn *room;               /* may be NULL */
    void *arg;                          /* of both */
};

struct answer {
    enum answer_end end;
    struct buf raw;                     /* all the model wrote, with its thinking, up to the stop */
    int64_t n_prompt, n_reused, n_tok, n_think_tok, n_answer_bytes;
    int64_t n_step;                     /* tokens computed in gen_s: the first one came for free */
    double prompt_s, gen_s;
    struct speculate_stats draft;       /* of this answer */
    int32_t id_pending;                 /* the last token, shown and not computed; -1: none */
    struct answer_token *tok;           /* [n_kept], with keep_tokens */
    size_t n_kept, tok_cap;
};

/* Answer the prompt `ids` with their kinds (NULL: all prompt).  *a must be zeroed; release it with
 * answer_release() whatever is returned.  An interrupted answer is OK with ANSWER_INTERRUPT.
 * Errors: LIMIT (the prompt does not fit the context: both numbers and the flag), those of the
 * session, the sampler and of `text`. */
MUST_CHECK enum err answer_make(struct answer *a, struct loaded *l, const struct tok_list *ids,
                                const unsigned char *kind, const struct answer_options *o);
void answer_release(struct answer *a);

/* The same for an answer whose tokens are drawn elsewhere, beside others:
 *   new -> take each token, until *go_on is false -> end -> free
 * `a`, `l` and `o` are borrowed; `pos` counts the tokens before the one taken, `n_ctx` those that
 * fit.  Errors: those of answer_make() for the text. */
struct answer_flow;
MUST_CHECK enum err answer_flow_new(struct answer_flow **out, struct answer *a,
                                    const struct loaded *l, const struct answer_options *o);
MUST_CHECK enum err answer_flow_take(struct answer_flow *f, int32_t id, const float *logits,
                                     int64_t pos, int64_t n_ctx, bool *go_on);
MUST_CHECK enum err answer_flow_end(struct answer_flow *f);     /* what was held back */
void answer_flow_free(struct answer_flow *f);

/* --- answer_sampling.c: the options -------------------------------------------------------- */

/* Read the sampling options, --max-tokens, --stop and --logprobs into *a, whose other fields stay
 * as they are; answer_options_release() whatever is returned.  Errors: ARG (by the flag's name). */
MUST_CHECK enum err answer_options_read(struct answer_options *a, const struct loaded *l,
                                        const struct opt_set *o);
void answer_options_release(struct answer_options *a);

/* Whether a value may be given to an option, where more than opt.def is needed to tell.
 * Errors: ARG. */
MUST_CHECK enum err answer_option_check(int opt, const char *value, const struct loaded *l);

/* Say which given options have no effect beside --mirostat or --samplers. */
void answer_say_unused(const struct opt_set *o);

/* --- answer_token.c: token by token --------------------------------------------------------- */

/* Append a token chosen from these logits. */
MUST_CHECK enum err answer_keep_token(struct answer *a, const struct answer_options *o, int32_t id,
                                      const float *logits, int32_t n_vocab);

/* One line a token on standard error. */
void answer_print_tokens(const struct answer *a, const struct tokenizer *t);

/* [{"id", "token", "bytes", "logprob", "top_logprobs": [{"id", "token", "bytes", "logprob"}]}],
 * as the OpenAI API has them, with ids; without --logprobs only the first three.  NULL without
 * memory. */
json_t *answer_tokens_json(const struct answer *a, const struct answer_options *o,
                           const struct tokenizer *t);

/* --- how it went ----------------------------------------------------------------------------- */

/* "42 tokens, 12.3 tok/s, context 512 of 2048" on standard error, dim where it can be. */
void answer_print_stats(const struct answer *a, const struct session *s);

/* --- how an answer reaches a person ------------------------------------------------------- */

enum think_show { THINK_DROP, THINK_FOLD, THINK_FULL };

/* Answer text to standard output; thinking to standard error, dim, in full or as one line
 * "Thought (n tokens)".  Zeroed but for `think` to begin. */
struct answer_view {
    enum think_show think;
    bool thinking;                      /* in the middle of thinking */
    bool any, newline;                  /* text was written; it ends with a newline */
    int64_t n_think_tok;
};
enum err answer_view_text(void *view, enum chat_part part, const char *text, size_t len,
                          int64_t n_think_tok);
/* Ends an open line and flushes. */
MUST_CHECK enum err answer_view_end(struct answer_view *v);

#endif
