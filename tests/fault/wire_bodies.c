/* wire_bodies.c - see wire_bodies.h: requests read and replies written, as a server does. */
#include "wire_bodies.h"

#include "wire/wire.h"

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
