/* cmd_bench.c - `croft bench`: prefill and decode speed at given lengths, depths, batch sizes and
 * threads; alone, against the machine's ceilings, or in turns with a peer.  `croft bench serve` is
 * bench_serve.c. */
#include "cmd/bench.h"
#include "cmd/bench_serve.h"
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"

#include <stdlib.h>
#include <string.h>

enum { PEER_RUNS = 5 };

static void read_options(struct bench *b, const struct opt_set *o)
{
    b->peer = opt_text(o, OPT_peer);
    b->n_warm_up = (int)opt_int(o, OPT_warm_ups);
    b->n_run = (int)opt_int(o, OPT_repetitions);
    if (b->peer && !opt_given(o, OPT_repetitions))
        b->n_run = PEER_RUNS;
    b->batched = opt_given(o, OPT_parallel_list);
    b->shared = opt_flag(o, OPT_shared_prompt);
    b->all_logits = opt_flag(o, OPT_all_logits);
    b->profile = opt_flag(o, OPT_profile);
    b->ceilings = opt_flag(o, OPT_ceilings) || (b->profile && !opt_given(o, OPT_ceilings));
}

static enum err report(const struct bench *b, bool json)
{
    struct buf text = { 0 };
    enum err e;

    if (json) {
        e = bench_json_write(&text, b);
        if (e == OK)
            e = out_write(text.data, text.len);
    } else {
        e = bench_text(b);
    }
    buf_release(&text);
    return e == OK ? out_flush() : e;
}

static void release(struct bench *b)
{
    for (int i = 0; i < b->n_row; i++) {
        free(b->row[i].rate);
        free(b->row[i].peer.rate[0]);
        free(b->row[i].peer.rate[1]);
        profile_free(b->row[i].profile);
    }
    free(b->row);
    free(b->id);
    free(b->peer_version);
    json_decref(b->about);
    json_decref(b->earlier);
}

/* Of a row of the table: whether a load on a server asks for it, a model's speed, or both. */
static bool is_of(int opt, bool load)
{
    bool both = opt > OPT_HEADING_output, in_load = opt > OPT_HEADING_load && opt < OPT_HEADING_key;

    return both || in_load == load;
}

static enum err check_form(const struct opt_set *o, bool load)
{
    for (int i = 0; i < OPT_COUNT_ALL; i++)
        if (cmd_table.opt[i].cmds >> CMD_bench & 1 && !is_of(i, load) && opt_on_line(o, i))
            return err_set(ERR_ARG, "BENCH-60", "--%s is of croft bench %s, not of croft bench %s",
                           cmd_table.opt[i].name, load ? "MODEL" : "serve URL",
                           load ? "serve URL" : "MODEL");
    if (!load && opt_operands(o) > 1)
        return err_set(ERR_ARG, "BENCH-61", "croft bench takes one MODEL, or serve and a URL; "
                       "'%.64s' is one too many", opt_operand(o, 1));
    return OK;
}

enum err cmd_bench(struct opt_set *o)
{
    struct bench b = { .n_row = 0 };
    bool load = opt_operands(o) == 2 && !strcmp(opt_operand(o, 0), "serve");
    enum err e = check_form(o, load);

    if (e)
        return e;
    if (load)
        return bench_serve(o);
    read_options(&b, o);
    e = bench_plan(&b, o);
    if (e == OK && opt_text(o, OPT_compare))
        e = bench_compare_read(&b, opt_text(o, OPT_compare));
    term_catch_interrupt();
    if (e == OK)
        e = b.peer ? bench_peer(&b, o) : bench_run(&b, o);
    if (e == OK)
        e = bench_judge(&b);
    if (e == OK && b.earlier)
        bench_compare(&b);
    if (e == OK)
        e = report(&b, opt_flag(o, OPT_json));
    release(&b);
    return e;
}
