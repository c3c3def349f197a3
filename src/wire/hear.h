/* hear.h - inside wire: what the readers of answers share (wire_answer.c). */
#ifndef WIRE_HEAR_H
#define WIRE_HEAR_H

#include "wire/carry.h"
#include "wire/form.h"

/* A choice of an answer.  `last`: the kind of its last event.
 * `open`: the upstream's number of the block that is being said, -1: none. */
struct wire_answer_choice {
    enum wire_event_kind last;
    enum wire_block block;              /* what that is; NONE: nothing of ours */
    int64_t open;
    size_t n_call;
    bool ended, fresh;                  /* fresh: nothing of its block was said yet */
};

/* The choice of this index, made where it is new; NULL: there is no memory, or too many. */
struct wire_answer_choice *wire_answer_choice(struct wire_answer *a, size_t index);

/* Emit an event, BEGIN before the first.  Nothing once it is over, or of a choice that has ended;
 * arguments that follow no call are the upstream's fault. */
enum err wire_say_begin(struct wire_answer *a);
enum err wire_say(struct wire_answer *a, const struct wire_event *e);
enum err wire_say_text(struct wire_answer *a, enum wire_event_kind kind, size_t choice,
                       const json_t *text);

/* A call; an id that is missing is made of the answer's. */
enum err wire_say_call(struct wire_answer *a, size_t choice, const char *id, const char *name);

/* The choice has ended: the last of its events, once. */
enum err wire_say_end(struct wire_answer *a, size_t choice, enum wire_finish f,
                      const json_t *match);

/* DONE, when all choices have ended; FAIL, when the upstream was cut or makes no sense. */
enum err wire_say_done(struct wire_answer *a);
enum err wire_say_fail(struct wire_answer *a, const struct wire_error *why);
enum err wire_say_wrong(struct wire_answer *a, const char *what);

/* The error an upstream states in JSON ("error", or the body itself). */
void wire_error_take(struct wire_error *why, int status, const json_t *body);

/* Integers of an object: `otherwise` where it is none, negative, or beyond 2^53, so that a few of
 * them can be added. */
int64_t wire_int_of(const json_t *object, const char *key, int64_t otherwise);
const char *wire_str_of(const json_t *object, const char *key);       /* "" where there is none */

/* Keep a usage as it was written, and the answer's id and model, the first time they come. */
enum err wire_answer_usage(struct wire_answer *a, const json_t *usage);
enum err wire_answer_about(struct wire_answer *a, const json_t *head);

enum err wire_chat_hear(struct wire_answer *a, const json_t *data);
enum err wire_chat_hear_whole(struct wire_answer *a, const json_t *body);
enum err wire_messages_hear(struct wire_answer *a, const json_t *data);
enum err wire_messages_hear_whole(struct wire_answer *a, const json_t *body);
enum err wire_responses_hear(struct wire_answer *a, const json_t *data);
enum err wire_responses_hear_whole(struct wire_answer *a, const json_t *body);

#endif
