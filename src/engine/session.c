/* session.c - one conversation: tokens, kinds, KV pages.
 *
 * The pages are a pool of its own, reserved for the whole context; the system gives memory as
 * tokens arrive, so a long limit costs nothing until it is used.  Invariant: the first `n` tokens
 * and kinds describe exactly the KV rows 0 .. n-1. */
#include "engine/session.h"

#include "engine/kv_pool.h"
#include "engine/mtp_feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EVAL_ROWS = 64 };                /* rows whose logits are held at once */

struct session {
    struct model *m;
    int64_t n_ctx, n;
    int32_t n_batch, adapter;
    int32_t *token;                     /* [n_ctx] */
    uint8_t *kind;                      /* [n_ctx] */
    struct kv_pool *pool;               /* its own */
    struct kv_view kv;                  /* every page of it */
    struct batch_row *row;              /* [n_batch] */
    float *logits;                      /* [n_vocab] */
    bool has_logits;                    /* they are those of the last token */
    struct mtp_feed mtp;                /* of a model with an MTP layer */
    float *logits_many;                 /* [session_push_most(), n_vocab]; NULL: not made */
    int64_t n_many;                     /* rows of it, of the last tokens held; 0: none */
    float *logits_eval;                 /* [EVAL_ROWS, n_vocab], made by the first eval */
    int32_t *expert;                    /* [EVAL_ROWS, n_moe_layer, n_used], likewise */
};

/* All pages of the context at once: they cost nothing until they are written. */
static enum err take_pages(struct session *s)
{
    int64_t n_page = kv_pages(s->n_ctx);
    enum err e = kv_pool_new(&s->pool, model_kv_spec(s->m)->page_bytes, n_page);

    if (e == OK)
        e = kv_view_init(&s->kv, n_page);
    if (e == OK)
        ASSERT(kv_pool_grow(s->pool, &s->kv, 0, s->n_ctx));
    return e;
}

enum err session_new(struct session **out, struct model *m, const struct session_options *o)
{
    struct session *s = calloc(1, sizeof(*s));
    enum err e;

    *out = NULL;
    ASSERT(o->n_ctx > 0 && o->n_batch > 0);
    if (!s)
        return err_set(ERR_NOMEM, "SESSION-02", "no memory for a session");
    s->m = m;
    s->n_ctx = o->n_ctx;
    s->n_batch = o->n_batch;
    s->adapter = o->adapter;
    s->token = calloc((size_t)s->n_ctx, sizeof(*s->token));
    s->kind = calloc((size_t)s->n_ctx, sizeof(*s->kind));
    s->row = calloc((size_t)s->n_batch, sizeof(*s->row));
    s->logits = calloc((size_t)model_info(m)->n_vocab, sizeof(*s->logits));
    if (!s->token || !s->kind || !s->row || !s->logits)
        e = err_set(ERR_NOMEM, "SESSION-03", "no memory for a session of %" PRId64 " tokens; use "
                    "a smaller --ctx-size", s->n_ctx);
    else
        e = take_pages(s);
    if (e == OK && model_info(m)->mtp)
        e = mtp_feed_init(&s->mtp, m, s->n_batch, s->adapter);
    if (e) {
        session_free(s);
        return e;
    }
    *out = s;
    return OK;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    if (s->pool)
        kv_view_release(s->pool, &s->kv);
    kv_pool_free(s->pool);
    free(s->token);
    free(s->kind);
    free(s->row);
    free(s->logits);
    mtp_feed_release(&s->mtp);
    free(s->logits_many);
    free(s->logits_eval);
    free(s->expert);
    free(s);
}

int64_t session_ctx(const struct session *s)
{
    return s->n_ctx;
}

int64_t session_len(const struct session *s)
{
    return s->n;
}

const int32_t *session_tokens(const struct session *s)
{
    return s->token;
}

const float *session_logits(const struct session *s)
{
    return s->logits;
}

void session_truncate(struct session *s, int64_t n)
{
    ASSERT(n >= 0 && n <= s->n);
    s->has_logits = s->has_logits && n == s->n;
    s->n_many = n == s->n ? s->n_many : 0;
    s->n = n;
    mtp_feed_cut(&s->mtp, n);
}

static enum err check_room(const struct session *s, int64_t n)
{
    if (n <= s->n_ctx)
        return OK;
    return err_set(ERR_LIMIT, "SESSION-04", "%" PRId64 " tokens do not fit the context of %" PRId64
                   "; shorten the text or use --ctx-size %" PRId64, n, s->n_ctx, n);
}

