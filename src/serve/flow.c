/* flow.c - see flow.h. */
#include "serve/flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum err flow_init(struct flow *f, const struct flow_options *o)
{
    *f = (struct flow){ .o = *o };
    detok_init(&f->detok, o->tok, false);
    f->detok.first = f->detok.first && !o->goes_on;
    think_split_init(&f->split, o->think);
    return stop_match_new(&f->stop, o->stop, o->n_stop);
}

void flow_release(struct flow *f)
{
    stop_match_free(f->stop);
    buf_release(&f->shown);
    free(f->tok);
    *f = (struct flow){ 0 };
}

static void look(struct flow_token *t, const struct flow_options *o, int32_t id,
                 const float *logits)
{
    int32_t top[LOGPROB_TOP_MAX];

    *t = (struct flow_token){ .id = id, .logprob = NAN };
    if (!logits)
        return;
    struct logprob_norm norm = logprob_norm(logits, o->n_vocab);
    t->logprob = (float)logprob_of(norm, logits[id]);
    t->n_top = logprob_top(logits, o->n_vocab, o->n_top, top);
    for (int i = 0; i < t->n_top; i++) {
        t->top[i].id = top[i];
        t->top[i].logprob = (float)logprob_of(norm, logits[top[i]]);
    }
}

/* --- tokens as the reply has them ------------------------------------------------------------ */

struct spelt { struct buf bytes; struct wire_top *top; struct wire_logprob *row; };

static size_t spell(struct spelt *s, const struct tokenizer *t, int32_t id)
{
    char bytes[TOKEN_BYTES_MAX];
    size_t len = tokenizer_bytes(t, id, true, bytes, sizeof(bytes));

    buf_add(&s->bytes, bytes, len);
    return len;
}

/* Lengths first, for the buffer may move; then the pointers. */
static enum err spell_all(struct spelt *s, const struct flow *f, const struct flow_token *tok,
                          size_t n)
{
    size_t each = (size_t)LOGPROB_TOP_MAX;
    const char *at;

    s->row = calloc(n, sizeof(*s->row));
    s->top = calloc(n * each, sizeof(*s->top));
    if (!s->row || !s->top)
        return err_set(ERR_NOMEM, "SERVE-02", "no memory for the log-probabilities of %zu tokens",
                       n);
    for (size_t i = 0; i < n; i++) {
        struct wire_logprob *row = &s->row[i];
        *row = (struct wire_logprob){ .token = { .logprob = tok[i].logprob },
                                      .top = &s->top[i * each], .n_top = (size_t)tok[i].n_top };
        row->token.len = spell(s, f->o.tok, tok[i].id);
        for (int k = 0; k < tok[i].n_top; k++)
            s->top[i * each + (size_t)k] = (struct wire_top){
                .len = spell(s, f->o.tok, tok[i].top[k].id), .logprob = tok[i].top[k].logprob };
    }
    at = buf_text(&s->bytes);
    for (size_t i = 0; i < n; i++) {
        s->row[i].token.bytes = at;
        at += s->row[i].token.len;
        for (size_t k = 0; k < s->row[i].n_top; k++) {
            s->top[i * each + k].bytes = at;
            at += s->top[i * each + k].len;
        }
    }
    return buf_ok(&s->bytes);
}

static enum err emit_text(struct flow *f, const char *text, size_t len,
                          const struct flow_token *tok, size_t n)
{
    struct spelt s = { 0 };
    enum err e = OK;

    if (!len && !n)
        return OK;
    if (n)
        e = spell_all(&s, f, tok, n);
    if (e == OK)
        e = f->o.emit(f->o.arg, WIRE_TEXT, text, len, s.row, n);
    buf_release(&s.bytes);
    free(s.row);
    free(s.top);
    return e;
}

/* Hand on what may be shown, with the first n of the tokens that wait. */
static void show(struct flow *f, size_t n)
{
    if (f->e == OK)
        f->e = buf_ok(&f->shown);
    if (f->e == OK)
        f->e = emit_text(f, buf_text(&f->shown), f->shown.len, f->tok, n);
    buf_cut(&f->shown, 0);
    if (n)
        memmove(f->tok, f->tok + n, (f->n - n) * sizeof(*f->tok));
    f->n -= n;
}

/* --- text in its stages ---------------------------------------------------------------------- */

