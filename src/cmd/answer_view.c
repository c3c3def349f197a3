/* answer_view.c - how an answer reaches a person: the answer on standard output, thinking and
 * numbers on standard error, dim where a terminal allows it. */
#include "cmd/answer.h"

#include "base/term.h"

#include <stdio.h>
#include <unistd.h>

static bool dim_err(void)
{
    return !term_plain() && isatty(STDERR_FILENO);
}

static const char *dim_on(void)
{
    return dim_err() ? "\033[2m" : "";
}

static const char *dim_off(void)
{
    return dim_err() ? "\033[0m" : "";
}

/* A model's words to a stream; harmless for a terminal when it is one. */
static enum err put(FILE *to, const char *text, size_t len)
{
    struct buf safe = { 0 };
    enum err e;

    if (isatty(to == stdout ? STDOUT_FILENO : fileno(to))) {
        term_shown(&safe, text, len);
        text = safe.data;
        len = safe.len;
    }
    e = buf_ok(&safe);
    if (e == OK && to == stdout)
        e = out_write(text, len);
    else if (e == OK && len)
        fwrite(text, 1, len, to);
    buf_release(&safe);
    return e;
}

static void begin_thinking(struct answer_view *v)
{
    if (v->think == THINK_FOLD && dim_err())
        fprintf(stderr, "%sThinking...%s", dim_on(), dim_off());
    else if (v->think == THINK_FULL)
        fputs(dim_err() ? dim_on() : "[thinking]\n", stderr);
    v->thinking = true;
}

static void end_thinking(struct answer_view *v)
{
    if (v->think == THINK_FOLD)
        fprintf(stderr, "%s%sThought (%lld tokens)%s\n", dim_err() ? "\r\033[K" : "", dim_on(),
                (long long)v->n_think_tok, dim_off());
    else if (v->think == THINK_FULL)
        fprintf(stderr, "%s\n%s", dim_off(), dim_err() ? "" : "[end of thinking]\n");
    fflush(stderr);
    v->thinking = false;
}

enum err answer_view_text(void *view, enum chat_part part, const char *text, size_t len,
                          int64_t n_think_tok)
{
    struct answer_view *v = view;
    enum err e;

    v->n_think_tok = n_think_tok;
    if (part == CHAT_PART_THINK) {
        if (!v->thinking)
            begin_thinking(v);
        e = v->think == THINK_FULL ? put(stderr, text, len) : OK;
        fflush(stderr);
        return e;
    }
    if (v->thinking)
        end_thinking(v);
    while (!v->any && n_think_tok && len && *text == '\n') {   /* the gap behind the thinking */
        text++;
        len--;
    }
    if (!len)
        return OK;
    v->any = true;
    v->newline = text[len - 1] == '\n';
    e = put(stdout, text, len);
    return e == OK ? out_flush() : e;
}

enum err answer_view_end(struct answer_view *v)
{
    enum err e = OK;

    if (v->thinking)
        end_thinking(v);
    if (v->any && !v->newline)
        e = out_write("\n", 1);
    v->newline = true;
    return e == OK ? out_flush() : e;
}

static void print_drafts(const struct speculate_stats *d)
{
    if (d->n_draft)
        fprintf(stderr, "%.2f tokens a step (%lld of %lld drafts taken), ",
                (double)d->n_tok / (double)d->n_step, (long long)d->n_right,
                (long long)d->n_draft);
    if (d->n_passed)
        fprintf(stderr, "%lld times drafts would not have paid, ", (long long)d->n_passed);
}

void answer_print_stats(const struct answer *a, const struct session *s)
{
    fprintf(stderr, "%s%lld token%s, ", dim_on(), (long long)a->n_tok, a->n_tok == 1 ? "" : "s");
    if (a->n_step && a->gen_s > 0)
        fprintf(stderr, "%.1f tok/s, ", (double)a->n_step / a->gen_s);
    print_drafts(&a->draft);
    fprintf(stderr, "context %lld of %lld%s\n", (long long)session_len(s),
            (long long)session_ctx(s), dim_off());
}
