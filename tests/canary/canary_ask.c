/* canary_ask.c - a request from the seed and its number: a dialect, a key, labels given in four
 * ways, a conversation with a canary in each place where text can be, in any order of fields, with
 * escapes; some have a mistake, some go on where an upstream called a tool. */
#include "canary.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MAX = 32, LETTERS_MAX = 4, FOLLOW_BEHIND = 400 };

/* A body in the making: its fields lie in `parts` one behind the other, and are shuffled at the
 * end. */
struct maker {
    uint64_t chance;
    uint32_t number;
    enum dialect d;
    unsigned labels, key;
    char letter[LETTERS_MAX];           /* of its canaries */
    unsigned n_letter;
    bool stream, odd, tools, follows;
    struct text parts;
    size_t begin[FIELDS_MAX];
    unsigned n_field;
};

static bool often(struct maker *m, unsigned percent)
{
    return chance_of(&m->chance, percent);
}

static void field(struct maker *m, const char *name)
{
    m->begin[m->n_field++] = m->parts.len;
    text_put(&m->parts, "\"%s\":", name);
}

static void raw(struct maker *m, const char *text)
{
    text_add(&m->parts, text, strlen(text));
}

/* ---- canaries ------------------------------------------------------------------------------- */

/* Into `out` as plain characters; its label is the request's, but for places that nobody reads. */
static void canary(struct maker *m, struct text *out, char place)
{
    char letter = m->letter[chance_below(&m->chance, m->n_letter)];

    if (letter >= 'a' && letter <= 'e' && place != 'w')
        m->labels |= 1u << (letter - 'a');
    text_put(out, "zq7k%c%c%08x%s", letter, place, m->number,
             letter == 'e' ? "@mail.example.org" : "");
}

static void escape(struct maker *m, struct text *out, const char *plain, int depth, unsigned odds)
{
    for (; *plain; plain++) {
        bool must = *plain == '"' || *plain == '\\';
        if (!must && (unsigned char)*plain >= ' ' && !chance_of(&m->chance, odds))
            text_add(out, plain, 1);
        else
            text_put(out, "%s\\u%04x", depth ? "\\" : "", (unsigned char)*plain & 0x7f);
    }
}

static const char *filler(struct maker *m)
{
    static const char *const words[] = {
        "", "Please look at ", "In the year 1987 ", "Gr\303\274\303\237e aus K\303\266ln: ",
        "\xe6\x9d\xb1\xe4\xba\xac ", "x=1;y=[2,3]; ", "the \xf0\x9f\x90\xa6 says ", "a/b/c ",
        "one two three four five six seven eight nine ten ", "<b>", "It is late. ",
    };
    return words[chance_below(&m->chance, sizeof(words) / sizeof(*words))];
}

/* A string with a canary; depth 1: inside JSON that is in a string. */
static void string_at(struct maker *m, char place, int depth)
{
    static struct text plain;
    unsigned odds = often(m, 15) ? 30 : 0;
    const char *quote = depth ? "\\\"" : "\"";

    plain.len = 0;
    canary(m, &plain, place);
    raw(m, quote);
    raw(m, filler(m));
    escape(m, &m->parts, plain.at, depth, odds);
    raw(m, filler(m));
    raw(m, quote);
}

static void string(struct maker *m, char place)
{
    string_at(m, place, 0);
}

/* A canary alone, as a name or an id. */
static void word(struct maker *m, char place)
{
    raw(m, "\"");
    canary(m, &m->parts, place);
    raw(m, "\"");
}

/* Arguments of a call, as JSON (depth 0) or as a string of it. */
static void arguments(struct maker *m, int depth)
{
    const char *q = depth ? "\\\"" : "\"";

    raw(m, depth ? "\"{" : "{");
    text_put(&m->parts, "%sq%s:", q, q);
    string_at(m, 'a', depth);
    if (often(m, 30)) {
        text_put(&m->parts, ",%sdeep%s:[{%sx%s:", q, q, q, q);
        string_at(m, 'a', depth);
        raw(m, "},7,null]");
    }
    raw(m, depth ? "}\"" : "}");
}

