/* wire_pipe.c - one JSON object on standard input: what to read or write through src/wire; what
 * came of it on standard output.  The Python tests drive it.
 *
 *   {"parse": DIALECT, "body": TEXT}         the neutral request, or {"status", "error"}
 *   {"write": DIALECT, "body": TEXT, "about": {...}, "events": [...]}       the reply's bytes
 *   {"embed": [[x, ...], ...], "base64": BOOL}   {"models": [...]}   {"model": {...}}   their bytes
 *   {"carry": DIALECT, "to": DIALECT, "body": TEXT, "thoughts": BOOL}
 *                                            {"body", "notes"}, or {"status", "error"}
 *   {"hear": DIALECT, "stream": [TEXT, ...] or "whole": TEXT, "write": DIALECT}
 *                                            {"said", "reply"}: what the answer said, and that
 *                                            in a dialect
 *   {"hear": DIALECT, "status": N, "whole": TEXT}    {"status", "text"} of an error
 *   {"carrying": true}                       the lines of carry.def
 *   {"fields": DIALECT}                      the names of field.def
 *   {"catalogue": true}                      what each line of error.def says
 */
#include "wire/carry.h"
#include "wire/form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const roles[] = { "system", "developer", "user", "assistant", "tool" };
static const char *const parts[] = { "text", "think", "call" };

static json_t *text(struct wire_text t)
{
    return t.at ? json_stringn(t.at, t.len) : json_null();
}

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *integer(int64_t x)
{
    return x == WIRE_ABSENT ? json_null() : json_integer(x);
}

static json_t *message(const struct wire_message *m)
{
    json_t *all = json_array();

    for (size_t i = 0; i < m->n_part; i++)
        json_array_append_new(all, json_pack("{s:s, s:o, s:o, s:o}", "kind",
                                             parts[m->part[i].kind], "text", text(m->part[i].text),
                                             "id", text(m->part[i].id), "name",
                                             text(m->part[i].name)));
    return json_pack("{s:s, s:o, s:o, s:o}", "role", roles[m->role], "name", text(m->name),
                     "call_id", text(m->call_id), "parts", all);
}

static json_t *prompt(const struct wire_prompt *p)
{
    json_t *ids = json_array();

    if (!p->id) {
        json_decref(ids);
        return text(p->text);
    }
    for (size_t i = 0; i < p->n_id; i++)
        json_array_append_new(ids, json_integer(p->id[i]));
    return ids;
}

static void add_lists(json_t *out, const struct wire_request *r)
{
    json_t *messages = json_array(), *prompts = json_array(), *stop = json_array();
    json_t *bias = json_object(), *meta = json_object(), *unknown = json_array();
    char key[16];

    for (size_t i = 0; i < r->n_message; i++)
        json_array_append_new(messages, message(&r->message[i]));
    for (size_t i = 0; i < r->n_prompt; i++)
        json_array_append_new(prompts, prompt(&r->prompt[i]));
    for (size_t i = 0; i < r->n_stop; i++)
        json_array_append_new(stop, text(r->stop[i]));
    for (size_t i = 0; i < r->n_bias; i++) {
        snprintf(key, sizeof(key), "%d", r->bias[i].id);
        json_object_set_new(bias, key, json_real(r->bias[i].bias));
    }
    for (size_t i = 0; i < r->n_meta; i++)
        json_object_set_new(meta, r->meta[i].key.at, text(r->meta[i].value));
    for (size_t i = 0; i < r->n_unknown && i < WIRE_UNKNOWN_MAX; i++)
        json_array_append_new(unknown, json_string(r->unknown[i]));
    json_object_set_new(out, "messages", messages);
    json_object_set_new(out, "prompts", prompts);
    json_object_set_new(out, "stop", stop);
    json_object_set_new(out, "logit_bias", bias);
    json_object_set_new(out, "metadata", meta);
    json_object_set_new(out, "unknown", unknown);
}

