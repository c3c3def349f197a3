/* cmd_bench.c - `croft bench`: prefill and decode speed at given lengths, depths, batch sizes and
 * threads; alone, against the machine's ceilings, or in turns with a peer. */
#include "cmd/bench.h"
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"

#include <stdlib.h>

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

enum err cmd_bench(struct opt_set *o)
{
    struct bench b = { .n_row = 0 };
    enum err e;

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
