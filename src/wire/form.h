/* form.h - inside wire: what a dialect is made of, and the tools its file is written with. */
#ifndef WIRE_FORM_H
#define WIRE_FORM_H

#include "wire/wire.h"

#include <jansson.h>

enum wire_kind { WIRE_KIND_TEXT, WIRE_KIND_BOOL, WIRE_KIND_INT, WIRE_KIND_NUM, WIRE_KIND_STOP,
                 WIRE_KIND_BIAS, WIRE_KIND_META, WIRE_KIND_EFFORT, WIRE_KIND_THINK,
                 WIRE_KIND_THINK_WORD, WIRE_KIND_CODING, WIRE_KIND_MESSAGES, WIRE_KIND_PROMPT,
                 WIRE_KIND_OBJECT, WIRE_KIND_HARMLESS, WIRE_KIND_REFUSED, WIRE_KIND_EMPTY,
                 WIRE_KIND_PLAIN, WIRE_KIND_TOOLS, WIRE_KIND_CHOICE, WIRE_KIND_FORMAT,
                 WIRE_KIND_MAYBE, WIRE_KIND_BESIDE };

/* A line of field.def; `where` is an offset into struct wire_request. */
struct wire_field {
    const struct wire_dialect *dialect;
    const char *name;
    enum wire_kind kind;
    double lo, hi;
    size_t where;
};

struct wire_reader;
struct wire_writer;
struct wire_answer;

struct wire_dialect {
    const char *beat, *beat_whole;      /* heartbeat of a stream, of a whole reply */
    bool thinks;                        /* it has a place for thinking apart from the answer */
    bool refuses;                       /* and for refusals, list[3], without blocks */
    unsigned seals;                     /* kinds of seals it has a place for, a bit each */
    /* What no field can say alone, and the defaults of numbers.  Errors: ARG. */
    enum err (*check)(struct wire_request *r, struct wire_error *why);
    /* Write what an event brought, out of the choice's pending texts; NULL: the reply is not one
     * of events. */
    void (*piece)(struct wire_reply *w, struct buf *out, size_t choice);
    void (*end)(struct wire_reply *w, struct buf *out, size_t choice);
    void (*begin)(struct wire_reply *w, struct buf *out, const struct wire_usage *u);
    void (*done)(struct wire_reply *w, struct buf *out, const struct wire_usage *u);
    /* A token into the choice's list[]. */
    void (*logprob)(struct wire_choice *c, const struct wire_logprob *l);
    void (*error)(struct buf *out, const struct wire_error *why);
    void (*fail)(struct wire_reply *w, struct buf *out, const struct wire_error *why);
    /* Of a dialect whose answer is a row of blocks (thinking, text, call): the block that begins is
     * described by the event, the one that ends lies in the choice. */
    void (*open)(struct wire_reply *w, struct buf *out, const struct wire_event *e);
    void (*close)(struct wire_reply *w, struct buf *out);
    /* A call, its arguments (what came of them in list[2]); of a dialect without blocks. */
    void (*call)(struct wire_reply *w, struct buf *out, const struct wire_event *e);

    /* A conversation, tools, which of them, and the form of an answer, out of a body. */
    enum err (*take_messages)(struct wire_reader *in, const struct wire_field *f, const json_t *v);
    enum err (*take_tools)(struct wire_reader *in, const json_t *v);
    enum err (*take_choice)(struct wire_reader *in, const json_t *v);
    enum err (*take_format)(struct wire_reader *in, const json_t *v);
    /* The upstream's side: a request's body, an event of a stream ("" when it has no name), a whole
     * reply.  NULL: there is none. */
    enum err (*write)(struct wire_writer *w);
    enum err (*hear)(struct wire_answer *a, const json_t *data);
    enum err (*hear_whole)(struct wire_answer *a, const json_t *body);
};

#define DIALECT(name, task) extern const struct wire_dialect wire_dialect_##name;
#include "wire/dialect.def"
#undef DIALECT

