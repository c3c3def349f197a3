/* gguf_split.c - a GGUF model in one file, or in shards named NAME-00001-of-00003.gguf.
 *
 * The name and split.no, split.count of every shard must agree: each is checked against the
 * others before its tensors are believed, so no file can stand in for two.  The first shard's
 * metadata is the model's.
 */
#include "formats/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err gguf_adopt(struct weights *w, struct gguf_part *p)
{
    uint64_t n = w->n_tensor + p->n_tensor;
    struct file_map *file = realloc(w->file, ((size_t)w->n_file + 1) * sizeof(*file));

    if (file)
        w->file = file;
    struct tensor_info *tensor = realloc(w->tensor, (size_t)(n + 1) * sizeof(*tensor));
    if (tensor)
        w->tensor = tensor;
    if (!file || !tensor)
        return err_set(ERR_NOMEM, "WEIGHTS-01", "%s: no memory for a list of %" PRIu64 " tensors; "
                       "close other programs", p->map.path, n);
    if (n > GGUF_TENSORS_MAX)
        return err_set(ERR_LIMIT, "WEIGHTS-02", "%s: the shards up to this one have %" PRIu64
                       " tensors; the limit is %d: one of them is damaged, get them again",
                       p->map.path, n, GGUF_TENSORS_MAX);
    for (uint64_t i = 0; i < p->n_tensor; i++) {
        tensor[w->n_tensor + i] = p->tensor[i];
        tensor[w->n_tensor + i].file = w->n_file;
    }
    w->n_tensor = n;
    if (w->n_file == 0) {
        w->meta = p->meta;
        w->n_meta = p->n_meta;
        p->meta = NULL;
    }
    file[w->n_file++] = p->map;
    p->map = (struct file_map){ 0 };
    return OK;
}

struct shard_name { size_t prefix; uint64_t number, count; };  /* number from 1 */

/* Five digits at s, or UINT64_MAX. */
static uint64_t five_digits(const char *s)
{
    uint64_t n = 0;

    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9')
            return UINT64_MAX;
        n = n * 10 + (uint64_t)(s[i] - '0');
    }
    return n;
}

/* Take "PREFIX-00002-of-00003.gguf" apart. */
static bool parse_name(const char *path, struct shard_name *s)
{
    static const char shape[] = "-00000-of-00000.gguf";
    size_t len = strlen(path), tail = sizeof(shape) - 1;
    const char *at = path + len - tail;

    if (len <= tail || at[0] != '-' || memcmp(at + 6, "-of-", 4) || strcmp(at + 15, ".gguf"))
        return false;
    s->prefix = len - tail;
    s->number = five_digits(at + 1);
    s->count = five_digits(at + 10);
    return s->number != UINT64_MAX && s->count != UINT64_MAX;
}

/* What a file says of its place among the shards must fit its name. */
static enum err check_place(const struct gguf_part *p, const struct shard_name *s)
{
    const char *path = p->map.path;

    if (p->split_count != s->count)
        return err_set(ERR_FORMAT, "GGUF-40", "%s: is named as one of %" PRIu64 " shards, but its "
                       "split.count is %" PRIu64 "; give the shards their original names", path,
                       s->count, p->split_count);
    if (p->split_no + 1 != s->number)
        return err_set(ERR_FORMAT, "GGUF-41", "%s: is named as shard %" PRIu64 ", but its split.no "
                       "makes it shard %" PRIu64 "; give the shards their original names", path,
                       s->number, p->split_no + 1);
    return OK;
}

/* Shards of different models may have fitting names and numbers; the totals give them away. */
static enum err check_total(const struct gguf_part *p, uint64_t split_tensors)
{
    if (p->split_tensors != split_tensors)
        return err_set(ERR_FORMAT, "GGUF-42", "%s: its split.tensors.count differs from that of "
                       "the other shards, so it belongs to another file; get all shards from one "
                       "place", p->map.path);
    return OK;
}

