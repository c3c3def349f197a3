/* chat_template.c - conversations written by the file's own template, interpreted (jinja.h).
 *
 * The context has what Hugging Face's apply_chat_template() gives: messages, tools (none when
 * there are none), add_generation_prompt, bos_token, eos_token, and enable_thinking with its
 * other name `thinking`.  BOS and EOS are control text; all else in the context is not.
 *
 * Templates want calls in different shapes: arguments as a text or as an object, content as ""
 * or as none beside a call.  chat_template_learn() finds the first shape that comes out whole.
 */
#include "text/chat_form.h"

#include <stdlib.h>
#include <string.h>

#define THINK_OPEN "<think>"
#define THINK_CLOSE "</think>"

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "CHAT-32", "out of memory while writing a conversation; close other "
                   "programs and try again");
}

/* --- the context ------------------------------------------------------------------------------ */

/* Take `value` under `key`; NULL marks *ok. */
static void put(json_t *o, const char *key, json_t *value, bool *ok)
{
    if (!value || json_object_set_new(o, key, value))
        *ok = false;
}

static json_t *text_json(const char *text, size_t len)
{
    return json_stringn(len ? text : "", len);
}

static json_t *borrowed(const json_t *v)
{
    return json_incref((json_t *)(uintptr_t)v);
}

/* A copy of an object, its members shared; jansson does not say when it has lost one of them. */
static json_t *copy_object(const json_t *o)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)o);

    if (json_object_size(copy) == json_object_size(o))
        return copy;
    json_decref(copy);
    return NULL;
}

/* One call, its arguments in the shape that the template wants. */
static json_t *call_json(const struct chat *c, const json_t *given)
{
    json_t *call = copy_object(given);
    json_t *f = copy_object(json_object_get(call, "function"));
    struct chat_call read;
    struct buf text = { 0 };
    bool ok = call && f;

    chat_call_read(&read, given);
    ok = ok && !read.lost;
    if (ok && c->args_text && json_is_object(read.given)) {
        jinja_dumps(&text, read.given, 0);
        put(f, "arguments", text.broken ? NULL : text_json(buf_text(&text), text.len), &ok);
    } else if (ok && !c->args_text && read.parsed) {
        put(f, "arguments", borrowed(read.parsed), &ok);
    }
    if (ok)
        put(call, "function", f, &ok);
    else
        json_decref(f);
    buf_release(&text);
    chat_call_release(&read);
    if (!ok) {
        json_decref(call);
        return NULL;
    }
    return call;
}

