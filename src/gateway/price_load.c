/* price_load.c - one model of the price file, field by field, by the table price.def.
 *
 * A field's name is one of the table, or one of its rates with a threshold, a tier or both:
 * cache_read_input_token_cost _above_200k_tokens _priority.  A field outside of the table is
 * harmless when it is a truth value, a text or a list of texts and its name does not speak of
 * money (LiteLLM adds such fields every week); all else makes the entry one without a price. */
#include "gateway/price_form.h"

#include "gateway/exact.h"

#include <stdio.h>
#include <string.h>

enum kind { UNKNOWN, RATE, TIMES, REFUSE, WORD, PLAIN };

enum word { WORD_PROVIDER, WORD_SEARCH_UNIT, WORD_MODE };

struct known { enum kind kind; int id; const char *field, *key; };

static const struct known table[] = {
#define TIER(...)
#define RATE(i, name, ...) { RATE, PRICE_##i, name, NULL },
#define TIMES(i, k, name, text) { TIMES, TIMES_##i, name, k },
#define REFUSE(name, when, text) { REFUSE, 0, name, NULL },
#define WORD(i, name, text) { WORD, WORD_##i, name, NULL },
#define PLAIN(name, text) { PLAIN, 0, name, NULL },
#include "gateway/price.def"
#undef TIER
#undef RATE
#undef TIMES
#undef REFUSE
#undef WORD
#undef PLAIN
};

/* The richest entry of LiteLLM's file has 40 prices. */
enum { N_TABLE = sizeof(table) / sizeof(*table), RATES_MAX = 256 };

/* One entry on its way in. */
struct entry {
    struct prices *t;
    struct price *p;
    struct price_rate *rate;
    struct price_factor *factor;
    int64_t cache_hit;                  /* input_cost_per_token_cache_hit, or -1 */
    bool no_memory;
};

/* A name taken apart: its table field is its first `len` bytes. */
struct name { size_t len; enum price_tier tier; int64_t above; };

static void bad(struct entry *in, const char *field, const char *why)
{
    if (in->p->bad)
        return;
    in->p->bad = arena_copy(&in->t->arena, field, strnlen(field, 200));
    in->p->why = why;
    in->no_memory |= !in->p->bad;
}

static bool ends(const char *name, size_t len, const char *end)
{
    size_t n = strlen(end);

    return n && len > n && !memcmp(name + len - n, end, n);
}

/* "_above_200k_tokens" at the end of the first n->len bytes. */
static void cut_threshold(struct name *n, const char *name)
{
    static const char before[] = "_above_", behind[] = "_tokens";
    size_t at = n->len - strlen(behind);
    int64_t v = 0, unit = 1;
    size_t digits;

    if (!ends(name, n->len, behind) || !at)
        return;
    if (name[at - 1] == 'k') {
        unit = 1000;
        at--;
    }
    for (digits = 0; at > digits && name[at - digits - 1] >= '0' && name[at - digits - 1] <= '9';)
        digits++;
    at -= digits;
    if (!digits || digits > 9 || !ends(name, at, before))
        return;
    for (size_t i = 0; i < digits; i++)
        v = 10 * v + (name[at + i] - '0');
    n->len = at - strlen(before);
    n->above = v * unit;
}

static struct name cut_name(const char *name)
{
    struct name n = { .len = strlen(name) };

    for (int i = 0; i < TIER_N; i++)
        if (ends(name, n.len, price_tier_suffix[i])) {
            n.len -= strlen(price_tier_suffix[i]);
            n.tier = (enum price_tier)i;
            break;
        }
    cut_threshold(&n, name);
    return n;
}

static const struct known *find(const char *name, size_t len)
{
    for (int i = 0; i < N_TABLE; i++)
        if (!strncmp(table[i].field, name, len) && !table[i].field[len])
            return &table[i];
    return NULL;
}

/* A number, or a text that is one: LiteLLM reads both. */
static bool amount(struct entry *in, int64_t *out, const char *field, json_t *value)
{
    static const char *const why[] = {
        [EXACT_NO_NUMBER] = "is no amount", [EXACT_NEGATIVE] = "is below 0",
        [EXACT_TOO_SMALL] = "is below half of 10^-12 dollar",
        [EXACT_TOO_LARGE] = "is above 9,223,372 dollars",
    };
    const char *text = json_string_value(value);
    enum exact e = EXACT_NO_NUMBER;

    *out = 0;
    if (text)
        e = exact_amount(out, text + (*text == '='), json_string_length(value) - (*text == '='));
    if (e == EXACT_ROUNDED)
        in->t->n_rounded++;
    else if (e != EXACT_OK)
        bad(in, field, why[e]);
    return e == EXACT_OK || e == EXACT_ROUNDED;
}

static void take_rate(struct entry *in, const char *field, const struct known *k,
                      const struct name *n, json_t *value)
{
    struct price_rate *r = &in->rate[in->p->n_rate];

    if (in->p->n_rate == RATES_MAX) {
        bad(in, field, "is one of too many prices");
        return;
    }
    if (!amount(in, &r->amount, field, value))
        return;
    for (int i = 0; i < in->p->n_rate; i++)
        if (in->rate[i].id == (enum price_id)k->id && in->rate[i].tier == n->tier &&
            in->rate[i].above == n->above)
            bad(in, field, "is there twice");
    r->id = (enum price_id)k->id;
    r->tier = n->tier;
    r->above = n->above;
    in->p->n_rate++;
}

