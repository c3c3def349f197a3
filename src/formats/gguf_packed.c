/* gguf_packed.c - the keys of a packed file, each checked before a tensor is taken for tiles. */
#include "formats/gguf.h"
#include "formats/packed.h"

#include "kernels/tile.h"

#include <inttypes.h>
#include <string.h>

static const struct meta *find(const struct gguf_part *p, const char *key)
{
    for (uint64_t i = 0; i < p->n_meta; i++)
        if (!strcmp(p->meta[i].key, key))
            return &p->meta[i];
    return NULL;
}

static enum err check_layout(const struct gguf_part *p)
{
    const struct meta *m = find(p, PACKED_KEY_LAYOUT);
    struct meta_cursor c = { 0 };
    const char *name = "";
    size_t len = 0;

    if (m && m->type == META_STRING && !m->is_array)
        meta_next_str(m, &c, &name, &len);
    if (len == strlen(PACKED_LAYOUT) && !memcmp(name, PACKED_LAYOUT, len))
        return OK;
    return err_set(ERR_FORMAT, "PACKED-01", "%s: its " PACKED_KEY_LAYOUT " is not '" PACKED_LAYOUT
                   "', the layout this croft computes with; pack the model again with croft pack",
                   p->map.path);
}

static enum err check_version(const struct gguf_part *p)
{
    const struct meta *m = find(p, PACKED_KEY_VERSION);
    bool integer = m && !m->is_array && (m->type == META_UINT || m->type == META_INT);
    int64_t version = integer ? meta_int(m, 0) : -1;

    if (version == PACKED_VERSION)
        return OK;
    return err_set(ERR_FORMAT, "PACKED-02", "%s: is packed in version %" PRId64 " of "
                   PACKED_LAYOUT " and this croft reads version %d; pack the model again with "
                   "croft pack", p->map.path, version, PACKED_VERSION);
}

static enum err check_tensor(const struct gguf_part *p, const struct tensor_info *t)
{
    if (tile_has(t->type) && t->n_row % TILE_ROWS == 0)
        return OK;
    return err_set(ERR_FORMAT, "PACKED-03", "%s: tensor %s (%s, %" PRId64 " rows) is said to lie "
                   "in tiles, which it cannot; the file is damaged, pack the model again",
                   p->map.path, t->name, qtype_info[t->type].name, t->n_row);
}

static enum err take_layouts(struct gguf_part *p)
{
    const struct meta *m = find(p, PACKED_KEY_TENSORS);
    enum err e;

    if (!m || !m->is_array || m->type != META_BOOL || m->n != p->n_tensor)
        return err_set(ERR_FORMAT, "PACKED-04", "%s: " PACKED_KEY_TENSORS " must say true or false "
                       "for each of its %" PRIu64 " tensors; the file is damaged, pack the model "
                       "again", p->map.path, p->n_tensor);
    for (uint64_t i = 0; i < p->n_tensor; i++) {
        if (!m->raw[i])
            continue;
        if ((e = check_tensor(p, &p->tensor[i])))
            return e;
        p->tensor[i].layout = LAYOUT_tiles;
    }
    return OK;
}

enum err gguf_packed_read(struct gguf_part *p)
{
    enum err e;

    if (!p->is_packed && find(p, PACKED_KEY_LAYOUT))
        return err_set(ERR_FORMAT, "PACKED-05", "%s: has " PACKED_KEY_LAYOUT ", which only a "
                       "packed file may have, and begins with GGUF; the file is damaged, get it "
                       "again", p->map.path);
    if (!p->is_packed)
        return OK;
    if (p->is_split)
        return err_set(ERR_FORMAT, "PACKED-06", "%s: is packed and one of several shards; croft "
                       "pack writes one file: pack the model again", p->map.path);
    if (p->alignment % PACKED_ALIGNMENT)
        return err_set(ERR_FORMAT, "PACKED-07", "%s: general.alignment is %" PRIu64 "; tiles need "
                       "a multiple of %d: pack the model again", p->map.path, p->alignment,
                       PACKED_ALIGNMENT);
    if ((e = check_layout(p)) || (e = check_version(p)))
        return e;
    return take_layouts(p);
}
