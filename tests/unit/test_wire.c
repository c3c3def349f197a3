/* test_wire.c - requests become the same whatever their spelling; replies are whole and valid. */
#include <criterion/criterion.h>

#include "wire/form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct wire_error why;

static enum err parse_as(struct wire_request *r, const char *dialect, const char *body)
{
    return wire_parse(r, &why, wire_dialect_find(dialect), body, strlen(body));
}

/* A conversation of these messages. */
static struct wire_request talk(const char *messages)
{
    struct wire_request r;
    struct buf body = { 0 };

    buf_printf(&body, "{\"messages\":[%s]}", messages);
    cr_assert_eq(parse_as(&r, "chat", buf_text(&body)), OK, "%s: %s", messages, why.text);
    buf_release(&body);
    return r;
}

static void refuse_talk(const char *messages, enum wire_code code, const char *param)
{
    struct wire_request r;
    struct buf body = { 0 };

    buf_printf(&body, "{\"messages\":[%s]}", messages);
    cr_assert_eq(parse_as(&r, "chat", buf_text(&body)), ERR_ARG, "%s", messages);
    cr_expect_eq(why.code, code, "%s: %s", messages, why.text);
    cr_expect_str_eq(why.param, param);
    cr_expect(strstr(why.text, param), "%s", why.text);
    buf_release(&body);
}

#define TEXT_A "{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}"

Test(wire_request, spellings_that_mean_the_same_become_the_same)
{
    static const char *const same[] = {
        "{\"role\":\"user\",\"content\":\"a\"}",
        "{\"content\":\"a\",\"role\":\"user\",\"name\":null}",
        "{\"role\":\"user\",\"name\":\"\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}",
        "{\"role\":\"user\",\"content\":[{\"text\":\"\",\"type\":\"text\"},"
        TEXT_A "]}",
    };

    for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
        struct wire_request r = talk(same[i]);
        const struct wire_message *m = r.message;
        cr_assert_eq(r.n_message, 1);
        cr_assert_eq(m->n_part, 1);
        cr_expect(m->role == WIRE_USER && !m->name.at && m->part[0].kind == WIRE_PART_TEXT);
        cr_expect_str_eq(m->part[0].text.at, "a");
        wire_request_release(&r);
    }
}

Test(wire_request, every_role_stays_where_it_stands)
{
    struct wire_request r = talk(
        "{\"role\":\"system\",\"content\":\"a\"},"
        "{\"role\":\"user\",\"content\":\"b\",\"name\":\"n\"},"
        "{\"role\":\"developer\",\"content\":\"c\"},"
        "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\","
        "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{ }\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"7\"},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
        "{\"role\":\"assistant\",\"content\":\"\",\"function_call\":{\"name\":\"g\",\"arguments\":"
        "\"\"}},{\"role\":\"function\",\"name\":\"g\",\"content\":\"8\"}");
    static const enum wire_role roles[] = { WIRE_SYSTEM, WIRE_USER, WIRE_DEVELOPER, WIRE_ASSISTANT,
                                            WIRE_TOOL, WIRE_ASSISTANT, WIRE_ASSISTANT, WIRE_TOOL };

    cr_assert_eq(r.n_message, 8);
    for (size_t i = 0; i < 8; i++)
        cr_expect_eq(r.message[i].role, roles[i], "%zu", i);
    cr_expect_str_eq(r.message[1].name.at, "n");
    const struct wire_part *p = r.message[3].part;
    cr_assert_eq(r.message[3].n_part, 2);
    cr_expect(p[0].kind == WIRE_PART_THINK && !strcmp(p[0].text.at, "hm"));
    cr_expect(p[1].kind == WIRE_PART_CALL && !strcmp(p[1].text.at, "{ }"));
    cr_expect(!strcmp(p[1].id.at, "c1") && !strcmp(p[1].name.at, "f"));
    cr_expect_str_eq(r.message[4].call_id.at, "c1");
    cr_expect_str_eq(r.message[5].part[0].text.at, "no");
    cr_expect(r.message[6].n_part == 1 && r.message[6].part[0].kind == WIRE_PART_CALL);
    cr_expect(r.message[6].part[0].text.at && !r.message[6].part[0].text.len);
    wire_request_release(&r);
}

