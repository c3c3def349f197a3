/* usage.c - see usage.h: a usage object's counts, by the table usage.def, taken apart. */
#include "gateway/usage.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

enum count {
    RAW_PROMPT, RAW_INPUT, RAW_COMPLETION, RAW_TOTAL, RAW_CACHED, RAW_WRITTEN, RAW_AUDIO,
    RAW_IMAGE, RAW_VIDEO, RAW_IMAGES, RAW_AUDIO_SECONDS, RAW_VIDEO_SECONDS, RAW_SEARCHES,
    RAW_CACHED_AUDIO, RAW_CACHED_IMAGE, RAW_MISSED, RAW_REASONING, RAW_OUT_AUDIO, RAW_OUT_IMAGE,
    RAW_OUT_VIDEO, RAW_READ_BESIDE, RAW_WRITTEN_BESIDE, RAW_WRITTEN_5M, RAW_WRITTEN_1H, RAW_N
};

enum text { RAW_TIER, RAW_GEO, RAW_SPEED, RAW_SEARCH_SIZE, RAW_TEXT_N };

enum kind { A_COUNT, A_TEXT, INSIDE, FREE };

static const struct field { const char *name; enum kind kind; int id; } table[] = {
#define COUNT(id, name) { name, A_COUNT, RAW_##id },
#define TEXT(id, name) { name, A_TEXT, RAW_##id },
#define INSIDE(name) { name, INSIDE, 0 },
#define FREE(name) { name, FREE, 0 },
#include "gateway/usage.def"
#undef COUNT
#undef TEXT
#undef INSIDE
#undef FREE
};

/* The counts as they stand in the object: which there are, and by which name each came. */
struct raw {
    int64_t n[RAW_N];
    bool has[RAW_N];
    const char *name[RAW_N];
    const char *text[RAW_TEXT_N];
};

static const struct field *find(const char *name)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

static enum err take_count(struct raw *r, const struct field *f, json_t *value)
{
    int64_t v = json_integer_value(value);

    if (!json_is_integer(value) || v < 0)
        return err_set(ERR_FORMAT, "USAGE-01", "usage: %s is no count; an integer of at least 0 "
                       "is expected", f->name);
    if (r->has[f->id] && r->n[f->id] != v)
        return err_set(ERR_FORMAT, "USAGE-02", "usage: %s is %lld and %s is %lld; they are two "
                       "names of one count", r->name[f->id], (long long)r->n[f->id], f->name,
                       (long long)v);
    r->n[f->id] = v;
    r->has[f->id] = true;
    r->name[f->id] = f->name;
    return OK;
}

static enum err take_text(struct raw *r, const struct field *f, json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) >= USAGE_WORD_MAX)
        return err_set(ERR_FORMAT, "USAGE-03", "usage: %s is no word of at most %d bytes", f->name,
                       USAGE_WORD_MAX - 1);
    r->text[f->id] = json_string_value(value);
    return OK;
}

/* Nothing is counted in it. */
static bool says_nothing(json_t *value)
{
    return json_is_null(value) || json_is_boolean(value) || json_is_string(value) ||
           (json_is_number(value) && !(json_number_value(value) < 0) &&
            !(json_number_value(value) > 0)) ||
           (json_is_array(value) && !json_array_size(value)) ||
           (json_is_object(value) && !json_object_size(value));
}

/* Depth is at most that of usage.def: only objects of its INSIDE lines are entered. */
static enum err take_all(struct raw *r, const char *before, json_t *object)
{
    const struct field *f;
    const char *key;
    char name[128];
    json_t *value;
    enum err e = OK;

    json_object_foreach(object, key, value) {
        int n = snprintf(name, sizeof(name), "%s%s%s", before, *before ? "." : "", key);
        f = n < (int)sizeof(name) ? find(name) : NULL;
        if (json_is_null(value) || (f && f->kind == FREE))
            continue;
        if (f && f->kind == A_COUNT)
            e = take_count(r, f, value);
        else if (f && f->kind == A_TEXT)
            e = take_text(r, f, value);
        else if (f && json_is_object(value))
            e = take_all(r, f->name, value);
        else if (!says_nothing(value))
            e = err_set(ERR_FORMAT, "USAGE-04", "usage: %s is not understood, so that its cost is "
                        "not known", name);
        if (e)
            return e;
    }
    return OK;
}

/* a <= b, or the usage contradicts itself. */
static enum err fits(const char *what, int64_t a, const char *of, int64_t b)
{
    if (a <= b)
        return OK;
    return err_set(ERR_FORMAT, "USAGE-05", "usage: %lld %s are more than the %lld %s",
                   (long long)a, what, (long long)b, of);
}

