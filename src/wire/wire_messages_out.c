/* wire_messages_out.c - the upstream's side of /v1/messages: a request's body. */
#include "wire/put.h"

#include <math.h>
#include <string.h>

enum { MAX_TOKENS = 4096 };             /* where nobody says how many: the API demands a number */

static void put_cache(struct buf *out, enum wire_cache c)
{
    if (c != WIRE_CACHE_NONE)
        buf_puts(out, c == WIRE_CACHE_HOUR
                 ? ",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"
                 : ",\"cache_control\":{\"type\":\"ephemeral\"}");
}

/* Ids here are letters, digits, '_' and '-'; other dialects have others. */
static void put_id(struct buf *out, struct wire_text id)
{
    buf_puts(out, "\"");
    for (size_t i = 0; i < id.len; i++) {
        char c = id.at[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        buf_add(out, good ? &c : "_", 1);
    }
    buf_puts(out, "\"");
}

static void put_image(struct buf *out, const struct wire_part *p)
{
    buf_puts(out, "{\"type\":\"image\",\"source\":{\"type\":");
    if (p->mime.at) {
        buf_puts(out, "\"base64\",\"media_type\":");
        wire_put_arena(out, p->mime);
        buf_puts(out, ",\"data\":");
    } else {
        buf_puts(out, "\"url\",\"url\":");
    }
    wire_put_arena(out, p->text);
    buf_puts(out, "}");
}

/* Thinking goes back to who signed it, or not at all. */
static bool goes(const struct wire_part *p)
{
    return p->kind == WIRE_PART_THINK ? p->sealed == WIRE_SEAL_SIGNATURE ||
                                        p->sealed == WIRE_SEAL_REDACTED
                                      : p->kind != WIRE_PART_REF;
}

static enum err put_part(struct wire_writer *w, const struct wire_part *p)
{
    struct buf *out = w->out;
    enum err e = OK;

    wire_put_comma(out);
    switch (p->kind) {
    case WIRE_PART_IMAGE:
        put_image(out, p);
        break;
    case WIRE_PART_THINK:
        buf_puts(out, p->sealed == WIRE_SEAL_REDACTED
                 ? "{\"type\":\"redacted_thinking\",\"data\":"
                 : "{\"type\":\"thinking\",\"thinking\":");
        if (p->sealed == WIRE_SEAL_SIGNATURE) {
            wire_put_arena(out, p->text);
            buf_puts(out, ",\"signature\":");
        }
        wire_put_arena(out, p->seal);
        break;
    case WIRE_PART_CALL:
        buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
        put_id(out, p->id);
        buf_puts(out, ",\"name\":");
        wire_put_arena(out, p->name);
        buf_puts(out, ",\"input\":");
        e = wire_put_arguments(w, p);
        break;
    default:
        buf_puts(out, "{\"type\":\"text\",\"text\":");
        wire_put_arena(out, p->text);
        break;
    }
    put_cache(out, p->cache);
    buf_puts(out, "}");
    return e;
}

static enum err put_parts(struct wire_writer *w, const struct wire_message *m)
{
    enum err e = OK;

    for (size_t i = 0; i < m->n_part && e == OK; i++)
        if (goes(&m->part[i]))
            e = put_part(w, &m->part[i]);
    return e;
}

static enum err put_result(struct wire_writer *w, const struct wire_message *m)
{
    struct buf *out = w->out;

    wire_put_comma(out);
    buf_puts(out, "{\"type\":\"tool_result\",\"tool_use_id\":");
    put_id(out, m->call_id);
    buf_puts(out, ",\"content\":[");
    enum err e = put_parts(w, m);
    buf_puts(out, m->failed ? "],\"is_error\":true" : "]");
    put_cache(out, m->cache);
    buf_puts(out, "}");
    return e;
}

static bool is_empty(const struct wire_message *m)
{
    for (size_t i = 0; i < m->n_part; i++)
        if (goes(&m->part[i]))
            return false;
    return m->role != WIRE_TOOL;
}

/* Results of one turn belong into one message, with what the user says beside them. */
static bool goes_on(const struct wire_message *before, const struct wire_message *m)
{
    bool user = m->role == WIRE_USER || m->role == WIRE_TOOL;

    return before && user && (before->role == WIRE_USER || before->role == WIRE_TOOL) &&
           (m->joined || (m->role == WIRE_TOOL && before->role == WIRE_TOOL));
}

static size_t n_leading(const struct wire_request *r)
{
    size_t n = 0;

    while (n < r->n_message && (r->message[n].role == WIRE_SYSTEM ||
                                r->message[n].role == WIRE_DEVELOPER))
        n++;
    return n;
}

static enum err put_system(struct wire_writer *w, size_t n)
{
    enum err e = OK;
    size_t n_part = 0;

    for (size_t i = 0; i < n; i++)
        n_part += w->r->message[i].n_part;
    if (!n_part)
        return OK;
    wire_put_key(w->out, "system");
    buf_puts(w->out, "[");
    for (size_t i = 0; i < n && e == OK; i++)
        e = put_parts(w, &w->r->message[i]);
    buf_puts(w->out, "]");
    return e;
}

static enum err put_messages(struct wire_writer *w, size_t from)
{
    static const char *const roles[] = {
        [WIRE_SYSTEM] = "system", [WIRE_DEVELOPER] = "system", [WIRE_USER] = "user",
        [WIRE_ASSISTANT] = "assistant", [WIRE_TOOL] = "user" };
    const struct wire_message *before = NULL;
    struct buf *out = w->out;
    enum err e = OK;

    wire_put_key(out, "messages");
    buf_puts(out, "[");
    for (size_t i = from; i < w->r->n_message && e == OK; i++) {
        const struct wire_message *m = &w->r->message[i];
        if (is_empty(m))                /* the API has no place for one */
            continue;
        if (!goes_on(before, m)) {
            buf_puts(out, before ? "]},{\"role\":" : "{\"role\":");
            wire_put_text(out, roles[m->role]);
            buf_puts(out, ",\"content\":[");
        }
        e = m->role == WIRE_TOOL ? put_result(w, m) : put_parts(w, m);
        before = m;
    }
    buf_puts(out, before ? "]}]" : "]");
    if (!before && e == OK)
        return wire_refuse(w->why, WIRE_E_VALUE, "messages", "Invalid 'messages': they hold "
                           "nothing but system messages.");
    return e;
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
        struct wire_text schema = t->schema.len > 2 ? t->schema : (struct wire_text){ 0 };
        wire_put_comma(out);
        buf_puts(out, "{\"name\":");
        wire_put_arena(out, t->name);
        wire_put_field(w, "description", t->description);
        wire_put_raw(out, "input_schema", schema, "{\"type\":\"object\"}");
        if (t->strict == 1)
            buf_puts(out, ",\"strict\":true");
        put_cache(out, t->cache);
        buf_puts(out, "}");
    }
    buf_puts(out, "]");
}

