/* choose.c - see choose.h. */
#include "gateway/choose.h"

#include <inttypes.h>
#include <string.h>

static const struct { enum accepts bit; const char *word; } features[] = {
    { ACCEPTS_TOOLS, "tools" }, { ACCEPTS_IMAGES, "images" }, { ACCEPTS_SCHEMA, "schema" },
    { ACCEPTS_REASONING, "reasoning" }, { ACCEPTS_COMPLETIONS, "completions" },
    { ACCEPTS_EMBEDDINGS, "embeddings" },
};
enum { N_FEATURE = sizeof(features) / sizeof(*features) };

bool choice_in_scope(const struct config *c, const struct choice_scope *scope, const char *name)
{
    int group = config_group_find(c, name), model = group < 0 ? config_model_find(c, name) : -1;

    if (scope->any)
        return true;
    for (unsigned i = 0; i < scope->count; i++) {
        const char *one = scope->name[i];
        if (!strcmp(one, name))
            return true;
        if (model >= 0 && config_group_find(c, one) < 0 && config_model_find(c, one) == model)
            return true;
    }
    return false;
}

/* ---- one candidate ------------------------------------------------------------------------- */

static enum choice_why lack_of(const struct config_model *m, const struct config_upstream *u,
                               const struct choose_ask *ask, uint32_t *lacks)
{
    uint32_t needs = ask->needs | (ask->kind == PATH_embeddings ? ACCEPTS_EMBEDDINGS : 0);
    uint64_t room = m->context;

    *lacks = 0;
    if (ask->kind == PATH_count_tokens)
        return u->dialect == DIALECT_ANTHROPIC ? CHOICE_ALLOWED : CHOICE_DIALECT;
    *lacks = needs & ~m->accepts;
    if (*lacks)
        return CHOICE_LACKS;
    if (m->max_output && ask->output_tok > m->max_output)
        return CHOICE_OUTPUT;
    if (room && (ask->prompt_tok > room || ask->output_tok > room - ask->prompt_tok))
        return CHOICE_CONTEXT;
    return CHOICE_ALLOWED;
}

/* Can the model do what this kind of path is about?  As the proof has it (request_init()). */
static bool can_by(const struct config_model *m, const struct config_upstream *u,
                   enum path_kind kind)
{
    if (kind == PATH_continuation)
        return m->accepts & ACCEPTS_CONTINUE;
    if (kind == PATH_count_tokens)
        return u->dialect == DIALECT_ANTHROPIC;
    if (kind == PATH_embeddings)
        return m->accepts & ACCEPTS_EMBEDDINGS;
    return true;
}

static void judge(struct candidate *one, const struct config *c, const struct policy *p,
                  const struct choose_ask *ask, int model)
{
    const struct config_model *m = &c->models[model];
    const struct config_upstream *u = &c->upstreams[m->at_upstream];

    *one = (struct candidate){ .model = model };
    one->lack = lack_of(m, u, ask, &one->lacks);
    for (int k = 0; k < PATH_N; k++) {
        one->by[k] = (struct verdict){ .allow = false, .rule = -1, .never = -1 };
        if (path_sink((enum path_kind)k) != SINK_MODEL)
            continue;
        one->by[k] = policy_decide(p, ask->labels, model, (enum path_kind)k);
        if (one->lack == CHOICE_ALLOWED && can_by(m, u, (enum path_kind)k) &&
            policy_lets(one->by[k]))
            one->paths |= UINT32_C(1) << k;
    }
    struct verdict v = one->by[ask->kind];
    one->why = !v.allow ? CHOICE_RULE : v.never >= 0 ? CHOICE_NEVER : one->lack;
}

/* ---- the list ------------------------------------------------------------------------------ */

/* splitmix64: the next of a sequence that begins with the caller's number. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 .. n - 1, n below 2^32. */
static uint64_t below(uint64_t *state, uint64_t n)
{
    return (next_random(state) >> 32) * n >> 32;
}

/* The weight of a model in a weighted group, whose members are models by any name; one that is
 * named twice has both weights. */
static uint64_t weight_of(const struct config *c, const struct config_group *g, int model)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < g->members_count; i++)
        if (config_model_find(c, g->members[i].model) == model)
            sum += g->members[i].weight;
    return sum;
}

