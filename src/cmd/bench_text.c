/* bench_text.c - results of `croft bench` for people. */
#include "cmd/bench.h"

#include "cmd/load.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s ? s : "";
}

static enum err print_head(const struct bench *b)
{
    const json_t *model = json_object_get(b->about, "model");
    const char *name = text_of(model, "name");
    struct buf shown = { 0 };
    char size[16];
    enum err e;

    if (!*name)
        name = text_of(model, "path");
    term_shown(&shown, name, strlen(name));
    e = out_printf("%s, %s, %.1f M parameters, %s; %s, KV cache %s%s\n", buf_text(&shown),
                   text_of(model, "arch"),
                   (double)json_integer_value(json_object_get(model, "parameters")) / 1e6,
                   bytes_text(size, sizeof(size), (uint64_t)json_integer_value(
                       json_object_get(model, "weight_bytes"))), text_of(b->about, "isa"),
                   text_of(b->about, "kv_type"), b->all_logits ? ", all logits" : "");
    buf_release(&shown);
    if (e == OK && b->peer_version)
        e = out_printf("peer: %s\n", b->peer_version);
    return e;
}

void bench_row_name(char out[BENCH_NAME], const struct bench *b, const struct bench_row *r)
{
    char batch[24] = "", seqs[48] = "", each[24] = "", threads[24] = "";

    if (r->batch)
        snprintf(batch, sizeof(batch), ", batch %d", r->batch);
    if (r->n_seq > 1)
        snprintf(seqs, sizeof(seqs), ", %d sequences%s", r->n_seq,
                 b->shared ? " of one prompt" : "");
    if (r->n_each > 1)
        snprintf(each, sizeof(each), ", %d rows each", r->n_each);
    if (b->thread.n > 1)
        snprintf(threads, sizeof(threads), ", %d thread%s", r->n_thread,
                 r->n_thread == 1 ? "" : "s");
    snprintf(out, BENCH_NAME, "%s %lld at depth %lld%s%s%s%s", r->decode ? "decode" : "prefill",
             (long long)r->n, (long long)r->depth, batch, seqs, each, threads);
}

static enum err print_row(const struct bench *b, const struct bench_row *r)
{
    const struct bench_peer_row *p = &r->peer;
    char test[BENCH_NAME];
    enum err e;

    bench_row_name(test, b, r);
    e = out_printf("%-44s %10.2f   (%.2f - %.2f)", test, r->speed.median, r->speed.min,
                   r->speed.max);
    if (e == OK && r->ratio > 0)
        e = out_printf("  %.2fx", r->ratio);
    if (e == OK && r->n_seq * r->n_each > 1)
        e = out_printf("  %.3f ms a step", 1e3 * r->n_seq * r->n_each / r->speed.median);
    if (e == OK && r->step_cost > 0)
        e = out_printf(", %.2f of one row's", r->step_cost);
    if (e == OK && r->ceiling > 0)
        e = out_printf("  %.0f %% of %.2f%s", 100 * r->speed.median / r->ceiling, r->ceiling,
                       r->ceiling_raised ? " (raised)" : "");
    if (e == OK && b->peer)
        e = out_printf("  peer %.2f (%.2f - %.2f, flash attention %s), ratio %.2f (%.2f - %.2f)",
                       p->speed[p->best].median, p->speed[p->best].min, p->speed[p->best].max,
                       p->best ? "on" : "off", p->ratio.median, p->ratio.low, p->ratio.high);
    return e == OK ? out_printf("\n") : e;
}

static enum err print_ceiling(const struct bench_ceiling *c)
{
    enum err e = out_printf("ceilings, %d thread%s: read %.1f GB/s%s (plain %.1f, prefetched %.1f; "
                            "%.2f GiB)", c->n_thread, c->n_thread == 1 ? "" : "s", c->read * 1e-9,
                            c->read_raised ? " (raised)" : "", c->read_plain * 1e-9,
                            c->read_ahead * 1e-9, (double)c->bytes / (double)(1 << 30));

