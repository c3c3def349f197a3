/* wire_responses_out.c - the upstream's side of /v1/responses: a request's body.
 *
 * Nothing is stored there unless the client asked for it: the conversation is sent whole. */
#include "wire/put.h"

#include <string.h>

static void put_image(struct buf *out, const struct wire_part *p)
{
    buf_puts(out, "{\"type\":\"input_image\",\"image_url\":");
    wire_put_url(out, p);
    buf_puts(out, ",\"detail\":");
    if (p->detail.at)
        wire_put_arena(out, p->detail);
    else
        buf_puts(out, "\"auto\"");
    buf_puts(out, "}");
}

static void put_part(struct buf *out, const struct wire_part *p)
{
    wire_put_comma(out);
    if (p->kind == WIRE_PART_IMAGE) {
        put_image(out, p);
        return;
    }
    buf_puts(out, "{\"type\":\"input_text\",\"text\":");
    wire_put_arena(out, p->text);
    buf_puts(out, "}");
}

static void put_item(struct buf *out, const char *role, const struct wire_message *m)
{
    wire_put_comma(out);
    buf_printf(out, "{\"type\":\"message\",\"role\":\"%s\",\"content\":[", role);
    for (size_t i = 0; i < m->n_part; i++)
        put_part(out, &m->part[i]);
    buf_puts(out, "]}");
}

/* An assistant's text; one in a list of parts would have to have an id. */
static void put_said(struct buf *out, const struct wire_part *p)
{
    wire_put_comma(out);
    buf_puts(out, p->refusal
             ? "{\"type\":\"message\",\"id\":\"msg_refusal\",\"status\":\"completed\",\"role\":"
               "\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":"
             : "{\"type\":\"message\",\"role\":\"assistant\",\"content\":");
    wire_put_arena(out, p->text);
    buf_puts(out, p->refusal ? "}]}" : "}");
}

/* Reasoning goes back to who encrypted it, or not at all. */
static void put_reasoning(struct wire_writer *w, const struct wire_part *p)
{
    struct buf *out = w->out;

    if (p->sealed != WIRE_SEAL_ENCRYPTED)
        return;
    wire_put_comma(out);
    buf_puts(out, "{\"type\":\"reasoning\",\"summary\":[");
    if (p->text.len) {
        buf_puts(out, "{\"type\":\"summary_text\",\"text\":");
        wire_put_arena(out, p->text);
        buf_puts(out, "}");
    }
    buf_puts(out, "]");
    wire_put_field(w, "id", p->item);
    wire_put_field(w, "encrypted_content", p->seal);
    buf_puts(out, "}");
}

static void put_call(struct buf *out, const struct wire_part *p)
{
    wire_put_comma(out);
    buf_puts(out, "{\"type\":\"function_call\",\"call_id\":");
    wire_put_arena(out, p->id);
    buf_puts(out, ",\"name\":");
    wire_put_arena(out, p->name);
    buf_puts(out, ",\"arguments\":");
    if (p->text.len)
        wire_put_arena(out, p->text);
    else
        buf_puts(out, "\"{}\"");
    buf_puts(out, "}");
}

static void put_turn(struct wire_writer *w, const struct wire_message *m)
{
    for (size_t i = 0; i < m->n_part; i++) {
        const struct wire_part *p = &m->part[i];
        if (p->kind == WIRE_PART_THINK)
            put_reasoning(w, p);
        else if (p->kind == WIRE_PART_CALL)
            put_call(w->out, p);
        else if (p->kind == WIRE_PART_TEXT)
            put_said(w->out, p);
    }
}

static void put_output(struct buf *out, const struct wire_message *m)
{
    wire_put_comma(out);
    buf_puts(out, "{\"type\":\"function_call_output\",\"call_id\":");
    wire_put_arena(out, m->call_id);
    buf_puts(out, ",\"output\":");
    if (!wire_count_parts(m, WIRE_PART_IMAGE) && m->n_part <= 1) {
        wire_put_texts(out, m, WIRE_PART_TEXT);
    } else {
        buf_puts(out, "[");
        for (size_t i = 0; i < m->n_part; i++)
            put_part(out, &m->part[i]);
        buf_puts(out, "]");
    }
    buf_puts(out, "}");
}

