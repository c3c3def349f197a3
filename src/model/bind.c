/* bind.c - from a checkpoint's tensors to a family's weights: names, shapes, nothing left over.
 *
 * A tensor that the family's table does not name is an error: computing without it would give
 * wrong text in silence. */
#include "model/arch.h"

#include "base/buf.h"
#include "kernels/tile.h"

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

/* True when `word` is one of the space-separated words of `list`. */
static bool listed(const char *list, const char *word, size_t len)
{
    for (const char *at = list; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && !memcmp(at, word, len))
            return true;
        at += n;
    }
    return false;
}

static enum err refuse_arch(const struct weights *w, const char *key, const char *name,
                            size_t len)
{
    struct buf known = { 0 };

    if (!len)
        return err_set(ERR_FORMAT, "MODEL-34", "%s: the key %s is missing: this is not a model "
                       "file", w->file[0].path, key);
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        buf_printf(&known, "%s%s", i ? " " : "", w->hf ? archs[i]->hf_types : archs[i]->name);
    enum err e = err_set(ERR_ARG, "MODEL-35", "%s: the model family '%.*s' is not one croft runs; "
                         "it runs: %s", w->file[0].path, (int)(len < 64 ? len : 64), name,
                         buf_text(&known));
    buf_release(&known);
    return e;
}

enum err arch_find(const struct arch **out, const struct weights *w)
{
    const char *key = w->hf ? "model_type" : "general.architecture", *name;
    size_t len;
    enum err e;

    *out = NULL;
    if ((e = weights_str(w, key, "", &name, &len)))
        return e;
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        if (listed(w->hf ? archs[i]->hf_types : archs[i]->name, name, len))
            *out = archs[i];
    return *out ? OK : refuse_arch(w, key, name, len);
}

enum { NAME_BYTES = 128, EXPERTS_PER_LAYER = 3 };

struct binder {
    struct binding *b;
    const struct weights *w;
    const struct kernels *k;
    bool *bound;                        /* [n_tensor] */
    int64_t n_vector;                   /* f32 of vectors handed out so far */
    int64_t n_expert;                   /* of b->experts handed out so far */
};

static enum err refuse_shape(const struct binder *b, const struct tensor_info *t, int64_t rows,
                             int64_t cols)
{
    return err_set(ERR_FORMAT, "MODEL-30", "%s: tensor '%s' has %" PRId64 " rows of %" PRId64
                   " values; the metadata asks for %" PRId64 " of %" PRId64 ": the file is damaged "
                   "or its metadata is another model's", b->w->file[t->file].path, t->name,
                   t->n_row, t->ne[0], rows, cols);
}

/* Vectors, scales and matrices that are cut between multiples of 16 rows do not lie in tiles. */
static enum err refuse_tiles(const struct binder *b, const struct tensor_info *t)
{
    if (t->layout == LAYOUT_rows)
        return OK;
    return err_set(ERR_FORMAT, "MODEL-48", "%s: tensor '%s' is packed, which this one cannot be; "
                   "the file is damaged: pack the model again", b->w->file[t->file].path, t->name);
}

static enum err bind_vector(struct binder *b, const struct tensor_info *t, const float **field)
{
    float *to = b->b->vectors + b->n_vector;
    enum err e = refuse_tiles(b, t);

    if (e)
        return e;
    if (t->type == QTYPE_f8_e4m3)
        return err_set(ERR_ARG, "MODEL-46", "%s: tensor '%s' is a vector in FP8, for which croft "
                       "knows no scale", b->w->file[t->file].path, t->name);
    b->k->dequant[t->type](to, t->data, t->n_elem);
    if (!b->k->all_finite(to, t->n_elem))
        return err_set(ERR_FORMAT, "MODEL-31", "%s: tensor '%s' has a value that is not finite: "
                       "the file is damaged, download it again", b->w->file[t->file].path,
                       t->name);
    b->n_vector += t->n_elem;
    *field = to;
    return OK;
}

static void mark(struct binder *b, const struct tensor_info *t)
{
    b->bound[t - b->w->tensor] = true;
}

