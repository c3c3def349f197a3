/* prompt.c - writes prompts in a model's own format. */
#include "cmd/prompt.h"

#include "base/term.h"
#include "cmd/cmd_table.h"

#include <string.h>

static void token_text(char *out, size_t cap, const struct tokenizer *t, int32_t id)
{
    size_t n = id >= 0 ? tokenizer_bytes(t, id, true, out, cap - 1) : 0;

    out[n] = '\0';
}

/* --think against what the format can do.  Unset means what the model's own template does by
 * default: thinking only where there is no other way. */
enum err prompt_set_think(struct prompt_style *p, const char *asked)
{
    struct chat_think marks = { 0 };

    if (p->format != CHAT_NONE)
        marks = chat_format_think(p->format, true);
    if (asked && strcmp(asked, "on") != 0 && strcmp(asked, "off") != 0)
        return err_set(ERR_ARG, "RUN-11", "--think %s: choose on or off", asked);
    if (asked && !strcmp(asked, "off") && marks.fixed)
        return err_set(ERR_ARG, "RUN-10", "--think off: a %s model always thinks first; leave it "
                       "out (the thinking is not part of the answer)",
                       chat_format_name(p->format));
    if (asked && !strcmp(asked, "on") && !marks.can)
        term_warn("--think on is not used: this model has no thinking form");
    p->think = marks.can && (marks.fixed || (asked && !strcmp(asked, "on")));
    if (p->format != CHAT_NONE)
        p->marks = chat_format_think(p->format, p->think);
    return OK;
}

enum err prompt_style_read(struct prompt_style *p, const struct loaded *l,
                           const struct opt_set *o)
{
    const struct tokenizer_info *info = tokenizer_info(l->tok);
    const char *why = NULL;

    memset(p, 0, sizeof(*p));
    p->format = chat_format_detect(l->weights, l->tok, &why);
    if (p->format == CHAT_UNKNOWN) {
        term_note("the file's chat template is not one croft knows (%s): the model is given plain "
                  "text, as a base model", why ? why : "no match");
        p->format = CHAT_NONE;
    }
    token_text(p->bos, sizeof(p->bos), l->tok, info->bos);
    token_text(p->eos, sizeof(p->eos), l->tok, info->eos);
    return prompt_set_think(p, opt_text(o, OPT_think));
}

enum err prompt_chat(const struct prompt_style *p, const struct tokenizer *t,
                     const struct chat_msg *msg, size_t n_msg, struct tok_list *ids,
                     unsigned char **kind)
{
    struct chat_options co = { .think = p->think, .add_generation_prompt = true,
                               .bos = p->bos, .eos = p->eos };
    struct chat_text text = { 0 };
    enum err e;

    *kind = NULL;
    e = chat_render(p->format, msg, n_msg, &co, &text);
    if (e == OK)
        e = chat_tokenize(&text, t, ids, kind);
    chat_text_release(&text);
    return e;
}

enum err prompt_raw(const struct tokenizer *t, const char *text, size_t len, enum text_kind kind,
                    struct tok_list *ids)
{
    const struct tokenizer_info *info = tokenizer_info(t);
    enum err e = OK;

    if (info->add_bos && info->bos >= 0)
        e = tok_list_add(ids, info->bos);
    size_t n_bos = ids->n;
    if (e == OK)
        e = tokenizer_encode_text(t, text, len, kind, ids);
    if (e == OK && n_bos && ids->n > n_bos && ids->id[n_bos] == info->bos) {
        memmove(ids->id, ids->id + 1, (ids->n - 1) * sizeof(*ids->id));
        ids->n--;
    }
    return e;
}
