/* canary_say.c - what the upstreams say: answers of each dialect, whole and streamed, with thinking
 * under a seal and calls of tools, whose every text has a canary of the request; errors that repeat
 * a part of what they were asked. */
#include "canary.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is said: 2 thinking, 3 a call's arguments, 1 text. */
static const char *const usage_chat =
    "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5,\"total_tokens\":25}";
static const char *const usage_messages = "\"usage\":{\"input_tokens\":20,\"output_tokens\":5}";
static const char *const usage_responses =
    "\"usage\":{\"input_tokens\":20,\"input_tokens_details\":{\"cached_tokens\":0},"
    "\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":25}";

static void __attribute__((format(printf, 3, 4)))
event(struct text *out, const char *name, const char *fmt, ...)
{
    char data[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(data, sizeof(data), fmt, args);
    va_end(args);
    if (name)
        text_put(out, "event: %s\n", name);
    text_put(out, "data: %s\n\n", data);
}

/* ---- chat and completions ------------------------------------------------------------------- */

static void chat_whole(struct text *out, uint32_t k, bool calls)
{
    text_put(out, "{\"id\":\"chatcmpl-%08x\",\"object\":\"chat.completion\",\"created\":"
                  "1700000000,"
             "\"model\":\"up\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
             "\"reasoning_content\":\"hm zq7kn2%08x\",\"content\":", k, k);
    if (calls)
        text_put(out, "null,\"tool_calls\":[{\"id\":\"call_%08xx\",\"type\":\"function\","
                 "\"function\":{\"name\":\"look_up\",\"arguments\":\"{\\\"q\\\":"
                 "\\\"zq7kn3%08x\\\"}\""
                 "}}]},\"finish_reason\":\"tool_calls\"}],", k, k);
    else
        text_put(out, "\"SAID%08x zq7kn1%08x\"},\"finish_reason\":\"stop\"}],", k, k);
    text_put(out, "%s}", usage_chat);
}

static void chunk(struct text *out, uint32_t k, const char *delta, const char *end)
{
    event(out, NULL, "{\"id\":\"chatcmpl-%08x\",\"object\":\"chat.completion.chunk\",\"created\":"
          "1700000000,\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":"
          "%s}]}",
          k, delta, end);
}

static void chat_stream(struct text *out, size_t *first, size_t *half, uint32_t k, bool calls)
{
    char delta[256];

    chunk(out, k, "{\"role\":\"assistant\",\"content\":\"\"}", "null");
    *first = out->len;
    snprintf(delta, sizeof(delta), "{\"reasoning_content\":\"hm zq7kn2%08x\"}", k);
    if (calls)
        chunk(out, k, delta, "null");
    snprintf(delta, sizeof(delta), "{\"content\":\"SAID%08x \"}", k);
    if (calls)
        snprintf(delta, sizeof(delta), "{\"tool_calls\":[{\"index\":0,\"id\":\"call_%08xx\","
                                       "\"type\":"
                 "\"function\",\"function\":{\"name\":\"look_up\",\"arguments\":\"\"}}]}", k);
    chunk(out, k, delta, "null");
    *half = out->len;
    snprintf(delta, sizeof(delta), "{\"content\":\"zq7kn1%08x\"}", k);
    if (calls)
        snprintf(delta, sizeof(delta), "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
                 "\"{\\\"q\\\":\\\"zq7kn3%08x\\\"}\"}}]}", k);
    chunk(out, k, delta, "null");
    chunk(out, k, "{}", calls ? "\"tool_calls\"" : "\"stop\"");
    event(out, NULL, "{\"id\":\"chatcmpl-%08x\",\"object\":\"chat.completion.chunk\",\"created\":"
          "1700000000,\"model\":\"up\",\"choices\":[],%s}", k, usage_chat);
    event(out, NULL, "[DONE]");
}

static void completion(struct text *out, size_t *first, size_t *half, bool stream, uint32_t k)
{
    static const char head[] = "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":"
                               "1700000000,\"model\":\"up\",\"choices\":[";

    if (!stream) {
        text_put(out, "%s{\"index\":0,\"text\":\"SAID%08x zq7kn1%08x\",\"logprobs\":null,"
                 "\"finish_reason\":\"stop\"}],%s}", head, k, k, usage_chat);
        return;
    }
    event(out, NULL, "%s{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":"
                     "null}]}", head);
    *first = out->len;
    event(out, NULL, "%s{\"index\":0,\"text\":\"zq7kn1%08x\",\"logprobs\":null,\"finish_reason\":"
          "null}]}", head, k);
    *half = out->len;
    event(out, NULL, "%s{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":"
                     "\"stop\"}]}",
          head);
    event(out, NULL, "%s],%s}", head, usage_chat);
    event(out, NULL, "[DONE]");
}

/* ---- messages ------------------------------------------------------------------------------- */

static void messages_whole(struct text *out, uint32_t k, bool calls)
{
    text_put(out, "{\"id\":\"msg_%08x\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
                  "\"up\","
             "\"content\":[", k);
    if (calls)
        text_put(out, "{\"type\":\"thinking\",\"thinking\":\"hm zq7kn2%08x\",\"signature\":"
                 "\"seal-zq7kn2%08x\"},{\"type\":\"tool_use\",\"id\":\"call_%08xx\",\"name\":"
                 "\"look_up\",\"input\":{\"q\":\"zq7kn3%08x\"}}", k, k, k, k);
    else
        text_put(out, "{\"type\":\"text\",\"text\":\"SAID%08x zq7kn1%08x\"}", k, k);
    text_put(out, "],\"stop_reason\":\"%s\",\"stop_sequence\":null,%s}",
             calls ? "tool_use" : "end_turn", usage_messages);
}

static void block_start(struct text *out, int i, const char *block)
{
    event(out, "content_block_start", "{\"type\":\"content_block_start\",\"index\":%d,"
          "\"content_block\":%s}", i, block);
}

static void block_delta(struct text *out, int i, const char *kind, const char *name,
                        const char *value, uint32_t k)
{
    event(out, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":%d,\"delta\":"
          "{\"type\":\"%s\",\"%s\":\"%s%08x%s\"}}", i, kind, name, value, k,
          strcmp(kind, "input_json_delta") ? "" : "\\\"}");
}

static void block_stop(struct text *out, int i)
{
    event(out, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":%d}", i);
}

static void messages_stream(struct text *out, size_t *first, size_t *half, uint32_t k, bool calls)
{
    char block[128];

    event(out, "message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_%08x\","
                                "\"type\":"
          "\"message\",\"role\":\"assistant\",\"model\":\"up\",\"content\":[],\"stop_reason\":"
          "null,"
          "\"stop_sequence\":null,%s}}", k, usage_messages);
    event(out, "ping", "{\"type\":\"ping\"}");
    *first = out->len;
    if (calls) {
        block_start(out, 0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
        block_delta(out, 0, "thinking_delta", "thinking", "hm zq7kn2", k);
        *half = out->len;
        block_delta(out, 0, "signature_delta", "signature", "seal-zq7kn2", k);
        block_stop(out, 0);
        snprintf(block, sizeof(block), "{\"type\":\"tool_use\",\"id\":\"call_%08xx\",\"name\":"
                 "\"look_up\",\"input\":{}}", k);
        block_start(out, 1, block);
        block_delta(out, 1, "input_json_delta", "partial_json", "{\\\"q\\\":\\\"zq7kn3", k);
    } else {
        block_start(out, 0, "{\"type\":\"text\",\"text\":\"\"}");
        block_delta(out, 0, "text_delta", "text", "SAID", k);
        *half = out->len;
        block_delta(out, 0, "text_delta", "text", " zq7kn1", k);
    }
    block_stop(out, calls);
    event(out, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\","
          "\"stop_sequence\":null},\"usage\":{\"output_tokens\":"
          "5}}", calls ? "tool_use" : "end_turn");
    event(out, "message_stop", "{\"type\":\"message_stop\"}");
}

/* ---- responses ------------------------------------------------------------------------------ */

static void response(struct text *out, uint32_t k, const char *status, bool calls, bool output)
{
    text_put(out, "{\"id\":\"resp_%08x\",\"object\":\"response\",\"created_at\":1700000000,"
                  "\"model\":"
             "\"up\",\"status\":\"%s\",\"error\":null,\"incomplete_details\":null,"
             "\"instructions\":null,"
             "\"metadata\":{},\"parallel_tool_calls\":true,\"temperature\":1.0,\"tool_choice\":"
             "\"auto\","
             "\"tools\":[],\"top_p\":1.0,\"output\":[", k, status);
    if (output && calls)
        text_put(out, "{\"type\":\"reasoning\",\"id\":\"rs_%08x\",\"summary\":[{\"type\":"
                 "\"summary_text\",\"text\":\"hm zq7kn2%08x\"}],\"encrypted_content\":"
                 "\"seal-zq7kn2%08x\"},{\"type\":\"function_call\",\"id\":\"fc_%08x\",\"call_id\":"
                 "\"call_%08xx\",\"name\":\"look_up\",\"arguments\":\"{\\\"q\\\":"
                 "\\\"zq7kn3%08x\\\"}\","
                 "\"status\":\"completed\"}", k, k, k, k, k, k);
    else if (output)
        text_put(out, "{\"type\":\"message\",\"id\":\"msg_%08x\",\"role\":\"assistant\","
                      "\"status\":"
                 "\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"SAID%08x "
                 "zq7kn1%08x\",\"annotations\":[]}]}", k, k, k);
    text_put(out, "],%s}", output ? usage_responses : "\"usage\":null");
}

static void response_event(struct text *out, uint32_t k, const char *name, const char *status,
                           bool calls, bool output)
{
    text_put(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":1,\"response\":"
                  "", name, name);
    response(out, k, status, calls, output);
    text_put(out, "}\n\n");
}

static void item_event(struct text *out, uint32_t k, const char *name, int i, const char *fmt)
{
    char item[512];

    if (!strcmp(fmt, "message"))
        snprintf(item, sizeof(item), "{\"type\":\"message\",\"id\":\"msg_%08x\",\"role\":"
                                     "\"assistant\","
                 "\"status\":\"in_progress\",\"content\":[]}", k);
    else if (!strcmp(fmt, "call"))
        snprintf(item, sizeof(item), "{\"type\":\"function_call\",\"id\":\"fc_%08x\",\"call_id\":"
                 "\"call_%08xx\",\"name\":\"look_up\",\"arguments\":\"\",\"status\":"
                 "\"in_progress\"}",
                 k, k);
    else if (!strcmp(fmt, "called"))
        snprintf(item, sizeof(item), "{\"type\":\"function_call\",\"id\":\"fc_%08x\",\"call_id\":"
                 "\"call_%08xx\",\"name\":\"look_up\",\"arguments\":\"{\\\"q\\\":"
                 "\\\"zq7kn3%08x\\\"}\","
                 "\"status\":\"completed\"}", k, k, k);
    else if (!strcmp(fmt, "thought"))
        snprintf(item, sizeof(item), "{\"type\":\"reasoning\",\"id\":\"rs_%08x\",\"summary\":"
                 "[{\"type\":\"summary_text\",\"text\":\"hm zq7kn2%08x\"}],\"encrypted_content\":"
                 "\"seal-zq7kn2%08x\"}", k, k, k);
    else
        snprintf(item, sizeof(item), "{\"type\":\"reasoning\",\"id\":\"rs_%08x\",\"summary\":"
                                     "[]}", k);
    event(out, name, "{\"type\":\"%s\",\"sequence_number\":1,\"output_index\":%d,\"item\":"
                     "%s}", name, i,
          item);
}

static void item_delta(struct text *out, const char *name, const char *where, int i,
                       const char *value)
{
    event(out, name, "{\"type\":\"%s\",\"sequence_number\":1,%s,\"output_index\":%d,\"delta\":"
                     "\"%s\"}",
          name, where, i, value);
}

static void response_calls(struct text *out, size_t *half, uint32_t k)
{
    char where[64], value[64];

    item_event(out, k, "response.output_item.added", 0, "reasoning");
    snprintf(where, sizeof(where), "\"item_id\":\"rs_%08x\",\"summary_index\":0", k);
    snprintf(value, sizeof(value), "hm zq7kn2%08x", k);
    item_delta(out, "response.reasoning_summary_text.delta", where, 0, value);
    *half = out->len;
    item_event(out, k, "response.output_item.done", 0, "thought");
    item_event(out, k, "response.output_item.added", 1, "call");
    snprintf(where, sizeof(where), "\"item_id\":\"fc_%08x\"", k);
    snprintf(value, sizeof(value), "{\\\"q\\\":\\\"zq7kn3%08x\\\"}", k);
    item_delta(out, "response.function_call_arguments.delta", where, 1, value);
    item_event(out, k, "response.output_item.done", 1, "called");
}

static void responses_stream(struct text *out, size_t *first, size_t *half, uint32_t k, bool calls)
{
    char where[64], value[64];

    response_event(out, k, "response.created", "in_progress", calls, false);
    *first = out->len;
    if (calls) {
        response_calls(out, half, k);
    } else {
        item_event(out, k, "response.output_item.added", 0, "message");
        snprintf(where, sizeof(where), "\"item_id\":\"msg_%08x\",\"content_index\":0", k);
        snprintf(value, sizeof(value), "SAID%08x", k);
        item_delta(out, "response.output_text.delta", where, 0, value);
        *half = out->len;
        snprintf(value, sizeof(value), " zq7kn1%08x", k);
        item_delta(out, "response.output_text.delta", where, 0, value);
    }
    response_event(out, k, "response.completed", "completed", calls, true);
}

/* ---- all of them ---------------------------------------------------------------------------- */

void say_answer(struct text *out, size_t *first, size_t *half, enum dialect d, bool stream,
                uint32_t k, bool calls)
{
    *first = *half = 0;
    switch (d) {
    case COUNT:
        text_put(out, "{\"input_tokens\":17}");
        break;
    case EMBEDDINGS:
        text_put(out, "{\"object\":\"list\",\"model\":\"up\",\"data\":[{\"object\":\"embedding\","
                 "\"index\":0,\"embedding\":[0.5,-0.5]}],\"usage\":{\"prompt_tokens\":9,"
                 "\"total_tokens\":9}}");
        break;
    case COMPLETIONS:
        completion(out, first, half, stream, k);
        break;
    case CHAT:
        if (stream)
            chat_stream(out, first, half, k, calls);
        else
            chat_whole(out, k, calls);
        break;
    case MESSAGES:
        if (stream)
            messages_stream(out, first, half, k, calls);
        else
            messages_whole(out, k, calls);
        break;
    default:
        if (stream)
            responses_stream(out, first, half, k, calls);
        else
            response(out, k, "completed", calls, true);
    }
}

void say_error(struct text *out, enum dialect d, int status, const char *echo)
{
    const char *type = status == 429 ? "rate_limit_error" : status == 404 ? "not_found_error" :
                       status < 500 ? "invalid_request_error" : "api_error";

    if (d == MESSAGES || d == COUNT)
        text_put(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":"
                      "\"I cannot do %s\"}}",
                 type, echo);
    else
        text_put(out, "{\"error\":{\"message\":\"I cannot do %s\",\"type\":\"%s\",\"param\":null,"
                 "\"code\":%s}}", echo, type,
                 status == 413 ? "\"context_length_exceeded\"" : "null");
}

void say_error_event(struct text *out, enum dialect d, const char *echo)
{
    if (d == MESSAGES)
        event(out, "error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                            "\"message\":"
              "\"no more of %s\"}}", echo);
    else if (d == RESPONSES)
        event(out, "error", "{\"type\":\"error\",\"sequence_number\":1,\"code\":\"server_error\","
              "\"message\":\"no more of %s\",\"param\":null}", echo);
    else
        event(out, NULL, "{\"error\":{\"message\":\"no more of %s\",\"type\":\"server_error\","
              "\"param\":null,\"code\":null}}", echo);
}
