/* chat.h - conversations in the form a model was trained on.
 *
 * The format is recognised from the file's own template (never run); rendering gives typed
 * segments: only what the format itself writes can become control tokens.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/buf.h"
#include "base/err.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_msg { enum chat_role role; const char *text; size_t len; };     /* borrowed */

/* The formats, one line each in chat.def. */
enum chat_format {
    CHAT_NONE,                          /* no template in the file: a base model */
    CHAT_UNKNOWN,                       /* a template we do not recognise */
#define CHAT(id, ...) CHAT_##id,
#include "text/chat.def"
#undef CHAT
    CHAT_FORMAT_COUNT
};

/* Recognise the template of an opened checkpoint.  `why` (may be NULL) gets one line that says
 * by what it was recognised, or why not; a string literal. */
enum chat_format chat_format_detect(const struct weights *w, const struct tokenizer *t,
                                    const char **why);

/* By the template's text alone. */
enum chat_format chat_format_from_template(const char *tmpl, size_t len, const char **why);

const char *chat_format_name(enum chat_format f);       /* "chatml", "deepseek-r1", ... */
enum chat_format chat_format_by_name(const char *name); /* CHAT_UNKNOWN when there is none */

/* Whether a format can think, and how its thinking is delimited. */
struct chat_think {
    bool can;                           /* the model has a thinking form */
    bool fixed;                         /* and no other: --think off is refused */
    const char *open, *close;           /* "<think>", "</think>"; NULL: the format has none.  With
                                           `can` false they are those a model may write itself */
    bool starts_open;                   /* the generation prompt already holds `open` */
};
struct chat_think chat_format_think(enum chat_format f, bool think);

/* A rendered conversation: segments over one text buffer.  A zeroed struct is empty. */
struct chat_text { struct buf text; struct text_span *span; size_t n_span, cap_span; bool broken; };
/* `sampled` marks bytes a model wrote (earlier answers): their tokens count as sampled. */
struct text_span { enum text_kind kind; bool sampled; size_t start, len; };

struct chat_options {
    bool think;                         /* where the format has both forms */
    bool add_generation_prompt;
    const char *bos, *eos;              /* their literal texts, as in the vocabulary; may be "" */
    const char *date;                   /* Llama-3.1's "Today Date"; NULL: the template's default */
};

/* Append the conversation to *out.  BOS is part of the text where the format has it.  System
 * messages stand where the format puts them: at the front (DeepSeek, joined) or in place.
 * Earlier answers are given as they were generated, thinking included: it is taken out where the
 * model was trained without it.  Errors: NOMEM; ARG (the format is NONE or UNKNOWN). */
MUST_CHECK enum err chat_render(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                                const struct chat_options *o, struct chat_text *out);
void chat_text_release(struct chat_text *t);

/* The rendered text as ids in *out, which must be empty; *kind (may be NULL) gets one byte per
 * id, 1 for sampled; free() it.  BOS is added when the vocabulary wants one and the text does
 * not begin with it: never twice.  On failure *out is empty.  Errors: those of
 * tokenizer_encode, NOMEM. */
MUST_CHECK enum err chat_tokenize(const struct chat_text *c, const struct tokenizer *t,
                                  struct tok_list *out, unsigned char **kind);

/* Splits a stream of answer text into thinking and answer; a delimiter that arrives in pieces is
 * held back until it is decided.  A model that was not given `open` may write it first thing
 * (white space before it allowed); anywhere else it is text.  Only the delimiters are removed:
 * white space around them comes out as it is. */
enum chat_part { CHAT_PART_THINK, CHAT_PART_ANSWER };
struct think_split { struct chat_think think; enum chat_part part; bool started; char held[32];
                     size_t n_held; };
void think_split_init(struct think_split *s, struct chat_think think);
/* Called with consecutive text; emits pieces in order through `emit`. */
typedef void think_emit_fn(void *arg, enum chat_part part, const char *text, size_t len);
void think_split_push(struct think_split *s, const char *text, size_t len, think_emit_fn *emit,
                      void *arg);
void think_split_end(struct think_split *s, think_emit_fn *emit, void *arg);

#endif