static void put_choice(struct wire_writer *w)
{
    static const char *const words[] = {
        [WIRE_CHOICE_UNSET] = "auto", [WIRE_CHOICE_AUTO] = "auto", [WIRE_CHOICE_NONE] = "none",
        [WIRE_CHOICE_REQUIRED] = "any", [WIRE_CHOICE_NAMED] = "tool" };
    const struct wire_request *r = w->r;
    bool says = r->parallel != WIRE_ABSENT && r->choice != WIRE_CHOICE_NONE;

    if (!r->n_tool || (r->choice == WIRE_CHOICE_UNSET && !says))
        return;
    wire_put_key(w->out, "tool_choice");
    buf_printf(w->out, "{\"type\":\"%s\"", words[r->choice]);
    if (r->choice == WIRE_CHOICE_NAMED)
        wire_put_field(w, "name", r->choice_name);
    if (says)
        buf_puts(w->out, r->parallel ? ",\"disable_parallel_tool_use\":false"
                                     : ",\"disable_parallel_tool_use\":true");
    buf_puts(w->out, "}");
}

/* A turn that waits for results and whose thinking is lost cannot go on thinking. */
static bool lost_thread(const struct wire_request *r)
{
    size_t i = r->n_message;
    bool call = false, sealed = false;

    while (i > 0 && r->message[i - 1].role != WIRE_ASSISTANT)
        i--;
    if (!i || i == r->n_message || r->message[i].role != WIRE_TOOL)
        return false;
    for (size_t k = 0; k < r->message[i - 1].n_part; k++) {
        const struct wire_part *p = &r->message[i - 1].part[k];
        call = call || p->kind == WIRE_PART_CALL;
        sealed = sealed || (p->kind == WIRE_PART_THINK && goes(p));
    }
    return call && !sealed;
}

