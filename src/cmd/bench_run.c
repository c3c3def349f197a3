/* bench_run.c - measures rows in this process.
 *
 * Prompts are random ids from a fixed seed.  Before each measurement the session is cut back to
 * the row's depth, so that nothing is reused. */
#include "cmd/bench.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"

#include <stdlib.h>
#include <string.h>

/* One thread count's turn: the rows [first, end). */
struct bench_part {
    struct bench *b;
    struct loaded l;
    struct ceiling_probe *probe;        /* NULL: no ceilings wanted */
    float *logits;                      /* [batch_max, n_vocab] for --all-logits, or NULL */
    struct batch_row *row;              /* [batch_max], likewise */
};

static enum err random_ids(struct bench *b, int32_t n_vocab)
{
    uint64_t state = 1;

    if (b->id)
        return OK;
    b->id = malloc((size_t)b->n_id * sizeof(*b->id));
    if (!b->id)
        return err_set(ERR_NOMEM, "BENCH-15", "no memory for %lld tokens", (long long)b->n_id);
    for (int64_t i = 0; i < b->n_id; i++) {     /* splitmix64 */
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        b->id[i] = (int32_t)((z ^ z >> 31) % (uint64_t)n_vocab);
    }
    return OK;
}

static bool on_step(void *arg, int64_t done, int64_t total)
{
    (void)arg, (void)done, (void)total;
    return !term_interrupted();
}

static enum err fill_to(struct session *s, const struct bench *b, int64_t n)
{
    if (session_len(s) > n)
        session_truncate(s, n);
    if (session_len(s) == n)
        return OK;
    return session_sync(s, b->id, NULL, n, on_step, NULL, NULL);
}

static enum err interrupted(void)
{
    return term_interrupted() ? err_set(ERR_STOPPED, "BENCH-16", "interrupted") : OK;
}

/* A prompt whose every logit is wanted: steps taken beside the session, on its pages. */
static enum err prefill_all(struct bench_part *p, int64_t base, int64_t n, int32_t n_batch)
{
    struct session_parts parts = session_parts(p->l.session);
    enum err e = OK;

    for (int64_t done = 0; done < n && e == OK;) {
        int32_t todo = n - done < n_batch ? (int32_t)(n - done) : n_batch;
        struct batch batch = { p->row, todo, parts.kv, 1 };
        struct step_out out = { .logits = p->logits };
        for (int32_t i = 0; i < todo; i++)
            p->row[i] = (struct batch_row){ .token = p->b->id[base + done + i],
                                            .pos = base + done + i, .kind = TOK_PROMPT,
                                            .adapter = p->l.mix, .want_logits = 1 };
        e = interrupted();
        if (e == OK)
            e = model_step(p->l.model, &batch, &out);
        done += todo;
    }
    return e;
}

static enum err decode(const struct bench *b, struct session *s, int64_t base, int64_t n)
{
    enum err e = OK;

    for (int64_t i = 0; i < n && e == OK; i++) {
        e = interrupted();
        if (e == OK)
            e = session_push(s, b->id[base + i]);
    }
    return e;
}

static enum err run_once(struct bench_part *p, const struct bench_row *r, double *rate)
{
    struct session *s = p->l.session;
    int64_t base = r->decode && !r->depth ? 1 : r->depth;
    double start;
    enum err e = fill_to(s, p->b, base);

    model_profile(p->l.model, r->profile);
    start = clock_s();
    if (e == OK && r->decode)
        e = decode(p->b, s, base, r->n);
    else if (e == OK && p->logits)
        e = prefill_all(p, base, r->n, r->batch);
    else if (e == OK)
        e = session_sync(s, p->b->id, NULL, base + r->n, on_step, NULL, NULL);
    *rate = (double)r->n / (clock_s() - start);
    model_profile(p->l.model, NULL);
    if (e == OK)
        session_truncate(s, base);
    if (r->profile)
        r->profile->n_step += r->decode ? r->n : (r->n + r->batch - 1) / r->batch;
    return e;
}