/* ---- what dialects share -------------------------------------------------------------------- */

static void image(struct maker *m)
{
    bool data = often(m, 40) && m->letter[0] != 'e' && m->n_letter == 1;

    m->labels |= 1u << LABEL_UNSCANNED;
    raw(m, data ? "\"data:image/png;base64,iVBORw0KGgo" : "\"https://img.example.org/");
    canary(m, &m->parts, 'i');
    raw(m, data ? "AAAA\"" : ".png\"");
}

static void schema(struct maker *m)
{
    raw(m, "{\"type\":\"object\",\"properties\":{");
    word(m, 'p');
    raw(m, ":{\"type\":\"string\",\"description\":");
    string(m, 'p');
    if (often(m, 30)) {
        raw(m, ",\"enum\":[\"x\",");
        string(m, 'p');
        raw(m, "]");
    }
    raw(m, "}}}");
}

/* A tool of the dialect's shape. */
static void tool(struct maker *m)
{
    bool chat = m->d == CHAT;

    raw(m, chat ? "[{\"type\":\"function\",\"function\":{\"name\":\"look_up\"" :
           m->d == RESPONSES ? "[{\"type\":\"function\",\"name\":\"look_up\"" :
           "[{\"name\":\"look_up\"");
    if (often(m, 80)) {
        raw(m, ",\"description\":");
        string(m, 't');
    }
    raw(m, m->d == MESSAGES || m->d == COUNT ? ",\"input_schema\":" : ",\"parameters\":");
    schema(m);
    raw(m, chat ? "}}]" : "}]");
}

/* Unknown fields, and known ones that nobody reads, pass in one dialect. */
static void beside(struct maker *m)
{
    if (often(m, 15)) {
        field(m, "x_unknown");
        raw(m, "{\"deep\":[");
        string(m, 'x');
        raw(m, "]}");
    }
    if (often(m, 5)) {
        m->begin[m->n_field++] = m->parts.len;
        word(m, 'x');
        raw(m, ":1");
    }
    if (often(m, 10) && (m->d == CHAT || m->d == RESPONSES)) {
        field(m, often(m, 50) ? "prompt_cache_key" : "safety_identifier");
        string(m, 'y');
    }
    if (often(m, 15) && m->d != MESSAGES && m->d != COUNT) {
        field(m, "user");
        string(m, 'y');
    }
}

static const char *const label_names[] = { "la", "lb", "lc", "ld", "le", "lg" };

/* Labels by name; all of them are the request's. */
static void name_labels(struct maker *m, struct text *out)
{
    unsigned first = chance_below(&m->chance, 6), more = chance_below(&m->chance, 8);

    text_put(out, "%s", label_names[first]);
    m->labels |= 1u << first;
    if (more < 6) {
        text_put(out, ", %s", label_names[more]);
        m->labels |= 1u << more;
    }
}

static void metadata(struct maker *m)
{
    bool given = often(m, 40);

    if (!often(m, 30))
        return;
    field(m, "metadata");
    if (m->d == MESSAGES || m->d == COUNT) {
        raw(m, "{\"user_id\":");
        string(m, 'm');
        raw(m, "}");
        return;
    }
    raw(m, "{");
    word(m, 'm');
    raw(m, ":");
    string(m, 'm');
    if (given) {
        raw(m, ",\"croft_labels\":\"");
        name_labels(m, &m->parts);
        raw(m, "\"");
    }
    raw(m, "}");
}

/* ---- a call and its result ------------------------------------------------------------------ */

/* The id of an upstream's call, whose request this one follows, or one of our own. */
static void call_id(struct maker *m, uint32_t parent)
{
    if (m->follows)
        text_put(&m->parts, "\"call_%08xx\"", parent);
    else
        word(m, 'd');
}

