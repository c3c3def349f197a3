/* chat_chatml.c - ChatML, and SmolLM2's: <|im_start|>role\ncontent<|im_end|>\n (model.md G.5).
 *
 * SmolLM2 begins with a system message of its own when the conversation has none in front.
 * Contents are written as they are; system messages stay in place.
 */
#include "text/chat_form.h"

static const char smollm2_system[] =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/* Relatives of ChatML (Qwen, Hermes, ...) add defaults, tools or thinking of their own; what a
 * plain loop over the messages never contains gives them away. */
static enum chat_format detect(struct chat_tmpl t, const char **why)
{
    static const struct { const char *mark, *why; } relative[] = {
        { "think", "ChatML with thinking of its own (Qwen3 or a relative), which we do not write" },
        { "Qwen", "ChatML with Qwen's default system text, which we do not write" },
        { "tool", "ChatML with tool definitions of its own, which we do not write" },
        { "You are", "ChatML with a default system text of its own, which we do not write" },
        { "bos_token", "ChatML that begins with a BOS, which we do not write" },
        { "trim", "ChatML that trims its contents, which we do not write" },
        { "strip", "ChatML that trims its contents, which we do not write" },
    };

    if (!chat_tmpl_has(t, "<|im_start|>"))
        return CHAT_NONE;
    *why = "ChatML marks, but no loop over messages with <|im_end|>";
    if (!chat_tmpl_has(t, "<|im_end|>") || !chat_tmpl_has(t, "messages") ||
        !chat_tmpl_has(t, "<|im_start|>assistant"))
        return CHAT_UNKNOWN;
    *why = "<|im_start|>, with SmolLM2's default system text";
    if (chat_tmpl_has(t, smollm2_system) && chat_tmpl_has(t, "loop.first") &&
        !chat_tmpl_has(t, "tool") && !chat_tmpl_has(t, "think"))
        return CHAT_SMOLLM2;
    for (size_t i = 0; i < sizeof(relative) / sizeof(relative[0]); i++) {
        *why = relative[i].why;
        if (chat_tmpl_has(t, relative[i].mark))
            return CHAT_UNKNOWN;
    }
    *why = "<|im_start|> and <|im_end|>, and no text of its own";
    return CHAT_CHATML;
}

static void render(enum chat_format f, const struct chat_msg *msg, size_t n_msg,
                   const struct chat_options *o, struct chat_text *out)
{
    if (f == CHAT_SMOLLM2 && n_msg && msg[0].role != CHAT_SYSTEM) {
        chat_put_control(out, "<|im_start|>system\n");
        chat_put_control(out, smollm2_system);
        chat_put_control(out, "<|im_end|>\n");
    }
    for (size_t i = 0; i < n_msg; i++) {
        chat_put_control(out, "<|im_start|>");
        chat_put_control(out, chat_role_name(msg[i].role));
        chat_put_control(out, "\n");
        if (msg[i].role == CHAT_ASSISTANT)
            chat_put_sampled(out, msg[i].text, msg[i].len);
        else
            chat_put_plain(out, msg[i].text, msg[i].len);
        chat_put_control(out, "<|im_end|>\n");
    }
    if (o->add_generation_prompt)
        chat_put_control(out, "<|im_start|>assistant\n");
}

const struct chat_form chat_form_chatml = {
    .detect = detect, .render = render, .token = { "<|im_start|>", "<|im_end|>" },
};

const struct chat_form chat_form_smollm2 = {
    .detect = detect, .render = render, .token = { "<|im_start|>", "<|im_end|>" },
};
