/* test_answer.c - answers of upstreams as events, and those in the client's dialect: what is said
 * in any of the three arrives in any other. */
#include <criterion/criterion.h>

#include "wire/carry.h"
#include "wire/form.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "chat", "messages", "responses" };

/* What an answer said, all of it. */
struct heard {
    struct buf text, think, args, seal, calls, match, error;
    enum wire_finish finish;
    struct wire_usage usage;
    int n_begin, n_end, n_done, n_fail;
    bool has_usage;
    struct wire_reply *reply;           /* where it goes on to, or NULL */
    struct buf *out;
};

static enum err hear(void *arg, const struct wire_event *e)
{
    struct heard *h = arg;

    switch (e->kind) {
    case WIRE_BEGIN: h->n_begin++; break;
    case WIRE_TEXT:  buf_add(&h->text, e->text, e->len); break;
    case WIRE_THINK: buf_add(&h->think, e->text, e->len); break;
    case WIRE_SEAL:  buf_add(&h->seal, e->text, e->len); break;
    case WIRE_CALL:  buf_printf(&h->calls, "%s=%s;", e->id, e->name); break;
    case WIRE_ARGS:  buf_add(&h->args, e->text, e->len); break;
    case WIRE_END:
        h->n_end++;
        h->finish = e->finish;
        buf_add(&h->match, e->text, e->len);
        break;
    case WIRE_DONE:
        h->n_done++;
        h->usage = e->usage;
        h->has_usage = e->usage_json;
        break;
    case WIRE_FAIL:
        h->n_fail++;
        buf_printf(&h->error, "%d %s", wire_error_status(e->error->code), e->error->text);
        break;
    }
    return h->reply ? wire_reply_event(h->reply, h->out, e) : OK;
}

static void forget(struct heard *h)
{
    struct buf *all[] = { &h->text, &h->think, &h->args, &h->seal, &h->calls, &h->match,
                          &h->error };

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        buf_release(all[i]);
    *h = (struct heard){ 0 };
}

static struct wire_answer answer(int d, struct heard *h)
{
    return (struct wire_answer){ .dialect = wire_dialect_find(names[d]), .emit = hear, .arg = h };
}

/* The data of a stream, event by event. */
static void feed_stream(struct wire_answer *a, const char *stream)
{
    const char *at = stream;

    while ((at = strstr(at, "data: "))) {
        const char *end = strstr(at, "\n\n");
        cr_assert(end, "%s", at);
        cr_assert_eq(wire_answer_event(a, at + 6, (size_t)(end - at) - 6), OK);
        at = end;
    }
    cr_assert_eq(wire_answer_end(a), OK);
}

static void feed_whole(struct wire_answer *a, const char *body)
{
    cr_assert_eq(wire_answer_whole(a, body, strlen(body)), OK);
}

static void start(struct wire_reply *w, int d, bool stream)
{
    static const char *const bodies[] = {
        ("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"stream\":%s,\"stream_options\":"
         "{\"include_usage\":true}}"),
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"stream\":%s}",
        "{\"input\":\"a\",\"stream\":%s}" };
    static const struct wire_about about = { "1", "m", NULL, 1 };
    struct wire_request r;
    struct wire_error why;
    char body[256];

    snprintf(body, sizeof(body), bodies[d], stream ? "true" : "false");
    cr_assert_eq(wire_read(&r, &why, wire_dialect_find(names[d]), body, strlen(body)), OK);
    cr_assert_eq(wire_reply_init(w, &r, &about), OK);
    wire_request_release(&r);
}

/* One answer with everything: two thoughts, texts around them, two calls. */
static const struct wire_event all[] = {
    { .kind = WIRE_BEGIN, .usage = { .prompt_tok = 30, .cached_tok = 20 } },
    { .kind = WIRE_THINK, .text = "let me ", .len = 7 },
    { .kind = WIRE_THINK, .text = "see\xe2\x82", .len = 5 },
    { .kind = WIRE_THINK, .text = "\xac", .len = 1 },
    { .kind = WIRE_TEXT, .text = "I \"will\"\n", .len = 9 },
    { .kind = WIRE_CALL, .id = "c1", .name = "f" },
    { .kind = WIRE_ARGS, .text = "{\"x\"", .len = 4 },
    { .kind = WIRE_ARGS, .text = ":\"\xc3\xa9\"}", .len = 6 },
    { .kind = WIRE_CALL, .id = "c2", .name = "g" },
    { .kind = WIRE_ARGS, .text = "{}", .len = 2 },
    { .kind = WIRE_END, .finish = WIRE_FINISH_CALLS },
    { .kind = WIRE_DONE, .usage = { .prompt_tok = 30, .cached_tok = 20, .answer_tok = 12,
                                    .think_tok = 5 } },
};