static enum err add(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum))
        return err_set(ERR_LIMIT, "USAGE-06", "usage: the counts add up to more than 64 "
                       "bits hold");
    return OK;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* OpenAI counts cached tokens among the prompt's, Anthropic beside them. */
static enum err take_prompt(struct usage *u, struct raw *r, int64_t *cached, int64_t *written)
{
    bool beside = r->has[RAW_INPUT] && (r->n[RAW_READ_BESIDE] || r->n[RAW_WRITTEN_BESIDE] ||
                                        r->n[RAW_WRITTEN_5M] || r->n[RAW_WRITTEN_1H]);
    int64_t lives = r->n[RAW_WRITTEN_5M];
    enum err e = add(&lives, r->n[RAW_WRITTEN_1H]);

    if (e)
        return e;
    if (r->has[RAW_PROMPT] && r->has[RAW_INPUT] && r->n[RAW_PROMPT] != r->n[RAW_INPUT])
        return err_set(ERR_FORMAT, "USAGE-07", "usage: prompt_tokens and input_tokens differ");
    if (!r->has[RAW_PROMPT] && !r->has[RAW_INPUT])
        return err_set(ERR_FORMAT, "USAGE-08", "usage: has neither prompt_tokens nor "
                       "input_tokens");
    if ((r->n[RAW_CACHED] && r->has[RAW_READ_BESIDE] &&
         r->n[RAW_CACHED] != r->n[RAW_READ_BESIDE]) ||
        (r->n[RAW_WRITTEN] && r->has[RAW_WRITTEN_BESIDE] &&
         r->n[RAW_WRITTEN] != r->n[RAW_WRITTEN_BESIDE]))
        return err_set(ERR_FORMAT, "USAGE-09", "usage: two counts of cached tokens differ");
    *cached = r->has[RAW_READ_BESIDE] ? r->n[RAW_READ_BESIDE] : r->n[RAW_CACHED];
    *written = r->has[RAW_WRITTEN_BESIDE] ? r->n[RAW_WRITTEN_BESIDE]
               : r->n[RAW_WRITTEN] ? r->n[RAW_WRITTEN] : lives;
    if ((e = fits("tokens written for 5 minutes and 1 hour", lives, "written to the cache",
                  *written)))
        return e;
    u->prompt = r->has[RAW_PROMPT] ? r->n[RAW_PROMPT] : r->n[RAW_INPUT];
    if (beside && !r->has[RAW_PROMPT] &&
        ((e = add(&u->prompt, *cached)) || (e = add(&u->prompt, *written))))
        return e;
    return OK;
}

/* Images and audio may be among the cached tokens, so only what is not cached is paid as such. */
static enum err split_prompt(struct usage *u, struct raw *r)
{
    int64_t cached = 0, written = 0, rest, audio, image;
    enum err e = take_prompt(u, r, &cached, &written);
    int64_t both = 0;

    if (e || (e = add(&both, cached)) || (e = add(&both, written)) ||
        (e = fits("cached tokens", both, "prompt tokens", u->prompt)))
        return e;
    if (r->has[RAW_MISSED] && r->n[RAW_MISSED] != u->prompt - cached)
        return err_set(ERR_FORMAT, "USAGE-10", "usage: prompt_cache_hit_tokens and "
                       "prompt_cache_miss_tokens do not add up to prompt_tokens");
    audio = least(r->n[RAW_CACHED_AUDIO], cached);
    image = least(r->n[RAW_CACHED_IMAGE], cached - audio);
    u->n[PRICE_CACHE_READ_AUDIO] = audio;
    u->n[PRICE_CACHE_READ_IMAGE] = image;
    u->n[PRICE_CACHE_READ] = cached - audio - image;
    u->n[PRICE_CACHE_WRITE_1H] = r->n[RAW_WRITTEN_1H];
    u->n[PRICE_CACHE_WRITE] = written - r->n[RAW_WRITTEN_1H];
    rest = u->prompt - both;
    rest -= u->n[PRICE_INPUT_AUDIO] =
        least(r->n[RAW_AUDIO] - least(r->n[RAW_AUDIO], audio), rest);
    rest -= u->n[PRICE_INPUT_IMAGE] =
        least(r->n[RAW_IMAGE] - least(r->n[RAW_IMAGE], image), rest);
    rest -= u->n[PRICE_INPUT_VIDEO] = least(r->n[RAW_VIDEO], rest);
    u->n[PRICE_INPUT] = rest;
    u->n[PRICE_IMAGE] = r->n[RAW_IMAGES];
    u->n[PRICE_AUDIO_SECOND] = r->n[RAW_AUDIO_SECONDS];
    u->n[PRICE_VIDEO_SECOND] = r->n[RAW_VIDEO_SECONDS];
    return OK;
}

