/* bench_serve_ask.c - requests of `croft bench serve`: bodies from words drawn by a seed, or from a
 * file; when they arrive.
 *
 * A word is one token for most vocabularies, but nobody knows: the server is asked (bench_serve.c),
 * and a prompt gets as many words as make its tokens. */
#include "cmd/bench_serve.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPTS_BYTES = 64 << 20, LINE_BYTES = 16 << 20, PROMPTS_MAX = 100000 };
enum { STREAM_SHARED, STREAM_OWN, STREAM_PROBE, STREAM_ARRIVAL };

static const char *const words[] = {
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world",
    "school", "state", "family", "student", "group", "country", "problem", "hand", "part",
    "place", "case", "week", "company", "system", "program", "question", "work", "government",
    "number", "night", "point", "home", "water", "room", "mother", "area", "money", "story",
    "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business",
    "issue", "side", "kind", "head", "house", "service", "friend", "father", "power", "hour",
    "game", "line", "end", "member", "law", "car", "city", "community", "name", "president",
    "team", "minute", "idea", "kid", "body", "information", "back", "parent", "face",
    "others", "level", "office", "door", "health", "person", "art", "war", "history", "party",
    "result", "change", "morning", "reason", "research", "girl", "guy", "moment", "air",
    "teacher", "force", "education", "foot", "boy", "age", "policy", "music", "market",
    "sense", "nation", "plan", "college", "interest", "death", "experience", "effect", "use",
    "class", "control", "care", "field", "development", "role", "effort", "rate", "heart",
    "drug", "show", "leader", "light",
};

enum { WORDS = sizeof(words) / sizeof(*words) };