/* A piece whose part is decided; only the answer can hold a stop string. */
static void on_part(void *arg, enum chat_part part, const char *text, size_t len)
{
    struct flow *f = arg;
    const char *shown;
    size_t n_shown;

    if (!len || f->hit || f->e != OK)
        return;
    if (part == CHAT_PART_THINK) {
        show(f, 0);
        f->n = 0;                       /* what waited was the mark that begins it */
        if (f->e == OK)
            f->e = f->o.emit(f->o.arg, WIRE_THINK, text, len, NULL, 0);
        return;
    }
    f->n_fed += (int64_t)len;
    f->e = stop_match_push(f->stop, text, len, &shown, &n_shown, &f->hit);
    if (f->e != OK)
        return;
    f->n_shown += (int64_t)n_shown;
    buf_add(&f->shown, shown, n_shown);
}

/* A vocabulary may mark "<think>" as a control token, which decodes to nothing: the splitter needs
 * its text. */
static const char *think_mark(const struct flow *f, int32_t id)
{
    const struct chat_think *th = &f->o.think;

    if (!th->open || tokenizer_type(f->o.tok, id) != TOKEN_CONTROL)
        return NULL;
    if (id == tokenizer_find_added(f->o.tok, th->open))
        return th->open;
    return id == tokenizer_find_added(f->o.tok, th->close) ? th->close : NULL;
}

static void push(struct flow *f, int32_t id)
{
    const char *mark = think_mark(f, id);
    char text[DETOK_MAX];
    size_t n = mark ? detok_end(&f->detok, text) : detok_push(&f->detok, id, text);

    think_split_push(&f->split, text, n, on_part, f);
    if (mark)
        think_split_push(&f->split, mark, strlen(mark), on_part, f);
}

static enum err wait_for_text(struct flow *f, const struct flow_token *t)
{
    if (f->n == f->cap) {
        struct flow_token *grown = realloc(f->tok, (2 * f->cap + 8) * sizeof(*grown));
        if (!grown)
            return err_set(ERR_NOMEM, "SERVE-03", "no memory for log-probabilities");
        f->tok = grown;
        f->cap = 2 * f->cap + 8;
    }
    f->tok[f->n++] = *t;
    return OK;
}

/* Of the tokens that wait, those whose text was shown; at a hit also the one it was cut in. */
static size_t ready(const struct flow *f)
{
    size_t n = 0;

    while (n < f->n && (f->hit ? f->tok[n].begin < f->n_shown : f->tok[n].end <= f->n_shown))
        n++;
    return n;
}

enum err flow_take(struct flow *f, int32_t id, const float *logits)
{
    struct flow_token t = { .id = id };
    bool thinks = f->split.part == CHAT_PART_THINK;

    if (f->hit || f->e != OK)
        return f->e;
    f->n_tok++;
    f->n_think += thinks;
    if (f->o.n_top >= 0)
        look(&t, &f->o, id, logits);
    t.begin = f->n_fed;
    push(f, id);
    t.end = f->n_fed;
    if (f->o.n_top >= 0 && f->e == OK && f->split.part == CHAT_PART_ANSWER &&
        (!thinks || t.begin < t.end))
        f->e = wait_for_text(f, &t);
    if (f->e == OK)
        show(f, f->split.n_held ? 0 : ready(f));
    return f->e;
}

enum err flow_draw(struct flow *f, int32_t id, const float *logits, int64_t n_max, bool *ends,
                   enum wire_finish *why)
{
    bool last = tokenizer_is_end(f->o.tok, id);
    enum err e = last || !n_max ? f->e : flow_take(f, id, logits);

    *ends = last || f->hit || f->n_tok >= n_max;
    *why = n_max && (last || f->hit) ? WIRE_FINISH_STOP : WIRE_FINISH_LENGTH;
    return e;
}

enum err flow_end(struct flow *f)
{
    char text[DETOK_MAX];
    const char *shown;
    size_t n_shown;

    if (f->hit || f->e != OK)
        return f->e;
    think_split_push(&f->split, text, detok_end(&f->detok, text), on_part, f);
    think_split_end(&f->split, on_part, f);
    if (f->hit || f->e != OK)
        return f->e;
    stop_match_end(f->stop, &shown, &n_shown);
    f->n_shown += (int64_t)n_shown;
    buf_add(&f->shown, shown, n_shown);
    show(f, f->n);
    return f->e;
}

enum err flow_echo(struct flow *f, int32_t id, const float *logits, const char *text, size_t len)
{
    struct flow_token t;

    if (f->o.n_top < 0)
        return emit_text(f, text, len, NULL, 0);
    look(&t, &f->o, id, logits);
    return emit_text(f, text, len, &t, 1);
}