static json_t *calls_json(const struct chat *c, const json_t *calls)
{
    json_t *list = json_array(), *call;
    size_t i;

    json_array_foreach(calls, i, call) {
        if (!list || json_array_append_new(list, call_json(c, call))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Thinking that stands in an answer's text goes where the template looks for it. */
static void split_reasoning(struct chat_msg *m)
{
    const size_t n = sizeof(THINK_CLOSE) - 1;
    const char *close = m->len ? memmem(m->text, m->len, THINK_CLOSE, n) : NULL;
    const char *begin = m->text;
    size_t len;

    if (m->reasoning || !close)
        return;
    len = (size_t)(close - m->text);
    m->text = close + n;
    m->len -= len + n;
    chat_trim(&begin, &len);
    if (len >= n - 1 && memcmp(begin, THINK_OPEN, n - 1) == 0) {
        begin += n - 1;
        len -= n - 1;
    }
    chat_trim(&begin, &len);
    chat_cut_front(&m->text, &m->len, '\n');
    m->reasoning = begin;
    m->reasoning_len = len;
}

static json_t *message_json(const struct chat *c, struct chat_msg m)
{
    json_t *o = json_object();
    bool ok = o != NULL, calls = chat_n_call(&m) > 0;

    if (!ok)
        return NULL;
    if (m.role == CHAT_ASSISTANT && c->splits_reasoning)
        split_reasoning(&m);
    put(o, "role", json_string(m.role == CHAT_DEVELOPER && c->has_developer ? "developer"
                               : chat_role_name(m.role)), &ok);
    put(o, "content", calls && !m.len && c->content_null ? json_null() : text_json(m.text, m.len),
        &ok);
    if (m.reasoning)
        put(o, "reasoning_content", text_json(m.reasoning, m.reasoning_len), &ok);
    if (calls)
        put(o, "tool_calls", calls_json(c, m.calls), &ok);
    if (m.name)
        put(o, "name", json_string(m.name), &ok);
    if (m.call_id)
        put(o, "tool_call_id", json_string(m.call_id), &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static enum err put_messages(const struct chat *c, const struct chat_job *j, json_t *context)
{
    json_t *list = json_array();

    if (!list || json_object_set_new(context, "messages", list))
        return no_memory();
    for (size_t i = 0; i < j->n_msg; i++)
        if (json_array_append_new(list, message_json(c, j->msg[i])))
            return no_memory();
    return OK;
}

/* Variables of the caller; those that are ours are not theirs to set. */
static enum err put_vars(const json_t *vars, json_t *context)
{
    static const char *const ours[] = { "messages", "tools", "add_generation_prompt", "bos_token",
                                        "eos_token", "enable_thinking", "thinking" };
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)vars, key, value) {
        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
            if (strcmp(key, ours[i]) == 0)
                return err_set(ERR_ARG, "CHAT-34", "the template's variable \"%s\" is set by this "
                               "program; leave it out", key);
        if (json_object_set(context, key, value))
            return no_memory();
    }
    return OK;
}

static enum err make_context(const struct chat *c, const struct chat_job *j, enum chat_ask ask,
                             json_t **out)
{
    json_t *context = json_object();
    bool ok = context != NULL;
    enum err e = ok ? put_vars(j->o->vars, context) : no_memory();

    if (!e)
        e = put_messages(c, j, context);
    if (!e) {
        put(context, "tools", json_array_size(j->o->tools) ? borrowed(j->o->tools) : json_null(),
            &ok);
        put(context, "add_generation_prompt", json_boolean(j->o->add_generation_prompt), &ok);
        put(context, "bos_token", json_string(c->bos), &ok);
        put(context, "eos_token", json_string(c->eos), &ok);
        if (ask != CHAT_ASK_DEFAULT) {
            put(context, "enable_thinking", json_boolean(ask == CHAT_ASK_ON), &ok);
            put(context, "thinking", json_boolean(ask == CHAT_ASK_ON), &ok);
        }
        if (j->date)
            put(context, "date_string", json_string(j->date), &ok);
        e = ok ? OK : no_memory();
    }
    if (e)
        json_decref(context);
    else
        *out = context;
    return e;
}

/* The marks as spans.  Of what a model wrote, JSON's own signs and numbers come without a mark:
 * what touches sampled text with no control text between is of one piece with it. */
static void put_marked(const struct jinja_out *text, struct chat_text *out)
{
    const char *mark = text->mark.data;

    for (size_t i = 0, n; i < text->text.len; i += n) {
        bool control = mark[i] == JINJA_CONTROL, sampled = mark[i] == JINJA_SAMPLED;

        for (n = 1; i + n < text->text.len && (mark[i + n] == JINJA_CONTROL) == control; n++)
            sampled = sampled || mark[i + n] == JINJA_SAMPLED;
        chat_put(out, control ? TEXT_CONTROL : TEXT_PLAIN, sampled, text->text.data + i, n);
    }
}

enum err chat_template_render(const struct chat *c, const struct chat_job *j, enum chat_ask ask,
                              struct chat_text *out)
{
    static const char *const control[] = { "bos_token", "eos_token" };
    const struct jinja_options jo = { .control = control, .n_control = 2, .date = j->o->date };
    struct jinja_out text = { 0 };
    json_t *context = NULL;
    enum err e = make_context(c, j, ask, &context);

    if (e)
        return e;
    e = jinja_render(c->jinja, context, &jo, &text);
    json_decref(context);
    if (!e)
        put_marked(&text, out);
    jinja_out_release(&text);
    if (!e && out->broken)
        e = no_memory();
    if (e)
        chat_text_release(out);
    return e;
}

/* --- what probes tell ------------------------------------------------------------------------- */

static bool holds(const struct chat_text *t, const char *text)
{
    return chat_tmpl_has((struct chat_tmpl){ t->text.data, t->text.len }, text);
}

/* Render a probe; *fine is whether the template took it.  Errors: NOMEM. */
static enum err try_render(const struct chat *c, const struct chat_msg *msg, size_t n_msg,
                           const json_t *tools, enum chat_ask ask, struct chat_text *out,
                           bool *fine)
{
    const struct chat_options o = { .add_generation_prompt = true, .date = "2024-07-26",
                                    .tools = tools };
    const struct chat_job j = { .msg = msg, .n_msg = n_msg, .o = &o, .bos = c->bos, .eos = c->eos };
    enum err e = chat_template_render(c, &j, ask, out);

    *fine = e == OK;
    return e == ERR_NOMEM ? e : OK;
}

/* Does the text end with this, white space aside? */
static bool ends_with(const struct chat_text *t, const char *end)
{
    const char *text = t->text.data;
    size_t len = t->text.len, n = strlen(end);

    chat_trim(&text, &len);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

static bool equal(const struct chat_text *a, const struct chat_text *b)
{
    return a->text.len == b->text.len &&
           (!a->text.len || memcmp(a->text.data, b->text.data, a->text.len) == 0);
}

static enum err learn_thinking(struct chat *c, struct chat_tmpl t)
{
    static const struct chat_msg question = { .role = CHAT_USER, .text = "probe q", .len = 7 };
    struct chat_text r[3] = { { .n_span = 0 } };
    bool fine[3] = { false };
    struct chat_think th = { .can = false };
    enum err e = OK;

    for (int ask = CHAT_ASK_DEFAULT; !e && ask <= CHAT_ASK_ON; ask++)
        e = try_render(c, &question, 1, NULL, (enum chat_ask)ask, &r[ask], &fine[ask]);
    if (!e && fine[0] && fine[1] && fine[2]) {
        bool honoured = !equal(&r[CHAT_ASK_OFF], &r[CHAT_ASK_ON]);
        bool opens = ends_with(&r[CHAT_ASK_ON], THINK_OPEN);

        c->mute = !holds(&r[CHAT_ASK_DEFAULT], "probe q");
        if (chat_tmpl_has(t, THINK_OPEN) || chat_tmpl_has(t, THINK_CLOSE)) {
            th = (struct chat_think){ .can = honoured || opens, .fixed = opens && !honoured,
                                      .open = THINK_OPEN, .close = THINK_CLOSE };
            th.by_default = th.can && equal(&r[CHAT_ASK_DEFAULT], &r[CHAT_ASK_ON]);
        }
        c->think[0] = c->think[1] = th;
        c->think[0].starts_open = th.open && ends_with(&r[CHAT_ASK_OFF], THINK_OPEN);
        c->think[1].starts_open = th.open && opens;
    }
    for (int i = 0; i < 3; i++)
        chat_text_release(&r[i]);
    return e;
}

/* The first shape of a call in which name, arguments and result come out whole, and no content is
 * not written as "None". */
static enum err learn_calls(struct chat *c, const struct chat_probe *p)
{
    enum err e = OK;

    for (int shape = 0; !e && !c->calls && shape < 8; shape++) {
        struct chat_text r = { 0 };
        bool system = shape >= 4;       /* some templates take no system message */

        c->content_null = shape % 2 == 0;
        c->args_text = shape / 2 % 2 == 0;
        e = try_render(c, p->msg + !system, system ? 4 : 3, NULL, CHAT_ASK_OFF, &r, &c->calls);
        c->calls = c->calls && holds(&r, CHAT_PROBE_TOOL) && holds(&r, CHAT_PROBE_RESULT) &&
                   holds(&r, c->args_text ? CHAT_PROBE_ARGS : "probe_key") &&
                   !holds(&r, "\\\"probe_key") && !(c->content_null && holds(&r, "None"));
        chat_text_release(&r);
    }
    return e;
}

static enum err learn_tools(struct chat *c, const struct chat_probe *p)
{
    struct chat_text r = { 0 };
    bool fine = false;
    enum err e = try_render(c, p->msg + 1, 1, p->tools, CHAT_ASK_OFF, &r, &fine);

    c->tools = fine && holds(&r, CHAT_PROBE_TOOL);
    chat_text_release(&r);
    return e;
}

enum err chat_template_learn(struct chat *c, struct chat_tmpl t)
{
    struct chat_probe p = { .tools = NULL };
    enum err e;

    c->has_developer = chat_tmpl_has(t, "developer");
    c->splits_reasoning = chat_tmpl_has(t, "reasoning_content") &&
                          !chat_tmpl_has(t, "split('" THINK_CLOSE "')") &&
                          !chat_tmpl_has(t, "split(\"" THINK_CLOSE "\")");
    e = learn_thinking(c, t);
    if (!e)
        e = chat_probe_make(&p);
    if (!e)
        e = learn_calls(c, &p);
    if (!e)
        e = learn_tools(c, &p);
    chat_probe_release(&p);
    return e;
}
