/* carry.h - requests and answers on their way from one dialect to another: what a gateway does.
 *
 *     client                                                                      upstream
 *       | body   wire_read  -> struct wire_request -> wire_write               body |
 *       | reply  wire_reply_event <- struct wire_event <- wire_answer_event    reply |
 *
 * What is carried, kept aside, dropped with a note or refused is said by carry.def, line by line,
 * and by nothing else.  Within one dialect everything passes as it came.
 */
#ifndef WIRE_CARRY_H
#define WIRE_CARRY_H

#include "wire/wire.h"

/* What becomes of a field.  KEPT: it is in the neutral request or event, for whoever keeps it for
 * later; the other dialect has no place for it.  DROPPED: wire_write() notes its name. */
enum wire_verdict { WIRE_CARRIED, WIRE_KEPT, WIRE_DROPPED, WIRE_REFUSED };

/* A line of carry.def; NULL behind the last.  `reply`: the field is one of an answer.  `with` and
 * `without` are bodies, or parts of one, that differ in this field. */
struct wire_carry {
    bool reply;
    const struct wire_dialect *from;
    const char *field;
    enum wire_verdict to[3];            /* to chat, messages, responses */
    const char *with, *without;
};
const struct wire_carry *wire_carry_at(size_t i);
enum wire_verdict wire_carry_to(const struct wire_carry *c, const struct wire_dialect *to);

/* Has the body something that carry.def refuses to carry there?  wire_write() names it. */
bool wire_refuses(const struct wire_request *r, const struct wire_dialect *to);

/* Read a body whole, with all that an upstream may make of it.  As wire_parse() otherwise. */
MUST_CHECK enum err wire_read(struct wire_request *r, struct wire_error *why,
                              const struct wire_dialect *d, const char *body, size_t len);

/* Whom a request is written for.  `model`: as the upstream calls it.  `max_tok`: its most, said
 * where the dialect demands a number and the client gave none.  `thoughts`: it takes back what it
 * thought as plain text (chat).  `usage`: let a stream end with it, whatever the client asked.
 * `count`: the body is for /v1/messages/count_tokens, which wants what is counted and no more. */
struct wire_target {
    const struct wire_dialect *dialect;
    const char *model;
    int64_t max_tok;
    bool thoughts, usage, count;
};

/* Names of what was left out, printable; "and more" stands for those that have no room. */
enum { WIRE_NOTE_MAX = 32 };
struct wire_notes { char name[WIRE_NOTE_MAX][WIRE_NAME_BYTES]; size_t n; };

/* Append the body for `to`.  Errors: ARG (*why says what cannot be carried), NOMEM; what `out`
 * holds then must not be sent. */
MUST_CHECK enum err wire_write(struct buf *out, struct wire_notes *notes, struct wire_error *why,
                               const struct wire_request *r, const struct wire_target *to);

/* ---- answers ---- */

enum {
    WIRE_CALL_MAX = 256,                /* calls of one choice of an answer */
    WIRE_ANSWER_CHOICE_MAX = 128,
};

/* Takes an event; what it gives back ends the reading. */
typedef enum err wire_emit(void *arg, const struct wire_event *e);

struct wire_answer_choice;

/* What an upstream says, as events: BEGIN first, DONE or FAIL last and once.  A zeroed struct but
 * for these four is ready; wire_answer_release() when it is over. */
struct wire_answer {
    const struct wire_dialect *dialect;
    wire_emit *emit;
    void *arg;
    size_t n_max;                       /* choices that were asked for; 0 is one */

    bool begun, over;                   /* over: DONE or FAIL was said */
    bool itemised;                      /* its content came item by item (responses) */
    struct wire_answer_choice *choice;
    size_t n_choice;
    struct wire_usage usage;
    bool has_usage, usage_whole;        /* whole: not only what stood at its beginning */
    struct buf usage_json, id, model;   /* the upstream's own id and model, "" until they came */
    struct buf tier;                    /* the service tier that it says beside them, or "" */
};

/* One event of its stream (the data; without a meaning for this dialect is no error); the end of
 * the stream; or a whole reply of status 200.  What the upstream does wrong becomes FAIL.
 * Errors: NOMEM, and those of emit. */
MUST_CHECK enum err wire_answer_event(struct wire_answer *a, const char *data, size_t len);
MUST_CHECK enum err wire_answer_end(struct wire_answer *a);
MUST_CHECK enum err wire_answer_whole(struct wire_answer *a, const char *body, size_t len);
void wire_answer_release(struct wire_answer *a);

/* What an upstream's error body says, whatever it is: a code of the catalogue, and its own words.
 * Errors: NOMEM. */
MUST_CHECK enum err wire_error_read(struct wire_error *why, const struct wire_dialect *d,
                                    int status, const char *body, size_t len);

/* The reply of /v1/messages/count_tokens.  *n is -1 where it says none.  Errors: NOMEM. */
void wire_count_write(struct buf *out, int64_t n);
MUST_CHECK enum err wire_count_read(int64_t *n, const char *body, size_t len);

/* The HTTP status of an error in this dialect. */
int wire_error_status_in(const struct wire_dialect *d, enum wire_code code);

#endif
