/* door_audit.c - the row of a decision: who asked, the labels, who was passed over by which rule,
 * where the text goes.  No prompt text. */
#include "door/door_form.h"

#include "base/json.h"

bool audit_strict(const struct ask *a)
{
    for (unsigned i = 0; i < a->w->c->labels_count; i++)
        if (a->labels >> i & 1 && a->w->c->labels[i].strict)
            return true;
    return false;
}

static json_t *labels_json(const struct ask *a)
{
    json_t *list = json_array();

    for (int i = 0; list && i < config_labels(a->w->c); i++)
        if (a->labels >> i & 1 &&
            json_array_append_new(list, json_string(config_label_name(a->w->c, i)))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static const char *rule_name(const struct config *c, const struct verdict *v)
{
    return v->never >= 0 ? c->never[v->never].name : v->rule >= 0 ? c->rules[v->rule].name : NULL;
}

/* Those that are not asked, and what decided. */
static json_t *passed_json(const struct ask *a)
{
    const struct config *c = a->w->c;
    json_t *list = json_array();

    for (int i = 0; list && i < a->choice.n; i++) {
        const struct candidate *one = &a->choice.at[i];
        if (one->why != CHOICE_ALLOWED &&
            json_array_append_new(list, json_pack("{s:s, s:s, s:s?}", "model",
                                                  c->models[one->model].name, "why",
                                                  choice_word(one->why), "rule",
                                                  rule_name(c, &one->by[a->kind])))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

void audit_row(struct buf *out, const struct ask *a, const struct attempts_step *step,
               const char *why)
{
    const struct config *c = a->w->c;
    const struct candidate *one = step ? &a->choice.at[step->candidate] : NULL;
    json_t *labels = labels_json(a), *passed = passed_json(a), *row = NULL;

    if (labels && passed)
        row = json_pack("{s:s, s:s, s:s, s:s, s:s%, s:O, s:s?, s:s?, s:s?, s:s?, s:O}",
                        "decision", step ? path_word(step->kind) : "refused", "request", a->id,
                        "key", a->who.key, "team", a->who.team, "asked", a->r.model.at,
                        a->r.model.len, "labels", labels, "model",
                        step ? c->models[step->model].name : NULL, "upstream",
                        step ? c->upstreams[step->upstream].name : NULL, "rule",
                        step ? rule_name(c, &one->by[step->kind]) : NULL, "why", why,
                        "passed", passed);
    json_write(out, row, JSON_COMPACT);
    json_decref(row);
    json_decref(labels);
    json_decref(passed);
}
