/* adapter.c - LoRA adapters: the GGUF form, and pairs made of single tensors for both forms.
 *
 * Halves are sorted by base name, so that a pair's two are neighbours and everything else that
 * can be wrong (a missing half, a name twice) is seen in one walk.  Values are not read here,
 * except to hash them.
 */
#include "formats/adapter.h"

#include "formats/adapter_form.h"
#include "formats/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static enum err no_memory(const char *path)
{
    return err_set(ERR_NOMEM, "ADAPTER-01", "%s: no memory to open the adapter; close other "
                   "programs", path);
}

enum err adapter_half_name(struct weights *w, struct adapter_half *h, const char *base, size_t len,
                           const char *tail)
{
    size_t tail_len = strlen(tail);
    uint8_t *name = malloc(len + tail_len + 1);

    if (name) {
        memcpy(name, base, len);
        memcpy(name + len, tail, tail_len);
        h->base = index_text(w->index, name, len + tail_len);
    }
    free(name);
    return h->base ? OK : no_memory(w->file[0].path);
}

/* ---- GGUF ---- */

/* Is the text of the key this one?  An absent key is an empty text. */
static enum err text_is(const struct weights *w, const char *key, const char *want, bool *same,
                        const char **text, size_t *len)
{
    enum err e = weights_str(w, key, "", text, len);

    *same = !e && *len == strlen(want) && !memcmp(*text, want, *len);
    return e;
}

/* general.type, adapter.type and what llama.cpp applies only in part of a text. */
static enum err check_kind(const struct weights *w)
{
    const char *path = w->file[0].path, *text;
    bool same;
    size_t len;
    enum err e;

    if ((e = text_is(w, "general.type", "adapter", &same, &text, &len)))
        return e;
    if (!same)
        return err_set(ERR_ARG, "ADAPTER-02", "%s: is not an adapter: its general.type is not "
                       "\"adapter\"; name a LoRA adapter here, and a model as the model", path);
    if ((e = text_is(w, "adapter.type", "lora", &same, &text, &len)))
        return e;
    if (!same)
        return err_set(ERR_ARG, "ADAPTER-03", "%s: its adapter.type is not \"lora\", the only "
                       "kind croft applies; get a LoRA adapter of it", path);
    if (weights_meta(w, "adapter.alora.invocation_tokens"))
        return err_set(ERR_ARG, "ADAPTER-04", "%s: has adapter.alora.invocation_tokens: it holds "
                       "from a certain token on (aLoRA), which croft cannot do; use a plain LoRA "
                       "adapter", path);
    return OK;
}

/* The architecture, which the user sees: a plain word. */
static enum err read_arch(struct adapter *a)
{
    const char *text;
    size_t len;
    enum err e = weights_str(a->weights, "general.architecture", "", &text, &len);

    if (e)
        return e;
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-.", text[i]) || !text[i])
            len = 0;
    if (len == 0)
        return err_set(ERR_FORMAT, "ADAPTER-05", "%s: general.architecture is not the name of a "
                       "model family; convert the adapter again", a->path);
    if (!(a->arch = index_text(a->weights->index, (const uint8_t *)text, len)))
        return no_memory(a->path);
    return OK;
}

static enum err read_gguf(struct adapter *a, struct adapter_rule *rule)
{
    enum err e = weights_open(&a->weights, a->path, NULL);

    if (e || (e = check_kind(a->weights)) || (e = read_arch(a)))
        return e;
    for (uint64_t i = 0; i < a->weights->n_tensor; i++)
        if (a->weights->tensor[i].layout != LAYOUT_rows)
            return err_set(ERR_FORMAT, "ADAPTER-40", "%s: tensor %s is packed, and croft reads "
                           "adapters as they are; convert the adapter again", a->path,
                           a->weights->tensor[i].name);
    if (!weights_meta(a->weights, "adapter.lora.alpha"))
        return err_set(ERR_FORMAT, "ADAPTER-06", "%s: has no adapter.lora.alpha, so nothing says "
                       "how strong it is; convert the adapter again", a->path);
    return weights_f64(a->weights, "adapter.lora.alpha", 0, ADAPTER_ALPHA_MIN, ADAPTER_ALPHA_MAX,
                       &rule->alpha);
}

