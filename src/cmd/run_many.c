/* run_many.c - see run_many.h. */
#include "cmd/run_many.h"

#include "base/term.h"
#include "cmd/cmd_table.h"
#include "cmd/run_json.h"

#include <stdlib.h>

struct one {
    struct many *of;
    struct answer a;
    struct answer_options ao;
    struct answer_texts texts;
    struct answer_flow *flow;
    struct stepper_ticket *ticket;
    double first;                       /* when its first token came; 0: not yet */
    bool whole;
};

struct many {
    struct loaded *l;
    struct opt_set *o;
    struct stepper *stepper;
    struct one *one;                    /* [n] */
    int64_t n, n_ctx, n_shown;
    double start;
    json_t *list;                       /* with --json */
};

static enum err end_one(struct one *t)
{
    t->whole = true;
    t->a.gen_s = clock_s() - t->first;
    return answer_flow_end(t->flow);
}

static enum err on_token(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    struct one *t = arg;
    enum err e;

    if (t->first == 0) {
        t->first = clock_s();
        t->a.prompt_s = t->first - t->of->start;
        t->a.n_reused = stepper_reuse(t->ticket).n;
    }
    e = answer_flow_take(t->flow, id, logits, pos, t->of->n_ctx, go_on);
    return e == OK && !*go_on ? end_one(t) : e;
}

/* --max-tokens 0 asks for nothing: the answer is whole before it begins. */
static enum err begin_one(struct many *m, int64_t i, const struct tok_list *ids,
                          const unsigned char *kind, const struct answer_options *ao)
{
    struct one *t = &m->one[i];
    struct stepper_request r = { .id = ids->id, .kind = kind, .n = (int64_t)ids->n,
                                 .adapter = m->l->mix, .sampling = &t->ao.sampling,
                                 .token = on_token, .arg = t };
    enum err e;

    t->of = m;
    t->ao = *ao;
    t->ao.sampling.seed += (uint64_t)i;
    t->ao.text = answer_texts_add;
    t->ao.arg = &t->texts;
    t->a.n_prompt = (int64_t)ids->n;
    e = answer_flow_new(&t->flow, &t->a, m->l, &t->ao);
    if (e == OK && ao->n_max)
        return stepper_add(m->stepper, &r, &t->ticket);
    t->a.end = ANSWER_MAX;
    t->whole = true;
    return e;
}

static enum err show_text(const struct many *m, struct one *t, int64_t i)
{
    struct answer_view view = { .think = THINK_DROP };
    enum err e, e_end;

    e = out_printf("%s--- answer %lld of %lld, seed %llu ---\n", i ? "\n" : "", (long long)i + 1,
                   (long long)m->n, (unsigned long long)t->ao.sampling.seed);
    if (e == OK)
        e = answer_view_text(&view, CHAT_PART_ANSWER, buf_text(&t->texts.answer),
                             t->texts.answer.len, 0);
    e_end = e == ERR_PIPE ? OK : answer_view_end(&view);
    e = e == OK ? e_end : e;
    if (e == OK && t->ao.n_logprob >= 0)
        answer_print_tokens(&t->a, m->l->tok);
    if (t->a.end == ANSWER_FULL)
        term_warn("answer %lld was cut: the context holds %lld tokens; give a larger --ctx-size",
                  (long long)i + 1, (long long)m->n_ctx);
    return e;
}

/* Those that are whole, as far as all before them are. */
static enum err show_whole(struct many *m)
{
    enum err e = OK;

    for (; m->n_shown < m->n && m->one[m->n_shown].whole && e == OK; m->n_shown++) {
        struct one *t = &m->one[m->n_shown];
        if (!m->list)
            e = show_text(m, t, m->n_shown);
        else if (json_array_append_new(m->list, run_json_object(&t->a, &t->ao, &t->texts, m->l)))
            e = err_set(ERR_NOMEM, "RUN-25", "no memory for the answers as JSON");
    }
    return e;
}

/* What there is of the others. */
static enum err interrupt(struct many *m)
{
    enum err e = OK;

    for (int64_t i = 0; i < m->n && e == OK; i++) {
        if (m->one[i].whole)
            continue;
        m->one[i].a.end = ANSWER_INTERRUPT;
        e = end_one(&m->one[i]);
    }
    return e;
}

static enum err answer_all(struct many *m)
{
    bool any = true, stopped = false;
    enum err e = show_whole(m);

    while (e == OK && any && !stopped) {
        e = stepper_step(m->stepper, &any);
        stopped = term_interrupted();
        if (e == OK && stopped && stepper_n_live(m->stepper))
            e = interrupt(m);
        if (e == OK)
            e = show_whole(m);
    }
    if (e == OK && m->list) {
        e = run_json_out(m->list);
        m->list = NULL;
    }
    if (e == OK && stopped && stepper_n_live(m->stepper))
        e = err_set(ERR_STOPPED, "RUN-26", "interrupted: %d of %lld answers are not whole",
                    stepper_n_live(m->stepper), (long long)m->n);
    return e;
}

static void say_stats(const struct many *m)
{
    struct sched_counts c = stepper_counts(m->stepper);
    double s = clock_s() - m->start;
    int64_t n = 0;

    for (int64_t i = 0; i < m->n; i++)
        n += m->one[i].a.n_tok;
    term_verbose("%lld answers, %lld tokens, %.1f tok/s; %lld tokens of prompts were shared, "
                 "preempted %lld times; of %lld guesses %lld were right", (long long)m->n,
                 (long long)n, s > 0 ? (double)n / s : 0, (long long)c.n_shared_tok,
                 (long long)c.n_preempted, (long long)c.n_guess, (long long)c.n_right);
}

enum err run_many(struct loaded *l, struct opt_set *o, const struct tok_list *ids,
                  const unsigned char *kind, const struct answer_options *ao)
{
    struct many m = { .l = l, .o = o, .n = opt_int(o, OPT_n_answers), .start = clock_s() };
    int64_t parallel = opt_int(o, OPT_parallel);
    enum err e = load_stepper(&m.stepper, l, o, m.n < parallel ? m.n : parallel, 0, &m.n_ctx);

    m.one = calloc((size_t)m.n, sizeof(*m.one));
    if (opt_flag(o, OPT_json))
        m.list = json_array();
    if (e == OK && (!m.one || (opt_flag(o, OPT_json) && !m.list)))
        e = err_set(ERR_NOMEM, "RUN-27", "no memory for %lld answers; give a smaller --n",
                    (long long)m.n);
    for (int64_t i = 0; i < m.n && e == OK; i++)
        e = begin_one(&m, i, ids, kind, ao);
    if (e == OK)
        e = answer_all(&m);
    if (e == OK)
        say_stats(&m);
    stepper_free(m.stepper);
    for (int64_t i = 0; i < m.n && m.one; i++) {
        answer_flow_free(m.one[i].flow);
        answer_release(&m.one[i].a);
        answer_texts_release(&m.one[i].texts);
    }
    free(m.one);
    json_decref(m.list);
    return e;
}