/* An FP8 tensor comes with its blocks' scales in a tensor of its own. */
static enum err find_scale(struct binder *b, const struct tensor_info *t, const uint8_t **scale)
{
    char name[NAME_BYTES + 16];
    int64_t rows = (t->n_row + 127) / 128, cols = (t->ne[0] + 127) / 128;

    *scale = NULL;
    if (t->type != QTYPE_f8_e4m3)
        return OK;
    snprintf(name, sizeof(name), "%s_scale_inv", t->name);
    const struct tensor_info *s = weights_find(b->w, name);
    if (!s)
        return err_set(ERR_FORMAT, "MODEL-38", "%s: tensor '%s' is FP8 and '%s' with its scales is "
                       "missing; the download is incomplete", b->w->file[t->file].path, t->name,
                       name);
    if (s->type != QTYPE_f32)
        return err_set(ERR_ARG, "MODEL-39", "%s: tensor '%s' is %s; croft reads scales in F32",
                       b->w->file[s->file].path, name, qtype_info[s->type].name);
    if (s->n_row != rows || s->ne[0] != cols)
        return refuse_shape(b, s, rows, cols);
    mark(b, s);
    b->b->want[s - b->w->tensor] = PLACE_ROWS;
    *scale = s->data;
    return refuse_tiles(b, s);
}

/* `part_rows`: the rows of each of the matrices that the tensor is made of. */
static enum err bind_matrix(struct binder *b, const struct tensor_info *t, int64_t part_rows,
                            struct weight *field)
{
    bool whole = part_rows % TILE_ROWS == 0;
    enum err e = whole ? OK : refuse_tiles(b, t);

    if (e)
        return e;
    b->b->want[t - b->w->tensor] = whole ? place_want(t) : PLACE_ROWS;
    *field = (struct weight){
        .name = t->name, .type = t->type, .layout = t->layout, .n_col = t->ne[0],
        .n_row = t->n_row, .row_bytes = t->row_bytes, .data = t->data, .id = field->id,
    };
    return find_scale(b, t, &field->scale);
}

/* The tensor a line of the table names, or NULL.  `layer` is -1 for the globals. */
static const struct tensor_info *lookup(const struct binder *b, const struct weight_spec *spec,
                                        int32_t layer, int32_t expert, char name[NAME_BYTES])
{
    const char *pattern = b->w->hf ? spec->hf : spec->gguf;

    name[0] = '\0';
    if (!pattern)
        return NULL;
    if (layer >= 0)
        snprintf(name, NAME_BYTES, pattern, layer, expert);
    else
        snprintf(name, NAME_BYTES, "%s", pattern);
    return weights_find(b->w, name);
}

static enum err refuse_missing(const struct binder *b, const char *name)
{
    return err_set(ERR_FORMAT, "MODEL-32", "%s: tensor '%s' is missing; the download is incomplete "
                   "or the file is not a whole model", b->w->file[0].path, name);
}

/* The experts of a layer: parts of one tensor, or a tensor each. */
static enum err bind_experts(struct binder *b, const struct weight_spec *spec, int32_t layer,
                             const struct weight **field)
{
    const int64_t *dim = b->b->hp.dim;
    int64_t cols = dim[spec->shape[0]], rows = dim[spec->shape[1]];
    struct weight *to = b->b->experts + b->n_expert;
    char name[NAME_BYTES];
    enum err e;

    *field = to;
    b->n_expert += b->b->hp.n_expert;
    for (int32_t i = 0; i < b->b->hp.n_expert; i++) {
        const struct tensor_info *t = lookup(b, spec, layer, i, name);
        struct weight all = { 0 };
        if (!t)
            return refuse_missing(b, name);
        if (t->ne[0] != cols || t->n_row != (b->w->hf ? rows : rows * dim[spec->shape[2]]))
            return refuse_shape(b, t, b->w->hf ? rows : rows * dim[spec->shape[2]], cols);
        mark(b, t);
        if ((e = bind_matrix(b, t, rows, &all)))
            return e;
        to[i] = weight_rows(&all, b->w->hf ? 0 : i * rows, rows);
        to[i].id = ++b->b->n_matrix;
    }
    return OK;
}

