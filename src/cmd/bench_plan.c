/* bench_plan.c - the rows of a bench: every combination of what the options list. */
#include "cmd/bench.h"

#include "cmd/cmd_table.h"

#include <stdlib.h>

enum { BATCH_MAX = 4096, LENGTH_MAX = 10000000, THREADS_MAX = 1024 };

struct lists { struct bench_list prompt, gen, depth, batch; };

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
        e = bench_list_parse(&b->thread, "threads", opt_text(o, OPT_thread_list), 0, THREADS_MAX);
    return e;
}

static enum err add_row(struct bench *b, bool decode, int64_t n, int64_t depth, int32_t batch,
                        int64_t n_thread)
{
    struct bench_row *r = &b->row[b->n_row];

    *r = (struct bench_row){ .decode = decode, .n = n, .depth = depth, .batch = batch,
                             .n_thread = (int)n_thread, .n_run = b->n_run };
    r->rate = calloc((size_t)b->n_run, sizeof(*r->rate));
    if (!r->rate)
        return err_set(ERR_NOMEM, "BENCH-12", "no memory for %d runs", b->n_run);
    b->n_row++;
    if (depth + n + 1 > b->n_id)        /* decoding at depth 0 stands on one token */
        b->n_id = depth + n + 1;
    return OK;
}

/* Prefill rows for each depth, length and batch size, then decode rows; a length of 0 is left
 * out ("-p 0" measures decode alone). */
static enum err add_rows(struct bench *b, const struct lists *ls, int64_t n_thread)
{
    enum err e = OK;

    for (int i = 0; i < ls->batch.n; i++)       /* by batch size: each has its session */
        for (int d = 0; d < ls->depth.n; d++)
            for (int p = 0; p < ls->prompt.n && e == OK; p++)
                if (ls->prompt.v[p])
                    e = add_row(b, false, ls->prompt.v[p], ls->depth.v[d],
                                (int32_t)ls->batch.v[i], n_thread);
    for (int d = 0; d < ls->depth.n; d++)
        for (int g = 0; g < ls->gen.n && e == OK; g++)
            if (ls->gen.v[g])
                e = add_row(b, true, ls->gen.v[g], ls->depth.v[d], 0, n_thread);
    return e;
}

enum err bench_plan(struct bench *b, const struct opt_set *o)
{
    struct lists ls;
    enum err e = read_lists(&ls, b, o);
    int cap;

    if (e != OK)
        return e;
    cap = b->thread.n * ls.depth.n * (ls.prompt.n * ls.batch.n + ls.gen.n);
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
