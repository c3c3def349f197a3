/* wire_chat_out.c - the upstream's side of /v1/chat/completions: a request's body. */
#include "wire/put.h"

#include <string.h>

static void put_part(struct buf *out, const struct wire_part *p)
{
    wire_put_comma(out);
    if (p->kind == WIRE_PART_IMAGE) {
        buf_puts(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
        wire_put_url(out, p);
        if (p->detail.at) {
            wire_put_key(out, "detail");
            wire_put_arena(out, p->detail);
        }
        buf_puts(out, "}}");
        return;
    }
    buf_puts(out, p->refusal ? "{\"type\":\"refusal\",\"refusal\":"
                             : "{\"type\":\"text\",\"text\":");
    wire_put_arena(out, p->text);
    buf_puts(out, "}");
}

/* A text alone is a string, as it is everywhere else. */
static void put_content(struct buf *out, const struct wire_message *m)
{
    size_t n_text = wire_count_parts(m, WIRE_PART_TEXT);
    size_t n = n_text + wire_count_parts(m, WIRE_PART_IMAGE);
    bool refusal = false;

    for (size_t i = 0; i < m->n_part; i++)
        refusal = refusal || m->part[i].refusal;
    wire_put_key(out, "content");
    if (!n && m->role == WIRE_ASSISTANT && wire_count_parts(m, WIRE_PART_CALL)) {
        buf_puts(out, "null");
    } else if (n == n_text && n <= 1 && !refusal) {
        wire_put_texts(out, m, WIRE_PART_TEXT);
    } else {
        buf_puts(out, "[");
        for (size_t i = 0; i < m->n_part; i++)
            if (m->part[i].kind == WIRE_PART_TEXT || m->part[i].kind == WIRE_PART_IMAGE)
                put_part(out, &m->part[i]);
        buf_puts(out, "]");
    }
}

static void put_calls(struct buf *out, const struct wire_message *m)
{
    if (!wire_count_parts(m, WIRE_PART_CALL))
        return;
    wire_put_key(out, "tool_calls");
    buf_puts(out, "[");
    for (size_t i = 0; i < m->n_part; i++) {
        const struct wire_part *p = &m->part[i];
        if (p->kind != WIRE_PART_CALL)
            continue;
        wire_put_comma(out);
        buf_puts(out, "{\"id\":");
        wire_put_arena(out, p->id);
        buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        wire_put_arena(out, p->name);
        buf_puts(out, ",\"arguments\":");
        wire_put_arena(out, p->text);
        buf_puts(out, "}}");
    }
    buf_puts(out, "]");
}

/* An assistant's message of which only thinking, or what is kept elsewhere, is left says nothing:
 * the API wants content or calls. */
static bool is_empty(const struct wire_message *m)
{
    bool says = !m->n_part || m->role != WIRE_ASSISTANT;

    for (size_t i = 0; i < m->n_part && !says; i++)
        says = m->part[i].kind != WIRE_PART_THINK && m->part[i].kind != WIRE_PART_REF;
    return !says;
}

static bool has_thought(const struct wire_message *m)
{
    for (size_t i = 0; i < m->n_part; i++)
        if (m->part[i].kind == WIRE_PART_THINK && m->part[i].text.len)
            return true;
    return false;
}

static void put_message(struct wire_writer *w, const struct wire_message *m)
{
    static const char *const roles[] = {
        [WIRE_SYSTEM] = "system", [WIRE_DEVELOPER] = "developer", [WIRE_USER] = "user",
        [WIRE_ASSISTANT] = "assistant", [WIRE_TOOL] = "tool" };
    struct buf *out = w->out;

    if (has_thought(m) && (!w->to->thoughts || is_empty(m)))
        wire_note(w, "reasoning");
    if (is_empty(m))
        return;
    wire_put_comma(out);
    buf_printf(out, "{\"role\":\"%s\"", roles[m->role]);
    if (m->role == WIRE_TOOL) {
        wire_put_key(out, "tool_call_id");
        wire_put_arena(out, m->call_id);
    }
    put_content(out, m);
    if (m->role == WIRE_ASSISTANT) {
        if (w->to->thoughts && has_thought(m)) {
            wire_put_key(out, "reasoning_content");
            wire_put_texts(out, m, WIRE_PART_THINK);
        }
        put_calls(out, m);
    }
    buf_puts(out, "}");
}

static void put_tools(struct wire_writer *w)
{
    struct buf *out = w->out;

    if (!w->r->n_tool)
        return;
    wire_put_key(out, "tools");
    buf_puts(out, "[");
    for (size_t i = 0; i < w->r->n_tool; i++) {
        const struct wire_tool *t = &w->r->tool[i];
        wire_put_comma(out);
        buf_puts(out, "{\"type\":\"function\",\"function\":{\"name\":");
        wire_put_arena(out, t->name);
        wire_put_field(w, "description", t->description);
        if (t->schema.at)
            wire_put_raw(out, "parameters", t->schema, "{}");
        if (t->strict >= 0)
            buf_puts(out, t->strict ? ",\"strict\":true" : ",\"strict\":false");
        buf_puts(out, "}}");
    }
    buf_puts(out, "]");
}

static void put_format(struct wire_writer *w)
{
    const struct wire_format *f = &w->r->format;
    struct buf *out = w->out;

    if (f->kind == WIRE_FORMAT_TEXT)
        return;
    wire_put_key(out, "response_format");
    if (f->kind == WIRE_FORMAT_JSON) {
        buf_puts(out, "{\"type\":\"json_object\"}");
        return;
    }
    buf_puts(out, "{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
    wire_put_string(out, f->name.at ? f->name.at : "answer", f->name.at ? f->name.len : 6);
    wire_put_field(w, "description", f->description);
    wire_put_raw(out, "schema", f->schema, "{}");
    if (f->strict >= 0 || w->r->dialect == &wire_dialect_messages)
        buf_puts(out, f->strict ? ",\"strict\":true" : ",\"strict\":false");
    buf_puts(out, "}}");
}

enum err wire_chat_write(struct wire_writer *w)
{
    const struct wire_request *r = w->r;
    const char *effort = wire_effort_word(r->effort, r->budget);
    struct buf *out = w->out;
    enum err e = wire_check_refs(w);

    wire_put_key(out, "messages");
    buf_puts(out, "[");
    for (size_t i = 0; i < r->n_message; i++)
        put_message(w, &r->message[i]);
    buf_puts(out, "]");
    wire_put_integer(out, "max_completion_tokens", r->max_tok);
    if (r->stream)
        buf_puts(out, r->include_usage || w->to->usage
                 ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
                 : ",\"stream\":true");
    wire_put_real(out, "temperature", r->temperature);
    wire_put_real(out, "top_p", r->top_p);
    if (r->n_stop) {
        wire_put_key(out, "stop");
        buf_puts(out, "[");
        for (size_t i = 0; i < r->n_stop; i++) {
            wire_put_comma(out);
            wire_put_arena(out, r->stop[i]);
        }
        buf_puts(out, "]");
    }
    if (effort) {
        wire_put_key(out, "reasoning_effort");
        wire_put_text(out, effort);
    }
    put_tools(w);
    wire_put_choice(w, "{\"type\":\"function\",\"function\":{\"name\":", "}}");
    put_format(w);
    wire_put_field(w, "user", r->user);
    wire_put_field(w, "prompt_cache_key", r->cache_key);
    wire_put_meta(w);
    wire_put_extra(w, "prompt_cache_retention");
    wire_put_extra(w, "safety_identifier");
    wire_put_extra(w, "service_tier");
    for (size_t i = 0; i < r->n_extra; i++)     /* false is what it is there anyway */
        if (!strcmp(r->extra[i].name, "store") && strcmp(r->extra[i].json.at, "false"))
            wire_put_extra(w, "store");
    wire_put_extra(w, "verbosity");
    return e;
}
