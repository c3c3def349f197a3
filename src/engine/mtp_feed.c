/* mtp_feed.c - pairs for the MTP layer, waiting and given. */
#include "engine/mtp_feed.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_MORE = 65 };                /* rows beside a whole step's: pairs wait in small steps */

enum err mtp_feed_init(struct mtp_feed *f, struct model *m, int32_t n_batch, int32_t adapter)
{
    const struct model_info *info = model_info(m);
    size_t d = (size_t)info->n_embd;

    *f = (struct mtp_feed){ .m = m, .n_batch = n_batch, .adapter = adapter,
                            .cap = n_batch + ROOM_MORE };
    f->in = malloc((size_t)f->cap * d * sizeof(float));
    f->row = calloc((size_t)n_batch, sizeof(*f->row));
    f->logits = malloc((size_t)info->n_vocab * sizeof(float));
    f->next = malloc(2 * d * sizeof(float));
    if (f->in && f->row && f->logits && f->next)
        return OK;
    mtp_feed_release(f);
    return err_set(ERR_NOMEM, "MTP-20", "no memory for the hidden rows of %d tokens; use a smaller "
                   "--batch-size or --draft off", n_batch);
}

void mtp_feed_release(struct mtp_feed *f)
{
    free(f->in);
    free(f->row);
    free(f->logits);
    free(f->next);
    *f = (struct mtp_feed){ 0 };
}

static float *row_at(const struct mtp_feed *f, int64_t pos)
{
    return f->in + (pos - f->at) * model_info(f->m)->n_embd;
}

bool mtp_feed_has(const struct mtp_feed *f, int64_t pos)
{
    return pos >= f->at && pos < f->at + f->n;
}

void mtp_feed_cut(struct mtp_feed *f, int64_t n)
{
    if (f->at + f->n > n)
        f->n = n > f->at ? n - f->at : 0;
    if (f->n_pair >= n)
        f->n_pair = n > 0 ? n - 1 : 0;
}

void mtp_feed_hold(struct mtp_feed *f, int64_t n_pair)
{
    f->n_pair = n_pair;
}

/* The waiting pairs from n_pair + 1 on, at most n_batch - 1, and with `id` >= 0 one more behind the
 * text.  Where the first row is missing, what is between is left out: guesses are then poorer. */
static enum err give(struct mtp_feed *f, const struct mtp_text *t, int32_t id)
{
    struct batch b = { f->row, 0, t->kv, 1 };
    struct step_out out = { 0 };
    int64_t p = f->n_pair + 1;

    if (p <= f->at)
        p = f->at + 1;
    const float *hidden = row_at(f, p - 1);
    for (; p < t->n && b.n_row < f->n_batch - (id >= 0); p++)
        f->row[b.n_row++] = (struct batch_row){ .token = t->token[p], .pos = p,
                                                .kind = t->kind[p], .adapter = f->adapter };
    int64_t n_pair = p - 1;
    if (id >= 0) {
        out.logits = f->logits;
        out.draft_in = f->next;
        f->row[b.n_row++] = (struct batch_row){ .token = id, .pos = p, .kind = TOK_SAMPLED,
                                                .adapter = f->adapter, .want_logits = 1,
                                                .want_hidden = 1 };
    }
    enum err e = b.n_row ? model_draft(f->m, &b, hidden, &out) : OK;
    if (e == OK && n_pair > f->n_pair)
        f->n_pair = n_pair;
    return e;
}

enum err mtp_feed_flush(struct mtp_feed *f, const struct mtp_text *t)
{
    enum err e = OK;

    while (e == OK && f->n && f->n_pair < t->n - 1)
        e = give(f, t, -1);
    return e;
}

enum err mtp_feed_room(struct mtp_feed *f, const struct mtp_text *t, int64_t n, float **rows)
{
    size_t bytes = (size_t)model_info(f->m)->n_embd * sizeof(float);
    enum err e;

    if (f->n + n > f->cap) {
        if ((e = mtp_feed_flush(f, t)))
            return e;
        memcpy(f->in, row_at(f, f->at + f->n - 1), bytes);
        f->at += f->n - 1;
        f->n = 1;
    }
    *rows = row_at(f, f->at + f->n);
    return OK;
}

void mtp_feed_took(struct mtp_feed *f, int64_t at, int64_t n)
{
    if (!f->n)
        f->at = at;
    ASSERT(f->at + f->n == at);
    f->n += n;
}

enum err mtp_feed_guess(struct mtp_feed *f, const struct mtp_text *t, int32_t id, int64_t ahead)
{
    struct batch_row row = { .token = id, .pos = t->n + ahead, .kind = TOK_SAMPLED,
                             .adapter = f->adapter, .want_logits = 1, .want_hidden = 1 };
    struct batch b = { &row, 1, t->kv, 1 };
    int64_t d = model_info(f->m)->n_embd;
    struct step_out out = { .logits = f->logits, .draft_in = f->next + ahead % 2 * d };
    enum err e = OK;

    if (ahead)
        return model_draft(f->m, &b, f->next + (ahead - 1) % 2 * d, &out);
    ASSERT(mtp_feed_has(f, t->n - 1));
    if (t->n - 1 - f->n_pair >= f->n_batch)
        e = mtp_feed_flush(f, t);
    return e == OK ? give(f, t, id) : e;
}