/* By dialect: what stands before the call's id, its arguments, the id again, the result, and behind
 * it. */
static const struct called { const char *id, *arguments, *again, *result, *end; int depth; }
    called_shape[] = {
    [CHAT] = { ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":",
               ",\"type\":\"function\",\"function\":{\"name\":\"look_up\",\"arguments\":",
               "}}]},{\"role\":\"tool\",\"tool_call_id\":", ",\"content\":", "}", 1 },
    [MESSAGES] = { ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":",
                   ",\"name\":\"look_up\",\"input\":",
                   "}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
                   "\"tool_use_id\":", ",\"content\":", "}]}", 0 },
    [RESPONSES] = { ",{\"type\":\"function_call\",\"call_id\":",
                    ",\"name\":\"look_up\",\"arguments\":",
                    "},{\"type\":\"function_call_output\",\"call_id\":", ",\"output\":", "}",
                    1 },
};

static void called(struct maker *m, const struct called *c, uint32_t parent)
{
    size_t at, len;

    raw(m, c->id);
    at = m->parts.len;
    call_id(m, parent);
    len = m->parts.len - at;
    raw(m, c->arguments);
    arguments(m, c->depth);
    raw(m, c->again);
    text_put(&m->parts, "%.*s", (int)len, m->parts.at + at);
    raw(m, c->result);
    string(m, 'r');
    raw(m, c->end);
}

/* ---- conversations -------------------------------------------------------------------------- */

