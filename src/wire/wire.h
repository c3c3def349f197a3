/* wire.h - API dialects: a request body to one neutral request, neutral events to reply bytes.
 *
 * A *dialect* (dialect.def) is the body of one API route: what its fields are called, what its
 * replies look like.  What lies behind `wire` sees neither: it takes a struct wire_request, and
 * tells the reply what happened in events.
 *
 *     wire_parse -> struct wire_request ...      wire_reply_init -> wire_reply_event*, out -> bytes
 *            `-> struct wire_error -> wire_error_write
 *
 * Everything that leaves is valid UTF-8.  A character cut in two by the end of an event's text is
 * held until its rest comes; what never becomes a character leaves as U+FFFD.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest of everything, from birth.  The bounds of single fields are in field.def. */
enum {
    WIRE_BODY_BYTES_MAX = 16 << 20,     /* a request's body: a million tokens of text, and room */
    WIRE_JSON_COST_MAX = 4 << 20,       /* json_cost() of it: about 128 MiB while it is read */
    WIRE_REQUEST_BYTES_MAX = 64 << 20,  /* the parsed request, in its arena */
    WIRE_REPLY_BYTES_MAX = 64 << 20,    /* a reply that is not streamed, and what one event adds */
    WIRE_PART_MAX = 4096,               /* parts, or tool calls, of one message */
    WIRE_CHOICE_MAX = 2048,             /* prompts x n */
    WIRE_BIAS_MAX = 4096,               /* entries of logit_bias */
    WIRE_META_MAX = 16,                 /* entries of metadata */
    WIRE_UNKNOWN_MAX = 8,               /* unknown fields that are kept by name */
    WIRE_TOOL_MAX = 1024,               /* tools of a request */
    WIRE_EXTRA_MAX = 8,                 /* fields that travel as they were written */
    WIRE_SAID_MAX = 256,                /* lines of carry.def */
    WIRE_NAME_BYTES = 64,
};

/* ---- dialects ------------------------------------------------------------------------------ */

enum wire_task { WIRE_TASK_CHAT, WIRE_TASK_COMPLETE, WIRE_TASK_EMBED };

struct wire_dialect;

/* By name ("chat"); NULL when there is none. */
const struct wire_dialect *wire_dialect_find(const char *name);

/* The i-th, NULL behind the last. */
const struct wire_dialect *wire_dialect_at(size_t i);

const char *wire_dialect_name(const struct wire_dialect *d);
enum wire_task wire_dialect_task(const struct wire_dialect *d);

/* What keeps a connection alive while nothing is to be said: bytes that a client skips. */
const char *wire_heartbeat(const struct wire_dialect *d, bool stream);

/* ---- errors -------------------------------------------------------------------------------- */

/* A line of the catalogue, error.def. */
enum wire_code {
#define ERROR(id, status, type, code, retry) WIRE_E_##id,
#include "wire/error.def"
#undef ERROR
    WIRE_N_CODE
};

/* What a refusal says.  The text is the client's own names and numbers at most: no path, no
 * pointer, no word of the program's inside. */
struct wire_error {
    enum wire_code code;
    char param[2 * WIRE_NAME_BYTES];    /* the field, "" when it is none's fault */
    char text[512];
    uint32_t retry_after_s;             /* 0: not said; only for a code that may be tried again */
};

