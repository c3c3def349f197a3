/* batch_line.c - a line of a batch file read: whose it is, what it asks, with which options.
 *
 *   {"prompt": TEXT, "id": ..., OPTIONS}          as `croft run MODEL TEXT`
 *   {"messages": [...], "id": ..., OPTIONS}
 *   {"custom_id", "method": "POST", "url", "body": {"messages" or "prompt", OPTIONS}}
 *
 * A field that is not known is an error: what it was meant to change would stay as it is. */
#include "cmd/run_batch.h"

#include "base/json.h"
#include "cmd/cmd_table.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 4096, STOPS_MAX = 64 };

/* --- options --------------------------------------------------------------------------------- */

enum field_kind { FIELD_FLOAT, FIELD_INT, FIELD_SEED, FIELD_TOKENS, FIELD_STOP, FIELD_N,
                  FIELD_PROMPT, FIELD_IGNORED };

static const struct field { const char *name; enum field_kind kind; size_t at; } fields[] = {
#define AT(m) offsetof(struct sampler_options, m)
    { "temperature", FIELD_FLOAT, AT(temperature) },
    { "top_p", FIELD_FLOAT, AT(top_p) },
    { "min_p", FIELD_FLOAT, AT(min_p) },
    { "typical_p", FIELD_FLOAT, AT(typical_p) },
    { "presence_penalty", FIELD_FLOAT, AT(presence_penalty) },
    { "frequency_penalty", FIELD_FLOAT, AT(frequency_penalty) },
    { "repeat_penalty", FIELD_FLOAT, AT(repeat_penalty) },
    { "repetition_penalty", FIELD_FLOAT, AT(repeat_penalty) },
    { "top_k", FIELD_INT, AT(top_k) },
    { "repeat_last_n", FIELD_INT, AT(repeat_last_n) },
#undef AT
    { "seed", FIELD_SEED, 0 },
    { "max_tokens", FIELD_TOKENS, 0 },
    { "max_completion_tokens", FIELD_TOKENS, 0 },
    { "n_predict", FIELD_TOKENS, 0 },
    { "stop", FIELD_STOP, 0 },
    { "n", FIELD_N, 0 },
    { "prompt", FIELD_PROMPT, 0 },
    { "messages", FIELD_PROMPT, 0 },
    { "model", FIELD_IGNORED, 0 },
    { "user", FIELD_IGNORED, 0 },
    { "metadata", FIELD_IGNORED, 0 },
    { "store", FIELD_IGNORED, 0 },
    { "stream", FIELD_IGNORED, 0 },
    { "stream_options", FIELD_IGNORED, 0 },
};

static const struct field *find_field(const char *name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static enum err wrong_type(const char *name, const char *wanted)
{
    return err_set(ERR_FORMAT, "BATCH-10", "\"%.64s\" must be %s", name, wanted);
}

static enum err read_stops(struct batch_line *b, const json_t *v)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;

    if (n > STOPS_MAX)
        return err_set(ERR_LIMIT, "BATCH-11", "\"stop\" has %zu texts; at most %d are taken", n,
                       STOPS_MAX);
    free(b->stop);
    b->stop = calloc(n + 1, sizeof(*b->stop));
    if (!b->stop)
        return err_set(ERR_NOMEM, "BATCH-12", "no memory for %zu stop strings", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_string(one))
            return wrong_type("stop", "a text or a list of texts");
        b->stop[i] = json_string_value(one);
    }
    b->ao.stop = b->stop;
    b->ao.n_stop = (int)n;
    return OK;
}

static enum err read_field(struct batch_line *b, const struct field *f, const json_t *v)
{
    bool whole = f->kind == FIELD_INT || f->kind == FIELD_SEED || f->kind == FIELD_TOKENS ||
                 f->kind == FIELD_N;
    json_int_t n = json_integer_value(v);
    char *at = (char *)&b->ao.sampling + f->at;

    if (json_is_null(v) || f->kind == FIELD_PROMPT || f->kind == FIELD_IGNORED)
        return OK;
    if (f->kind == FIELD_STOP)
        return read_stops(b, v);
    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return wrong_type(f->name, whole ? "a whole number" : "a number");
    if (whole && (n < -1 || n > (json_int_t)9e15))
        return err_set(ERR_ARG, "BATCH-13", "\"%s\" is %lld, but must be from -1 to 9e15", f->name,
                       (long long)n);
    if (f->kind == FIELD_N && n != 1)
        return err_set(ERR_ARG, "BATCH-14", "\"n\" is %lld and a line gets one answer; give the "
                       "prompt a line for each, with its own \"seed\"", (long long)n);
    if (f->kind == FIELD_TOKENS)
        b->ao.n_max = n;
    else if (f->kind == FIELD_SEED && n >= 0)
        b->ao.sampling.seed = (uint64_t)n;
    else if (f->kind == FIELD_INT)
        *(int32_t *)(void *)at = n > INT32_MAX ? INT32_MAX : (int32_t)n;
    else if (f->kind == FIELD_FLOAT)
        *(float *)(void *)at = (float)json_number_value(v);
    return OK;
}