static void check_heard(const struct heard *h, int d, bool stream)
{
    const char *where = names[d];

    cr_expect(h->n_begin == 1 && h->n_end == 1 && h->n_done == 1 && !h->n_fail, "%s %d: %s", where,
              stream, buf_text(&h->error));
    cr_expect_str_eq(buf_text(&h->text), "I \"will\"\n", "%s %d", where, stream);
    cr_expect_str_eq(buf_text(&h->think), "let me see\xe2\x82\xac", "%s %d", where, stream);
    cr_expect_str_eq(buf_text(&h->calls), "c1=f;c2=g;", "%s %d", where, stream);
    cr_expect_str_eq(buf_text(&h->args), "{\"x\":\"\xc3\xa9\"}{}", "%s %d", where, stream);
    cr_expect_eq(h->finish, WIRE_FINISH_CALLS, "%s %d", where, stream);
    cr_expect(h->has_usage && h->usage.prompt_tok == 30 && h->usage.cached_tok == 20 &&
              h->usage.answer_tok == 12, "%s %d", where, stream);
    cr_expect_eq(h->usage.think_tok, d == 1 ? 0 : 5, "%s %d", where, stream);
}

/* What is written in a dialect, read again; `next`: on the way it is written in another one. */
static void write_and_hear(int d, bool stream)
{
    struct wire_reply w, w2;
    struct buf out = { 0 }, out2 = { 0 };
    struct heard h = { 0 };
    int next = (d + 1) % 3;

    start(&w, d, stream);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        cr_assert_eq(wire_reply_event(&w, &out, &all[i]), OK);
    start(&w2, next, stream);
    h.reply = &w2;
    h.out = &out2;
    struct wire_answer a = answer(d, &h);
    (stream ? feed_stream : feed_whole)(&a, out.data);
    check_heard(&h, d, stream);
    wire_answer_release(&a);
    forget(&h);
    a = answer(next, &h);
    (stream ? feed_stream : feed_whole)(&a, out2.data);
    h.usage.think_tok = next == 1 || d == 1 ? (next == 1 ? 0 : 5) : h.usage.think_tok;
    check_heard(&h, next, stream);
    wire_answer_release(&a);
    forget(&h);
    wire_reply_release(&w);
    wire_reply_release(&w2);
    buf_release(&out);
    buf_release(&out2);
}

Test(answer, what_is_written_in_a_dialect_is_read_in_it_and_carried_on)
{
    for (int d = 0; d < 3; d++) {
        write_and_hear(d, true);
        write_and_hear(d, false);
    }
}

/* ---- the table ---- */

static const char *const bases[] = {
    "{\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
    "\"completion_tokens\":5}}",
    "{\"id\":\"1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"
    "\"type\":\"text\",\"text\":\"a\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":9,"
    "\"output_tokens\":5}}",
    "{\"id\":\"1\",\"status\":\"completed\",\"model\":\"m\",\"output\":[{\"type\":\"message\","
    "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]}],\"usage\":{"
    "\"input_tokens\":9,\"output_tokens\":5}}" };

/* A whole answer of `from` with these members, as a client of `to` gets it; what was kept aside. */
static struct buf answered(int from, int to, const char *members, struct buf *kept)
{
    json_t *body = json_loads(bases[from], 0, NULL), *more;
    char *text = strdup(members);
    struct heard h = { 0 };
    struct wire_reply w;
    struct buf out = { 0 };

