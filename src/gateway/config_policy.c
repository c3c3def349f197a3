/* config_policy.c - the labels, rules, `never` and teams of a configuration, checked. */
#include "gateway/config_form.h"
#include "gateway/detect.h"

#include <stdio.h>
#include <string.h>

static enum err check_label(struct checking *k, unsigned i)
{
    struct config *c = k->c;
    struct config_label *l = &c->labels[i];
    struct pattern *p;
    enum err e;

    check_at(k, "labels[%u].name", i);
    if ((e = check_name(k, l->name, "name")))
        return e;
    for (unsigned j = 0; j < i; j++)
        if (!strcmp(l->name, c->labels[j].name))
            return err_set(ERR_FORMAT, "GREF-20", "%s: '%s' is the name of labels[%u] too; keep "
                           "one", check_where(k), l->name, j);
    if (!strcmp(l->name, "unscanned"))
        c->unscanned = (int)i;
    for (unsigned j = 0; j < l->patterns_count; j++) {
        check_at(k, "labels[%u].patterns[%u]", i, j);
        e = pattern_new(&p, l->patterns[j], strlen(l->patterns[j]));
        if (e)
            return err_wrap(e, "%s", check_where(k));
        pattern_free(p);
    }
    return OK;
}

/* The labels that a list names. */
static enum err read_labels(struct checking *k, const char *where, char **list, unsigned n,
                            uint64_t *set)
{
    for (unsigned i = 0; i < n; i++) {
        int label = config_label_find(k->c, list[i]);
        check_at(k, "%s[%u]", where, i);
        if (label < 0)
            return err_set(ERR_FORMAT, "GREF-21", "%s: there is no label '%.80s'; add it under "
                           "labels, or mend its spelling", check_where(k), list[i]);
        *set |= UINT64_C(1) << label;
    }
    return OK;
}

/* Does something of that name exist?  Other attributes are words of the customer's own. */
static bool is_known(const struct config *c, enum attr a, const char *value)
{
    bool known = a != ATTR_model && a != ATTR_upstream && a != ATTR_dialect;

    for (unsigned i = 0; a == ATTR_model && i < c->models_count; i++)
        known = known || !strcmp(c->models[i].name, value);
    for (unsigned i = 0; a == ATTR_upstream && i < c->upstreams_count; i++)
        known = known || !strcmp(c->upstreams[i].name, value);
    for (int i = 0; a == ATTR_upstream && i < SINK_N; i++)
        known = known || !strcmp(sink_word((enum sink)i), value);
    for (int i = 0; a == ATTR_dialect && i < DIALECT_N; i++)
        known = known || !strcmp(dialect_word((enum dialect)i), value);
    return known;
}

static enum err check_conditions(struct checking *k, const char *rule, const char *word,
                                 const struct config_where *w)
{
    for (int a = 0; a < ATTR_N; a++)
        for (unsigned i = 0; i < w->count[a]; i++) {
            if (is_known(k->c, (enum attr)a, w->value[a][i]))
                continue;
            check_at(k, "%s.%s.%s[%u]", rule, word, attr_word((enum attr)a), i);
            return err_set(ERR_FORMAT, "GREF-22", "%s: there is no %s '%.80s'; a model is named by "
                           "its name, not by an alias", check_where(k), attr_word((enum attr)a),
                           w->value[a][i]);
        }
    return OK;
}

static enum err check_rules(struct checking *k, const char *section, struct config_rule *rules,
                            unsigned n)
{
    enum err e = OK;
    char at[64], when[80];

    for (unsigned i = 0; !e && i < n; i++) {
        struct config_rule *r = &rules[i];
        snprintf(at, sizeof(at), "%s[%u]", section, i);
        snprintf(when, sizeof(when), "%s.when", at);
        check_at(k, "%s.name", at);
        if ((e = check_name(k, r->name, "name")))
            return e;
        for (unsigned j = 0; j < i; j++)
            if (!strcmp(r->name, rules[j].name))
                return err_set(ERR_FORMAT, "GREF-23", "%s: '%s' is the name of %s[%u] too; a "
                               "refusal names its rule, so rename one", check_where(k), r->name,
                               section, j);
        if (!(e = read_labels(k, when, r->when, r->when_count, &r->when_set)) &&
            !(e = check_conditions(k, at, "where", &r->where)))
            e = check_conditions(k, at, "except", &r->except);
        if (!r->paths)
            r->paths = (UINT32_C(1) << PATH_N) - 1;
    }
    return e;
}

static enum err check_team(struct checking *k, unsigned i)
{
    struct config *c = k->c;
    struct config_team *t = &c->teams[i];
    char at[64];
    enum err e;

    check_at(k, "teams[%u].name", i);
    if ((e = check_name(k, t->name, "name")))
        return e;
    for (unsigned j = 0; j < i; j++)
        if (!strcmp(t->name, c->teams[j].name))
            return err_set(ERR_FORMAT, "GREF-24", "%s: '%s' is the name of teams[%u] too; keep one",
                           check_where(k), t->name, j);
    for (unsigned j = 0; j < t->models_count; j++) {
        check_at(k, "teams[%u].models[%u]", i, j);
        if (config_model_find(c, t->models[j]) < 0 && config_group_find(c, t->models[j]) < 0)
            return err_set(ERR_FORMAT, "GREF-25", "%s: there is no model, alias or group '%.80s'; "
                           "add it, or mend its spelling", check_where(k), t->models[j]);
    }
    for (unsigned j = 0; j < t->keys_count; j++) {
        check_at(k, "teams[%u].keys[%u]", i, j);
        if ((e = check_name(k, t->keys[j], "key's id")))
            return e;
    }
    snprintf(at, sizeof(at), "teams[%u].labels", i);
    return read_labels(k, at, t->labels, t->labels_count, &t->label_set);
}

enum err config_check_policy(struct checking *k)
{
    struct config *c = k->c;
    enum err e = OK;

    c->unscanned = (int)c->labels_count;
    for (unsigned i = 0; !e && i < c->labels_count; i++)
        e = check_label(k, i);
    if (!e)
        e = check_rules(k, "rules", c->rules, c->rules_count);
    if (!e)
        e = check_rules(k, "never", c->never, c->never_count);
    for (unsigned i = 0; !e && i < c->teams_count; i++)
        e = check_team(k, i);
    return e;
}
