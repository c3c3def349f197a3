/* bind.c - from a checkpoint's tensors to a family's weights: names, shapes, nothing left over.
 *
 * A tensor that the family's table does not name is an error: computing without it would give
 * wrong text in silence. */
#include "model/arch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCH(id) extern const struct arch arch_##id;
#include "model/arch.def"
#undef ARCH

static const struct arch *const archs[] = {
#define ARCH(id) &arch_##id,
#include "model/arch.def"
#undef ARCH
};

const struct arch *arch_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        if (strlen(archs[i]->name) == len && !memcmp(archs[i]->name, name, len))
            return archs[i];
    return NULL;
}

struct binder {
    struct binding *b;
    const struct weights *w;
    const struct kernels *k;
    bool *bound;                        /* [n_tensor] */
    int64_t n_vector;                   /* f32 of vectors handed out so far */
};

static enum err check_shape(const struct binder *b, const struct weight_spec *spec,
                            const struct tensor_info *t)
{
    const int64_t *dim = b->b->hp.dim;
    int64_t cols = dim[spec->shape[0]], rows = dim[spec->shape[1]] * dim[spec->shape[2]];

    if (t->ne[0] == cols && t->n_row == rows)
        return OK;
    return err_set(ERR_FORMAT, "MODEL-30", "%s: tensor '%s' has %" PRId64 " rows of %" PRId64
                   " values; the metadata asks for %" PRId64 " of %" PRId64 ": the file is damaged "
                   "or its metadata is another model's", b->w->file[t->file].path, t->name,
                   t->n_row, t->ne[0], rows, cols);
}

static enum err bind_vector(struct binder *b, const struct tensor_info *t, const float **field)
{
    float *to = b->b->vectors + b->n_vector;

    b->k->dequant[t->type](to, t->data, t->n_elem);
    if (!b->k->all_finite(to, t->n_elem))
        return err_set(ERR_FORMAT, "MODEL-31", "%s: tensor '%s' has a value that is not finite: "
                       "the file is damaged, download it again", b->w->file[t->file].path,
                       t->name);
    b->n_vector += t->n_elem;
    *field = to;
    return OK;
}

/* Bind one line of a table; `layer` is -1 for the globals.  `base` is the struct it goes into. */
static enum err bind_spec(struct binder *b, const struct weight_spec *spec, int32_t layer,
                          bool is_moe, void *base)
{
    char name[64];
    void *field = (char *)base + spec->field;
    enum err e;

    if (layer >= 0)
        snprintf(name, sizeof(name), spec->name, layer);
    else
        snprintf(name, sizeof(name), "%s", spec->name);
    const struct tensor_info *t = weights_find(b->w, name);
    if (!t) {
        bool needed = spec->need == ALWAYS || (spec->need == IF_MOE && is_moe) ||
                      (spec->need == IF_DENSE && !is_moe);
        if (!needed)
            return OK;
        return err_set(ERR_FORMAT, "MODEL-32", "%s: tensor '%s' is missing; the download is "
                       "incomplete or the file is not a whole model", b->w->file[0].path, name);
    }
    if ((spec->need == IF_MOE && !is_moe) || (spec->need == IF_DENSE && is_moe))
        return OK;                      /* stays unbound and is reported as left over */
    if ((e = check_shape(b, spec, t)))
        return e;
    b->bound[t - b->w->tensor] = true;
    if (spec->kind == VECTOR)
        return bind_vector(b, t, field);
    *(struct weight *)field = (struct weight){
        .name = t->name, .type = t->type, .layout = LAYOUT_rows, .n_col = t->ne[0],
        .n_row = t->n_row, .row_bytes = t->row_bytes, .data = t->data,
    };
    return OK;
}

static enum err bind_table(struct binder *b, const struct weight_spec *spec, int32_t layer,
                           bool is_moe, void *base)
{
    enum err e;

    for (; spec->name; spec++)
        if ((e = bind_spec(b, spec, layer, is_moe, base)))
            return e;
    return OK;
}

static enum err bind_layers(struct binder *b)
{
    struct binding *to = b->b;
    enum err e;