/* The fields of a dialect, in the order of field.def. */
const struct wire_field *wire_fields(const struct wire_dialect *d, size_t *n);

/* ---- reading ---- */

/* What the readers of one request share; `carry`: all of it is wanted, for somebody else. */
struct wire_reader {
    struct wire_request *r;
    struct wire_error *why;
    json_t *body;
    bool carry;
};

/* Refuse: fill *why and give ERR_ARG. */
enum err wire_refuse(struct wire_error *why, enum wire_code code, const char *param,
                     const char *fmt, ...) __attribute__((format(printf, 4, 5)));
enum err wire_wrong_type(struct wire_error *why, const char *param, const char *want,
                         const json_t *got);

enum err wire_too_long(struct wire_error *why, const char *param, double hi, size_t len);
enum err wire_too_many(struct wire_error *why, const char *param, double hi, size_t n);

/* An array or a text in the request's arena.  Errors: NOMEM, ARG (over its maximum). */
enum err wire_take(void **out, struct wire_reader *in, size_t n, size_t size);

/* Whether a field is an array of objects, with one at least and f->hi at most. */
enum err wire_check_list(struct wire_reader *in, const struct wire_field *f, const json_t *v);
enum err wire_take_text(struct wire_text *out, struct wire_reader *in, const json_t *string);

/* Fields of an object by the table (wire_field.c); messages and prompts, each in its file. */
enum err wire_take_fields(struct wire_reader *in, json_t *body);
enum err wire_take_messages(struct wire_reader *in, const struct wire_field *f, const json_t *v);
enum err wire_take_prompt(struct wire_reader *in, const struct wire_field *f, const json_t *v);

/* One of some words; the list ends with NULL. */
struct wire_word { const char *word; int value; };
enum err wire_take_word(int *out, struct wire_reader *in, const char *param, const json_t *v,
                        const struct wire_word *words);