static enum err read_fields(struct batch_line *b, json_t *object, bool inside)
{
    const char *name;
    json_t *v;
    enum err e = OK;

    json_object_foreach(object, name, v) {
        const struct field *f = find_field(name);
        if (!inside && (!strcmp(name, "id") || !strcmp(name, "custom_id")))
            continue;
        if (!f)
            return err_set(ERR_ARG, "BATCH-15", "the field \"%.64s\" is not known here; leave it "
                           "out", name);
        if ((e = read_field(b, f, v)))
            return e;
    }
    return e;
}

/* --- messages -------------------------------------------------------------------------------- */

/* The text of a message: one, or the text parts of a list, which are joined in *joined. */
static enum err read_content(const json_t *v, struct chat_msg *m, struct buf *joined)
{
    const json_t *part;
    size_t i;

    if (json_is_string(v)) {
        m->text = json_string_value(v);
        m->len = json_string_length(v);
        return OK;
    }
    if (!json_is_array(v))
        return wrong_type("content", "a text or a list of text parts");
    json_array_foreach(v, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return err_set(ERR_ARG, "BATCH-16", "part %zu of a message is \"%.32s\"; only text can "
                           "be read", i + 1, type ? type : "of no type");
        buf_add(joined, json_string_value(text), json_string_length(text));
    }
    m->text = buf_text(joined);
    m->len = joined->len;
    return buf_ok(joined);
}

static enum err read_role(const char *role, enum chat_role *out)
{
    static const struct { const char *name; enum chat_role role; } roles[] = {
        { "system", CHAT_SYSTEM }, { "user", CHAT_USER }, { "assistant", CHAT_ASSISTANT },
        { "developer", CHAT_DEVELOPER },
    };

    for (size_t i = 0; role && i < sizeof(roles) / sizeof(*roles); i++)
        if (!strcmp(role, roles[i].name)) {
            *out = roles[i].role;
            return OK;
        }
    return err_set(ERR_ARG, "BATCH-17", "a message has the role \"%.32s\"; known are system, "
                   "developer, user and assistant", role ? role : "(none)");
}

static enum err read_message(const json_t *v, struct chat_msg *m, struct buf *joined)
{
    const char *name;
    json_t *field;
    enum err e;

    if (!json_is_object(v))
        return wrong_type("messages", "a list of objects with role and content");
    json_object_foreach((json_t *)(uintptr_t)v, name, field)
        if (strcmp(name, "role") && strcmp(name, "content") && strcmp(name, "name") &&
            !json_is_null(field))
            return err_set(ERR_ARG, "BATCH-18", "a message has the field \"%.64s\", which is not "
                           "known here", name);
    e = read_role(json_string_value(json_object_get(v, "role")), &m->role);
    return e == OK ? read_content(json_object_get(v, "content"), m, joined) : e;
}

/* --system stands first where the line has no system message of its own. */
static enum err read_messages(struct batch_line *b, const struct batch_job *job, const json_t *list)
{
    const char *system = opt_text(job->o, OPT_system);
    size_t n = json_array_size(list), first = system ? 1 : 0;
    struct chat_msg *msg = NULL;
    struct buf *joined = NULL;
    enum err e = OK;

    if (!json_is_array(list) || n < 1 || n > MESSAGES_MAX)
        return wrong_type("messages", "a list of 1 to 4096 messages");
    if (!job->style.chat)
        return err_set(ERR_ARG, "BATCH-19", "\"messages\" need a chat format and this model (or "
                       "--raw) has none; give a \"prompt\"");
    msg = calloc(n + 1, sizeof(*msg));
    joined = calloc(n, sizeof(*joined));
    if (!msg || !joined)
        e = err_set(ERR_NOMEM, "BATCH-20", "no memory for %zu messages", n);
    for (size_t i = 0; i < n && e == OK; i++) {
        struct chat_msg *m = &msg[first + i];
        e = read_message(json_array_get(list, i), m, &joined[i]);
        if (e == OK && (m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER))
            system = NULL;
    }
    if (e == OK && system)
        msg[0] = (struct chat_msg){ .role = CHAT_SYSTEM, .text = system, .len = strlen(system) };
    if (e == OK)
        e = prompt_chat(&job->style, job->l->tok, system ? msg : msg + first, n + (system != NULL),
                        &b->ids, &b->kind);
    for (size_t i = 0; i < n && joined; i++)
        buf_release(&joined[i]);
    free(joined);
    free(msg);
    return e;
}

/* A prompt as `croft run` reads it, or as it is where the line asks for a continuation. */
static enum err read_prompt(struct batch_line *b, const struct batch_job *job, const json_t *v)
{
    const char *text = json_string_value(v), *system = opt_text(job->o, OPT_system);
    size_t len = json_string_length(v), n = 0;
    struct chat_msg msg[2];

