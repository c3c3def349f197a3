/* sampler.c - see sampler.h.
 *
 * Candidates are kept as a max-heap and taken off best first, only as many as the options keep:
 * top-k 40 of 129,280 costs one linear pass and 40 pops instead of a sort.  Everything that is
 * summed is summed in one fixed order (ids, or best first), in double, so that a seed gives the
 * same token whatever the number of threads.
 */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

struct candidate { float logit; int32_t id; };

struct sampler {
    struct sampler_options o;
    int32_t n_vocab;
    struct candidate *cand;             /* [n_vocab] */
    int32_t *count;                     /* [n_vocab], all zero between calls */
    double *weight;                     /* [n_vocab] */
};

/* `!(in range)` so that a NaN is refused too. */
static enum err check_range(const char *flag, double value, double min, double max)
{
    if (value >= min && value <= max)
        return OK;
    return err_set(ERR_ARG, "SAMPLE-01", "%s is %g, but must be from %g to %g", flag, value, min,
                   max);
}

static enum err check_options(const struct sampler_options *o)
{
    const struct { const char *flag; double value, min, max; } check[] = {
        { "--temp", (double)o->temperature, 0, 100 },
        { "--top-k", o->top_k, 0, INT32_MAX },
        { "--top-p", (double)o->top_p, 0, 1 },
        { "--min-p", (double)o->min_p, 0, 1 },
        { "--repeat-penalty", (double)o->repeat_penalty, (double)0.01f, 100 },
        { "--presence-penalty", (double)o->presence_penalty, -100, 100 },
        { "--frequency-penalty", (double)o->frequency_penalty, -100, 100 },
        { "--repeat-last-n", o->repeat_last_n, -1, INT32_MAX },
    };

    for (size_t i = 0; i < sizeof(check) / sizeof(check[0]); i++) {
        enum err e = check_range(check[i].flag, check[i].value, check[i].min, check[i].max);
        if (e)
            return e;
    }
    return OK;
}

enum err sampler_new(struct sampler **out, const struct sampler_options *o, int32_t n_vocab)
{
    struct sampler *s;
    enum err e = check_options(o);

    *out = NULL;
    if (e)
        return e;
    ASSERT(n_vocab > 0);
    s = calloc(1, sizeof(*s));
    if (!s)
        goto fail;
    s->o = *o;
    s->n_vocab = n_vocab;
    s->cand = calloc((size_t)n_vocab, sizeof(*s->cand));
    s->count = calloc((size_t)n_vocab, sizeof(*s->count));
    s->weight = calloc((size_t)n_vocab, sizeof(*s->weight));
    if (!s->cand || !s->count || !s->weight)
        goto fail;
    *out = s;
    return OK;
fail:
    sampler_free(s);
    return err_set(ERR_NOMEM, "SAMPLE-02", "out of memory for the sampler's %d candidates; close "
                   "other programs and try again", n_vocab);
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    free(s->cand);
    free(s->count);
    free(s->weight);
    free(s);
}

/* SplitMix64's output function, a bijection with full avalanche: G. L. Steele, D. Lea,
 * C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; the constants are
 * David Stafford's variant 13. */
static uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The seed is hashed first, so that seeds 1, 2, 3 have nothing in common; the second round adds
 * the hash again, so that two seeds' streams are not shifted copies of each other. */
float sampler_uniform(uint64_t seed, int64_t pos)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t key = mix64(seed + golden);
    uint64_t x = mix64(mix64(key + ((uint64_t)pos + 1) * golden) + key);

    return (float)(x >> 40) * 0x1p-24f;
}

/* Finite logits stay finite whatever the penalties. */
static float clamp_finite(double x)
{
    return (float)(x > (double)FLT_MAX ? (double)FLT_MAX :
                   x < -(double)FLT_MAX ? -(double)FLT_MAX : x);
}

/* llama.cpp's meaning of the three penalties, over the last repeat_last_n tokens. */
static void penalise(struct sampler *s, const int32_t *history, int64_t n_history)
{
    const struct sampler_options *o = &s->o;
    int64_t first = o->repeat_last_n < 0 || n_history < o->repeat_last_n
                    ? 0 : n_history - o->repeat_last_n;

    if (o->repeat_penalty == 1 && o->presence_penalty == 0 && o->frequency_penalty == 0)
        return;
    for (int64_t i = first; i < n_history; i++) {
        ASSERT(history[i] >= 0 && history[i] < s->n_vocab);
        s->count[history[i]]++;
    }
    for (int64_t i = first; i < n_history; i++) {
        struct candidate *c = &s->cand[history[i]];
        int32_t n = s->count[history[i]];

        if (!n)
            continue;                   /* seen earlier in this walk */
        s->count[history[i]] = 0;
        double x = (double)c->logit;
        x = x > 0 ? x / (double)o->repeat_penalty : x * (double)o->repeat_penalty;
        x -= (double)n * (double)o->frequency_penalty + (double)o->presence_penalty;
        c->logit = clamp_finite(x);
    }
}

