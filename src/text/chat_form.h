/* chat_form.h - what one chat format is made of: the private side of chat.h.
 *
 * A format is a `struct chat_form` in its family's file and a line in chat.def.
 */
#ifndef TEXT_CHAT_FORM_H
#define TEXT_CHAT_FORM_H

#include "text/chat.h"

/* A template being looked at.  Borrowed, not NUL-terminated. */
struct chat_tmpl { const char *text; size_t len; };

struct chat_form {
    /* The format of a template of this family; CHAT_NONE: another family's; CHAT_UNKNOWN: this
     * family's, but a variant we do not render.  Sets *why except for CHAT_NONE. */
    enum chat_format (*detect)(struct chat_tmpl t, const char **why);
    void (*render)(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                   const struct chat_options *o, struct chat_text *out);
    struct chat_think think[2];         /* [0] --think off, [1] --think on */
    const char *token[2];               /* added tokens the vocabulary must have; NULL: none */
};

#define CHAT(id, name, form) extern const struct chat_form form;
#include "text/chat.def"
#undef CHAT

/* True when the template holds this text. */
bool chat_tmpl_has(struct chat_tmpl t, const char *text);
/* The template from the last occurrence of `text` on; empty when there is none. */
struct chat_tmpl chat_tmpl_tail(struct chat_tmpl t, const char *text);

/* Append to the rendering: what the format itself writes, what a person wrote, what a model
 * wrote.  Running out of memory marks *out broken. */
void chat_put_control(struct chat_text *out, const char *text);
void chat_put_plain(struct chat_text *out, const char *text, size_t len);
void chat_put_sampled(struct chat_text *out, const char *text, size_t len);

/* Cut white space off both ends, as Python's str.strip() (Jinja's `trim`) does: Unicode's. */
void chat_trim(const char **text, size_t *len);

/* "system", "user", "assistant": the role's name in ChatML and Llama headers. */
const char *chat_role_name(enum chat_role role);

#endif