    for (int32_t i = 0; i < to->hp.n_layer; i++) {
        struct layer *l = &to->layer[i];
        l->index = i;
        l->is_moe = i >= to->hp.n_layer_dense;
        l->index_moe = i - to->hp.n_layer_dense;
        if ((e = bind_table(b, to->arch->layer, i, l->is_moe, l)))
            return e;
        if (to->arch->check && (e = to->arch->check(&to->hp, l)))
            return err_wrap(e, "%s", b->w->file[0].path);
    }
    return OK;
}

/* The layer number in "blk.N.", or -1. */
static int64_t layer_of(const char *name)
{
    return strncmp(name, "blk.", 4) ? -1 : strtoll(name + 4, NULL, 10);
}

/* Count parameters once each, and refuse what nobody asked for. */
static enum err account(struct binder *b)
{
    struct binding *to = b->b;

    for (uint64_t i = 0; i < b->w->n_tensor; i++) {
        const struct tensor_info *t = &b->w->tensor[i];
        int64_t layer = layer_of(t->name);
        if (layer >= to->hp.n_layer && layer < to->hp.n_layer + to->hp.n_layer_mtp) {
            to->n_param_mtp += t->n_elem;
            continue;
        }
        if (!b->bound[i])
            return err_set(ERR_ARG, "MODEL-33", "%s: tensor '%s' has no place in the family '%s'; "
                           "computing without it would give wrong answers",
                           b->w->file[t->file].path, t->name, to->arch->name);
        bool second = layer >= 0 && strstr(t->name, ".attn_kv_b.") &&
                      to->layer[layer].k_b.data && to->layer[layer].v_b.data;
        if (second || !strcmp(t->name, "rope_freqs.weight"))
            continue;
        to->n_param += t->n_elem;
        if (strstr(t->name, "_exps."))
            to->n_param_expert += t->n_elem;
    }
    return OK;
}

static enum err refuse_arch(const struct weights *w, const char *name, size_t len)
{
    char known[256];
    size_t at = 0;

    if (!len)
        return err_set(ERR_FORMAT, "MODEL-34", "%s: the key general.architecture is missing: this "
                       "is not a model file", w->file[0].path);
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
                               archs[i]->name);
    return err_set(ERR_ARG, "MODEL-35", "%s: the model family '%.*s' is not one croft runs; it "
                   "runs %s", w->file[0].path, (int)(len < 64 ? len : 64), name, known);
}

static int64_t vector_elems(const struct weights *w)
{
    int64_t n = 0;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        if (w->tensor[i].n_row == 1)
            n += w->tensor[i].n_elem;
    return n;
}

enum err bind_weights(struct binding *to, const struct weights *w)
{
    const char *name;
    size_t len;
    struct kernels k;
    struct binder b = { .b = to, .w = w, .k = &k };
    enum err e;

    *to = (struct binding){ 0 };
    kernels_init(&k, 0);
    if ((e = weights_str(w, "general.architecture", "", &name, &len)))
        return e;
    if (!(to->arch = arch_find(name, len)))
        return refuse_arch(w, name, len);
    if ((e = to->arch->read(&to->hp, w)))
        return e;
    const struct tensor_info *embd = weights_find(w, "token_embd.weight");
    to->hp.dim[DIM_VOCAB] = embd ? embd->n_row : 1;
    if (to->hp.dim[DIM_VOCAB] > INT32_MAX)
        return err_set(ERR_LIMIT, "MODEL-36", "%s: token_embd.weight has %" PRId64 " rows; the "
                       "limit is %d", w->file[0].path, embd->n_row, INT32_MAX);
    b.bound = calloc(w->n_tensor + 1, sizeof(*b.bound));
    to->layer = calloc((size_t)to->hp.n_layer, sizeof(*to->layer));
    to->vectors = calloc((size_t)vector_elems(w) + 1, sizeof(*to->vectors));
    if (!b.bound || !to->layer || !to->vectors)
        e = err_set(ERR_NOMEM, "MODEL-37", "%s: no memory to index %d layers",
                    w->file[0].path, to->hp.n_layer);
    if (!e)
        e = bind_table(&b, to->arch->global, -1, false, &to->global);
    if (!e && !to->global.output.data)
        to->global.output = to->global.embd;
    if (!e && !(e = bind_layers(&b)))
        e = account(&b);
    free(b.bound);
    if (e)
        bind_release(to);
    return e;
}

void bind_release(struct binding *b)
{
    free(b->layer);
    free(b->vectors);
    *b = (struct binding){ 0 };
}
