/* run_json.h - an answer for programs: collected while it is made, written at its end. */
#ifndef CMD_RUN_JSON_H
#define CMD_RUN_JSON_H

#include "cmd/answer.h"

/* Zeroed to begin; answer_texts_add() is an answer_text_fn. */
struct answer_texts { struct buf answer, think; };
enum err answer_texts_add(void *texts, enum chat_part part, const char *text, size_t len,
                          int64_t n_think_tok);
void answer_texts_release(struct answer_texts *t);

/* {"model", "answer", "thinking", "finish_reason", "usage", "seed", "timing", "drafts",
 * "tokens"}; NULL without memory. */
json_t *run_json_object(const struct answer *a, const struct answer_options *o,
                        const struct answer_texts *texts, const struct loaded *l);

/* A value, which is taken (NULL allowed), on one line of standard output.
 * Errors: NOMEM, PIPE, IO. */
MUST_CHECK enum err run_json_out(json_t *value);

/* The OpenAI API's words for how an answer ended, and one more. */
const char *run_json_reason(enum answer_end end);

#endif
