/* test_wire_fields.c - every line of wire/field.def: its type, its bounds, what it refuses.
 *
 * The cases come from the table: a new line is tested by being there, a new kind of line fails here
 * until it has cases. */
#include <criterion/criterion.h>

#include "wire/form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A body that is complete, and the field under test in it. */
static json_t *body_with(const struct wire_field *f, json_t *value)
{
    static const char *const least[] = {
        [WIRE_TASK_CHAT] =
            "{\"logprobs\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
        [WIRE_TASK_COMPLETE] = "{\"prompt\":\"a\"}",
        [WIRE_TASK_EMBED] = "{\"input\":\"a\"}",
    };
    const char *name = wire_dialect_name(f->dialect);
    const char *text = !strcmp(name, "messages")    ? strchr(least[WIRE_TASK_CHAT], 'm') - 1
                       : !strcmp(name, "responses") ? "\"input\":\"a\"}" : NULL;
    char whole[128];

    snprintf(whole, sizeof(whole), "%s%s", text ? "{" : "",
             text ? text : least[wire_dialect_task(f->dialect)]);
    json_t *body = json_loads(whole, 0, NULL), *at = body;
    const char *dot = strchr(f->name, '.');
    char outer[64];

    if (dot) {
        snprintf(outer, sizeof(outer), "%.*s", (int)(dot - f->name), f->name);
        json_object_set_new(body, outer, at = json_object());
    }
    json_object_set_new(at, dot ? dot + 1 : f->name, value);
    return body;
}

/* Parse it; the request stays for the caller when `keep` is given and it was accepted. */
static enum err try_value(const struct wire_field *f, json_t *value, struct wire_error *why,
                          struct wire_request *keep)
{
    json_t *body = body_with(f, value);
    char *text = json_dumps(body, JSON_REAL_PRECISION(17));
    struct wire_request r;
    enum err e = wire_parse(&r, why, f->dialect, text, strlen(text));

    if (e == OK && keep)
        *keep = r;
    else if (e == OK)
        wire_request_release(&r);
    free(text);
    json_decref(body);
    return e;
}

static void accept_value(const struct wire_field *f, json_t *value)
{
    struct wire_request r;
    struct wire_error why;

    cr_assert_eq(try_value(f, value, &why, &r), OK, "%s %s: %s", wire_dialect_name(f->dialect),
                 f->name, why.text);
    cr_expect_eq(r.n_unknown, 0, "%s is known", f->name);
    wire_request_release(&r);
}

static void refuse_value(const struct wire_field *f, json_t *value, enum wire_code code)
{
    struct wire_error why;

    cr_assert_eq(try_value(f, value, &why, NULL), ERR_ARG, "%s %s is accepted",
                 wire_dialect_name(f->dialect), f->name);
    cr_expect_eq(why.code, code, "%s: %s", f->name, why.text);
    cr_expect_eq(wire_error_status(why.code), code == WIRE_E_TOO_LARGE ? 413 : 400);
    if (code != WIRE_E_TOO_LARGE) {
        cr_expect_eq(strncmp(why.param, f->name, strlen(f->name)), 0, "%s: param %s", f->name,
                     why.param);
        cr_expect(strstr(why.text, f->name), "%s: %s", f->name, why.text);
    }
}

static json_t *json(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    cr_assert(value, "%s", text);
    return value;
}

/* None of these types, but those with a letter in `but`: n(umber) i(nteger) s b o(bject) a. */
static void refuse_types(const struct wire_field *f, const char *but)
{
    static const struct { char letter; const char *text; } types[] = {
        { 'n', "1.5" }, { 'i', "1" }, { 's', "\"x\"" }, { 'b', "true" }, { 'o', "{\"x\":1}" },
        { 'a', "[{}]" } };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (!strchr(but, types[i].letter))
            refuse_value(f, json(types[i].text), WIRE_E_TYPE);
}

static json_t *string_of(size_t len)
{
    char *text = malloc(len + 1);

    memset(text, 'a', len);
    json_t *value = json_stringn(text, len);
    free(text);
    return value;
}

static json_t *list_of(size_t n, const char *item)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json(item));
    return list;
}

