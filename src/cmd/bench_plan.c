/* bench_plan.c - the rows of a bench: every combination of what the options list. */
#include "cmd/bench.h"

#include "cmd/cmd_table.h"

#include <stdlib.h>

enum {
    BATCH_MAX = 4096, LENGTH_MAX = 10000000, THREADS_MAX = 1024,
    SEQS_MAX = 1024, EACH_MAX = 64,
};

struct lists { struct bench_list prompt, gen, depth, batch, seq, each; };

static enum err read_lists(struct lists *ls, struct bench *b, const struct opt_set *o)
{
    enum err e = bench_list_parse(&ls->prompt, "n-prompt", opt_text(o, OPT_n_prompt), 0,
                                  LENGTH_MAX);

    if (e == OK)
        e = bench_list_parse(&ls->gen, "n-gen", opt_text(o, OPT_n_gen), 0, LENGTH_MAX);
    if (e == OK)
        e = bench_list_parse(&ls->depth, "n-depth", opt_text(o, OPT_depth), 0, LENGTH_MAX);
    if (e == OK)
        e = bench_list_parse(&ls->batch, "batch-size", opt_text(o, OPT_batch_list), 1, BATCH_MAX);
    if (e == OK)
        e = bench_list_parse(&ls->seq, "parallel", opt_text(o, OPT_parallel_list), 1, SEQS_MAX);
    if (e == OK)
        e = bench_list_parse(&ls->each, "rows", opt_text(o, OPT_row_list), 1, EACH_MAX);
    if (e == OK)
        e = bench_list_parse(&b->thread, "threads", opt_text(o, OPT_thread_list), 0, THREADS_MAX);
    return e;
}

/* Tokens that each sequence holds at the end of a row; decoding at depth 0 stands on one token. */
static int64_t row_len(const struct bench_row *r)
{
    return r->depth + (r->decode ? r->n * r->n_each : r->n) + 1;
}

static enum err add_row(struct bench *b, const struct bench_row *what)
{
    struct bench_row *r = &b->row[b->n_row];

    if (what->n_seq * what->n_each > BATCH_MAX)
        return err_set(ERR_LIMIT, "BENCH-27", "%d sequences of %d rows are %d rows in a step; the "
                       "limit is %d: use a smaller --parallel or --rows", what->n_seq,
                       what->n_each, what->n_seq * what->n_each, BATCH_MAX);
    *r = *what;
    r->n_run = b->n_run;
    r->rate = calloc((size_t)b->n_run, sizeof(*r->rate));
    if (!r->rate)
        return err_set(ERR_NOMEM, "BENCH-12", "no memory for %d runs", b->n_run);
    b->n_row++;
    if (row_len(r) > b->n_id)
        b->n_id = row_len(r);
    if (r->n_seq > b->n_seq_max)
        b->n_seq_max = r->n_seq;
    if (r->n_seq * r->n_each > b->step_max)
        b->step_max = r->n_seq * r->n_each;
    return OK;
}

/* Decode rows of one length: by sequences and rows of each. */
static enum err add_decode(struct bench *b, const struct lists *ls, struct bench_row r)
{
    enum err e = OK;

    r.decode = true;
    for (int s = 0; s < ls->seq.n; s++)
        for (int k = 0; k < ls->each.n && e == OK; k++) {
            r.n_seq = (int32_t)ls->seq.v[s];
            r.n_each = (int32_t)ls->each.v[k];
            e = add_row(b, &r);
        }
    return e;
}

/* Prefill rows for each depth, length and batch size, then decode rows; a length of 0 is left
 * out ("-p 0" measures decode alone). */
static enum err add_rows(struct bench *b, const struct lists *ls, int64_t n_thread)
{
    struct bench_row r = { .n_thread = (int)n_thread };
    enum err e = OK;

    for (int i = 0; i < ls->batch.n; i++)       /* by batch size: each has its session */
        for (int d = 0; d < ls->depth.n; d++)
            for (int p = 0; p < ls->prompt.n && e == OK; p++) {
                r.n = ls->prompt.v[p];
                r.depth = ls->depth.v[d];
                r.batch = (int32_t)ls->batch.v[i];
                if (r.n)
                    e = add_row(b, &r);
            }
    r.batch = 0;
    for (int d = 0; d < ls->depth.n; d++)
        for (int g = 0; g < ls->gen.n && e == OK; g++) {
            r.n = ls->gen.v[g];
            r.depth = ls->depth.v[d];
            if (r.n)
                e = add_decode(b, ls, r);
        }
    return e;
}

enum err bench_plan(struct bench *b, const struct opt_set *o)
{
    struct lists ls;
    enum err e = read_lists(&ls, b, o);
    int cap;

    if (e != OK)
        return e;
    cap = b->thread.n * ls.depth.n * (ls.prompt.n * ls.batch.n + ls.gen.n * ls.seq.n * ls.each.n);
    b->n_seq_max = 1;
    b->row = calloc((size_t)cap, sizeof(*b->row));
    if (!b->row)
        return err_set(ERR_NOMEM, "BENCH-13", "no memory for %d measurements", cap);
    for (int t = 0; t < b->thread.n && e == OK; t++)
        e = add_rows(b, &ls, b->thread.v[t]);
    for (int i = 0; i < ls.batch.n; i++)
        b->batch_max = ls.batch.v[i] > b->batch_max ? (int32_t)ls.batch.v[i] : b->batch_max;
    b->batch_first = (int32_t)ls.batch.v[0];
    if (e == OK && !b->n_row)
        e = err_set(ERR_ARG, "BENCH-14", "nothing to measure: --n-prompt and --n-gen are both 0");
    return e;
}
