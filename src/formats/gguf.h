/* gguf.h - inside formats: one GGUF file, and how several become one `struct weights`.
 *
 *   weights_open -> gguf_open_all -> gguf_part_read (each file) -> gguf_adopt -> index
 *
 * Invariant: nothing from a file is used before gguf_part_read() has validated all of its
 * header; nothing is allocated from a count that the bytes left in the file cannot hold.
 */
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H

#include "formats/weights_form.h"

/* Limits, each several times what the largest known release needs. */
enum {
    GGUF_HEADER_BYTES_MAX = 64 << 20,   /* metadata and tensor list of one file */
    GGUF_META_MAX         = 65536,
    GGUF_TENSORS_MAX      = 200000,     /* 671B with one tensor per expert: 46,000 */
    GGUF_KEY_BYTES_MAX    = 65535,      /* the format's own */
    GGUF_NAME_BYTES_MAX   = 255,
    GGUF_ALIGNMENT_MAX    = 1 << 20,
    GGUF_SHARDS_MAX       = 512,        /* each holds a descriptor; the usual limit is 1024 */
};

/* One file: its map and what its header says.  A zeroed struct is empty. */
struct gguf_part {
    struct file_map map;
    uint32_t version;
    uint64_t alignment;
    struct meta *meta;
    uint64_t n_meta;
    struct tensor_info *tensor;
    uint64_t n_tensor;
    bool is_packed;                     /* begins with PACKED_MAGIC (packed.h) */
    bool is_split;                      /* has split.count above 1 */
    uint64_t split_no, split_count;
    uint64_t split_tensors;             /* over all shards; UINT64_MAX: not said */
};

/* Read and validate the header of p->map; names go into `x`. */
MUST_CHECK enum err gguf_part_read(struct gguf_part *p, struct weights_index *x);
void gguf_part_release(struct gguf_part *p);

/* Open `path`, and its siblings when it is a shard, into w (gguf_split.c). */
MUST_CHECK enum err gguf_open_all(struct weights *w, const char *path, bool in_memory);

/* What a packed file says of its tensors' layout; nothing for others (gguf_packed.c). */
MUST_CHECK enum err gguf_packed_read(struct gguf_part *p);

/* "GGUF v3" and the like, for people. */
const char *gguf_container(uint32_t version, bool is_packed);

/* Move a part into w as file number w->n_file; the metadata of the first one is kept. */
MUST_CHECK enum err gguf_adopt(struct weights *w, struct gguf_part *p);

/* The refusal of a tensor type that croft does not compute with, by its name (gguf_type.c). */
enum err gguf_type_refuse(const char *path, const char *tensor, uint32_t type);

/* weights_open() for a copy of bytes in memory, for tests and fuzzers: no siblings. */
MUST_CHECK enum err weights_open_bytes(struct weights **out, const char *name,
                                       const void *bytes, size_t len);

#endif