static void check_number(const struct wire_field *f)
{
    bool whole = f->kind == WIRE_KIND_INT, wide = whole && f->hi > 9e18;
    double sides[] = { f->lo, f->hi };
    struct wire_request r;
    struct wire_error why;

    for (int i = 0; i < 2; i++) {
        json_int_t edge = wide && i ? INT64_MAX : (json_int_t)sides[i];
        json_t *value = whole ? json_integer(edge) : json_real(sides[i]);
        cr_assert_eq(try_value(f, value, &why, &r), OK, "%s: %s", f->name, why.text);
        const char *at = (const char *)&r + f->where;
        cr_expect(whole ? *(const int64_t *)at == edge : *(const double *)at == sides[i], "%s",
                  f->name);
        wire_request_release(&r);
    }
    if (!whole) {
        refuse_value(f, json_real(nextafter(f->lo, -1e9)), WIRE_E_NUM_LOW);
        refuse_value(f, json_real(nextafter(f->hi, 1e9)), WIRE_E_NUM_HIGH);
        refuse_value(f, json_real(1e308), WIRE_E_NUM_HIGH);
    } else {
        refuse_value(f, json_integer(wide ? INT64_MIN : (json_int_t)f->lo - 1), WIRE_E_INT_LOW);
        if (!wide)
            refuse_value(f, json_integer((json_int_t)f->hi + 1), WIRE_E_INT_HIGH);
        refuse_value(f, json_real(f->lo), WIRE_E_TYPE);
    }
    refuse_types(f, whole ? "i" : "in");
}

static void check_text(const struct wire_field *f)
{
    bool huge = f->hi >= WIRE_BODY_BYTES_MAX;
    struct wire_request r;
    struct wire_error why;

    accept_value(f, string_of((size_t)f->lo));
    if (!huge)
        accept_value(f, string_of((size_t)f->hi));
    refuse_value(f, string_of((size_t)f->hi + 1), huge ? WIRE_E_TOO_LARGE : WIRE_E_STR_LONG);
    refuse_types(f, "s");
    cr_assert_eq(try_value(f, json_string(""), &why, &r), OK);
    cr_expect_null(((const struct wire_text *)((const char *)&r + f->where))->at);
    wire_request_release(&r);
    cr_assert_eq(try_value(f, json_string("ab"), &why, &r), OK);
    cr_expect_str_eq(((const struct wire_text *)((const char *)&r + f->where))->at, "ab");
    wire_request_release(&r);
}

static void check_stop(const struct wire_field *f)
{
    accept_value(f, json("\"x\""));
    accept_value(f, json("\"\""));
    accept_value(f, list_of((size_t)f->hi, "\"x\""));
    refuse_value(f, list_of((size_t)f->hi + 1, "\"x\""), WIRE_E_LIST_LONG);
    refuse_value(f, string_of(1025), WIRE_E_STR_LONG);
    refuse_value(f, json_stringn("a\0b", 3), WIRE_E_VALUE);
    refuse_types(f, "s");
}

static void check_bias(const struct wire_field *f)
{
    json_t *many = json_object();
    char key[16];

    accept_value(f, json_pack("{s:f, s:f, s:i}", "0", f->lo, "2147483647", f->hi, "5", 0));
    refuse_value(f, json_pack("{s:f}", "1", nextafter(f->lo, -1e9)), WIRE_E_NUM_LOW);
    refuse_value(f, json_pack("{s:f}", "1", nextafter(f->hi, 1e9)), WIRE_E_NUM_HIGH);
    refuse_value(f, json("{\"2147483648\":1}"), WIRE_E_VALUE);
    refuse_value(f, json("{\"4294967301\":1}"), WIRE_E_VALUE);
    refuse_value(f, json("{\"99999999999\":1}"), WIRE_E_VALUE);
    refuse_value(f, json("{\"-1\":1}"), WIRE_E_VALUE);
    refuse_value(f, json("{\"\":1}"), WIRE_E_VALUE);
    refuse_value(f, json("{\"1\":\"x\"}"), WIRE_E_TYPE);
    refuse_types(f, "o");
    for (int i = 0; i <= WIRE_BIAS_MAX; i++) {
        snprintf(key, sizeof(key), "%d", i);
        json_object_set_new(many, key, json_integer(1));
    }
    refuse_value(f, json_incref(many), WIRE_E_LIST_LONG);
    json_object_del(many, "0");
    accept_value(f, many);
}

