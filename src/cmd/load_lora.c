/* load_lora.c - the adapters that --lora names: opened, and made combinations of the model: one of
 * all without a name, and for each name one of these and its own. */
#include "cmd/load.h"

#include "base/sha256.h"
#include "base/term.h"
#include "cmd/cmd_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHECK_ELEM = 1024 };

/* "FILE" or "FILE:SCALE": the path is yours.  What follows the last colon is a scale when it is a
 * number and no file has the whole name, so that a path may hold colons. */
static enum err parse_lora(const char *text, char **path, float *scale)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    bool is_file = !access(text, F_OK);
    double value = colon && !is_file ? strtod(colon + 1, &end) : 1;
    bool number = end && !*end;

    *scale = number ? (float)value : 1;
    *path = strndup(text, number ? (size_t)(colon - text) : strlen(text));
    if (!*path)
        return err_set(ERR_NOMEM, "LOAD-10", "no memory for the name of an adapter");
    if (!isfinite(*scale) || !**path || (number && !colon[1])) {
        free(*path);
        *path = NULL;
        return err_set(ERR_ARG, "LOAD-11", "--lora %s: give FILE or FILE:SCALE, with a finite "
                       "scale", text);
    }
    return OK;
}

static enum err check_tensor(const struct kernels *k, const char *path,
                             const struct tensor_info *t)
{
    float row[CHECK_ELEM];
    uint64_t elem_bytes = (uint64_t)qtype_row_bytes(t->type, 1);

    for (int64_t i = 0; i < t->n_elem; i += CHECK_ELEM) {
        int64_t n = t->n_elem - i < CHECK_ELEM ? t->n_elem - i : CHECK_ELEM;
        k->dequant[t->type](row, t->data + (uint64_t)i * elem_bytes, n);
        if (!k->all_finite(row, n))
            return err_set(ERR_FORMAT, "LOAD-93", "%s: tensor %s has a value that is not finite: "
                           "the adapter is damaged, get it again", path, t->name);
    }
    return OK;
}

/* Here the adapter is known to be the one to blame; its tensors are F32, F16 or BF16. */
static enum err check_finite(const struct adapter *a)
{
    struct kernels k;
    enum err e = OK;

    kernels_init(&k, 0);
    for (uint64_t i = 0; i < a->n_pair && e == OK; i++)
        if ((e = check_tensor(&k, a->path, a->pair[i].a)) == OK)
            e = check_tensor(&k, a->path, a->pair[i].b);
    return e;
}

/* One of --lora: an adapter, and the name it is for; NULL: it always applies. */
struct item { struct model_lora part; char *name; };

/* Bytes of the name in "NAME=FILE"; 0: none, as where a file is called so. */
static size_t name_bytes(const char *path)
{
    const char *sign = strchr(path, '=');
    size_t n = sign ? (size_t)(sign - path) : 0;

    return n && !memchr(path, '/', n) && access(path, F_OK) ? n : 0;
}

static enum err open_one(struct loaded *l, const char *text, struct item *item)
{
    char *path;
    enum err e = parse_lora(text, &path, &item->part.scale);
    size_t n = e == OK ? name_bytes(path) : 0;

    if (n && !l->may_name)
        e = err_set(ERR_ARG, "LOAD-14", "--lora %s: names of adapters are for croft serve and "
                    "croft verify; give FILE or FILE:SCALE", text);
    else if (n && !(item->name = strndup(path, n)))
        e = err_set(ERR_NOMEM, "LOAD-15", "no memory for the name of an adapter");
    if (!e)
        e = adapter_open(&l->adapter[l->n_adapter], n ? path + n + 1 : path);
    if (!e) {
        item->part.adapter = l->adapter[l->n_adapter++];
        e = check_finite(item->part.adapter);
    }
    if (!e)
        term_verbose("%s: %llu weights changed, scale %g%s%s", n ? path + n + 1 : path,
                     (unsigned long long)item->part.adapter->n_pair, (double)item->part.scale,
                     n ? ", as model " : "", n ? item->name : "");
    free(path);
    return e;
}

/* What the adapters do together: each one's identity and its scale, in order. */
static bool sum_identity(uint8_t out[SHA256_BYTES], const struct model_lora *part, int n)
{
    struct sha256 sum = { 0 };
    bool ok = sha256_init(&sum);

    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &part[i].scale, sizeof(bits));
        uint8_t scale[4] = { (uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                             (uint8_t)(bits >> 24) };
        ok = ok && sha256_add(&sum, part[i].adapter->identity, SHA256_BYTES) &&
             sha256_add(&sum, scale, sizeof(scale));
    }
    ok = ok && sha256_finish(&sum, out);
    sha256_release(&sum);
    return ok;
}

/* Those without a name, and with it those of `name`, in their order. */
static enum err combine(struct loaded *l, const struct item *item, int n, const char *name,
                        int32_t *mix, uint8_t identity[SHA256_BYTES])
{
    struct model_lora *part = calloc((size_t)n + 1, sizeof(*part));
    int n_part = 0;
    enum err e = part ? OK : err_set(ERR_NOMEM, "LOAD-12", "no memory for %d adapters", n);

    for (int i = 0; i < n && !e; i++)
        if (!item[i].name || (name && !strcmp(name, item[i].name)))
            part[n_part++] = item[i].part;
    if (!e && n_part)
        e = model_add_adapters(l->model, part, n_part, mix);
    if (!e && n_part && !sum_identity(identity, part, n_part))
        e = err_set(ERR_NOMEM, "LOAD-13", "no memory to tell which adapters these are; close other "
                    "programs");
    free(part);
    return e;
}

/* A combination for each name, once. */
static enum err combine_named(struct loaded *l, struct item *item, int n)
{
    enum err e = OK;

    for (int i = 0; i < n && !e; i++) {
        struct lora_named *to = &l->named[l->n_named];
        int k = 0;
        while (k < l->n_named && (!item[i].name || strcmp(l->named[k].name, item[i].name)))
            k++;
        if (!item[i].name || k < l->n_named)
            continue;
        e = combine(l, item, n, item[i].name, &to->mix, to->identity);
        if (!e && !(to->name = strdup(item[i].name)))
            e = err_set(ERR_NOMEM, "LOAD-16", "no memory for the name of an adapter");
        l->n_named += !e;
    }
    return e;
}

enum err load_adapters(struct loaded *l, const struct opt_set *o)
{
    int n = opt_list_n(o, OPT_lora);
    struct item *item = calloc((size_t)n + 1, sizeof(*item));
    enum err e = OK;

    l->adapter = calloc((size_t)n + 1, sizeof(struct adapter *));
    l->named = calloc((size_t)n + 1, sizeof(*l->named));
    if (!item || !l->adapter || !l->named)
        e = err_set(ERR_NOMEM, "LOAD-17", "no memory for %d adapters", n);
    for (int i = 0; i < n && !e; i++)
        e = open_one(l, opt_list(o, OPT_lora, i), &item[i]);
    if (!e)
        e = combine(l, item, n, NULL, &l->mix, l->adapter_identity);
    if (!e)
        e = combine_named(l, item, n);
    for (int i = 0; i < n && item; i++)
        free(item[i].name);
    free(item);
    return e;
}

void load_close_adapters(struct loaded *l)
{
    for (int i = 0; i < l->n_adapter; i++)
        adapter_free(l->adapter[i]);
    for (int i = 0; i < l->n_named; i++)
        free(l->named[i].name);
    free(l->adapter);
    free(l->named);
}