/* Bind one line of a table; `base` is the struct it goes into.  Matrices are numbered whether
 * the file has them or not: an adapter may change a weight that is stored in another form. */
static enum err bind_spec(struct binder *b, const struct weight_spec *spec, int32_t layer,
                          bool is_moe, void *base)
{
    const int64_t *dim = b->b->hp.dim;
    int64_t cols = dim[spec->shape[0]], rows = dim[spec->shape[1]] * dim[spec->shape[2]];
    char name[NAME_BYTES];
    void *field = (char *)base + spec->field;

    if ((spec->need == IF_MOE && !is_moe) || (spec->need == IF_DENSE && is_moe))
        return OK;                      /* stays unbound and is reported as left over */
    if (spec->kind == EXPERTS)
        return bind_experts(b, spec, layer, field);
    if (spec->kind != VECTOR)
        *(struct weight *)field = (struct weight){ .n_col = cols, .n_row = rows,
                                                   .id = ++b->b->n_matrix };
    const struct tensor_info *t = lookup(b, spec, layer, 0, name);
    if (!t && spec->need != OPTIONAL)
        return refuse_missing(b, name);
    if (!t)
        return OK;
    if (t->ne[0] != cols || t->n_row != rows)
        return refuse_shape(b, t, rows, cols);
    mark(b, t);
    if (spec->kind == VECTOR)
        return bind_vector(b, t, field);
    enum err e = bind_matrix(b, t, rows, field);
    if (spec->kind == PAIRS && b->w->hf)
        ((struct weight *)field)->pair_head = b->b->hp.head_dim;
    return e;
}

static enum err bind_table(struct binder *b, const struct weight_spec *spec, int32_t layer,
                           bool is_moe, void *base)
{
    enum err e;

    for (; spec->gguf || spec->hf; spec++)
        if ((e = bind_spec(b, spec, layer, is_moe, base)))
            return e;
    return OK;
}

int32_t bind_layers(const struct binding *b)
{
    return b->hp.n_layer + b->mtp;
}

static enum err bind_mtp(struct binder *b, struct layer *l)
{
    enum err e = bind_table(b, b->b->arch->mtp, l->index, l->is_moe, l);

    if (!l->embd.data)
        l->embd = b->b->global.embd;
    if (!l->head.data)
        l->head = b->b->global.output;
    return e;
}

/* The MTP layer is as the last one. */
static bool is_moe(const struct hparams *hp, int32_t layer)
{
    return (layer < hp->n_layer ? layer : hp->n_layer - 1) >= hp->n_layer_dense;
}

static enum err bind_all_layers(struct binder *b)
{
    struct binding *to = b->b;
    enum err e;

    for (int32_t i = 0; i < bind_layers(to); i++) {
        struct layer *l = &to->layer[i];
        l->index = i;
        l->is_moe = is_moe(&to->hp, i);
        l->index_moe = i - to->hp.n_layer_dense;
        if ((e = bind_table(b, to->arch->layer, i, l->is_moe, l)) ||
            (i == to->hp.n_layer && (e = bind_mtp(b, l))))
            return e;
        if (to->arch->check && (e = to->arch->check(&to->hp, l)))
            return err_wrap(e, "%s", b->w->file[0].path);
    }
    return OK;
}

/* A model without an output matrix uses its embedding; a folder may also say so beside one. */
static enum err bind_output(struct binder *b)
{
    struct globals *g = &b->b->global;
    bool tied = !b->w->hf;
    enum err e = b->w->hf ? weights_bool(b->w, "tie_word_embeddings", false, &tied) : OK;

    if (e)
        return e;
    if (!g->output.data && !tied)
        return refuse_missing(b, "lm_head.weight");
    const struct tensor_info *unused = b->w->hf && tied ? weights_find(b->w, "lm_head.weight") :
                                       NULL;
    if (unused)
        b->b->want[unused - b->w->tensor] = PLACE_NOT;
    if (!g->output.data || (b->w->hf && tied))
        g->output = g->embd;
    return OK;
}

