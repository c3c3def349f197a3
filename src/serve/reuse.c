/* reuse.c - how much of each prompt was computed before, and at which byte and why no more: for the
 * reply of a request with x-croft-debug, and for the log of a server with -v.
 *
 * On the loop's thread, with the first bytes of a reply.  A place is a byte of the prompt as the
 * model reads it, and of the typed segment it lies in; nothing of the text is said, and nothing of
 * what another party asked. */
#include "serve/form.h"

#include <inttypes.h>
#include <string.h>

enum { TOLD_MAX = 8 };                  /* prompts of one request that are told of */

static const char *const reasons[] = {
    [PREFIX_WHOLE] = "all that can be",
    [PREFIX_NONE] = "nothing of this key and model is kept",
    [PREFIX_ENDS] = "nothing that is kept goes on",
    [PREFIX_DIFFERS] = "what is kept goes on with another text",
    [PREFIX_KIND] = "what is kept goes on with the same token of another kind",
    [PREFIX_GIVEN_UP] = "what was kept was given up for newer texts",
};

/* Bytes of a text that the first n_tok tokens spell: a BOS or a leading space that the tokenizer
 * put before it is not one of them. */
static size_t bytes_before(const struct tokenizer *t, const struct asked *a, int64_t n_tok,
                           const char *text, size_t len)
{
    char bytes[TOKEN_BYTES_MAX];
    int32_t bos = tokenizer_info(t)->bos;
    size_t n = 0;

    for (int64_t i = 0; i < n_tok; i++) {
        size_t k = tokenizer_bytes(t, a->ids.id[i], true, bytes, sizeof(bytes));
        if (!i && a->ids.id[0] == bos && (k > len || memcmp(bytes, text, k)))
            continue;
        n += k - (!n && k && *bytes == ' ' && len && *text != ' ');
    }
    return n < len ? n : len;
}

static void put_place(struct buf *out, const struct job *j, const struct asked *a)
{
    const struct wire_text *p = j->r.prompt ? &j->r.prompt[a - j->asked].text : NULL;
    const struct tokenizer *t = j->s->m->tok;
    struct chat_text text = { 0 };
    struct chat_think think;
    struct wire_error why;
    int64_t n = a->reuse.n;
    size_t at;

    buf_printf(out, ", from token %" PRId64, n);
    if (wire_dialect_task(j->r.dialect) != WIRE_TASK_CHAT && p && p->at)
        buf_printf(out, ", byte %zu", bytes_before(t, a, n, p->at, p->len));
    if (wire_dialect_task(j->r.dialect) != WIRE_TASK_CHAT)
        return;
    if (prompt_render(j->s->m, &j->r, &text, &think, &why) == OK) {
        at = bytes_before(t, a, n, buf_text(&text.text), text.text.len);
        buf_printf(out, ", byte %zu", at);
        for (size_t k = 0; k < text.n_span; k++) {
            const struct text_span *s = &text.span[k];
            if (at >= s->start && at < s->start + s->len)
                buf_printf(out, " (byte %zu of segment %zu, %s)", at - s->start, k, s->sampled ?
                           "sampled text" : s->kind == TEXT_CONTROL ? "control" : "text");
        }
    }
    chat_text_release(&text);
}

static void put_one(struct buf *out, const struct job *j, const struct asked *a)
{
    const struct sched_reuse *r = &a->reuse;

    buf_printf(out, "reused %" PRId64 " of %zu tokens: %s", r->n, a->ids.n, r->told ?
               "the rows of all are wanted" : reasons[r->end]);
    if (!r->told && r->end != PREFIX_WHOLE && r->end != PREFIX_NONE)
        put_place(out, j, a);
}

void reuse_tell(struct job *j)
{
    struct buf text = { 0 };
    bool failed = false;

    j->told = true;
    for (size_t i = 0; i < j->n_asked; i++)
        failed = failed || j->asked[i].reuse.end != PREFIX_WHOLE || j->asked[i].reuse.told;
    if (!j->call || !(j->debug || (failed && term_is_verbose())))
        return;
    for (size_t i = 0; i < j->n_asked && i < TOLD_MAX; i++) {
        if (j->n_asked > 1)
            buf_printf(&text, "%sprompt %zu: ", i ? "; " : "", i);
        put_one(&text, j, &j->asked[i]);
    }
    if (failed)
        term_verbose("request %s: %s", call_id(j->call), buf_text(&text));
    if (j->debug && !j->streaming)
        call_header(j->call, "x-croft-cache", buf_text(&text));
    else if (j->debug && j->r.stream && !text.broken) {
        struct buf line = { 0 };
        buf_printf(&line, ": x-croft-cache: %s\n\n", buf_text(&text));
        call_write(j->call, buf_text(&line), line.len);
        buf_release(&line);
    }
    buf_release(&text);
}