static json_t *request(const struct wire_request *r)
{
    json_t *out = json_object();

    add_lists(out, r);
    json_object_set_new(out, "model", text(r->model));
    json_object_set_new(out, "suffix", text(r->suffix));
    json_object_set_new(out, "user", text(r->user));
    json_object_set_new(out, "cache_key", text(r->cache_key));
    json_object_set_new(out, "echo", json_boolean(r->echo));
    json_object_set_new(out, "stream", json_boolean(r->stream));
    json_object_set_new(out, "include_usage", json_boolean(r->include_usage));
    json_object_set_new(out, "logprobs", json_boolean(r->logprobs));
    json_object_set_new(out, "base64", json_boolean(r->base64));
    json_object_set_new(out, "n", integer(r->n));
    json_object_set_new(out, "best_of", integer(r->best_of));
    json_object_set_new(out, "max_tok", integer(r->max_tok));
    json_object_set_new(out, "top_k", integer(r->top_k));
    json_object_set_new(out, "seed", integer(r->seed));
    json_object_set_new(out, "top_logprobs", integer(r->top_logprobs));
    json_object_set_new(out, "dimensions", integer(r->dimensions));
    json_object_set_new(out, "effort", json_integer((json_int_t)r->effort));
    json_object_set_new(out, "n_volatile", json_integer((json_int_t)r->n_volatile));
    json_object_set_new(out, "temperature", number(r->temperature));
    json_object_set_new(out, "top_p", number(r->top_p));
    json_object_set_new(out, "min_p", number(r->min_p));
    json_object_set_new(out, "frequency_penalty", number(r->frequency_penalty));
    json_object_set_new(out, "presence_penalty", number(r->presence_penalty));
    return out;
}

static const char *string_of(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : otherwise;
}

static int64_t integer_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* A text is given as "text", or as "hex" where it is not UTF-8. */
static const char *bytes_of(const json_t *o, char *room, size_t cap, size_t *len)
{
    const char *hex = string_of(o, "hex", NULL);

    if (!hex) {
        *len = json_string_length(json_object_get(o, "text"));
        return string_of(o, "text", "");
    }
    for (*len = 0; *len < cap && hex[2 * *len]; ++*len) {
        unsigned byte = 0;
        sscanf(hex + 2 * *len, "%2x", &byte);
        room[*len] = (char)byte;
    }
    return room;
}

enum { ROOM = 256, TOP_MAX = 24, TOKEN_MAX = 64 };

static struct wire_top top(const json_t *o, char *room)
{
    const json_t *p = json_object_get(o, "logprob");
    struct wire_top t = { .logprob = json_is_number(p) ? (float)json_number_value(p) : NAN };

    t.bytes = bytes_of(o, room, ROOM, &t.len);
    return t;
}

static void set_logprobs(struct wire_event *e, const json_t *list)
{
    static struct wire_logprob all[TOKEN_MAX];
    static struct wire_top tops[TOKEN_MAX][TOP_MAX];
    static char room[TOKEN_MAX][TOP_MAX + 1][ROOM];

    e->logprob = all;
    e->n_logprob = json_array_size(list);
    for (size_t i = 0; i < e->n_logprob; i++) {
        const json_t *o = json_array_get(list, i), *others = json_object_get(o, "top");
        all[i] = (struct wire_logprob){ top(o, room[i][TOP_MAX]), tops[i],
                                        json_array_size(others) };
        for (size_t k = 0; k < all[i].n_top; k++)
            tops[i][k] = top(json_array_get(others, k), room[i][k]);
    }
}

static enum wire_code code_of(const char *name)
{
    static const char *const names[] = {
#define ERROR(id, status, type, code, retry) #id,
#include "wire/error.def"
#undef ERROR
    };
    size_t i = 0;

    while (strcmp(names[i], name))
        ASSERT(++i < WIRE_N_CODE);
    return (enum wire_code)i;
}

static enum err put_event(struct wire_reply *w, struct buf *out, const json_t *o)
{
    static const char *const kinds[] = { "begin", "text", "think", "end", "done", "fail" };
    const json_t *u = json_object_get(o, "usage");
    struct wire_event e = { .choice = (size_t)integer_of(o, "choice") };
    struct wire_error why;
    char room[ROOM];

