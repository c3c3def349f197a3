/* draft_model.c - the drafter that is a smaller model of the same vocabulary.
 *
 * Its session holds the text as far as it was needed, and behind it what was last proposed;
 * invariant: the first n_same tokens and kinds are those of the text.  What was guessed right is
 * found there by comparing on from n_same, so a token is compared once. */
#include "engine/draft_form.h"

#include <stdlib.h>
#include <string.h>

enum { CATCH_UP_MAX = 8 };              /* tokens behind that are pushed; more are a prefill */

struct draft_model {
    struct session *s;
    int32_t n_vocab, n_own;             /* logits a row: of the text's model; of this one */
    int64_t n_same;
    bool unknown;                       /* a token of the text is beyond this model's rows */
    float *row;                         /* [n_vocab] */
};

enum err draft_model_new(void **out, const struct draft_options *o)
{
    struct session_options so = { .n_ctx = o->n_ctx, .n_batch = o->n_batch };
    struct draft_model *d;
    enum err e;

    *out = NULL;
    if (!o->model)
        return err_set(ERR_ARG, "DRAFT-01", "--draft model needs a model that guesses: give "
                       "--draft-model with one of the same vocabulary");
    d = calloc(1, sizeof(*d));
    if (d) {
        d->n_vocab = model_info(session_parts(o->session).model)->n_vocab;
        d->n_own = model_info(o->model)->n_vocab;
        d->row = calloc((size_t)d->n_vocab, sizeof(*d->row));
    }
    if (!d || !d->row)
        e = err_set(ERR_NOMEM, "DRAFT-02", "no memory for the draft model; use --draft off");
    else
        e = session_new(&d->s, o->model, &so);
    if (e == OK)
        e = session_push_ready(d->s);
    if (e != OK) {
        draft_model_free(d);
        return e;
    }
    *out = d;
    return OK;
}

void draft_model_free(void *draft)
{
    struct draft_model *d = draft;

    if (!d)
        return;
    session_free(d->s);
    free(d->row);
    free(d);
}

enum err draft_model_read(void *draft, const struct draft_text *t, session_progress_fn *progress,
                          void *arg)
{
    struct draft_model *d = draft;
    enum err e;

    d->n_same = 0;
    d->unknown = false;
    for (int64_t i = 0; i < t->n; i++)
        d->unknown = d->unknown || t->id[i] >= d->n_own;
    e = d->unknown ? OK : session_sync(d->s, t->id, t->kind, t->n, progress, arg, NULL);
    if (e == OK && !d->unknown)
        d->n_same = t->n;
    return e == OK || e == ERR_STOPPED ? e : err_wrap(e, "the draft model");
}

void draft_model_add(void *draft, const struct draft_text *t)
{
    struct draft_model *d = draft;

    d->unknown = d->unknown || t->id[t->n - 1] >= d->n_own;
}

/* Make the session hold the text, with the logits of its last token. */
static enum err catch_up(struct draft_model *d, const struct draft_text *t)
{
    struct session_parts p = session_parts(d->s);
    int64_t held = session_len(d->s), same = d->n_same < t->n ? d->n_same : t->n;
    const float *logits;
    enum err e;

    while (same < held && same < t->n && p.token[same] == t->id[same] &&
           p.kind[same] == t->kind[same])
        same++;
    int64_t behind = t->n - same;
    if (same == held && !behind && p.has_logits)
        return OK;
    d->n_same = 0;                      /* until it is done */
    if (same < t->n && behind <= CATCH_UP_MAX && behind <= session_push_most(d->s) &&
        t->kind[same] == TOK_SAMPLED) {
        session_truncate(d->s, same);
        e = session_push_many(d->s, t->id + same, behind, &logits);
        if (e == OK)
            session_push_keep(d->s, behind);
    } else {
        e = session_sync(d->s, t->id, t->kind, t->n, NULL, NULL, NULL);
    }
    if (e == OK)
        d->n_same = t->n;
    return e;
}

/* Both models' vocabularies are the same tokens; their rows may be padded differently. */
static const float *logits(struct draft_model *d)
{
    const float *own = session_logits(d->s);

    if (d->n_own >= d->n_vocab)
        return own;
    memcpy(d->row, own, (size_t)d->n_own * sizeof(float));
    for (int32_t i = d->n_own; i < d->n_vocab; i++)
        d->row[i] = -1e30f;
    return d->row;
}

enum err draft_model_propose(void *draft, const struct draft_text *t, int n, struct draft *out)
{
    struct draft_model *d = draft;
    struct sampler_state state = sampler_state(t->sampler);
    enum err e;

    out->n = 0;
    out->strength = 1;
    if (d->unknown)
        return OK;
    e = catch_up(d, t);
    while (e == OK) {
        int64_t at = session_len(d->s);
        int32_t id;
        e = sampler_next(t->sampler, logits(d), session_tokens(d->s), at, at, &id);
        if (e != OK)
            break;
        out->id[out->n++] = id;
        if (out->n == n || at >= session_ctx(d->s) || id >= d->n_own)
            break;
        e = session_push(d->s, id);
    }
    sampler_restore(t->sampler, state);
    return e == OK ? OK : err_wrap(e, "the draft model");
}
