/* sampler.h - from a row of logits to the next token.
 *
 * Order: penalties, top-k, (temperature) top-p, min-p, temperature, draw.  Top-p's mass is that of
 * the distribution with temperature (as vLLM and Hugging Face have it, and so published settings
 * like 0.6/0.95 mean it); min-p is a ratio to the best before it (llama.cpp).  The draw comes from
 * a counter-based generator keyed by (seed, position), so that what is sampled at a position
 * never depends on speculation, batching or load.
 */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sampler_options {
    float temperature;                  /* 0: greedy */
    int32_t top_k;                      /* 0: off */
    float top_p, min_p;                 /* 1 and 0: off */
    float repeat_penalty;               /* 1: off; divides positive, multiplies negative logits */
    float presence_penalty, frequency_penalty;  /* 0: off */
    int32_t repeat_last_n;              /* tokens looked back at; 0: off, -1: the whole context */
    uint64_t seed;
};

struct sampler;

/* `n_vocab` logits a row.  Errors: ARG (a value out of range, by its flag's name), NOMEM. */
MUST_CHECK enum err sampler_new(struct sampler **out, const struct sampler_options *o,
                                int32_t n_vocab);
void sampler_free(struct sampler *s);

/* Choose the token at position `pos` (the number of tokens before it).  `history` are the tokens
 * before it.  `logits` is not changed.  Ties in greedy: the lowest id.
 * Errors: FORMAT when a logit is not finite (says to run croft show --check). */
MUST_CHECK enum err sampler_next(struct sampler *s, const float *logits, const int32_t *history,
                                 int64_t n_history, int64_t pos, int32_t *out);

/* A uniform number in [0, 1), 24 bits, that depends on (seed, pos) alone. */
float sampler_uniform(uint64_t seed, int64_t pos);

/* Stop strings, matched across tokens and never shown, not even half.
 * push() appends text and returns how many leading bytes of `out` are now safe to show. */
struct stop_match;
MUST_CHECK enum err stop_match_new(struct stop_match **out, const char *const *stop, int n_stop);
void stop_match_free(struct stop_match *m);
/* Feed text; *shown (borrowed until the next call) is what may be shown, possibly empty;
 * *hit turns true when a stop string is complete: nothing after it is ever shown. */
MUST_CHECK enum err stop_match_push(struct stop_match *m, const char *text, size_t len,
                                    const char **shown, size_t *n_shown, bool *hit);
/* The end of the text: what was held back. */
void stop_match_end(struct stop_match *m, const char **shown, size_t *n_shown);

#endif
