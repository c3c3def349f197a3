/* draft_lookup.c - the drafter that looks the text's end up in the text itself. */
#include "engine/draft_form.h"
#include "engine/lookup.h"

enum err draft_lookup_new(void **out, const struct draft_options *o)
{
    struct lookup *x;
    enum err e = lookup_new(&x, o->n_ctx);

    *out = x;
    return e;
}

void draft_lookup_free(void *d)
{
    lookup_free(d);
}

enum err draft_lookup_read(void *d, const struct draft_text *t,
                                  session_progress_fn *progress, void *arg)
{
    (void)progress;
    (void)arg;
    lookup_reset(d);
    for (int64_t i = 0; i < t->n; i++)
        lookup_add(d, t->id[i]);
    return OK;
}

void draft_lookup_add(void *d, const struct draft_text *t)
{
    lookup_add(d, t->id[t->n - 1]);
}

enum err draft_lookup_propose(void *d, const struct draft_text *t, int n, struct draft *out)
{
    (void)t;
    out->n = lookup_find(d, out->id, n, &out->strength);
    return OK;
}