static void check_meta(const struct wire_field *f)
{
    char key[128];
    json_t *many = json_object();

    memset(key, 'k', sizeof(key));
    key[(size_t)f->lo] = '\0';
    accept_value(f, json_pack("{s:o}", key, string_of((size_t)f->hi)));
    refuse_value(f, json_pack("{s:o}", "k", string_of((size_t)f->hi + 1)), WIRE_E_STR_LONG);
    key[(size_t)f->lo] = 'k';
    key[(size_t)f->lo + 1] = '\0';
    refuse_value(f, json_pack("{s:s}", key, "v"), WIRE_E_STR_LONG);
    refuse_value(f, json("{\"k\":1}"), WIRE_E_TYPE);
    refuse_types(f, "o");
    for (int i = 0; i <= WIRE_META_MAX; i++) {
        snprintf(key, sizeof(key), "%d", i);
        json_object_set_new(many, key, json_string("v"));
    }
    refuse_value(f, many, WIRE_E_LIST_LONG);
}

static void check_words(const struct wire_field *f)
{
    static const char *const words[] = { [WIRE_KIND_EFFORT] = "xhigh",
                                         [WIRE_KIND_THINK_WORD] = "adaptive",
                                         [WIRE_KIND_CODING] = "base64" };

    accept_value(f, json_string(words[f->kind]));
    refuse_value(f, json_string("no such word"), WIRE_E_VALUE);
    refuse_types(f, "s");
}

static void check_unbuilt(const struct wire_field *f)
{
    static const char *const some[] = { "[{\"type\":\"function\"}]", "\"required\"", "1", "true",
                                        "{\"type\":\"json_schema\"}", "[\"text\",\"audio\"]" };
    static const char *const empty[] = { "[]", "{}", "\"\"" };
    static const char *const plain[] = { "\"auto\"", "\"none\"", "[\"text\"]", "[]",
                                         "{\"type\":\"text\"}" };

    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++)
        refuse_value(f, json(some[i]), WIRE_E_UNSUPPORTED);
    bool is_list = f->kind == WIRE_KIND_EMPTY || f->kind == WIRE_KIND_TOOLS;
    for (size_t i = 0; i < 3 && is_list; i++)
        accept_value(f, json(empty[i]));
    for (size_t i = 0; i < 5 && !is_list && f->kind != WIRE_KIND_REFUSED; i++)
        accept_value(f, json(plain[i]));
    if (f->kind == WIRE_KIND_REFUSED)
        refuse_value(f, json("[]"), WIRE_E_UNSUPPORTED);
}

static void check_messages(const struct wire_field *f)
{
    static const char one[] = "{\"role\":\"user\",\"content\":\"a\"}";

    accept_value(f, list_of((size_t)f->hi, one));
    refuse_value(f, list_of((size_t)f->hi + 1, one), WIRE_E_LIST_LONG);
    refuse_value(f, json("[]"), WIRE_E_LIST_EMPTY);
    refuse_value(f, json_null(), WIRE_E_MISSING);
    refuse_value(f, json("[1]"), WIRE_E_TYPE);
    refuse_value(f, json("[{\"role\":\"robot\",\"content\":\"a\"}]"), WIRE_E_VALUE);
    refuse_types(f, strcmp(wire_dialect_name(f->dialect), "responses") ? "a" : "as");
}