Test(wire_request, broken_messages_are_refused_by_name)
{
    static const char call[] = "{\"role\":\"assistant\",\"tool_calls\":";
    struct buf many = { 0 };
    char text[200];

    refuse_talk("{\"content\":\"a\"}", WIRE_E_MISSING, "messages[0].role");
    refuse_talk("{\"role\":1,\"content\":\"a\"}", WIRE_E_TYPE, "messages[0].role");
    refuse_talk("{\"role\":\"user\"}", WIRE_E_MISSING, "messages[0].content");
    refuse_talk("{\"role\":\"user\",\"content\":null}", WIRE_E_TYPE, "messages[0].content");
    refuse_talk("{\"role\":\"user\",\"content\":{}}", WIRE_E_TYPE, "messages[0].content");
    refuse_talk("{\"role\":\"user\",\"content\":[1]}", WIRE_E_TYPE, "messages[0].content[0]");
    refuse_talk("{\"role\":\"user\",\"content\":[{}]}", WIRE_E_MISSING,
                "messages[0].content[0].type");
    refuse_talk("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}", WIRE_E_MISSING,
                "messages[0].content[0].text");
    refuse_talk("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}", WIRE_E_TYPE,
                "messages[0].content[0].text");
    refuse_talk("{\"role\":\"user\",\"content\":\"a\",\"name\":7}", WIRE_E_TYPE,
                "messages[0].name");
    snprintf(text, sizeof(text), "{\"role\":\"user\",\"content\":\"a\",\"name\":\"%065d\"}", 0);
    refuse_talk(text, WIRE_E_STR_LONG, "messages[0].name");
    snprintf(text, sizeof(text), "%s{}}", call);
    refuse_talk(text, WIRE_E_TYPE, "messages[0].tool_calls");
    snprintf(text, sizeof(text), "%s[{\"type\":\"custom\"}]}", call);
    refuse_talk(text, WIRE_E_UNSUPPORTED_VALUE, "messages[0].tool_calls[0].type");
    snprintf(text, sizeof(text), "%s[{\"function\":{\"name\":\"f\"}}]}", call);
    refuse_talk(text, WIRE_E_MISSING, "messages[0].tool_calls[0].function");
    snprintf(text, sizeof(text), "%s[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}", call);
    refuse_talk(text, WIRE_E_TYPE, "messages[0].tool_calls[0].function");
    buf_puts(&many, "{\"role\":\"user\",\"content\":[1");
    for (int i = 0; i < WIRE_PART_MAX; i++)
        buf_puts(&many, ",1");
    buf_puts(&many, "]}");
    refuse_talk(buf_text(&many), WIRE_E_LIST_LONG, "messages[0]");
    buf_release(&many);
}

Test(wire_request, parts_that_are_no_text_are_refused_and_named)
{
    static const char *const types[] = { "image_url", "input_audio", "file" };
    char text[200];

    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                 "\"a\"},{\"type\":\"%s\",\"x\":1}]}", types[i]);
        refuse_talk(text, WIRE_E_UNSUPPORTED_VALUE, "messages[0].content[1].type");
        cr_expect(strstr(why.text, types[i]), "%s", why.text);
    }
    refuse_talk("{\"role\":\"user\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"a\"}]}",
                WIRE_E_VALUE, "messages[0].content[0].type");
}

Test(wire_request, volatile_lines_go_from_the_front_of_system_messages_alone)
{
#define LINE "x-anthropic-billing-header: cc_version=2.1.330.abc;"
    struct wire_request r = talk(
        "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"" LINE "\"},"
        "{\"type\":\"text\",\"text\":\"You are\"}]},"
        "{\"role\":\"developer\",\"content\":\"" LINE "\\n" LINE "\\nrest " LINE "\"},"
        "{\"role\":\"user\",\"content\":\"" LINE "\"},{\"role\":\"system\",\"content\":\"" LINE
        "\"}");

    cr_expect_eq(r.n_volatile, 4);
    cr_assert_eq(r.message[0].n_part, 1);
    cr_expect_str_eq(r.message[0].part[0].text.at, "You are");
    cr_expect_str_eq(r.message[1].part[0].text.at, "rest " LINE);
    cr_expect_eq(r.message[1].part[0].text.len, strlen("rest " LINE));
    cr_expect_str_eq(r.message[2].part[0].text.at, LINE);
    cr_expect_eq(r.message[3].n_part, 0);
    wire_request_release(&r);
}

