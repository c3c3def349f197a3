/* stepper.c - see stepper.h.
 *
 * The draws of a step are independent, so the pool's threads make them; tokens are handed over
 * afterwards, in the order of the rows. */
#include "engine/stepper.h"

#include "base/term.h"
#include "engine/lookup.h"
#include "engine/pace.h"

#include <stdlib.h>
#include <string.h>

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
    const float *logits;                /* of its newest token's row, in this step */
    struct lookup *lookup;              /* of its first n_known tokens; NULL: none yet */
    int64_t n_known;
    struct draft offer;                 /* the last guess, and how much of it was right */
    int n_seen;
    bool fresh;                         /* a token was pushed since the last step */
    struct stepper_ticket *prev, *next; /* all live ones */
    int32_t drawn;
    struct err_record failed;           /* of the draw */
};

struct stepper {
    struct model *m;
    struct kv_pool *pool;
    struct sched *sched;
    struct sched_step step;
    struct sched_seq **ask;             /* [n_seq_max], that ask for a token now */
    struct stepper_ticket **guesser;    /* [n_seq_max], and what each offers */
    struct pace_offer *offer;
    struct pace pace;
    int n_guess;
    bool paced, guessed;                /* guessed: rows of this step are guesses */
    float *logits;                      /* [n_seq_max + SCHED_TOLD_MAX + guesses, n_vocab] */
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
    size_t n_seq = (size_t)o->n_seq_max, n_logits = n_seq + SCHED_TOLD_MAX;
    enum err e;

    *out = NULL;
    ASSERT(o->n_guess >= 0 && o->n_guess <= SCHED_GUESS_EACH);
    if (s) {
        s->ask = calloc(n_seq, sizeof(struct sched_seq *));
        s->guesser = calloc(n_seq, sizeof(struct stepper_ticket *));
        s->offer = calloc(n_seq, sizeof(*s->offer));
    }
    if (!s || !s->ask || !s->guesser || !s->offer) {
        stepper_free(s);
        return err_set(ERR_NOMEM, "STEP-01", "no memory for many sequences");
    }
    s->m = m;
    s->n_guess = o->n_guess;
    s->paced = o->paced;
    pace_init(&s->pace);
    n_logits += o->n_guess ? SCHED_GUESS_MAX : 0;
    s->n_vocab = model_info(m)->n_vocab;
    s->n_ctx = o->n_ctx;
    s->logits = calloc(n_logits * (size_t)s->n_vocab, sizeof(*s->logits));
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
    lookup_free(t->lookup);
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
    free(s->ask);
    free(s->guesser);
    free(s->offer);
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
    struct stepper_ticket *t = sched_user(s->ask[i]);
    int64_t n = sched_len(t->seq);
    enum err e = OK;

    (void)thread;
    if (!t->hidden)
        e = sampler_next(t->sampler, t->logits, sched_tokens(t->seq), n, n, &t->drawn);
    t->failed.code = OK;
    if (e)
        err_save(&t->failed, e);
}

/* The token is the text's: what was guessed in its place is judged. */
static void judge(struct stepper *s, struct stepper_ticket *t)
{
    bool right;

    if (t->n_seen == t->offer.n)
        return;
    right = t->offer.id[t->n_seen] == t->drawn;
    pace_seen(&s->pace, DRAFT_lookup, t->offer.strength + t->n_seen, right);
    t->n_seen = right ? t->n_seen + 1 : t->offer.n;
}

static enum err hand_over(struct stepper *s, struct sched_seq *q, bool *again)
{
    struct stepper_ticket *t = sched_user(q);
    bool go_on = !t->hidden;
    enum err e = OK;

    *again = false;
    if (t->failed.code)
        return err_restore(&t->failed);
    if (!t->hidden)
        e = t->token(t->arg, t->drawn, t->logits, sched_len(q), &go_on);
    if (e == OK && go_on) {
        judge(s, t);
        e = sched_push(s->sched, q, t->drawn, again);
        t->logits += s->n_vocab;
        t->fresh = !*again;
    } else if (e == OK) {
        sched_end(s->sched, q);
        ticket_free(s, t);
    }
    return e;
}