    while (strcmp(kinds[e.kind], string_of(o, "kind", "")))
        ASSERT(++e.kind <= WIRE_FAIL);
    e.text = bytes_of(o, room, sizeof(room), &e.len);
    set_logprobs(&e, json_object_get(o, "logprobs"));
    e.finish = strcmp(string_of(o, "finish", ""), "length") ? WIRE_FINISH_STOP
                                                             : WIRE_FINISH_LENGTH;
    e.usage = (struct wire_usage){ integer_of(u, "prompt"), integer_of(u, "cached"),
                                   integer_of(u, "answer"), integer_of(u, "think"), 0, 0 };
    if (e.kind == WIRE_FAIL) {
        wire_error_set(&why, code_of(string_of(o, "error", "SERVER")), "", NULL);
        e.error = &why;
    }
    return wire_reply_event(w, out, &e);
}

static enum err put_reply(struct buf *out, const struct wire_request *r, const json_t *in)
{
    const json_t *a = json_object_get(in, "about"), *events = json_object_get(in, "events");
    struct wire_about about = { string_of(a, "id", "1"), string_of(a, "model", "m"),
                                string_of(a, "fingerprint", NULL), integer_of(a, "created") };
    struct wire_reply w;
    enum err e = wire_reply_init(&w, r, &about);

    for (size_t i = 0; i < json_array_size(events) && e == OK; i++)
        e = put_event(&w, out, json_array_get(events, i));
    wire_reply_release(&w);
    return e;
}

static void put_json(struct buf *out, json_t *value)
{
    char *s = json_dumps(value, JSON_COMPACT);

    buf_puts(out, s);
    free(s);
    json_decref(value);
}

static enum err parse_or_write(struct buf *out, const json_t *in, const char *name, bool parse)
{
    const struct wire_dialect *d = wire_dialect_find(name);
    const json_t *body = json_object_get(in, "body");
    struct wire_request r;
    struct wire_error why;
    enum err e;

    ASSERT(d && body);
    e = wire_parse(&r, &why, d, json_string_value(body), json_string_length(body));
    if (e != OK) {
        buf_printf(out, "{\"status\":%d,\"retry\":%s,\"error\":", wire_error_status(why.code),
                   wire_error_retry(why.code) ? "true" : "false");
        wire_error_write(out, d, &why);
        buf_puts(out, "}");
        return OK;
    }
    if (parse)
        put_json(out, request(&r));
    else
        e = put_reply(out, &r, in);
    wire_request_release(&r);
    return e;
}

static json_t *error_of(const struct wire_dialect *d, const struct wire_error *why)
{
    struct buf text = { 0 };

    wire_error_write(&text, d, why);
    json_t *all = json_pack("{s:i, s:s}", "status", wire_error_status_in(d, why->code), "error",
                            buf_text(&text));
    buf_release(&text);
    return all;
}

static void carry(struct buf *out, const json_t *in)
{
    const struct wire_dialect *from = wire_dialect_find(string_of(in, "carry", ""));
    const json_t *body = json_object_get(in, "body");
    struct wire_target to = { wire_dialect_find(string_of(in, "to", "")), "upstream-model", 0,
                              json_is_true(json_object_get(in, "thoughts")), true, false };
    struct wire_notes notes = { .n = 0 };
    struct wire_request r;
    struct wire_error why;
    struct buf text = { 0 };
    json_t *all;

    ASSERT(from && to.dialect && body);
    enum err e = wire_read(&r, &why, from, json_string_value(body), json_string_length(body));
    if (e == OK) {
        e = wire_write(&text, &notes, &why, &r, &to);
        wire_request_release(&r);
    }
    if (e != OK) {
        all = error_of(from, &why);
    } else {
        json_t *names = json_array();
        for (size_t i = 0; i < notes.n; i++)
            json_array_append_new(names, json_string(notes.name[i]));
        all = json_pack("{s:s%, s:o}", "body", text.data, text.len, "notes", names);
    }
    put_json(out, all);
    buf_release(&text);
}