static struct mtp_text mtp_text(const struct session *s)
{
    return (struct mtp_text){ s->token, s->kind, &s->kv, s->n };
}

/* Compute `n` tokens after the ones held; logits of the last row, or of all, as `out` asks. */
static enum err step(struct session *s, const int32_t *id, const uint8_t *kind, int64_t n,
                     bool all, struct step_out *out)
{
    struct batch b = { s->row, (int32_t)n, &s->kv, 1 };
    struct mtp_text text = mtp_text(s);
    bool mtp = s->mtp.m != NULL;
    enum err e = mtp ? mtp_feed_room(&s->mtp, &text, n, &out->draft_in) : OK;

    if (e)
        return e;

    for (int64_t i = 0; i < n; i++)
        s->row[i] = (struct batch_row){
            .token = id[i], .pos = s->n + i, .kind = kind ? kind[i] : TOK_PROMPT,
            .adapter = s->adapter,
            .want_logits = out->logits && (all || i == n - 1), .want_hidden = mtp,
        };
    s->has_logits = false;
    s->n_many = 0;
    if ((e = model_step(s->m, &b, out)))
        return e;
    s->has_logits = out->logits == s->logits;
    for (int64_t i = 0; i < n; i++) {
        s->token[s->n + i] = id[i];
        s->kind[s->n + i] = kind ? kind[i] : TOK_PROMPT;
    }
    if (mtp)
        mtp_feed_took(&s->mtp, s->n, n);
    s->n += n;
    return OK;
}

/* Keep *same tokens.  Where the MTP layer's next pair needs a hidden row that is gone, the last of
 * them is computed once more: its own pair stands. */
static void go_back(struct session *s, int64_t *same)
{
    bool again = s->mtp.m && *same > 0 && !mtp_feed_has(&s->mtp, *same - 1);

    session_truncate(s, *same);
    int64_t n_pair = s->mtp.n_pair;
    *same -= again;
    session_truncate(s, *same);
    if (again)
        mtp_feed_hold(&s->mtp, n_pair);
}

enum err session_sync(struct session *s, const int32_t *id, const uint8_t *kind, int64_t n,
                      session_progress_fn *progress, void *arg, int64_t *n_reused)
{
    int64_t same = 0;
    enum err e;

    if (n_reused)
        *n_reused = 0;
    if (n < 1)
        return err_set(ERR_ARG, "SESSION-05", "there are no tokens to read; give a prompt");
    if ((e = check_room(s, n)) || (e = model_check_files(s->m)))
        return e;
    while (same < s->n && same < n - 1 && s->token[same] == id[same] &&
           s->kind[same] == (kind ? kind[same] : TOK_PROMPT))
        same++;
    go_back(s, &same);
    if (n_reused)
        *n_reused = same;
    while (s->n < n) {
        int64_t todo = n - s->n < s->n_batch ? n - s->n : s->n_batch;
        struct step_out out = { .logits = s->n + todo == n ? s->logits : NULL };
        if (progress && !progress(arg, s->n - same, n - same))
            return err_set(ERR_STOPPED, "SESSION-06", "stopped while reading the prompt, at token "
                           "%" PRId64 " of %" PRId64, s->n, n);
        if ((e = step(s, id + s->n, kind ? kind + s->n : NULL, todo, false, &out)))
            return e;
    }
    return OK;
}

enum err session_push(struct session *s, int32_t id)
{
    const uint8_t kind = TOK_SAMPLED;
    struct step_out out = { .logits = s->logits };
    enum err e;

    return (e = check_room(s, s->n + 1)) ? e : step(s, &id, &kind, 1, false, &out);
}

int32_t session_push_most(const struct session *s)
{
    return s->n_batch < SESSION_PUSH_MOST ? s->n_batch : SESSION_PUSH_MOST;
}

enum err session_push_ready(struct session *s)
{
    size_t n = (size_t)session_push_most(s) * (size_t)model_info(s->m)->n_vocab;

    if (!s->logits_many)
        s->logits_many = malloc(n * sizeof(float));
    return s->logits_many ? OK :
        err_set(ERR_NOMEM, "SESSION-08", "no memory for the logits of %d tokens; use --draft off",
                session_push_most(s));
}

enum err session_push_many(struct session *s, const int32_t *id, int64_t n, const float **logits)
{
    uint8_t kinds[SESSION_PUSH_MOST];
    enum err e;

