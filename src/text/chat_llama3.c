/* chat_llama3.c - Llama-3 and Llama-3.1 to 3.3 (model.md G.6).
 *
 *   BOS { <|start_header_id|> role <|end_header_id|> \n\n trim(content) <|eot_id|> }
 *
 * From 3.1 on there always is a system header, which begins with two lines of dates.
 */
#include "text/chat_form.h"

#include <string.h>

static enum chat_format detect(struct chat_tmpl t, const char **why)
{
    if (!chat_tmpl_has(t, "<|start_header_id|>"))
        return CHAT_NONE;
    *why = "Llama-3 headers, but contents are not trimmed as Llama-3's are";
    if (!chat_tmpl_has(t, "<|eot_id|>") || !chat_tmpl_has(t, "trim"))
        return CHAT_UNKNOWN;
    if (chat_tmpl_has(t, "Cutting Knowledge Date: December 2023\\n") &&
        chat_tmpl_has(t, "\"Today Date: \"")) {
        *why = "<|start_header_id|>, with Llama-3.1's date lines";
        return CHAT_LLAMA31;
    }
    *why = "Llama-3 headers, with texts or tools of its own, which we do not write";
    if (chat_tmpl_has(t, "tool") || chat_tmpl_has(t, "function") || chat_tmpl_has(t, "You are") ||
        chat_tmpl_has(t, "Date") || chat_tmpl_has(t, "think"))
        return CHAT_UNKNOWN;
    *why = "<|start_header_id|>, without date lines";
    return CHAT_LLAMA3;
}

static void put_header(struct chat_text *out, enum chat_role role)
{
    chat_put_control(out, "<|start_header_id|>");
    chat_put_control(out, chat_role_name(role));
    chat_put_control(out, "<|end_header_id|>\n\n");
}

static void put_content(struct chat_text *out, const struct chat_msg *msg)
{
    const char *text = msg->text;
    size_t len = msg->len;

    chat_trim(&text, &len);
    if (msg->role == CHAT_ASSISTANT)
        chat_put_sampled(out, text, len);
    else
        chat_put_plain(out, text, len);
    chat_put_control(out, "<|eot_id|>");
}

static void render(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                   const struct chat_options *o, struct chat_text *out)
{
    size_t i = 0;

    chat_put_control(out, o->bos);
    if (f == CHAT_LLAMA31) {
        const struct chat_msg none = { CHAT_SYSTEM, "", 0 };

        put_header(out, CHAT_SYSTEM);
        chat_put_control(out, "Cutting Knowledge Date: December 2023\nToday Date: ");
        if (o->date)
            chat_put_plain(out, o->date, strlen(o->date));
        else
            chat_put_control(out, "26 Jul 2024");
        chat_put_control(out, "\n\n");
        put_content(out, n_msg && msg[0].role == CHAT_SYSTEM ? &msg[i++] : &none);
    }
    for (; i < n_msg; i++) {
        put_header(out, msg[i].role);
        put_content(out, &msg[i]);
    }
    if (o->add_generation_prompt)
        put_header(out, CHAT_ASSISTANT);
}

const struct chat_form chat_form_llama3 = {
    .detect = detect, .render = render, .token = { "<|start_header_id|>", "<|eot_id|>" },
};

const struct chat_form chat_form_llama31 = {
    .detect = detect, .render = render, .token = { "<|start_header_id|>", "<|eot_id|>" },
};
