/* stepper.c - see stepper.h.
 *
 * The draws of a step are independent, so the pool's threads make them; tokens are handed over
 * afterwards, in the order of the rows. */
#include "engine/stepper.h"

#include <stdlib.h>

/* A step without its rows costs about as much as this many rows of a prompt: the weights are read
 * once for all of them. */
enum { WORK_STEP = 16 };

struct stepper_ticket {
    struct sched_seq *seq;
    struct sampler *sampler;
    stepper_token_fn *token;
    stepper_prompt_fn *prompt;
    stepper_hidden_fn *hidden;
    void *arg;
    const float *logits;                /* of its last row, in this step */
    struct stepper_ticket *prev, *next; /* all live ones */
    int32_t drawn;
    struct err_record failed;           /* of the draw */
};

struct stepper {
    struct model *m;
    struct kv_pool *pool;
    struct sched *sched;
    struct sched_step step;
    float *logits;                      /* [n_seq_max + SCHED_TOLD_MAX, n_vocab] */
    float *hidden;                      /* [n_batch, n_embd]; touched where one is wanted */
    int32_t n_vocab, n_live;
    int64_t n_ctx;
    struct stepper_ticket *live;
};

enum err stepper_new(struct stepper **out, struct model *m, const struct stepper_options *o)
{
    struct sched_options so = { .n_seq_max = o->n_seq_max, .n_row_max = o->n_batch,
                                .n_ctx = o->n_ctx, .work_step = WORK_STEP, .gap = o->gap };
    struct stepper *s = calloc(1, sizeof(*s));
    enum err e;

    *out = NULL;
    if (!s)
        return err_set(ERR_NOMEM, "STEP-01", "no memory for many sequences");
    s->m = m;
    s->n_vocab = model_info(m)->n_vocab;
    s->n_ctx = o->n_ctx;
    s->logits = calloc(((size_t)o->n_seq_max + SCHED_TOLD_MAX) * (size_t)s->n_vocab,
                       sizeof(*s->logits));
    e = s->logits ? kv_pool_new(&s->pool, model_kv_spec(m)->page_bytes, o->n_page) :
        err_set(ERR_NOMEM, "STEP-02", "no memory for the logits of %d sequences; use a smaller "
                "--parallel", o->n_seq_max);
    s->hidden = calloc((size_t)o->n_batch * (size_t)model_info(m)->n_embd, sizeof(*s->hidden));
    if (e == OK && !s->hidden)
        e = err_set(ERR_NOMEM, "STEP-04", "no memory for the hidden rows of a step; use a smaller "
                    "--batch-size");
    if (e == OK)
        e = sched_new(&s->sched, s->pool, &so);
    if (e) {
        stepper_free(s);
        return e;
    }
    *out = s;
    return OK;
}

/* The ticket alone; its sequence is the scheduler's. */
static void ticket_free(struct stepper *s, struct stepper_ticket *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        s->live = t->next;
    if (t->next)
        t->next->prev = t->prev;
    s->n_live--;
    sampler_free(t->sampler);
    free(t);
}

void stepper_free(struct stepper *s)
{
    if (!s)
        return;
    while (s->live)
        ticket_free(s, s->live);
    sched_free(s->sched);
    kv_pool_free(s->pool);
    free(s->logits);
    free(s->hidden);
    free(s);
}

enum err stepper_add(struct stepper *s, const struct stepper_request *r,
                     struct stepper_ticket **ticket)
{
    struct stepper_ticket *t = calloc(1, sizeof(*t));
    struct sched_request q = { .id = r->id, .kind = r->kind, .n = r->n, .adapter = r->adapter,
                               .user = t, .party = r->party, .all_logits = r->prompt,
                               .hidden = r->hidden, .all_hidden = r->all_hidden };
    struct sampler_options sampling;
    enum err e = OK;

    if (ticket)
        *ticket = NULL;
    if (!t)
        return err_set(ERR_NOMEM, "STEP-03", "no memory for another request");
    t->token = r->token;
    t->prompt = r->prompt;
    t->hidden = r->hidden;
    t->arg = r->arg;
    if (!r->hidden) {
        sampling = *r->sampling;
        sampling.n_ctx = s->n_ctx;
        e = sampler_new(&t->sampler, &sampling, s->n_vocab);
    }
    if (e == OK)
        e = sched_add(s->sched, &q, &t->seq);
    if (e) {
        sampler_free(t->sampler);
        free(t);
        return e;
    }
    t->next = s->live;
    if (s->live)
        s->live->prev = t;
    s->live = t;
    s->n_live++;
    if (ticket)
        *ticket = t;
    return OK;
}

