/* gguf.c - the header of one GGUF file, read once from front to back and validated on the way.
 *
 * Source: the GGUF specification (ggml/docs/gguf.md).  Integers from the file are combined with
 * ck.h only.  Metadata values stay in the file's bytes; `struct meta` points at them.
 */
#include "formats/gguf.h"
#include "formats/packed.h"

#include "base/ck.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the reader copies little-endian fields as they are"
#endif

/* Value types of the format. */
enum { GV_U8, GV_I8, GV_U16, GV_I16, GV_U32, GV_I32, GV_F32, GV_BOOL, GV_STRING, GV_ARRAY,
       GV_U64, GV_I64, GV_F64, GV_COUNT };

static const struct { enum meta_type type; int bytes; } value_type[GV_COUNT] = {
    [GV_U8]  = { META_UINT, 1 },  [GV_I8]  = { META_INT, 1 },  [GV_U16] = { META_UINT, 2 },
    [GV_I16] = { META_INT, 2 },   [GV_U32] = { META_UINT, 4 }, [GV_I32] = { META_INT, 4 },
    [GV_F32] = { META_FLOAT, 4 }, [GV_BOOL] = { META_BOOL, 1 }, [GV_STRING] = { META_STRING, 0 },
    [GV_U64] = { META_UINT, 8 },  [GV_I64] = { META_INT, 8 },  [GV_F64] = { META_FLOAT, 8 },
};

/* The smallest entries: a key of one byte with a u8; a name of one byte with one dimension. */
enum { META_BYTES_MIN = 8 + 1 + 4 + 1, TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8 };

/* A cursor over the header.  `end` is the file's, or the header limit when that is nearer. */
struct reader {
    const char *path;
    const uint8_t *data;
    uint64_t at, end, file_bytes;
};

static uint64_t left(const struct reader *r)
{
    return r->end - r->at;
}

/* The next n bytes are there, or an error that says what they were to be. */
static enum err need(const struct reader *r, uint64_t n, const char *what)
{
    if (n <= left(r))
        return OK;
    if (r->end < r->file_bytes)
        return err_set(ERR_LIMIT, "GGUF-01", "%s: %s at byte %" PRIu64 " goes beyond the %d MiB "
                       "a header may have; the file is damaged, get it again", r->path, what,
                       r->at, GGUF_HEADER_BYTES_MAX >> 20);
    return err_set(ERR_FORMAT, "GGUF-02", "%s: ends inside %s: %" PRIu64 " bytes needed at byte "
                   "%" PRIu64 ", the file has %" PRIu64 "; it is cut short or damaged, get it "
                   "again", r->path, what, n, r->at, r->file_bytes);
}

static enum err read_u32(struct reader *r, uint32_t *out, const char *what)
{
    enum err e = need(r, sizeof(*out), what);

    *out = 0;
    if (e)
        return e;
    memcpy(out, r->data + r->at, sizeof(*out));
    r->at += sizeof(*out);
    return OK;
}

static enum err read_u64(struct reader *r, uint64_t *out, const char *what)
{
    enum err e = need(r, sizeof(*out), what);

    *out = 0;
    if (e)
        return e;
    memcpy(out, r->data + r->at, sizeof(*out));
    r->at += sizeof(*out);
    return OK;
}

/* A length and that many bytes: *text points into the file. */
static enum err read_bytes(struct reader *r, const uint8_t **text, uint64_t *len,
                           const char *what)
{
    enum err e;

    if ((e = read_u64(r, len, what)) || (e = need(r, *len, what)))
        return e;
    *text = r->data + r->at;
    r->at += *len;
    return OK;
}

