/* bench_serve_reply.c - what servers of the OpenAI API say in events and errors. */
#include "cmd/bench_serve.h"

#include "base/buf.h"
#include "base/json.h"

#include <string.h>

enum { EVENT_BYTES = 1 << 20 };

static int64_t count(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_integer(v) && json_integer_value(v) > 0 ? json_integer_value(v) : 0;
}

static bool has_text(const json_t *object, const char *name)
{
    return json_string_length(json_object_get(object, name)) > 0;
}

/* Text, thought or a tool call in any of the choices. */
static bool brings_text(const json_t *event)
{
    json_t *choices = json_object_get(event, "choices"), *choice;
    size_t i;

    json_array_foreach(choices, i, choice) {
        json_t *delta = json_object_get(choice, "delta");
        if (has_text(choice, "text") || has_text(delta, "content") ||
            has_text(delta, "reasoning_content") || has_text(delta, "reasoning") ||
            json_array_size(json_object_get(delta, "tool_calls")))
            return true;
    }
    return false;
}

static void read_usage(struct load_event *out, const json_t *usage)
{
    out->has_usage = true;
    out->prompt_tok = count(usage, "prompt_tokens");
    out->output_tok = count(usage, "completion_tokens");
    out->cached_tok = count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

/* {"error": {"message": TEXT}}, {"error": TEXT}, {"message": TEXT}; NULL: none of these. */
static const char *message_of(const json_t *body)
{
    const json_t *error = json_object_get(body, "error");
    const json_t *message = json_object_get(error, "message");

    if (!message)
        message = json_is_string(error) ? error : json_object_get(body, "message");
    return json_string_value(message);
}

static void put_text(char out[LOAD_TEXT], const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < LOAD_TEXT - 1; i++)
        out[n++] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    if (n == LOAD_TEXT - 1) {           /* no half character at the cut */
        while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
            n--;
        n -= n && (unsigned char)out[n - 1] >= 0x80;
    }
    out[n] = '\0';
}

void load_error_text(char out[LOAD_TEXT], const char *body, size_t len)
{
    json_t *json = NULL;
    const char *message = NULL;

    if (json_parse(&json, body, len, EVENT_BYTES, "the reply") == OK)
        message = message_of(json);
    if (message)
        put_text(out, message, strlen(message));
    else
        put_text(out, body, len);
    json_decref(json);
}

void load_event_read(struct load_event *out, const char *data, size_t len)
{
    json_t *event = NULL;

    *out = (struct load_event){ .done = len == 6 && !memcmp(data, "[DONE]", 6) };
    if (out->done)
        return;
    if (json_parse(&event, data, len, EVENT_BYTES, "an event") != OK) {
        out->error = true;
        put_text(out->message, err_text(), strlen(err_text()));
        return;
    }
    if (json_is_object(json_object_get(event, "usage")))
        read_usage(out, json_object_get(event, "usage"));
    out->text = brings_text(event);
    if (json_object_get(event, "error") && !json_is_null(json_object_get(event, "error"))) {
        out->error = true;
        load_error_text(out->message, data, len);
    }
    json_decref(event);
}
