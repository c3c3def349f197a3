/* answer.c - the loop that makes one answer. */
#include "cmd/answer.h"

#include "base/term.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the loop holds while it runs. */
struct making {
    struct answer *a;
    const struct answer_options *o;
    struct sampler *sampler;
    struct detok detok;
    struct think_split split;
    struct stop_match *stop;
    int64_t n_fed, n_shown;             /* answer bytes into and out of the stop matcher */
    bool hit;
    enum err e;                         /* of the text function */
};

static bool on_progress(void *arg, int64_t done, int64_t total)
{
    struct progress *p = arg;

    p->total = total;                   /* without what was kept from before */
    progress_update(p, done);
    return !term_interrupted();
}

static void show(struct making *m, enum chat_part part, const char *text, size_t len)
{
    if (len && m->e == OK && m->o->text)
        m->e = m->o->text(m->o->arg, part, text, len, m->a->n_think_tok);
}

/* A piece whose part is decided; only the answer can hold a stop string. */
static void on_part(void *arg, enum chat_part part, const char *text, size_t len)
{
    struct making *m = arg;
    const char *shown;
    size_t n_shown;

    if (part == CHAT_PART_THINK) {
        show(m, part, text, len);
        return;
    }
    m->n_fed += (int64_t)len;
    if (m->hit || m->e != OK)
        return;
    m->e = stop_match_push(m->stop, text, len, &shown, &n_shown, &m->hit);
    if (m->e != OK)
        return;
    m->n_shown += (int64_t)n_shown;
    show(m, part, shown, n_shown);
}

static void take_text(struct making *m, const char *text, size_t len)
{
    if (!len)
        return;
    buf_add(&m->a->raw, text, len);
    think_split_push(&m->split, text, len, on_part, m);
}

/* A vocabulary may mark "<think>" as a control token, which decodes to nothing: the splitter needs
 * its text. */
static const char *think_mark(const struct making *m, const struct tokenizer *t, int32_t id)
{
    const struct chat_think *th = &m->o->think;

    if (!th->open || tokenizer_type(t, id) != TOKEN_CONTROL)
        return NULL;
    if (id == tokenizer_find_added(t, th->open))
        return th->open;
    return id == tokenizer_find_added(t, th->close) ? th->close : NULL;
}

static enum err take_token(struct making *m, const struct tokenizer *t, int32_t id)
{
    const char *mark = think_mark(m, t, id);
    char text[DETOK_MAX];

    m->a->n_tok++;
    if (m->split.part == CHAT_PART_THINK)
        m->a->n_think_tok++;
    if (mark) {
        take_text(m, text, detok_end(&m->detok, text));
        take_text(m, mark, strlen(mark));
    } else {
        take_text(m, text, detok_push(&m->detok, id, text));
    }
    return m->e;
}

/* Everything held back at the end of the text. */
static enum err end_text(struct making *m)
{
    char text[DETOK_MAX];
    const char *shown;
    size_t n_shown;

    if (!m->hit) {
        take_text(m, text, detok_end(&m->detok, text));
        think_split_end(&m->split, on_part, m);
    }
    if (!m->hit && m->e == OK) {
        stop_match_end(m->stop, &shown, &n_shown);
        m->n_shown += (int64_t)n_shown;
        show(m, CHAT_PART_ANSWER, shown, n_shown);
    } else if (m->hit && (size_t)(m->n_fed - m->n_shown) <= m->a->raw.len) {
        buf_cut(&m->a->raw, m->a->raw.len - (size_t)(m->n_fed - m->n_shown));
    }
    m->a->n_answer_bytes = m->n_shown;
    return m->e != OK ? m->e : buf_ok(&m->a->raw);
}

static enum err check_fits(const struct session *s, size_t n)
{
    int64_t ctx = session_ctx(s);

    if ((int64_t)n <= ctx)
        return OK;
    return err_set(ERR_LIMIT, "RUN-01", "the prompt is %zu tokens and the context holds %lld; "
                   "shorten it or give --ctx-size %zu", n, (long long)ctx, n + 256);
}

