/* hf.c - a Hugging Face folder: what is opened, in which order, and what must agree.
 *
 * Files are mapped and only headers are read.  Every tensor of a shard must be in the index, in
 * that shard, and every entry of the index must be in its shard: a half-copied folder or one that
 * mixes two models is refused when it is opened.
 */
#include "formats/hf.h"

#include "base/buf.h"
#include "formats/safetensors.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";

struct folder {
    struct weights *w;
    struct hf_meta meta;
    struct hf_index index;              /* n_shard is 0 when there is none */
    const char *path;
    uint64_t tensor_room;
    bool in_memory;
};

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len >= n && !strcmp(name + len - n, end);
}

/* "FOLDER/NAME"; yours: free(). */
static enum err join(char **out, const char *folder, const char *name)
{
    size_t len = strlen(folder), room = len + strlen(name) + 2;

    if (!(*out = malloc(room)))
        return err_set(ERR_NOMEM, "HF-40", "%s: no memory for the name of a file in it; close "
                       "other programs", folder);
    snprintf(*out, room, "%s%s%s", folder, len && folder[len - 1] == '/' ? "" : "/", name);
    return OK;
}

/* Is the file there?  A link that leads nowhere is not. */
static enum err exists(bool *is, const char *folder, const char *name)
{
    struct stat st;
    char *path;
    enum err e = join(&path, folder, name);

    *is = e == OK && !stat(path, &st);
    free(path);
    return e;
}

/* Map FOLDER/NAME; a missing file is OK and leaves *m zeroed, unless it is needed. */
static enum err map_file(struct file_map *m, const struct folder *f, const char *name, bool needed)
{
    char *path;
    enum err e = join(&path, f->path, name);

    *m = (struct file_map){ 0 };
    if (e)
        return e;
    e = file_map_open(m, path, f->in_memory);
    free(path);
    return e == ERR_MISSING && !needed ? OK : e;
}

enum err hf_find(char **folder, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    bool is, is_folder;
    struct stat st;
    enum err e;

    *folder = NULL;
    is_folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    if (!is_folder && strcmp(name, "config.json") && strcmp(name, index_name) &&
        !ends_in(name, ".safetensors"))
        return OK;
    if (!(*folder = strdup(is_folder || slash ? path : ".")))
        return err_set(ERR_NOMEM, "HF-41", "%s: no memory for its name; close other programs",
                       path);
    if (!is_folder && slash)
        (*folder)[slash == path ? 1 : slash - path] = '\0';
    e = exists(&is, *folder, "config.json");
    if (e == OK && !is && is_folder)
        e = err_set(ERR_ARG, "HF-62", "%s: is a folder without a config.json; name a .gguf "
                    "file, or a Hugging Face folder", path);
    if (e || !is) {
        free(*folder);
        *folder = NULL;
    }
    return e;
}

/* ---- tensors ---- */

static enum err tensor_type(const char *path, const struct st_tensor *from, enum qtype *type)
{
    switch (from->type) {
    case ST_F32:     *type = QTYPE_f32; return OK;
    case ST_F16:     *type = QTYPE_f16; return OK;
    case ST_BF16:    *type = QTYPE_bf16; return OK;
    case ST_F8_E4M3: *type = QTYPE_f8_e4m3; return OK;
    default:
        return err_set(ERR_FORMAT, "HF-42", "%s: tensor %s is stored as %s; a model's tensors must "
                       "be F32, F16, BF16 or F8_E4M3: get another file of the model", path,
                       from->name, safetensors_type_name(from->type));
    }
}

