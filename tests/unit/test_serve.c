/* test_serve.c - what waits for the engine, who may ask, and text on its way to a client. */
#include <criterion/criterion.h>

#include "serve/flow.h"
#include "serve/gate.h"
#include "serve/queue.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- the queue ------------------------------------------------------------------------------- */

static struct queue_item *put(struct queue *q, struct queue_item *item, uint64_t party, int64_t n)
{
    *item = (struct queue_item){ .party = party, .n_tok = n };
    queue_put(q, item);
    return item;
}

Test(serve, parties_take_turns_and_arrival_decides_inside_one)
{
    struct queue_item a[4], b[2], *want[6];
    struct queue q;

    cr_assert_eq(queue_init(&q, 10, 1000, 3), OK);
    cr_assert_null(queue_take(&q));
    for (int i = 0; i < 4; i++)
        put(&q, &a[i], 1, 10);
    put(&q, &b[0], 2, 10);
    put(&q, &b[1], 2, 10);
    want[0] = &a[0];
    want[1] = &b[0];
    want[2] = &a[1];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(queue_take(&q), want[i], "number %d", i);
    cr_assert_null(queue_take(&q), "three are in work");
    cr_assert_eq(q.n_item, 3);
    cr_assert_eq(q.n_tok, 30);
    queue_done(&q, 1);
    queue_remove(&q, &a[2]);
    cr_assert_eq(queue_take(&q), &a[3], "one each in work: the oldest that is left");
    queue_done(&q, 2);
    cr_assert_eq(queue_take(&q), &b[1]);
    for (int i = 0; i < 2; i++)
        queue_done(&q, 1);
    queue_done(&q, 2);
    cr_assert_eq(q.n_party, 0);
    cr_assert_eq(q.n_item + q.n_tok, 0);
    queue_release(&q);
}

Test(serve, what_waits_is_bounded_in_number_and_tokens)
{
    struct queue_item item[3];
    struct queue q;

    cr_assert_eq(queue_init(&q, 3, 100, 1), OK);
    cr_assert(queue_room(&q, 50, 100000), "whatever its size when nothing waits");
    put(&q, &item[0], 0, 60);
    cr_assert(queue_room(&q, 2, 40));
    cr_assert_not(queue_room(&q, 1, 41));
    cr_assert_not(queue_room(&q, 3, 1));
    queue_remove(&q, &item[0]);
    cr_assert(queue_room(&q, 1, 500));
    queue_release(&q);
}

/* A thousand turns of a hash: counts always add up, nobody with nothing in work is passed over. */
Test(serve, a_party_with_nothing_in_work_never_waits_behind_one_with_some)
{
    struct queue_item item[64];
    uint64_t work[64] = { 0 }, rng = 7;
    int32_t n_work = 0, in_work[5] = { 0 };
    bool waits[64] = { false };
    struct queue q;

    cr_assert_eq(queue_init(&q, 64, 1000000, 8), OK);
    for (int turn = 0; turn < 5000; turn++) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        uint32_t dice = (uint32_t)(rng >> 40);
        int i = (int)(dice % 64);
        if (!waits[i]) {
            put(&q, &item[i], dice / 64 % 5, 1);
            waits[i] = true;
        }
        if (dice % 3) {
            struct queue_item *got = queue_take(&q);
            cr_assert_eq(got == NULL, n_work == 8 || (q.n_item == 0 && !got));
            if (got) {
                for (int k = 0; k < 64; k++)
                    cr_assert(!waits[k] || &item[k] == got ||
                              in_work[item[k].party] >= in_work[got->party]);
                waits[got - item] = false;
                work[n_work++] = got->party;
                in_work[got->party]++;
            }
        } else if (n_work) {
            queue_done(&q, work[--n_work]);
            in_work[work[n_work]]--;
        }
    }
    queue_release(&q);
}

/* Behind a thousand of one party the first of each other one waits for no more than its turn: the
 * next place that becomes free, or, when several came, the one after. */