/* Equal logits: the lower id first. */
static bool better(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void heap_down(struct candidate *c, int32_t n, int32_t i)
{
    struct candidate x = c[i];

    for (int32_t child; i < n / 2; i = child) {
        child = 2 * i + 1;
        if (child + 1 < n && better(c[child + 1], c[child]))
            child++;
        if (!better(c[child], x))
            break;
        c[i] = c[child];
    }
    c[i] = x;
}

/* Take the best off a heap of *n; it comes to rest right behind the smaller heap, so that what
 * was taken stands in the array best last. */
static struct candidate heap_take(struct candidate *c, int32_t *n)
{
    struct candidate best = c[0];

    c[0] = c[--*n];
    c[*n] = best;
    heap_down(c, *n, 0);
    return best;
}

/* e^((l - best) / t), and 1 for the best itself however small t is. */
static double weight_of(float logit, float best, float t)
{
    return exp(((double)logit - (double)best) / (double)t);
}

/* Draw from cand[0 .. n-1] with weight[0 .. n-1] in that order. */
static int32_t draw(const struct sampler *s, int32_t n, double sum, int64_t pos)
{
    double target = (double)sampler_uniform(s->o.seed, pos) * sum, cum = 0;
    int32_t last = 0;

    for (int32_t i = 0; i < n; i++) {
        if (s->weight[i] > 0)
            last = i;
        cum += s->weight[i];
        if (cum > target)
            return s->cand[i].id;
    }
    return s->cand[last].id;            /* rounding left the sum a hair below */
}

/* Reduce the candidates to those that top-k, top-p and min-p keep, best first, and return how
 * many; always at least one.  Top-p's mass is that of the tempered distribution (as Hugging
 * Face and vLLM have it, and so the published settings mean it); min-p's ratio is not. */
static int32_t keep_best(struct sampler *s)
{
    const struct sampler_options *o = &s->o;
    int32_t n_heap = s->n_vocab, n_keep;
    int32_t k = o->top_k > 0 && o->top_k < s->n_vocab ? o->top_k : s->n_vocab;
    struct candidate *c = s->cand;
    float best;
    double total = 0, mass = 0;

    for (int32_t i = n_heap / 2; i-- > 0; )
        heap_down(c, n_heap, i);
    best = c[0].logit;
    if (o->top_p < 1 && k == s->n_vocab) {
        /* The heap's order depends on the logits alone, so this sum is as fixed as any. */
        for (int32_t i = 0; i < s->n_vocab; i++)
            total += weight_of(c[i].logit, best, o->temperature);
    } else if (o->top_p < 1) {
        for (int32_t i = 0; i < k; i++)
            total += weight_of(heap_take(c, &n_heap).logit, best, o->temperature);
    }
    /* Taken ones stand at the end, best last: bring those to keep to the front, best first. */
    int32_t n_taken = s->n_vocab - n_heap;
    for (n_keep = 0; n_keep < k; n_keep++) {
        if (n_keep >= n_taken)
            (void)heap_take(c, &n_heap);
        struct candidate next = c[s->n_vocab - 1 - n_keep];
        if (n_keep && ((o->top_p < 1 && mass >= (double)o->top_p * total) ||
                       weight_of(next.logit, best, 1) < (double)o->min_p))
            break;
        s->weight[n_keep] = weight_of(next.logit, best, o->temperature);
        mass += s->weight[n_keep];
    }
    for (int32_t i = 0, j = s->n_vocab - 1; i < j; i++, j--) {
        struct candidate swap = c[i];
        c[i] = c[j];
        c[j] = swap;
        if (i >= n_keep)
            break;
    }
    return n_keep;
}

enum err sampler_next(struct sampler *s, const float *logits, const int32_t *history,
                      int64_t n_history, int64_t pos, int32_t *out)
{
    const struct sampler_options *o = &s->o;
    struct candidate best;
    double sum = 0;
    int32_t n = s->n_vocab;

    *out = -1;
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]))
            return err_set(ERR_FORMAT, "SAMPLE-03", "the logit of token %d at position %lld is "
                           "%f: the model file holds damaged values; run croft show --check on it",
                           i, (long long)pos, (double)logits[i]);
        s->cand[i] = (struct candidate){ logits[i], i };
    }
    penalise(s, history, n_history);
    best = s->cand[0];
    for (int32_t i = 1; i < n; i++)
        if (better(s->cand[i], best))
            best = s->cand[i];
    if (o->temperature == 0 || o->top_k == 1) {
        *out = best.id;
        return OK;
    }
    if ((o->top_k > 0 && o->top_k < n) || o->top_p < 1 || o->min_p > 0)
        n = keep_best(s);
    else
        for (int32_t i = 0; i < n; i++)
            s->weight[i] = weight_of(s->cand[i].logit, best.logit, o->temperature);
    for (int32_t i = 0; i < n; i++)
        sum += s->weight[i];
    *out = draw(s, n, sum, pos);
    return OK;
}