    ASSERT(s->logits_many && n >= 1 && n <= session_push_most(s));
    *logits = NULL;
    struct step_out out = { .logits = s->logits_many };
    memset(kinds, TOK_SAMPLED, sizeof(kinds));
    if ((e = check_room(s, s->n + n)) || (e = step(s, id, kinds, n, true, &out)))
        return e;
    s->n_many = n;
    *logits = s->logits_many;
    return OK;
}

void session_push_keep(struct session *s, int64_t n)
{
    size_t n_vocab = (size_t)model_info(s->m)->n_vocab;

    ASSERT(n >= 1 && n <= s->n_many);
    memcpy(s->logits, s->logits_many + (size_t)(n - 1) * n_vocab, n_vocab * sizeof(float));
    session_truncate(s, s->n - s->n_many + n);
    s->n_many = 0;
    s->has_logits = true;
}

bool session_may_guess(const struct session *s)
{
    return s->mtp.m && s->n > 0 && mtp_feed_has(&s->mtp, s->n - 1);
}

enum err session_guess(struct session *s, int32_t id, int64_t ahead, const float **logits)
{
    struct mtp_text text = mtp_text(s);
    enum err e = check_room(s, s->n + ahead + 1);

    ASSERT(session_may_guess(s));
    *logits = s->mtp.logits;
    return e ? e : mtp_feed_guess(&s->mtp, &text, id, ahead);
}

enum err session_feed(struct session *s)
{
    struct mtp_text text = mtp_text(s);

    return s->mtp.m ? mtp_feed_flush(&s->mtp, &text) : OK;
}

static enum err eval_memory(struct session *s)
{
    const struct model_info *info = model_info(s->m);
    size_t n_choice = (size_t)(model_moe_layers(s->m) * info->n_expert_used);

    if (!s->logits_eval)
        s->logits_eval = calloc(EVAL_ROWS * (size_t)info->n_vocab, sizeof(*s->logits_eval));
    if (!s->expert)
        s->expert = calloc(EVAL_ROWS * n_choice + 1, sizeof(*s->expert));
    return s->logits_eval && s->expert ? OK :
        err_set(ERR_NOMEM, "SESSION-07", "no memory for the logits of %d tokens", EVAL_ROWS);
}

enum err session_eval(struct session *s, const int32_t *id, int64_t n, enum tok_kind kind,
                      session_row_fn *row, void *arg)
{
    const struct model_info *info = model_info(s->m);
    int64_t n_choice = (int64_t)model_moe_layers(s->m) * info->n_expert_used;
    int64_t most = s->n_batch < EVAL_ROWS ? s->n_batch : EVAL_ROWS;
    uint8_t kinds[EVAL_ROWS];
    enum err e;

    if ((e = check_room(s, s->n + n)) || (e = eval_memory(s)) || (e = model_check_files(s->m)))
        return e;
    memset(kinds, (int)kind, sizeof(kinds));
    for (int64_t done = 0; done < n;) {
        int64_t todo = n - done < most ? n - done : most;
        struct step_out out = { .logits = s->logits_eval, .expert = n_choice ? s->expert : NULL };
        if ((e = step(s, id + done, kinds, todo, true, &out)))
            return e;
        for (int64_t i = 0; i < todo; i++)
            if ((e = row(arg, done + i, s->logits_eval + i * info->n_vocab,
                         n_choice ? s->expert + i * n_choice : NULL)))
                return e;
        memcpy(s->logits, s->logits_eval + (todo - 1) * info->n_vocab,
               (size_t)info->n_vocab * sizeof(float));
        s->has_logits = true;
        done += todo;
    }
    return OK;
}

struct session_parts session_parts(const struct session *s)
{
    return (struct session_parts){ s->m, s->token, s->kind, s->logits, s->has_logits, &s->kv };
}

enum err session_new_like(struct session **out, const struct session *like)
{
    struct session_options o = { .n_ctx = like->n_ctx, .n_batch = like->n_batch,
                                 .adapter = like->adapter };

    return session_new(out, like->m, &o);
}

void session_filled(struct session *s, int64_t n, bool has_logits)
{
    ASSERT(n >= 0 && n <= s->n_ctx);
    s->n = n;
    s->has_logits = has_logits;
    mtp_feed_cut(&s->mtp, 0);
    mtp_feed_hold(&s->mtp, n > 0 ? n - 1 : 0);
}

void session_swap(struct session *a, struct session *b)
{
    struct session kept = *a;

    *a = *b;
    *b = kept;
    b->logits_many = a->logits_many;    /* memory stays where session_push_ready() made it */
    a->logits_many = kept.logits_many;
    a->n_many = b->n_many = 0;
}
