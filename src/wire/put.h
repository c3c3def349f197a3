/* put.h - inside wire: what the writers of requests share (wire_carry.c). */
#ifndef WIRE_PUT_H
#define WIRE_PUT_H

#include "wire/carry.h"
#include "wire/form.h"

struct wire_writer {
    struct buf *out;
    const struct wire_request *r;
    const struct wire_target *to;
    struct wire_notes *notes;
    struct wire_error *why;
};

/* Was the i-th line of carry.def in the body? */
bool wire_has_said(const struct wire_request *r, size_t i);

/* Note a name once; refuse a field by its name. */
void wire_note(struct wire_writer *w, const char *name);
enum err wire_cannot(struct wire_writer *w, const char *field);

/* Members of an object; an absent value writes nothing.  `json` that is absent is `absent`. */
void wire_put_extra(struct wire_writer *w, const char *name);
void wire_put_field(struct wire_writer *w, const char *key, struct wire_text t);
void wire_put_raw(struct buf *out, const char *key, struct wire_text json, const char *absent);
void wire_put_integer(struct buf *out, const char *key, int64_t x);
void wire_put_real(struct buf *out, const char *key, double x);
void wire_put_meta(struct wire_writer *w);

/* tool_choice and parallel_tool_calls as chat and responses have them, where there are tools, for
 * the APIs refuse them without; a tool that is named stands between `begin` and `end`. */
void wire_put_choice(struct wire_writer *w, const char *begin, const char *end);

/* The address of an image as a string, what it holds as a data: address. */
void wire_put_url(struct buf *out, const struct wire_part *p);

/* NULL: nothing to say.  `budget` tells how much ON is. */
const char *wire_effort_word(enum wire_effort e, int64_t budget);

/* All parts of one kind as one string; how many there are. */
void wire_put_texts(struct buf *out, const struct wire_message *m, enum wire_part_kind kind);
size_t wire_count_parts(const struct wire_message *m, enum wire_part_kind kind);

/* The arguments of a call as an object.  Errors: ARG (they are none), NOMEM. */
enum err wire_put_arguments(struct wire_writer *w, const struct wire_part *call);

/* References nobody resolved: to thinking they are left out, others are refused. */
enum err wire_check_refs(struct wire_writer *w);

enum err wire_chat_write(struct wire_writer *w);
enum err wire_messages_write(struct wire_writer *w);
enum err wire_responses_write(struct wire_writer *w);

#endif
