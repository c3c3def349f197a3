/* embed.c - /v1/embeddings: texts to vectors of length 1, pooled from the hidden rows of their
 * tokens after the final norm. */
#include "serve/form.h"

#include <math.h>
#include <stdlib.h>

/* A number of a reply takes 14 bytes at the most, and its comma. */
enum { NUMBER_BYTES = 16 };

enum err embed_check(struct job *j)
{
    const struct wire_request *r = &j->r;
    int64_t n_embd = j->s->m->n_embd, most = WIRE_REPLY_BYTES_MAX / NUMBER_BYTES / n_embd;

    if (r->dimensions != WIRE_ABSENT && r->dimensions > n_embd)
        wire_error_set(&j->why, WIRE_E_INT_HIGH, "dimensions", "Invalid 'dimensions': this model's "
                       "vectors have %d.", (int)n_embd);
    else if ((int64_t)r->n_prompt > most)
        wire_error_set(&j->why, WIRE_E_LIST_LONG, "input", "Invalid 'input': a reply holds %d "
                       "vectors of this model at most, and there are %zu inputs.", (int)most,
                       r->n_prompt);
    else
        return OK;
    return err_set(ERR_ARG, "SERVE-31", "refused");
}

enum err embed_seqs(struct job *j)
{
    j->n_seq = j->n_asked;
    if (!(j->seq = calloc(j->n_seq, sizeof(*j->seq))))
        return err_set(ERR_NOMEM, "SERVE-32", "no memory for %zu texts", j->n_seq);
    for (size_t i = 0; i < j->n_seq; i++) {
        struct seq *q = &j->seq[i];
        *q = (struct seq){ .job = j, .choice = i, .asked = &j->asked[i] };
        q->item.n_tok = (int64_t)q->asked->ids.n;
        if (!(q->sum = calloc((size_t)j->s->m->n_embd, sizeof(*q->sum))))
            return err_set(ERR_NOMEM, "SERVE-33", "no memory for %zu vectors", j->n_seq);
    }
    return OK;
}

/* The mean is a sum: its length is taken out in the end. */
void embed_add(struct seq *q, int64_t pos, const float *row)
{
    const struct serve_model *m = q->job->s->model;

    if (m->pool == SERVE_POOL_CLS && pos > 0)
        return;
    for (int32_t i = 0; i < m->n_embd; i++)
        q->sum[i] += (double)row[i];
}

/* The first n_dim numbers, made of length 1. */
static enum err write_vector(float *to, const double *from, int64_t n_dim)
{
    double square = 0, length;

    for (int64_t i = 0; i < n_dim; i++)
        square += from[i] * from[i];
    if (!isfinite(square))
        return err_set(ERR_FORMAT, "SERVE-34", "a text has a vector that is not finite; run croft "
                       "show --check on the model");
    length = square > 0 ? sqrt(square) : 1;
    for (int64_t i = 0; i < n_dim; i++)
        to[i] = (float)(from[i] / length);
    return OK;
}

enum err embed_write(struct job *j)
{
    int64_t n_dim = j->r.dimensions != WIRE_ABSENT ? j->r.dimensions : j->s->model->n_embd;
    float *vector = calloc(j->n_seq * (size_t)n_dim, sizeof(*vector));
    enum err e = vector ? OK : err_set(ERR_NOMEM, "SERVE-35", "no memory for %zu vectors",
                                       j->n_seq);

    for (size_t i = 0; i < j->n_seq && e == OK; i++)
        e = write_vector(vector + i * (size_t)n_dim, j->seq[i].sum, n_dim);
    if (e == OK) {
        wire_embeddings_write(&j->made, ask_name(j), vector, j->n_seq, (size_t)n_dim,
                              j->n_prompt_tok, j->r.base64);
        e = buf_ok(&j->made);
    }
    free(vector);
    return e;
}
