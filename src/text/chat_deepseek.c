/* chat_deepseek.c - DeepSeek V2, V3, R1, V3.1 and the R1 distills (model.md G.1, G.3, G.7).
 *
 *   V3, R1   BOS system U user A answer EOS U user A         R1's last A is A <think> \n
 *   V3.1     the same with </think> after each A of an earlier answer, and <think> or </think>
 *            after the last
 *   V2       BOS system \n\n "User: " user \n\n "Assistant: " answer EOS ... "Assistant:"
 *
 * U and A are the role tokens; nothing stands between the parts.  System messages come together
 * at the front (V2: where they are; the distills: the last alone).  Of an earlier answer only
 * what follows its last </think> is kept, white space included.
 */
#include "text/chat_form.h"

#include <string.h>

#define USER "<｜User｜>"
#define ASSISTANT "<｜Assistant｜>"
#define THINK_OPEN "<think>"
#define THINK_CLOSE "</think>"

/* V3.1's tool calls begin with the function's name, those of V3 and R1 with a type. */
static bool names_tool_first(struct chat_tmpl t)
{
    static const char *const part[] = { "'", "+", "tool['function']['name']" };
    const char *mark = "<｜tool▁call▁begin｜>", *end = t.text + t.len, *at = t.text;

    while (at && (at = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL) {
        size_t i = 0;

        at += strlen(mark);
        for (const char *p = at; i < sizeof(part) / sizeof(part[0]); i++) {
            size_t len = strlen(part[i]);

            while (p < end && *p == ' ')
                p++;
            if ((size_t)(end - p) < len || memcmp(p, part[i], len) != 0)
                break;
            p += len;
        }
        if (i == sizeof(part) / sizeof(part[0]))
            return true;
    }
    return false;
}

/* The distills' template keeps the last system message; the others' join them. */
static bool joins_system(struct chat_tmpl t)
{
    return chat_tmpl_has(t, "is_first_sp");
}

static enum chat_format detect_v3(struct chat_tmpl t, const char **why)
{
    struct chat_tmpl prompt = chat_tmpl_tail(t, "add_generation_prompt");

    *why = "DeepSeek-V3.2 (DSML), whose tool and thinking syntax we do not write";
    if (chat_tmpl_has(t, "DSML"))
        return CHAT_UNKNOWN;
    *why = "DeepSeek's role tokens, but no generation prompt that begins with the assistant's";
    if (!chat_tmpl_has(t, USER) || !chat_tmpl_has(prompt, ASSISTANT))
        return CHAT_UNKNOWN;
    *why = "<｜Assistant｜>, with V3.1's tool calls";
    if (names_tool_first(t))
        return CHAT_DEEPSEEK31;
    *why = "<｜Assistant｜>, and <think> and a newline in the generation prompt";
    if (chat_tmpl_has(prompt, THINK_OPEN "\\n") || chat_tmpl_has(prompt, THINK_OPEN "\n"))
        return joins_system(t) ? CHAT_DEEPSEEK_R1 : CHAT_DEEPSEEK_R1_DISTILL;
    *why = "<｜Assistant｜>, and </think> in the generation prompt";
    if (chat_tmpl_has(prompt, THINK_CLOSE))
        return CHAT_DEEPSEEK31;
    *why = "DeepSeek's role tokens, with a generation prompt of no model we know";
    if (chat_tmpl_has(prompt, THINK_OPEN))
        return CHAT_UNKNOWN;
    *why = "<｜Assistant｜>, which alone is the generation prompt";
    return CHAT_DEEPSEEK3;
}

static enum chat_format detect(struct chat_tmpl t, const char **why)
{
    if (chat_tmpl_has(t, ASSISTANT))
        return detect_v3(t, why);
    if (!chat_tmpl_has(t, "'User: '") || !chat_tmpl_has(t, "'Assistant: '"))
        return CHAT_NONE;
    *why = "DeepSeek-V2's roles, but not its end of an answer or its generation prompt";
    if (!chat_tmpl_has(t, "eos_token") || !chat_tmpl_has(t, "'Assistant:'"))
        return CHAT_UNKNOWN;
    *why = "\"User: \" and \"Assistant: \", with EOS after an answer";
    return CHAT_DEEPSEEK2;
}

/* What follows the last </think>, or all. */
static struct chat_msg without_thinking(struct chat_msg msg)
{
    const size_t n = sizeof(THINK_CLOSE) - 1;
    struct chat_tmpl tail = chat_tmpl_tail((struct chat_tmpl){ msg.text, msg.len }, THINK_CLOSE);

    if (!tail.len)
        return msg;
    return (struct chat_msg){ msg.role, tail.text + n, tail.len - n };
}

/* All system messages, joined; of a distill the last. */
static void put_system(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                       struct chat_text *out)
{
    const struct chat_msg *last = NULL;

    for (size_t i = 0; i < n_msg; i++) {
        if (msg[i].role != CHAT_SYSTEM)
            continue;
        if (last && f != CHAT_DEEPSEEK_R1_DISTILL) {
            chat_put_plain(out, last->text, last->len);
            chat_put_control(out, "\n\n");
        }
        last = &msg[i];
    }
    if (last)
        chat_put_plain(out, last->text, last->len);
}

static void render(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                   const struct chat_options *o, struct chat_text *out)
{
    chat_put_control(out, o->bos);
    put_system(f, msg, n_msg, out);
    for (size_t i = 0; i < n_msg; i++) {
        if (msg[i].role == CHAT_USER) {
            chat_put_control(out, USER);
            chat_put_plain(out, msg[i].text, msg[i].len);
        } else if (msg[i].role == CHAT_ASSISTANT) {
            struct chat_msg answer = without_thinking(msg[i]);

            chat_put_control(out, ASSISTANT);
            if (f == CHAT_DEEPSEEK31)
                chat_put_control(out, THINK_CLOSE);
            chat_put_sampled(out, answer.text, answer.len);
            chat_put_control(out, o->eos);
        }
    }
    if (!o->add_generation_prompt)
        return;
    chat_put_control(out, ASSISTANT);
    if (f == CHAT_DEEPSEEK_R1 || f == CHAT_DEEPSEEK_R1_DISTILL)
        chat_put_control(out, THINK_OPEN "\n");
    else if (f == CHAT_DEEPSEEK31)
        chat_put_control(out, o->think ? THINK_OPEN : THINK_CLOSE);
}

/* The role words are ordinary text.  The generation prompt ends at the colon, so the space
 * behind it is the model's own first byte: of an answer that still has it, it is not doubled. */
static void render_v2(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                      const struct chat_options *o, struct chat_text *out)
{
    (void)f;
    chat_put_control(out, o->bos);
    for (size_t i = 0; i < n_msg; i++) {
        const char *text = msg[i].text;
        size_t len = msg[i].len;

        if (msg[i].role == CHAT_ASSISTANT) {
            chat_put_control(out, "Assistant:");
            if (!len || text[0] != ' ')
                chat_put_sampled(out, " ", 1);
            chat_put_sampled(out, text, len);
            chat_put_control(out, o->eos);
            continue;
        }
        if (msg[i].role == CHAT_USER)
            chat_put_control(out, "User: ");
        chat_put_plain(out, text, len);
        chat_put_control(out, "\n\n");
    }
    if (o->add_generation_prompt)
        chat_put_control(out, "Assistant:");
}

const struct chat_form chat_form_deepseek2 = {
    .detect = detect, .render = render_v2,
};

const struct chat_form chat_form_deepseek3 = {
    .detect = detect, .render = render, .token = { USER, ASSISTANT },
    .think = {
        { .open = THINK_OPEN, .close = THINK_CLOSE },
        { .open = THINK_OPEN, .close = THINK_CLOSE },
    },
};

const struct chat_form chat_form_deepseek_r1 = {
    .detect = detect, .render = render, .token = { USER, ASSISTANT },
    .think = {
        { .can = true, .fixed = true, .open = THINK_OPEN, .close = THINK_CLOSE,
          .starts_open = true },
        { .can = true, .fixed = true, .open = THINK_OPEN, .close = THINK_CLOSE,
          .starts_open = true },
    },
};

const struct chat_form chat_form_deepseek31 = {
    .detect = detect, .render = render, .token = { USER, ASSISTANT },
    .think = {
        { .can = true, .open = THINK_OPEN, .close = THINK_CLOSE },
        { .can = true, .open = THINK_OPEN, .close = THINK_CLOSE, .starts_open = true },
    },
};
