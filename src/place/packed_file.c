/* packed_file.c - see packed_file.h.  Source of the structure: the GGUF specification.
 *
 *   magic, version, counts | metadata | a line per tensor | padding | tensors, each at a multiple
 *   of PACKED_ALIGNMENT
 *
 * Metadata is written as it was read.  Left out is what this file says for itself: alignment,
 * shards, layout.
 */
#include "place/packed_file.h"

#include "base/buf.h"
#include "formats/gguf.h"
#include "formats/packed.h"
#include "kernels/tile.h"
#include "place/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_U32 = 4, VALUE_BOOL = 7, VALUE_STRING = 8, VALUE_ARRAY = 9, VERSION = 3 };
enum { PIECE_BYTES = 4 << 20 };

struct writer {
    struct file_new file;
    const struct weights *w;
    const enum place_want *want;
    struct source source;
    uint8_t *room, *packed;             /* [source_room(piece_bytes)], [piece_bytes] */
    uint64_t piece_bytes, at, done, total;
    bool (*on_progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* --- the header -------------------------------------------------------------------------- */

static void put_int(struct buf *b, uint64_t value, size_t bytes)
{
    buf_add(b, &value, bytes);          /* little-endian, as gguf.c demands */
}

static void put_text(struct buf *b, const char *text, size_t len)
{
    put_int(b, len, 8);
    buf_add(b, text, len);
}

static void put_key(struct buf *b, const char *key, uint32_t type)
{
    put_text(b, key, strlen(key));
    put_int(b, type, 4);
}

/* The format's number of an entry's type. */
static uint32_t value_type(const struct meta *m)
{
    static const uint32_t of_uint[9] = { [1] = 0, [2] = 2, [4] = 4, [8] = 10 };
    static const uint32_t of_int[9] = { [1] = 1, [2] = 3, [4] = 5, [8] = 11 };

    switch (m->type) {
    case META_UINT:   return of_uint[m->elem_bytes];
    case META_INT:    return of_int[m->elem_bytes];
    case META_FLOAT:  return m->elem_bytes == 4 ? 6 : 12;
    case META_BOOL:   return VALUE_BOOL;
    case META_STRING: return VALUE_STRING;
    }
    return VALUE_STRING;
}

static bool is_kept(const struct meta *m)
{
    return strcmp(m->key, "general.alignment") != 0 && strncmp(m->key, "split.", 6) != 0;
}

static void put_meta(struct buf *b, const struct meta *m)
{
    struct meta_cursor c = { 0 };
    const char *text;
    size_t len;

    put_key(b, m->key, m->is_array ? VALUE_ARRAY : value_type(m));
    if (m->is_array) {
        put_int(b, value_type(m), 4);
        put_int(b, m->n, 8);
    }
    if (m->type != META_STRING)
        buf_add(b, m->raw, (size_t)(m->n * (uint64_t)m->elem_bytes));
    while (m->type == META_STRING && meta_next_str(m, &c, &text, &len))
        put_text(b, text, len);
}

static bool in_tiles(const struct writer *wr, uint64_t i)
{
    return wr->want[i] == PLACE_TILES;
}

static void put_own_keys(struct buf *b, const struct writer *wr)
{
    put_key(b, "general.alignment", VALUE_U32);
    put_int(b, PACKED_ALIGNMENT, 4);
    put_key(b, PACKED_KEY_LAYOUT, VALUE_STRING);
    put_text(b, PACKED_LAYOUT, strlen(PACKED_LAYOUT));
    put_key(b, PACKED_KEY_VERSION, VALUE_U32);
    put_int(b, PACKED_VERSION, 4);
    put_key(b, PACKED_KEY_TENSORS, VALUE_ARRAY);
    put_int(b, VALUE_BOOL, 4);
    put_int(b, wr->w->n_tensor, 8);
    for (uint64_t i = 0; i < wr->w->n_tensor; i++)
        put_int(b, in_tiles(wr, i), 1);
}

/* A tensor's bytes and the padding before the next one. */
static uint64_t padded(uint64_t bytes)
{
    return (bytes + PACKED_ALIGNMENT - 1) / PACKED_ALIGNMENT * PACKED_ALIGNMENT;
}

static enum err build_header(struct buf *b, const struct writer *wr)
{
    const struct weights *w = wr->w;
    uint64_t n_meta = 4, offset = 0;

    for (uint64_t i = 0; i < w->n_meta; i++)
        n_meta += is_kept(&w->meta[i]);
    buf_add(b, PACKED_MAGIC, 4);
    put_int(b, VERSION, 4);
    put_int(b, w->n_tensor, 8);
    put_int(b, n_meta, 8);
    for (uint64_t i = 0; i < w->n_meta; i++)
        if (is_kept(&w->meta[i]))
            put_meta(b, &w->meta[i]);
    put_own_keys(b, wr);
    for (uint64_t i = 0; i < w->n_tensor; i++) {
        const struct tensor_info *t = &w->tensor[i];
        put_text(b, t->name, strlen(t->name));
        put_int(b, (uint64_t)t->n_dim, 4);
        for (int d = 0; d < t->n_dim; d++)
            put_int(b, (uint64_t)t->ne[d], 8);
        put_int(b, (uint64_t)qtype_info[t->type].gguf_id, 4);
        put_int(b, offset, 8);
        offset += padded(t->bytes);
    }
    if (b->len > GGUF_HEADER_BYTES_MAX)
        return err_set(ERR_LIMIT, "PLACE-10", "%s: its metadata and list of tensors have %zu bytes "
                       "and a header may have %d: it cannot be one packed file", w->file[0].path,
                       b->len, GGUF_HEADER_BYTES_MAX);
    return buf_ok(b);
}

/* --- the body ---------------------------------------------------------------------------- */

static enum err put_bytes(struct writer *wr, const void *bytes, uint64_t n)
{
    wr->at += n;
    if (fwrite(bytes, 1, (size_t)n, wr->file.out) == n)
        return OK;
    return err_set(ERR_IO, "PLACE-11", "%s: writing failed: %s; make room on the disk and try "
                   "again", wr->file.path, strerror(errno));
}

static enum err put_padding(struct writer *wr)
{
    static const uint8_t zeros[PACKED_ALIGNMENT];

    return put_bytes(wr, zeros, padded(wr->at) - wr->at);
}

static enum err put_piece(struct writer *wr, const struct tensor_info *t, bool tiles, uint64_t at,
                          uint64_t n)
{
    uint64_t group = TILE_ROWS * t->row_bytes;
    const uint8_t *from;
    enum err e = source_read(&wr->source, wr->room, t->file_offset + at, n, &from);

    for (uint64_t o = 0; e == OK && tiles && o < n; o += group)
        tile_pack(t->type, wr->packed + o, from + o, t->row_bytes, TILE_ROWS, t->ne[0]);
    if (e == OK)
        e = put_bytes(wr, tiles ? wr->packed : from, n);
    wr->done += n;
    if (e == OK && wr->on_progress && !wr->on_progress(wr->arg, wr->done, wr->total))
        e = err_set(ERR_STOPPED, "PLACE-12", "interrupted while writing %s", wr->file.path);
    return e;
}

static enum err put_tensor(struct writer *wr, uint64_t i)
{
    const struct tensor_info *t = &wr->w->tensor[i];
    uint64_t group = TILE_ROWS * t->row_bytes, step = wr->piece_bytes;
    enum err e = OK;

    if (in_tiles(wr, i))
        step = step / group * group;
    source_open(&wr->source, &wr->w->file[t->file]);
    for (uint64_t at = 0; at < t->bytes && e == OK; at += step)
        e = put_piece(wr, t, in_tiles(wr, i), at, t->bytes - at < step ? t->bytes - at : step);
    source_close(&wr->source);
    return e ? e : put_padding(wr);
}

static enum err take_rooms(struct writer *wr)
{
    void *room = NULL, *packed = NULL;

    wr->piece_bytes = PIECE_BYTES;
    for (uint64_t i = 0; i < wr->w->n_tensor; i++) {
        uint64_t group = in_tiles(wr, i) ? TILE_ROWS * wr->w->tensor[i].row_bytes : 0;
        wr->piece_bytes = group > wr->piece_bytes ? group : wr->piece_bytes;
        wr->total += wr->w->tensor[i].bytes;
    }
    if (posix_memalign(&room, SOURCE_ALIGN, (size_t)source_room(wr->piece_bytes)) == 0)
        wr->room = room;
    if (posix_memalign(&packed, SOURCE_ALIGN, (size_t)wr->piece_bytes) == 0)
        wr->packed = packed;
    if (wr->room && wr->packed)
        return OK;
    return err_set(ERR_NOMEM, "PLACE-13", "%s: no memory for two buffers of %.1f MB; close other "
                   "programs", wr->w->file[0].path, (double)wr->piece_bytes / 1e6);
}

uint64_t packed_count(const struct weights *w, const enum place_want *want)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        n += want[i] == PLACE_TILES && w->tensor[i].layout == LAYOUT_rows;
    return n;
}

enum err packed_write(const char *path, const struct weights *w, const enum place_want *want,
                      bool (*on_progress)(void *arg, uint64_t done, uint64_t total), void *arg)
{
    struct writer wr = { .w = w, .want = want, .on_progress = on_progress, .arg = arg };
    struct buf header = { 0 };
    enum err e;

    ASSERT(!w->hf);
    if ((e = take_rooms(&wr)) || (e = build_header(&header, &wr)) ||
        (e = file_new_open(&wr.file, path)))
        goto done;
    if ((e = put_bytes(&wr, header.data, header.len)) || (e = put_padding(&wr)))
        goto done;
    for (uint64_t i = 0; i < w->n_tensor; i++)
        if ((e = put_tensor(&wr, i)))
            goto done;
    e = file_new_commit(&wr.file);
done:
    file_new_abort(&wr.file);
    buf_release(&header);
    free(wr.room);
    free(wr.packed);
    return e;
}
