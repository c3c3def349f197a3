/* prompt.c - messages and prompts of a request to the tokens a model reads.
 *
 * A token's kind follows from the request alone: assistant turns count as sampled, whoever wrote
 * them, and all else as prompt. */
#include "serve/form.h"

#include <stdlib.h>
#include <string.h>

static const enum chat_role roles[] = {
    [WIRE_SYSTEM] = CHAT_SYSTEM, [WIRE_DEVELOPER] = CHAT_DEVELOPER, [WIRE_USER] = CHAT_USER,
    [WIRE_ASSISTANT] = CHAT_ASSISTANT, [WIRE_TOOL] = CHAT_TOOL,
};

/* What the messages point into beside the request. */
struct lent { struct buf *text; json_t **calls; size_t n; };

static void lent_release(struct lent *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->text) {
            buf_release(&l->text[2 * i]);
            buf_release(&l->text[2 * i + 1]);
        }
        if (l->calls)
            json_decref(l->calls[i]);
    }
    free(l->text);
    free(l->calls);
}

static json_t *call_json(const struct wire_part *p)
{
    return json_pack("{s:s%, s:s, s:{s:s%, s:s%}}", "id", p->id.at ? p->id.at : "", p->id.len,
                     "type", "function", "function", "name", p->name.at ? p->name.at : "",
                     p->name.len, "arguments", p->text.at ? p->text.at : "", p->text.len);
}

static bool add_part(const struct wire_part *p, struct buf *text, struct buf *think,
                     json_t **calls)
{
    if (p->kind != WIRE_PART_CALL) {
        buf_add(p->kind == WIRE_PART_TEXT ? text : think, p->text.at, p->text.len);
        return true;
    }
    if (!*calls)
        *calls = json_array();
    return *calls && !json_array_append_new(*calls, call_json(p));
}

/* The function whose call a tool's message answers. */
static const char *call_name(const struct wire_request *r, size_t i)
{
    const struct wire_text *id = &r->message[i].call_id;

    for (size_t k = i; id->at && k-- > 0;)
        for (size_t p = 0; p < r->message[k].n_part; p++) {
            const struct wire_part *part = &r->message[k].part[p];
            if (part->kind == WIRE_PART_CALL && part->id.len == id->len &&
                !memcmp(part->id.at, id->at, id->len))
                return part->name.at;
        }
    return NULL;
}

static enum err take_message(struct chat_msg *to, struct lent *l, const struct wire_request *r,
                             size_t i)
{
    const struct wire_message *m = &r->message[i];
    struct buf *text = &l->text[2 * i], *think = &l->text[2 * i + 1];
    bool ok = true;

    for (size_t p = 0; p < m->n_part && ok; p++)
        ok = add_part(&m->part[p], text, think, &l->calls[i]);
    *to = (struct chat_msg){ .role = roles[m->role], .text = buf_text(text), .len = text->len,
                             .calls = l->calls[i] };
    if (think->len) {
        to->reasoning = buf_text(think);
        to->reasoning_len = think->len;
    }
    if (m->role == WIRE_TOOL) {
        to->name = call_name(r, i);
        to->call_id = m->call_id.at;
    }
    if (!ok || text->broken || think->broken)
        return err_set(ERR_NOMEM, "SERVE-04", "no memory for the messages");
    return OK;
}

static enum err choose_think(const struct serve_model *m, const struct wire_request *r, bool *on,
                             struct wire_error *why)
{
    struct chat_think marks = chat_think(m->chat, true);
    bool asked = r->effort == WIRE_EFFORT_UNSET ? marks.by_default : r->effort != WIRE_EFFORT_NONE;

    if (marks.fixed && r->effort == WIRE_EFFORT_NONE) {
        wire_error_set(why, WIRE_E_UNSUPPORTED_VALUE, "reasoning_effort", "This model always "
                       "thinks first; its thinking comes apart from the answer.");
        return err_set(ERR_ARG, "SERVE-05", "the model always thinks");
    }
    *on = marks.can && (marks.fixed || asked);
    return OK;
}

enum err prompt_render(const struct serve_model *m, const struct wire_request *r,
                       struct chat_text *out, struct chat_think *think, struct wire_error *why)
{
    struct lent l = { .n = r->n_message };
    struct chat_msg *msg = NULL;
    struct chat_options co = { .add_generation_prompt = true, .date = m->day };
    enum err e;

    if (!m->chat) {
        wire_error_set(why, WIRE_E_UNSUPPORTED, "messages", "This model has no chat format; send "
                       "a prompt to /v1/completions.");
        return err_set(ERR_ARG, "SERVE-06", "the model has no chat format");
    }
    if ((e = choose_think(m, r, &co.think, why)))
        return e;
    *think = chat_think(m->chat, co.think);
    l.text = calloc(2 * l.n + 1, sizeof(*l.text));
    l.calls = calloc(l.n + 1, sizeof(json_t *));
    msg = calloc(l.n + 1, sizeof(*msg));
    if (!l.text || !l.calls || !msg)
        e = err_set(ERR_NOMEM, "SERVE-07", "no memory for %zu messages", l.n);
    for (size_t i = 0; i < l.n && e == OK; i++)
        e = take_message(&msg[i], &l, r, i);
    if (e == OK)
        e = chat_render(m->chat, msg, l.n, &co, out);
    lent_release(&l);
    free(msg);
    if (e != OK)
        refuse_why(why, e, "messages");
    return e;
}