    for (char *at = text; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    more = json_loads(text, 0, NULL);
    cr_assert(body && more, "%s", text);
    free(text);
    json_object_update(body, more);
    text = json_dumps(body, JSON_COMPACT);
    start(&w, to, false);
    h.reply = &w;
    h.out = &out;
    struct wire_answer a = answer(from, &h);
    feed_whole(&a, text);
    buf_add(kept, buf_text(&h.seal), h.seal.len);
    wire_answer_release(&a);
    wire_reply_release(&w);
    forget(&h);
    json_decref(body);
    json_decref(more);
    free(text);
    return out;
}

static void check_line(const struct wire_carry *c, int from, int to)
{
    enum wire_verdict v = wire_carry_to(c, wire_dialect_find(names[to]));
    struct buf kept = { 0 }, none = { 0 };
    struct buf with = answered(from, to, c->with, &kept);
    struct buf without = answered(from, to, c->without, &none);
    bool same = !strcmp(buf_text(&with), buf_text(&without));

    cr_expect_eq(same, v != WIRE_CARRIED, "%s %s to %s: %s\n%s", names[from], c->field, names[to],
                 buf_text(&with), buf_text(&without));
    cr_expect(v != WIRE_REFUSED);
    if (v == WIRE_KEPT)
        cr_expect(kept.len && !none.len, "%s is kept for whoever keeps it", c->field);
    buf_release(&kept);
    buf_release(&none);
    buf_release(&with);
    buf_release(&without);
}

Test(answer, every_line_of_the_table_does_what_it_says)
{
    const struct wire_carry *c;
    int n = 0;

    for (size_t i = 0; (c = wire_carry_at(i)); i++)
        for (int from = 0; from < 3 && c->reply; from++)
            for (int to = 0; to < 3; to++)
                if (wire_dialect_find(names[from]) == c->from && to != from) {
                    check_line(c, from, to);
                    n++;
                }
    cr_expect_geq(n, 70);
}

#define M(text) "data: " text "\n\n"
#define START M("{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\"," \
                "\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4," \
                "\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}")
#define STOP(reason) M("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason "\"," \
                       "\"stop_sequence\":\"END\"},\"usage\":{\"output_tokens\":9}}") \
                     M("{\"type\":\"message_stop\"}")
#define BLOCK(i, block) M("{\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":" \
                          block "}")
#define DELTA(i, delta) M("{\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":" delta "}")
#define CLOSE(i) M("{\"type\":\"content_block_stop\",\"index\":" #i "}")

Test(answer, seals_stop_sequences_and_cache_counts_come_out_of_messages)
{
    struct heard h = { 0 };
    struct wire_answer a = answer(1, &h);

    feed_stream(&a, START M("{\"type\":\"ping\"}")
                BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
                DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
                DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}") CLOSE(0)
                BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"eHh4\"}") CLOSE(1)
                BLOCK(2, "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\"}")
                DELTA(2, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}") CLOSE(2)
                BLOCK(3, "{\"type\":\"text\",\"text\":\"a\"}")
                DELTA(3, "{\"type\":\"text_delta\",\"text\":\"b\"}") CLOSE(3)
                STOP("stop_sequence"));
    cr_expect_str_eq(buf_text(&h.seal), "c2lneHh4");
    cr_expect_str_eq(buf_text(&h.text), "ab");
    cr_expect_str_eq(buf_text(&h.calls), "");
    cr_expect(h.finish == WIRE_FINISH_MATCH && !strcmp(buf_text(&h.match), "END"));
    cr_expect(h.usage.prompt_tok == 12 && h.usage.cached_tok == 4 && h.usage.kept_tok == 5 &&
              h.usage.answer_tok == 9 && h.n_done == 1);
    cr_expect_str_eq(buf_text(&a.id), "msg_1");
    wire_answer_release(&a);
    forget(&h);
}

Test(answer, a_signature_that_came_reaches_a_client_of_messages_with_its_thought)
{
    static const struct wire_event events[] = {
        { .kind = WIRE_BEGIN }, { .kind = WIRE_THINK, .text = "hm", .len = 2 },
        { .kind = WIRE_SEAL, .seal = WIRE_SEAL_SIGNATURE, .text = "c2ln", .len = 4 },
        { .kind = WIRE_SEAL, .seal = WIRE_SEAL_ENCRYPTED, .text = "ZW5j", .len = 4 },
        { .kind = WIRE_SEAL, .seal = WIRE_SEAL_REDACTED, .text = "eHh4", .len = 4,
          .apart = true },
        { .kind = WIRE_THINK, .text = "ho", .len = 2 },
        { .kind = WIRE_TEXT, .text = "a", .len = 1 },
        { .kind = WIRE_TEXT, .text = "b", .len = 1, .apart = true }, { .kind = WIRE_END },
        { .kind = WIRE_DONE } };
    struct wire_reply w;
    struct buf out = { 0 };

    start(&w, 1, false);
    for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
        cr_assert_eq(wire_reply_event(&w, &out, &events[i]), OK);
    cr_expect(strstr(out.data, "\"content\":["
              "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},"
              "{\"type\":\"redacted_thinking\",\"data\":\"eHh4\"},"
              "{\"type\":\"thinking\",\"thinking\":\"ho\",\"signature\":\"" WIRE_NO_SIGNATURE "\"},"
              "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}],"
              "\"stop_reason\":\"end_turn\""), "%s", out.data);
    wire_reply_release(&w);
    buf_release(&out);
}

