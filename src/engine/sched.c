/* sched.c - see sched.h.
 *
 * Running sequences stand in the order they were admitted, waiting ones in the order they came;
 * every running one came before every waiting one, so the last admitted is also the youngest. */
#include "engine/sched.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct sched_seq {
    int64_t number;                     /* in order of arrival */
    int32_t *token;                     /* [n_tok], room for cap */
    uint8_t *kind;
    int64_t n_tok, cap, n_prompt;
    int64_t n_kv;                       /* tokens computed; KV rows 0 .. n_kv-1 are theirs */
    int64_t n_todo;                     /* rows in the planned step, with its guesses */
    int32_t guess[SCHED_GUESS_EACH];    /* of what follows the newest token */
    int n_guess, n_right;               /* to compute, then computed; of these, right so far */
    struct sched_reuse reuse;           /* of the prompt, when it was admitted first */
    int64_t n_told;                     /* rows whose logits were given, with all_logits */
    int32_t adapter;
    uint64_t party;
    bool running, asking, all_logits, hidden, all_hidden;
    void *user;
    struct kv_view kv;
    struct sched_seq *next;             /* while it waits */
};

/* What the first of those that wait was refused for: that a sequence that runs is about to compute
 * `coming` of its tokens, or (NULL) pages.  Nothing that runs can end, leave or give pages back
 * without ending this; while it stands, only `donor` can change the answer. */
struct blocked { const struct sched_seq *seq, *donor; int64_t coming; };

struct sched {
    struct sched_options o;
    struct kv_pool *pool;
    struct sched_seq **run;             /* [n_run], the oldest first */
    int32_t n_run, n_wait;
    struct sched_seq *wait;             /* the oldest first */
    struct prefix *kept;                /* pages of whole ones, for sharing */
    struct batch_row *row;              /* [n_row_max] */
    struct kv_view *view;               /* [n_seq_max] */
    struct sched_seq **ask;             /* [n_seq_max] */
    struct sched_seq **of;              /* [n_seq_max] */
    int32_t n_ask;
    int64_t n_added;
    bool planned;
    struct blocked blocked;
    struct sched_counts count;
};

enum err sched_new(struct sched **out, struct kv_pool *p, const struct sched_options *o)
{
    struct sched *s = calloc(1, sizeof(*s));
    size_t n = (size_t)o->n_seq_max;
    enum err e;

    *out = NULL;
    ASSERT(o->n_seq_max > 0 && o->n_row_max >= o->n_seq_max && o->n_ctx > 0);
    ASSERT(o->work_step >= 1 && (o->gap == 0 || o->gap >= 2));
    ASSERT(kv_pages(o->n_ctx) <= kv_pool_total(p));
    if (s) {
        s->o = *o;
        s->pool = p;
        s->run = calloc(n, sizeof(struct sched_seq *));
        s->ask = calloc(n, sizeof(struct sched_seq *));
        s->of = calloc(n, sizeof(struct sched_seq *));
        s->view = calloc(n, sizeof(*s->view));
        s->row = calloc((size_t)o->n_row_max, sizeof(*s->row));
    }
    if (!s || !s->run || !s->ask || !s->of || !s->view || !s->row)
        e = err_set(ERR_NOMEM, "SCHED-01", "no memory to schedule %d sequences", o->n_seq_max);
    else
        e = prefix_new(&s->kept, p);
    if (e != OK) {
        sched_free(s);
        return e;
    }
    *out = s;
    return OK;
}