Test(serve, a_crowd_of_one_party_costs_others_a_place_each)
{
    static struct queue_item crowd[1000], real[8];
    struct queue q;

    cr_assert_eq(queue_init(&q, 2000, 1000000, 16), OK);
    for (int i = 0; i < 1000; i++)
        put(&q, &crowd[i], 1, 10);
    for (int i = 0; i < 16; i++)
        cr_assert_eq(queue_take(&q), &crowd[i]);
    for (int i = 0; i < 8; i++)
        put(&q, &real[i], 2 + (uint64_t)i, 10);
    for (int i = 0; i < 8; i++) {
        cr_assert_null(queue_take(&q));
        queue_done(&q, 1);
        cr_assert_eq(queue_take(&q), &real[i], "number %d", i);
    }
    queue_done(&q, 2);
    cr_assert_eq(queue_take(&q), &crowd[16], "then the crowd goes on");
    queue_release(&q);
}

/* --- the gate -------------------------------------------------------------------------------- */

static struct gate open_gate(const char *path)
{
    struct key like[3] = { { .id = "a", .scopes = KEY_INFER, .created = 1,
                             .requests_per_minute = 2 },
                           { .id = "b", .scopes = KEY_INFER, .created = 1, .group = "team",
                             .tokens_per_minute = 60, .in_flight = 1 },
                           { .id = "c", .scopes = KEY_INFER, .created = 1, .group = "team" } };
    char token[KEY_TOKEN_BYTES];
    struct keys *k;
    struct gate g;

    cr_assert_eq(keys_new(&k), OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(keys_add(k, &like[i], token), OK, "%s", err_text());
    cr_assert_eq(keys_write(k, path), OK, "%s", err_text());
    keys_free(k);
    cr_assert_eq(gate_open(&g, path), OK, "%s", err_text());
    return g;
}

Test(serve, limits_fill_with_time_and_groups_are_one_party)
{
    char path[] = "/tmp/croft-gate-XXXXXX";
    int fd = mkstemp(path);
    struct gate g = open_gate(path);
    struct gate_pass p, first, b, c;

    cr_assert_eq(gate_enter(&g, "", 5, 0, &p), GATE_OK);
    cr_assert_eq(p.party, 0);
    cr_assert_eq(gate_enter(&g, "a", 5, 0, &first), GATE_OK);
    cr_assert_eq(gate_enter(&g, "a", 5, 0, &p), GATE_OK);
    cr_assert_eq(gate_enter(&g, "a", 5, 1, &p), GATE_REQUESTS);
    cr_assert_float_eq(p.wait_s, 29, 0.01);
    cr_assert_eq(gate_enter(&g, "a", 5, 30.1, &p), GATE_OK, "one every thirty seconds");
    cr_assert_eq(gate_enter(&g, "a", 5, 30.1, &p), GATE_REQUESTS);

    cr_assert_eq(gate_enter(&g, "b", 50, 0, &b), GATE_OK);
    cr_assert_eq(gate_enter(&g, "b", 5, 0, &p), GATE_IN_FLIGHT);
    gate_leave(&g, &b, 20);
    cr_assert_eq(gate_enter(&g, "b", 5, 0, &p), GATE_TOKENS, "the answer counts too");
    cr_assert_float_eq(p.wait_s, 15, 0.01);
    cr_assert_eq(gate_enter(&g, "b", 500, 200, &p), GATE_OK, "a full bucket takes any prompt");
    gate_leave(&g, &p, 0);
    cr_assert_eq(gate_enter(&g, "b", 1, 260, &p), GATE_TOKENS, "and owes it");

    cr_assert_eq(gate_enter(&g, "c", 5, 0, &c), GATE_OK);
    cr_assert_eq(b.party, c.party);
    cr_assert_neq(first.party, c.party);
    cr_assert_neq(first.party, 0);
    gate_close(&g);
    close(fd);
    unlink(path);
}

/* --- text ------------------------------------------------------------------------------------ */

static void append(char *to, const char *bytes, size_t len)
{
    size_t n = strlen(to);

    cr_assert_lt(n + len, 4096);
    memcpy(to + n, bytes, len);
    to[n + len] = '\0';
}

struct told { char text[4096], think[4096], tokens[4096]; int n_event, n_token; };

static enum err tell(void *arg, enum wire_event_kind kind, const char *text, size_t len,
                     const struct wire_logprob *logprob, size_t n)
{
    struct told *t = arg;

    append(kind == WIRE_THINK ? t->think : t->text, text, len);
    for (size_t i = 0; i < n; i++)
        append(t->tokens, logprob[i].token.bytes, logprob[i].token.len);
    t->n_event++;
    t->n_token += (int)n;
    return OK;
}

static struct tokenizer *letters(struct weights **w)
{
    struct tokenizer *t;