Test(answer, events_of_responses_are_numbered_one_by_one)
{
    struct wire_reply w;
    struct buf out = { 0 };
    long want = 0;

    start(&w, 2, true);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        cr_assert_eq(wire_reply_event(&w, &out, &all[i]), OK);
    for (const char *at = out.data; (at = strstr(at, "\"sequence_number\":")); want++)
        cr_expect_eq(strtol(at += 18, NULL, 10), want);
    cr_expect_gt(want, 20);
    cr_expect(strstr(out.data, "event: response.completed\n"));
    wire_reply_release(&w);
    buf_release(&out);
}

#define C(text) M("{\"id\":\"1\",\"choices\":[{\"index\":0," text "}]}")
#define R(text) M("{\"type\":\"response." text "}")

/* Streams that make no sense, or end too early: one FAIL, nothing after it. */
Test(answer, an_upstream_that_makes_no_sense_fails_once)
{
    static const struct { int d; const char *stream, *text; } bad[] = {
        { 0, "", "too early" }, { 0, C("\"delta\":{\"content\":\"a\"}"), "too early" },
        { 0, M("nonsense"), "no JSON" }, { 0, M("[1]"), "no JSON" },
        { 0, M("{\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}") M("[DONE]"),
          "503 busy" },
        { 0, M("{\"error\":\"plain words\"}"), "502 plain words" },
        { 0, C("\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{}}]}"),
          "without a name" },
        { 0, C("\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"a\",\"function\":{\"name\":"
               "\"f\"}}]}")
             C("\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"x\"}}]}"),
          "mixed" },
        { 0, C("\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":"
               "\"f\"}}]}")
             C("\"delta\":{\"content\":\"a\"}")
             C("\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"x\"}}]}"),
          "arguments of no call" },
        { 0, M("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"}}]}"), "too many choices" },
        { 1, START, "too early" }, { 1, START DELTA(0, "{\"type\":\"text_delta\"}"), "not open" },
        { 1, START BLOCK(0, "{\"type\":\"text\"}") BLOCK(1, "{\"type\":\"text\"}"),
          "inside another" },
        { 1, START M("{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
                     "\"slow down\"}}"), "429 slow down" },
        { 2, R("created\",\"response\":{\"id\":\"r\"}"), "too early" },
        { 2, R("output_text.delta\",\"output_index\":0,\"delta\":\"a\""), "not open" },
        { 2, R("failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
               "\"rate_limit_exceeded\",\"message\":\"slow\"}}"), "429 slow" },
        { 2, R("completed\",\"response\":{\"status\":\"queued\"}"), "not complete" },
        { 2, M("{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"oh\"}"), "502 oh" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        for (int client = 0; client < 3; client++) {
            struct heard h = { 0 };
            struct wire_reply w;
            struct buf out = { 0 };
            struct wire_answer a = answer(bad[i].d, &h);
            start(&w, client, true);
            h.reply = &w;
            h.out = &out;
            feed_stream(&a, bad[i].stream);
            cr_expect(h.n_fail == 1 && !h.n_done, "%zu", i);
            cr_expect(strstr(buf_text(&h.error), bad[i].text), "%zu: %s", i, buf_text(&h.error));
            cr_expect(out.len);
            wire_answer_release(&a);
            wire_reply_release(&w);
            buf_release(&out);
            forget(&h);
        }
    }
}

