/* cmd_chat.c - `croft chat MODEL`: reads messages, answers them, until the input ends. */
#include "cmd/chat_line.h"
#include "cmd/chat_loop.h"
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"

#include "base/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Errors the conversation survives: they are said, and the next message may be typed. */
static enum err survive(struct dialog *c, enum err e)
{
    if (e == OK || e == ERR_PIPE || e == ERR_IO || e == ERR_NOMEM)
        return e;
    term_error(e);
    c->n_failed++;
    return OK;
}

static enum err room_for(void *arg, int64_t n_said, struct tok_list *ids, unsigned char **kind)
{
    struct dialog *c = ((void **)arg)[1];
    enum err e;

    if (opt_int(c->o, OPT_context_shift) < 1)
        return OK;
    e = chat_fit(c, n_said, ids, kind);
    if (e == ERR_LIMIT) {               /* nothing left to drop: the answer ends here */
        tok_list_release(ids);
        free(*kind);
        *kind = NULL;
        return OK;
    }
    return e;
}

static enum err on_text(void *arg, enum chat_part part, const char *text, size_t len,
                        int64_t n_think_tok)
{
    return answer_view_text(((void **)arg)[0], part, text, len, n_think_tok);
}

static void say_end(const struct dialog *c, const struct answer *a)
{
    const struct session *s = c->l->session;

    if (a->end == ANSWER_FULL)
        term_warn("the answer was cut: the conversation is %lld tokens and the context holds "
                  "%lld; /compact summarises the older turns, /set context-shift 128 drops them",
                  (long long)session_len(s) + 1, (long long)session_ctx(s));
    else if (a->end == ANSWER_MAX)
        term_note("the answer was cut at --max-tokens %lld; /set max-tokens -1 lifts it",
                  (long long)a->n_tok);
}

/* Thinking that never ended is closed, so that it stays thinking. */
enum err chat_keep(struct dialog *c, struct answer *a)
{
    buf_release(&c->lead);
    if (a->n_think_tok && !a->n_answer_bytes && !strstr(buf_text(&a->raw), c->style.marks.close))
        buf_puts(&a->raw, c->style.marks.close);
    return talk_add(&c->talk, CHAT_ASSISTANT, buf_text(&a->raw), a->raw.len);
}

static enum err keep(struct dialog *c, struct answer *a)
{
    if (a->n_tok)
        return chat_keep(c, a);
    talk_drop(&c->talk, c->talk.n - 1, 1);
    term_note("there was no answer; your message was taken back");
    return OK;
}

enum err chat_answer(struct dialog *c)
{
    struct answer_view view = { .think = c->think };
    void *args[2] = { &view, c };
    struct answer_options ao = { .text = on_text, .room = room_for, .arg = args,
                                 .think = c->style.marks };
    struct answer a = { 0 };
    struct tok_list ids = { 0 };
    unsigned char *kind = NULL;
    enum err e = answer_options_read(&ao, c->l, c->o), e_end;

    ao.sampling.seed += (uint64_t)c->n_again;
    if (e == OK)
        e = chat_fit(c, 0, &ids, &kind);
    chat_say_dropped(c);
    if (e == OK)
        e = answer_make(&a, c->l, &ids, kind, &ao);
    e_end = e == ERR_PIPE ? OK : answer_view_end(&view);
    e = e == OK ? e_end : e;
    if (e == OK)
        e = keep(c, &a);
    else
        talk_drop(&c->talk, c->talk.n - 1, 1);
    if (e == OK && ao.n_logprob >= 0)
        answer_print_tokens(&a, c->l->tok);
    if (e == OK && !opt_flag(c->o, OPT_quiet))
        answer_print_stats(&a, c->l->session);
    chat_say_dropped(c);
    if (e == OK)
        say_end(c, &a);
    term_clear_interrupt();
    answer_release(&a);
    tok_list_release(&ids);
    free(kind);
    answer_options_release(&ao);
    return survive(c, e);
}

static enum err take_line(struct dialog *c, const struct buf *text, bool *end)
{
    const char *line = buf_text(text);
    struct tok_list probe = { 0 };
    enum err e;

    if (!line[strspn(line, " \t\r\n")])
        return OK;
    if (line[0] == '/')
        return chat_command(c, line, end);
    /* Alone first: an offset of invalid UTF-8 then counts in what the person wrote. */
    e = tokenizer_encode_text(c->l->tok, line, text->len, TEXT_PLAIN, &probe);
    tok_list_release(&probe);
    if (e != OK)
        return survive(c, e);
    c->n_again = 0;
    e = chat_add_user(c, line, text->len);
    return e == OK ? chat_answer(c) : e;
}