Test(wire_request, unknown_fields_are_kept_by_printable_names_and_counted)
{
    struct wire_request r;
    struct buf body = { 0 };

    buf_puts(&body, "{\"prompt\":\"a\",\"b\\n\\\"\\u00e9\":1,\"stream_options\":{\"x\":null}");
    for (int i = 0; i < 20; i++)
        buf_printf(&body, ",\"%0100d\":1", i);
    buf_puts(&body, "}");
    cr_assert_eq(parse_as(&r, "completions", buf_text(&body)), OK, "%s", why.text);
    cr_expect_eq(r.n_unknown, 22);
    cr_expect_str_eq(r.unknown[0], "b\?\?\?\?");
    cr_expect_eq(strlen(r.unknown[1]), WIRE_NAME_BYTES - 1);
    wire_request_release(&r);
    buf_release(&body);
}

Test(wire_request, the_order_of_keys_means_nothing)
{
    static const char *const bodies[] = {
        "{\"max_tokens\":5,\"max_completion_tokens\":7,\"enable_thinking\":true,"
        "\"reasoning_effort\":\"low\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"reasoning_effort\":\"low\","
        "\"enable_thinking\":true,\"max_completion_tokens\":7,\"max_tokens\":5}",
    };

    for (int i = 0; i < 2; i++) {
        struct wire_request r;
        cr_assert_eq(parse_as(&r, "chat", bodies[i]), OK);
        cr_expect_eq(r.max_tok, 7);
        cr_expect_eq(r.effort, WIRE_EFFORT_LOW);
        wire_request_release(&r);
    }
}

Test(wire_request, fields_are_checked_against_each_other)
{
    static const struct { const char *dialect, *body, *param; } bad[] = {
        { "chat", "{\"top_logprobs\":2,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
          "top_logprobs" },
        { "completions", "{\"prompt\":\"a\",\"n\":3,\"best_of\":2}", "best_of" },
        { "completions", "{\"prompt\":\"a\",\"stream\":true,\"best_of\":2}", "best_of" },
        { "completions", "{\"n\":128,\"prompt\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
          "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}", "n" },
    };
    struct wire_request r;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(parse_as(&r, bad[i].dialect, bad[i].body), ERR_ARG, "%zu", i);
        cr_expect_str_eq(why.param, bad[i].param);
    }
    cr_assert_eq(parse_as(&r, "completions", "{\"prompt\":\"a\",\"logprobs\":0}"), OK);
    cr_expect(r.logprobs && r.top_logprobs == 0 && r.n == 1 && r.best_of == 1);
    wire_request_release(&r);
    cr_assert_eq(parse_as(&r, "completions", "{\"prompt\":\"a\"}"), OK);
    cr_expect(!r.logprobs && r.top_logprobs == 0 && isnan(r.temperature));
    cr_expect_eq(r.max_tok, WIRE_ABSENT);
    wire_request_release(&r);
}

Test(wire_request, bodies_that_are_no_object_of_bearable_size_are_refused)
{
    static const struct { const char *body; enum wire_code code; } bad[] = {
        { "", WIRE_E_BAD_JSON }, { "{", WIRE_E_BAD_JSON },
        { "{\"prompt\":1e999}", WIRE_E_BAD_JSON }, { "{\"prompt\":\"\xff\"}", WIRE_E_BAD_JSON },
        { "{\"prompt\":\"\\ud83d\"}", WIRE_E_BAD_JSON },
        { "{\"prompt\":\"a\",\"prompt\":\"b\"}", WIRE_E_BAD_JSON }, { "[]", WIRE_E_TYPE },
        { "null", WIRE_E_TYPE }, { "{\"prompt\":NaN}", WIRE_E_BAD_JSON },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", WIRE_E_BAD_JSON },
    };
    struct wire_request r;
    struct buf big = { 0 };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(parse_as(&r, "completions", bad[i].body), ERR_ARG, "%s", bad[i].body);
        cr_expect_eq(why.code, bad[i].code, "%s: %s", bad[i].body, why.text);
        cr_expect_eq(wire_error_status(why.code), 400);
    }
    buf_puts(&big, "{\"prompt\":[");
    for (int i = 0; i < WIRE_JSON_COST_MAX / 8; i++)
        buf_puts(&big, "{},");
    buf_puts(&big, "1]}");
    cr_assert_lt(big.len, WIRE_BODY_BYTES_MAX);
    cr_assert_eq(parse_as(&r, "completions", buf_text(&big)), ERR_ARG);
    cr_expect_eq(why.code, WIRE_E_TOO_LARGE, "values, not bytes, are too many");
    buf_release(&big);
}