/* Compute the prompt.  Ctrl-C here is the end of the answer, not an error. */
static enum err read_prompt(struct making *m, struct loaded *l, const struct tok_list *ids,
                            const unsigned char *kind, bool *interrupted)
{
    struct answer *a = m->a;
    struct session *s = l->session;
    struct progress p;
    double start = clock_s();
    enum err e = check_fits(s, ids->n);

    if (e != OK)
        return e;
    progress_begin(&p, "reading the prompt", "tok", (int64_t)ids->n);
    e = session_sync(s, ids->id, kind, (int64_t)ids->n, on_progress, &p, &a->n_reused);
    if (e == OK)
        e = speculate_begin(l->spec, m->sampler, on_progress, &p);
    progress_end(&p);
    if (e == OK)
        term_verbose("the prompt is %zu tokens: %" PRId64 " were held, %" PRId64 " were computed",
                     ids->n, a->n_reused, (int64_t)ids->n - a->n_reused);
    a->n_prompt = (int64_t)ids->n;
    a->prompt_s += clock_s() - start;
    *interrupted = e == ERR_STOPPED;
    return *interrupted ? OK : e;
}

/* The context is full: go on behind a shorter prompt, when the caller has one.  What was answered
 * so far follows it, as sampled tokens. */
static enum err make_room(struct making *m, struct loaded *l, int32_t last, bool *made)
{
    struct session *s = l->session;
    int64_t n_said = m->a->n_tok - 1, at = session_len(s) - n_said;
    struct tok_list ids = { 0 };
    unsigned char *kind = NULL, *all = NULL;
    bool interrupted = false;
    enum err e = OK;

    *made = false;
    if (m->o->room && at >= 0)
        e = m->o->room(m->o->arg, n_said + 1, &ids, &kind);
    size_t n_prompt = ids.n;
    if (e != OK || !n_prompt)
        goto out;
    for (int64_t i = 0; i < n_said && e == OK; i++)
        e = tok_list_add(&ids, session_tokens(s)[at + i]);
    if (e == OK)
        e = tok_list_add(&ids, last);
    if (e != OK || (int64_t)ids.n > session_ctx(s))
        goto out;
    all = malloc(ids.n);
    if (!all) {
        e = err_set(ERR_NOMEM, "RUN-02", "no memory for %zu tokens", ids.n);
        goto out;
    }
    memset(all, TOK_SAMPLED, ids.n);
    if (kind)
        memcpy(all, kind, n_prompt);
    else
        memset(all, TOK_PROMPT, n_prompt);
    e = read_prompt(m, l, &ids, all, &interrupted);
    *made = e == OK && !interrupted;
    if (interrupted)
        m->a->end = ANSWER_INTERRUPT;
out:
    free(all);
    free(kind);
    tok_list_release(&ids);
    return e;
}

/* A drawn token into the answer.  *go_on turns false at the answer's end. */
static enum err take_drawn(struct making *m, const struct loaded *l, int32_t id,
                           const float *logits, bool *go_on)
{
    enum err e = OK;

    *go_on = false;
    m->a->end = ANSWER_DONE;
    if (tokenizer_is_end(l->tok, id))
        return OK;
    m->a->id_pending = id;
    if (m->o->keep_tokens)
        e = answer_keep_token(m->a, m->o, id, logits, model_info(l->model)->n_vocab);
    if (e == OK)
        e = take_token(m, l->tok, id);
    m->a->end = ANSWER_STOP;
    if (e != OK || m->hit)
        return e;
    m->a->end = ANSWER_MAX;
    *go_on = m->a->n_tok != m->o->n_max;
    return OK;
}

/* One token: sample, show, compute.  *go_on turns false at the end of the answer. */
static enum err step(struct making *m, struct loaded *l, bool *go_on)
{
    struct session *s = l->session;
    const float *logits = speculate_logits(l->spec);
    int64_t len = speculate_len(l->spec), n_max = m->o->n_max < 0 ? INT64_MAX : m->o->n_max;
    bool made = true;
    int32_t id;
    enum err e;

