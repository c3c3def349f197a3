/* weights_open.c - a path to an opened checkpoint: a GGUF file, its shards, or a folder. */
#include "formats/gguf.h"
#include "formats/hf.h"

#include <stdlib.h>
#include <string.h>

enum err weights_open(struct weights **out, const char *path, const struct weights_options *o)
{
    struct weights *w = weights_new();
    bool in_memory = o && o->in_memory;
    char *folder = NULL;
    enum err e;

    *out = NULL;
    if (!w)
        return err_set(ERR_NOMEM, "WEIGHTS-05", "%s: no memory to open it; close other programs",
                       path);
    if ((e = hf_find(&folder, path)) == OK)
        e = folder ? hf_open_all(w, folder, path, in_memory) : gguf_open_all(w, path, in_memory);
    free(folder);
    if (e || (e = weights_index_build(w)))
        goto fail;
    *out = w;
    return OK;

fail:
    weights_free(w);
    return e;
}

/* A file_map of a copy of the bytes, exactly as long, so that a sanitizer sees the end. */
static enum err map_bytes(struct file_map *m, const char *name, const void *bytes, size_t len)
{
    uint8_t *copy = len ? malloc(len) : NULL;

    *m = (struct file_map){ .data = copy, .bytes = len, .fd = -1, .in_memory = true };
    if ((len && !copy) || !(m->path = strdup(name))) {
        free(copy);
        *m = (struct file_map){ 0 };
        return err_set(ERR_NOMEM, "WEIGHTS-06", "%s: no memory for %zu bytes; close other programs",
                       name, len);
    }
    if (len)
        memcpy(copy, bytes, len);
    return OK;
}

enum err weights_open_bytes(struct weights **out, const char *name, const void *bytes, size_t len)
{
    struct weights *w = weights_new();
    struct gguf_part p = { 0 };
    enum err e;

    *out = NULL;
    if (!w)
        return err_set(ERR_NOMEM, "WEIGHTS-07", "%s: no memory to open it; close other programs",
                       name);
    if ((e = map_bytes(&p.map, name, bytes, len)) || (e = gguf_part_read(&p, w->index)))
        goto fail;
    if (p.is_split) {
        e = err_set(ERR_ARG, "WEIGHTS-08", "%s: is one shard of several; open it by its path",
                    name);
        goto fail;
    }
    w->container = gguf_container(p.version, p.is_packed);
    if ((e = gguf_adopt(w, &p)) || (e = weights_index_build(w)))
        goto fail;
    gguf_part_release(&p);
    *out = w;
    return OK;

fail:
    gguf_part_release(&p);
    weights_free(w);
    return e;
}
