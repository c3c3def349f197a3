/* cmd_logits.c - `croft logits`: what a model computes for given ids, to compare engines.
 *
 * OUT.safetensors holds logits [n_ids, n_vocab] f32, with --mtp mtp_logits [n_ids - 1, n_vocab] f32
 * (row i is for token i + 2), with -n N greedy [N] i32, with --experts experts [n_ids, n_moe_layer,
 * n_expert_used] i32.  Rows are written as they are computed; memory does not grow with n_ids *
 * n_vocab.
 */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"
#include "cmd/logits_mtp.h"

#include "base/ck.h"
#include "base/term.h"
#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { IDS_BYTES_MAX = 64 << 20 };

struct job {
    struct st_writer out;
    struct tok_list ids;
    int32_t n_vocab, best;              /* best: the last row's argmax */
    int64_t n_row, n_expert_row;        /* n_expert_row: experts of one token, 0: not wanted */
    int32_t *expert;
    struct progress progress;
};

/* Decimal numbers, separated by white space or commas; every one a token of the vocabulary. */
static enum err parse_ids(struct tok_list *out, const char *path, const char *text, size_t len,
                          int32_t n_vocab)
{
    int64_t line = 1;

    for (size_t i = 0; i < len;) {
        int64_t v = 0;
        size_t start = i;
        if (strchr(" \t\r\n,", text[i]) && text[i]) {
            line += text[i++] == '\n';
            continue;
        }
        while (i < len && text[i] >= '0' && text[i] <= '9' && v <= INT32_MAX)
            v = v * 10 + (text[i++] - '0');
        if (i == start || (i < len && !strchr(" \t\r\n,", text[i])) || (i < len && !text[i]))
            return err_set(ERR_FORMAT, "LOGITS-01", "%s, line %lld: '%.*s' is not a token id; "
                           "write decimal numbers with spaces or newlines between", path,
                           (long long)line, (int)strcspn(text + start, " \t\r\n,") % 40,
                           text + start);
        if (v >= n_vocab)
            return err_set(ERR_ARG, "LOGITS-02", "%s, line %lld: id %lld is outside the "
                           "vocabulary of %d tokens", path, (long long)line, (long long)v, n_vocab);
        enum err e = tok_list_add(out, (int32_t)v);
        if (e != OK)
            return e;
    }
    if (!out->n)
        return err_set(ERR_FORMAT, "LOGITS-03", "%s holds no token ids", path);
    return OK;
}

static enum err read_ids(struct job *j, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    enum err e = file_read_text(&text, &len, path, IDS_BYTES_MAX);

    if (e == OK)
        e = parse_ids(&j->ids, path, text, len, j->n_vocab);
    free(text);
    return e;
}

/* The lowest id of the largest logit. */
static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;

    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static enum err on_row(void *arg, int64_t i, const float *logits, const int32_t *expert)
{
    struct job *j = arg;

    (void)i;                            /* counts from 0 in every call of session_eval */
    if (j->n_expert_row)
        memcpy(j->expert + j->n_row * j->n_expert_row, expert,
               (size_t)j->n_expert_row * sizeof(*expert));
    j->best = argmax(logits, j->n_vocab);
    progress_update(&j->progress, ++j->n_row);
    if (term_interrupted())
        return err_set(ERR_STOPPED, "LOGITS-04", "interrupted; nothing was written");
    return st_writer_append(&j->out, logits, (uint64_t)j->n_vocab * sizeof(float));
}

static enum err on_mtp_row(void *arg, int64_t i, const float *logits)
{
    struct job *j = arg;

    progress_update(&j->progress, i + 1);
    if (term_interrupted())
        return err_set(ERR_STOPPED, "LOGITS-11", "interrupted; nothing was written");
    return st_writer_append(&j->out, logits, (uint64_t)j->n_vocab * sizeof(float));
}

static enum err eval_mtp(struct job *j, const struct loaded *l, const struct opt_set *o)
{
    bool as_sampled = opt_flag(o, OPT_as_sampled);
    int32_t n_batch = as_sampled ? 1 : (int32_t)opt_int(o, OPT_batch_size);
    int64_t n = (int64_t)j->ids.n;

    progress_begin(&j->progress, "predicting ahead", "tok", n - 1);
    enum err e = logits_mtp(l, j->ids.id, n, as_sampled ? TOK_SAMPLED : TOK_PROMPT, n_batch,
                            on_mtp_row, j);
    progress_end(&j->progress);
    return e;
}

static enum err eval_ids(struct job *j, struct session *s, bool as_sampled)
{
    int64_t n = (int64_t)j->ids.n;
    enum err e = OK;

    progress_begin(&j->progress, "computing", "tok", n);
    if (!as_sampled)
        e = session_eval(s, j->ids.id, n, TOK_PROMPT, on_row, j);
    for (int64_t i = 0; as_sampled && i < n && e == OK; i++)
        e = session_eval(s, j->ids.id + i, 1, TOK_SAMPLED, on_row, j);
    progress_end(&j->progress);
    return e;
}

