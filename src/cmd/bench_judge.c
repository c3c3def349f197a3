/* bench_judge.c - from runs to medians, ratios and shares of ceilings.
 *
 * The ceiling of a step is the sum over its operations of the longer of reading their bytes and
 * computing their operations.  No ceiling may lie below what a run reached: it is raised. */
#include "cmd/bench.h"

const struct bench_ceiling *bench_ceiling_of(const struct bench *b, const struct bench_row *r)
{
    for (int i = 0; i < b->thread.n; i++)
        if (b->ceiling[i].n_round && b->ceiling[i].n_thread == r->n_thread)
            return &b->ceiling[i];
    return NULL;
}

/* A level without bf16 instructions computes it as f32. */
static double peak_of(const struct bench_ceiling *c, int type)
{
    return c->peak[type] > 0 ? c->peak[type] : c->peak[PEAK_f32];
}

double bench_ideal_s(const struct profile_record *r, const struct bench_ceiling *c)
{
    double sum = 0;

    for (int i = 0; i < PROFILE_PARTS; i++) {
        double read = (double)r->part[i].bytes / c->read, compute = 0;
        for (int t = 0; t < PEAK_COUNT; t++)
            compute += (double)r->part[i].ops[t] / peak_of(c, t);
        sum += read > compute ? read : compute;
    }
    return sum;
}

static struct profile_record sum_of(const struct profile *p)
{
    struct profile_record all = { 0 };

    for (int64_t i = 0; i < (int64_t)(p->n_layer + 1) * PROFILE_COUNT; i++)
        profile_sum(&all, &p->record[i]);
    return all;
}

/* The profile is of all runs alike; the fastest one took this long. */
static double fastest_s(const struct bench_row *r)
{
    return (double)bench_row_tok(r) / r->speed.max;
}

static void raise_to(struct bench_ceiling *c, const struct bench_row *r)
{
    struct profile_record all = sum_of(r->profile);
    struct profile_work work = profile_total(&all);
    double s = fastest_s(r) * r->n_run;

    if ((double)work.bytes / s > c->read) {
        c->read = (double)work.bytes / s;
        c->read_raised = true;
    }
    for (int t = 0; t < PEAK_COUNT; t++)
        if (c->peak[t] > 0 && (double)work.ops[t] / s > c->peak[t]) {
            c->peak[t] = (double)work.ops[t] / s;
            c->peak_raised[t] = true;
        }
}

static void find_ceiling(struct bench_row *r, const struct bench_ceiling *c)
{
    double ideal = 0;

    for (int64_t i = 0; i < (int64_t)(r->profile->n_layer + 1) * PROFILE_COUNT; i++)
        ideal += bench_ideal_s(&r->profile->record[i], c);
    if (ideal <= 0)
        return;
    r->ceiling = (double)(bench_row_tok(r) * r->n_run) / ideal;
    r->ceiling_raised = r->speed.max > r->ceiling;
    if (r->ceiling_raised)
        r->ceiling = r->speed.max;
}

static enum err judge_peer(struct bench_row *r)
{
    struct bench_peer_row *p = &r->peer;
    double ratio[1000];
    enum err e = OK;

    ASSERT(r->n_run <= (int)(sizeof(ratio) / sizeof(*ratio)));
    for (int fa = 0; fa < 2 && e == OK; fa++)
        if (p->rate[fa])
            e = bench_interval(&p->speed[fa], p->rate[fa], r->n_run);
    p->best = p->speed[1].median > p->speed[0].median;
    if (e != OK || !p->rate[p->best])
        return e;
    for (int i = 0; i < r->n_run; i++)
        ratio[i] = r->rate[i] / p->rate[p->best][i];
    return bench_interval(&p->ratio, ratio, r->n_run);
}

/* What a step of many rows costs beside the step of one row, where that was measured too. */
static void find_step_cost(const struct bench *b, struct bench_row *r)
{
    double n = (double)r->n_seq * r->n_each;

    for (int i = 0; i < b->n_row; i++) {
        const struct bench_row *one = &b->row[i];
        if (r->decode && n > 1 && one->decode && one->n_seq * one->n_each == 1 &&
            one->n == r->n && one->depth == r->depth && one->n_thread == r->n_thread)
            r->step_cost = n * one->speed.median / r->speed.median;
    }
}

static void say_raised(const struct bench_ceiling *c)
{
    if (c->read_raised)
        term_note("a run read faster than the ceiling measured for %d thread%s: it is raised to "
                  "%.1f GB/s", c->n_thread, c->n_thread == 1 ? "" : "s", c->read * 1e-9);
    for (int t = 0; t < PEAK_COUNT; t++)
        if (c->peak_raised[t])
            term_note("a run computed faster than the %s peak measured for %d thread%s: it is "
                      "raised to %.0f Gop/s", peak_name[t], c->n_thread,
                      c->n_thread == 1 ? "" : "s", c->peak[t] * 1e-9);
}

enum err bench_judge(struct bench *b)
{
    enum err e = OK;

    for (int i = 0; i < b->n_row && e == OK; i++) {
        e = bench_interval(&b->row[i].speed, b->row[i].rate, b->row[i].n_run);
        if (e == OK)
            e = judge_peer(&b->row[i]);
    }
    for (int i = 0; i < b->thread.n && e == OK; i++)
        for (int k = 0; k < b->n_row; k++)
            if (b->row[k].profile && bench_ceiling_of(b, &b->row[k]) == &b->ceiling[i])
                raise_to(&b->ceiling[i], &b->row[k]);
    for (int i = 0; i < b->thread.n; i++)
        say_raised(&b->ceiling[i]);
    for (int k = 0; k < b->n_row && e == OK; k++) {
        const struct bench_ceiling *c = bench_ceiling_of(b, &b->row[k]);
        char name[BENCH_NAME];
        find_step_cost(b, &b->row[k]);
        if (c && b->row[k].profile)
            find_ceiling(&b->row[k], c);
        bench_row_name(name, b, &b->row[k]);
        if (b->row[k].ceiling_raised)
            term_note("%s was faster than the sum of its operations at the ceilings: its ceiling "
                      "is the fastest run", name);
    }
    return e;
}