/* The same tensor, dimensions fastest first. */
static enum err read_tensor(struct folder *f, const struct safetensors *s,
                            const struct st_tensor *from, struct tensor_info *t)
{
    const char *path = s->map.path;
    size_t len = strlen(from->name);
    enum err e;

    *t = (struct tensor_info){ .ne = { 1, 1, 1, 1 }, .file = f->w->n_file };
    if (len == 0 || len > GGUF_NAME_BYTES_MAX)
        return err_set(ERR_FORMAT, "HF-43", "%s: the name of a tensor has %zu bytes; it must have "
                       "1 to %d: convert the model again", path, len, GGUF_NAME_BYTES_MAX);
    if ((e = tensor_type(path, from, &t->type)))
        return e;
    if (from->n_dim > TENSOR_DIMS_MAX)
        return err_set(ERR_FORMAT, "HF-44", "%s: tensor %s has %d dimensions; the most is %d: get "
                       "another file of the model", path, from->name, from->n_dim,
                       TENSOR_DIMS_MAX);
    if (from->n_elem == 0)
        return err_set(ERR_FORMAT, "HF-45", "%s: tensor %s has no elements; convert the model "
                       "again", path, from->name);
    t->n_dim = from->n_dim ? from->n_dim : 1;
    for (int d = 0; d < from->n_dim; d++)
        t->ne[d] = from->shape[from->n_dim - 1 - d];
    t->n_elem = from->n_elem;
    t->n_row = t->n_elem / t->ne[0];
    t->row_bytes = (uint64_t)qtype_row_bytes(t->type, t->ne[0]);
    t->bytes = from->bytes;
    t->data = from->data;
    t->file_offset = (uint64_t)(from->data - s->map.data);
    if (!(t->name = index_text(f->w->index, (const uint8_t *)from->name, len)))
        return err_set(ERR_NOMEM, "HF-46", "%s: no memory for the name of a tensor; close other "
                       "programs", path);
    return OK;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t oa = ((const struct tensor_info *)a)->file_offset;
    uint64_t ob = ((const struct tensor_info *)b)->file_offset;

    return (oa > ob) - (oa < ob);
}

static enum err make_room(struct folder *f, uint64_t more, const char *path)
{
    uint64_t n = f->w->n_tensor + more, room = f->tensor_room;
    struct tensor_info *grown;

    if (n > GGUF_TENSORS_MAX)
        return err_set(ERR_LIMIT, "HF-47", "%s: the files up to this one have %" PRIu64 " tensors; "
                       "the limit is %d: one of them is damaged, get them again", path, n,
                       GGUF_TENSORS_MAX);
    if (n <= room)
        return OK;
    room = n > room * 2 ? n : room * 2;
    if (!(grown = realloc(f->w->tensor, (size_t)room * sizeof(*grown))))
        return err_set(ERR_NOMEM, "HF-48", "%s: no memory for a list of %" PRIu64 " tensors; close "
                       "other programs", path, room);
    f->w->tensor = grown;
    f->tensor_room = room;
    return OK;
}

/* What the index says of a tensor of this shard. */
static enum err check_listed(struct folder *f, int shard, const char *path, const char *tensor)
{
    struct hf_place *place = hf_index_find(&f->index, tensor);

    if (!f->index.n_shard)
        return OK;
    if (!place)
        return err_set(ERR_FORMAT, "HF-49", "%s: tensor %s is not in %s; the files belong to "
                       "different models, get all of them from one place", path, tensor,
                       index_name);
    if (place->shard != shard)
        return err_set(ERR_FORMAT, "HF-50", "%s: tensor %s is here, but %s says it is in %s; the "
                       "files belong to different models, get all of them from one place", path,
                       tensor, index_name, f->index.shard[place->shard]);
    place->found = true;
    return OK;
}

/* Move the tensors of an open file into the weights; s keeps nothing but its list of names. */
static enum err adopt(struct folder *f, struct safetensors *s, int shard)
{
    struct weights *w = f->w;
    uint64_t first = w->n_tensor;
    enum err e;

    if ((e = make_room(f, s->n_tensor, s->map.path)))
        return e;
    for (uint64_t i = 0; i < s->n_tensor; i++) {
        const struct st_tensor *from = &s->tensor[i];
        if ((e = check_listed(f, shard, s->map.path, from->name)))
            return e;
        /* Old Llama files keep a table that is computed from the configuration. */
        if (ends_in(from->name, "rotary_emb.inv_freq"))
            continue;
        if ((e = read_tensor(f, s, from, &w->tensor[w->n_tensor])))
            return e;
        w->n_tensor++;
    }
    if (w->n_tensor > first)
        qsort(w->tensor + first, (size_t)(w->n_tensor - first), sizeof(*w->tensor), by_offset);
    w->file[w->n_file++] = s->map;
    s->map = (struct file_map){ 0 };
    return OK;
}