enum err prompt_chat_ids(const struct serve_model *m, const struct wire_request *r,
                         struct asked *a, struct chat_think *think, struct wire_error *why)
{
    struct chat_text text = { 0 };
    enum err e = prompt_render(m, r, &text, think, why);

    if (e == OK && (e = chat_tokenize(&text, m->tok, &a->ids, &a->kind)))
        refuse_why(why, e, "messages");
    chat_text_release(&text);
    return e;
}

static enum err take_ids(const struct serve_model *m, const struct wire_prompt *p,
                         const char *param, struct asked *a, struct wire_error *why)
{
    enum err e = OK;

    for (size_t i = 0; i < p->n_id && e == OK; i++) {
        if (p->id[i] >= m->n_vocab) {
            wire_error_set(why, WIRE_E_VALUE, param, "Invalid '%s': the vocabulary has no token "
                           "%d; it has %d.", param, p->id[i], m->n_vocab);
            return err_set(ERR_ARG, "SERVE-08", "no such token");
        }
        e = tok_list_add(&a->ids, p->id[i]);
    }
    if (e != OK)
        refuse_why(why, e, param);
    return e;
}

/* What the vocabularies of models that fill in call their marks: before, behind, the answer. */
static const char *const fim_marks[][3] = {
    { "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>" },               /* Qwen */
    { "<fim_prefix>", "<fim_suffix>", "<fim_middle>" },                     /* StarCoder */
    { "<fim-prefix>", "<fim-suffix>", "<fim-middle>" },                     /* SantaCoder */
    { "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>" },       /* DeepSeek */
    { "\xe2\x96\x81<PRE>", "\xe2\x96\x81<SUF>", "\xe2\x96\x81<MID>" },   /* Code Llama */
};

bool prompt_fim(const struct tokenizer *t, struct prompt_fim *out)
{
    for (size_t i = 0; i < sizeof(fim_marks) / sizeof(*fim_marks); i++) {
        *out = (struct prompt_fim){ tokenizer_find_added(t, fim_marks[i][0]),
                                    tokenizer_find_added(t, fim_marks[i][1]),
                                    tokenizer_find_added(t, fim_marks[i][2]) };
        if (out->prefix >= 0 && out->suffix >= 0 && out->middle >= 0)
            return true;
    }
    return false;
}

static enum err add_mark(struct tok_list *ids, int32_t mark, bool wanted)
{
    return wanted ? tok_list_add(ids, mark) : OK;
}

/* The suffix behind its mark, then the mark that asks for what stands between. */
static enum err take_suffix(const struct serve_model *m, const struct wire_text *suffix,
                            const struct prompt_fim *fim, struct asked *a, struct wire_error *why)
{
    enum err e = tok_list_add(&a->ids, fim->suffix);

    if (e == OK)
        e = tokenizer_encode_text(m->tok, suffix->at, suffix->len, TEXT_PLAIN, &a->ids);
    if (e == OK)
        e = tok_list_add(&a->ids, fim->middle);
    if (e != OK)
        refuse_why(why, e, "suffix");
    return e;
}

enum err prompt_ids(const struct serve_model *m, const struct wire_prompt *p,
                    const struct wire_text *suffix, const char *param, struct asked *a,
                    struct wire_error *why)
{
    struct prompt_fim fim = { -1, -1, -1 };
    bool fills = suffix->at && prompt_fim(m->tok, &fim);
    const struct tokenizer_info *info = tokenizer_info(m->tok);
    int32_t begin = info->bos >= 0 ? info->bos : info->eos;
    enum err e = OK;

    if (p->id) {
        e = add_mark(&a->ids, fim.prefix, fills);
        if (e == OK)
            e = take_ids(m, p, param, a, why);
        return e == OK && fills ? take_suffix(m, suffix, &fim, a, why) : e;
    }
    if (begin >= 0 && ((info->add_bos && info->bos >= 0) || (!p->text.len && !fills)))
        e = tok_list_add(&a->ids, begin);
    if (e == OK)
        e = add_mark(&a->ids, fim.prefix, fills);
    if (e == OK && p->text.len)
        e = tokenizer_encode_text(m->tok, p->text.at, p->text.len, TEXT_PLAIN, &a->ids);
    if (e == OK && !a->ids.n)
        e = err_set(ERR_ARG, "SERVE-09", "it has no tokens");
    if (e != OK)
        refuse_why(why, e, param);
    return e == OK && fills ? take_suffix(m, suffix, &fim, a, why) : e;
}