/* A key or a tensor name, copied NUL-terminated. */
static enum err read_name(struct reader *r, struct weights_index *x, const char **out,
                          uint64_t max, const char *what, uint64_t number)
{
    const uint8_t *text = NULL;
    uint64_t len;
    enum err e;

    if ((e = read_bytes(r, &text, &len, what)))
        return e;
    if (len == 0)
        return err_set(ERR_FORMAT, "GGUF-03", "%s: %s number %" PRIu64 " is empty; the file is "
                       "damaged, get it again", r->path, what, number);
    if (len > max)
        return err_set(ERR_LIMIT, "GGUF-04", "%s: %s number %" PRIu64 " has %" PRIu64 " bytes; "
                       "the limit is %" PRIu64 ": convert the model again with shorter names",
                       r->path, what, number, len, max);
    for (uint64_t i = 0; i < len;) {
        size_t n = printable_char(text + i, (size_t)(len - i));
        if (n == 0)
            return err_set(ERR_FORMAT, "GGUF-05", "%s: %s number %" PRIu64 " has a byte 0x%02x "
                           "that is not printable UTF-8; the file is damaged, get it again",
                           r->path, what, number, text[i]);
        i += n;
    }
    if (!(*out = index_text(x, text, (size_t)len)))
        return err_set(ERR_NOMEM, "GGUF-06", "%s: no memory for %s number %" PRIu64 "; close "
                       "other programs", r->path, what, number);
    return OK;
}

/* Walk the strings of an array, or the one string of a scalar. */
static enum err skip_strings(struct reader *r, uint64_t n, const char *key)
{
    const uint8_t *text;
    uint64_t len;
    enum err e;

    for (uint64_t i = 0; i < n; i++)
        if ((e = read_bytes(r, &text, &len, key)))
            return e;
    return OK;
}

static enum err read_value_type(struct reader *r, struct meta *m)
{
    uint32_t type;
    enum err e;

    if ((e = read_u32(r, &type, m->key)))
        return e;
    m->n = 1;
    if (type == GV_ARRAY) {
        m->is_array = true;
        if ((e = read_u32(r, &type, m->key)) || (e = read_u64(r, &m->n, m->key)))
            return e;
        if (type == GV_ARRAY)
            return err_set(ERR_FORMAT, "GGUF-07", "%s: %s is an array of arrays, which GGUF "
                           "readers do not use; convert the model again without it", r->path,
                           m->key);
    }
    if (type >= GV_COUNT)
        return err_set(ERR_FORMAT, "GGUF-08", "%s: %s has the unknown value type %" PRIu32 "; the "
                       "file is damaged or newer than this program, get it again or update",
                       r->path, m->key, type);
    m->type = value_type[type].type;
    m->elem_bytes = value_type[type].bytes;
    return OK;
}

static enum err read_meta(struct reader *r, struct weights_index *x, struct meta *m, uint64_t i)
{
    uint64_t bytes;
    enum err e;

    if ((e = read_name(r, x, &m->key, GGUF_KEY_BYTES_MAX, "metadata key", i)) ||
        (e = read_value_type(r, m)))
        return e;
    /* The smallest string is its length: a count that cannot fit must not be walked. */
    if (!ck_mul(&bytes, m->n, m->elem_bytes ? (uint64_t)m->elem_bytes : sizeof(uint64_t)))
        bytes = UINT64_MAX;
    if ((e = need(r, bytes, m->key)))
        return e;
    m->raw = r->data + r->at;
    if (m->type == META_STRING)
        return skip_strings(r, m->n, m->key);
    r->at += bytes;
    for (uint64_t k = 0; m->type == META_BOOL && k < m->n; k++)
        if (m->raw[k] > 1)
            return err_set(ERR_FORMAT, "GGUF-09", "%s: %s is a true-or-false value of %d; the "
                           "file is damaged, get it again", r->path, m->key, m->raw[k]);
    return OK;
}

/* An integer entry the reader itself needs: its value, or `fallback` when absent. */
static enum err own_integer(const struct reader *r, const struct gguf_part *p, const char *key,
                            uint64_t fallback, uint64_t *out)
{
    *out = fallback;
    for (uint64_t i = 0; i < p->n_meta; i++) {
        const struct meta *m = &p->meta[i];
        if (strcmp(m->key, key))
            continue;
        if (m->is_array || (m->type != META_UINT && m->type != META_INT) ||
            (m->type == META_INT && meta_int(m, 0) < 0))
            return err_set(ERR_FORMAT, "GGUF-10", "%s: %s must be one non-negative integer; "
                           "convert the model again", r->path, key);
        *out = meta_uint(m, 0);
    }
    return OK;
}

static enum err read_own_keys(const struct reader *r, struct gguf_part *p)
{
    enum err e;