Test(wire_request, a_body_that_is_not_json_is_not_repeated)
{
    static const char *const bad[] = { "{\"prompt\":\"secret words", "{\"prompt\":secret}",
                                       "{\"secret\":1,\"secret\":2}",
                                       "{\"prompt\" \"secret\"}" };
    struct wire_request r;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(parse_as(&r, "completions", bad[i]), ERR_ARG, "%s", bad[i]);
        cr_expect_eq(why.code, WIRE_E_BAD_JSON);
        cr_expect(!strstr(why.text, "secret") && strstr(why.text, "line 1, column "), "%s",
                  why.text);
    }
}

Test(wire_request, a_zero_character_is_text)
{
    struct wire_request r;

    cr_assert_eq(parse_as(&r, "completions", "{\"prompt\":\"a\\u0000b\"}"), OK);
    cr_expect_eq(r.prompt[0].text.len, 3);
    cr_expect_arr_eq(r.prompt[0].text.at, "a\0b", 4);
    wire_request_release(&r);
}

/* ---- replies ---- */

static void send(struct wire_reply *w, struct buf *out, struct wire_event e)
{
    cr_assert_eq(wire_reply_event(w, out, &e), OK, "%s", err_text());
}

static void open_reply(struct wire_reply *w, struct buf *out, const char *dialect, const char *body)
{
    static const struct wire_about about = { "1", "m", "fp", 1 };
    struct wire_request r;

    cr_assert_eq(parse_as(&r, dialect, body), OK, "%s", why.text);
    cr_assert_eq(wire_reply_init(w, &r, &about), OK);
    wire_request_release(&r);
    *out = (struct buf){ 0 };
    send(w, out, (struct wire_event){ .kind = WIRE_BEGIN });
}

/* What a client puts together from a stream: the strings called `key`, in order. */
static void join(struct buf *all, const struct buf *stream, const char *key)
{
    char *text = strdup(buf_text(stream)), *line = strtok(text, "\n");

    for (; line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "data: {", 7))
            continue;
        json_t *chunk = json_loads(line + 6, JSON_ALLOW_NUL, NULL);
        cr_assert(chunk, "%s", line);
        json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
        json_t *delta = json_object_get(choice, "delta");
        json_t *s = json_object_get(delta ? delta : choice, key);
        buf_add(all, json_string_value(s), json_string_length(s));
        json_decref(chunk);
    }
    free(text);
}