    for (int t = 0; t < PEAK_COUNT && e == OK; t++)
        if (c->peak[t] > 0)
            e = out_printf(", %s %.0f Gop/s%s", peak_name[t], c->peak[t] * 1e-9,
                           c->peak_raised[t] ? " (raised)" : "");
    return e == OK ? out_printf("; medians of %d\n", c->n_round) : e;
}

/* One line of a profile: what `r` took of a step, of which there were n. */
static enum err print_record(const char *name, const struct profile_record *r, double ideal_s,
                             double n, double whole_ns)
{
    struct profile_work w = profile_total(r);
    double s = (double)r->ns * 1e-9, ops = 0;

    for (int t = 0; t < PEAK_COUNT; t++)
        ops += (double)w.ops[t];
    return out_printf("  %-20s %10.3f %5.1f %%  %10.3f %8.1f  %10.3f %8.1f  %9.3f %5.0f %%\n", name,
                      s / n * 1e3, 100 * (double)r->ns / whole_ns, (double)w.bytes / n * 1e-6,
                      s > 0 ? (double)w.bytes / s * 1e-9 : 0, ops / n * 1e-9,
                      s > 0 ? ops / s * 1e-9 : 0, ideal_s / n * 1e3, s > 0 ? 100 * ideal_s / s : 0);
}

/* Sum over layers of one operation (layer -2), or over operations of one layer. */
static void add_up(const struct profile *p, const struct bench_ceiling *c, int32_t layer, int op,
                   struct profile_record *sum, double *ideal_s)
{
    *sum = (struct profile_record){ 0 };
    *ideal_s = 0;
    for (int32_t l = -1; l < p->n_layer; l++)
        for (int k = 0; k < PROFILE_COUNT; k++)
            if ((layer == -2 || layer == l) && (op < 0 || op == k)) {
                const struct profile_record *r = profile_get(p, l, (enum profile_op)k);
                profile_sum(sum, r);
                *ideal_s += bench_ideal_s(r, c);
            }
}

static enum err print_profile(const struct bench *b, const struct bench_row *r)
{
    const struct profile *p = r->profile;
    const struct bench_ceiling *c = bench_ceiling_of(b, r);
    struct profile_record all, one;
    double ideal, n = (double)p->n_step, whole;
    char name[BENCH_NAME];
    enum err e;

    bench_row_name(name, b, r);
    add_up(p, c, -2, -1, &all, &ideal);
    whole = (double)all.ns;
    e = out_printf("\n%s: one %s of %lld\n  %-20s %10s %7s  %10s %8s  %10s %8s  %9s %7s\n", name,
                   r->decode ? "step" : "chunk", (long long)p->n_step, "operation", "ms", "time",
                   "MB", "GB/s", "Gop", "Gop/s", "ceiling", "share");
    for (int k = 0; k < PROFILE_COUNT && e == OK; k++) {
        add_up(p, c, -2, k, &one, &ideal);
        if (one.ns)
            e = print_record(profile_op_info[k].name, &one, ideal, n, whole);
    }
    for (int32_t l = -1; l < p->n_layer && e == OK; l++) {
        add_up(p, c, l, -1, &one, &ideal);
        snprintf(name, sizeof(name), l < 0 ? "outside of layers" : "layer %d", l);
        e = print_record(name, &one, ideal, n, whole);
    }
    add_up(p, c, -2, -1, &all, &ideal);
    return e == OK ? print_record("all", &all, ideal, n, whole) : e;
}

enum err bench_text(const struct bench *b)
{
    enum err e = print_head(b);

    for (int i = 0; i < b->thread.n && e == OK; i++)
        if (b->ceiling[i].n_round)
            e = print_ceiling(&b->ceiling[i]);
    if (e == OK)
        e = out_printf("%-44s %10s   (%s)%s\n", "test", "tok/s", "min - max",
                       b->ceilings && b->profile ? "  of its ceiling" : "");
    for (int i = 0; i < b->n_row && e == OK; i++)
        e = print_row(b, &b->row[i]);
    for (int i = 0; i < b->n_row && e == OK; i++)
        if (b->row[i].profile && bench_ceiling_of(b, &b->row[i]))
            e = print_profile(b, &b->row[i]);
    return e;
}