void stepper_cancel(struct stepper *s, struct stepper_ticket *t)
{
    sched_cancel(s->sched, t->seq);
    ticket_free(s, t);
}

static void draw(void *arg, int64_t i, int thread)
{
    struct stepper *s = arg;
    struct stepper_ticket *t = sched_user(s->step.ask[i]);
    int64_t n = sched_len(t->seq);
    enum err e = OK;

    (void)thread;
    if (!t->hidden)
        e = sampler_next(t->sampler, t->logits, sched_tokens(t->seq), n, n, &t->drawn);
    t->failed.code = OK;
    if (e)
        err_save(&t->failed, e);
}

static enum err hand_over(struct stepper *s, int32_t i)
{
    struct sched_seq *q = s->step.ask[i];
    struct stepper_ticket *t = sched_user(q);
    bool go_on = !t->hidden;
    enum err e = OK;

    if (t->failed.code)
        return err_restore(&t->failed);
    if (!t->hidden)
        e = t->token(t->arg, t->drawn, t->logits, sched_len(q), &go_on);
    if (e == OK && go_on)
        return sched_push(s->sched, q, t->drawn);
    if (e == OK) {
        sched_end(s->sched, q);
        ticket_free(s, t);
    }
    return e;
}

/* Whose each row of logits is: of a prompt's inside they are told, of its end drawn from. */
static void give_logits(struct stepper *s)
{
    const struct batch *b = &s->step.batch;
    const float *logits = s->logits;

    for (int32_t i = 0; i < b->n_row; i++) {
        const struct batch_row *r = &b->row[i];
        struct sched_seq *q = s->step.seq[r->seq];
        struct stepper_ticket *t = sched_user(q);
        if (!r->want_logits)
            continue;
        if (r->pos + 1 == sched_len(q))
            t->logits = logits;
        else
            t->prompt(t->arg, r->pos + 1, logits);
        logits += s->n_vocab;
    }
}

static bool any_hidden(const struct batch *b)
{
    for (int32_t i = 0; i < b->n_row; i++)
        if (b->row[i].want_hidden)
            return true;
    return false;
}

static void give_hidden(struct stepper *s)
{
    const struct batch *b = &s->step.batch;
    const float *row = s->hidden;

    for (int32_t i = 0; i < b->n_row; i++) {
        struct stepper_ticket *t = sched_user(s->step.seq[b->row[i].seq]);
        if (!b->row[i].want_hidden)
            continue;
        t->hidden(t->arg, b->row[i].pos, row);
        row += model_info(s->m)->n_embd;
    }
}

enum err stepper_step(struct stepper *s, bool *any)
{
    struct step_out out = { .logits = s->logits };
    enum err e;

    *any = sched_plan(s->sched, &s->step);
    if (!*any)
        return OK;
    out.hidden = any_hidden(&s->step.batch) ? s->hidden : NULL;
    if ((e = model_step(s->m, &s->step.batch, &out)))
        return e;
    give_logits(s);
    if (out.hidden)
        give_hidden(s);
    sched_computed(s->sched);
    if (s->step.n_ask)
        pool_run(model_pool(s->m), s->step.n_ask, draw, s);
    for (int32_t i = 0; i < s->step.n_ask && e == OK; i++)
        e = hand_over(s, i);
    return e;
}

int64_t stepper_shared(const struct stepper_ticket *t)
{
    return sched_shared(t->seq);
}

int32_t stepper_n_live(const struct stepper *s)
{
    return s->n_live;
}

struct sched_counts stepper_counts(const struct stepper *s)
{
    return sched_counts(s->sched);
}

struct stepper_load stepper_load(const struct stepper *s)
{
    return (struct stepper_load){ kv_pool_total(s->pool), kv_pool_unused(s->pool),
                                  sched_n_running(s->sched), sched_n_waiting(s->sched) };
}
