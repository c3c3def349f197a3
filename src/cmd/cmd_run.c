/* cmd_run.c - `croft run MODEL [PROMPT]`: one answer, on standard output alone.
 *
 * The prompt is the operand, -p or -f; piped input is appended after a newline.  Thinking is shown
 * dim on standard error when that is a terminal and is left out otherwise.  The answer ends with a
 * newline, its own or ours.  With --json it is one object instead, written at its end.  Several
 * answers (--n) are made by run_many.c, those to a file of prompts (--batch) by run_batch.c.
 */
#include "cmd/answer.h"
#include "cmd/chat_loop.h"
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/model_path.h"
#include "cmd/prompt.h"
#include "cmd/run_batch.h"
#include "cmd/run_json.h"
#include "cmd/run_many.h"

#include "base/file.h"
#include "base/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT_BYTES_MAX = 64 << 20 };

/* *given tells an empty prompt from none. */
static enum err read_prompt(struct buf *prompt, bool *given, const struct opt_set *o)
{
    const char *operand = opt_operands(o) > 1 ? opt_operand(o, 1) : NULL;
    const char *flag = opt_text(o, OPT_prompt), *file = opt_text(o, OPT_file);
    char *text = NULL;
    size_t len = 0;
    enum err e = OK;

    *given = operand || flag || file;
    if ((operand != NULL) + (flag != NULL) + (file != NULL) > 1)
        return err_set(ERR_ARG, "RUN-20", "the prompt is given twice; give one of: the operand, "
                       "--prompt, --file");
    if (operand || flag)
        buf_puts(prompt, operand ? operand : flag);
    if (file) {
        e = file_read_text(&text, &len, file, PROMPT_BYTES_MAX);
        if (e == OK)
            buf_add(prompt, text, len);
        free(text);
    }
    if (e == OK && !(file && !strcmp(file, "-")) && file_stdin_given()) {
        e = file_read_text(&text, &len, "-", PROMPT_BYTES_MAX);
        if (e == OK && len) {
            if (prompt->len)
                buf_puts(prompt, "\n");
            buf_add(prompt, text, len);
        }
        *given = *given || e != OK || len;
        if (e == OK)
            free(text);
    }
    return e == OK ? buf_ok(prompt) : e;
}

/* Raw text: what the session holds, what is pending, and the prompt behind it. */
static enum err raw_ids(const struct dialog *c, const struct buf *prompt, struct tok_list *ids,
                        unsigned char **kind)
{
    int64_t held = c->l->session ? session_len(c->l->session) : 0;
    struct session_parts p;
    enum err e = OK;

    if (!held && c->pending < 0)
        return prompt_raw(c->l->tok, prompt->data, prompt->len, TEXT_CONTROL, ids);
    p = session_parts(c->l->session);
    for (int64_t i = 0; i < held && e == OK; i++)
        e = tok_list_add(ids, p.token[i]);
    if (e == OK && c->pending >= 0)
        e = tok_list_add(ids, c->pending);
    size_t n_old = ids->n;
    if (e == OK && prompt->len)
        e = tokenizer_encode_text(c->l->tok, prompt->data, prompt->len, TEXT_CONTROL, ids);
    if (e != OK)
        return e;
    *kind = malloc(ids->n);
    if (!*kind)
        return err_set(ERR_NOMEM, "RUN-24", "no memory for %zu tokens", ids->n);
    memset(*kind, TOK_PROMPT, ids->n);
    memcpy(*kind, p.kind, (size_t)held);
    memset(*kind + held, TOK_SAMPLED, n_old - (size_t)held);
    return OK;
}

static enum err make_ids(struct dialog *c, const struct buf *prompt, struct tok_list *ids,
                         unsigned char **kind)
{
    struct tok_list probe = { 0 };
    enum err e = OK;

    if (c->raw)
        return raw_ids(c, prompt, ids, kind);
    if (!prompt->len && !c->lead.len)
        return err_set(ERR_ARG, "STATE-48", "there is no prompt, and every message of %s has its "
                       "answer; write what to answer", opt_text(c->o, OPT_load_state));
    /* Alone first: an offset of invalid UTF-8 then counts in what the person wrote. */
    if (c->style.chat)
        e = tokenizer_encode_text(c->l->tok, prompt->data, prompt->len, TEXT_PLAIN, &probe);
    tok_list_release(&probe);
    if (e != OK)
        return err_wrap(e, "the prompt");
    e = chat_add_user(c, buf_text(prompt), prompt->len);
    return e == OK ? chat_ids(c, ids, kind) : e;
}