    cr_assert_eq(weights_open(w, "models/stories260K.gguf", NULL), OK, "%s", err_text());
    cr_assert_eq(tokenizer_new(&t, *w), OK, "%s", err_text());
    return t;
}

/* The text, token by token, with logits that are all equal. */
static void play(struct told *told, const struct flow_options *like, const char *text)
{
    static float logits[512];
    struct flow_options o = *like;
    struct tok_list ids = { 0 };
    struct flow f;

    *told = (struct told){ .n_event = 0 };
    o.n_vocab = 512;
    o.emit = tell;
    o.arg = told;
    cr_assert_eq(tokenizer_encode_text(o.tok, text, strlen(text), TEXT_PLAIN, &ids), OK);
    cr_assert_eq(flow_init(&f, &o), OK);
    for (size_t i = 0; i < ids.n && !f.hit; i++) {
        cr_assert_eq(flow_take(&f, ids.id[i], logits), OK);
        for (int k = 0; k < o.n_stop; k++)
            cr_assert_null(strstr(told->text, o.stop[k]), "shown: %s", told->text);
    }
    cr_assert_eq(flow_end(&f), OK);
    tok_list_release(&ids);
    flow_release(&f);
}

Test(serve, thinking_comes_apart_and_has_no_log_probabilities)
{
    struct weights *w;
    struct flow_options o = { .tok = letters(&w), .n_top = 2,
                              .think = { .can = true, .open = "<think>", .close = "</think>" } };
    struct told t;

    play(&t, &o, "<think>Tom is big</think>He said yes");
    cr_assert_str_eq(t.think, "Tom is big");
    cr_assert_str_eq(t.text, "He said yes");
    cr_assert(strstr(t.tokens, "said yes") && !strstr(t.tokens, "Tom"), "%s", t.tokens);
    play(&t, &o, "No <think> here");
    cr_assert_str_eq(t.text, "No <think> here");
    tokenizer_free((struct tokenizer *)(uintptr_t)o.tok);
    weights_free(w);
}

Test(serve, stop_strings_end_text_and_tokens_wherever_they_lie)
{
    static const char text[] = "Once upon a time there was a dog, and a dot.";
    const char *stop[2] = { NULL, "never" };
    struct weights *w;
    struct flow_options o = { .tok = letters(&w), .n_top = 0, .stop = stop, .n_stop = 2 };
    char word[8];
    struct told t;

    for (size_t at = 1; at + 3 < sizeof(text) - 1; at++) {
        memcpy(word, text + at, 3);
        word[3] = '\0';
        stop[0] = word;
        size_t want = (size_t)(strstr(text, word) - text);
        play(&t, &o, text);
        cr_assert_eq(strlen(t.text), want, "'%s' in '%s'", word, t.text);
        cr_assert(!strncmp(t.text, text, want));
        cr_assert_geq(strlen(t.tokens), want);
    }
    stop[0] = "dog?";
    play(&t, &o, text);
    cr_assert_str_eq(t.text, text, "what was held back comes at the end");
    tokenizer_free((struct tokenizer *)(uintptr_t)o.tok);
    weights_free(w);
}