    if (!json_is_string(v))
        return wrong_type("prompt", "a text");
    if (!len)
        return err_set(ERR_ARG, "BATCH-21", "\"prompt\" is empty; write what to answer");
    if (job->raw || !job->style.chat || b->shape == BATCH_OPENAI_TEXT)
        return prompt_raw(job->l->tok, text, len, job->raw ? TEXT_CONTROL : TEXT_PLAIN, &b->ids);
    if (system)
        msg[n++] = (struct chat_msg){ .role = CHAT_SYSTEM, .text = system, .len = strlen(system) };
    msg[n++] = (struct chat_msg){ .role = CHAT_USER, .text = text, .len = len };
    return prompt_chat(&job->style, job->l->tok, msg, n, &b->ids, &b->kind);
}

/* --- the line -------------------------------------------------------------------------------- */

/* The envelope of OpenAI's batch files; *body is what is inside. */
static enum err read_envelope(struct batch_line *b, json_t *root, json_t **body)
{
    const char *method = json_string_value(json_object_get(root, "method"));
    const char *url = json_string_value(json_object_get(root, "url")), *name;
    json_t *v;

    *body = json_object_get(root, "body");
    if (!*body)
        return OK;
    b->shape = url && strstr(url, "/chat/") ? BATCH_OPENAI_CHAT : BATCH_OPENAI_TEXT;
    json_object_foreach(root, name, v)
        if (strcmp(name, "custom_id") && strcmp(name, "method") && strcmp(name, "url") &&
            strcmp(name, "body"))
            return err_set(ERR_ARG, "BATCH-22", "the field \"%.64s\" is not known beside \"body\"",
                           name);
    if (!json_is_object(*body))
        return wrong_type("body", "an object");
    if (method && strcmp(method, "POST") != 0)
        return err_set(ERR_ARG, "BATCH-23", "\"method\" is \"%.16s\", but must be POST", method);
    if (!url || (strcmp(url, "/v1/chat/completions") != 0 && strcmp(url, "/v1/completions") != 0))
        return err_set(ERR_ARG, "BATCH-24", "\"url\" is \"%.64s\"; known are /v1/chat/completions "
                       "and /v1/completions", url ? url : "(none)");
    return OK;
}

static enum err read_request(struct batch_line *b, const struct batch_job *job, json_t *request,
                             bool inside)
{
    const json_t *prompt = json_object_get(request, "prompt");
    const json_t *messages = json_object_get(request, "messages");
    enum err e = read_fields(b, request, inside);

    if (e != OK)
        return e;
    if (!prompt == !messages || (b->shape == BATCH_OPENAI_CHAT && prompt) ||
        (b->shape == BATCH_OPENAI_TEXT && messages))
        return err_set(ERR_ARG, "BATCH-25", "a line needs %s", b->shape == BATCH_OPENAI_CHAT ?
                       "\"messages\" in its body" : b->shape == BATCH_OPENAI_TEXT ?
                       "a \"prompt\" in its body" : "either \"prompt\" or \"messages\"");
    e = messages ? read_messages(b, job, messages) : read_prompt(b, job, prompt);
    if (e == OK && (int64_t)b->ids.n > job->n_ctx)
        e = err_set(ERR_LIMIT, "BATCH-26", "the prompt is %zu tokens and the context holds %lld; "
                    "shorten it or give --ctx-size %zu", b->ids.n, (long long)job->n_ctx,
                    b->ids.n + 256);
    return e;
}

enum err batch_line_read(struct batch_line *b, const struct batch_job *job, const char *text,
                         size_t len)
{
    json_t *body = NULL;
    char what[32];
    enum err e;

    snprintf(what, sizeof(what), "line %lld", (long long)b->number);
    e = json_parse(&b->root, text, len, BATCH_LINE_MAX, what);
    b->ao = job->ao;
    if (e != OK)
        return e;
    if (!json_is_object(b->root))
        return err_set(ERR_FORMAT, "BATCH-27", "the line is not a JSON object, {\"prompt\": ...}");
    b->id = json_object_get(b->root, "custom_id");
    if (!b->id)
        b->id = json_object_get(b->root, "id");
    json_incref(b->id);
    if (b->id && !json_is_string(b->id) && !json_is_integer(b->id) && !json_is_null(b->id))
        return wrong_type("id", "a text or a whole number");
    e = read_envelope(b, b->root, &body);
    if (e == OK)
        e = read_request(b, job, body ? body : b->root, body != NULL);
    b->ao.think = b->shape == BATCH_OPENAI_TEXT || job->raw ? (struct chat_think){ 0 } :
                  job->style.marks;
    return e;
}

void batch_line_free(struct batch_line *b)
{
    if (!b)
        return;
    json_decref(b->id);
    json_decref(b->root);
    tok_list_release(&b->ids);
    free(b->kind);
    free(b->stop);
    answer_flow_free(b->flow);
    answer_release(&b->a);
    answer_texts_release(&b->texts);
    free(b);
}