    if ((e = own_integer(r, p, "general.alignment", 32, &p->alignment)) ||
        (e = own_integer(r, p, "split.no", 0, &p->split_no)) ||
        (e = own_integer(r, p, "split.count", 0, &p->split_count)) ||
        (e = own_integer(r, p, "split.tensors.count", UINT64_MAX, &p->split_tensors)))
        return e;
    p->is_split = p->split_count > 1;
    if (!p->alignment || p->alignment & (p->alignment - 1) || p->alignment > GGUF_ALIGNMENT_MAX)
        return err_set(ERR_FORMAT, "GGUF-11", "%s: general.alignment is %" PRIu64 "; it must be "
                       "a power of two up to %d: convert the model again", r->path, p->alignment,
                       GGUF_ALIGNMENT_MAX);
    return OK;
}

static enum err read_dims(struct reader *r, struct tensor_info *t)
{
    uint64_t elems = 1;
    uint32_t n_dim;
    enum err e;

    if ((e = read_u32(r, &n_dim, t->name)))
        return e;
    if (n_dim < 1 || n_dim > TENSOR_DIMS_MAX)
        return err_set(ERR_FORMAT, "GGUF-12", "%s: tensor %s has %" PRIu32 " dimensions; 1 to %d "
                       "are possible: the file is damaged, get it again", r->path, t->name, n_dim,
                       TENSOR_DIMS_MAX);
    t->n_dim = (int)n_dim;
    for (int d = 0; d < TENSOR_DIMS_MAX; d++) {
        uint64_t ne = 1;
        if (d < t->n_dim && (e = read_u64(r, &ne, t->name)))
            return e;
        if (ne == 0)
            return err_set(ERR_FORMAT, "GGUF-13", "%s: tensor %s has no elements: dimension %d "
                           "is 0; convert the model again", r->path, t->name, d);
        if (!ck_mul(&elems, elems, ne) || elems > INT64_MAX)
            return err_set(ERR_FORMAT, "GGUF-14", "%s: tensor %s has more than 2^63 elements "
                           "(dimension %d is %" PRIu64 "); the file is damaged, get it again",
                           r->path, t->name, d, ne);
        t->ne[d] = (int64_t)ne;
    }
    t->n_elem = (int64_t)elems;
    t->n_row = t->n_elem / t->ne[0];
    return OK;
}

/* The type's number, and with it the bytes of a row and of the whole. */
static enum err read_type(struct reader *r, struct tensor_info *t)
{
    uint32_t id;
    enum err e;

    if ((e = read_u32(r, &id, t->name)))
        return e;
    t->type = id <= INT32_MAX ? qtype_from_gguf(id) : QTYPE_COUNT;
    if (t->type == QTYPE_COUNT)
        return gguf_type_refuse(r->path, t->name, id);

    const struct qtype_info *q = &qtype_info[t->type];
    if (t->ne[0] % q->block_elems)
        return err_set(ERR_FORMAT, "GGUF-15", "%s: tensor %s has rows of %" PRId64 " elements; "
                       "%s needs a multiple of %d: convert the model again", r->path, t->name,
                       t->ne[0], q->name, q->block_elems);
    if (!ck_mul(&t->row_bytes, (uint64_t)(t->ne[0] / q->block_elems), (uint64_t)q->block_bytes) ||
        !ck_mul(&t->bytes, t->row_bytes, (uint64_t)t->n_row))
        return err_set(ERR_FORMAT, "GGUF-16", "%s: tensor %s needs more than 2^64 bytes; the file "
                       "is damaged, get it again", r->path, t->name);
    return OK;
}

static enum err read_tensor(struct reader *r, struct weights_index *x, struct tensor_info *t,
                            uint64_t i)
{
    enum err e;

    if ((e = read_name(r, x, &t->name, GGUF_NAME_BYTES_MAX, "tensor name", i)) ||
        (e = read_dims(r, t)) || (e = read_type(r, t)))
        return e;
    return read_u64(r, &t->file_offset, t->name);   /* relative until place_tensors() */
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor_info *ta = *(const struct tensor_info *const *)a;
    const struct tensor_info *tb = *(const struct tensor_info *const *)b;

    return (ta->file_offset > tb->file_offset) - (ta->file_offset < tb->file_offset);
}

static enum err check_overlap(const struct reader *r, const struct gguf_part *p)
{
    const struct tensor_info **order;
    enum err e = OK;