    *go_on = false;
    if (m->a->n_tok >= n_max) {
        m->a->end = ANSWER_MAX;
        return OK;
    }
    e = sampler_next(m->sampler, logits, session_tokens(s), len, len, &id);
    if (e == OK)
        e = take_drawn(m, l, id, logits, go_on);
    if (e != OK || !*go_on)
        return e;
    *go_on = false;
    m->a->end = ANSWER_INTERRUPT;
    if (term_interrupted())
        return OK;
    m->a->end = ANSWER_FULL;
    m->a->n_step++;
    if (len < session_ctx(s)) {
        e = speculate_push(l->spec, id, n_max - m->a->n_tok);
    } else {
        e = speculate_settle(l->spec);
        if (e == OK)
            e = make_room(m, l, id, &made);
    }
    *go_on = e == OK && made;
    if (*go_on)
        m->a->id_pending = -1;
    return e;
}

static enum err begin_text(struct making *m, const struct loaded *l)
{
    m->a->id_pending = -1;
    detok_init(&m->detok, l->tok, false);
    m->detok.first = m->detok.first && !m->o->goes_on;
    think_split_init(&m->split, m->o->think);
    return stop_match_new(&m->stop, (const char *const *)m->o->stop, m->o->n_stop);
}

enum err answer_make(struct answer *a, struct loaded *l, const struct tok_list *ids,
                     const unsigned char *kind, const struct answer_options *o)
{
    struct making m = { .a = a, .o = o };
    struct sampler_options sampling = o->sampling;
    struct speculate_stats before = speculate_stats(l->spec);
    bool go_on = true, interrupted = false;
    double start;
    enum err e, e_text;

    sampling.n_ctx = session_ctx(l->session);
    e = begin_text(&m, l);
    if (e == OK)
        e = sampler_new(&m.sampler, &sampling, model_info(l->model)->n_vocab);
    if (e == OK)
        e = read_prompt(&m, l, ids, kind, &interrupted);
    if (e == OK && interrupted)
        a->end = ANSWER_INTERRUPT;
    start = clock_s();
    while (e == OK && go_on && !interrupted)
        e = step(&m, l, &go_on);
    a->gen_s = clock_s() - start;
    a->draft = speculate_since(l->spec, &before);
    e_text = speculate_settle(l->spec);
    e = e != OK ? e : e_text;
    e_text = m.stop ? end_text(&m) : OK;
    sampler_free(m.sampler);
    stop_match_free(m.stop);
    return e != OK ? e : e_text;
}

/* --- the same answer, its tokens drawn elsewhere ------------------------------------------ */

struct answer_flow { struct making m; const struct loaded *l; };

enum err answer_flow_new(struct answer_flow **out, struct answer *a, const struct loaded *l,
                         const struct answer_options *o)
{
    struct answer_flow *f = calloc(1, sizeof(*f));
    enum err e;

    *out = NULL;
    if (!f)
        return err_set(ERR_NOMEM, "RUN-04", "no memory for another answer");
    f->m.a = a;
    f->m.o = o;
    f->l = l;
    e = begin_text(&f->m, l);
    if (e == OK)
        *out = f;
    else
        free(f);
    return e;
}

enum err answer_flow_take(struct answer_flow *f, int32_t id, const float *logits, int64_t pos,
                          int64_t n_ctx, bool *go_on)
{
    struct answer *a = f->m.a;
    enum err e = take_drawn(&f->m, f->l, id, logits, go_on);

    if (e != OK || !*go_on)
        return e;
    a->end = ANSWER_FULL;
    *go_on = pos < n_ctx;
    a->n_step += *go_on;
    return OK;
}

enum err answer_flow_end(struct answer_flow *f)
{
    return end_text(&f->m);
}

void answer_flow_free(struct answer_flow *f)
{
    if (!f)
        return;
    stop_match_free(f->m.stop);
    free(f);
}

void answer_release(struct answer *a)
{
    buf_release(&a->raw);
    free(a->tok);
    memset(a, 0, sizeof(*a));
}