/* N argmax tokens; an end token is a token like any other here. */
static enum err continue_greedily(struct job *j, struct session *s, int64_t n)
{
    enum err e = OK;

    for (int64_t i = 0; i < n && e == OK; i++) {
        e = st_writer_append(&j->out, &j->best, sizeof(j->best));
        if (e == OK && term_interrupted())
            e = err_set(ERR_STOPPED, "LOGITS-05", "interrupted; nothing was written");
        if (e == OK && i + 1 < n)
            e = session_push(s, j->best);
        if (e == OK && i + 1 < n)
            j->best = argmax(session_logits(s), j->n_vocab);
    }
    return e;
}

static enum err want_experts(struct job *j, const struct model *m)
{
    const struct model_info *info = model_info(m);
    uint64_t n;

    if (!info->n_expert)
        return err_set(ERR_ARG, "LOGITS-06", "--experts: this %s model has no routed experts",
                       info->arch);
    j->n_expert_row = (int64_t)model_moe_layers(m) * info->n_expert_used;
    if (!ck_mul(&n, j->ids.n, (uint64_t)j->n_expert_row) || !ck_mul(&n, n, sizeof(int32_t)) ||
        !(j->expert = malloc((size_t)n)))
        return err_set(ERR_NOMEM, "LOGITS-07", "no memory for the experts of %zu tokens",
                       j->ids.n);
    return OK;
}

static enum err open_output(struct job *j, const struct model *m, const char *path, bool mtp,
                            int64_t n_greedy)
{
    int64_t n = (int64_t)j->ids.n;
    struct st_decl decl[4] = {
        { .name = "logits", .type = ST_F32, .n_dim = 2, .shape = { n, j->n_vocab } },
    };
    int n_decl = 1;

    if (mtp)
        decl[n_decl++] = (struct st_decl){ .name = "mtp_logits", .type = ST_F32, .n_dim = 2,
                                           .shape = { n - 1, j->n_vocab } };
    if (n_greedy)
        decl[n_decl++] = (struct st_decl){ .name = "greedy", .type = ST_I32, .n_dim = 1,
                                           .shape = { n_greedy } };
    if (j->n_expert_row)
        decl[n_decl++] = (struct st_decl){ .name = "experts", .type = ST_I32, .n_dim = 3,
                                           .shape = { n, model_moe_layers(m),
                                                      model_info(m)->n_expert_used } };
    return st_writer_open(&j->out, path, decl, n_decl);
}

static enum err logits(struct loaded *l, struct job *j, struct opt_set *o)
{
    int64_t n_greedy = opt_int(o, OPT_greedy);
    bool mtp = l->mtp;
    enum err e = mtp ? logits_mtp_check(l->model) : OK;

    j->n_vocab = model_info(l->model)->n_vocab;
    if (e == OK)
        e = read_ids(j, opt_text(o, OPT_ids));
    if (e == OK && opt_flag(o, OPT_experts))
        e = want_experts(j, l->model);
    if (e == OK)
        e = load_session(l, o, (int64_t)j->ids.n + (n_greedy ? n_greedy - 1 : 0),
                         (int32_t)opt_int(o, OPT_batch_size));
    if (e == OK)
        e = open_output(j, l->model, opt_text(o, OPT_output), mtp, n_greedy);
    if (e == OK)
        e = eval_ids(j, l->session, opt_flag(o, OPT_as_sampled));
    if (e == OK && mtp)
        e = eval_mtp(j, l, o);
    if (e == OK)
        e = continue_greedily(j, l->session, n_greedy);
    if (e == OK && j->n_expert_row)
        e = st_writer_append(&j->out, j->expert,
                             (uint64_t)(j->n_row * j->n_expert_row) * sizeof(*j->expert));
    if (e == OK)
        e = st_writer_commit(&j->out);
    st_writer_abort(&j->out);
    return e;
}

enum err cmd_logits(struct opt_set *o)
{
    struct loaded l = { 0 };
    struct job j = { 0 };
    enum err e;

    if (!opt_text(o, OPT_ids) || !opt_text(o, OPT_output))
        return err_set(ERR_ARG, "LOGITS-08", "%s is missing; try: croft logits %s --ids ids.txt "
                       "-o out.safetensors", opt_text(o, OPT_ids) ? "--output" : "--ids",
                       opt_operand(o, 0));
    term_catch_interrupt();
    l.mtp = strcmp(opt_text(o, OPT_mtp), "off") != 0;
    l.mtp_input = strcmp(opt_text(o, OPT_mtp), "before") ? MTP_AFTER_NORM : MTP_BEFORE_NORM;
    e = load_open(&l, o, false, (int32_t)opt_int(o, OPT_batch_size));
    if (e == OK)
        e = logits(&l, &j, o);
    load_close(&l);
    tok_list_release(&j.ids);
    free(j.expert);
    return e;
}