/* A turn of the user, with text that always has a canary. */
static void user_turn(struct maker *m)
{
    bool chat = m->d == CHAT, responses = m->d == RESPONSES;

    raw(m, "{\"role\":\"user\",\"content\":");
    if (often(m, 60)) {
        string(m, 'u');
    } else {
        raw(m, responses ? "[{\"type\":\"input_text\",\"text\":" : "[{\"type\":\"text\",\"text\""
             ":");
        string(m, 'u');
        raw(m, "}");
        if (often(m, 40)) {
            raw(m, responses ? ",{\"type\":\"input_image\",\"image_url\":" : chat ?
                ",{\"type\":\"image_url\",\"image_url\":{\"url\":" :
                ",{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":");
            image(m);
            raw(m, responses ? "}" : "}}");
        }
        raw(m, "]");
    }
    raw(m, "}");
}

static void earlier_turn(struct maker *m)
{
    raw(m, ",{\"role\":\"assistant\",\"content\":");
    if (m->d == RESPONSES && often(m, 50)) {
        raw(m, "[{\"type\":\"output_text\",\"text\":");
        string(m, 'h');
        raw(m, "}]");
    } else {
        string(m, 'h');
    }
    raw(m, "},");
    user_turn(m);
}

/* Text in a place that wants one of a few words: the request is wrong. */
static void odd_turn(struct maker *m)
{
    static const char *const before[] = {
        ",{\"role\":", ",{\"role\":\"user\",\"content\":[{\"type\":", ",{\"type\":",
        ",{\"role\":\"user\",\"content\":{\"text\":", ",{\"role\":\"tool\",\"content\":",
    };
    static const char *const after[] = { ",\"content\":\"x\"}", ",\"text\":\"x\"}]}", "}", "}}",
                                         "}" };
    unsigned i = chance_below(&m->chance, 5);

    raw(m, before[i]);
    string(m, 'o');
    raw(m, after[i]);
}

static void conversation(struct maker *m, uint32_t parent)
{
    unsigned turns = chance_below(&m->chance, 3);

    field(m, m->d == RESPONSES ? "input" : "messages");
    if (m->d == RESPONSES && !m->follows && !m->odd && often(m, 25)) {
        string(m, 'u');
        return;
    }
    raw(m, "[");
    if (m->d == CHAT && often(m, 50)) {
        raw(m, "{\"role\":\"system\",\"content\":");
        string(m, 's');
        raw(m, "},");
    }
    user_turn(m);
    while (turns-- && !m->follows)
        earlier_turn(m);
    if (m->follows || (m->tools && often(m, 40)))
        called(m, &called_shape[m->d == COUNT ? MESSAGES : m->d], parent);
    if (m->odd)
        odd_turn(m);
    raw(m, "]");
}

static void system_text(struct maker *m)
{
    if (m->d == CHAT || !often(m, 50))
        return;
    field(m, m->d == RESPONSES ? "instructions" : "system");
    if (m->d == RESPONSES || often(m, 50)) {
        string(m, 's');
        return;
    }
    raw(m, "[{\"type\":\"text\",\"text\":");
    string(m, 's');
    raw(m, "}]");
}

static void wanted_form(struct maker *m)
{
    if (m->d == COUNT || !often(m, 10))
        return;
    field(m, m->d == CHAT ? "response_format" : m->d == RESPONSES ? "text" : "output_config");
    raw(m, m->d == CHAT ? "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"form\","
                          "\"schema\":" :
        m->d == RESPONSES ? "{\"format\":{\"type\":\"json_schema\",\"name\":\"form\",\"schema\":" :
        "{\"format\":{\"type\":\"json_schema\",\"schema\":");
    schema(m);
    raw(m, "}}");
}

static void thinking(struct maker *m)
{
    if (m->d == COUNT || !often(m, 35))
        return;
    if (m->d == MESSAGES) {
        field(m, "thinking");
        raw(m, "{\"type\":\"enabled\",\"budget_tokens\":1024}");
    } else {
        field(m, m->d == CHAT ? "reasoning_effort" : "reasoning");
        raw(m, m->d == CHAT ? "\"low\"" : "{\"effort\":\"low\"}");
    }
}

static void chat_like(struct maker *m, uint32_t parent)
{
    conversation(m, parent);
    system_text(m);
    if (m->tools) {
        field(m, "tools");
        tool(m);
    }
    wanted_form(m);
    thinking(m);
    metadata(m);
    if (m->d == MESSAGES || (m->d != COUNT && often(m, 20))) {
        field(m, m->d == RESPONSES ? "max_output_tokens" : "max_tokens");
        raw(m, "2000");
    }
    if (m->d != RESPONSES && m->d != COUNT && often(m, 10)) {
        field(m, m->d == CHAT ? "stop" : "stop_sequences");
        raw(m, "[");
        string(m, 'q');
        raw(m, "]");
    }
}

/* Completions and embeddings. */
static void plain(struct maker *m)
{
    bool many = often(m, 40);

    field(m, m->d == COMPLETIONS ? "prompt" : "input");
    raw(m, many ? "[" : "");
    string(m, 'u');
    raw(m, many && m->d == EMBEDDINGS ? "," : "");
    if (many && m->d == EMBEDDINGS)
        string(m, 'u');
    raw(m, many ? "]" : "");
    if (m->d == COMPLETIONS && often(m, 20)) {
        field(m, "suffix");
        string(m, 's');
    }
}

static void join(struct maker *m, struct text *out)
{
    unsigned order[FIELDS_MAX];

    for (unsigned i = 0; i < m->n_field; i++)
        order[i] = i;
    text_put(out, "{");
    for (unsigned left = m->n_field; left; left--) {
        unsigned k = chance_below(&m->chance, left), i = order[k];
        size_t end = i + 1 < m->n_field ? m->begin[i + 1] : m->parts.len;
        order[k] = order[left - 1];
        text_add(out, m->parts.at + m->begin[i], end - m->begin[i]);
        text_put(out, left > 1 ? "," : "}");
    }
}

/* ---- the request ---------------------------------------------------------------------------- */

/* The request whose call this one answers, with its key and dialect; itself: there is none. */
static uint32_t find_parent(struct maker *m)
{
    uint32_t behind = FOLLOW_BEHIND + chance_below(&m->chance, 64);
    bool may = often(m, 90) && m->number >= record_first + behind;
    const struct record *r = may ? &record[m->number - behind - record_first] : NULL;

    if (!r || !r->calls)
        return m->number;
    m->key = r->key;
    m->d = (enum dialect)r->dialect;
    m->tools = m->follows = true;
    return m->number - behind;
}

static uint32_t begin(struct maker *m, uint32_t number)
{
    static const char letters[] = "abcde";
    unsigned kinds;

    m->chance = chance_begin(seed, number, 0);
    m->number = number;
    m->key = chance_below(&m->chance, (unsigned)plan.n_key);
    m->d = (enum dialect)(chance_below(&m->chance, 20) % 7);
    m->d = m->d == DIALECTS ? MESSAGES : m->d;
    m->stream = often(m, 50) && m->d != EMBEDDINGS && m->d != COUNT;
    m->odd = often(m, 3);
    m->tools = often(m, 45);
    kinds = chance_below(&m->chance, 10);
    m->n_letter = kinds < 3 ? 1 : kinds < 8 ? 2 : 3;
    m->letter[0] = 'n';
    for (unsigned i = 1; i < m->n_letter; i++)
        m->letter[i] = letters[chance_below(&m->chance, 5)];
    if (m->n_letter == 2 && often(m, 50))
        m->letter[0] = m->letter[1];
    return find_parent(m);
}

static void head(struct maker *m, struct text *out, size_t body_len)
{
    static const char *const path[] = { "chat/completions", "messages", "responses", "completions",
                                        "embeddings", "messages/count_tokens" };

    text_put(out, "POST /v1/%s", path[m->d]);
    if (often(m, 10)) {
        text_put(out, "?trace=");
        canary(m, out, 'w');
    }
    text_put(out, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    text_put(out, often(m, 20) ? "x-api-key: %s\r\n" : "Authorization: Bearer %s\r\n",
             plan.key[m->key].token);
    if (often(m, 15)) {
        text_put(out, "x-croft-labels: ");
        name_labels(m, out);
        text_put(out, "\r\n");
    }
    if (often(m, 20)) {
        static const char *const names[] = { "Cookie", "User-Agent", "X-Trace", "Referer",
                                             "OpenAI-Organization" };
        text_put(out, "%s: ", names[chance_below(&m->chance, 5)]);
        canary(m, out, 'w');
        text_put(out, "\r\n");
    }
    if ((m->d == MESSAGES || m->d == COUNT) && often(m, 15)) {
        text_put(out, "anthropic-beta: ");
        canary(m, out, 'b');
        text_put(out, "\r\n");
    }
    text_put(out, "Content-Length: %zu\r\n\r\n", body_len);
}

void ask_make(struct made *out, uint32_t number)
{
    static struct text parts, body;
    struct maker m = { .parts = parts };
    uint32_t parent = begin(&m, number);

    m.parts.len = body.len = out->bytes.len = 0;
    field(&m, "model");
    text_put(&m.parts, "\"%s\"", plan.name[chance_below(&m.chance, (unsigned)plan.n_name)]);
    if (m.stream) {
        field(&m, "stream");
        raw(&m, "true");
    }
    if (m.d == COMPLETIONS || m.d == EMBEDDINGS)
        plain(&m);
    else
        chat_like(&m, parent);
    beside(&m);
    join(&m, &body);
    if (m.odd && often(&m, 20))
        body.len = chance_below(&m.chance, (unsigned)body.len);
    head(&m, &out->bytes, body.len);
    text_add(&out->bytes, body.at, body.len);
    parts = m.parts;
    out->leaves = often(&m, 2);
    record[number - record_first] = (struct record){
        .labels = (unsigned char)(m.labels | plan.key[m.key].labels), .stream = m.stream,
        .odd = m.odd, .low = (unsigned char)version_low, .dialect = (unsigned char)m.d,
        .key = (unsigned char)m.key, .parent = parent };
}
