/* worker.c - the engine's thread: it alone touches the stepper.
 *
 * A turn: take what came; drop what is not wanted or late; fill the stepper from the queue; one
 * step; hand over what it made.  A cancelled sequence gives its pages back before the next step. */
#include "serve/form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A reply that is not streamed gets its headers after this long, then line feeds: readers that hear
 * nothing give up. */
#define EARLY_S 20.0

void worker_give(struct serve *s, struct job *j)
{
    pthread_mutex_lock(&s->lock);
    j->next_fresh = NULL;
    struct job **at = &s->fresh;
    while (*at)
        at = &(*at)->next_fresh;
    *at = j;
    if (!s->queue.n_item && !s->seen.n_work)
        s->seen.moved = serve_now(s);
    for (size_t i = 0; i < j->n_seq; i++)
        queue_put(&s->queue, &j->seq[i].item);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void worker_drop(struct serve *s, struct job *j)
{
    pthread_mutex_lock(&s->lock);
    j->gone = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* --- the end of a sequence, of a job --------------------------------------------------------- */

static void leave_work(struct seq *q)
{
    struct serve *s = q->job->s;

    pthread_mutex_lock(&s->lock);
    if (q->state == SEQ_WORKS) {
        queue_done(&s->queue, q->item.party);
        s->slot[q->slot].busy = false;
    } else if (q->state == SEQ_WAITS)
        queue_remove(&s->queue, &q->item);
    pthread_mutex_unlock(&s->lock);
    q->state = SEQ_ENDED;
    q->ticket = NULL;
}

/* The job has failed, with an error of its own or of memory; its sequences end when it is seen. */
static void fail(struct job *j, enum wire_code code)
{
    if (j->failed)
        return;
    j->failed = true;
    wire_error_set(&j->why, code, NULL, NULL);
}

static void check(struct job *j, enum err e)
{
    if (e != OK)
        fail(j, e == ERR_NOMEM ? WIRE_E_NO_MEMORY : WIRE_E_SERVER);
}

static void end_seq(struct seq *q, enum wire_finish finish)
{
    struct job *j = q->job;

    leave_work(q);
    q->finish = finish;
    j->n_ended++;
    j->n_answer_tok += q->flow.n_tok;
    j->n_think_tok += q->flow.n_think;
    if (j->embeds)
        return;
    check(j, flow_end(&q->flow));
    if (!j->failed)
        check(j, wire_reply_event(&j->reply, &j->made,
                                  &(struct wire_event){ .kind = WIRE_END, .choice = q->choice,
                                                        .finish = finish }));
}

/* Whether a is better than b: by the mean of its tokens' log-probabilities. */
static bool is_better(const struct seq *a, const struct seq *b)
{
    double x = a->n_drawn ? a->logprob / (double)a->n_drawn : -INFINITY;
    double y = b->n_drawn ? b->logprob / (double)b->n_drawn : -INFINITY;

    return x > y;
}

/* Of each prompt's best_of answers the n best, the best first; of equals the earlier one. */
static enum err pick_best(struct job *j)
{
    size_t n = (size_t)j->r.n, each = (size_t)j->r.best_of, *best;
    enum err e;

    if (n == each)
        return OK;
    if (!(best = calloc(j->n_asked * n + 1, sizeof(*best))))
        return err_set(ERR_NOMEM, "SERVE-36", "no memory for the best answers");
    for (size_t p = 0; p < j->n_asked; p++) {
        size_t *of = best + p * n, n_of = 0;
        for (size_t i = p * each; i < (p + 1) * each; i++) {
            size_t at = n_of < n ? n_of++ : n;
            for (; at > 0 && is_better(&j->seq[i], &j->seq[of[at - 1]]); at--)
                if (at < n)
                    of[at] = of[at - 1];
            if (at < n)
                of[at] = i;
        }
    }
    e = wire_reply_pick(&j->reply, best, j->n_asked * n);
    free(best);
    return e;
}

static enum err write_done(struct job *j)
{
    enum err e = pick_best(j);
    struct wire_event done = { .kind = WIRE_DONE };

    done.usage = (struct wire_usage){ .prompt_tok = j->n_prompt_tok,
                                      .answer_tok = j->n_answer_tok,
                                      .think_tok = j->n_think_tok };
    for (size_t i = 0; i < j->n_asked; i++)
        done.usage.cached_tok += j->asked[i].reuse.n;
    return e == OK ? wire_reply_event(&j->reply, &j->made, &done) : e;
}

static void finish(struct job *j)
{
    if (!j->failed)
        check(j, j->embeds ? embed_write(j) : write_done(j));
    j->whole = !j->failed;
    if (j->failed && (!j->r.stream || j->made.broken))
        buf_release(&j->made);
    if (j->failed && j->embeds)
        wire_error_write(&j->made, j->r.dialect, &j->why);
    else if (j->failed && !j->reply.done)
        (void)!wire_reply_event(&j->reply, &j->made,
                                &(struct wire_event){ .kind = WIRE_FAIL, .error = &j->why });
}

/* --- tokens ---------------------------------------------------------------------------------- */

static void see_reuse(struct seq *q)
{
    q->asked->reuse = stepper_reuse(q->ticket);
    q->asked->known = true;
}

static enum err on_token(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    struct seq *q = arg;
    struct job *j = q->job;
    struct serve *s = j->s;
    bool first = q->flow.n_tok == 0, ends = true;
    enum wire_finish why = WIRE_FINISH_LENGTH;

    (void)pos;
    if (first && q->choice % (size_t)j->r.best_of == 0)
        see_reuse(q);
    if (first && q->choice == 0) {
        pthread_mutex_lock(&s->lock);
        s->seen.first_s += serve_now(s) - j->begun;
        s->seen.n_first++;
        pthread_mutex_unlock(&s->lock);
    }
    if (j->receipt && j->n_max && !j->failed)
        check(j, tok_list_add(&q->drawn, id));
    if (j->r.best_of > j->r.n) {
        q->logprob += logprob_of(logprob_norm(logits, s->model->n_vocab), logits[id]);
        q->n_drawn++;
    }
    s->slot[q->slot].n_drawn++;
    if (!j->failed)
        check(j, flow_draw(&q->flow, id, logits, j->n_max, &ends, &why));
    *go_on = !ends && !j->failed;
    if (!*go_on)
        end_seq(q, why);
    return OK;
}

static void on_hidden(void *arg, int64_t pos, const float *row)
{
    struct seq *q = arg;

    embed_add(q, pos, row);
    if (pos + 1 < (int64_t)q->asked->ids.n)
        return;
    see_reuse(q);
    end_seq(q, WIRE_FINISH_STOP);
}

static void on_prompt(void *arg, int64_t pos, const float *logits)
{
    struct seq *q = arg;

    if (!q->job->failed)
        check(q->job, flow_echo(&q->flow, q->asked->ids.id[pos], logits, "", 0));
}

/* The text of a prompt before its answer: as it was sent, or what its ids spell. */
static void echo(struct seq *q)
{
    struct job *j = q->job;
    const struct asked *a = q->asked;
    const struct wire_prompt *p = &j->r.prompt[a - j->asked];
    struct buf text = { 0 };
    struct detok detok;
    char bytes[DETOK_MAX];

    if (p->id) {
        detok_init(&detok, j->s->model->tok, true);
        for (size_t i = 0; i < a->ids.n; i++)
            buf_add(&text, bytes, detok_push(&detok, a->ids.id[i], bytes));
        buf_add(&text, bytes, detok_end(&detok, bytes));
    } else {
        buf_add(&text, p->text.at, p->text.len);
    }
    check(j, buf_ok(&text));
    if (!j->failed)
        check(j, flow_echo(&q->flow, a->ids.id[0], NULL, buf_text(&text), text.len));
    buf_release(&text);
}

static void begin_seq(struct serve *s, struct seq *q)
{
    struct job *j = q->job;
    struct sampler_options sampling = j->sampling;
    bool tells = j->r.echo && j->r.logprobs;
    struct stepper_request r = { .id = q->asked->ids.id, .kind = q->asked->kind,
                                 .n = (int64_t)q->asked->ids.n,
                                 .adapter = j->adapter ? j->adapter->mix : s->model->adapter,
                                 .sampling = &sampling, .token = on_token, .arg = q,
                                 .party = j->pass.party, .prompt = tells ? on_prompt : NULL,
                                 .hidden = j->embeds ? on_hidden : NULL,
                                 .all_hidden = j->embeds &&
                                               s->model->pool != SERVE_POOL_LAST };

    sampling.seed = q->seed;
    if (j->r.echo)
        echo(q);
    if (j->failed || (!j->n_max && !tells && !j->embeds))
        end_seq(q, WIRE_FINISH_LENGTH);
    else if (stepper_add(s->model->stepper, &r, &q->ticket)) {
        fail(j, WIRE_E_NO_MEMORY);
        end_seq(q, WIRE_FINISH_LENGTH);
    }
}

/* --- a turn ---------------------------------------------------------------------------------- */

/* Under the lock. */
static void take_fresh(struct serve *s)
{
    while (s->fresh) {
        struct job *j = s->fresh;
        s->fresh = j->next_fresh;
        j->prev = NULL;
        j->next = s->live;
        if (s->live)
            s->live->prev = j;
        s->live = j;
        s->n_live++;
    }
}

static void unlink_live(struct serve *s, struct job *j)
{
    if (j->prev)
        j->prev->next = j->next;
    else
        s->live = j->next;
    if (j->next)
        j->next->prev = j->prev;
    s->n_live--;
}

static void cut(struct serve *s, struct job *j)
{
    for (size_t i = 0; i < j->n_seq; i++) {
        struct seq *q = &j->seq[i];
        if (q->state == SEQ_ENDED)
            continue;
        if (q->ticket)
            stepper_cancel(s->model->stepper, q->ticket);
        leave_work(q);
        j->n_ended++;
        j->n_answer_tok += q->flow.n_tok;
    }
}

static void count(struct serve *s, const struct job *j)
{
    struct seen *n = &s->seen;

    n->n_cancelled += j->gone;
    n->n_failed += !j->gone && j->failed;
    n->n_late += !j->gone && j->failed && j->why.code == WIRE_E_DEADLINE;
    n->n_done += !j->gone && !j->failed;
    n->n_prompt_tok += j->n_prompt_tok;
    n->n_answer_tok += j->n_answer_tok;
    for (size_t i = 0; i < j->n_asked; i++)
        n->n_cached_tok += j->asked[i].reuse.n;
}

/* Hand over what a job has; under the lock. */
static void publish(struct serve *s, struct job *j, bool early)
{
    bool ended = j->n_ended == j->n_seq, known = true;

    for (size_t i = 0; i < j->n_asked && !j->known; i++)
        known = known && j->asked[i].known;
    j->known = known;
    buf_add(&j->out, buf_text(&j->made), j->made.len);
    buf_cut(&j->made, 0);
    j->ended = ended;
    j->early = j->early || early;
    j->status = j->failed ? wire_error_status(j->why.code) : 200;
    if (ended)
        count(s, j);
    if (!j->posted) {
        j->posted = true;
        j->next_out = s->outbox;
        s->outbox = j;
    }
}

/* Jobs that left or are late end; those that have something for their client hand it over. */
static void hand_over(struct serve *s)
{
    double now = serve_now(s);
    bool post;

    for (struct job *j = s->live, *next; j; j = next) {
        next = j->next;
        pthread_mutex_lock(&s->lock);
        bool gone = j->gone, was_early = j->early;
        pthread_mutex_unlock(&s->lock);
        if (j->n_ended < j->n_seq && !gone && now > j->due)
            fail(j, WIRE_E_DEADLINE);
        if (j->n_ended < j->n_seq && !gone && s->broken)
            fail(j, WIRE_E_SERVER);
        if (gone || j->failed)
            cut(s, j);
        bool ended = j->n_ended == j->n_seq, early = !j->r.stream && now > j->begun + EARLY_S;
        if (ended && !gone)
            finish(j);
        if (ended)
            unlink_live(s, j);
        if (!ended && !(j->r.stream && j->made.len) && !(early && !was_early))
            continue;
        pthread_mutex_lock(&s->lock);
        publish(s, j, early);
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_lock(&s->lock);
    post = s->outbox && !s->posted;
    s->posted = s->posted || post;
    pthread_mutex_unlock(&s->lock);
    if (post && server_post(s->server, serve_deliver, s)) {
        pthread_mutex_lock(&s->lock);
        s->posted = false;              /* too many wait: again after the next turn */
        pthread_mutex_unlock(&s->lock);
    }
}

/* Under the lock.  As many are in work as there are slots at the most. */
static void take_slot(struct serve *s, struct seq *q)
{
    struct slot *slot = s->slot;

    while (slot->busy)
        slot++;
    ASSERT(slot < s->slot + s->o.n_seq_max);
    *slot = (struct slot){ true, s->n_begun++, q->item.n_tok, q->job->n_max, 0 };
    q->slot = (int32_t)(slot - s->slot);
    q->state = SEQ_WORKS;
}

static void fill(struct serve *s)
{
    struct queue_item *item;

    do {
        pthread_mutex_lock(&s->lock);
        item = s->broken ? NULL : queue_take(&s->queue);
        if (item)
            take_slot(s, (struct seq *)item);
        pthread_mutex_unlock(&s->lock);
        if (item)
            begin_seq(s, (struct seq *)item);
    } while (item);
}

static void step(struct serve *s)
{
    double began = serve_now(s);
    bool any = false;
    enum err e = s->broken ? OK : stepper_step(s->model->stepper, &any);

    if (e != OK) {
        err_save(&s->why_broken, e);
        s->broken = true;
        term_error(e);
    }
    double ended = serve_now(s);
    pthread_mutex_lock(&s->lock);
    if (any) {
        s->seen.moved = ended;
        s->seen.step_s += ended - began;
    }
    pthread_mutex_unlock(&s->lock);
}

static void show_load(struct serve *s)
{
    pthread_mutex_lock(&s->lock);
    s->seen.counts = stepper_counts(s->model->stepper);
    s->seen.load = stepper_load(s->model->stepper);
    s->seen.n_work = stepper_n_live(s->model->stepper);
    pthread_mutex_unlock(&s->lock);
}

static void on_broken(void *arg)
{
    struct serve *s = arg;

    s->draining = true;
    server_drain(s->server);
}

void worker_run(struct serve *s, const struct serve_model *m)
{
    bool told = false;

    s->model = m;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->loop_done && !s->fresh && !s->live && (s->posted || !s->outbox))
            pthread_cond_wait(&s->wake, &s->lock);
        bool done = s->loop_done;
        take_fresh(s);
        pthread_mutex_unlock(&s->lock);
        if (done)
            return;
        hand_over(s);
        fill(s);
        step(s);
        hand_over(s);
        show_load(s);
        if (s->broken && !told)
            told = server_post(s->server, on_broken, s) == OK;
    }
}