static enum err open_shard(struct gguf_part *p, struct weights_index *x, const char *given,
                           const struct shard_name *s, bool in_memory)
{
    size_t room = strlen(given) + 32;
    char *path = malloc(room);
    enum err e;

    if (!path)
        return err_set(ERR_NOMEM, "GGUF-43", "%s: no memory for the name of a shard; close other "
                       "programs", given);
    snprintf(path, room, "%.*s-%05" PRIu64 "-of-%05" PRIu64 ".gguf", (int)s->prefix, given,
             s->number, s->count);
    e = file_map_open(&p->map, path, in_memory);
    if (e == ERR_MISSING)
        e = err_set(ERR_MISSING, "GGUF-44", "%s: shard %" PRIu64 " of %" PRIu64 " is missing; put "
                    "all shards into one folder under their original names", path, s->number,
                    s->count);
    free(path);
    if (e || (e = gguf_part_read(p, x)))
        return e;
    return check_place(p, s);
}

/* All shards in order; `first` is the one that was named, already read. */
static enum err open_shards(struct weights *w, struct gguf_part *first, const char *path,
                            struct shard_name s, bool in_memory)
{
    uint64_t own = s.number, split_tensors = first->split_tensors;
    struct gguf_part other = { 0 };
    enum err e = OK;

    for (s.number = 1; s.number <= s.count && e == OK; s.number++) {
        struct gguf_part *p = s.number == own ? first : &other;
        if (p == &other)
            e = open_shard(p, w->index, path, &s, in_memory);
        if (e == OK)
            e = check_total(p, split_tensors);
        if (e == OK)
            e = gguf_adopt(w, p);
        gguf_part_release(&other);
    }
    return e;
}

static enum err open_first(struct weights *w, struct gguf_part *first, const char *path,
                           bool in_memory)
{
    struct shard_name s;
    bool named = parse_name(path, &s);
    enum err e;

    if (first->split_count && first->split_no >= first->split_count)
        return err_set(ERR_FORMAT, "GGUF-45", "%s: split.no is %" PRIu64 " of split.count %" PRIu64
                       "; the file is damaged, get it again", path, first->split_no,
                       first->split_count);
    if (!first->is_split && named && s.count > 1)
        return err_set(ERR_FORMAT, "GGUF-46", "%s: is named as one of %" PRIu64 " shards, but has "
                       "no split.count; rename it if it is a whole model, or get it again", path,
                       s.count);
    if (!first->is_split)
        return gguf_adopt(w, first);
    if (first->split_count > GGUF_SHARDS_MAX)
        return err_set(ERR_LIMIT, "GGUF-47", "%s: is one of %" PRIu64 " shards; the limit is %d: "
                       "merge them with `llama-gguf-split --merge`", path, first->split_count,
                       GGUF_SHARDS_MAX);
    if (!named)
        return err_set(ERR_FORMAT, "GGUF-48", "%s: is shard %" PRIu64 " of %" PRIu64 ", but its "
                       "name does not end in -%05" PRIu64 "-of-%05" PRIu64 ".gguf, so the others "
                       "cannot be found; give the shards their original names", path,
                       first->split_no + 1, first->split_count, first->split_no + 1,
                       first->split_count);
    if ((e = check_place(first, &s)))
        return e;
    return open_shards(w, first, path, s, in_memory);
}

enum err gguf_open_all(struct weights *w, const char *path, bool in_memory)
{
    struct gguf_part first = { 0 };
    enum err e = file_map_open(&first.map, path, in_memory);

    if (e == OK)
        e = gguf_part_read(&first, w->index);
    const char *container = gguf_container(first.version, first.is_packed);
    uint64_t split_tensors = first.split_tensors;
    if (e == OK)
        e = open_first(w, &first, path, in_memory);
    gguf_part_release(&first);
    if (e)
        return e;
    w->container = container;
    if (split_tensors != UINT64_MAX && split_tensors != w->n_tensor)
        return err_set(ERR_FORMAT, "GGUF-49", "%s: split.tensors.count is %" PRIu64 ", but %"
                       PRIu64 " tensors are there; get all shards again", path, split_tensors,
                       w->n_tensor);
    return OK;
}