/* A token for each that asks; those whose token was guessed ask again. */
static enum err hand_out(struct stepper *s)
{
    int32_t n = s->step.n_ask, n_again;
    enum err e = OK;

    memcpy(s->ask, s->step.ask, (size_t)n * sizeof(struct sched_seq *));
    for (; n && e == OK; n = n_again) {
        pool_run(model_pool(s->m), n, draw, s);
        n_again = 0;
        for (int32_t i = 0; i < n && e == OK; i++) {
            struct sched_seq *q = s->ask[i];
            bool again;
            e = hand_over(s, q, &again);
            if (again)
                s->ask[n_again++] = q;
        }
    }
    return e;
}

/* Whose each row of logits is: of a prompt's inside they are told, of its end drawn from; those of
 * guesses follow that one's. */
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
        else if (r->pos + 1 < sched_len(q))
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

/* What follows a ticket's text, from the text. */
static enum err look_up(struct stepper *s, struct stepper_ticket *t)
{
    const int32_t *id = sched_tokens(t->seq);
    enum err e = t->lookup ? OK : lookup_new(&t->lookup, s->n_ctx);

    if (e != OK)
        return e;
    while (t->n_known < sched_len(t->seq))
        lookup_add(t->lookup, id[t->n_known++]);
    t->offer.n = lookup_find(t->lookup, t->offer.id, s->n_guess, &t->offer.strength);
    t->n_seen = 0;
    return OK;
}

/* Guesses for the sequences that got a token, as many as pay. */
static enum err guess(struct stepper *s)
{
    int n = 0, rows = sched_n_running(s->sched);
    enum err e = OK;

    for (struct stepper_ticket *t = s->live; t && s->n_guess && e == OK; t = t->next) {
        if (!t->fresh)
            continue;
        t->fresh = false;
        e = look_up(s, t);
        if (e == OK && t->offer.n) {
            s->guesser[n] = t;
            s->offer[n++] = (struct pace_offer){ t->offer.strength, t->offer.n, t->offer.n };
        }
    }
    if (n && s->paced && rows <= SCHED_GUESS_MAX)
        pace_share(&s->pace, DRAFT_lookup, s->offer, n, rows, SCHED_GUESS_MAX);
    else if (s->paced)
        n = 0;
    s->guessed = n > 0;
    for (int i = 0; i < n && e == OK; i++)
        sched_guess(s->guesser[i]->seq, s->guesser[i]->offer.id, s->offer[i].take);
    return e;
}

/* The step's rows; without guesses when one of theirs may be what failed. */
static enum err compute(struct stepper *s)
{
    const struct batch *b = &s->step.batch;
    struct step_out out = { .logits = s->logits,
                            .hidden = any_hidden(b) ? s->hidden : NULL };
    int32_t n_logits = 0;
    double start = clock_s();
    enum err e = model_step(s->m, b, &out);

    if (e != OK && s->guessed) {
        sched_drop_guesses(s->sched, &s->step);
        e = model_step(s->m, b, &out);
    }
    for (int32_t i = 0; i < b->n_row; i++)
        n_logits += b->row[i].want_logits;
    if (e == OK && n_logits == b->n_row && n_logits <= SCHED_GUESS_MAX)
        pace_step(&s->pace, n_logits, clock_s() - start);
    return e;
}

enum err stepper_step(struct stepper *s, bool *any)
{
    enum err e = guess(s);

    *any = e == OK && sched_plan(s->sched, &s->step);
    if (!*any)
        return e;
    if ((e = compute(s)))
        return e;
    give_logits(s);
    if (any_hidden(&s->step.batch))
        give_hidden(s);
    sched_computed(s->sched);
    return hand_out(s);
}

struct sched_reuse stepper_reuse(const struct stepper_ticket *t)
{
    return sched_reuse(t->seq);
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