/* The layer number in "blk.N." or "model.layers.N.", or -1. */
static int64_t layer_of(const char *name)
{
    static const char *const prefix[] = { "blk.", "model.layers." };

    for (int i = 0; i < 2; i++)
        if (!strncmp(name, prefix[i], strlen(prefix[i])))
            return strtoll(name + strlen(prefix[i]), NULL, 10);
    return -1;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && !strcmp(name + n - m, end);
}

/* Count parameters once each, and refuse what nobody asked for. */
static enum err account(struct binder *b)
{
    struct binding *to = b->b;
    int32_t n_layer = to->hp.n_layer;

    for (uint64_t i = 0; i < b->w->n_tensor; i++) {
        const struct tensor_info *t = &b->w->tensor[i];
        int64_t layer = layer_of(t->name);
        bool mtp = layer >= n_layer && layer < n_layer + to->hp.n_layer_mtp;
        if (ends_with(t->name, "_scale_inv") || !strcmp(t->name, "rope_freqs.weight"))
            if (b->bound[i] || layer >= bind_layers(to))
                continue;
        if (mtp)
            to->n_param_mtp += t->n_elem;
        if (mtp && layer >= bind_layers(to))
            continue;
        if (!b->bound[i])
            return err_set(ERR_ARG, "MODEL-33", "%s: tensor '%s' has no place in the family '%s'; "
                           "computing without it would give wrong answers",
                           b->w->file[t->file].path, t->name, to->arch->name);
        if (mtp)
            continue;
        bool second = layer >= 0 && strstr(t->name, ".attn_kv_b.") &&
                      to->layer[layer].k_b.data && to->layer[layer].v_b.data;
        if (second)
            continue;
        to->n_param += t->n_elem;
        if (strstr(t->name, "_exps.") || strstr(t->name, ".mlp.experts."))
            to->n_param_expert += t->n_elem;
    }
    return OK;
}

static int64_t vector_elems(const struct weights *w)
{
    int64_t n = 0;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        if (w->tensor[i].n_row == 1)
            n += w->tensor[i].n_elem;
    return n;
}

static enum err bind_memory(struct binder *b)
{
    struct binding *to = b->b;
    int32_t n_moe = 0;

    for (int32_t i = 0; i < bind_layers(to); i++)
        n_moe += to->hp.n_expert && is_moe(&to->hp, i);

    b->bound = calloc(b->w->n_tensor + 1, sizeof(*b->bound));
    to->want = calloc(b->w->n_tensor + 1, sizeof(*to->want));
    to->layer = calloc((size_t)bind_layers(to), sizeof(*to->layer));
    to->vectors = calloc((size_t)vector_elems(b->w) + 1, sizeof(*to->vectors));
    to->experts = calloc((size_t)n_moe * EXPERTS_PER_LAYER * (size_t)to->hp.n_expert + 1,
                         sizeof(*to->experts));
    if (b->bound && to->want && to->layer && to->vectors && to->experts)
        return OK;
    return err_set(ERR_NOMEM, "MODEL-37", "%s: no memory to index %d layers", b->w->file[0].path,
                   bind_layers(to));
}

/* The embedding decides; a configuration that says otherwise is another model's. */
static enum err check_vocab_size(const struct weights *w, const struct tensor_info *embd)
{
    uint64_t said;
    enum err e = weights_u64(w, "vocab_size", (uint64_t)embd->n_row, 0, INT32_MAX, &said);

    if (e || said == (uint64_t)embd->n_row)
        return e;
    return err_set(ERR_FORMAT, "LOAD-90", "%s: vocab_size is %" PRIu64 " and %s has %" PRId64
                   " rows; the files belong to different models, get all of them from one place",
                   w->file[0].path, said, embd->name, embd->n_row);
}

static enum err read_vocab_rows(struct binding *to, const struct weights *w)
{
    const struct tensor_info *embd = weights_find(w, w->hf ? "model.embed_tokens.weight" :
                                                  "token_embd.weight");

    to->hp.dim[DIM_VOCAB] = embd ? embd->n_row : 1;
    if (to->hp.dim[DIM_VOCAB] > INT32_MAX)
        return err_set(ERR_LIMIT, "MODEL-36", "%s: %s has %" PRId64 " rows; the limit is %d",
                       w->file[0].path, embd->name, embd->n_row, INT32_MAX);
    return w->hf && embd ? check_vocab_size(w, embd) : OK;
}

