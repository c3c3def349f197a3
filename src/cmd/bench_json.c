/* bench_json.c - results of `croft bench` as JSON, and one row of another process read back. */
#include "cmd/bench.h"
#include "cmd/cmd_table.h"
#include "cmd/json_text.h"
#include "cmd/load.h"

#include <string.h>

static const char *const part_name[PROFILE_PARTS] = {
    [PROFILE_FIRST] = "first", [PROFILE_MAIN] = "main", [PROFILE_LAST] = "last",
};

json_t *bench_json_about(const struct loaded *l, const struct opt_set *o)
{
    const struct model_info *info = model_info(l->model);
    bool exact = opt_flag(o, OPT_exact);

    return json_pack("{s:s, s:s, s:{s:s, s:i, s:I}, s:s, s:i, s:s, s:b, s:{s:o, s:o, s:s, s:I, "
                     "s:I}}", "croft", CROFT_VERSION, "commit", CROFT_COMMIT, "machine", "cpu",
                     l->machine.cpu_name, "cores", l->machine.n_core_physical, "memory",
                     (json_int_t)l->machine.mem_total, "isa", isa_name(l->isa), "threads",
                     l->n_thread, "kv_type", exact ? "f32" : opt_text(o, OPT_kv_type), "exact",
                     exact, "model", "path", json_text(l->path, strlen(l->path)), "name",
                     json_text(info->name, strlen(info->name)), "arch", info->arch, "parameters",
                     (json_int_t)info->n_param, "weight_bytes", (json_int_t)info->weight_bytes);
}

static json_t *rates_json(const double *rate, int n)
{
    json_t *runs = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(runs, json_real(rate[i]));
    return runs;
}

static json_t *interval_json(const struct bench_interval *i)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "median", i->median, "low", i->low, "high",
                     i->high, "coverage", i->coverage, "min", i->min, "max", i->max);
}

/* {"bytes": n, "int8": n, ...}, of the operations only what is not 0. */
static json_t *work_json(const struct profile_work *w)
{
    json_t *j = json_pack("{s:I}", "bytes", (json_int_t)w->bytes);

    for (int t = 0; t < PEAK_COUNT; t++)
        if (w->ops[t])
            json_object_set_new(j, peak_name[t], json_integer((json_int_t)w->ops[t]));
    return j;
}

static json_t *record_json(const struct profile_record *r, int32_t layer, int op,
                           const struct bench_ceiling *c)
{
    json_t *j = json_pack("{s:i, s:s, s:I}", "layer", layer, "op", profile_op_info[op].id, "ns",
                          (json_int_t)r->ns);

    for (int i = 0; i < PROFILE_PARTS; i++) {
        bool any = r->part[i].bytes > 0;
        for (int t = 0; t < PEAK_COUNT; t++)
            any = any || r->part[i].ops[t];
        if (any)
            json_object_set_new(j, part_name[i], work_json(&r->part[i]));
    }
    if (c)
        json_object_set_new(j, "ceiling_ns", json_real(bench_ideal_s(r, c) * 1e9));
    return j;
}

static json_t *profile_json(const struct profile *p, const struct bench_ceiling *c)
{
    json_t *records = json_array();

    for (int32_t l = -1; l < p->n_layer; l++)
        for (int op = 0; op < PROFILE_COUNT; op++) {
            const struct profile_record *r = profile_get(p, l, (enum profile_op)op);
            if (r->ns)
                json_array_append_new(records, record_json(r, l, op, c));
        }
    return json_pack("{s:I, s:i, s:o}", "steps", (json_int_t)p->n_step, "layers", p->n_layer,
                     "records", records);
}

static json_t *peer_row_json(const struct bench_row *r)
{
    const struct bench_peer_row *p = &r->peer;
    json_t *j = json_pack("{s:f, s:f, s:f, s:b, s:o, s:o}", "tok_per_s", p->speed[p->best].median,
                          "min", p->speed[p->best].min, "max", p->speed[p->best].max,
                          "flash_attn", p->best, "runs", rates_json(p->rate[p->best], r->n_run),
                          "ratio", interval_json(&p->ratio));

    if (p->rate[!p->best])
        json_object_set_new(j, "other_flash_attn", json_real(p->speed[!p->best].median));
    return j;
}

