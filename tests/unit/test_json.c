/* test_json.c - JSON from outside is bounded before it is parsed. */
#include <criterion/criterion.h>

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static enum err parse(const char *text, size_t max)
{
    json_t *value;
    enum err e = json_parse(&value, text, strlen(text), max, "test.json");

    cr_expect_eq(e == OK, value != NULL);
    json_decref(value);
    return e;
}

Test(json, valid_text_is_parsed)
{
    cr_assert_eq(parse(" {\"a\": [1, 2.5, null, \"[[[\"]} ", 100), OK, "%s", err_text());
    cr_assert_eq(parse("7", 1), OK);
}

Test(json, broken_text_is_refused_with_its_place)
{
    static const char *const bad[] = { "", " ", "{", "[1,]", "{\"a\":1,\"a\":2}", "[01]", "nul",
                                       "\"\xff\"", "\"\\ud800\"", "\"\\u0000\"", "[1]]", "\"a",
                                       "[1e999]", "[99999999999999999999]", "]]]]", "\"\\" };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_expect_eq(parse(bad[i], 100), ERR_FORMAT, "%s", bad[i]);
    cr_assert_eq(parse("[1,\n  x]", 100), ERR_FORMAT);
    cr_assert(strstr(err_text(), "test.json: not valid JSON at line 2"), "%s", err_text());
}

Test(json, size_and_depth_are_limits)
{
    char deep[140] = "";

    cr_assert_eq(parse("[1,2]", 4), ERR_LIMIT);
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    cr_assert_eq(parse(deep, 200), OK, "%s", err_text());
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    cr_assert_eq(parse(deep, 200), ERR_LIMIT);
}

Test(json, a_megabyte_of_brackets_does_not_recurse)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    json_t *value;

    memset(text, '{', n);
    cr_assert_eq(json_parse(&value, text, n, n, "deep"), ERR_LIMIT);
    free(text);
}

Test(json, control_characters_do_not_reach_the_message)
{
    cr_assert_eq(parse("\x1b[2J", 100), ERR_FORMAT);
    cr_assert_null(strchr(err_text(), '\x1b'));
}