    if (p->n_tensor < 2)
        return OK;
    if (!(order = calloc((size_t)p->n_tensor, sizeof(*order))))
        return err_set(ERR_NOMEM, "GGUF-17", "%s: no memory to check %" PRIu64 " tensors; close "
                       "other programs", r->path, p->n_tensor);
    for (uint64_t i = 0; i < p->n_tensor; i++)
        order[i] = &p->tensor[i];
    qsort(order, (size_t)p->n_tensor, sizeof(*order), by_offset);
    for (uint64_t i = 1; i < p->n_tensor && e == OK; i++)
        if (order[i]->file_offset - order[i - 1]->file_offset < order[i - 1]->bytes)
            e = err_set(ERR_FORMAT, "GGUF-18", "%s: tensors %s and %s share bytes at offset %"
                        PRIu64 "; the file is damaged, get it again", r->path, order[i - 1]->name,
                        order[i]->name, order[i]->file_offset);
    free(order);
    return e;
}

/* Turn offsets into places in the file, each wholly inside it. */
static enum err place_tensors(const struct reader *r, struct gguf_part *p)
{
    uint64_t data_at;

    if (!p->n_tensor)
        return OK;
    if (!ck_align(&data_at, r->at, p->alignment))
        data_at = UINT64_MAX;
    for (uint64_t i = 0; i < p->n_tensor; i++) {
        struct tensor_info *t = &p->tensor[i];
        uint64_t start, end;
        if (t->file_offset % p->alignment)
            return err_set(ERR_FORMAT, "GGUF-19", "%s: tensor %s is at offset %" PRIu64 ", not a "
                           "multiple of general.alignment %" PRIu64 "; convert the model again",
                           r->path, t->name, t->file_offset, p->alignment);
        if (!ck_add(&start, data_at, t->file_offset) || !ck_add(&end, start, t->bytes) ||
            end > r->file_bytes)
            return err_set(ERR_FORMAT, "GGUF-20", "%s: tensor %s (%" PRIu64 " bytes at offset %"
                           PRIu64 " of the data) goes beyond the end of the file, which has %"
                           PRIu64 " bytes; it is cut short, get it again", r->path, t->name,
                           t->bytes, t->file_offset, r->file_bytes);
        t->file_offset = start;
        t->data = r->data + start;
    }
    return check_overlap(r, p);
}

/* What people open by mistake, by its first bytes. */
static enum err refuse_magic(const struct reader *r)
{
    static const struct { const char *bytes, *say; } other[] = {
        { "version https://git-lfs", "a Git LFS pointer, not the model; run `git lfs pull`" },
        { "PK\x03\x04", "a zip or PyTorch file; croft reads GGUF: get a .gguf of the model" },
        { "<!DOCTYPE", "a web page; download the file itself, not the page about it" },
        { "<html", "a web page; download the file itself, not its page" },
        { "tjgg", "in the GGJT format of 2023; get a GGUF of the model" },
        { "lmgg", "in the GGML format of 2023; get a GGUF of the model" },
        { "fmgg", "in the GGMF format of 2023; get a GGUF of the model" },
        { "FUGG", "a GGUF with its magic byte-swapped; get the little-endian file of the model" },
    };

    if (r->file_bytes == 0)
        return err_set(ERR_FORMAT, "GGUF-21", "%s: is empty; the download failed: "
                       "get the file again", r->path);
    for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
        if (r->file_bytes >= strlen(other[i].bytes) &&
            !memcmp(r->data, other[i].bytes, strlen(other[i].bytes)))
            return err_set(ERR_FORMAT, "GGUF-22", "%s: is %s", r->path, other[i].say);
    if (r->file_bytes > 9 && r->data[8] == '{' && !memcmp(r->data + 5, "\0\0\0", 3))
        return err_set(ERR_FORMAT, "GGUF-23", "%s: is a safetensors file without its model's "
                       "config.json beside it; get the whole folder, or a .gguf of the model",
                       r->path);
    return err_set(ERR_FORMAT, "GGUF-24", "%s: is not a GGUF file: it does not begin with the "
                   "bytes GGUF; name a .gguf file, or a folder of safetensors", r->path);
}