/* All members of a weighted group, drawn one after another. */
static void draw(int *model, const struct config *c, const struct config_group *g, uint64_t random)
{
    uint64_t weight[MEMBERS_MAX], total = 0;

    for (int i = 0; i < g->n_model; i++) {
        model[i] = g->model[i];
        weight[i] = weight_of(c, g, model[i]);
        total += weight[i];
    }
    for (int i = 0; i < g->n_model; i++) {
        uint64_t r = total ? below(&random, total) : 0;
        int j = i;
        while (j + 1 < g->n_model && r >= weight[j])
            r -= weight[j++];
        int drawn = model[j];
        total -= weight[j];
        memmove(model + i + 1, model + i, (size_t)(j - i) * sizeof(*model));
        memmove(weight + i + 1, weight + i, (size_t)(j - i) * sizeof(*weight));
        model[i] = drawn;
    }
}

static int list(int model[MEMBERS_MAX], const struct config *c, int group,
                const struct choose_ask *ask)
{
    const struct config_group *g = group >= 0 ? &c->groups[group] : NULL;

    if (!g) {
        model[0] = config_model_find(c, ask->name);
        return model[0] >= 0;
    }
    if (g->weighted)
        draw(model, c, g, ask->random);
    else
        memcpy(model, g->model, (size_t)g->n_model * sizeof(*model));
    return g->n_model;
}

/* Whom to ask first.  In a weighted group any may be; in an ordered one the places stay. */
static void set_first(struct choice *x, bool weighted, int affinity)
{
    int held = -1;

    x->first = 0;
    while (x->first + 1 < x->n && x->at[x->first].why != CHOICE_ALLOWED)
        x->first++;
    for (int i = 0; i < x->n; i++)
        if (x->at[i].model == affinity && x->at[i].why == CHOICE_ALLOWED)
            held = i;
    if (held < 0)
        return;
    x->held = true;
    x->first = held;
    if (weighted) {
        struct candidate one = x->at[held];
        memmove(x->at + 1, x->at, (size_t)held * sizeof(one));
        x->at[0] = one;
        x->first = 0;
    }
}

/* The most telling of the candidates' reasons, when none is allowed. */
static void set_refusal(struct choice *x, const struct config *c)
{
    static const enum choice_why order[] = { CHOICE_RULE, CHOICE_NEVER, CHOICE_LACKS,
                                             CHOICE_DIALECT, CHOICE_OUTPUT, CHOICE_CONTEXT };

    for (size_t o = 0; o < sizeof(order) / sizeof(*order) && x->decided < 0; o++)
        for (int i = 0; i < x->n; i++) {
            bool more = x->decided < 0 || c->models[x->at[i].model].context >
                                          c->models[x->at[x->decided].model].context;
            if (x->at[i].why == order[o] && (x->decided < 0 || (order[o] == CHOICE_CONTEXT &&
                                                                more)))
                x->decided = i;
        }
    x->why = x->at[x->decided].why;
}

void choose(struct choice *out, const struct config *c, const struct policy *p,
            const struct choose_ask *ask)
{
    int model[MEMBERS_MAX];

    *out = (struct choice){
        .group = config_group_find(c, ask->name), .decided = -1, .kind = ask->kind,
        .labels = ask->labels, .prompt_tok = ask->prompt_tok, .output_tok = ask->output_tok,
        .needs = ask->needs,
    };
    int n = list(model, c, out->group, ask);
    if (n == 0)
        out->why = CHOICE_NO_MODEL;
    else if (!choice_in_scope(c, &ask->key, ask->name))
        out->why = CHOICE_KEY_SCOPE;
    else if (!choice_in_scope(c, &ask->team, ask->name))
        out->why = CHOICE_TEAM_SCOPE;
    if (out->why != CHOICE_ALLOWED)
        return;
    for (; out->n < n; out->n++) {
        judge(&out->at[out->n], c, p, ask, model[out->n]);
        out->n_allowed += out->at[out->n].why == CHOICE_ALLOWED;
    }
    set_first(out, out->group >= 0 && c->groups[out->group].weighted, ask->affinity);
    if (!out->n_allowed)
        set_refusal(out, c);
}

/* ---- in words ------------------------------------------------------------------------------ */

const char *choice_word(enum choice_why why)
{
    switch (why) {
    case CHOICE_ALLOWED:    return "allowed";
    case CHOICE_NO_MODEL:   return "no_model";
    case CHOICE_KEY_SCOPE:  return "key_scope";
    case CHOICE_TEAM_SCOPE: return "team_scope";
    case CHOICE_RULE:       return "rule";
    case CHOICE_NEVER:      return "never";
    case CHOICE_LACKS:      return "lacks";
    case CHOICE_FIELD:      return "field";
    case CHOICE_DIALECT:    return "dialect";
    case CHOICE_OUTPUT:     return "output";
    case CHOICE_CONTEXT:    return "context";
    }
    return "?";
}