static enum err measure_row(struct bench_part *p, struct bench_row *r)
{
    enum err e = OK;

    r->n_thread = p->l.n_thread;
    if (p->b->profile)
        e = profile_new(&r->profile, model_info(p->l.model)->n_layer);
    for (int i = 0; i < r->n_run && e == OK; i++) {
        if (p->probe)
            ceiling_round(p->probe);
        e = run_once(p, r, &r->rate[i]);
        progress_update(&p->b->progress, p->b->n_done += r->n);
    }
    return e;
}

/* One full step of a prompt and one token, so that the first row does not pay for page faults. */
static enum err warm_up(const struct bench *b, struct session *s, int32_t n_batch)
{
    enum err e = fill_to(s, b, b->n_id > n_batch ? n_batch : b->n_id - 1);

    if (e == OK)
        e = session_push(s, b->id[0]);
    if (e == OK)
        session_truncate(s, 0);
    return e;
}

static enum err measure(struct bench_part *p, struct opt_set *o, int first, int end)
{
    int32_t now = 0;
    enum err e = OK;

    for (int i = first; i < end && e == OK; i++) {
        struct bench_row *r = &p->b->row[i];
        int32_t want = r->batch ? r->batch : p->b->batch_first;
        if (want != now) {
            e = load_session(&p->l, o, p->b->n_id, want);
            if (e == OK)
                e = warm_up(p->b, p->l.session, want);
            now = want;
        }
        if (e == OK)
            e = measure_row(p, r);
    }
    return e;
}

static enum err all_logits_memory(struct bench_part *p)
{
    size_t n = (size_t)p->b->batch_max, n_vocab = (size_t)model_info(p->l.model)->n_vocab;

    p->logits = malloc(n * n_vocab * sizeof(*p->logits));
    p->row = malloc(n * sizeof(*p->row));
    return p->logits && p->row ? OK :
        err_set(ERR_NOMEM, "BENCH-18", "no memory for the logits of %zu tokens (%.2f GB); use a "
                "smaller --batch-size", n, (double)(n * n_vocab) * 4e-9);
}

/* The rows of thread.v[t], with a model of their own. */
static enum err run_part(struct bench *b, struct opt_set *o, int t, int first, int end)
{
    struct bench_part p = { .b = b };
    enum err e;

    p.l.n_thread = b->thread.v[t] ? (int)b->thread.v[t] : LOAD_THREADS_DEFAULT;
    e = load_open(&p.l, o, false, b->batch_max);
    if (e == OK)
        e = random_ids(b, model_info(p.l.model)->n_vocab);
    if (e == OK && b->all_logits)
        e = all_logits_memory(&p);
    if (e == OK && b->ceilings)
        e = ceiling_new(&p.probe, p.l.n_thread, p.l.isa, model_info(p.l.model)->weight_bytes);
    if (e == OK && !b->about)
        b->about = bench_json_about(&p.l, o);
    if (e == OK)
        e = measure(&p, o, first, end);
    if (e == OK && p.probe)
        e = ceiling_read(&b->ceiling[t], p.probe);
    ceiling_free(p.probe);
    free(p.logits);
    free(p.row);
    load_close(&p.l);
    return e;
}

enum err bench_run(struct bench *b, struct opt_set *o)
{
    int n_each = b->n_row / b->thread.n;
    int64_t n_all = 0;
    enum err e = OK;

    for (int i = 0; i < b->n_row; i++)
        n_all += b->row[i].n * b->n_run;
    progress_begin(&b->progress, "measuring", "tok", n_all);
    for (int t = 0; t < b->thread.n && e == OK; t++)
        e = run_part(b, o, t, t * n_each, (t + 1) * n_each);
    progress_end(&b->progress);
    return e;
}
