/* weights.c - what every `struct weights` has: its index by name, its end, and the getters.
 *
 * The index is two arrays sorted by name and searched by bisection: no hash, so no choice of
 * names makes it slow, and equal names end up side by side where they are refused.
 */
#include "formats/weights_form.h"

#include "base/ck.h"
#include "kernels/tile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_CHUNK_BYTES = 64 << 10 };

char *index_text(struct weights_index *x, const uint8_t *bytes, size_t len)
{
    struct text_chunk *c = x->text;

    if (!c || c->size - c->used <= len) {
        size_t size = len < TEXT_CHUNK_BYTES ? TEXT_CHUNK_BYTES : len + 1;
        if (!(c = malloc(sizeof(*c) + size)))
            return NULL;
        *c = (struct text_chunk){ .next = x->text, .size = size };
        x->text = c;
    }
    char *text = c->bytes + c->used;
    memcpy(text, bytes, len);
    text[len] = '\0';
    c->used += len + 1;
    return text;
}

/* The length of the UTF-8 character at s, of n bytes; 0 when it is not a valid one, or is a
 * control character: names are printed on terminals. */
size_t printable_char(const uint8_t *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t c = s[0];

    if (len == 1)
        return c >= 0x20 && c != 0x7f;
    if (len > n || s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    c &= 0x7fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c < 0xa0)
        return 0;
    return len;
}

