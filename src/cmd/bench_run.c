/* bench_run.c - measures rows in this process.
 *
 * Prompts are random ids from a fixed seed.  Before each measurement the sessions are cut back to
 * the row's depth, so that nothing is reused.  Steps with every row's logits are taken beside the
 * sessions, on their pages: what they write is overwritten by the next run.  Sequences that share a
 * prompt see the pages of the first, which alone computes it. */
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
    struct session **seq;               /* [n_seq] that decode together; seq[0] is l.session */
    struct kv_view *kv;                 /* [n_seq], their pages */
    int32_t n_seq;                      /* at most b->n_seq_max, made when a row needs them */
    float *logits;                      /* [n_logits, n_vocab], or NULL where none are */
    struct batch_row *row;              /* [n_logits], likewise */
};

static const int32_t *ids_of(const struct bench *b, int32_t seq)
{
    return b->id + seq * b->n_id;
}

static enum err random_ids(struct bench *b, int32_t n_vocab)
{
    uint64_t state = 1;
    int64_t n;

    if (b->id)
        return OK;
    n = b->n_id * b->n_seq_max;
    b->id = malloc((size_t)n * sizeof(*b->id));
    if (!b->id)
        return err_set(ERR_NOMEM, "BENCH-15", "no memory for %lld tokens", (long long)n);
    for (int64_t i = 0; i < n; i++) {           /* splitmix64 */
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

static enum err fill_to(struct session *s, const int32_t *id, int64_t n)
{
    if (session_len(s) > n)
        session_truncate(s, n);
    if (session_len(s) == n)
        return OK;
    return session_sync(s, id, NULL, n, on_step, NULL, NULL);
}

/* A view with a list of pages of its own. */
static enum err own_list(struct kv_view *out, const struct kv_view *v)
{
    *out = *v;
    out->page = malloc((size_t)v->n_page * sizeof(*out->page));
    if (!out->page)
        return err_set(ERR_NOMEM, "BENCH-39", "no memory for a list of %lld pages",
                       (long long)v->n_page);
    memcpy(out->page, v->page, (size_t)v->n_page * sizeof(*out->page));
    return OK;
}

/* Sequence i behind the first n tokens of sequence 0: its whole pages, and a copy of the rest. */
static void share_prompt(struct bench_part *p, int32_t i, int64_t n)
{
    const struct kv_view *own = session_parts(p->seq[i]).kv;
    int64_t whole = n / KV_PAGE_TOK;

    for (int64_t k = 0; k < own->n_page; k++)
        p->kv[i].page[k] = k < whole ? p->kv[0].page[k] : own->page[k];
    if (n % KV_PAGE_TOK)
        memcpy(p->kv[i].page[whole], p->kv[0].page[whole],
               (size_t)model_kv_spec(p->l.model)->page_bytes);
}

/* Sequences up to n, each of `len` tokens. */
static enum err more_sequences(struct bench_part *p, int32_t n, int64_t len)
{
    struct machine now;
    uint64_t need = (uint64_t)(n - p->n_seq) * (uint64_t)len * kv_tok_bytes(p->l.model);
    char need_text[16], have[16];
    enum err e = OK;

    machine_detect(&now);
    if (now.mem_available && need > now.mem_available)
        return err_set(ERR_NOMEM, "BENCH-28", "%d sequences of %lld tokens need %s for their KV "
                       "cache and %s is free; use a smaller --parallel or --n-depth", n,
                       (long long)len, bytes_text(need_text, sizeof(need_text), need),
                       bytes_text(have, sizeof(have), now.mem_available));
    while (p->n_seq < n && e == OK) {
        e = session_new_like(&p->seq[p->n_seq], p->l.session);
        if (e == OK && p->b->shared)
            e = own_list(&p->kv[p->n_seq], session_parts(p->seq[p->n_seq]).kv);
        else if (e == OK)
            p->kv[p->n_seq] = *session_parts(p->seq[p->n_seq]).kv;
        if (e == OK)
            p->n_seq++;
        else
            session_free(p->seq[p->n_seq]);
    }
    return e;
}

static void drop_sequences(struct bench_part *p)
{
    while (p->n_seq > 1) {
        if (p->b->shared)
            free(p->kv[p->n_seq - 1].page);
        session_free(p->seq[--p->n_seq]);
    }
    p->n_seq = 0;
}

/* Where a row begins: what its sequences hold. */
static int64_t base_of(const struct bench_row *r)
{
    return r->decode && !r->depth ? 1 : r->depth;
}

static enum err fill_all(struct bench_part *p, const struct bench_row *r)
{
    int32_t n = r->decode ? r->n_seq : 1;
    enum err e = OK;

    if (n > p->n_seq)
        e = more_sequences(p, n, base_of(r) + r->n * r->n_each);
    for (int32_t i = 0; i < n && e == OK; i++)
        if (i && p->b->shared)
            share_prompt(p, i, base_of(r));
        else
            e = fill_to(p->seq[i], ids_of(p->b, i), base_of(r));
    return e;
}

static enum err interrupted(void)
{
    return term_interrupted() ? err_set(ERR_STOPPED, "BENCH-16", "interrupted") : OK;
}

/* A prompt whose every logit is wanted. */
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

/* n steps of a decode row, every row's logits computed. */
static enum err decode(struct bench_part *p, const struct bench_row *r, int64_t n)
{
    struct batch batch = { p->row, r->n_seq * r->n_each, p->kv, r->n_seq };
    struct step_out out = { .logits = p->logits };
    enum err e = OK;

    for (int64_t i = 0; i < n && e == OK; i++) {
        for (int32_t k = 0; k < batch.n_row; k++) {
            int32_t seq = k / r->n_each;
            int64_t pos = base_of(r) + i * r->n_each + k % r->n_each;
            p->row[k] = (struct batch_row){ .token = ids_of(p->b, seq)[pos], .seq = seq,
                                            .pos = pos, .kind = TOK_SAMPLED,
                                            .adapter = p->l.mix, .want_logits = 1 };
        }
        e = interrupted();
        if (e == OK)
            e = model_step(p->l.model, &batch, &out);
    }
    return e;
}

static enum err run_once(struct bench_part *p, const struct bench_row *r, double *rate)
{
    struct session *s = p->l.session;
    int64_t base = base_of(r);
    double start;
    enum err e = fill_all(p, r);

    model_profile(p->l.model, r->profile);
    start = clock_s();
    if (e == OK && r->decode)
        e = decode(p, r, r->n);
    else if (e == OK && p->b->all_logits)
        e = prefill_all(p, base, r->n, r->batch);
    else if (e == OK)
        e = session_sync(s, p->b->id, NULL, base + r->n, on_step, NULL, NULL);
    *rate = (double)bench_row_tok(r) / (clock_s() - start);
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
    if (e == OK && r->decode)           /* its first step does not pay for page faults */
        e = fill_all(p, r);
    if (e == OK && r->decode)
        e = decode(p, r, 1);
    for (int i = 0; i < r->n_run && e == OK; i++) {
        if (p->probe)
            ceiling_round(p->probe);
        e = run_once(p, r, &r->rate[i]);
        progress_update(&p->b->progress, p->b->n_done += bench_row_tok(r));
    }
    return e;
}

/* One full step of a prompt and one token, so that the first row does not pay for page faults. */
static enum err warm_up(const struct bench *b, struct session *s, int32_t n_batch)
{
    enum err e = fill_to(s, b->id, b->n_id > n_batch ? n_batch : b->n_id - 1);

    if (e == OK)
        e = session_push(s, b->id[0]);
    if (e == OK)
        session_truncate(s, 0);
    return e;
}

static enum err new_session(struct bench_part *p, struct opt_set *o, int32_t n_batch)
{
    enum err e;

    drop_sequences(p);
    e = load_session(&p->l, o, p->b->n_id, n_batch);
    if (e != OK)
        return e;
    p->seq[0] = p->l.session;
    p->kv[0] = *session_parts(p->l.session).kv;
    p->n_seq = 1;
    return OK;
}

static enum err measure(struct bench_part *p, struct opt_set *o, int first, int end)
{
    int32_t now = 0;
    enum err e = OK;

    for (int i = first; i < end && e == OK; i++) {
        struct bench_row *r = &p->b->row[i];
        int32_t want = r->batch ? r->batch : p->b->batch_first;
        if (want != now) {
            e = new_session(p, o, want);
            if (e == OK)
                e = warm_up(p->b, p->l.session, want);
            now = want;
        }
        if (e == OK)
            e = measure_row(p, r);
    }
    return e;
}

static enum err part_memory(struct bench_part *p)
{
    const struct bench *b = p->b;
    size_t n = (size_t)(b->all_logits && b->batch_max > b->step_max ? b->batch_max : b->step_max);
    size_t n_vocab = (size_t)model_info(p->l.model)->n_vocab, n_seq = (size_t)b->n_seq_max;

    p->seq = calloc(n_seq, sizeof(struct session *));
    p->kv = calloc(n_seq, sizeof(*p->kv));
    if (!p->seq || !p->kv)
        return err_set(ERR_NOMEM, "BENCH-29", "no memory for %zu sequences", n_seq);
    if (!n)
        return OK;
    p->logits = malloc(n * n_vocab * sizeof(*p->logits));
    p->row = malloc(n * sizeof(*p->row));
    return p->logits && p->row ? OK :
        err_set(ERR_NOMEM, "BENCH-18", "no memory for the logits of %zu tokens (%.2f GB); use a "
                "smaller --batch-size or --parallel", n, (double)(n * n_vocab) * 4e-9);
}

/* The rows of thread.v[t], with a model of their own. */
static enum err run_part(struct bench *b, struct opt_set *o, int t, int first, int end)
{
    struct bench_part p = { .b = b };
    enum err e;

    p.l.n_thread = b->thread.v[t] ? (int)b->thread.v[t] : LOAD_THREADS_DEFAULT;
    e = load_open(&p.l, o, false, b->batch_max > b->step_max ? b->batch_max : b->step_max);
    if (e == OK)
        e = random_ids(b, model_info(p.l.model)->n_vocab);
    if (e == OK)
        e = part_memory(&p);
    if (e == OK && b->ceilings)
        e = ceiling_new(&p.probe, p.l.n_thread, p.l.isa, model_info(p.l.model)->weight_bytes);
    if (e == OK && !b->about)
        b->about = bench_json_about(&p.l, o);
    if (e == OK)
        e = measure(&p, o, first, end);
    if (e == OK && p.probe)
        e = ceiling_read(&b->ceiling[t], p.probe);
    ceiling_free(p.probe);
    drop_sequences(&p);
    free(p.seq);
    free(p.kv);
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
        n_all += bench_row_tok(&b->row[i]) * b->n_run;
    progress_begin(&b->progress, "measuring", "tok", n_all);
    for (int t = 0; t < b->thread.n && e == OK; t++)
        e = run_part(b, o, t, t * n_each, (t + 1) * n_each);
    progress_end(&b->progress);
    return e;
}
