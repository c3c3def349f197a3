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
 * "tokens"} on one
 * line.  Errors: NOMEM, PIPE, IO. */
MUST_CHECK enum err run_json_write(const struct answer *a, const struct answer_options *o,
                                   const struct answer_texts *texts, const struct loaded *l);

#endif
