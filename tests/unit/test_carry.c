/* test_carry.c - requests from one dialect to another: every line of carry.def does what it says,
 * and there and back is the same up to the table. */
#include <criterion/criterion.h>

#include "wire/carry.h"
#include "wire/form.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "chat", "messages", "responses" };
static const char *const bases[] = {
    "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
    "{\"model\":\"a\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
    "{\"model\":\"a\",\"input\":[{\"role\":\"user\",\"content\":\"a\"}]}",
};

static struct wire_error why;
static struct wire_notes notes;

static const struct wire_dialect *dialect(int i)
{
    return wire_dialect_find(names[i]);
}

static int number_of(const struct wire_dialect *d)
{
    int i = 0;

    while (dialect(i) != d)
        i++;
    return i;
}

/* The base body of a dialect with these members, in which ' stands for ". */
static char *body_with(int i, const char *members)
{
    json_t *body = json_loads(bases[i], JSON_ALLOW_NUL, NULL), *more;
    char *text = strdup(members);

    for (char *at = text; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    more = json_loads(text, JSON_ALLOW_NUL, NULL);
    cr_assert(body && more, "%s", text);
    free(text);
    json_object_update(body, more);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    json_decref(more);
    return text;
}

/* Read a body as one dialect and write it for another.  Yours, NULL when it is refused. */
static char *carry(int from, int to, const char *body)
{
    struct wire_target target = { dialect(to), "up", 0, true, false, false };
    struct wire_request r;
    struct buf out = { 0 };

    cr_assert_eq(wire_read(&r, &why, dialect(from), body, strlen(body)), OK, "%s: %s", body,
                 why.text);
    enum err e = wire_write(&out, &notes, &why, &r, &target);
    wire_request_release(&r);
    cr_assert(e == OK || e == ERR_ARG);
    if (e != OK)
        buf_release(&out);
    return e == OK ? out.data : NULL;
}

static bool has_note(const char *name)
{
    for (size_t i = 0; i < notes.n; i++)
        if (!strcmp(notes.name[i], name))
            return true;
    return false;
}

static bool same_json(const char *a, const char *b)
{
    json_t *x = json_loads(a, JSON_ALLOW_NUL, NULL), *y = json_loads(b, JSON_ALLOW_NUL, NULL);

    cr_assert(x && y, "%s\n%s", a, b);
    bool same = json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return same;
}

/* Fields that are carried by what is always so there: the target names the model and wants what
 * a stream used, and only messages can say that no call may be made beside another. */
static bool is_implied(const struct wire_carry *c, int to)
{
    return !strcmp(c->field, "model") || (to && !strncmp(c->field, "stream_options", 14));
}

/* A schema has a name in every body. */
static bool is_required(const struct wire_carry *c)
{
    size_t n = strlen(c->field);

    return strstr(c->field, "format") && n > 5 && !strcmp(c->field + n - 5, ".name");
}

static void check_line(const struct wire_carry *c, int from, int to)
{
    enum wire_verdict v = wire_carry_to(c, dialect(to));
    char *with = body_with(from, c->with), *without = body_with(from, c->without);
    char *plain = carry(from, to, without);
    cr_assert(plain, "%s %s to %s: %s", names[from], c->field, names[to], why.text);
    cr_expect_eq(has_note(c->field), v == WIRE_DROPPED && is_required(c),
                 "%s %s to %s: noted without being there", names[from], c->field, names[to]);
    char *out = carry(from, to, with);

    if (v == WIRE_REFUSED) {
        cr_expect(!out, "%s %s to %s is not refused", names[from], c->field, names[to]);
        cr_expect(strstr(why.text, c->field), "%s: %s", c->field, why.text);
        cr_expect_eq(wire_error_status(why.code), 400);
    } else {
        cr_assert(out, "%s %s to %s: %s", names[from], c->field, names[to], why.text);
        bool same = same_json(out, plain);
        if (v == WIRE_CARRIED && !is_implied(c, to))
            cr_expect_not(same, "%s %s to %s does not arrive: %s", names[from], c->field, names[to],
                          out);
        if (v != WIRE_CARRIED)
            cr_expect(same, "%s %s to %s arrives: %s\n%s", names[from], c->field, names[to], out,
                      plain);
        cr_expect_eq(has_note(c->field), v == WIRE_DROPPED, "%s %s to %s: note", names[from],
                     c->field, names[to]);
    }
    free(out);
    free(plain);
    free(with);
    free(without);
}

Test(carry, every_line_of_the_table_does_what_it_says)
{
    const struct wire_carry *c;

    for (size_t i = 0; (c = wire_carry_at(i)); i++) {
        int from = number_of(c->from);
        for (int to = 0; to < 3 && !c->reply; to++)
            if (to != from)
                check_line(c, from, to);
        cr_expect_eq(wire_carry_to(c, c->from), WIRE_CARRIED, "%s: in its own dialect", c->field);
    }
}

Test(carry, in_one_dialect_a_request_passes_as_it_came)
{
    const struct wire_carry *c;

    for (size_t i = 0; (c = wire_carry_at(i)); i++) {
        if (c->reply)
            continue;
        int d = number_of(c->from);
        char *body = body_with(d, c->with), *out = carry(d, d, body);
        json_t *want = json_loads(body, JSON_ALLOW_NUL, NULL);
        cr_assert(out, "%s: %s", c->field, why.text);
        json_object_set_new(want, "model", json_string("up"));
        char *text = json_dumps(want, JSON_COMPACT);
        cr_expect(same_json(out, text), "%s: %s", c->field, out);
        cr_expect_eq(notes.n, 0);
        json_decref(want);
        free(text);
        free(out);
        free(body);
    }
}

Test(carry, every_field_of_the_three_dialects_has_a_line)
{
    for (int d = 0; d < 3; d++) {
        size_t n;
        const struct wire_field *f = wire_fields(dialect(d), &n);
        for (size_t i = 0; i < n; i++) {
            const struct wire_carry *c;
            size_t k = 0;
            while ((c = wire_carry_at(k)) && (c->reply || c->from != f[i].dialect ||
                                              strcmp(c->field, f[i].name)))
                k++;
            cr_expect(c, "%s %s", names[d], f[i].name);
        }
    }
}

Test(carry, unknown_fields_are_noted_where_they_cannot_pass)
{
    char *body = body_with(0, "{'x_new':1}"), *out = carry(0, 1, body);

    cr_expect(out && has_note("x_new") && !strstr(out, "x_new"));
    free(out);
    out = carry(0, 0, body);
    cr_expect(out && strstr(out, "x_new") && !notes.n);
    free(out);
    free(body);
}

Test(carry, a_body_to_be_counted_holds_that_alone)
{
    static const char *const members[] = {
        "{'max_completion_tokens':9,'stream':true,'temperature':0.5,'stop':['x'],'user':'u',"
        "'tools':[{'type':'function','function':{'name':'f','parameters':{'type':'object'}}}]}",
        "{'max_tokens':9,'stream':true,'temperature':0.5,'stop_sequences':['x'],'metadata':"
        "{'user_id':'u'},'tools':[{'name':'f','input_schema':{'type':'object'}}]}" };
    static const char *const keys[] = { "model", "messages", "tools" };
    struct buf out = { 0 };
    int64_t n;

    for (int from = 0; from < 2; from++) {
        struct wire_target to = { dialect(1), "up", 0, true, false, true };
        char *body = body_with(from, members[from]);
        struct wire_request r;
        cr_assert_eq(wire_read(&r, &why, dialect(from), body, strlen(body)), OK, "%s", why.text);
        cr_assert_eq(wire_write(&out, &notes, &why, &r, &to), OK);
        json_t *json = json_loads(out.data, 0, NULL);
        cr_expect_eq(json_object_size(json), 3, "%s", out.data);
        for (int k = 0; k < 3; k++)
            cr_expect(json_object_get(json, keys[k]), "%s", out.data);
        json_decref(json);
        wire_request_release(&r);
        buf_release(&out);
        free(body);
    }
    wire_count_write(&out, 77);
    cr_expect(wire_count_read(&n, out.data, out.len) == OK && n == 77);
    cr_expect(wire_count_read(&n, "[]", 2) == OK && n == -1);
    cr_expect(wire_count_read(&n, "{", 1) == OK && n == -1);
    buf_release(&out);
}

Test(carry, what_is_left_out_is_never_left_out_of_the_notes_alone)
{
    struct buf members = { 0 };

    buf_puts(&members, "{'system':'x-anthropic-billing-header: a\\nrest','x_0':0");
    for (int i = 1; i < 20; i++)
        buf_printf(&members, ",'x_%d':1", i);
    buf_puts(&members, ",'messages':[{'role':'user','content':[{'type':'text','text':'a','odd':1},"
             "{'type':'text','text':'b','odd':2}]}]}");
    char *body = body_with(1, buf_text(&members)), *out = carry(1, 0, body);
    cr_assert(out, "%s", why.text);
    cr_expect(has_note("x_0") && has_note("x_7") && !has_note("x_8") && has_note("and more"));
    cr_expect(has_note("x-anthropic-billing-header") && strstr(out, "\"rest\""), "%s", out);
    free(out);
    free(body);
    body = body_with(1, "{'messages':[{'role':'user','content':[{'type':'text','text':'a','odd':1},"
                     "{'type':'text','text':'b','odd':2}]}]}");
    out = carry(1, 0, body);
    cr_expect(notes.n == 1 && has_note("content[].odd"), "%s", notes.name[0]);
    free(out);
    free(body);
    buf_release(&members);
}

Test(carry, thinking_that_is_off_stays_off_beside_an_effort)
{
    char *body = body_with(1, "{'thinking':{'type':'disabled'},'output_config':{'effort':'high'}}");
    char *out = carry(1, 0, body);

    cr_expect(out && strstr(out, "\"reasoning_effort\":\"none\""), "%s", out);
    free(out);
    free(body);
    body = body_with(1, "{'thinking':{'type':'adaptive'},'output_config':{'effort':'low'}}");
    out = carry(1, 2, body);
    cr_expect(out && strstr(out, "\"effort\":\"low\""), "%s", out);
    free(out);
    free(body);
}

/* Thinking comes back from who kept its seal, not from the other dialect. */
static bool same_but_thoughts(const char *a, const char *b)
{
    const char *const bodies[] = { a, b };
    json_t *both[2];

    for (int k = 0; k < 2; k++) {
        both[k] = json_loads(bodies[k], JSON_ALLOW_NUL, NULL);
        json_t *messages = json_object_get(both[k], "messages");
        for (size_t i = 0; i < json_array_size(messages); i++)
            json_object_del(json_array_get(messages, i), "reasoning_content");
    }
    bool same = json_equal(both[0], both[1]);
    json_decref(both[0]);
    json_decref(both[1]);
    return same;
}

/* What was written for the other dialect is read there and written for the first. */
static void there_and_back(int from, int over, const char *members)
{
    char *body = body_with(from, members), *out = carry(from, over, body), *back;

    cr_assert(out, "%s over %s: %s", members, names[over], why.text);
    back = carry(over, from, out);
    cr_assert(back, "%s: %s", out, why.text);
    char *again = carry(from, over, back);
    cr_assert(again, "%s: %s", back, why.text);
    cr_expect(same_but_thoughts(out, again), "%s over %s:\n%s\n%s\n%s", names[from], names[over],
              out, back, again);
    free(again);
    free(back);
    free(out);
    free(body);
}

static const char *const talks[] = {
    "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'a'},{'role':"
    "'assistant','content':'let me see','tool_calls':[{'id':'c1','type':'function','function':"
    "{'name':'f','arguments':'{\\\"x\\\":[1,2.5,null]}'}},{'id':'c2','type':'function','function':"
    "{'name':'g','arguments':'{}'}}]},{'role':'tool','tool_call_id':'c1','content':'7'},{'role':"
    "'tool','tool_call_id':'c2','content':''},{'role':'user','content':[{'type':'text','text':"
    "'and this?'},{'type':'image_url','image_url':{'url':'data:image/png;base64,iVBO'}}]}],"
    "'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':"
    "'object','properties':{'x':{}}}}},{'type':'function','function':{'name':'g'}}],"
    "'tool_choice':{'type':'function','function':{'name':'f'}},'temperature':0.25,'top_p':0.5,"
    "'max_completion_tokens':99,'stream':true,'user':'u','reasoning_effort':'high'}",
    "{'system':[{'type':'text','text':'s'}],'messages':[{'role':'user','content':'a'},{'role':"
    "'assistant','content':[{'type':'thinking','thinking':'hm','signature':'c2ln'},{'type':'text',"
    "'text':'x'},{'type':'tool_use','id':'c1','name':'f','input':{'a':'\\u0000'}}]},{'role':'user',"
    "'content':[{'type':'tool_result','tool_use_id':'c1','content':[{'type':'text','text':'7'}]},"
    "{'type':'text','text':'go on'}]}],'tools':[{'name':'f','input_schema':{'type':'object'}}],"
    "'tool_choice':{'type':'any','disable_parallel_tool_use':true},'max_tokens':9,'stream':true,"
    "'metadata':{'user_id':'u'},'output_config':{'format':{'type':'json_schema','schema':"
    "{'type':'object'}}}}",
    "{'instructions':'s','input':[{'role':'developer','content':'d'},{'role':'user','content':"
    "[{'type':'input_text','text':'a'},{'type':'input_image','image_url':'https://h/x.png'}]},"
    "{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':'hm'}],"
    "'encrypted_content':'ZW5j'},{'type':'function_call','call_id':'c1','name':'f','arguments':"
    "'{}'},{'type':'function_call_output','call_id':'c1','output':'7'},{'type':'message','role':"
    "'assistant','content':[{'type':'output_text','text':'x','annotations':[]}]},{'role':'user',"
    "'content':'b'}],'tools':[{'type':'function','name':'f','parameters':{'type':'object'},"
    "'strict':true}],'tool_choice':'required','parallel_tool_calls':false,'text':{'format':{'type':"
    "'json_schema','name':'answer','schema':{'type':'object'},'strict':true}},'reasoning':"
    "{'effort':'low'},'max_output_tokens':50}",
};

Test(carry, there_and_back_and_there_again_is_the_same)
{
    for (int from = 0; from < 3; from++)
        for (int over = 0; over < 3; over++)
            if (over != from)
                there_and_back(from, over, talks[from]);
}

Test(carry, seals_return_to_who_made_them_alone)
{
    char *body = body_with(1, talks[1]), *out = carry(1, 2, body);

    cr_assert(out, "%s", why.text);
    cr_expect_not(strstr(out, "c2ln"));
    free(out);
    out = carry(1, 1, body);
    cr_expect(strstr(out, "c2ln"));
    free(out);
    free(body);
    body = body_with(2, "{'input':[{'role':'user','content':'a'},{'type':'reasoning','id':'rs_1',"
                     "'summary':[{'type':'summary_text','text':'hm'}],'encrypted_content':'ZW5j'},"
                     "{'type':'function_call','call_id':'c1','name':'f','arguments':'{}'},{'type':"
                     "'function_call_output','call_id':'c1','output':'7'}],'reasoning':{'effort':"
                     "'low'}}");
    out = carry(2, 1, body);
    cr_assert(out, "%s", why.text);
    cr_expect_not(strstr(out, "ZW5j") || strstr(out, "\"hm\""), "%s", out);
    cr_expect_not(strstr(out, "adaptive"), "a turn without its thinking goes on without: %s",
                  out);
    cr_expect(has_note("reasoning"));
    free(out);
    free(body);
}

Test(carry, a_message_that_only_thought_does_not_go_to_chat)
{
    char *body = body_with(2, "{'input':[{'role':'user','content':'a'},{'type':'reasoning','id':"
                           "'rs_1','summary':[{'type':'summary_text','text':'hm'}]},{'role':"
                           "'user','content':'b'}]}");
    char *out = carry(2, 0, body);

    cr_assert(out, "%s", why.text);
    cr_expect_not(strstr(out, "assistant"), "%s", out);
    cr_expect(has_note("reasoning"));
    free(out);
    free(body);
}

Test(carry, null_is_nothing_that_could_be_dropped_and_ids_of_calls_are)
{
    char *body = body_with(2, "{'truncation':null,'input':[{'role':'user','content':'a'},{'type':"
                           "'function_call','id':'fc_1','call_id':'c1','name':'f','arguments':"
                           "'{}'},{'type':'function_call_output','call_id':'c1','output':'7'}]}");
    char *out = carry(2, 0, body);

    cr_assert(out, "%s", why.text);
    cr_expect_not(has_note("truncation"));
    cr_expect(has_note("input[].id"));
    free(out);
    free(body);
}

Test(carry, what_was_kept_aside_can_be_put_back)
{
    char *body = body_with(0, "{'messages':[{'role':'user','content':'a'},{'role':'assistant',"
                           "'content':'x','reasoning_content':'hm'},{'role':'user','content':"
                           "'b'}]}");
    struct wire_target to = { dialect(1), "up", 64, true, false, false };
    struct wire_request r;
    struct buf out = { 0 };

    cr_assert_eq(wire_read(&r, &why, dialect(0), body, strlen(body)), OK);
    struct wire_part *p = &r.message[1].part[0];
    cr_assert_eq(p->kind, WIRE_PART_THINK);
    p->sealed = WIRE_SEAL_SIGNATURE;
    p->seal = (struct wire_text){ "c2ln", 4 };
    cr_assert_eq(wire_write(&out, &notes, &why, &r, &to), OK);
    cr_expect(strstr(out.data, "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
                               "\"c2ln\"}"), "%s", out.data);
    cr_expect(strstr(out.data, "\"max_tokens\":64"));
    wire_request_release(&r);
    buf_release(&out);
    free(body);
}

Test(carry, our_mark_of_no_signature_never_reaches_an_upstream)
{
    char *body = body_with(1, "{'messages':[{'role':'user','content':'a'},{'role':'assistant',"
                           "'content':[{'type':'thinking','thinking':'hm','signature':'"
                           WIRE_NO_SIGNATURE "'},{'type':'text','text':'x'}]},{'role':'user',"
                           "'content':'b'}]}");

    for (int to = 0; to < 3; to++) {
        char *out = carry(1, to, body);
        cr_assert(out, "%s", why.text);
        cr_expect_not(strstr(out, WIRE_NO_SIGNATURE), "%s", out);
        cr_expect(strstr(out, "\"x\""));
        free(out);
    }
    free(body);
}

Test(carry, what_has_no_place_there_is_refused_by_name)
{
    static const struct { int from, to; const char *members, *word; } bad[] = {
        { 0, 1, "{'messages':[{'role':'user','content':'a'},{'role':'assistant','tool_calls':[{"
          "'id':'c','type':'function','function':{'name':'f','arguments':'[1]'}}]}]}",
          "arguments" },
        { 0, 1, "{'messages':[{'role':'system','content':'s'}]}", "messages" },
        { 2, 0, "{'input':[{'type':'item_reference','id':'msg_1'}]}", "input" },
        { 2, 1, "{'tools':[{'type':'web_search'}],'tool_choice':{'type':'function','name':'f'}}",
          "tool_choice" },
        { 1, 0, "{'thread':{'type':'create'}}", "thread" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char *body = body_with(bad[i].from, bad[i].members);
        char *out = carry(bad[i].from, bad[i].to, body);
        cr_expect(!out, "%s: %s", body, out);
        cr_expect(strstr(why.text, bad[i].word), "%s", why.text);
        free(out);
        free(body);
    }
    struct buf out = { 0 };
    wire_error_write(&out, dialect(1), &why);           /* that of `thread` */
    cr_expect(strstr(out.data, "\"details\":{\"error_code\":\"thread_unsupported_request\"}"));
    buf_release(&out);
}

Test(carry, ids_of_calls_become_ids_that_messages_knows)
{
    char *body = body_with(0, "{'messages':[{'role':'user','content':'a'},{'role':'assistant',"
                           "'tool_calls':[{'id':'a:1.b','type':'function','function':{'name':'f',"
                           "'arguments':''}}]},{'role':'tool','tool_call_id':'a:1.b','content':"
                           "'7'}]}"), *out = carry(0, 1, body);

    cr_assert(out);
    cr_expect(strstr(out, "\"id\":\"a_1_b\",\"name\":\"f\",\"input\":{}"), "%s", out);
    cr_expect(strstr(out, "\"tool_use_id\":\"a_1_b\""), "%s", out);
    free(out);
    free(body);
}