static void seq_free(struct sched *s, struct sched_seq *q)
{
    if (!q)
        return;
    kv_view_release(s->pool, &q->kv);
    free(q->token);
    free(q->kind);
    free(q);
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    for (int32_t i = 0; i < s->n_run; i++)
        seq_free(s, s->run[i]);
    for (struct sched_seq *q = s->wait, *next; q; q = next) {
        next = q->next;
        seq_free(s, q);
    }
    prefix_free(s->kept);
    free(s->run);
    free(s->ask);
    free(s->of);
    free(s->view);
    free(s->row);
    free(s);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool tokens_grow(struct sched_seq *q, int64_t cap)
{
    int32_t *token = realloc(q->token, (size_t)cap * sizeof(*token));
    uint8_t *kind;

    if (!token)
        return false;
    q->token = token;
    kind = realloc(q->kind, (size_t)cap);
    if (!kind)
        return false;
    q->kind = kind;
    q->cap = cap;
    return true;
}

/* Among those that wait, in the order of arrival. */
static void wait_insert(struct sched *s, struct sched_seq *q)
{
    struct sched_seq **at = &s->wait;

    while (*at && (*at)->number < q->number)
        at = &(*at)->next;
    q->next = *at;
    *at = q;
    s->n_wait++;
}

static void wait_remove(struct sched *s, const struct sched_seq *q)
{
    struct sched_seq **at = &s->wait;

    s->blocked = (struct blocked){ 0 };
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    s->n_wait--;
}

static void run_remove(struct sched *s, const struct sched_seq *q)
{
    int32_t i = 0;

    s->blocked = (struct blocked){ 0 };
    while (s->run[i] != q)
        i++;
    memmove(s->run + i, s->run + i + 1, (size_t)(--s->n_run - i) * sizeof(struct sched_seq *));
}

enum err sched_add(struct sched *s, const struct sched_request *r, struct sched_seq **out)
{
    struct sched_seq *q = NULL;
    enum err e;

    *out = NULL;
    if (r->n < 1)
        return err_set(ERR_ARG, "SCHED-02", "there are no tokens to read; give a prompt");
    if (r->n > s->o.n_ctx)
        return err_set(ERR_LIMIT, "SCHED-03", "the prompt is %" PRId64 " tokens and the context "
                       "holds %" PRId64 "; shorten it or give --ctx-size %" PRId64, r->n,
                       s->o.n_ctx, r->n + 256);
    q = calloc(1, sizeof(*q));
    if (!q || !tokens_grow(q, min64(r->n + KV_PAGE_TOK, s->o.n_ctx))) {
        e = err_set(ERR_NOMEM, "SCHED-04", "no memory for a request of %" PRId64 " tokens", r->n);
        goto fail;
    }
    if ((e = kv_view_init(&q->kv, kv_pages(s->o.n_ctx))))
        goto fail;
    memcpy(q->token, r->id, (size_t)r->n * sizeof(*q->token));
    if (r->kind)
        memcpy(q->kind, r->kind, (size_t)r->n);
    else
        memset(q->kind, TOK_PROMPT, (size_t)r->n);
    q->n_tok = q->n_prompt = r->n;
    q->adapter = r->adapter;
    q->party = r->party;
    q->all_logits = r->all_logits;
    q->hidden = r->hidden;
    q->all_hidden = r->all_hidden;
    q->user = r->user;
    q->number = s->n_added++;
    wait_insert(s, q);
    *out = q;
    return OK;
fail:
    seq_free(s, q);
    return e;
}

/* --- admission -------------------------------------------------------------------------- */

static int64_t same_beginning(const struct sched_seq *a, const struct sched_seq *b)
{
    int64_t n = 0, most = min64(a->n_tok, b->n_tok);

    if (a->adapter != b->adapter || a->party != b->party)
        return 0;
    while (n < most && a->token[n] == b->token[n] && a->kind[n] == b->kind[n])
        n++;
    return n;
}

static struct prefix_owner owner_of(const struct sched_seq *q)
{
    return (struct prefix_owner){ q->party, q->adapter };
}

/* What gives a sequence its first n computed tokens: one that runs, or else kept pages.  `coming`
 * is how many the best of those that run, `soon`, will have once it has read its text. */
struct donor {
    const struct sched_seq *seq, *soon;
    struct prefix_match kept;
    int64_t n, coming;
};

/* All of its tokens but the last at the most. */
static struct donor find_donor(struct sched *s, const struct sched_seq *q)
{
    struct donor best = { 0 };

    s->count.n_lookup++;
    if ((q->all_logits || q->all_hidden) && q->n_told < q->n_prompt - 1)
        return best;
    best.kept = prefix_find(s->kept, owner_of(q), q->token, q->kind, q->n_tok - 1);
    best.n = best.coming = best.kept.n_tok;
    for (int32_t i = 0; i < s->n_run; i++) {
        const struct sched_seq *d = s->run[i];
        int64_t same = min64(same_beginning(d, q), q->n_tok - 1);
        if (same > best.coming) {
            best.coming = same;
            best.soon = d;
        }
        if (min64(same, d->n_kv) > best.n) {
            best.n = min64(same, d->n_kv);
            best.seq = d;
        }
    }
    return best;
}

static struct sched_reuse reuse_of(const struct sched_seq *q, const struct donor *d)
{
    struct sched_reuse r = { .n = d->n, .end = d->kept.end };
    const struct sched_seq *seq = d->seq;

    r.told = (q->all_logits || q->all_hidden) && !d->n;
    if (!seq)
        return r;
    r.end = PREFIX_ENDS;
    if (d->n == q->n_tok - 1)
        r.end = PREFIX_WHOLE;
    else if (d->n < seq->n_kv)
        r.end = seq->token[d->n] == q->token[d->n] ? PREFIX_KIND : PREFIX_DIFFERS;
    return r;
}

/* The next to be admitted: by arrival.  Fairness between callers chooses here. */
static struct sched_seq *next_waiting(const struct sched *s)
{
    return s->wait;
}

/* Whether waiting for the rest of what comes is worth it, with n of it there. */
static bool worth_waiting(const struct sched_seq *q, int64_t n, int64_t coming)
{
    return coming - n >= KV_PAGE_TOK || (coming > n && 2 * (coming - n) >= q->n_tok - n);
}

static bool still_blocked(const struct sched *s, const struct sched_seq *q)
{
    const struct blocked *b = &s->blocked;

    return b->seq == q &&
           (!b->donor || worth_waiting(q, min64(b->coming, b->donor->n_kv), b->coming));
}

/* False: it has to wait, for pages or for what another is about to compute. */
static bool admit(struct sched *s, struct sched_seq *q)
{
    struct donor donor = find_donor(s, q);
    int64_t n = donor.n, need;

    s->blocked = (struct blocked){ q, NULL, 0 };
    if (worth_waiting(q, n, donor.coming)) {
        s->blocked.donor = donor.soon;
        s->blocked.coming = donor.coming;
        return false;
    }
    if (donor.seq)
        kv_pool_share(s->pool, &q->kv, &donor.seq->kv, n);
    else
        prefix_share(s->kept, donor.kept, &q->kv);
    /* a page more for each that runs: else it would be preempted soon */
    need = kv_pool_need(s->pool, &q->kv, n, min64(q->n_tok + 1, s->o.n_ctx)) + s->n_run;
    if (s->n_run && !prefix_can_free(s->kept, need - kv_pool_unused(s->pool))) {
        kv_pool_cut(s->pool, &q->kv, 0);
        return false;
    }
    while (need > kv_pool_unused(s->pool) && prefix_drop(s->kept))
        ;
    wait_remove(s, q);
    s->run[s->n_run++] = q;
    q->running = true;
    q->n_kv = n;
    if (q->n_tok == q->n_prompt)
        q->reuse = reuse_of(q, &donor);
    s->count.n_shared_tok += n;
    return true;
}

static void preempt_last(struct sched *s)
{
    struct sched_seq *q = s->run[--s->n_run];

    s->blocked = (struct blocked){ 0 };
    kv_pool_cut(s->pool, &q->kv, 0);
    q->running = false;
    q->n_kv = 0;
    q->n_guess = 0;
    wait_insert(s, q);
    s->count.n_preempted++;
}

/* --- the step --------------------------------------------------------------------------- */

/* A page for the next row of each, the oldest first: others give theirs. */
static void make_room(struct sched *s)
{
    for (int32_t i = 0; i < s->n_run; i++) {
        struct sched_seq *q = s->run[i];
        while (i < s->n_run && !kv_pool_grow(s->pool, &q->kv, q->n_kv, q->n_kv + 1)) {
            if (!prefix_drop(s->kept))
                preempt_last(s);        /* itself when it is the last */
        }
    }
    ASSERT(s->n_run > 0 || !s->wait);
}

/* How many rows of a text one reader gets: of those left, of those whose logits may be given
 * (told), of the work left, of the pages. */
static int64_t chunk(const struct sched *s, const struct sched_seq *q, int64_t rows, int64_t told,
                     int64_t work)
{
    int64_t todo = min64(q->n_tok - q->n_kv, rows), n = 0;
    int64_t pages = q->kv.n_page + kv_pool_unused(s->pool);

    if (q->all_logits)
        todo = min64(todo, told);
    todo = min64(todo, pages * KV_PAGE_TOK - q->n_kv);
    while (n < todo && work >= sched_row_work(q->n_kv + n))
        work -= sched_row_work(q->n_kv + n++);
    return n;
}

/* Rows for guesses, of those left but one, and of the work left; pages only from those unused. */
static void share_guesses(struct sched *s, struct sched_step *step, int64_t *rows, int64_t *work)
{
    int64_t most = min64(*rows - 1, SCHED_GUESS_MAX);

    for (int32_t i = 0; i < s->n_run; i++) {
        struct sched_seq *q = s->run[i];
        int64_t n = min64(min64(q->n_guess, most), s->o.n_ctx - q->n_tok), k = 0;
        while (k < n && *work >= sched_row_work(q->n_tok + k) &&
               kv_pool_grow(s->pool, &q->kv, q->n_kv, q->n_tok + k + 1)) {
            *work -= sched_row_work(q->n_tok + k);
            step->work += sched_row_work(q->n_tok + k);
            k++;
        }
        q->n_guess = (int)k;
        q->n_right = 0;
        q->n_todo += k;
        *rows -= k;
        most -= k;
    }
}

/* Rows for every single token, then for guesses and the readers; the first reader gets one at
 * least. */
static void share_rows(struct sched *s, struct sched_step *step)
{
    int64_t rows = s->o.n_row_max, told = SCHED_TOLD_MAX, work = INT64_MAX;
    bool first = true;

    step->work_alone = s->o.work_step;
    for (int32_t i = 0; i < s->n_run; i++) {
        struct sched_seq *q = s->run[i];
        q->n_todo = q->n_tok - q->n_kv == 1;
        rows -= q->n_todo;
        step->work_alone += q->n_todo ? sched_row_work(q->n_kv) : 0;
    }
    if (s->o.gap && rows < s->o.n_row_max)
        work = (s->o.gap - 1) * step->work_alone;
    step->work = step->work_alone;
    share_guesses(s, step, &rows, &work);
    for (int32_t i = 0; i < s->n_run && rows > 0; i++) {
        struct sched_seq *q = s->run[i];
        if (q->n_todo)
            continue;
        q->n_todo = chunk(s, q, rows, told, work);
        if (first && !q->n_todo)
            q->n_todo = 1;
        first = false;
        if (!q->n_todo)
            continue;
        ASSERT(kv_pool_grow(s->pool, &q->kv, q->n_kv, q->n_kv + q->n_todo));
        for (int64_t n = 0; n < q->n_todo; n++) {
            step->work += sched_row_work(q->n_kv + n);
            work -= sched_row_work(q->n_kv + n);
        }
        rows -= q->n_todo;
        told -= q->all_logits ? q->n_todo : 0;
    }
}

static bool wants_hidden(const struct sched_seq *q, int64_t k)
{
    return q->hidden && (k == q->n_tok - 1 || (q->all_hidden && k >= q->n_told));
}

static bool wants_logits(const struct sched_seq *q, int64_t k)
{
    return (k >= q->n_tok - 1 && !q->hidden) ||
           (q->all_logits && k < q->n_prompt && k >= q->n_told);
}

static void write_rows(struct sched *s, struct sched_step *step)
{
    struct batch *b = &step->batch;

    *b = (struct batch){ .row = s->row, .kv = s->view };
    for (int32_t i = 0; i < s->n_run; i++) {
        struct sched_seq *q = s->run[i];
        if (!q->n_todo)
            continue;
        for (int64_t k = q->n_kv; k < q->n_kv + q->n_todo; k++)
            s->row[b->n_row++] = (struct batch_row){
                .token = k < q->n_tok ? q->token[k] : q->guess[k - q->n_tok], .seq = b->n_seq,
                .pos = k, .kind = k < q->n_tok ? q->kind[k] : TOK_SAMPLED,
                .adapter = q->adapter, .want_logits = wants_logits(q, k),
                .want_hidden = wants_hidden(q, k),
            };
        if (q->n_kv + q->n_todo >= q->n_tok)
            s->ask[s->n_ask++] = q;
        s->of[b->n_seq] = q;
        s->view[b->n_seq++] = q->kv;
    }
}

void sched_drop_guesses(struct sched *s, struct sched_step *step)
{
    ASSERT(s->planned);
    for (int32_t i = 0; i < s->n_run; i++) {
        s->run[i]->n_todo -= s->run[i]->n_guess;
        s->run[i]->n_guess = 0;
    }
    s->n_ask = 0;
    write_rows(s, step);
    step->n_ask = s->n_ask;
}

bool sched_plan(struct sched *s, struct sched_step *step)
{
    *step = (struct sched_step){ 0 };
    for (int32_t i = 0; i < s->n_run; i++)
        ASSERT(!s->run[i]->asking);     /* each was answered */
    for (struct sched_seq *q; s->n_run < s->o.n_seq_max && (q = next_waiting(s));)
        if (still_blocked(s, q) || !admit(s, q))
            break;
    if (!s->n_run)
        return false;
    make_room(s);
    s->n_ask = 0;
    share_rows(s, step);
    write_rows(s, step);
    ASSERT(step->batch.n_row > 0 && step->batch.n_row <= s->o.n_row_max);
    step->seq = s->of;
    step->ask = s->ask;
    step->n_ask = s->n_ask;
    s->planned = true;
    return true;
}

void sched_computed(struct sched *s)
{
    ASSERT(s->planned);
    s->planned = false;
    s->count.n_step++;
    for (int32_t i = 0; i < s->n_run; i++) {
        struct sched_seq *q = s->run[i];
        q->n_kv += q->n_todo - q->n_guess;
        if (q->n_kv > q->n_told)
            q->n_told = q->n_kv;
        s->count.n_row += q->n_todo;
        s->count.n_guess += q->n_guess;
        q->n_todo = 0;
    }
    for (int32_t i = 0; i < s->n_ask; i++)
        s->ask[i]->asking = true;
}

enum err sched_push(struct sched *s, struct sched_seq *q, int32_t id, bool *again)
{
    ASSERT(q->asking);
    *again = q->n_right < q->n_guess && q->guess[q->n_right] == id;
    if (q->n_tok == s->o.n_ctx)
        return err_set(ERR_LIMIT, "SCHED-05", "the context of %" PRId64 " tokens is full; give a "
                       "larger --ctx-size", s->o.n_ctx);
    if (q->n_tok == q->cap && !tokens_grow(q, min64(2 * q->cap, s->o.n_ctx)))
        return err_set(ERR_NOMEM, "SCHED-06", "no memory for an answer of more than %" PRId64
                       " tokens", q->n_tok - q->n_prompt);
    q->kind[q->n_tok] = TOK_SAMPLED;
    q->token[q->n_tok++] = id;
    q->asking = *again;
    q->n_kv += *again;
    q->n_right += *again;
    s->count.n_right += *again;
    if (!*again)
        q->n_guess = 0;
    return OK;
}

void sched_guess(struct sched_seq *q, const int32_t *id, int n)
{
    ASSERT(q->running && !q->asking && n >= 0 && n <= SCHED_GUESS_EACH);
    memcpy(q->guess, id, (size_t)n * sizeof(*id));
    q->n_guess = n;
}

void sched_end(struct sched *s, struct sched_seq *q)
{
    ASSERT(q->running && !s->planned);
    run_remove(s, q);
    prefix_keep(s->kept, owner_of(q), q->token, q->kind, q->n_kv, &q->kv);
    seq_free(s, q);
}

void sched_cancel(struct sched *s, struct sched_seq *q)
{
    ASSERT(!s->planned);
    if (q->running)
        run_remove(s, q);
    else
        wait_remove(s, q);
    seq_free(s, q);
}

void *sched_user(const struct sched_seq *q)
{
    return q->user;
}

int64_t sched_len(const struct sched_seq *q)
{
    return q->n_tok;
}

const int32_t *sched_tokens(const struct sched_seq *q)
{
    return q->token;
}

struct sched_reuse sched_reuse(const struct sched_seq *q)
{
    return q->reuse;
}

int32_t sched_n_running(const struct sched *s)
{
    return s->n_run;
}

int32_t sched_n_waiting(const struct sched *s)
{
    return s->n_wait;
}

struct sched_counts sched_counts(const struct sched *s)
{
    return s->count;
}