static json_t *row_json(const struct bench *b, const struct bench_row *r)
{
    json_t *j = json_pack("{s:s, s:I, s:I, s:i}", "test", r->decode ? "decode" : "prefill",
                          "n", (json_int_t)r->n, "depth", (json_int_t)r->depth, "threads",
                          r->n_thread);

    if (r->batch)
        json_object_set_new(j, "batch", json_integer(r->batch));
    if (r->decode) {
        json_object_set_new(j, "parallel", json_integer(r->n_seq));
        json_object_set_new(j, "rows", json_integer(r->n_each));
        if (b->shared)
            json_object_set_new(j, "shared_prompt", json_true());
        json_object_set_new(j, "step_ms", json_real(1e3 * r->n_seq * r->n_each / r->speed.median));
    }
    if (r->step_cost > 0)
        json_object_set_new(j, "step_cost", json_real(r->step_cost));
    json_object_set_new(j, "tok_per_s", json_real(r->speed.median));
    json_object_set_new(j, "min", json_real(r->speed.min));
    json_object_set_new(j, "max", json_real(r->speed.max));
    if (r->ratio > 0)
        json_object_set_new(j, "ratio", json_real(r->ratio));
    json_object_set_new(j, "runs", rates_json(r->rate, r->n_run));
    if (r->ceiling > 0) {
        json_object_set_new(j, "ceiling_tok_per_s", json_real(r->ceiling));
        json_object_set_new(j, "ceiling_share", json_real(r->speed.median / r->ceiling));
    }
    if (b->peer) {
        json_object_set_new(j, "peer", peer_row_json(r));
        json_object_set_new(j, "others", json_real(r->others));
    }
    if (r->profile)
        json_object_set_new(j, "profile", profile_json(r->profile, bench_ceiling_of(b, r)));
    return j;
}

static json_t *ceiling_json(const struct bench_ceiling *c)
{
    json_t *raised = json_array();
    json_t *j = json_pack("{s:i, s:i, s:f, s:f, s:f, s:I}", "threads", c->n_thread, "rounds",
                          c->n_round, "read", c->read, "read_plain", c->read_plain,
                          "read_prefetched", c->read_ahead, "read_bytes", (json_int_t)c->bytes);

    for (int t = 0; t < PEAK_COUNT; t++) {
        if (c->peak[t] > 0)
            json_object_set_new(j, peak_name[t], json_real(c->peak[t]));
        if (c->peak_raised[t])
            json_array_append_new(raised, json_string(peak_name[t]));
    }
    if (c->read_raised)
        json_array_append_new(raised, json_string("read"));
    json_object_set_new(j, "raised", raised);
    return j;
}

enum err bench_json_write(struct buf *out, const struct bench *b)
{
    json_t *j = json_copy(b->about), *rows = json_array(), *ceilings = json_array();

    for (int i = 0; i < b->n_row; i++)
        json_array_append_new(rows, row_json(b, &b->row[i]));
    for (int i = 0; i < b->thread.n; i++)
        if (b->ceiling[i].n_round)
            json_array_append_new(ceilings, ceiling_json(&b->ceiling[i]));
    json_object_set_new(j, "all_logits", json_boolean(b->all_logits));
    if (b->peer_version)
        json_object_set_new(j, "peer", json_text(b->peer_version, strlen(b->peer_version)));
    if (b->ceilings)
        json_object_set_new(j, "ceilings", ceilings);
    else
        json_decref(ceilings);
    json_object_set_new(j, "rows", rows);
    return json_put(out, j, false);
}

/* --- read back ---------------------------------------------------------------------------- */

static uint64_t count_of(const json_t *j, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(j, key));

    return v > 0 ? (uint64_t)v : 0;
}

static void take_record(struct profile *p, const json_t *j)
{
    json_int_t layer = json_integer_value(json_object_get(j, "layer"));
    const char *op = json_string_value(json_object_get(j, "op"));
    struct profile_record r = { .ns = count_of(j, "ns") };

    for (int i = 0; i < PROFILE_PARTS; i++) {
        const json_t *part = json_object_get(j, part_name[i]);
        r.part[i].bytes = count_of(part, "bytes");
        for (int t = 0; t < PEAK_COUNT; t++)
            r.part[i].ops[t] = count_of(part, peak_name[t]);
    }
    for (int k = 0; k < PROFILE_COUNT; k++)
        if (op && !strcmp(op, profile_op_info[k].id) && layer >= -1 && layer < p->n_layer)
            profile_sum(profile_get(p, (int32_t)layer, (enum profile_op)k), &r);
}

static enum err take_profile(struct bench_row *r, const json_t *j)
{
    json_int_t n_layer = json_integer_value(json_object_get(j, "layers"));
    const json_t *record;
    size_t i;
    enum err e = OK;

    if (!r->profile && n_layer > 0 && n_layer < 1 << 20)
        e = profile_new(&r->profile, (int32_t)n_layer);
    if (e != OK || !r->profile || r->profile->n_layer != n_layer)
        return e;
    r->profile->n_step += (int64_t)count_of(j, "steps");
    json_array_foreach(json_object_get(j, "records"), i, record)
        take_record(r->profile, record);
    return OK;
}

enum err bench_json_take(struct bench_row *r, int run, const json_t *row)
{
    const json_t *profile;
    double rate = json_number_value(json_object_get(row, "tok_per_s"));

    if (!(rate > 0))
        return err_set(ERR_FORMAT, "BENCH-03", "a measuring process wrote no speed");
    r->rate[run] = rate;
    r->n_thread = (int)json_integer_value(json_object_get(row, "threads"));
    profile = json_object_get(row, "profile");
    return profile ? take_profile(r, profile) : OK;
}