/* Where we are, for the client: "messages[3].content[0].type". */
struct wire_place { char text[WIRE_NAME_BYTES]; };
struct wire_place wire_place(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
enum err wire_missing(struct wire_reader *in, const char *param);

/* An optional string of at most `max` bytes; null and "" leave *out alone. */
enum err wire_take_string(struct wire_text *out, struct wire_reader *in, const char *param,
                          const json_t *v, size_t max);

/* A value as compact JSON; cache_control; the address of an image, or what it holds. */
enum err wire_take_json(struct wire_text *out, struct wire_reader *in, const json_t *v);
enum err wire_take_cache(enum wire_cache *out, struct wire_reader *in, const char *param,
                         const json_t *v);
enum err wire_take_address(struct wire_part *p, struct wire_reader *in, const char *param,
                           const json_t *v);
/* How closely it is looked at, the line `field` of carry.def; "auto" is as good as absent. */
enum err wire_take_detail(struct wire_part *p, struct wire_reader *in, const char *param,
                          const char *field, const json_t *v);
enum err wire_take_extra(struct wire_reader *in, const char *name, const json_t *v);

/* An array of objects for wire_take_tools: room in r->tool.  Errors: ARG, NOMEM. */
enum err wire_tool_room(struct wire_reader *in, const char *param, const json_t *v);

/* The body holds a line of carry.def (ASSERT that there is one). */
void wire_said(struct wire_reader *in, const char *field);

/* Keep the keys of `object` that are none of `known`, words with blanks around them, as unknown. */
void wire_note_others(struct wire_reader *in, const char *outer, const json_t *object,
                      const char *known);

/* Take whole volatile lines from the front of a system message. */
void wire_strip_volatile(struct wire_message *m, struct wire_request *r);

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

/* The shortest decimal that reads back as the same double. */
void wire_put_double(struct buf *out, double x);

/* A comma, where something stands before in the same object or list; that and a key. */
void wire_put_comma(struct buf *out);
void wire_put_key(struct buf *out, const char *key);
void wire_put_arena(struct buf *out, struct wire_text t);      /* a string; absent is "" */

/* A value in compact JSON. */
void wire_put_json(struct buf *out, const json_t *v);

/* "data: ...", and "event: NAME" before it. */
void wire_put_event(struct buf *out, const char *name);

/* Text on its way out: whole characters, and up to 3 bytes of the next one. */
struct wire_half { char bytes[4]; size_t len; };

/* What the dialects of one reply keep for a choice.  In a stream `text`, `think` and list[] hold
 * what the event brought; in a whole reply everything so far. */
enum wire_block { WIRE_BLOCK_NONE, WIRE_BLOCK_TEXT, WIRE_BLOCK_THINK, WIRE_BLOCK_CALL };

struct wire_choice {
    struct buf text, think, list[4];
    struct wire_half text_half, think_half;
    enum wire_block block;              /* that is open; of a dialect with blocks */
    size_t n_block, n_call;             /* begun so far */
    struct buf seal, id, name;          /* of the open block */
    enum wire_seal sealed;
    bool refusal;
    struct buf match;                   /* the stop sequence that was met */
    size_t n_list;                      /* tokens in list[] */
    int64_t n_char;                     /* characters of all tokens so far */
    bool thought, ended;
    enum wire_finish finish;
};

/* wire_chat_tools.c: what chat's tools and those of others have in common. */
enum err wire_take_strict(int *out, struct wire_reader *in, const char *param, const json_t *v);
enum err wire_take_function(struct wire_tool *t, struct wire_reader *in, const char *param,
                            const json_t *v, const char *key);
enum err wire_take_choice_word(struct wire_reader *in, const char *param, const json_t *v);
enum err wire_take_choice_name(struct wire_reader *in, const char *param, const json_t *name);
enum err wire_chat_take_tools(struct wire_reader *in, const json_t *v);
enum err wire_chat_take_choice(struct wire_reader *in, const json_t *v);
enum err wire_chat_take_format(struct wire_reader *in, const json_t *v);

/* wire_messages_in.c */
#define WIRE_NO_SIGNATURE "Y3JvZnQ6IG5vIHNpZ25hdHVyZQ"        /* "croft: no signature" */
enum err wire_messages_take(struct wire_reader *in, const struct wire_field *f, const json_t *v);
enum err wire_messages_take_tools(struct wire_reader *in, const json_t *v);
enum err wire_messages_take_choice(struct wire_reader *in, const json_t *v);
enum err wire_messages_take_format(struct wire_reader *in, const json_t *v);

/* Take blocks of thinking with WIRE_NO_SIGNATURE out of a body, and what is not counted. */
void wire_messages_scrub(json_t *body, bool count);

/* wire_responses_in.c */
enum err wire_responses_take(struct wire_reader *in, const struct wire_field *f, const json_t *v);
enum err wire_responses_take_tools(struct wire_reader *in, const json_t *v);
enum err wire_responses_take_choice(struct wire_reader *in, const json_t *v);
enum err wire_responses_take_format(struct wire_reader *in, const json_t *v);

/* wire_error.c: what an error says, as a JSON string.  That a conversation is too long is said in
 * the words by which a dialect's clients know it, with the numbers of whatever it came in. */
enum wire_words { WIRE_WORDS_OPENAI, WIRE_WORDS_ANTHROPIC };
void wire_put_error_text(struct buf *out, const struct wire_error *why, enum wire_words words);

/* wire_openai.c: what OpenAI's dialects have in common. */
void wire_openai_error(struct buf *out, const struct wire_error *why);
void wire_openai_fail(struct wire_reply *w, struct buf *out, const struct wire_error *why);
void wire_openai_usage(struct buf *out, const struct wire_usage *u);
void wire_openai_fingerprint(struct buf *out, const struct wire_reply *w);
const char *wire_openai_finish(enum wire_finish f);

#endif