static void put_features(struct buf *out, uint32_t bits)
{
    const char *comma = "";

    for (int i = 0; i < N_FEATURE; i++)
        if (bits & features[i].bit) {
            buf_printf(out, "%s%s", comma, features[i].word);
            comma = ", ";
        }
}

static void put_labels(struct buf *out, const struct config *c, uint64_t labels)
{
    const char *comma = "";

    for (int i = 0; i < config_labels(c); i++)
        if (labels >> i & 1) {
            buf_printf(out, "%s%s", comma, config_label_name(c, i));
            comma = ", ";
        }
}

/* The rule, or the line of `never`, that decided; NULL: none. */
static const struct config_rule *decider(const struct config *c, struct verdict v)
{
    return v.rule >= 0 && !v.allow ? &c->rules[v.rule] : v.never >= 0 ? &c->never[v.never] : NULL;
}

void candidate_text(struct buf *out, const struct config *c, const struct choice *x,
                    const struct candidate *one)
{
    const struct config_model *m = &c->models[one->model];
    struct verdict v = one->by[x->kind];

    switch (one->why) {
    case CHOICE_RULE:
    case CHOICE_NEVER:
        buf_printf(out, "%s %s forbids", one->why == CHOICE_RULE ? "rule" : "never",
                   decider(c, v)->name);
        break;
    case CHOICE_LACKS:
        buf_puts(out, "does not accept ");
        put_features(out, one->lacks);
        break;
    case CHOICE_DIALECT:
        buf_puts(out, "its upstream does not count tokens");
        break;
    case CHOICE_FIELD:
        buf_puts(out, "its dialect refuses a field of the request");
        break;
    case CHOICE_OUTPUT:
        buf_printf(out, "gives at most %" PRIu64 " tokens, and %" PRIu64 " are asked for",
                   m->max_output, x->output_tok);
        break;
    case CHOICE_CONTEXT:
        buf_printf(out, "has a context of %" PRIu64 " tokens, and %" PRIu64 " are needed",
                   m->context, x->prompt_tok + x->output_tok);
        break;
    default:
        buf_puts(out, "allowed");
        if (v.rule >= 0)
            buf_printf(out, " by rule %s", c->rules[v.rule].name);
    }
}

static void refuse_by_rule(struct buf *out, const struct config *c, const struct choice *x,
                           const char *name)
{
    const struct candidate *one = &x->at[x->decided];
    const struct config_rule *rule = decider(c, one->by[x->kind]);
    uint64_t labels = rule->when_set & x->labels;
    const char *kind = one->why == CHOICE_RULE ? "rule" : "never";

    if (!labels) {
        buf_printf(out, "No text may go to '%.128s': %s %s forbids it.", name, kind, rule->name);
        return;
    }
    buf_printf(out, "Text with the label%s ", labels & (labels - 1) ? "s" : "");
    put_labels(out, c, labels);
    buf_printf(out, " may not go to '%.128s': %s %s forbids it.", name, kind, rule->name);
}

void choice_refusal(struct buf *out, const struct config *c, const struct choice *x,
                    const char *name)
{
    const struct candidate *one = x->decided >= 0 ? &x->at[x->decided] : NULL;
    const struct config_model *m = one ? &c->models[one->model] : NULL;

    switch (x->why) {
    case CHOICE_NO_MODEL:
    case CHOICE_KEY_SCOPE:
    case CHOICE_TEAM_SCOPE:
        buf_printf(out, "The model '%.128s' does not exist or you do not have access to it.", name);
        return;
    case CHOICE_RULE:
    case CHOICE_NEVER:
        refuse_by_rule(out, c, x, name);
        return;
    case CHOICE_LACKS:
        buf_printf(out, "'%.128s' does not accept what the request needs: ", name);
        put_features(out, one->lacks);
        buf_puts(out, ".");
        return;
    case CHOICE_DIALECT:
        buf_printf(out, "'%.128s' does not count tokens.", name);
        return;
    case CHOICE_OUTPUT:
        buf_printf(out, "'%.128s' gives at most %" PRIu64 " tokens. However, %" PRIu64 " were "
                   "requested.", name, m->max_output, x->output_tok);
        return;
    case CHOICE_CONTEXT:
        buf_printf(out, "This model's maximum context length is %" PRIu64 " tokens. However, you "
                   "requested about %" PRIu64 " tokens (%" PRIu64 " in the messages, %" PRIu64
                   " in the completion). Please reduce the length of the messages or completion.",
                   m->context, x->prompt_tok + x->output_tok, x->prompt_tok, x->output_tok);
        return;
    case CHOICE_ALLOWED:
    case CHOICE_FIELD:
        return;
    }
}