/* What a person must know about how it ended. */
static enum err report_end(const struct answer *a, const struct session *s)
{
    if (a->end == ANSWER_INTERRUPT)
        return err_set(ERR_STOPPED, "RUN-21", "interrupted after %lld tokens",
                       (long long)a->n_tok);
    if (a->end == ANSWER_FULL)
        term_warn("the answer was cut: prompt and answer are %lld tokens and the context holds "
                  "%lld; give --ctx-size %lld", (long long)session_len(s) + 1,
                  (long long)session_ctx(s), 2 * (long long)session_ctx(s));
    if (a->n_think_tok && !a->n_answer_bytes)
        term_note("the answer ended after %lld tokens of thinking, before it began; "
                  "give a larger --max-tokens", (long long)a->n_think_tok);
    return OK;
}

/* What --save-state keeps: the turn with its answer, or without when there was none. */
static enum err save_state(struct dialog *c, struct answer *a)
{
    const char *path = opt_text(c->o, OPT_save_state);
    enum err e = OK;

    if (!path)
        return OK;
    c->pending = a->id_pending;
    if (!c->raw && a->n_tok)
        e = chat_keep(c, a);
    buf_release(&c->lead);
    return e == OK ? chat_state_save(c, path) : e;
}

/* Give it its session, and in that the conversation so far. */
static enum err begin(struct dialog *c)
{
    const char *save = opt_text(c->o, OPT_save_state), *load = opt_text(c->o, OPT_load_state);
    enum err e = save ? chat_state_writable(save) : OK;

    if (e == OK && opt_int(c->o, OPT_n_answers) == 1)
        e = load_session(c->l, c->o, 0, (int32_t)opt_int(c->o, OPT_batch_size));
    if (e == OK && c->l->session)
        e = load_draft(c->l, c->o);
    if (e != OK || !c->raw)
        return e == OK ? chat_begin(c) : e;
    if (opt_text(c->o, OPT_system))
        term_warn("--system is not used: plain text has no place for a system message");
    return load ? chat_state_load(c, load) : OK;
}

/* The answer for a person, as it is made. */
static enum err show_answer(struct answer *a, struct loaded *l, const struct tok_list *ids,
                            const unsigned char *kind, struct answer_options *ao, bool stats)
{
    struct answer_view view = { .think = isatty(STDERR_FILENO) ? THINK_FULL : THINK_DROP };
    enum err e, e_end;

    ao->text = answer_view_text;
    ao->arg = &view;
    e = answer_make(a, l, ids, kind, ao);
    e_end = e == ERR_PIPE ? OK : answer_view_end(&view);
    e = e == OK ? e_end : e;
    if (e == OK && ao->n_logprob >= 0)
        answer_print_tokens(a, l->tok);
    if (e == OK && stats)
        answer_print_stats(a, l->session);
    return e;
}

/* For a program, when it is whole. */
static enum err write_answer(struct answer *a, struct loaded *l, const struct tok_list *ids,
                             const unsigned char *kind, struct answer_options *ao)
{
    struct answer_texts texts = { 0 };
    enum err e;

    ao->text = answer_texts_add;
    ao->arg = &texts;
    e = answer_make(a, l, ids, kind, ao);
    if (e == OK)
        e = run_json_out(run_json_object(a, ao, &texts, l));
    answer_texts_release(&texts);
    return e;
}

static enum err answer(struct answer *a, struct dialog *c, const struct tok_list *ids,
                       const unsigned char *kind, struct answer_options *ao)
{
    bool json = opt_flag(c->o, OPT_json);
    enum err e;

    if (opt_int(c->o, OPT_n_answers) > 1)
        return run_many(c->l, c->o, ids, kind, ao);
    e = json ? write_answer(a, c->l, ids, kind, ao) :
        show_answer(a, c->l, ids, kind, ao, opt_flag(c->o, OPT_verbose));
    if (e == OK)
        e = report_end(a, c->l->session);
    return e == OK ? save_state(c, a) : e;
}