/* An answer on its way, and what it said. */
struct heard { struct wire_reply *w; struct buf *out; json_t *said; };

static void add(json_t *to, const char *key, const char *text, size_t len)
{
    const json_t *so_far = json_object_get(to, key);
    struct buf all = { 0 };

    if (so_far)
        buf_add(&all, json_string_value(so_far), json_string_length(so_far));
    buf_add(&all, text, len);
    json_object_set_new(to, key, json_stringn(buf_text(&all), all.len));
    buf_release(&all);
}

static enum err hear(void *arg, const struct wire_event *e)
{
    static const char *const keys[] = { [WIRE_TEXT] = "text", [WIRE_THINK] = "think",
                                        [WIRE_SEAL] = "seal", [WIRE_ARGS] = "args" };
    static const char *const ends[] = { "stop", "length", "calls", "match", "filter", "full",
                                        "pause" };
    struct heard *h = arg;
    json_t *u;

    if (e->kind < sizeof(keys) / sizeof(*keys) && keys[e->kind])
        add(h->said, keys[e->kind], e->text, e->len);
    if (e->kind == WIRE_CALL) {
        add(h->said, "calls", e->id, strlen(e->id));
        add(h->said, "calls", "=", 1);
        add(h->said, "calls", e->name, strlen(e->name));
        add(h->said, "calls", ";", 1);
    }
    if (e->kind == WIRE_END)
        json_object_set_new(h->said, "end", json_string(ends[e->finish]));
    if (e->kind == WIRE_FAIL)
        json_object_set_new(h->said, "fail", json_string(e->error->text));
    if (e->kind == WIRE_DONE && e->usage_json) {
        u = json_pack("[I, I, I, I, I]", (json_int_t)e->usage.prompt_tok,
                      (json_int_t)e->usage.cached_tok, (json_int_t)e->usage.kept_tok,
                      (json_int_t)e->usage.answer_tok, (json_int_t)e->usage.think_tok);
        json_object_set_new(h->said, "usage", u);
    }
    return wire_reply_event(h->w, h->out, e);
}

static enum err hear_answer(struct buf *out, const json_t *in)
{
    static const struct wire_about about = { "1", "m", NULL, 5 };
    const json_t *stream = json_object_get(in, "stream"), *whole = json_object_get(in, "whole");
    struct wire_request r = { .dialect = wire_dialect_find(string_of(in, "write", "")), .n = 1,
                              .best_of = 1, .stream = stream, .include_usage = true };
    struct wire_reply w;
    struct buf reply = { 0 };
    struct heard h = { &w, &reply, json_object() };
    struct wire_answer a = { .dialect = wire_dialect_find(string_of(in, "hear", "")),
                             .emit = hear, .arg = &h };
    struct wire_error why;
    enum err e;

    if (json_integer_value(json_object_get(in, "status")) >= 400) {
        e = wire_error_read(&why, a.dialect, (int)integer_of(in, "status"),
                            json_string_value(whole), json_string_length(whole));
        put_json(out, json_pack("{s:i, s:s}", "status", wire_error_status(why.code), "text",
                                why.text));
        json_decref(h.said);
        return e;
    }
    e = wire_reply_init(&w, &r, &about);
    for (size_t i = 0; i < json_array_size(stream) && e == OK; i++) {
        const json_t *data = json_array_get(stream, i);
        e = wire_answer_event(&a, json_string_value(data), json_string_length(data));
    }
    if (e == OK)
        e = stream ? wire_answer_end(&a)
                   : wire_answer_whole(&a, json_string_value(whole), json_string_length(whole));
    put_json(out, json_pack("{s:o, s:s%}", "said", h.said, "reply", buf_text(&reply), reply.len));
    wire_answer_release(&a);
    wire_reply_release(&w);
    buf_release(&reply);
    return e;
}