/* A file may count an MTP layer that whoever converted it left out. */
static void find_mtp(struct binding *to, const struct weights *w)
{
    for (uint64_t i = 0; to->arch->mtp && to->hp.n_layer_mtp && i < w->n_tensor && !to->mtp; i++)
        to->mtp = layer_of(w->tensor[i].name) == to->hp.n_layer;
    if (to->mtp)
        to->hp.dim[DIM_EH] = 2 * to->hp.dim[DIM_EMBD];
}

enum err bind_weights(struct binding *to, const struct weights *w, bool mtp)
{
    struct kernels k;
    struct binder b = { .b = to, .w = w, .k = &k };
    enum err e;

    *to = (struct binding){ 0 };
    kernels_init(&k, 0);
    if ((e = arch_find(&to->arch, w)) || (e = to->arch->read(&to->hp, w, to->arch)) ||
        (e = read_vocab_rows(to, w)))
        goto done;
    if (mtp)
        find_mtp(to, w);
    if ((e = bind_memory(&b)) || (e = bind_table(&b, to->arch->global, -1, false, &to->global)) ||
        (e = bind_output(&b)) || (e = bind_all_layers(&b)))
        goto done;
    to->n_expert_weight = b.n_expert;
    e = account(&b);
done:
    free(b.bound);
    if (e)
        bind_release(to);
    return e;
}

void bind_release(struct binding *b)
{
    free(b->layer);
    free(b->vectors);
    free(b->experts);
    free(b->want);
    *b = (struct binding){ 0 };
}

/* Fit a base name to a pattern "a.%d.b" or "a.%d.b.%d.c": the numbers, or false. */
static bool fits(const char *pattern, const char *name, int32_t number[2])
{
    int n = 0;

    for (; *pattern; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'd') {
            char *end;
            if (*name < '0' || *name > '9' || n == 2)
                return false;
            long value = strtol(name, &end, 10);
            if (value > INT32_MAX)
                return false;
            number[n++] = (int32_t)value;
            name = end;
            pattern++;
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == '\0';
}

/* Whether an adapter can change the weight in this field: the model has it, or has it in another
 * form (kv_b as k_b and v_b). */
static bool changeable(const struct weight_spec *spec, const struct weight *w)
{
    return w->data || spec->field == offsetof(struct layer, kv_b);
}

enum err bind_find_base(const struct binding *b, const char *base, bool hf, bind_found_fn *found,
                        void *arg)
{
    int32_t at[2] = { 0, 0 };
    enum err e;

    for (const struct weight_spec *s = b->arch->global; s->gguf || s->hf; s++) {
        const char *name = hf ? s->hf : s->gguf;
        if (s->kind != VECTOR && s->field == offsetof(struct globals, output) && name &&
            !strcmp(name, base) && b->global.output.data != b->global.embd.data)
            return found(arg, &b->global.output, 0, s->kind);
    }
    for (const struct weight_spec *s = b->arch->layer; s->gguf || s->hf; s++) {
        const char *pattern = hf ? s->hf : s->gguf;
        if (s->kind == VECTOR || !pattern || !fits(pattern, base, at) || at[0] >= b->hp.n_layer)
            continue;
        const void *field = (const char *)&b->layer[at[0]] + s->field;
        if (s->kind != EXPERTS && changeable(s, field))
            return found(arg, field, 0, s->kind);
        const struct weight *expert = s->kind == EXPERTS ?
                                      *(const struct weight *const *)field : NULL;
        if (!expert || (hf && at[1] >= b->hp.n_expert))
            continue;
        int32_t first = hf ? at[1] : 0, last = hf ? at[1] + 1 : b->hp.n_expert;
        for (int32_t i = first; i < last; i++)
            if ((e = found(arg, &expert[i], i, s->kind)))
                return e;
        return OK;
    }
    return err_set(ERR_ARG, "MODEL-45", "the adapter changes '%s', which is not a matrix of this "
                   "%s model; it was made for another one", base, b->arch->name);
}