bool name_is_printable(const char *name)
{
    size_t len = strlen(name), n;

    for (size_t i = 0; i < len; i += n)
        if ((n = printable_char((const uint8_t *)name + i, len - i)) == 0)
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static const struct named *find(const struct named *list, uint64_t n, const char *name)
{
    struct named key = { .name = name };

    return n ? bsearch(&key, list, (size_t)n, sizeof(*list), by_name) : NULL;
}

/* Sort a list; a name that is there twice is an error. */
static enum err sort_names(const struct weights *w, struct named *list, uint64_t n,
                           const char *what)
{
    if (n)
        qsort(list, (size_t)n, sizeof(*list), by_name);
    for (uint64_t i = 1; i < n; i++)
        if (!strcmp(list[i].name, list[i - 1].name))
            return err_set(ERR_FORMAT, "WEIGHTS-03", "%s: has the %s %s twice; convert the model "
                           "again, or get another file of it", w->file[0].path, what,
                           list[i].name);
    return OK;
}

enum err weights_index_build(struct weights *w)
{
    struct weights_index *x = w->index;
    enum err e;

    x->meta = calloc((size_t)w->n_meta + 1, sizeof(*x->meta));
    x->tensor = calloc((size_t)w->n_tensor + 1, sizeof(*x->tensor));
    if (!x->meta || !x->tensor)
        return err_set(ERR_NOMEM, "WEIGHTS-04", "%s: no memory to index %" PRIu64 " tensors; close "
                       "other programs", w->file[0].path, w->n_tensor);
    for (uint64_t i = 0; i < w->n_meta; i++)
        x->meta[i] = (struct named){ w->meta[i].key, (uint32_t)i };
    for (uint64_t i = 0; i < w->n_tensor; i++)
        x->tensor[i] = (struct named){ w->tensor[i].name, (uint32_t)i };
    if ((e = sort_names(w, x->meta, w->n_meta, "metadata key")))
        return e;
    return sort_names(w, x->tensor, w->n_tensor, "tensor");
}

struct weights *weights_new(void)
{
    struct weights *w = calloc(1, sizeof(*w));

    if (w && !(w->index = calloc(1, sizeof(*w->index)))) {
        free(w);
        w = NULL;
    }
    return w;
}

void weights_free(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n_file; i++)
        file_map_close(&w->file[i]);
    file_map_close(&w->tokenizer);
    for (struct text_chunk *c = w->index->text, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(w->index->meta);
    free(w->index->tensor);
    free(w->index);
    free(w->file);
    free(w->meta);
    free(w->tensor);
    free(w);
}

const struct tensor_info *weights_find(const struct weights *w, const char *name)
{
    const struct named *n = find(w->index->tensor, w->n_tensor, name);

    return n ? &w->tensor[n->i] : NULL;
}

const struct meta *weights_meta(const struct weights *w, const char *key)
{
    const struct named *n = find(w->index->meta, w->n_meta, key);

    return n ? &w->meta[n->i] : NULL;
}

void tensor_bytes(const struct tensor_info *t, uint64_t at, uint64_t n, void *out)
{
    const struct qtype_info *q = &qtype_info[t->type];
    uint64_t block = (uint64_t)q->block_bytes;
    uint8_t *to = out, one[256];

    ASSERT(at <= t->bytes && n <= t->bytes - at);
    if (t->layout == LAYOUT_rows) {
        memcpy(out, t->data + at, (size_t)n);
        return;
    }
    ASSERT(block <= sizeof(one));
    for (uint64_t take; n > 0; n -= take, at += take, to += take) {
        uint64_t row = at / t->row_bytes, in_row = at % t->row_bytes, skip = in_row % block;
        const uint8_t *tile = t->data + row / TILE_ROWS * TILE_ROWS * t->row_bytes +
                              in_row / block * block * TILE_ROWS;
        int r = (int)(row % TILE_ROWS);
        take = n < t->row_bytes - in_row ? n : t->row_bytes - in_row;
        if (skip == 0 && take >= block) {
            take -= take % block;
            tile_unpack_row(t->type, to, tile, r, (int64_t)(take / block) * q->block_elems);
        } else {
            take = take < block - skip ? take : block - skip;
            tile_unpack_row(t->type, one, tile, r, q->block_elems);
            memcpy(to, one + skip, (size_t)take);
        }
    }
}

static const char *type_words(const struct meta *m)
{
    static const char *const one[] = { "an integer", "an integer", "a number with a fraction",
                                       "true or false", "a text" };

    return m->is_array ? "a list" : one[m->type];
}

static bool is_integer(const struct meta *m)
{
    return !m->is_array && (m->type == META_UINT || m->type == META_INT);
}

enum err weights_u64(const struct weights *w, const char *key, uint64_t fallback, uint64_t min,
                     uint64_t max, uint64_t *out)
{
    const struct meta *m = weights_meta(w, key);

    *out = fallback;
    if (!m)
        return OK;
    if (!is_integer(m))
        return err_set(ERR_FORMAT, "WEIGHTS-09", "%s: %s is %s; it must be one integer: convert "
                       "the model again", w->file[0].path, key, type_words(m));
    if (m->type == META_INT && meta_int(m, 0) < 0)
        return err_set(ERR_FORMAT, "WEIGHTS-10", "%s: %s is %" PRId64 "; it must be from %" PRIu64
                       " to %" PRIu64 ": convert the model again", w->file[0].path, key,
                       meta_int(m, 0), min, max);
    if (meta_uint(m, 0) < min || meta_uint(m, 0) > max)
        return err_set(ERR_FORMAT, "WEIGHTS-11", "%s: %s is %" PRIu64 "; it must be from %" PRIu64
                       " to %" PRIu64 ": convert the model again", w->file[0].path, key,
                       meta_uint(m, 0), min, max);
    *out = meta_uint(m, 0);
    return OK;
}

enum err weights_f64(const struct weights *w, const char *key, double fallback, double min,
                     double max, double *out)
{
    const struct meta *m = weights_meta(w, key);

    *out = fallback;
    if (!m)
        return OK;
    if (!is_integer(m) && (m->is_array || m->type != META_FLOAT))
        return err_set(ERR_FORMAT, "WEIGHTS-12", "%s: %s is %s; it must be one number: convert the "
                       "model again", w->file[0].path, key, type_words(m));
    double value = meta_float(m, 0);
    if (!isfinite(value) || !(value >= min && value <= max))
        return err_set(ERR_FORMAT, "WEIGHTS-13", "%s: %s is %g; it must be from %g to %g: convert "
                       "the model again", w->file[0].path, key, value, min, max);
    *out = value;
    return OK;
}

enum err weights_bool(const struct weights *w, const char *key, bool fallback, bool *out)
{
    const struct meta *m = weights_meta(w, key);

    *out = fallback;
    if (!m)
        return OK;
    if (m->is_array || m->type != META_BOOL)
        return err_set(ERR_FORMAT, "WEIGHTS-14", "%s: %s is %s; it must be true or false: convert "
                       "the model again", w->file[0].path, key, type_words(m));
    *out = m->raw[0] != 0;
    return OK;
}

enum err weights_str(const struct weights *w, const char *key, const char *fallback,
                     const char **out, size_t *len)
{
    const struct meta *m = weights_meta(w, key);
    struct meta_cursor c = { 0 };

    *out = fallback;
    *len = fallback ? strlen(fallback) : 0;
    if (!m)
        return OK;
    if (m->is_array || m->type != META_STRING)
        return err_set(ERR_FORMAT, "WEIGHTS-15", "%s: %s is %s; it must be one text: convert the "
                       "model again", w->file[0].path, key, type_words(m));
    meta_next_str(m, &c, out, len);
    return OK;
}

/* Below, i * elem_bytes cannot overflow: opening the file checked n * elem_bytes. */
uint64_t meta_uint(const struct meta *m, uint64_t i)
{
    uint64_t value = 0;

    ASSERT(i < m->n && (m->type == META_UINT || m->type == META_INT));
    if (m->type == META_INT)
        return (uint64_t)meta_int(m, i);
    memcpy(&value, m->raw + i * (uint64_t)m->elem_bytes, (size_t)m->elem_bytes);
    return value;
}

int64_t meta_int(const struct meta *m, uint64_t i)
{
    const uint8_t *at = m->raw + i * (uint64_t)m->elem_bytes;
    int unused = 64 - 8 * m->elem_bytes;
    uint64_t bits = 0;

    ASSERT(i < m->n && (m->type == META_UINT || m->type == META_INT));
    memcpy(&bits, at, (size_t)m->elem_bytes);
    /* Move the sign to the top and back: both compilers shift signed values arithmetically. */
    return m->type == META_UINT ? (int64_t)bits : (int64_t)(bits << unused) >> unused;
}

double meta_float(const struct meta *m, uint64_t i)
{
    float narrow;
    double wide;

    if (m->type == META_UINT)
        return (double)meta_uint(m, i);
    if (m->type == META_INT)
        return (double)meta_int(m, i);
    ASSERT(i < m->n && m->type == META_FLOAT);
    if (m->elem_bytes == sizeof(narrow)) {
        memcpy(&narrow, m->raw + i * sizeof(narrow), sizeof(narrow));
        return (double)narrow;
    }
    memcpy(&wide, m->raw + i * sizeof(wide), sizeof(wide));
    return wide;
}

bool meta_next_str(const struct meta *m, struct meta_cursor *c, const char **text, size_t *len)
{
    uint64_t bytes;

    ASSERT(m->type == META_STRING);
    if (c->i >= m->n)
        return false;
    if (c->i == 0)
        c->at = m->raw;
    memcpy(&bytes, c->at, sizeof(bytes));   /* validated when the file was opened */
    *text = (const char *)c->at + sizeof(bytes);
    *len = (size_t)bytes;
    c->at += sizeof(bytes) + bytes;
    c->i++;
    return true;
}