static enum err run(struct loaded *l, struct opt_set *o, const struct buf *prompt)
{
    struct answer_options ao = { .keep_tokens = opt_flag(o, OPT_json) };
    struct dialog c = { .o = o, .l = l, .raw = opt_flag(o, OPT_raw), .pending = -1 };
    struct answer a = { 0 };
    struct tok_list ids = { 0 };
    unsigned char *kind = NULL;
    enum err e = answer_options_read(&ao, l, o);

    if (e == OK)
        e = begin(&c);
    ao.think = c.style.marks;
    ao.goes_on = c.raw && opt_text(o, OPT_load_state);
    if (e == OK)
        e = make_ids(&c, prompt, &ids, &kind);
    if (e == OK && !ids.n)
        e = err_set(ERR_ARG, "RUN-22", "the prompt is empty: write what to answer");
    if (e == OK)
        e = answer(&a, &c, &ids, kind, &ao);
    if (e == ERR_STOPPED && opt_text(o, OPT_save_state))
        term_note("interrupted: nothing was saved to %s", opt_text(o, OPT_save_state));
    answer_release(&a);
    answer_options_release(&ao);
    talk_release(&c.talk);
    buf_release(&c.lead);
    prompt_style_release(&c.style);
    tok_list_release(&ids);
    free(kind);
    return e;
}

/* Before standard input is waited for: a mistyped name is said at once. */
static enum err model_is_there(const struct opt_set *o)
{
    char *path;
    enum err e = model_path_find(&path, opt_operand(o, 0));

    free(path);
    return e;
}

/* Options that go only with one answer, with several, or with a file of prompts. */
static enum err check_options(const struct opt_set *o)
{
    bool many = opt_int(o, OPT_n_answers) > 1, batch = opt_text(o, OPT_batch);
    const char *state = opt_text(o, OPT_save_state) ? "--save-state" :
                        opt_text(o, OPT_load_state) ? "--load-state" : NULL;

    if ((many || batch) && state)
        return err_set(ERR_ARG, "RUN-28", "%s keeps one conversation and does not go with %s",
                       state, many ? "--n" : "--batch");
    if (many && batch)
        return err_set(ERR_ARG, "RUN-29", "--n does not go with --batch: give the prompt a line "
                       "for each answer, with its own \"seed\"");
    if ((many || batch) && opt_given(o, OPT_draft_model))
        term_note("--draft-model is not used with %s: guesses come from the texts themselves",
                  many ? "--n" : "--batch");
    if (!batch && (opt_text(o, OPT_output) || opt_flag(o, OPT_force)))
        return err_set(ERR_ARG, "RUN-30", "%s goes with --batch; one answer goes to standard "
                       "output", opt_text(o, OPT_output) ? "--output" : "--force");
    return OK;
}

static enum err run_prompt(struct opt_set *o)
{
    int64_t n = opt_int(o, OPT_n_answers), most = opt_int(o, OPT_parallel);
    struct buf prompt = { 0 };
    struct loaded l = { .mtp = n == 1 && load_wants_mtp(o) };
    bool given = false;
    enum err e = read_prompt(&prompt, &given, o);

    if (e == OK && !given && n == 1 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
        !opt_flag(o, OPT_raw) && !opt_flag(o, OPT_json)) {
        buf_release(&prompt);
        return chat_loop(o);
    }
    if (e == OK && !prompt.len && !opt_text(o, OPT_load_state))
        e = err_set(ERR_ARG, "RUN-23", "%s; try: croft run %s 'Why is the sky blue?'",
                    given ? "the prompt is empty" : "no prompt was given", opt_operand(o, 0));
    if (e == OK && opt_int(o, OPT_context_shift) > 0)
        term_note("--context-shift is not used: a single prompt has no older turns to drop");
    if (e == OK)
        answer_say_unused(o);
    term_catch_interrupt();
    if (e == OK)
        e = load_open(&l, o, true, load_rows_many(o, n < most ? n : most));
    if (e == OK)
        e = run(&l, o, &prompt);
    load_close(&l);
    buf_release(&prompt);
    return e;
}

enum err cmd_run(struct opt_set *o)
{
    enum err e = check_options(o);

    if (e == OK)
        e = model_is_there(o);
    if (e != OK)
        return e;
    return opt_text(o, OPT_batch) ? run_batch(o) : run_prompt(o);
}
