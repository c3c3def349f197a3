/* wire_carry.c - a request on its way to another dialect: what carry.def says of each field, the
 * notes of what was left out, and a body that stays in its dialect. */
#include "wire/put.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

#define CARRIED WIRE_CARRIED
#define KEPT    WIRE_KEPT
#define DROPPED WIRE_DROPPED
#define REFUSED WIRE_REFUSED

static const struct wire_carry table[] = {
#define CARRY(from, field, chat, messages, responses, with, without) \
    { false, &wire_dialect_##from, field, { chat, messages, responses }, with, without },
#define REPLY(from, field, chat, messages, responses, with, without) \
    { true, &wire_dialect_##from, field, { chat, messages, responses }, with, without },
#include "wire/carry.def"
#undef CARRY
#undef REPLY
};

enum { N_CARRY = sizeof(table) / sizeof(*table) };

const struct wire_carry *wire_carry_at(size_t i)
{
    return i < N_CARRY ? &table[i] : NULL;
}

enum wire_verdict wire_carry_to(const struct wire_carry *c, const struct wire_dialect *to)
{
    return c->to[to == &wire_dialect_chat ? 0 : to == &wire_dialect_messages ? 1 : 2];
}

void wire_said(struct wire_reader *in, const char *field)
{
    const struct wire_dialect *d = in->r->dialect;
    size_t i = 0;

    _Static_assert((int)N_CARRY <= (int)WIRE_SAID_MAX, "a bit for each line");
    if (!in->carry || !d->write)
        return;
    while (table[i].reply || table[i].from != d || strcmp(table[i].field, field))
        ASSERT(++i < N_CARRY);
    in->r->said[i / 8] |= (unsigned char)(1 << i % 8);
}

bool wire_has_said(const struct wire_request *r, size_t i)
{
    return r->said[i / 8] >> i % 8 & 1;
}

bool wire_refuses(const struct wire_request *r, const struct wire_dialect *to)
{
    for (size_t i = 0; i < N_CARRY && r->dialect != to; i++)
        if (wire_has_said(r, i) && wire_carry_to(&table[i], to) == WIRE_REFUSED)
            return true;
    return false;
}

void wire_note(struct wire_writer *w, const char *name)
{
    struct wire_notes *notes = w->notes;

    for (size_t i = 0; i < notes->n; i++)
        if (!strcmp(notes->name[i], name))
            return;
    if (notes->n < WIRE_NOTE_MAX)
        snprintf(notes->name[notes->n++], WIRE_NAME_BYTES, "%s", name);
    else
        snprintf(notes->name[WIRE_NOTE_MAX - 1], WIRE_NAME_BYTES, "and more");
}

enum err wire_cannot(struct wire_writer *w, const char *field)
{
    if (!strcmp(field, "thread"))
        return wire_refuse(w->why, WIRE_E_NO_THREAD, field, "'thread' is not supported: send the "
                           "whole conversation.");
    return wire_refuse(w->why, WIRE_E_UNSUPPORTED, field, "Unsupported parameter: '%s' cannot be "
                       "carried to the dialect '%s' of the model's server. Leave it out.", field,
                       wire_dialect_name(w->to->dialect));
}

/* What the table says of everything that was in the body. */
static enum err judge(struct wire_writer *w)
{
    for (size_t i = 0; i < N_CARRY; i++) {
        enum wire_verdict v = wire_carry_to(&table[i], w->to->dialect);
        if (wire_has_said(w->r, i) && v == WIRE_REFUSED)
            return wire_cannot(w, table[i].field);
        if (wire_has_said(w->r, i) && v == WIRE_DROPPED)
            wire_note(w, table[i].field);
    }
    size_t n = 0;
    while (w->r->choice == WIRE_CHOICE_NAMED && n < w->r->n_tool &&
           strcmp(w->r->tool[n].name.at, w->r->choice_name.at))
        n++;
    if (w->r->choice == WIRE_CHOICE_NAMED && n == w->r->n_tool)
        return wire_refuse(w->why, WIRE_E_VALUE, "tool_choice", "Invalid 'tool_choice': there is "
                           "no such function among the tools that can be carried.");
    for (size_t i = 0; i < w->r->n_unknown && i < WIRE_UNKNOWN_MAX; i++)
        wire_note(w, w->r->unknown[i]);
    if (w->r->n_unknown > WIRE_UNKNOWN_MAX)
        wire_note(w, "and more");
    if (w->r->n_volatile)
        wire_note(w, "x-anthropic-billing-header");
    return OK;
}

static enum err no_memory(struct wire_writer *w)
{
    wire_error_set(w->why, WIRE_E_NO_MEMORY, NULL, NULL);
    return err_set(ERR_NOMEM, "WIRE-08", "out of memory while writing a request; close other "
                   "programs");
}

/* The body as it came, but for the model's name and, in a chat stream, a wish for its usage. */
static enum err same(struct wire_writer *w)
{
    const struct wire_request *r = w->r;
    json_t *body = NULL;
    enum err e = json_parse_nul(&body, r->body.at, r->body.len, WIRE_BODY_BYTES_MAX, "body");

    if (e != OK)
        return e == ERR_NOMEM ? no_memory(w) : e;
    bool ok = !json_object_set_new(body, "model", json_string(w->to->model));
    if (w->to->dialect == &wire_dialect_chat && r->stream && w->to->usage && !r->include_usage) {
        json_t *options = json_object_get(body, "stream_options");
        if (!json_is_object(options)) {
            ok = !json_object_set_new(body, "stream_options", json_object()) && ok;
            options = json_object_get(body, "stream_options");
        }
        ok = !json_object_set_new(options, "include_usage", json_true()) && ok;
    }
    if (w->to->dialect == &wire_dialect_messages)
        wire_messages_scrub(body, w->to->count);
    if (ok)
        wire_put_json(w->out, body);
    json_decref(body);
    return ok ? OK : no_memory(w);
}

enum err wire_write(struct buf *out, struct wire_notes *notes, struct wire_error *why,
                    const struct wire_request *r, const struct wire_target *to)
{
    struct wire_writer w = { out, r, to, notes, why };
    enum err e;

    ASSERT(r->body.at && to->dialect->write);
    ASSERT(!to->count || to->dialect == &wire_dialect_messages);
    *notes = (struct wire_notes){ 0 };
    *why = (struct wire_error){ 0 };
    if (r->dialect == to->dialect)
        e = same(&w);
    else if (!r->n_message)
        e = wire_refuse(why, WIRE_E_LIST_EMPTY, "messages", "The conversation is empty: the "
                        "model's server takes none without messages.");
    else if ((e = judge(&w)) == OK) {
        buf_puts(out, "{\"model\":");
        wire_put_text(out, to->model);
        if ((e = to->dialect->write(&w)) == OK)
            buf_puts(out, "}");
    }
    return e == OK && out->broken ? no_memory(&w) : e;
}

/* ---- what the writers share ---- */

void wire_put_extra(struct wire_writer *w, const char *name)
{
    for (size_t i = 0; i < w->r->n_extra; i++)
        if (!strcmp(w->r->extra[i].name, name)) {
            wire_put_key(w->out, name);
            buf_puts(w->out, w->r->extra[i].json.at);
        }
}

void wire_put_field(struct wire_writer *w, const char *key, struct wire_text t)
{
    if (!t.at)
        return;
    wire_put_key(w->out, key);
    wire_put_arena(w->out, t);
}

void wire_put_raw(struct buf *out, const char *key, struct wire_text json, const char *absent)
{
    wire_put_key(out, key);
    buf_puts(out, json.at ? json.at : absent);
}

void wire_put_integer(struct buf *out, const char *key, int64_t x)
{
    if (x == WIRE_ABSENT)
        return;
    wire_put_key(out, key);
    buf_printf(out, "%lld", (long long)x);
}

void wire_put_real(struct buf *out, const char *key, double x)
{
    if (x != x)
        return;
    wire_put_key(out, key);
    wire_put_double(out, x);
}

void wire_put_url(struct buf *out, const struct wire_part *p)
{
    struct buf url = { 0 };

    if (p->mime.at)
        buf_printf(&url, "data:%s;base64,", p->mime.at);
    buf_add(&url, p->text.at, p->text.len);
    wire_put_string(out, buf_text(&url), url.len);
    out->broken = out->broken || url.broken;
    buf_release(&url);
}

void wire_put_meta(struct wire_writer *w)
{
    if (!w->r->n_meta)
        return;
    wire_put_key(w->out, "metadata");
    buf_puts(w->out, "{");
    for (size_t i = 0; i < w->r->n_meta; i++) {
        wire_put_comma(w->out);
        wire_put_arena(w->out, w->r->meta[i].key);
        buf_puts(w->out, ":");
        wire_put_arena(w->out, w->r->meta[i].value);
    }
    buf_puts(w->out, "}");
}

void wire_put_choice(struct wire_writer *w, const char *begin, const char *end)
{
    static const char *const words[] = { [WIRE_CHOICE_AUTO] = "\"auto\"",
                                         [WIRE_CHOICE_NONE] = "\"none\"",
                                         [WIRE_CHOICE_REQUIRED] = "\"required\"" };
    const struct wire_request *r = w->r;

    if (!r->n_tool)
        return;
    if (r->choice == WIRE_CHOICE_NAMED) {
        wire_put_key(w->out, "tool_choice");
        buf_puts(w->out, begin);
        wire_put_arena(w->out, r->choice_name);
        buf_puts(w->out, end);
    } else if (r->choice != WIRE_CHOICE_UNSET) {
        wire_put_key(w->out, "tool_choice");
        buf_puts(w->out, words[r->choice]);
    }
    if (r->parallel != WIRE_ABSENT) {
        wire_put_key(w->out, "parallel_tool_calls");
        buf_puts(w->out, r->parallel ? "true" : "false");
    }
}

const char *wire_effort_word(enum wire_effort e, int64_t budget)
{
    static const char *const words[] = {
        [WIRE_EFFORT_NONE] = "none", [WIRE_EFFORT_MINIMAL] = "minimal", [WIRE_EFFORT_LOW] = "low",
        [WIRE_EFFORT_MEDIUM] = "medium", [WIRE_EFFORT_HIGH] = "high",
        [WIRE_EFFORT_XHIGH] = "xhigh", [WIRE_EFFORT_MAX] = "xhigh" };

    if (e != WIRE_EFFORT_ON)
        return e == WIRE_EFFORT_UNSET ? NULL : words[e];
    return budget == WIRE_ABSENT ? "medium" : budget <= 2048 ? "low"
           : budget <= 8192 ? "medium" : "high";
}

/* Of several texts what stands in them one after the other; a kind that has none gives "". */
void wire_put_texts(struct buf *out, const struct wire_message *m, enum wire_part_kind kind)
{
    struct buf all = { 0 };

    for (size_t i = 0; i < m->n_part; i++)
        if (m->part[i].kind == kind)
            buf_add(&all, m->part[i].text.at, m->part[i].text.len);
    wire_put_string(out, buf_text(&all), all.len);
    out->broken = out->broken || all.broken;
    buf_release(&all);
}

size_t wire_count_parts(const struct wire_message *m, enum wire_part_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_part; i++)
        n += m->part[i].kind == kind;
    return n;
}

/* Is it JSON, and an object?  An empty text is an object without members. */
enum err wire_put_arguments(struct wire_writer *w, const struct wire_part *call)
{
    json_t *v = NULL;
    enum err e;

    if (!call->text.len) {
        buf_puts(w->out, "{}");
        return OK;
    }
    if (json_cost(call->text.at, call->text.len) > WIRE_JSON_COST_MAX)
        return wire_cannot(w, "arguments");
    e = json_parse_nul(&v, call->text.at, call->text.len, WIRE_BODY_BYTES_MAX, "arguments");
    if (e == ERR_NOMEM)
        return no_memory(w);
    bool object = json_is_object(v);
    json_decref(v);
    if (!object)
        return wire_refuse(w->why, WIRE_E_VALUE, "arguments", "Invalid 'arguments': those of a "
                           "call must be a JSON object.");
    buf_add(w->out, call->text.at, call->text.len);
    return OK;
}

enum err wire_check_refs(struct wire_writer *w)
{
    for (size_t i = 0; i < w->r->n_message; i++)
        for (size_t k = 0; k < w->r->message[i].n_part; k++) {
            const struct wire_part *p = &w->r->message[i].part[k];
            if (p->kind == WIRE_PART_REF && strncmp(p->id.at, "rs_", 3))
                return wire_refuse(w->why, WIRE_E_VALUE, "input", "Invalid 'input': the item it "
                                   "refers to is not known here. Send the item itself.");
        }
    return OK;
}