static enum err open_shard(struct folder *f, const char *name, int shard)
{
    struct safetensors s = { 0 };
    enum err e;

    if ((e = map_file(&s.map, f, name, true)) || (e = safetensors_read(&s)))
        return e;
    e = adopt(f, &s, shard);
    safetensors_close(&s);
    return e;
}

/* ---- which files ---- */

/* Say how many shards are missing at once: a download that broke off lacks many. */
static enum err check_shards(const struct folder *f)
{
    const char *first = NULL;
    int n = 0;
    bool is;
    enum err e;

    for (int i = 0; i < f->index.n_shard; i++) {
        if ((e = exists(&is, f->path, f->index.shard[i])))
            return e;
        if (!is && !n++)
            first = f->index.shard[i];
    }
    if (n)
        return err_set(ERR_MISSING, "HF-51", "%s: %d of the %d files that %s names are missing, "
                       "first %s; download the rest into this folder", f->path, n,
                       f->index.n_shard, index_name, first);
    return OK;
}

/* Every entry of the index was found in its shard. */
static enum err check_all_found(const struct folder *f)
{
    const struct hf_index *x = &f->index;

    for (uint64_t i = 0; i < x->n_place; i++)
        if (!x->place[i].found)
            return err_set(ERR_FORMAT, "HF-52", "%s: %s says tensor %s is in %s, but it is not "
                           "there; get both files again", f->path, index_name, x->place[i].tensor,
                           x->shard[x->place[i].shard]);
    return OK;
}

/* No index and no model.safetensors: say what is there instead. */
static enum err explain_absence(const char *folder)
{
    DIR *dir = opendir(folder);
    int n_safe = 0, n_torch = 0, n_gguf = 0;
    struct dirent *d;

    while (dir && (d = readdir(dir))) {
        n_safe += ends_in(d->d_name, ".safetensors");
        n_gguf += ends_in(d->d_name, ".gguf");
        n_torch += !strcmp(d->d_name, "pytorch_model.bin") ||
                   !strcmp(d->d_name, "pytorch_model.bin.index.json");
    }
    if (dir)
        closedir(dir);
    if (n_safe)
        return err_set(ERR_MISSING, "HF-53", "%s: has %d .safetensors file%s, but no %s and no %s; "
                       "download the %s", folder, n_safe, n_safe > 1 ? "s" : "", single_name,
                       index_name, n_safe > 1 ? "index too" : "file of that name");
    if (n_torch)
        return err_set(ERR_FORMAT, "HF-54", "%s: holds its weights in PyTorch files (.bin), which "
                       "are programs and are not read; convert the model to safetensors, or get a "
                       "copy of it in safetensors", folder);
    if (n_gguf)
        return err_set(ERR_MISSING, "HF-55", "%s: has no %s; name the .gguf file in it", folder,
                       single_name);
    return err_set(ERR_MISSING, "HF-56", "%s: has a config.json but no weights (%s); download them "
                   "into this folder", folder, single_name);
}

static enum err read_index(struct folder *f)
{
    struct file_map m;
    enum err e = map_file(&m, f, index_name, false);

    if (e == OK && m.path)
        e = hf_index_read(&f->index, m.path, (const char *)m.data, (size_t)m.bytes);
    file_map_close(&m);
    return e;
}

static enum err open_shards(struct folder *f)
{
    struct weights *w = f->w;
    int n = f->index.n_shard ? f->index.n_shard : 1;
    struct file_map *file;
    enum err e;
    bool is;

