/* wire_bodies.c - see wire_bodies.h: requests read and replies written, as a server does. */
#include "wire_bodies.h"

#include "wire/carry.h"

#include <stdio.h>
#include <string.h>

/* More text than the first blocks of an arena hold. */
static const char chat[] =
    "{\"model\":\"m\",\"metadata\":{\"a\":\"b\"},\"logit_bias\":{\"1\":2},\"stop\":[\"x\",\"y\"],"
    "\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":"
    "[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"user\","
    "\"name\":\"n\",\"content\":[{\"type\":\"text\",\"text\":\"%*d\"}]}]}";

static enum err parse(struct wire_request *r, const char *dialect, const char *body)
{
    struct wire_error why;
    enum err e = wire_parse(r, &why, wire_dialect_find(dialect), body, strlen(body));

    ASSERT(e == OK || (e == ERR_NOMEM && why.code == WIRE_E_NO_MEMORY && why.text[0]));
    return e;
}

enum err body_wire_chat(void)
{
    static char body[16384];
    struct wire_request r;

    snprintf(body, sizeof(body), chat, 9000, 7);
    enum err e = parse(&r, "chat", body);
    if (e == OK)
        wire_request_release(&r);
    return e;
}

enum err body_wire_prompt(void)
{
    struct wire_request r;
    enum err e = parse(&r, "completions", "{\"prompt\":[[1,2,3],\"text\"],\"suffix\":\"s\"}");

    if (e == OK)
        wire_request_release(&r);
    return e;
}

/* The body of every request is parsed first; only the reply's allocations are of interest, but
 * those fail in their turn as well. */
static enum err reply(const char *dialect, const char *body)
{
    static const struct wire_logprob token = { { "\xe2\x82", 2, -1.5f }, NULL, 0 };
    static const struct wire_event events[] = {
        { .kind = WIRE_BEGIN }, { .kind = WIRE_THINK, .text = "hm", .len = 2 },
        { .kind = WIRE_TEXT, .text = "a\xe2\x82", .len = 3, .logprob = &token, .n_logprob = 1 },
        { .kind = WIRE_END }, { .kind = WIRE_DONE } };
    struct wire_about about = { "1", "m", "fp", 1 };
    struct wire_request r;
    struct wire_reply w;
    struct buf out = { 0 };
    enum err e = parse(&r, dialect, body);

    if (e != OK)
        return e;
    e = wire_reply_init(&w, &r, &about);
    for (size_t i = 0; i < sizeof(events) / sizeof(*events) && e == OK; i++)
        e = wire_reply_event(&w, &out, &events[i]);
    wire_reply_release(&w);
    wire_request_release(&r);
    buf_release(&out);
    return e;
}

enum err body_wire_stream(void)
{
    return reply("chat", "{\"stream\":true,\"logprobs\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"a\"}]}");
}

enum err body_wire_whole(void)
{
    return reply("completions", "{\"prompt\":\"a\",\"logprobs\":1}");
}

enum err body_wire_embeddings(void)
{
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    struct buf out = { 0 };

    wire_embeddings_write(&out, "m", x, 2, 3, 4, true);
    enum err e = buf_ok(&out);
    buf_release(&out);
    return e;
}

/* A request of one dialect for another. */
static enum err carry(const char *from, const char *to, const char *body)
{
    struct wire_target target = { wire_dialect_find(to), "m", 0, true, true, false };
    struct wire_notes notes;
    struct wire_error why;
    struct wire_request r;
    struct buf out = { 0 };
    enum err e = wire_read(&r, &why, wire_dialect_find(from), body, strlen(body));

    ASSERT(e == OK || (e == ERR_NOMEM && why.code == WIRE_E_NO_MEMORY && why.text[0]));
    if (e != OK)
        return e;
    e = wire_write(&out, &notes, &why, &r, &target);
    ASSERT(e == OK || (e == ERR_NOMEM && why.code == WIRE_E_NO_MEMORY));
    wire_request_release(&r);
    buf_release(&out);
    return e;
}

enum err body_wire_carry(void)
{
    enum err e = carry("responses", "messages",
                       "{\"instructions\":\"s\",\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\","
                       "\"summary\":[{\"text\":\"a\"},{\"text\":\"b\"}],"
                       "\"encrypted_content\":\"x\"},"
                       "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
                       "\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"c\","
                       "\"output\":\"7\"}],"
                       "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}]}");
    if (e != OK)
        return e;
    return carry("messages", "chat",
                 "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                 "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":"
                 "\"iVBO\"}},{\"type\":\"text\",\"text\":\"a\"}]}],\"tools\":[{\"name\":\"f\","
                 "\"input_schema\":{}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}}");
}

enum err body_wire_same(void)
{
    return carry("chat", "chat", "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
                 "[{\"type\":\"image_url\",\"image_url\":{\"url\":"
                 "\"data:image/png;base64,iVBO\"}}]}],"
                 "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
                 "\"schema\":{}}},\"store\":true}");
}

struct sink { struct wire_reply w; struct buf out; };

static enum err emit(void *arg, const struct wire_event *e)
{
    struct sink *s = arg;

    return wire_reply_event(&s->w, &s->out, e);
}

static enum err hear(const char *upstream, const char *client, const char *const *events,
                     bool whole)
{
    struct wire_about about = { "1", "m", NULL, 1 };
    struct wire_request r = { .dialect = wire_dialect_find(client), .n = 1,
                              .best_of = 1, .stream = !whole };
    struct sink s = { .out = { 0 } };
    struct wire_answer a = { .dialect = wire_dialect_find(upstream), .emit = emit, .arg = &s };
    enum err e = wire_reply_init(&s.w, &r, &about);

    for (; *events && e == OK; events++)
        e = whole ? wire_answer_whole(&a, *events, strlen(*events))
                  : wire_answer_event(&a, *events, strlen(*events));
    ASSERT(e != OK || a.over);
    wire_answer_release(&a);
    wire_reply_release(&s.w);
    buf_release(&s.out);
    return e;
}

enum err body_wire_hear(void)
{
    static const char *const events[] = {
        "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"x\",\"usage\":"
        "{\"input_tokens\":3}}}",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
        "\"thinking\":\"hm\"}}",
        "{\"type\":\"content_block_stop\",\"index\":0}",
        "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\","
        "\"id\":\"c\",\"name\":\"f\",\"input\":{\"a\":1}}}",
        "{\"type\":\"content_block_stop\",\"index\":1}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":"
        "{\"output_tokens\":5}}",
        "{\"type\":\"message_stop\"}", NULL };

    return hear("messages", "responses", events, false);
}

enum err body_wire_hear_whole(void)
{
    static const char *const body[] = {
        "{\"id\":\"r\",\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\",\"summary\":"
        "[{\"text\":\"a\"}],\"encrypted_content\":\"x\"},{\"type\":\"message\",\"content\":[{"
        "\"type\":\"output_text\",\"text\":\"b\"}]},{\"type\":\"function_call\",\"call_id\":\"c\","
        "\"name\":\"f\",\"arguments\":\"{}\"}],\"usage\":{\"input_tokens\":1}}", NULL };
    enum err e = hear("responses", "messages", body, true);

    return e != OK ? e : hear("responses", "chat", body, true);
}