static json_t *carrying(void)
{
    static const char *const words[] = { "carried", "kept", "dropped", "refused" };
    const struct wire_carry *c;
    json_t *all = json_array();

    for (size_t i = 0; (c = wire_carry_at(i)); i++)
        json_array_append_new(all, json_pack("[b, s, s, s, s, s]", c->reply,
                                             wire_dialect_name(c->from), c->field, words[c->to[0]],
                                             words[c->to[1]], words[c->to[2]]));
    return all;
}

static void embed(struct buf *out, const json_t *in)
{
    const json_t *all = json_object_get(in, "embed");
    size_t n = json_array_size(all), n_dim = json_array_size(json_array_get(all, 0));
    float *vector = calloc(n * n_dim + 1, sizeof(*vector));

    ASSERT(vector);
    for (size_t i = 0; i < n * n_dim; i++)
        vector[i] = (float)json_number_value(json_array_get(json_array_get(all, i / n_dim),
                                                            i % n_dim));
    wire_embeddings_write(out, "m", vector, n, n_dim, 3,
                          json_is_true(json_object_get(in, "base64")));
    free(vector);
}

static struct wire_model model(const json_t *o)
{
    return (struct wire_model){ string_of(o, "id", ""), string_of(o, "owner", ""),
                                integer_of(o, "created"), integer_of(o, "n_ctx"),
                                integer_of(o, "n_out") };
}

static void models(struct buf *out, const json_t *list)
{
    struct wire_model all[16];
    size_t n = json_array_size(list);

    ASSERT(n <= 16);
    for (size_t i = 0; i < n; i++)
        all[i] = model(json_array_get(list, i));
    wire_models_write(out, all, n);
}

static json_t *names(const char *dialect)
{
    json_t *all = json_array();
    size_t n;
    const struct wire_field *f = wire_fields(wire_dialect_find(dialect), &n);

    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, json_string(f[i].name));
    return all;
}

static void catalogue(struct buf *out)
{
    for (int i = 0; i < WIRE_N_CODE; i++) {
        struct wire_error why;
        wire_error_set(&why, (enum wire_code)i, "a.b[0]", NULL);
        buf_printf(out, "%s{\"status\":%d,\"retry\":%s,\"body\":", i ? "," : "[",
                   wire_error_status(why.code), wire_error_retry(why.code) ? "true" : "false");
        wire_error_write(out, wire_dialect_at(0), &why);
        buf_puts(out, "}");
    }
    buf_puts(out, "]");
}

static enum err answer(struct buf *out, const json_t *in)
{
    const char *name;

    if (json_object_get(in, "hear"))
        return hear_answer(out, in);
    if ((name = string_of(in, "parse", NULL)))
        return parse_or_write(out, in, name, true);
    if ((name = string_of(in, "write", NULL)))
        return parse_or_write(out, in, name, false);
    if (json_object_get(in, "embed"))
        embed(out, in);
    else if (json_object_get(in, "models"))
        models(out, json_object_get(in, "models"));
    else if (json_object_get(in, "model"))
        wire_model_write(out, &(struct wire_model[]){ model(json_object_get(in, "model")) }[0]);
    else if (json_object_get(in, "carry"))
        carry(out, in);
    else if (json_object_get(in, "carrying"))
        put_json(out, carrying());
    else if ((name = string_of(in, "fields", NULL)))
        put_json(out, names(name));
    else
        catalogue(out);
    return buf_ok(out);
}

int main(void)
{
    struct buf out = { 0 };
    json_error_t error;
    json_t *in = json_loadf(stdin, JSON_ALLOW_NUL, &error);

    if (!in) {
        fprintf(stderr, "wire_pipe: standard input: %s\n", error.text);
        return 2;
    }
    enum err e = answer(&out, in);
    fwrite(buf_text(&out), 1, out.len, stdout);
    if (e != OK)
        fprintf(stderr, "wire_pipe: %s\n", err_text());
    buf_release(&out);
    json_decref(in);
    return e != OK;
}