static bool ends_in(const char *name, const char *tail, size_t *len)
{
    size_t n = strlen(name), t = strlen(tail);

    *len = n - t;
    return n > t && !strcmp(name + *len, tail);
}

static enum err gguf_half(struct weights *w, const struct tensor_info *t, struct adapter_half *out)
{
    const char *path = w->file[0].path;
    size_t len;

    out->is_b = ends_in(t->name, ".lora_b", &len);
    if (!out->is_b && !ends_in(t->name, ".lora_a", &len))
        return err_set(ERR_FORMAT, "ADAPTER-07", "%s: tensor %s is no part of a LoRA adapter, "
                       "whose names end in .lora_a and .lora_b; convert the adapter again "
                       "without it",
                       path, t->name);
    if (len == strlen("token_embd.weight") && !memcmp(t->name, "token_embd.weight", len))
        return err_set(ERR_ARG, "ADAPTER-08", "%s: tensor %s changes the embedding of tokens, "
                       "which croft does not; train an adapter without it", path, t->name);
    return adapter_half_name(w, out, t->name, len, "");
}

/* ---- pairs ---- */

static int by_base(const void *a, const void *b)
{
    const struct adapter_half *ha = a, *hb = b;
    int order = strcmp(ha->base, hb->base);

    return order ? order : (int)ha->is_b - (int)hb->is_b;
}

static enum err check_type(const char *path, const struct tensor_info *t)
{
    if (t->type == QTYPE_f32 || t->type == QTYPE_f16 || t->type == QTYPE_bf16)
        return OK;
    return err_set(ERR_FORMAT, "ADAPTER-09", "%s: tensor %s is stored as %s; an adapter must be "
                   "F32, F16 or BF16: convert it again with one of these", path, t->name,
                   qtype_info[t->type].name);
}

static enum err check_shapes(const char *path, const struct adapter_rule *rule,
                             const struct tensor_info *a, const struct tensor_info *b)
{
    if (a->ne[3] != 1 || b->ne[3] != 1 || a->ne[2] != b->ne[2])
        return err_set(ERR_FORMAT, "ADAPTER-10", "%s: tensors %s and %s are not two matrices, or "
                       "two equal stacks of them; the adapter is damaged, convert it again", path,
                       a->name, b->name);
    if (a->ne[1] != b->ne[0])
        return err_set(ERR_FORMAT, "ADAPTER-11", "%s: tensor %s has rank %" PRId64 ", but %s has "
                       "rank %" PRId64 "; the adapter is damaged, convert it again", path, a->name,
                       a->ne[1], b->name, b->ne[0]);
    if (a->ne[1] > ADAPTER_RANK_MAX)
        return err_set(ERR_LIMIT, "ADAPTER-12", "%s: tensor %s has rank %" PRId64 "; the limit is "
                       "%d: merge the adapter into its model instead", path, a->name, a->ne[1],
                       ADAPTER_RANK_MAX);
    if (rule->r && (uint64_t)a->ne[1] != rule->r)
        return err_set(ERR_FORMAT, "ADAPTER-13", "%s: tensor %s has rank %" PRId64 ", but r in "
                       "its adapter_config.json is %" PRIu64 "; the two files do not belong "
                       "together, get both again", path, a->name, a->ne[1], rule->r);
    return OK;
}