static enum err read_version(struct reader *r, uint32_t *version, bool *is_packed)
{
    enum err e;

    *is_packed = r->file_bytes >= 4 && !memcmp(r->data, PACKED_MAGIC, 4);
    if (!*is_packed && (r->file_bytes < 4 || memcmp(r->data, "GGUF", 4)))
        return refuse_magic(r);
    r->at = 4;
    if ((e = read_u32(r, version, "the version")))
        return e;
    if ((*version & 0xffff) == 0 && *version)
        return err_set(ERR_FORMAT, "GGUF-25", "%s: is a big-endian GGUF; get the little-endian "
                       "file of the model, or convert it with gguf_convert_endian.py", r->path);
    if (*version == 1)
        return err_set(ERR_FORMAT, "GGUF-26", "%s: is GGUF v1, a format of August 2023; get a "
                       "newer file of the model, or convert the original model with llama.cpp's "
                       "convert_hf_to_gguf.py", r->path);
    if (*version < 2 || *version > 3)
        return err_set(ERR_FORMAT, "GGUF-27", "%s: is GGUF version %" PRIu32 "; this program reads "
                       "2 and 3: update it, or get a version 3 file of the model", r->path,
                       *version);
    return OK;
}

/* The two counts, and tables for them. */
static enum err read_counts(struct reader *r, struct gguf_part *p)
{
    uint64_t n_tensor, n_meta;
    enum err e;

    if ((e = read_u64(r, &n_tensor, "the tensor count")) ||
        (e = read_u64(r, &n_meta, "the metadata count")))
        return e;
    if (n_tensor > left(r) / TENSOR_BYTES_MIN || n_meta > left(r) / META_BYTES_MIN)
        return err_set(ERR_FORMAT, "GGUF-28", "%s: says it has %" PRIu64 " tensors and %" PRIu64
                       " metadata entries, more than its %" PRIu64 " bytes can hold; it is cut "
                       "short or damaged, get it again", r->path, n_tensor, n_meta,
                       r->file_bytes);
    if (n_tensor > GGUF_TENSORS_MAX || n_meta > GGUF_META_MAX)
        return err_set(ERR_LIMIT, "GGUF-29", "%s: has %" PRIu64 " tensors and %" PRIu64 " metadata "
                       "entries; the limits are %d and %d: the file is damaged, get it again",
                       r->path, n_tensor, n_meta, GGUF_TENSORS_MAX, GGUF_META_MAX);
    p->meta = calloc((size_t)n_meta + 1, sizeof(*p->meta));
    p->tensor = calloc((size_t)n_tensor + 1, sizeof(*p->tensor));
    if (!p->meta || !p->tensor)
        return err_set(ERR_NOMEM, "GGUF-30", "%s: no memory for a list of %" PRIu64 " tensors; "
                       "close other programs", r->path, n_tensor);
    p->n_meta = n_meta;
    p->n_tensor = n_tensor;
    return OK;
}

enum err gguf_part_read(struct gguf_part *p, struct weights_index *x)
{
    uint64_t bytes = p->map.bytes;
    struct reader r = {
        .path = p->map.path, .data = p->map.data, .file_bytes = bytes,
        .end = bytes < GGUF_HEADER_BYTES_MAX ? bytes : GGUF_HEADER_BYTES_MAX,
    };
    enum err e;

    if ((e = read_version(&r, &p->version, &p->is_packed)) || (e = read_counts(&r, p)))
        return e;
    for (uint64_t i = 0; i < p->n_meta; i++)
        if ((e = read_meta(&r, x, &p->meta[i], i)))
            return e;
    if ((e = read_own_keys(&r, p)))
        return e;
    for (uint64_t i = 0; i < p->n_tensor; i++)
        if ((e = read_tensor(&r, x, &p->tensor[i], i)))
            return e;
    if ((e = gguf_packed_read(p)))
        return e;
    return place_tensors(&r, p);
}

const char *gguf_container(uint32_t version, bool is_packed)
{
    return is_packed ? "packed GGUF, " PACKED_LAYOUT : version == 2 ? "GGUF v2" : "GGUF v3";
}

void gguf_part_release(struct gguf_part *p)
{
    file_map_close(&p->map);
    free(p->meta);
    free(p->tensor);
    *p = (struct gguf_part){ 0 };
}
