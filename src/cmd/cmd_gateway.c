/* cmd_gateway.c - `croft gateway`: prints a configuration to begin with, checks and proves one; its
 * other actions have files of their own. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/gateway_cost.h"
#include "cmd/gateway_explain.h"
#include "cmd/gateway_ledger.h"
#include "cmd/json_text.h"

#include "base/term.h"
#include "door/door.h"
#include "gateway/prove.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct checked {
    struct config *c;
    struct policy *policy;
    struct proof *proof;
};

static const char *label_words(struct buf *out, const struct config *c, uint64_t labels)
{
    buf_cut(out, 0);
    for (int i = 0; i < config_labels(c); i++)
        if (labels >> i & 1)
            buf_printf(out, "%s%s", out->len ? ", " : "", config_label_name(c, i));
    return out->len ? buf_text(out) : "none";
}

static const char *place_name(const struct config *c, int place)
{
    int model = place < (int)c->models_count ? c->models[place].at_upstream : -1;

    return model >= 0 ? c->upstreams[model].name
                      : sink_word((enum sink)(place - (int)c->models_count));
}

static const char *request_name(const struct config *c, const struct counter *x)
{
    return x->group >= 0 ? c->groups[x->group].name : x->model >= 0 ? c->models[x->model].name
                                                                     : NULL;
}

static json_t *counter_json(const struct config *c, const struct counter *x)
{
    json_t *labels = json_array(), *failed = json_array();
    const char *model = x->place < (int)c->models_count ? c->models[x->place].name : NULL;

    for (int i = 0; i < config_labels(c); i++)
        if (x->labels >> i & 1)
            json_array_append_new(labels, json_string(config_label_name(c, i)));
    for (int i = 0; i < x->n_failed; i++)
        json_array_append_new(failed, json_string(c->models[x->failed[i]].name));
    return json_pack("{s:s, s:o, s:s?, s:o, s:s, s:s?, s:s, s:s?}", "never",
                     c->never[x->never].name, "labels", labels, "request", request_name(c, x),
                     "failures", failed, "path", path_word(x->kind), "model", model, "sink",
                     place_name(c, x->place), "rule",
                     x->rule >= 0 ? c->rules[x->rule].name : NULL);
}

static json_t *check_json(const struct checked *k)
{
    const struct counter *first = proof_shortest(k->proof);
    json_t *paths = json_object(), *all = json_array();

    for (int i = 0; i < PATH_N; i++)
        json_object_set_new(paths, path_word((enum path_kind)i),
                            json_integer(k->proof->n_path[i]));
    for (int i = 0; i < k->proof->n_counter; i++)
        json_array_append_new(all, counter_json(k->c, &k->proof->counter[i]));
    return json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "verdict", first ? "refuted" : "proved",
                     "never", (int)k->c->never_count, "label_sets", (json_int_t)k->proof->n_set,
                     "paths", paths, "counterexample",
                     first ? counter_json(k->c, first) : json_null(), "counterexamples", all);
}

static void put_counter(struct buf *out, const struct config *c, const struct counter *x)
{
    struct buf labels = { 0 };
    const char *request = request_name(c, x);

    buf_printf(out, "never %s is broken:\n", c->never[x->never].name);
    buf_printf(out, "  labels    %s\n", label_words(&labels, c, x->labels));
    buf_printf(out, "  request   %s\n", request ? request : "any");
    for (int i = 0; i < x->n_failed; i++)
        buf_printf(out, "  %s %s\n", i ? "         " : "failures ", c->models[x->failed[i]].name);
    buf_printf(out, "  path      %s\n", path_word(x->kind));
    if (x->place < (int)c->models_count)
        buf_printf(out, "  model     %s\n", c->models[x->place].name);
    buf_printf(out, "  sink      %s\n", place_name(c, x->place));
    buf_printf(out, "  rule      %s\n", x->rule >= 0 ? c->rules[x->rule].name
                                                     : "none holds, so the text may go");
    buf_release(&labels);
}

static void put_check(struct buf *out, const struct checked *k)
{
    uint32_t n = 0;

    for (int i = 0; i < PATH_N; i++)
        n += k->proof->n_path[i];
    for (int i = 0; i < k->proof->n_counter; i++)
        put_counter(out, k->c, &k->proof->counter[i]);
    if (!k->proof->n_counter)
        buf_printf(out, "proved: %u of never, %u paths, %llu sets of labels\n", k->c->never_count,
                   n, (unsigned long long)k->proof->n_set);
    for (int i = 0; i < PATH_N && !k->proof->n_counter; i++)
        if (k->proof->n_path[i])
            buf_printf(out, "  %-13s %u\n", path_word((enum path_kind)i), k->proof->n_path[i]);
}

static enum err print_check(const struct checked *k, bool json)
{
    struct buf out = { 0 };
    enum err e = OK;

    if (json)
        e = json_put(&out, check_json(k), false);
    else
        put_check(&out, k);
    if (!e)
        e = buf_ok(&out);
    if (!e)
        e = out_write(buf_text(&out), out.len);
    buf_release(&out);
    if (e || !k->proof->n_counter)
        return e;
    return err_set(ERR_FORMAT, "GCMD-01", "refuted: the rules let happen what %d of never say must "
                   "not; add or move a rule that forbids it", k->proof->n_counter);
}

static enum err gateway_check(struct opt_set *o)
{
    const char *path = opt_text(o, OPT_config);
    struct checked k = { .proof = malloc(sizeof(*k.proof)) };
    enum err e = k.proof ? OK : err_set(ERR_NOMEM, "GCMD-02", "no memory for a proof");

    if (!e && !path)
        e = err_set(ERR_ARG, "GCMD-03", "which file is not said; "
                    "croft gateway check -c croft.yaml");
    if (!e)
        e = config_load(&k.c, path);
    if (!e)
        e = policy_new(&k.policy, k.c);
    if (!e)
        e = prove(k.proof, k.c, k.policy);
    if (!e && !k.c->never_count)
        term_note("%s has no never, so there was nothing to prove", path);
    if (!e)
        e = print_check(&k, opt_flag(o, OPT_json));
    policy_free(k.policy);
    config_free(k.c);
    free(k.proof);
    return e;
}

static enum err gateway_init(struct opt_set *o)
{
    (void)o;
    return out_write(config_sample, strlen(config_sample));
}

static enum err gateway_run(struct opt_set *o)
{
    const char *path = opt_text(o, OPT_config);
    struct buf served = { 0 };
    struct door *d;
    enum err e;

    if (!path)
        return err_set(ERR_ARG, "GCMD-06", "which configuration is not said; croft gateway -c "
                       "croft.yaml, and croft gateway init > croft.yaml makes one");
    signal(SIGPIPE, SIG_IGN);
    if ((e = door_open(&d, path)))
        return e;
    door_describe(d, &served);
    term_note("%s; Ctrl-C ends", buf_text(&served));
    buf_release(&served);
    e = door_run(d);
    door_close(d);
    return e;
}

enum err cmd_gateway(struct opt_set *o)
{
    const char *what = opt_operands(o) ? opt_operand(o, 0) : NULL;

    if (!what)
        return gateway_run(o);
    if (!strcmp(what, "reconcile"))
        return gateway_reconcile(o);
    if (!strcmp(what, "explain"))
        return gateway_explain(o);
    if (opt_operands(o) > 1)
        return err_set(ERR_ARG, "GCMD-05", "croft gateway %.20s takes nothing more, and '%.80s' "
                       "stands behind it", what, opt_operand(o, 1));
    if (!strcmp(what, "ledger"))
        return gateway_ledger(o);
    if (!strcmp(what, "init"))
        return gateway_init(o);
    if (!strcmp(what, "check"))
        return gateway_check(o);
    if (!strcmp(what, "cost"))
        return gateway_cost(o);
    return err_set(ERR_ARG, "GCMD-04", "croft gateway cannot '%.40s'; it can init, check, cost, "
                   "explain, ledger and reconcile", what);
}
