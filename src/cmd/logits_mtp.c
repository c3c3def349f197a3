/* logits_mtp.c - the logits of the MTP layer for tokens that a session holds.
 *
 * Each step of the main model gives the hidden rows that the layer's step after it takes; the last
 * of them waits for the first token of the next step. */
#include "cmd/logits_mtp.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64 };                 /* whose logits are held at once */

struct walk {
    const struct loaded *l;
    const int32_t *id;
    enum tok_kind kind;
    struct batch_row row[ROWS_MAX];
    float *hidden;                      /* [1 + ROWS_MAX, n_embd]; the first: of the step before */
    float *logits;                      /* [ROWS_MAX, n_vocab] */
};

enum err logits_mtp_check(const struct model *m)
{
    const struct model_info *info = model_info(m);

    if (info->mtp)
        return OK;
    return err_set(ERR_ARG, "LOGITS-09", "--mtp: this %s model has no layer for multi-token "
                   "prediction%s", info->arch, info->n_layer_mtp ? "; its files name one and do "
                   "not hold it, whoever converted them left it out" : "");
}

/* The tokens `from` .. `from + n - 1` through the main model, then those with a token before them
 * through the MTP layer: how many. */
static enum err step(struct walk *w, int64_t from, int64_t n, int64_t *n_pair)
{
    struct model *m = w->l->model;
    struct batch b = { w->row, (int32_t)n, session_parts(w->l->session).kv, 1 };
    int64_t d = model_info(m)->n_embd, skip = from == 0;
    struct step_out main_out = { .draft_in = w->hidden + d }, mtp_out = { .logits = w->logits };
    enum err e;

    for (int64_t i = 0; i < n; i++)
        w->row[i] = (struct batch_row){ .token = w->id[from + i], .pos = from + i,
                                        .kind = (uint8_t)w->kind, .adapter = w->l->mix,
                                        .want_logits = 1, .want_hidden = 1 };
    if ((e = model_step(m, &b, &main_out)))
        return e;
    b.row += skip;
    b.n_row -= (int32_t)skip;
    *n_pair = b.n_row;
    if (b.n_row && (e = model_draft(m, &b, w->hidden + skip * d, &mtp_out)))
        return e;
    memcpy(w->hidden, w->hidden + n * d, (size_t)d * sizeof(float));
    return OK;
}

enum err logits_mtp(const struct loaded *l, const int32_t *id, int64_t n, enum tok_kind kind,
                    int32_t n_batch, logits_mtp_fn *row, void *arg)
{
    const struct model_info *info = model_info(l->model);
    int64_t most = n_batch < ROWS_MAX ? n_batch : ROWS_MAX, n_pair = 0, at = 0;
    struct walk w = { .l = l, .id = id, .kind = kind };
    enum err e = logits_mtp_check(l->model);

    if (e)
        return e;
    w.hidden = calloc((1 + ROWS_MAX) * (size_t)info->n_embd, sizeof(float));
    w.logits = calloc(ROWS_MAX * (size_t)info->n_vocab, sizeof(float));
    if (!w.hidden || !w.logits)
        e = err_set(ERR_NOMEM, "LOGITS-10", "no memory for the logits of %d tokens", ROWS_MAX);
    for (int64_t done = 0; done < n && e == OK; done += most) {
        e = step(&w, done, n - done < most ? n - done : most, &n_pair);
        for (int64_t i = 0; i < n_pair && e == OK; i++)
            e = row(arg, at++, w.logits + i * info->n_vocab);
    }
    free(w.hidden);
    free(w.logits);
    return e;
}
