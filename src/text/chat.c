/* chat.c - the registry of chat formats, and what all of them share: see chat.h.
 *
 * A template is never run: it is recognised by the marks of model.md's families, and a template
 * that is like a known one but writes something we would not write is refused, because a
 * conversation in a nearly right format is worse than a clear "unknown".
 */
#include "text/chat.h"

#include "text/chat_form.h"

#include <stdlib.h>
#include <string.h>

static const struct { const char *name; const struct chat_form *form; } formats[] = {
    [CHAT_NONE] = { "none", NULL },
    [CHAT_UNKNOWN] = { "unknown", NULL },
#define CHAT(id, name, form) [CHAT_##id] = { name, &form },
#include "text/chat.def"
#undef CHAT
};

const char *chat_format_name(enum chat_format f)
{
    ASSERT((unsigned)f < CHAT_FORMAT_COUNT);
    return formats[f].name;
}

enum chat_format chat_format_by_name(const char *name)
{
    for (int f = 0; f < CHAT_FORMAT_COUNT; f++)
        if (strcmp(formats[f].name, name) == 0)
            return (enum chat_format)f;
    return CHAT_UNKNOWN;
}

struct chat_think chat_format_think(enum chat_format f, bool think)
{
    ASSERT((unsigned)f < CHAT_FORMAT_COUNT);
    return formats[f].form ? formats[f].form->think[think] : (struct chat_think){ 0 };
}

bool chat_tmpl_has(struct chat_tmpl t, const char *text)
{
    return t.len && memmem(t.text, t.len, text, strlen(text));
}

struct chat_tmpl chat_tmpl_tail(struct chat_tmpl t, const char *text)
{
    struct chat_tmpl tail = { t.text, 0 };
    size_t len = strlen(text);

    for (const char *at = t.text; t.len && at; at++) {
        at = memmem(at, t.len - (size_t)(at - t.text), text, len);
        if (!at)
            break;
        tail = (struct chat_tmpl){ at, t.len - (size_t)(at - t.text) };
    }
    return tail;
}

enum chat_format chat_format_from_template(const char *tmpl, size_t len, const char **why)
{
    const char *reason = NULL;
    enum chat_format found = CHAT_NONE;

    for (int f = 0; f < CHAT_FORMAT_COUNT && found == CHAT_NONE; f++)
        if (formats[f].form)
            found = formats[f].form->detect((struct chat_tmpl){ tmpl, len }, &reason);
    if (found == CHAT_NONE) {
        found = CHAT_UNKNOWN;
        reason = "the template has the marks of no format we know (ChatML, Llama-3, DeepSeek)";
    }
    if (why)
        *why = reason;
    return found;
}

enum chat_format chat_format_detect(const struct weights *w, const struct tokenizer *t,
                                    const char **why)
{
    const char *tmpl = NULL, *reason;
    size_t len = 0;
    enum chat_format f;

    if (weights_str(w, "tokenizer.chat_template", NULL, &tmpl, &len)) {
        f = CHAT_UNKNOWN;
        reason = "tokenizer.chat_template is not a text";
    } else if (!tmpl) {
        f = CHAT_NONE;
        reason = "the file has no tokenizer.chat_template: a base model";
    } else {
        f = chat_format_from_template(tmpl, len, &reason);
    }
    for (size_t i = 0; formats[f].form && i < 2; i++) {
        const char *token = formats[f].form->token[i];

        if (token && tokenizer_find_added(t, token) < 0) {
            f = CHAT_UNKNOWN;
            reason = "the template is known, but its tokens are not in the vocabulary";
        }
    }
    if (why)
        *why = reason;
    return f;
}

/* Adjacent spans of one sort become one. */
static void put(struct chat_text *out, enum text_kind kind, bool sampled, const char *text,
                size_t len)
{
    struct text_span *last = out->n_span ? &out->span[out->n_span - 1] : NULL;
    size_t start = out->text.len;

    if (!len || out->broken)
        return;
    buf_add(&out->text, text, len);
    if (last && last->kind == kind && last->sampled == sampled) {
        last->len += len;
    } else {
        if (out->n_span == out->cap_span) {
            size_t cap = out->cap_span ? 2 * out->cap_span : 16;
            struct text_span *span = realloc(out->span, cap * sizeof(*span));

            if (!span) {
                out->broken = true;
                return;
            }
            out->span = span;
            out->cap_span = cap;
        }
        out->span[out->n_span++] = (struct text_span){ kind, sampled, start, len };
    }
    out->broken = out->text.broken;
}

void chat_put_control(struct chat_text *out, const char *text)
{
    put(out, TEXT_CONTROL, false, text, strlen(text));
}

void chat_put_plain(struct chat_text *out, const char *text, size_t len)
{
    put(out, TEXT_PLAIN, false, text, len);
}

void chat_put_sampled(struct chat_text *out, const char *text, size_t len)
{
    put(out, TEXT_PLAIN, true, text, len);
}

/* The bytes of the white space character that begins s, or 0.  Python's str.isspace(). */
static size_t space_at(const unsigned char *s, size_t len)
{
    unsigned c;

    if (!len)
        return 0;
    if (s[0] == ' ' || (s[0] >= 0x09 && s[0] <= 0x0d) || (s[0] >= 0x1c && s[0] <= 0x1f))
        return 1;
    if (len >= 2 && s[0] == 0xc2 && (s[1] == 0x85 || s[1] == 0xa0))
        return 2;
    if (len < 3 || (s[0] & 0xf0) != 0xe0)
        return 0;
    c = (s[0] & 15u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000 ? 3 : 0;
}

void chat_trim(const char **text, size_t *len)
{
    const unsigned char *s = (const unsigned char *)*text;
    size_t n = *len, step;

    while ((step = space_at(s, n)) != 0) {
        s += step;
        n -= step;
    }
    for (size_t back = 1; back <= 3 && back <= n; ) {
        if (space_at(s + n - back, back) == back) {
            n -= back;
            back = 1;
        } else {
            back++;
        }
    }
    *text = (const char *)s;
    *len = n;
}

const char *chat_role_name(enum chat_role role)
{
    static const char *const name[] = { [CHAT_SYSTEM] = "system", [CHAT_USER] = "user",
                                        [CHAT_ASSISTANT] = "assistant" };

    ASSERT((unsigned)role < sizeof(name) / sizeof(name[0]));
    return name[role];
}

enum err chat_render(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                     const struct chat_options *o, struct chat_text *out)
{
    ASSERT((unsigned)f < CHAT_FORMAT_COUNT);
    if (!formats[f].form)
        return err_set(ERR_ARG, "CHAT-01", "the model's chat format is %s, so a conversation "
                       "cannot be written for it; give the prompt as it is with --raw",
                       formats[f].name);
    formats[f].form->render(f, msg, n_msg, o, out);
    if (out->broken)
        return err_set(ERR_NOMEM, "CHAT-02", "out of memory while writing a conversation of %zu "
                       "messages; close other programs and try again", n_msg);
    return OK;
}

void chat_text_release(struct chat_text *t)
{
    buf_release(&t->text);
    free(t->span);
    *t = (struct chat_text){ 0 };
}