static void check_prompt(const struct wire_field *f)
{
    static const char *const good[] = { "\"x\"", "[\"x\",\"y\"]", "[0,2147483647]", "[[1,2],[3]]",
                                        "[[1],\"x\"]" };
    static const struct { const char *text; enum wire_code code; } bad[] = {
        { "[]", WIRE_E_LIST_EMPTY }, { "[[]]", WIRE_E_LIST_EMPTY }, { "null", WIRE_E_MISSING },
        { "[1,\"x\"]", WIRE_E_TYPE }, { "[\"x\",1]", WIRE_E_TYPE }, { "[1.5]", WIRE_E_TYPE },
        { "[-1]", WIRE_E_INT_LOW }, { "[[1,null]]", WIRE_E_TYPE },
        { "[2147483648]", WIRE_E_INT_HIGH } };

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        accept_value(f, json(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        refuse_value(f, json(bad[i].text), bad[i].code);
    accept_value(f, list_of((size_t)f->hi, "\"x\""));
    refuse_value(f, list_of((size_t)f->hi + 1, "\"x\""), WIRE_E_LIST_LONG);
    refuse_types(f, "sa");
    if (wire_dialect_task(f->dialect) == WIRE_TASK_EMBED)
        refuse_value(f, json("\"\""), WIRE_E_VALUE);
    else
        accept_value(f, json("\"\""));
}

static void check_object(const struct wire_field *f)
{
    struct wire_request r;
    struct wire_error why;
    char name[WIRE_NAME_BYTES];

    refuse_types(f, "o");
    accept_value(f, json("{}"));
    cr_assert_eq(try_value(f, json("{\"nobody\":1}"), &why, &r), OK);
    cr_assert_eq(r.n_unknown, 1);
    snprintf(name, sizeof(name), "%s.nobody", f->name);
    cr_expect_str_eq(r.unknown[0], name);
    wire_request_release(&r);
}

static void check_field(const struct wire_field *f)
{
    switch (f->kind) {
    case WIRE_KIND_INT:
    case WIRE_KIND_NUM:        check_number(f); break;
    case WIRE_KIND_TEXT:       check_text(f); break;
    case WIRE_KIND_STOP:       check_stop(f); break;
    case WIRE_KIND_BIAS:       check_bias(f); break;
    case WIRE_KIND_META:       check_meta(f); break;
    case WIRE_KIND_EFFORT:
    case WIRE_KIND_THINK_WORD:
    case WIRE_KIND_CODING:     check_words(f); break;
    case WIRE_KIND_MESSAGES:   check_messages(f); return;       /* required: null is refused */
    case WIRE_KIND_PROMPT:     check_prompt(f); return;
    case WIRE_KIND_OBJECT:     check_object(f); break;
    case WIRE_KIND_REFUSED:
    case WIRE_KIND_EMPTY:
    case WIRE_KIND_TOOLS:
    case WIRE_KIND_CHOICE:
    case WIRE_KIND_FORMAT:
    case WIRE_KIND_PLAIN:      check_unbuilt(f); break;
    case WIRE_KIND_BESIDE:     break;               /* its readers have tests of their own */
    case WIRE_KIND_BOOL:
    case WIRE_KIND_THINK:
        accept_value(f, json("true"));
        accept_value(f, json("false"));
        refuse_types(f, "b");
        break;
    case WIRE_KIND_HARMLESS:
    case WIRE_KIND_MAYBE:
        accept_value(f, json("\"x\""));
        accept_value(f, json("{\"x\":[1]}"));
        break;
    default:
        cr_assert_fail("%s: a kind of field without a test", f->name);
    }
    accept_value(f, json_null());
}

enum { N_LINE = 0
#define FIELD(dialect, name, kind, lo, hi, where) + 1
#include "wire/field.def"
#undef FIELD
};

Test(wire, every_field_of_every_dialect_holds_its_type_and_bounds)
{
    const struct wire_dialect *d;
    size_t n, all = 0;

    for (size_t k = 0; (d = wire_dialect_at(k)); k++) {
        const struct wire_field *f = wire_fields(d, &n);
        cr_expect_geq(n, 1, "%s has no fields", wire_dialect_name(d));
        for (size_t i = 0; i < n; i++)
            check_field(&f[i]);
        all += n;
    }
    cr_expect_eq(all, N_LINE, "the lines of a dialect stand together in field.def");
}

Test(wire, no_field_is_listed_twice_and_objects_stand_before_their_fields)
{
    const struct wire_dialect *d;
    size_t n;

    for (size_t k = 0; (d = wire_dialect_at(k)); k++) {
        const struct wire_field *f = wire_fields(d, &n);
        for (size_t i = 0; i < n; i++) {
            const char *dot = strchr(f[i].name, '.');
            bool outer = !dot;
            for (size_t j = 0; j < i; j++) {
                cr_expect(strcmp(f[i].name, f[j].name), "%s", f[i].name);
                outer = outer || (f[j].kind == WIRE_KIND_OBJECT && dot &&
                                  strlen(f[j].name) == (size_t)(dot - f[i].name) &&
                                  !strncmp(f[j].name, f[i].name, strlen(f[j].name)));
            }
            cr_expect(outer, "%s", f[i].name);
        }
    }
}
