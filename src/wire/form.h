/* form.h - inside wire: what a dialect is made of, and the tools its file is written with. */
#ifndef WIRE_FORM_H
#define WIRE_FORM_H

#include "wire/wire.h"

#include <jansson.h>

enum wire_kind { WIRE_KIND_TEXT, WIRE_KIND_BOOL, WIRE_KIND_INT, WIRE_KIND_NUM, WIRE_KIND_STOP,
                 WIRE_KIND_BIAS, WIRE_KIND_META, WIRE_KIND_EFFORT, WIRE_KIND_THINK,
                 WIRE_KIND_THINK_WORD, WIRE_KIND_CODING, WIRE_KIND_MESSAGES, WIRE_KIND_PROMPT,
                 WIRE_KIND_OBJECT, WIRE_KIND_HARMLESS, WIRE_KIND_REFUSED, WIRE_KIND_EMPTY,
                 WIRE_KIND_PLAIN };

/* A line of field.def; `where` is an offset into struct wire_request. */
struct wire_field {
    const struct wire_dialect *dialect;
    const char *name;
    enum wire_kind kind;
    double lo, hi;
    size_t where;
};

struct wire_dialect {
    const char *beat, *beat_whole;      /* heartbeat of a stream, of a whole reply */
    bool thinks;                        /* it has a place for thinking apart from the answer */
    /* What no field can say alone, and the defaults of numbers.  Errors: ARG. */
    enum err (*check)(struct wire_request *r, struct wire_error *why);
    /* Write what an event brought, out of the choice's pending texts; NULL: the reply is not one
     * of events. */
    void (*piece)(struct wire_reply *w, struct buf *out, size_t choice);
    void (*end)(struct wire_reply *w, struct buf *out, size_t choice);
    void (*begin)(struct wire_reply *w, struct buf *out);
    void (*done)(struct wire_reply *w, struct buf *out, const struct wire_usage *u);
    /* A token into the choice's list[]. */
    void (*logprob)(struct wire_choice *c, const struct wire_logprob *l);
    void (*error)(struct buf *out, const struct wire_error *why);
    void (*fail)(struct buf *out, const struct wire_error *why);    /* inside a stream */
};

#define DIALECT(name, task) extern const struct wire_dialect wire_dialect_##name;
#include "wire/dialect.def"
#undef DIALECT

/* The fields of a dialect, in the order of field.def. */
const struct wire_field *wire_fields(const struct wire_dialect *d, size_t *n);

/* ---- reading ---- */

/* What the readers of one request share. */
struct wire_reader { struct wire_request *r; struct wire_error *why; };

/* Refuse: fill *why and give ERR_ARG. */
enum err wire_refuse(struct wire_error *why, enum wire_code code, const char *param,
                     const char *fmt, ...) __attribute__((format(printf, 4, 5)));
enum err wire_wrong_type(struct wire_error *why, const char *param, const char *want,
                         const json_t *got);

enum err wire_too_long(struct wire_error *why, const char *param, double hi, size_t len);
enum err wire_too_many(struct wire_error *why, const char *param, double hi, size_t n);

/* An array or a text in the request's arena.  Errors: NOMEM, ARG (over its maximum). */
enum err wire_take(void **out, struct wire_reader *in, size_t n, size_t size);
enum err wire_take_text(struct wire_text *out, struct wire_reader *in, const json_t *string);

/* Fields of an object by the table (wire_field.c); messages and prompts, each in its file. */
enum err wire_take_fields(struct wire_reader *in, json_t *body);
enum err wire_take_messages(struct wire_reader *in, const struct wire_field *f, const json_t *v);
enum err wire_take_prompt(struct wire_reader *in, const struct wire_field *f, const json_t *v);

/* ---- writing ---- */

/* The start of a character or of one that is cut: its bytes, 1 to 4.  *state says what they are. */
enum wire_utf8 { WIRE_UTF8_WHOLE, WIRE_UTF8_CUT, WIRE_UTF8_BAD };
size_t wire_utf8_next(enum wire_utf8 *state, const char *bytes, size_t len);

/* A JSON string with its quotes; what is no character becomes U+FFFD. */
void wire_put_string(struct buf *out, const char *bytes, size_t len);
void wire_put_text(struct buf *out, const char *text);      /* NUL-terminated; NULL is null */

/* The shortest decimal that reads back as the same float; -9999.0 when it is not finite. */
void wire_put_float(struct buf *out, float x);

/* `bytes` in base64, without quotes. */
void wire_put_base64(struct buf *out, const void *bytes, size_t len);

/* Text on its way out: whole characters, and up to 3 bytes of the next one. */
struct wire_half { char bytes[4]; size_t len; };

/* What the dialects of one reply keep for a choice.  In a stream `text`, `think` and list[] hold
 * what the event brought; in a whole reply everything so far. */
struct wire_choice {
    struct buf text, think, list[4];
    struct wire_half text_half, think_half;
    size_t n_list;                      /* tokens in list[] */
    int64_t n_char;                     /* characters of all tokens so far */
    bool thought, ended;
    enum wire_finish finish;
};

/* wire_openai.c: what OpenAI's dialects have in common. */
void wire_openai_error(struct buf *out, const struct wire_error *why);
void wire_openai_fail(struct buf *out, const struct wire_error *why);
void wire_openai_usage(struct buf *out, const struct wire_usage *u);
void wire_openai_fingerprint(struct buf *out, const struct wire_reply *w);
const char *wire_openai_finish(enum wire_finish f);

#endif