/* Gives whether it thinks. */
static bool put_thinking(struct wire_writer *w)
{
    const struct wire_request *r = w->r;
    const char *effort = r->effort == WIRE_EFFORT_MINIMAL  ? "low"
                         : r->effort == WIRE_EFFORT_MAX    ? "max"
                         : r->effort > WIRE_EFFORT_MINIMAL ? wire_effort_word(r->effort, 0) : NULL;
    bool thinks = r->effort != WIRE_EFFORT_UNSET && r->effort != WIRE_EFFORT_NONE;
    bool schema = r->format.kind == WIRE_FORMAT_SCHEMA;

    if (thinks && lost_thread(r)) {
        wire_note(w, "reasoning");
        thinks = false;
    } else if (r->effort != WIRE_EFFORT_UNSET) {
        wire_put_key(w->out, "thinking");
        buf_puts(w->out, thinks ? "{\"type\":\"adaptive\"}" : "{\"type\":\"disabled\"}");
    }
    if (!effort && !schema)
        return thinks;
    wire_put_key(w->out, "output_config");
    buf_puts(w->out, "{");
    if (effort)
        buf_printf(w->out, "\"effort\":\"%s\"", effort);
    if (schema) {
        wire_put_key(w->out, "format");
        buf_puts(w->out, "{\"type\":\"json_schema\"");
        wire_put_raw(w->out, "schema", r->format.schema, "{\"type\":\"object\"}");
        buf_puts(w->out, "}");
    }
    buf_puts(w->out, "}");
    return thinks;
}

/* Who thinks samples by itself: the API refuses these then. */
static void put_sampling(struct wire_writer *w, bool thinks)
{
    const struct wire_request *r = w->r;

    if (thinks) {
        if (!isnan(r->temperature) && r->temperature != 1)
            wire_note(w, "temperature");
        if (!isnan(r->top_p) && r->top_p != 1)
            wire_note(w, "top_p");
        if (r->top_k != WIRE_ABSENT)
            wire_note(w, "top_k");
        return;
    }
    if (r->temperature > 1)
        wire_note(w, "temperature");
    wire_put_real(w->out, "temperature", r->temperature > 1 ? 1 : r->temperature);
    wire_put_real(w->out, "top_p", r->top_p);
    if (r->top_k > 0)
        wire_put_integer(w->out, "top_k", r->top_k);
}

/* How to answer, which has no part in what is counted. */
static void put_manner(struct wire_writer *w, bool thinks)
{
    const struct wire_request *r = w->r;
    struct buf *out = w->out;

    wire_put_integer(out, "max_tokens", r->max_tok != WIRE_ABSENT ? r->max_tok
                                        : w->to->max_tok > 0      ? w->to->max_tok : MAX_TOKENS);
    if (r->stream)
        buf_puts(out, ",\"stream\":true");
    put_sampling(w, thinks);
    if (r->n_stop) {
        wire_put_key(out, "stop_sequences");
        buf_puts(out, "[");
        for (size_t i = 0; i < r->n_stop; i++) {
            wire_put_comma(out);
            wire_put_arena(out, r->stop[i]);
        }
        buf_puts(out, "]");
    }
    if (r->user.at) {
        wire_put_key(out, "metadata");
        buf_puts(out, "{\"user_id\":");
        wire_put_arena(out, r->user);
        buf_puts(out, "}");
    }
}

enum err wire_messages_write(struct wire_writer *w)
{
    size_t n = n_leading(w->r);
    enum err e = wire_check_refs(w);

    if (e == OK)
        e = put_system(w, n);
    if (e == OK)
        e = put_messages(w, n);
    put_tools(w);
    put_choice(w);
    bool thinks = put_thinking(w);
    if (!w->to->count)
        put_manner(w, thinks);
    return e;
}