static void put_input(struct wire_writer *w)
{
    static const char *const roles[] = { [WIRE_SYSTEM] = "system", [WIRE_DEVELOPER] = "developer",
                                         [WIRE_USER] = "user" };

    wire_put_key(w->out, "input");
    buf_puts(w->out, "[");
    for (size_t i = 0; i < w->r->n_message; i++) {
        const struct wire_message *m = &w->r->message[i];
        if (m->role == WIRE_TOOL)
            put_output(w->out, m);
        else if (m->role == WIRE_ASSISTANT)
            put_turn(w, m);
        else if (m->n_part)
            put_item(w->out, roles[m->role], m);
    }
    buf_puts(w->out, "]");
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
        buf_puts(out, "{\"type\":\"function\",\"name\":");
        wire_put_arena(out, t->name);
        wire_put_field(w, "description", t->description);
        wire_put_raw(out, "parameters", t->schema, "{\"type\":\"object\",\"properties\":{}}");
        buf_puts(out, t->strict == 1 ? ",\"strict\":true}" : ",\"strict\":false}");
    }
    buf_puts(out, "]");
}

static void put_text(struct wire_writer *w)
{
    const struct wire_format *f = &w->r->format;
    struct buf *out = w->out;
    bool verbosity = false;

    for (size_t i = 0; i < w->r->n_extra; i++)
        verbosity = verbosity || !strcmp(w->r->extra[i].name, "verbosity");
    if (f->kind == WIRE_FORMAT_TEXT && !verbosity)
        return;
    wire_put_key(out, "text");
    buf_puts(out, "{");
    if (f->kind == WIRE_FORMAT_JSON)
        buf_puts(out, "\"format\":{\"type\":\"json_object\"}");
    if (f->kind == WIRE_FORMAT_SCHEMA) {
        buf_puts(out, "\"format\":{\"type\":\"json_schema\",\"name\":");
        wire_put_string(out, f->name.at ? f->name.at : "answer", f->name.at ? f->name.len : 6);
        wire_put_field(w, "description", f->description);
        wire_put_raw(out, "schema", f->schema, "{}");
        if (f->strict >= 0)
            buf_puts(out, f->strict ? ",\"strict\":true" : ",\"strict\":false");
        buf_puts(out, "}");
    }
    wire_put_extra(w, "verbosity");
    buf_puts(out, "}");
}

static void put_reasoning_wish(struct wire_writer *w)
{
    const char *effort = wire_effort_word(w->r->effort, w->r->budget);
    bool shown = w->to->thoughts && w->r->effort != WIRE_EFFORT_NONE;

    if (effort || shown) {
        wire_put_key(w->out, "reasoning");
        buf_puts(w->out, "{");
        if (effort)
            buf_printf(w->out, "\"effort\":\"%s\"", effort);
        if (shown)
            wire_put_key(w->out, "summary");
        buf_puts(w->out, shown ? "\"auto\"}" : "}");
    }
    if (shown)
        buf_puts(w->out, ",\"include\":[\"reasoning.encrypted_content\"]");
}

/* The API takes no less than 16. */
static void put_limit(struct wire_writer *w)
{
    bool low = w->r->max_tok != WIRE_ABSENT && w->r->max_tok < 16;

    if (low)
        wire_note(w, "max_tokens");
    wire_put_integer(w->out, "max_output_tokens", low ? 16 : w->r->max_tok);
}

enum err wire_responses_write(struct wire_writer *w)
{
    const struct wire_request *r = w->r;
    struct buf *out = w->out;
    enum err e = wire_check_refs(w);
    bool store = false;

    put_input(w);
    put_limit(w);
    if (r->stream)
        buf_puts(out, ",\"stream\":true");
    wire_put_real(out, "temperature", r->temperature);
    wire_put_real(out, "top_p", r->top_p);
    put_reasoning_wish(w);
    put_tools(w);
    wire_put_choice(w, "{\"type\":\"function\",\"name\":", "}");
    put_text(w);
    wire_put_field(w, "user", r->user);
    wire_put_field(w, "prompt_cache_key", r->cache_key);
    wire_put_meta(w);
    wire_put_extra(w, "prompt_cache_retention");
    wire_put_extra(w, "safety_identifier");
    wire_put_extra(w, "service_tier");
    for (size_t i = 0; i < r->n_extra; i++)
        store = store || !strcmp(r->extra[i].name, "store");
    if (store)
        wire_put_extra(w, "store");
    else
        buf_puts(out, ",\"store\":false");
    return e;
}