/* Some hosts count reasoning beside the completion; their total says so. */
static enum err split_completion(struct usage *u, struct raw *r)
{
    int64_t inside = r->n[RAW_REASONING], sum = u->prompt, more;
    enum err e;

    u->completion = r->n[RAW_COMPLETION];
    if ((e = add(&sum, u->completion)))
        return e;
    if (r->has[RAW_TOTAL] && r->n[RAW_TOTAL] != sum) {
        more = r->n[RAW_TOTAL] - sum;
        if (more <= 0 || more != r->n[RAW_REASONING])
            return err_set(ERR_FORMAT, "USAGE-11", "usage: total_tokens is %lld, but prompt and "
                           "completion are %lld", (long long)r->n[RAW_TOTAL], (long long)sum);
        u->completion += more;
    }
    if ((e = add(&inside, r->n[RAW_OUT_AUDIO])) || (e = add(&inside, r->n[RAW_OUT_IMAGE])) ||
        (e = add(&inside, r->n[RAW_OUT_VIDEO])) ||
        (e = fits("tokens of reasoning, audio, images and video", inside, "completion tokens",
                  u->completion)))
        return e;
    u->n[PRICE_REASONING] = r->n[RAW_REASONING];
    u->n[PRICE_OUTPUT_AUDIO] = r->n[RAW_OUT_AUDIO];
    u->n[PRICE_OUTPUT_IMAGE] = r->n[RAW_OUT_IMAGE];
    u->n[PRICE_OUTPUT_VIDEO] = r->n[RAW_OUT_VIDEO];
    u->n[PRICE_OUTPUT] = u->completion - inside;
    return OK;
}

static enum err unknown_word(const char *field, const char *word)
{
    return err_set(ERR_FORMAT, "USAGE-12", "usage: %s '%.40s' is not known, so that its price is "
                   "not", field, word);
}

enum err usage_set_tier(struct usage *u, const char *name)
{
    int tier = price_tier_of(name, strlen(name));

    if (tier < 0)
        return unknown_word("service_tier", name);
    u->tier = (enum price_tier)tier;
    return OK;
}

static enum err take_words(struct usage *u, struct raw *r)
{
    const char *size = r->text[RAW_SEARCH_SIZE], *speed = r->text[RAW_SPEED];
    const char *geo = r->text[RAW_GEO];
    enum price_id search = PRICE_SEARCH_MEDIUM;

    if (size && !strcmp(size, "low"))
        search = PRICE_SEARCH_LOW;
    else if (size && !strcmp(size, "high"))
        search = PRICE_SEARCH_HIGH;
    else if (size && strcmp(size, "medium"))
        return unknown_word("search_context_size", size);
    u->n[search] = r->n[RAW_SEARCHES];
    u->fast = speed && !strcmp(speed, "fast");
    if (speed && !u->fast && strcmp(speed, "standard"))
        return unknown_word("speed", speed);
    if (geo && strcmp(geo, "global") && strcmp(geo, "not_available"))
        snprintf(u->geo, sizeof(u->geo), "%s", geo);
    return r->text[RAW_TIER] ? usage_set_tier(u, r->text[RAW_TIER]) : OK;
}

enum err usage_read(struct usage *u, json_t *object)
{
    json_t *inner = json_object_get(object, "usage");
    json_t *tier = json_object_get(object, "service_tier");
    struct raw r = { 0 };
    enum err e;

    *u = (struct usage){ .n[PRICE_REQUEST] = 1 };
    if (json_is_object(inner))
        object = inner;
    if (!json_is_object(object))
        return err_set(ERR_FORMAT, "USAGE-13", "usage: is no object of counts such as "
                       "{\"prompt_tokens\": 9, \"completion_tokens\": 12}");
    e = take_all(&r, "", object);
    if (!e && object == inner && !r.text[RAW_TIER] && !json_is_null(tier) && tier)
        e = take_text(&r, find("service_tier"), tier);
    if (e || (e = split_prompt(u, &r)) || (e = split_completion(u, &r)))
        return e;
    return take_words(u, &r);
}

enum err usage_parse(struct usage *u, const char *text, size_t len, const char *what)
{
    json_t *object;
    enum err e;

    *u = (struct usage){ 0 };
    if ((e = json_parse(&object, text, len, USAGE_TEXT_MAX, what)))
        return e;
    e = usage_read(u, object);
    json_decref(object);
    return e ? err_wrap(e, "%s", what) : OK;
}
