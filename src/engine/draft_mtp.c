/* draft_mtp.c - the drafter that is the model's own layer for multi-token prediction.
 *
 * The session keeps the layer's KV and hidden rows (mtp_feed.h); here guesses are drawn, each fed
 * back for the next. */
#include "engine/draft_form.h"

enum err draft_mtp_new(void **out, const struct draft_options *o)
{
    const struct model_info *info = model_info(session_parts(o->session).model);

    *out = info->mtp ? o->session : NULL;
    if (info->mtp)
        return OK;
    return err_set(ERR_ARG, "DRAFT-04", "--draft mtp: this %s model has no layer for multi-token "
                   "prediction%s; leave --draft out", info->arch, info->n_layer_mtp ?
                   "; its files name one and do not hold it" : "");
}

void draft_mtp_free(void *d)
{
    (void)d;                            /* the caller's session */
}

enum err draft_mtp_read(void *d, const struct draft_text *t, session_progress_fn *progress,
                        void *arg)
{
    (void)d;
    (void)t;
    (void)progress;
    (void)arg;
    return OK;
}

void draft_mtp_add(void *d, const struct draft_text *t)
{
    (void)d;
    (void)t;
}

enum err draft_mtp_propose(void *d, const struct draft_text *t, int n, struct draft *out)
{
    struct session *s = d;
    struct sampler_state state = sampler_state(t->sampler);
    int32_t id = t->id[t->n - 1];
    const float *logits;
    enum err e = OK;

    out->n = 0;
    out->strength = 1;
    ASSERT(session_len(s) == t->n - 1);
    if (!session_may_guess(s))
        return OK;
    while (e == OK && out->n < n) {
        int64_t at = t->n + out->n;
        e = session_guess(s, id, out->n, &logits);
        if (e == OK)
            e = sampler_next(t->sampler, logits, t->id, at, at, &id);
        if (e == OK)
            t->id[at] = out->id[out->n++] = id;
    }
    sampler_restore(t->sampler, state);
    return e;
}