    if (f->index.n_shard)
        e = check_shards(f);
    else if ((e = exists(&is, f->path, single_name)) == OK && !is)
        e = explain_absence(f->path);
    if (e)
        return e;
    if (!(file = realloc(w->file, ((size_t)n + 1) * sizeof(*file))))
        return err_set(ERR_NOMEM, "HF-57", "%s: no memory for a list of %d files; close other "
                       "programs", f->path, n);
    w->file = file;
    for (int i = 0; i < n && e == OK; i++)
        e = open_shard(f, f->index.n_shard ? f->index.shard[i] : single_name, i);
    if (e == OK)
        e = check_all_found(f);
    if (e == OK && w->n_tensor == 0)
        e = err_set(ERR_FORMAT, "HF-58", "%s: its files hold no tensor; get them again", f->path);
    return e;
}

/* ---- metadata ---- */

static enum err read_config(struct folder *f)
{
    struct file_map *m = f->w->file;
    enum err e = map_file(m, f, "config.json", true);

    if (e)
        return e;
    f->w->n_file = 1;
    f->meta.path = m->path;
    return hf_config_read(&f->meta, (const char *)m->data, (size_t)m->bytes);
}

/* A template that stands alone goes before one in tokenizer_config.json. */
static enum err read_template(struct folder *f, bool *found)
{
    struct file_map m;
    enum err e = map_file(&m, f, "chat_template.jinja", false);

    *found = m.path != NULL;
    if (e == OK && m.bytes > HF_TEMPLATE_BYTES_MAX)
        e = err_set(ERR_LIMIT, "HF-59", "%s: has %" PRIu64 " bytes; the limit is %d: get it again",
                    m.path, m.bytes, HF_TEMPLATE_BYTES_MAX);
    f->meta.path = m.path;
    if (e == OK && *found)
        e = hf_meta_text(&f->meta, "tokenizer.chat_template", (const char *)m.data,
                         (size_t)m.bytes);
    file_map_close(&m);
    if (e || *found)
        return e;
    e = map_file(&m, f, "chat_template.json", false);
    *found = m.path != NULL;
    f->meta.path = m.path;
    if (e == OK && *found)
        e = hf_template_json(&f->meta, (const char *)m.data, (size_t)m.bytes);
    file_map_close(&m);
    return e;
}

static enum err read_extra(struct folder *f, const char *name, const char *prefix,
                           bool with_template)
{
    struct file_map m;
    enum err e = map_file(&m, f, name, false);

    f->meta.path = m.path;
    if (e == OK && m.path)
        e = hf_extra_read(&f->meta, (const char *)m.data, (size_t)m.bytes, prefix, with_template);
    file_map_close(&m);
    return e;
}

/* What was named must be among what was opened: a stray file is not the model beside it. */
static enum err check_named(const struct folder *f, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    if (!ends_in(name, ".safetensors") || !strcmp(f->path, path))
        return OK;
    for (int i = 0; i < f->index.n_shard; i++)
        if (!strcmp(name, f->index.shard[i]))
            return OK;
    if (!f->index.n_shard && !strcmp(name, single_name))
        return OK;
    return err_set(ERR_ARG, "HF-60", "%s: is not part of the model in its folder; name the folder "
                   "to use that model", path);
}

enum err hf_open_all(struct weights *w, const char *folder, const char *path, bool in_memory)
{
    struct folder f = { .w = w, .meta = { .w = w }, .path = folder, .in_memory = in_memory };
    bool have_template;
    enum err e;

    w->hf = true;
    w->container = "Hugging Face";
    if (!(w->file = calloc(1, sizeof(*w->file))))
        return err_set(ERR_NOMEM, "HF-61", "%s: no memory to open it; close other programs", path);
    if ((e = read_config(&f)) || (e = read_index(&f)) || (e = check_named(&f, path)) ||
        (e = read_extra(&f, "generation_config.json", "generation_config", false)) ||
        (e = read_extra(&f, "1_Pooling/config.json", "pooling", false)) ||
        (e = read_template(&f, &have_template)) ||
        (e = read_extra(&f, "tokenizer_config.json", "tokenizer_config", !have_template)) ||
        (e = map_file(&w->tokenizer, &f, "tokenizer.json", false)))
        goto done;
    e = open_shards(&f);
done:
    hf_index_release(&f.index);
    return e;
}
