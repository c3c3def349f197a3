/* load_draft.c - what guesses tokens, from --draft, --draft-model and --draft-max. */
#include "cmd/load.h"

#include "base/buf.h"
#include "base/term.h"
#include "cmd/cmd_table.h"

#include <stdlib.h>
#include <string.h>

/* A token's text for a message. */
static void show_token(struct buf *out, const struct tokenizer *t, int32_t id)
{
    char text[TOKEN_BYTES_MAX];
    size_t n = tokenizer_bytes(t, id, true, text, sizeof(text));

    term_shown(out, text, n < 40 ? n : 40);
}

static bool same_token(const struct tokenizer *a, const struct tokenizer *b, int32_t id)
{
    char x[TOKEN_BYTES_MAX], y[TOKEN_BYTES_MAX];
    size_t n = tokenizer_bytes(a, id, true, x, sizeof(x));

    return tokenizer_bytes(b, id, true, y, sizeof(y)) == n && !memcmp(x, y, n);
}

/* A file may fill its vocabulary up with tokens that are none. */
static int32_t last_used(const struct tokenizer *t)
{
    int32_t n = tokenizer_info(t)->n_vocab;

    while (n > 0 && tokenizer_type(t, n - 1) == TOKEN_UNUSED)
        n--;
    return n;
}

static enum err check_vocabulary(const struct loaded *l)
{
    const struct tokenizer *own = l->tok, *draft = l->draft->tok;
    int32_t n = last_used(own), m = last_used(draft);
    struct buf a = { 0 }, b = { 0 };
    enum err e = OK;

    if (n != m)
        return err_set(ERR_ARG, "DRAFT-10", "--draft-model %s has a vocabulary of %d tokens, and "
                       "that of %s has %d: it cannot guess for it; give a model of the same family",
                       l->draft->path, m, l->path, n);
    for (int32_t i = 0; i < n && e == OK; i++) {
        if (same_token(own, draft, i))
            continue;
        show_token(&a, own, i);
        show_token(&b, draft, i);
        e = err_set(ERR_ARG, "DRAFT-11", "--draft-model %s has another vocabulary than %s: token "
                    "%d is \"%s\" there and \"%s\" here; give a model of the same family",
                    l->draft->path, l->path, i, buf_text(&b), buf_text(&a));
    }
    buf_release(&a);
    buf_release(&b);
    return e;
}

static enum err open_draft_model(struct loaded *l, struct opt_set *o, const char *name)
{
    struct loaded *d = calloc(1, sizeof(*d));
    enum err e;

    if (!d)
        return err_set(ERR_NOMEM, "DRAFT-12", "no memory for the draft model");
    d->n_thread = l->n_thread;
    e = load_open_named(d, o, name, true, (int32_t)opt_int(o, OPT_batch_size));
    if (e != OK) {
        free(d);
        return err_wrap(e, "--draft-model");
    }
    l->draft = d;
    return check_vocabulary(l);
}

bool load_wants_mtp(const struct opt_set *o)
{
    const char *how = opt_text(o, OPT_draft);

    return !strcmp(how, "auto") || !strcmp(how, "mtp");
}

static enum err read_draft(struct loaded *l, struct opt_set *o, struct speculate_options *so)
{
    const char *how = opt_text(o, OPT_draft), *name = opt_text(o, OPT_draft_model);

    so->paced = !strcmp(how, "auto");
    so->n_max = (int)opt_int(o, OPT_draft_max);
    so->use[DRAFT_lookup] = so->paced || !strcmp(how, "lookup");
    so->use[DRAFT_mtp] = (so->paced && model_info(l->model)->mtp) || !strcmp(how, "mtp");
    so->use[DRAFT_model] = (so->paced && name) || !strcmp(how, "model");
    if (so->use[DRAFT_model] && name)
        return open_draft_model(l, o, name);
    if (name)
        term_note("--draft-model is not used: --draft is %s", how);
    return OK;
}

enum err load_draft(struct loaded *l, struct opt_set *o)
{
    struct speculate_options so = { .draft = { .session = l->session,
                                               .n_ctx = session_ctx(l->session),
                                               .n_batch = (int32_t)opt_int(o, OPT_batch_size) } };
    enum err e = read_draft(l, o, &so);

    if (e != OK)
        return e;
    so.draft.model = l->draft ? l->draft->model : NULL;
    return speculate_new(&l->spec, &so);
}

void load_close_draft(struct loaded *l)
{
    speculate_free(l->spec);
    if (l->draft)
        load_close(l->draft);
    free(l->draft);
}
