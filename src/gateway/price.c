/* price.c - the price table: reading a file, finding a model. */
#include "gateway/price_form.h"

#include "gateway/exact.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

#define TIMES(...)
#define REFUSE(...)
#define WORD(...)
#define PLAIN(...)

#define RATE(...)
#define TIER(id, suffix, ...) suffix,
const char *const price_tier_suffix[TIER_N] = {
#include "gateway/price.def"
};
#undef TIER
#define TIER(id, suffix, name, words) { name, words },
static const struct { const char *name, *words; } tiers[TIER_N] = {
#include "gateway/price.def"
};
#undef TIER
#undef RATE

#define TIER(...)
#define RATE(id, field, ...) field,
static const char *const fields[PRICE_N] = {
#include "gateway/price.def"
};
#undef RATE
#define RATE(id, field, instead, side, part, text) part,
static const char *const parts[PRICE_N] = {
#include "gateway/price.def"
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct price *)a)->model, ((const struct price *)b)->model);
}

static enum err fill(struct prices *t, json_t *root, const char *what)
{
    const char *model;
    json_t *entry;
    enum err e;

    t->price = arena_alloc(&t->arena, json_object_size(root), sizeof(*t->price));
    if (!t->price)
        return err_set(ERR_NOMEM, "PRICE-01", "%s: no memory for the prices of %zu models", what,
                       json_object_size(root));
    json_object_foreach(root, model, entry) {
        if (!json_is_object(entry) || strlen(model) > PRICE_NAME_MAX)
            return err_set(ERR_FORMAT, "PRICE-02", "%s: '%.80s' is no model with its prices: "
                           "{\"model\": {\"input_cost_per_token\": ...}} is what LiteLLM's file "
                           "holds", what, model);
        if ((e = price_load(t, &t->price[t->n++], model, entry)))
            return e;
    }
    qsort(t->price, (size_t)t->n, sizeof(*t->price), by_name);
    return OK;
}

enum err prices_parse(struct prices **out, const char *text, size_t len, const char *what)
{
    struct prices *t = calloc(1, sizeof(*t));
    json_t *root = NULL;
    enum err e;

    *out = NULL;
    if (!t)
        return err_set(ERR_NOMEM, "PRICE-03", "%s: no memory for a price table", what);
    /* Each byte of the file makes at most about 30 of the table. */
    arena_init(&t->arena, (size_t)32 * PRICE_FILE_MAX);
    e = exact_json(&root, text, len, PRICE_FILE_MAX, what);
    if (!e && !json_is_object(root))
        e = err_set(ERR_FORMAT, "PRICE-04", "%s: is no object of models; give LiteLLM's "
                    "model_prices_and_context_window.json", what);
    if (!e)
        e = fill(t, root, what);
    json_decref(root);
    if (e) {
        prices_free(t);
        return e;
    }
    *out = t;
    return OK;
}

enum err prices_load(struct prices **out, const char *path)
{
    char *text;
    size_t len;
    enum err e = file_read_text(&text, &len, path, PRICE_FILE_MAX);

    *out = NULL;
    if (e)
        return e;
    e = prices_parse(out, text, len, path);
    free(text);
    return e;
}

void prices_free(struct prices *t)
{
    if (!t)
        return;
    arena_release(&t->arena);
    free(t);
}

static const struct price *find(const struct prices *t, const char *model)
{
    struct price key = { .model = model };

    return t->n ? bsearch(&key, t->price, (size_t)t->n, sizeof(key), by_name) : NULL;
}

const struct price *prices_find(const struct prices *t, const char *model)
{
    const struct price *p = find(t, model);
    const char *slash = strchr(model, '/');
    size_t n;

    if (p || !slash)
        return p;
    /* "vertex_ai/gemini-3": LiteLLM calls that provider "vertex_ai-language-models". */
    p = find(t, slash + 1);
    n = (size_t)(slash - model);
    if (!p || strncmp(p->provider, model, n) || (p->provider[n] && p->provider[n] != '-'))
        return NULL;
    return p;
}

int prices_n(const struct prices *t)
{
    return t->n;
}

const struct price *prices_at(const struct prices *t, int i)
{
    return &t->price[i];
}

int prices_rounded(const struct prices *t)
{
    return t->n_rounded;
}

int price_tier_of(const char *word, size_t len)
{
    for (int i = 0; i < TIER_N && len; i++) {
        const char *s = tiers[i].words, *end;
        if (strlen(tiers[i].name) == len && !memcmp(tiers[i].name, word, len))
            return i;
        for (; *s; s = *end ? end + 1 : end) {
            end = s + strcspn(s, " ");
            if ((size_t)(end - s) == len && !memcmp(s, word, len))
                return i;
        }
    }
    return -1;
}

const char *price_tier_name(enum price_tier tier)
{
    return tiers[tier].name;
}

const char *price_field(enum price_id id)
{
    return fields[id];
}

const char *price_part(enum price_id id)
{
    return parts[id];
}