/* Two neighbours that must be one pair. */
static enum err make_pair(struct adapter *ad, const struct adapter_rule *rule,
                          const struct adapter_half *h, uint64_t left)
{
    struct adapter_pair *pair = &ad->pair[ad->n_pair];
    const char *path = ad->weights->file[0].path;
    enum err e;

    if (h[0].is_b || left < 2 || strcmp(h[0].base, h[1].base))
        return err_set(ERR_FORMAT, "ADAPTER-14", "%s: tensor %s has no %s beside it; the adapter "
                       "is cut short or damaged, get it again", path, h[0].t->name,
                       h[0].is_b ? "A" : "B");
    if (!h[1].is_b || (left > 2 && !strcmp(h[0].base, h[2].base)))
        return err_set(ERR_FORMAT, "ADAPTER-15", "%s: tensors %s and %s are for the same place; "
                       "keep one adapter in the file", path, h[!h[1].is_b ? 0 : 1].t->name,
                       h[!h[1].is_b ? 1 : 2].t->name);
    if ((e = check_type(path, h[0].t)) || (e = check_type(path, h[1].t)) ||
        (e = check_shapes(path, rule, h[0].t, h[1].t)))
        return e;
    double r = (double)h[0].t->ne[1];
    *pair = (struct adapter_pair){ .base = h[0].base, .a = h[0].t, .b = h[1].t,
                                   .scale = (float)(rule->alpha / (rule->rslora ? sqrt(r) : r)) };
    ad->n_pair++;
    return OK;
}

static enum err make_pairs(struct adapter *a, const struct adapter_rule *rule)
{
    struct weights *w = a->weights;
    struct adapter_half *half = calloc((size_t)w->n_tensor + 1, sizeof(*half));
    enum err e = OK;

    a->pair = calloc((size_t)w->n_tensor / 2 + 1, sizeof(*a->pair));
    if (!half || !a->pair)
        e = no_memory(a->path);
    for (uint64_t i = 0; i < w->n_tensor && !e; i++) {
        half[i].t = &w->tensor[i];
        e = (a->hf ? peft_half : gguf_half)(w, half[i].t, &half[i]);
    }
    if (!e && !w->n_tensor)
        e = err_set(ERR_FORMAT, "ADAPTER-16", "%s: holds no tensors; get the adapter again",
                    w->file[0].path);
    if (!e)
        qsort(half, (size_t)w->n_tensor, sizeof(*half), by_base);
    for (uint64_t i = 0; i < w->n_tensor && !e; i += 2)
        e = make_pair(a, rule, half + i, w->n_tensor - i);
    free(half);
    return e;
}

/* ---- both ---- */

static bool is_peft(const char *path)
{
    struct stat st;
    size_t len;

    return ends_in(path, ".safetensors", &len) || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* Maps expect random access; hashing reads them from end to end. */
static bool hash_files(struct sha256 *sum, const struct weights *w)
{
    for (int i = 0; i < w->n_file; i++) {
        const struct file_map *m = &w->file[i];
        madvise((void *)(uintptr_t)m->data, (size_t)m->bytes, MADV_SEQUENTIAL);
        if (!sha256_add(sum, m->data, (size_t)m->bytes))
            return false;
    }
    return true;
}

enum err adapter_open(struct adapter **out, const char *path)
{
    struct adapter *a = calloc(1, sizeof(*a));
    struct adapter_rule rule = { 0 };
    struct sha256 sum = { 0 };
    enum err e = OK;

    *out = NULL;
    if (!a || !(a->path = strdup(path)) || !sha256_init(&sum)) {
        e = no_memory(path);
        goto done;
    }
    a->arch = "";
    a->hf = is_peft(path);
    e = a->hf ? peft_open(&a->weights, &rule, &sum, path) : read_gguf(a, &rule);
    if (e || (e = make_pairs(a, &rule)))
        goto done;
    if (!hash_files(&sum, a->weights) || !sha256_finish(&sum, a->identity))
        e = no_memory(path);
done:
    sha256_release(&sum);
    if (e)
        adapter_free(a);
    else
        *out = a;
    return e;
}

void adapter_free(struct adapter *a)
{
    if (!a)
        return;
    weights_free(a->weights);
    free(a->pair);
    free(a->path);
    free(a);
}