Test(answer, servers_that_say_less_than_others_are_understood)
{
    struct heard h = { 0 };
    struct wire_answer a = answer(0, &h);

    /* no index, no id, no [DONE], "stop" after calls */
    feed_stream(&a, C("\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
                      "\"{}\"}}]}")
                C("\"delta\":{},\"finish_reason\":\"stop\""));
    cr_expect(h.n_done == 1 && h.finish == WIRE_FINISH_CALLS && !h.has_usage);
    cr_expect_str_eq(buf_text(&h.calls), "call_1_0_1=f;");
    wire_answer_release(&a);
    forget(&h);
    a = answer(2, &h);                  /* items that are only done, never added */
    feed_stream(&a, R("created\",\"response\":{\"id\":\"r\"}")
                R("output_item.done\",\"item\":{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":"
                  "[{\"text\":\"a\"},{\"text\":\"b\"}],\"encrypted_content\":\"ZW5j\"}")
                R("output_item.done\",\"item\":{\"type\":\"message\",\"content\":[{\"type\":"
                  "\"output_text\",\"text\":\"x\"}]}")
                R("completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":"
                  "[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":"
                  "\"x\"}]}]}"));
    cr_expect(h.n_done == 1 && !h.n_fail, "%s", buf_text(&h.error));
    cr_expect_str_eq(buf_text(&h.text), "x");
    cr_expect_str_eq(buf_text(&h.think), "a\n\nb");
    cr_expect_str_eq(buf_text(&h.seal), "ZW5j");
    wire_answer_release(&a);
    forget(&h);
}

Test(answer, counts_beyond_measure_are_none)
{
    static const char *const bodies[] = {
        "{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":"
        "9223372036854775807,\"completion_tokens\":9223372036854775807}}",
        "{\"content\":[],\"usage\":{\"input_tokens\":9223372036854775807,"
        "\"cache_read_input_tokens\":9007199254740992,\"output_tokens\":-4}}",
        "{\"status\":\"completed\",\"usage\":{\"input_tokens\":1e300,\"output_tokens\":"
        "9223372036854775807}}" };

    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++) {
            struct heard h = { 0 };
            struct wire_reply w;
            struct buf out = { 0 };
            start(&w, to, false);
            h.reply = &w;
            h.out = &out;
            struct wire_answer a = answer(from, &h);
            feed_whole(&a, bodies[from]);
            cr_expect(h.n_done == 1, "%s", buf_text(&h.error));
            cr_expect_eq(h.usage.prompt_tok, from == 1 ? (int64_t)1 << 53 : 0);
            cr_expect_eq(h.usage.answer_tok, 0);
            wire_answer_release(&a);
            wire_reply_release(&w);
            buf_release(&out);
            forget(&h);
        }
}

Test(answer, errors_of_upstreams_become_those_of_the_catalogue)
{
    static const struct { int status; const char *body; enum wire_code code; const char *text; }
    cases[] = {
        { 400, "{\"error\":{\"message\":\"This model's maximum context length is 8 tokens\"}}",
          WIRE_E_CONTEXT, "This model's" },
        { 400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
          "\"prompt is too long: 9 tokens > 8 maximum\"}}", WIRE_E_CONTEXT, "prompt is" },
        { 429, "{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"pay\"}}", WIRE_E_QUOTA,
          "pay" },
        { 402, "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\",\"message\":\"pay\"}}",
          WIRE_E_QUOTA, "pay" },
        { 429, "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"x\"}}",
          WIRE_E_RATE_REQUESTS, "x" },
        { 529, "<html>", WIRE_E_OVERLOADED, "" }, { 500, "", WIRE_E_UPSTREAM, "" },
        { 418, "{}", WIRE_E_VALUE, "" }, { 401, "[]", WIRE_E_BAD_KEY, "" },
    };
    struct wire_error why;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cr_assert_eq(wire_error_read(&why, wire_dialect_find("chat"), cases[i].status,
                                     cases[i].body, strlen(cases[i].body)), OK);
        cr_expect_eq(why.code, cases[i].code, "%zu: %s", i, why.text);
        cr_expect_eq(strncmp(why.text, cases[i].text, strlen(cases[i].text)), 0, "%s", why.text);
        cr_expect(why.text[0]);
    }
    cr_expect_eq(wire_error_status_in(wire_dialect_find("messages"), WIRE_E_QUOTA), 402);
    cr_expect_eq(wire_error_status_in(wire_dialect_find("chat"), WIRE_E_QUOTA), 429);
}