static void take_word(struct entry *in, const char *field, const struct known *k, json_t *value)
{
    const char *text = json_string_value(value);
    const char *copy = text ? arena_copy(&in->t->arena, text, strlen(text)) : NULL;

    if (!text || *text == '=') {
        bad(in, field, "is no text");
        return;
    }
    in->no_memory |= !copy;
    if (!copy)
        return;
    if (k->id == WORD_PROVIDER)
        in->p->provider = copy;
    else if (k->id == WORD_MODE)
        in->p->mode = copy;
    else
        in->p->search_unit = copy;
    if (k->id == WORD_SEARCH_UNIT && strcmp(text, "per_query") && strcmp(text, "per_prompt"))
        bad(in, field, "is neither per_query nor per_prompt");
}

static int refusal(const struct known *k)
{
    int n = 0;

    for (const struct known *at = table; at < k; at++)
        n += at->kind == REFUSE;
    return n;
}

static bool speaks_of_money(const char *name)
{
    static const char *const word[] = { "cost", "price", "pricing", "multiplier", "uplift", "fee",
                                        "charge", "discount", "surcharge", "billing", "free" };

    for (size_t i = 0; i < sizeof(word) / sizeof(*word); i++)
        if (strstr(name, word[i]))
            return true;
    return false;
}

static bool harmless(json_t *value)
{
    const char *text = json_string_value(value);
    json_t *item;
    size_t i;

    if (json_is_array(value)) {
        json_array_foreach(value, i, item)
            if (!json_is_string(item) || *json_string_value(item) == '=')
                return false;
        return true;
    }
    return json_is_boolean(value) || (text && *text != '=');
}

static void take(struct entry *in, const char *field, json_t *value)
{
    struct name n = cut_name(field);
    const struct known *k = find(field, strlen(field));
    int64_t factor;

    if (json_is_null(value))
        return;
    if (k)
        n = (struct name){ .len = strlen(field) };
    else
        k = find(field, n.len);
    if (k && k->kind == RATE) {
        take_rate(in, field, k, &n, value);
    } else if (k && k->kind == PLAIN && !strcmp(field, "input_cost_per_token_cache_hit")) {
        if (!amount(in, &in->cache_hit, field, value))
            in->cache_hit = -1;
    } else if (k && k->kind == PLAIN) {
        return;
    } else if (k && k->kind == REFUSE) {
        in->p->refused |= UINT64_C(1) << refusal(k);
    } else if (k && k->kind == TIMES && n.len == strlen(field)) {
        if (amount(in, &factor, field, value))
            in->factor[in->p->n_factor++] =
                (struct price_factor){ (enum price_times)k->id, k->key, factor };
    } else if (k && k->kind == WORD && n.len == strlen(field)) {
        take_word(in, field, k, value);
    } else if (!harmless(value) || speaks_of_money(field)) {
        bad(in, field, "is not understood");
    }
}

/* Of objects that hold prices, each field under its full name. */
static void take_inside(struct entry *in, const char *field, json_t *value)
{
    char name[256];
    const char *key;
    json_t *item;

    if (!json_is_object(value)) {
        if (!json_is_null(value))
            bad(in, field, "is no object");
        return;
    }
    json_object_foreach(value, key, item) {
        snprintf(name, sizeof(name), "%s.%s", field, key);
        take(in, name, item);
    }
}

/* The older name of a price says the same, or says it alone. */
static void join_cache_hit(struct entry *in)
{
    for (int i = 0; i < in->p->n_rate; i++) {
        const struct price_rate *r = &in->rate[i];
        if (r->id == PRICE_CACHE_READ && r->tier == TIER_STANDARD && !r->above) {
            if (r->amount != in->cache_hit)
                bad(in, "input_cost_per_token_cache_hit", "is not cache_read_input_token_cost");
            return;
        }
    }
    if (in->p->n_rate < RATES_MAX)
        in->rate[in->p->n_rate++] = (struct price_rate){ .id = PRICE_CACHE_READ,
                                                         .amount = in->cache_hit };
    else
        bad(in, "input_cost_per_token_cache_hit", "is one of too many prices");
}

static size_t fields_of(json_t *entry)
{
    size_t n = json_object_size(entry) + 1;

    n += json_object_size(json_object_get(entry, "search_context_cost_per_query"));
    return n + json_object_size(json_object_get(entry, "provider_specific_entry"));
}

enum err price_load(struct prices *t, struct price *p, const char *model, json_t *entry)
{
    struct entry in = { .t = t, .p = p, .cache_hit = -1 };
    size_t n = fields_of(entry);
    const char *field;
    json_t *value;

    *p = (struct price){ .provider = "", .search_unit = "", .mode = "" };
    p->model = arena_copy(&t->arena, model, strlen(model));
    p->rate = in.rate = arena_alloc(&t->arena, n, sizeof(*in.rate));
    p->factor = in.factor = arena_alloc(&t->arena, n, sizeof(*in.factor));
    if (!p->model || !in.rate || !in.factor)
        return err_set(ERR_NOMEM, "PRICE-05", "no memory for the prices of '%.80s'", model);
    json_object_foreach(entry, field, value) {
        if (!strcmp(field, "search_context_cost_per_query") ||
            !strcmp(field, "provider_specific_entry"))
            take_inside(&in, field, value);
        else
            take(&in, field, value);
    }
    if (in.cache_hit >= 0)
        join_cache_hit(&in);
    if (in.no_memory)
        return err_set(ERR_NOMEM, "PRICE-06", "no memory for the fields of '%.80s'", model);
    return OK;
}