static void greet(const struct dialog *c)
{
    const struct model_info *info = model_info(c->l->model);
    const char *name = *info->name ? info->name : c->l->path;
    struct buf shown = { 0 };

    if (!c->style.chat)
        term_note("this is a base model: it continues your text and was not trained to answer");
    term_shown(&shown, name, strlen(name));
    if (isatty(STDIN_FILENO))
        term_note("%s, context %lld tokens; /help lists the commands, Ctrl-D ends",
                  buf_text(&shown), (long long)session_ctx(c->l->session));
    buf_release(&shown);
}

static enum err talk_on(struct dialog *c)
{
    struct chat_line *line = NULL;
    struct buf text = { 0 };
    enum line_got got = LINE_TEXT;
    bool end = false;
    enum err e = chat_line_open(&line);

    while (e == OK && !end) {
        e = chat_line_read(line, &text, &got);
        if (e == OK && term_interrupted() && !isatty(STDIN_FILENO))
            e = err_set(ERR_STOPPED, "CHATC-20", "interrupted");
        term_clear_interrupt();         /* one that came before the answer is not meant for it */
        if (e == OK && got == LINE_TEXT)
            e = take_line(c, &text, &end);
        end = end || got == LINE_END;
    }
    if (e == OK && got == LINE_END && isatty(STDIN_FILENO))
        fputs("\n", stderr);
    /* A person has seen them and went on; a script sees the exit status alone. */
    if (e == OK && c->n_failed && !isatty(STDIN_FILENO))
        e = err_set(ERR_FORMAT, "COMP-02", "%lld of the messages and commands failed, as said "
                    "above; mend them and start again", (long long)c->n_failed);
    buf_release(&text);
    chat_line_close(line);
    return e;
}

/* A saved conversation has its system message: another one would make it another conversation. */
static enum err check_system(const struct dialog *c, const char *system)
{
    const char *own = talk_first(&c->talk) ? c->talk.msg[0].text : NULL;

    if (own && !strcmp(own, system))
        return OK;
    return err_set(ERR_ARG, "STATE-47", "--system is not that of %s, which was saved with %s; "
                   "leave it out", opt_text(c->o, OPT_load_state),
                   own ? "another system message" : "none");
}

enum err chat_begin(struct dialog *c)
{
    const char *system = opt_text(c->o, OPT_system), *load = opt_text(c->o, OPT_load_state);
    enum err e = prompt_style_read(&c->style, c->l, c->o);

    if (e == OK && load)
        e = chat_state_load(c, load);
    if (e != OK || !system)
        return e;
    if (load)
        return check_system(c, system);
    if (c->style.chat)
        return talk_set_system(&c->talk, system);
    term_warn("--system is not used: plain text has no place for a system message");
    return OK;
}

/* Wrong options are said before the first message, not after it. */
static enum err check_options(const struct loaded *l, const struct opt_set *o)
{
    struct answer_options probe = { .n_max = 0 };
    enum err e = answer_options_read(&probe, l, o);

    answer_options_release(&probe);
    answer_say_unused(o);
    return e;
}

enum err chat_loop(struct opt_set *o)
{
    struct loaded l = { .mtp = load_wants_mtp(o) };
    struct dialog c = { .o = o, .l = &l, .think = THINK_FULL, .pending = -1 };
    const char *save = opt_text(o, OPT_save_state);
    enum err e = save ? chat_state_writable(save) : OK;

    if (!isatty(STDIN_FILENO) && !isatty(STDERR_FILENO))
        c.think = THINK_DROP;
    term_catch_interrupt();
    if (e == OK)
        e = load_open(&l, o, true, (int32_t)opt_int(o, OPT_batch_size));
    if (e == OK)
        e = check_options(&l, o);
    if (e == OK)
        e = load_session(&l, o, 0, (int32_t)opt_int(o, OPT_batch_size));
    if (e == OK)
        e = load_draft(&l, o);
    if (e == OK)
        e = chat_begin(&c);
    if (e == OK) {
        greet(&c);
        chat_show_history(&c);
        e = talk_on(&c);
    }
    if (e == OK && save)
        e = chat_state_save(&c, save);
    else if (e == ERR_STOPPED && save)
        term_note("interrupted: nothing was saved to %s", save);
    talk_release(&c.talk);
    buf_release(&c.lead);
    prompt_style_release(&c.style);
    load_close(&l);
    return e;
}

enum err cmd_chat(struct opt_set *o)
{
    return chat_loop(o);
}