/* SplitMix64's output function of a counter: every draw is its own. */
static uint64_t draw(uint64_t seed, int stream, uint64_t i, uint64_t k)
{
    uint64_t z = seed;
    const uint64_t part[] = { (uint64_t)stream, i, k };

    for (int p = 0; p < 3; p++) {
        z += part[p] * 0xd1342543de82ef95u + 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return z;
}

double load_arrival(uint64_t seed, int64_t i)
{
    double u = (double)(draw(seed, STREAM_ARRIVAL, (uint64_t)i, 0) >> 11) * 0x1p-53;

    return -log1p(-u);
}

static void add_words(struct buf *text, uint64_t seed, int stream, int64_t i, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        buf_printf(text, "%s%s", text->len ? " " : "",
                   words[draw(seed, stream, (uint64_t)i, (uint64_t)k) % WORDS]);
}

static json_t *prompt_body(const struct load *l, json_t *messages, json_t *prompt, int64_t max_tok)
{
    json_t *body = json_pack("{s:s, s:o, s:I}", "model", l->model,
                             l->chat ? "messages" : "prompt", l->chat ? messages : prompt,
                             "max_tokens", (json_int_t)max_tok);

    if (body && l->extra && json_object_update(body, l->extra)) {
        json_decref(body);
        body = NULL;
    }
    return body;
}

/* A prompt of text; NULL without memory. */
static json_t *text_body(const struct load *l, const char *text, int64_t max_tok)
{
    return l->chat ? prompt_body(l, json_pack("[{s:s, s:s}]", "role", "user", "content", text),
                                 NULL, max_tok)
                   : prompt_body(l, NULL, json_string(text), max_tok);
}

/* Line i of the file, over and over. */
static json_t *line_body(const struct load *l, int64_t i)
{
    size_t n = json_array_size(l->prompts);
    json_t *line = json_array_get(l->prompts, (size_t)i % n);
    json_t *own = json_object_get(line, "max_tokens");
    int64_t max_tok = own ? json_integer_value(own) : l->max_tok;
    json_t *messages = json_object_get(line, "messages");

    if (messages)
        return prompt_body(l, json_incref(messages), NULL, max_tok);
    return text_body(l, json_string_value(json_object_get(line, "prompt")), max_tok);
}

static int64_t words_for(const struct load *l, double tok)
{
    double n = floor(tok / l->tok_per_word + 0.5);

    return n < 1 ? 1 : (int64_t)n;
}

static json_t *words_body(const struct load *l, int64_t i)
{
    struct buf text = { 0 };
    int64_t n_shared = l->shared_tok ? words_for(l, (double)l->shared_tok) : 0;
    int64_t n = words_for(l, (double)l->prompt_tok - l->tok_fixed) - n_shared;
    json_t *body = NULL;

    add_words(&text, l->seed, STREAM_SHARED, 0, n_shared);
    add_words(&text, l->seed, STREAM_OWN, i, n < 1 && !n_shared ? 1 : n);
    if (!text.broken)
        body = text_body(l, buf_text(&text), l->max_tok);
    buf_release(&text);
    return body;
}

static enum err body_text(char **text, json_t *body)
{
    *text = body ? json_string_new(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return *text ? OK : err_set(ERR_NOMEM, "BSERVE-01", "no memory for a request's body");
}

enum err load_body(char **text, struct load *l)
{
    int64_t i = l->next_prompt++;
    json_t *body = l->prompts ? line_body(l, i) : words_body(l, i);

    if (body && (json_object_set_new(body, "stream", json_true()) ||
                 json_object_set_new(body, "stream_options",
                                     json_pack("{s:b}", "include_usage", 1)))) {
        json_decref(body);
        body = NULL;
    }
    return body_text(text, body);
}

enum err load_body_of_words(char **text, const struct load *l, int n_word)
{
    struct buf prompt = { 0 };
    json_t *body = NULL;

    add_words(&prompt, l->seed, STREAM_PROBE, n_word, n_word);
    if (!prompt.broken)
        body = text_body(l, buf_text(&prompt), 1);
    buf_release(&prompt);
    return body_text(text, body);
}

/* A line is {"prompt": TEXT} or {"messages": [...]}, with or without max_tokens; or a string. */
static enum err add_line(struct load *l, const char *text, size_t len, const char *what)
{
    json_t *line = NULL, *own;
    enum err e = json_parse(&line, text, len, LINE_BYTES, what);

    if (!e && json_is_string(line)) {
        json_t *object = json_pack("{s:o}", "prompt", line);
        line = object;
        if (!line)
            e = err_set(ERR_NOMEM, "BSERVE-02", "no memory for prompts");
    }
    own = json_object_get(line, "max_tokens");
    if (!e && own && (!json_is_integer(own) || json_integer_value(own) < 1))
        e = err_set(ERR_FORMAT, "BSERVE-03", "max_tokens is a whole number from 1");
    if (!e && !json_is_string(json_object_get(line, "prompt")) &&
        !(l->chat && json_is_array(json_object_get(line, "messages"))))
        e = err_set(ERR_FORMAT, "BSERVE-04", "is no prompt; write {\"prompt\": \"...\"}%s",
                    l->chat ? " or {\"messages\": [...]}" : "");
    if (!e && json_array_size(l->prompts) == PROMPTS_MAX)
        e = err_set(ERR_LIMIT, "BSERVE-05", "more than %d prompts; use fewer", PROMPTS_MAX);
    if (!e && json_array_append(l->prompts, line))
        e = err_set(ERR_NOMEM, "BSERVE-06", "no memory for prompts");
    json_decref(line);
    return e;
}

enum err load_read_prompts(struct load *l, const char *path)
{
    char *text = NULL, *at, *end;
    size_t len;
    int line = 0;
    enum err e = file_read_text(&text, &len, path, PROMPTS_BYTES);

    if (e)
        return e;
    l->prompts = json_array();
    for (at = text, end = text + len; at < end && !e;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline : end) - at);
        line++;
        if (strspn(at, " \t\r") < n && (e = add_line(l, at, n, path)))
            e = err_wrap(e, "%s, line %d", path, line);
        at += n + 1;
    }
    free(text);
    if (!e && !json_array_size(l->prompts))
        e = err_set(ERR_FORMAT, "BSERVE-07", "%s: holds no prompt; one JSON object a line is "
                    "expected", path);
    return e;
}

struct client_ask load_ask(const struct load *l, const char *path, struct buf *url,
                           struct client_field field[2])
{
    struct client_ask a = {
        .field = field, .n_field = l->auth ? 2 : 1, .proxy = l->proxy, .ca_file = l->ca_file,
        .first_byte_ms = l->timeout_ms, .idle_ms = l->timeout_ms, .total_ms = l->timeout_ms,
    };

    field[0] = (struct client_field){ "Content-Type", "application/json" };
    if (l->auth)
        field[1] = (struct client_field){ "Authorization", l->auth };
    buf_printf(url, "%s%s", l->base, path);
    a.url = buf_text(url);
    return a;
}