static const char mixed[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \xff \xe2\x82 \xc0\xaf "
                            "\xed\xa0\x80 \xf4\x90\x80\x80 \xf0\x9f\"\\\n\x01\x7f \x80\xe2\x82";
static const char cleaned[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 # # ## ### "
                              "#### #\"\\\n\x01\x7f ##";

/* `cleaned` with its marks replaced. */
static void expected(struct buf *out)
{
    for (const char *c = cleaned; *c; c++)
        buf_add(out, *c == '#' ? "\xef\xbf\xbd" : c, *c == '#' ? 3 : 1);
}

Test(wire_reply, text_cut_anywhere_leaves_as_the_same_valid_characters)
{
    static const char *const dialects[] = { "chat", "completions" };
    static const char *const bodies[] = {
        "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
        "{\"stream\":true,\"prompt\":\"a\"}" };
    size_t len = sizeof(mixed) - 1;
    struct buf want = { 0 };

    expected(&want);
    for (int k = 0; k < 2; k++)
        for (size_t a = 0; a <= len; a++)
            for (size_t b = a; b <= len; b++) {
                struct wire_reply w;
                struct buf out, got = { 0 };
                open_reply(&w, &out, dialects[k], bodies[k]);
                send(&w, &out, (struct wire_event){ WIRE_TEXT, .text = mixed, .len = a });
                send(&w, &out, (struct wire_event){ WIRE_TEXT, .text = mixed + a, .len = b - a });
                send(&w, &out, (struct wire_event){ WIRE_TEXT, .text = mixed + b, .len = len - b });
                send(&w, &out, (struct wire_event){ .kind = WIRE_END });
                send(&w, &out, (struct wire_event){ .kind = WIRE_DONE });
                join(&got, &out, k ? "text" : "content");
                cr_expect_eq(got.len, want.len, "%zu %zu", a, b);
                cr_expect_str_eq(buf_text(&got), buf_text(&want), "%zu %zu", a, b);
                buf_release(&got);
                buf_release(&out);
                wire_reply_release(&w);
            }
    buf_release(&want);
}

Test(wire_reply, thinking_stays_apart_and_half_a_thought_ends_before_the_answer)
{
    struct wire_reply w;
    struct buf out, think = { 0 }, text = { 0 };

    open_reply(&w, &out, "chat",
               "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    send(&w, &out, (struct wire_event){ WIRE_THINK, .text = "hm\xe2", .len = 3 });
    send(&w, &out, (struct wire_event){ WIRE_TEXT, .text = "\x82\xac", .len = 2 });
    send(&w, &out, (struct wire_event){ .kind = WIRE_END });
    send(&w, &out, (struct wire_event){ .kind = WIRE_DONE });
    join(&think, &out, "reasoning_content");
    join(&text, &out, "content");
    cr_expect_str_eq(buf_text(&think), "hm\xef\xbf\xbd");
    cr_expect_str_eq(buf_text(&text), "\xef\xbf\xbd\xef\xbf\xbd");
    buf_release(&think);
    buf_release(&text);
    buf_release(&out);
    wire_reply_release(&w);
}

Test(wire_reply, a_failure_is_the_last_word_in_its_dialect)
{
    static const char *const bodies[] = { "{\"prompt\":\"a\"}",
                                          "{\"stream\":true,\"prompt\":\"a\"}" };
    struct wire_error broken;

    wire_error_set(&broken, WIRE_E_SERVER, NULL, "it \"broke\"");
    for (int k = 0; k < 2; k++) {
        struct wire_reply w;
        struct buf out;
        open_reply(&w, &out, "completions", bodies[k]);
        buf_cut(&out, 0);
        send(&w, &out, (struct wire_event){ WIRE_TEXT, .text = "x", .len = 1 });
        send(&w, &out, (struct wire_event){ .kind = WIRE_FAIL, .error = &broken });
        const char *said = strstr(buf_text(&out), "{\"error\":{\"message\":\"it \\\"broke\\\"\","
                                  "\"type\":\"server_error\",\"param\":null,"
                                  "\"code\":\"server_error\"}}");
        cr_assert(said, "%s", buf_text(&out));
        cr_expect(k ? !strncmp(said - 6, "data: ", 6) : said == out.data);
        cr_expect_str_eq(strchr(said, '}'), k ? "}}\n\n" : "}}");
        buf_release(&out);
        wire_reply_release(&w);
    }
}

Test(wire_reply, a_whole_reply_over_its_limit_is_an_error_and_can_still_fail)
{
    size_t n = WIRE_REPLY_BYTES_MAX / 4;
    char *text = malloc(n);
    struct wire_reply w;
    struct wire_error broken;
    struct buf out;
    struct wire_event e = { WIRE_TEXT, .text = text, .len = n };
    enum err code = OK;

    memset(text, 'a', n);
    open_reply(&w, &out, "completions", "{\"prompt\":\"a\"}");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(wire_reply_event(&w, &out, &e), OK);
    e.len = 1;
    code = wire_reply_event(&w, &out, &e);
    cr_expect_eq(code, ERR_LIMIT);
    wire_error_set(&broken, WIRE_E_SERVER, NULL, NULL);
    send(&w, &out, (struct wire_event){ .kind = WIRE_FAIL, .error = &broken });
    cr_expect(strstr(buf_text(&out), "server_error"));
    buf_release(&out);
    wire_reply_release(&w);
    free(text);
}

Test(wire_put, floats_read_back_as_they_were_in_few_digits)
{
    static const struct { float x; const char *text; } known[] = {
        { 0.1f, "0.1" }, { -1.0f, "-1.0" }, { 0, "0.0" }, { -0.0f, "-0.0" }, { 1e10f, "1e+10" },
        { 16777216.0f, "16777216.0" }, { 0.3f, "0.3" }, { -INFINITY, "-9999.0" },
        { NAN, "-9999.0" }, { -2.3841858e-07f, "-2.3841858e-07" } };
    uint32_t seed = 1;

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        struct buf out = { 0 };
        wire_put_float(&out, known[i].x);
        cr_expect_str_eq(buf_text(&out), known[i].text);
        buf_release(&out);
    }
    for (int i = 0; i < 20000; i++) {
        struct buf out = { 0 };
        float x;
        seed = seed * 1664525u + 1013904223u;
        memcpy(&x, &seed, sizeof(x));
        if (!isfinite(x))
            continue;
        wire_put_float(&out, x);
        float back = strtof(buf_text(&out), NULL);
        cr_assert_arr_eq(&back, &x, sizeof(x), "%s", buf_text(&out));
        buf_release(&out);
    }
}

Test(wire_put, base64_is_that_of_rfc_4648)
{
    static const char *const want[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=",
                                        "Zm9vYmFy" };

    for (size_t n = 0; n < 7; n++) {
        struct buf out = { 0 };
        wire_put_base64(&out, "foobar", n);
        cr_expect_str_eq(buf_text(&out), want[n]);
        buf_release(&out);
    }
}

Test(wire_error, too_long_a_prompt_is_said_in_the_words_of_the_dialect)
{
    static const struct { const char *said, *chat, *messages; } cases[] = {
        { "This model's maximum context length is 100 tokens. However, you requested 250 tokens "
          "(200 in the messages, 50 in the completion).", "However, you requested 250 tokens",
          "prompt is too long: 250 tokens > 100 maximum" },
        { "prompt is too long: 250 tokens > 100 maximum", "maximum context length is 100 tokens. "
          "However, your messages resulted in 250 tokens.", "prompt is too long: 250 tokens > 100 "
          "maximum\"" },
        { "gpt-4-32k: 250 is more than 100.", "maximum context length is 100 tokens",
          "prompt is too long: 250 tokens > 100 maximum" },
        { "Too much of it, by 4x.", "maximum context length is exceeded: Too much of it, by 4x.",
          "prompt is too long: Too much of it, by 4x." },
    };
    const struct wire_dialect *messages = wire_dialect_find("messages");
    struct buf out = { 0 };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        wire_error_set(&why, WIRE_E_CONTEXT, NULL, "%s", cases[i].said);
        buf_cut(&out, 0);
        wire_error_write(&out, wire_dialect_find("chat"), &why);
        cr_expect(strstr(buf_text(&out), cases[i].chat), "%s", buf_text(&out));
        buf_cut(&out, 0);
        wire_error_write(&out, messages, &why);
        cr_expect(strstr(buf_text(&out), cases[i].messages), "%s", buf_text(&out));
        wire_error_set(&why, WIRE_E_VALUE, NULL, "%s", cases[i].said);
        buf_cut(&out, 0);
        wire_error_write(&out, messages, &why);
        cr_expect(strstr(buf_text(&out), cases[i].said), "%s", buf_text(&out));
    }
    buf_release(&out);
}

Test(wire_error, too_long_a_prompt_says_both_numbers)
{
    struct buf out = { 0 };

    wire_error_context(&why, "messages", 4096, 5000);
    wire_error_write(&out, wire_dialect_at(0), &why);
    cr_expect(strstr(buf_text(&out), "maximum context length is 4096 tokens"));
    cr_expect(strstr(buf_text(&out), "resulted in 5000 tokens"));
    cr_expect(strstr(buf_text(&out), "\"code\":\"context_length_exceeded\""));
    buf_release(&out);
}