/* Fill one; NULL text takes the catalogue's. */
void wire_error_set(struct wire_error *why, enum wire_code code, const char *param,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* More prompt than context, in the wording that clients recognise, with both numbers. */
void wire_error_context(struct wire_error *why, const char *param, int64_t n_ctx, int64_t n_prompt);

int wire_error_status(enum wire_code code);

/* May the same request succeed later?  The value of `x-should-retry`. */
bool wire_error_retry(enum wire_code code);

/* The body of an error reply in this dialect. */
void wire_error_write(struct buf *out, const struct wire_dialect *d, const struct wire_error *why);

/* ---- requests ------------------------------------------------------------------------------ */

/* Bytes with a NUL behind them, in the request's arena; `at` is NULL when the field is absent. */
struct wire_text { const char *at; size_t len; };

enum wire_role { WIRE_SYSTEM, WIRE_DEVELOPER, WIRE_USER, WIRE_ASSISTANT, WIRE_TOOL };

enum wire_part_kind {
    WIRE_PART_TEXT,                     /* text */
    WIRE_PART_THINK,                    /* text: what an assistant thought, before its answer */
    WIRE_PART_CALL,                     /* id, name, text: the arguments as they were written */
    WIRE_PART_IMAGE,                    /* text: an address, or base64 with a mime; detail */
    WIRE_PART_REF,                      /* id: something that was said earlier, kept elsewhere */
};

/* What an upstream put on its thinking so that it knows it again: an opaque text, of use to the
 * dialect that made it alone. */
enum wire_seal { WIRE_SEAL_NONE, WIRE_SEAL_SIGNATURE /* messages: of the text */,
                 WIRE_SEAL_REDACTED /* messages: in place of the text */,
                 WIRE_SEAL_ENCRYPTED /* responses: beside the text */ };

enum wire_cache { WIRE_CACHE_NONE, WIRE_CACHE_SHORT /* five minutes */, WIRE_CACHE_HOUR };

/* wire_parse() gives none of the last two kinds. */
struct wire_part {
    enum wire_part_kind kind;
    struct wire_text text, id, name;
    struct wire_text item;              /* the id of a responses item */
    bool refusal;                       /* TEXT: the words of a refusal */
    enum wire_cache cache;              /* what comes up to here should be kept */
    enum wire_seal sealed;              /* THINK */
    struct wire_text seal, mime, detail;
};

/* In the order of the conversation, system messages in place.  A tool message is the result of the
 * call `call_id`.  Parts without text are left out: a message may have none. */
struct wire_message {
    enum wire_role role;
    struct wire_text name, call_id;
    struct wire_part *part;
    size_t n_part;
    bool joined;                        /* in one message of the client with the message before */
    bool failed;                        /* TOOL: the result is an error */
    enum wire_cache cache;              /* TOOL: what comes up to here should be kept */
};

/* A function that the model may call; `schema` is JSON, absent: no arguments.  `strict` -1: not
 * said. */
struct wire_tool {
    struct wire_text name, description, schema;
    int strict;
    enum wire_cache cache;
};

enum wire_tool_choice { WIRE_CHOICE_UNSET, WIRE_CHOICE_AUTO, WIRE_CHOICE_NONE,
                        WIRE_CHOICE_REQUIRED, WIRE_CHOICE_NAMED };

/* What the answer must look like: any JSON object, or one of a JSON schema. */
enum wire_format_kind { WIRE_FORMAT_TEXT, WIRE_FORMAT_JSON, WIRE_FORMAT_SCHEMA };
struct wire_format {
    enum wire_format_kind kind;
    struct wire_text name, description, schema;
    int strict;                         /* -1: not said */
};

/* A field that means the same by the same name in several dialects, as JSON. */
struct wire_extra { const char *name; struct wire_text json; };

/* One prompt or input: text, or token ids when `id` is not NULL. */
struct wire_prompt { struct wire_text text; int32_t *id; size_t n_id; };

struct wire_bias { int32_t id; double bias; };
struct wire_meta { struct wire_text key, value; };

/* ON: think as much as the model does by itself. */
enum wire_effort { WIRE_EFFORT_UNSET, WIRE_EFFORT_NONE, WIRE_EFFORT_ON, WIRE_EFFORT_MINIMAL,
                   WIRE_EFFORT_LOW, WIRE_EFFORT_MEDIUM, WIRE_EFFORT_HIGH, WIRE_EFFORT_XHIGH,
                   WIRE_EFFORT_MAX };

/* Integers that were not given are WIRE_ABSENT, numbers NAN. */
#define WIRE_ABSENT INT64_MIN

struct wire_request {
    struct arena arena;                 /* owns everything below */
    const struct wire_dialect *dialect;
    struct wire_text model;             /* absent: the server's default */
    struct wire_message *message;
    size_t n_message;
    struct wire_prompt *prompt;         /* of completions and embeddings */
    size_t n_prompt;
    struct wire_text suffix;
    bool echo;

    int64_t n, best_of;                 /* answers a prompt: set, 1 at least; n <= best_of */
    int64_t max_tok;                    /* tokens to sample, thinking included */
    double temperature, top_p, min_p, frequency_penalty, presence_penalty;
    int64_t top_k, seed;
    struct wire_bias *bias;
    size_t n_bias;
    struct wire_text *stop;
    size_t n_stop;
    enum wire_effort effort;

    bool logprobs;
    int64_t top_logprobs;               /* set, 0 at least: alternatives wanted with each token */
    bool stream, include_usage;

    bool base64;                        /* embeddings */
    int64_t dimensions;

    struct wire_text user, cache_key;   /* cache_key: what the client groups its requests by */
    struct wire_meta *meta;
    size_t n_meta;

    struct wire_tool *tool;             /* of wire_read() alone, from here */
    size_t n_tool;
    enum wire_tool_choice choice;
    struct wire_text choice_name;       /* NAMED */
    int64_t parallel;                   /* several calls in one answer: 0, 1, WIRE_ABSENT */
    struct wire_format format;
    int64_t budget;                     /* tokens to think at most */
    struct wire_extra extra[WIRE_EXTRA_MAX];
    size_t n_extra;
    struct wire_text body;              /* as it came */
    unsigned char said[WIRE_SAID_MAX / 8];      /* the lines of carry.def that are in it */

    char unknown[WIRE_UNKNOWN_MAX][WIRE_NAME_BYTES];    /* fields that were ignored, printable */
    size_t n_unknown;                   /* how many there were; the first ones have names */
    size_t n_volatile;                  /* lines that were taken out of system messages */
};

/* Read a body.  On success *r is yours: wire_request_release().  Otherwise nothing is to be
 * released, and *why says what to answer.  Errors: ARG (the client's fault), NOMEM. */
MUST_CHECK enum err wire_parse(struct wire_request *r, struct wire_error *why,
                               const struct wire_dialect *d, const char *body, size_t len);

void wire_request_release(struct wire_request *r);

/* ---- replies ------------------------------------------------------------------------------- */

/* The token's bytes, whole characters or not; NAN: no probability (the first of a prompt). */
struct wire_top { const char *bytes; size_t len; float logprob; };
/* `top` in falling order. */
struct wire_logprob { struct wire_top token; const struct wire_top *top; size_t n_top; };

/* prompt_tok is all of the prompt: cached_tok of it were read from a cache, kept_tok written to one
 * (kept_hour_tok of those for an hour).  answer_tok includes think_tok. */
struct wire_usage { int64_t prompt_tok, cached_tok, answer_tok, think_tok, kept_tok,
                    kept_hour_tok; };

/* CALLS: it waits for results.  MATCH: a stop sequence (text).  FILTER: it may not or will not go
 * on.  FULL: no more context.  PAUSE: send it back to go on. */
enum wire_finish { WIRE_FINISH_STOP, WIRE_FINISH_LENGTH, WIRE_FINISH_CALLS, WIRE_FINISH_MATCH,
                   WIRE_FINISH_FILTER, WIRE_FINISH_FULL, WIRE_FINISH_PAUSE };

/* BEGIN (once, before the prefill), then for each choice TEXT, THINK and calls (CALL, then ARGS)
 * and one END, then DONE.  SEAL belongs to the THINK before it, or stands alone.
 * FAIL may come at any time and is the last. */
enum wire_event_kind { WIRE_BEGIN, WIRE_TEXT, WIRE_THINK, WIRE_END, WIRE_DONE, WIRE_FAIL,
                       WIRE_SEAL, WIRE_CALL, WIRE_ARGS };

/* Everything in it is borrowed for the call. */
struct wire_event {
    enum wire_event_kind kind;
    size_t choice;                      /* of all but BEGIN, DONE, FAIL */
    const char *text;                   /* TEXT, THINK, ARGS: it may end inside a character; SEAL;
                                           END with MATCH: what matched */
    size_t len;
    const char *id, *name;              /* CALL; SEAL: id is the upstream's for it, or NULL */
    enum wire_seal seal;                /* SEAL */
    bool refusal;                       /* TEXT: the words of a refusal */
    bool apart;                         /* TEXT, THINK: it begins a new part of the answer */
    const struct wire_logprob *logprob; /* TEXT: its tokens, when they were asked for */
    size_t n_logprob;
    enum wire_finish finish;            /* END */
    struct wire_usage usage;            /* DONE, and BEGIN where it is known by then */
    const char *usage_json;             /* DONE: as the upstream wrote it, NULL: it wrote none */
    const struct wire_error *error;     /* FAIL */
};

/* Borrowed until the reply is released.  `id`, of letters, digits, '-' and '_', is another one for
 * every reply, and gets the dialect's prefix ("chatcmpl-"). */
struct wire_about { const char *id, *model, *fingerprint /* or NULL */; int64_t created; };

struct wire_choice;
struct wire_reply {
    const struct wire_dialect *dialect;
    struct wire_about about;
    bool stream, include_usage, logprobs;
    bool begun, done;
    size_t n_choice, bytes;
    int64_t n_event;                    /* written so far, where they are numbered */
    struct wire_choice *choice;
};

/* A reply to `r` (which it does not keep) with prompts x best_of choices: those of the first
 * prompt, then those of the second.  Yours: wire_reply_release(), also after an error.
 * Errors: NOMEM. */
MUST_CHECK enum err wire_reply_init(struct wire_reply *w, const struct wire_request *r,
                                    const struct wire_about *about);

/* Append to `out` what the event says: SSE events of a stream; of a whole reply nothing, and its
 * body at the end.  Errors: NOMEM, LIMIT (a reply over WIRE_REPLY_BYTES_MAX); what `out` holds
 * then must not be sent, and the reply takes FAIL alone. */
MUST_CHECK enum err wire_reply_event(struct wire_reply *w, struct buf *out,
                                     const struct wire_event *e);

/* Of a whole reply, before DONE: keep these n choices alone, in this order, none twice.
 * Errors: NOMEM; nothing changed. */
MUST_CHECK enum err wire_reply_pick(struct wire_reply *w, const size_t *choice, size_t n);

void wire_reply_release(struct wire_reply *w);

/* Embeddings: `vector` [n, n_dim], in one body; `base64` gives little-endian float32 bytes. */
void wire_embeddings_write(struct buf *out, const char *model, const float *vector, size_t n,
                           size_t n_dim, int64_t prompt_tok, bool base64);

/* A row of the list of models; n_ctx, n_out (the most that it answers) 0: not said. */
struct wire_model { const char *id, *owner; int64_t created, n_ctx, n_out; };
void wire_model_write(struct buf *out, const struct wire_model *m);
void wire_models_write(struct buf *out, const struct wire_model *m, size_t n);

#endif