void choice_text(struct buf *out, const struct config *c, const struct choice *x, const char *name)
{
    buf_puts(out, "labels    ");
    put_labels(out, c, x->labels);
    buf_puts(out, x->labels ? "\n" : "none\n");
    buf_printf(out, "request   %s%s\n", name, x->group >= 0 ? ", a group" : "");
    if (x->needs) {
        buf_puts(out, "needs     ");
        put_features(out, x->needs);
        buf_puts(out, "\n");
    }
    for (int i = 0; i < x->n; i++) {
        const struct candidate *one = &x->at[i];
        const struct config_model *m = &c->models[one->model];
        buf_printf(out, "%c %-20s at %-16s ", i == x->first && x->n_allowed ? '>' : ' ', m->name,
                   c->upstreams[m->at_upstream].name);
        candidate_text(out, c, x, one);
        buf_puts(out, x->held && i == x->first ? ", held: it made the calls\n" : "\n");
    }
    if (x->why == CHOICE_ALLOWED)
        return;
    buf_printf(out, "refused   %s: ", choice_word(x->why));
    choice_refusal(out, c, x, name);
    buf_puts(out, "\n");
}

static json_t *words_json(uint32_t bits)
{
    json_t *a = json_array();

    for (int i = 0; i < N_FEATURE; i++)
        if (bits & features[i].bit)
            json_array_append_new(a, json_string(features[i].word));
    return a;
}

static json_t *labels_json(const struct config *c, uint64_t labels)
{
    json_t *a = json_array();

    for (int i = 0; i < config_labels(c); i++)
        if (labels >> i & 1)
            json_array_append_new(a, json_string(config_label_name(c, i)));
    return a;
}

static json_t *verdict_json(const struct config *c, struct verdict v, bool allowed)
{
    return json_pack("{s:b, s:s?, s:s?}", "allowed", allowed, "rule",
                     v.rule >= 0 ? c->rules[v.rule].name : NULL, "never",
                     v.never >= 0 ? c->never[v.never].name : NULL);
}

static json_t *candidate_json(const struct config *c, const struct choice *x,
                              const struct candidate *one)
{
    const struct config_model *m = &c->models[one->model];
    struct verdict v = one->by[x->kind];
    json_t *paths = json_object();
    struct buf text = { 0 };

    for (int k = 0; k < PATH_N; k++)
        if (path_sink((enum path_kind)k) == SINK_MODEL)
            json_object_set_new(paths, path_word((enum path_kind)k),
                                verdict_json(c, one->by[k], one->paths >> k & 1));
    candidate_text(&text, c, x, one);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:o}", "model", m->name,
                               "upstream", c->upstreams[m->at_upstream].name, "verdict",
                               choice_word(one->why), "text", buf_text(&text), "rule",
                               v.rule >= 0 ? c->rules[v.rule].name : NULL, "never",
                               v.never >= 0 ? c->never[v.never].name : NULL, "lacks",
                               words_json(one->lacks), "paths", paths);
    buf_release(&text);
    return object;
}

json_t *choice_json(const struct config *c, const struct choice *x, const char *name)
{
    json_t *list = json_array();
    struct buf text = { 0 };

    for (int i = 0; i < x->n; i++)
        json_array_append_new(list, candidate_json(c, x, &x->at[i]));
    choice_refusal(&text, c, x, name);
    bool refused = x->why != CHOICE_ALLOWED;
    json_t *object = json_pack("{s:s, s:s?, s:s, s:s?, s:o, s:o, s:s?, s:b, s:o}", "request", name,
                               "group", x->group >= 0 ? c->groups[x->group].name : NULL,
                               "verdict", choice_word(x->why), "refusal",
                               refused ? buf_text(&text) : NULL, "labels",
                               labels_json(c, x->labels), "needs", words_json(x->needs), "first",
                               refused ? NULL : c->models[x->at[x->first].model].name, "held",
                               x->held, "candidates", list);
    buf_release(&text);
    return object;
}
