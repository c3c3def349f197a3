/* weights.h - a checkpoint on disk: its metadata and its tensors by name, whatever container
 * they came in.
 *
 * Names are the container's own.  GGUF: "blk.3.attn_q.weight", "llama.block_count".  A Hugging
 * Face folder (hf is set): "model.layers.3.self_attn.q_proj.weight", and config.json with its
 * objects flattened by dots: "num_hidden_layers", "rope_scaling.factor"; the other JSON files
 * under their name: "generation_config.eos_token_id", "tokenizer_config.bos_token",
 * "pooling.pooling_mode_mean_tokens" of 1_Pooling/config.json.  A chat template is
 * "tokenizer.chat_template" in both.  Which name means what is for a model family to say
 * (model/arch.h).
 *
 * Opening reads headers only and validates all of them: afterwards every tensor's bytes lie
 * inside its file, names are unique, and strings are what the header says.  Tensor data stays
 * mapped and is not touched.
 */
#ifndef FORMATS_WEIGHTS_H
#define FORMATS_WEIGHTS_H

#include "base/err.h"
#include "base/file.h"
#include "base/sha256.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdint.h>

enum { TENSOR_DIMS_MAX = 4 };

struct tensor_info {
    const char *name;                   /* NUL-terminated; owned by the weights */
    enum qtype type;
    enum layout layout;                 /* of data; rows but for tensors of a packed file */
    int n_dim;
    int64_t ne[TENSOR_DIMS_MAX];        /* fastest (contiguous) first, as in GGUF; 1 beyond n_dim */
    int64_t n_elem, n_row;              /* n_row = n_elem / ne[0] */
    uint64_t row_bytes, bytes;
    const uint8_t *data;                /* mapped */
    int file;                           /* index into weights.file */
    uint64_t file_offset;               /* of data, from the start of that file */
};

enum meta_type { META_UINT, META_INT, META_FLOAT, META_BOOL, META_STRING };

/* One metadata entry; an array has is_array set and `n` elements.  `raw` points at the
 * element(s) as stored (little-endian, any alignment); read them with the getters. */
struct meta {
    const char *key;                    /* NUL-terminated; owned by the weights */
    enum meta_type type;
    int elem_bytes;                     /* 1, 2, 4, 8; 0 for strings */
    bool is_array;
    uint64_t n;
    const uint8_t *raw;
};

struct weights {
    struct file_map *file;              /* [n_file] */
    int n_file;
    const char *container;              /* "GGUF v3", "Hugging Face" */
    bool hf;                            /* a Hugging Face folder; file[0] is its config.json */
    struct file_map tokenizer;          /* hf: tokenizer.json; data is NULL when there is none */
    struct meta *meta;                  /* [n_meta], in file order */
    uint64_t n_meta;
    struct tensor_info *tensor;         /* [n_tensor], in file order */
    uint64_t n_tensor;
    struct weights_index *index;        /* private: both sorted by name, string memory */
};

struct weights_options { bool in_memory; /* --no-mmap */ };

/* Open a GGUF v2 or v3 file, a packed file (packed.h), or the first shard of a split one (any
 * shard's name finds its siblings), or a Hugging Face folder: config.json, and model.safetensors
 * or the shards that model.safetensors.index.json names.  `o` may be NULL.  On success *out is
 * yours: weights_free().
 * Errors: MISSING, IO, FORMAT, LIMIT, NOMEM; the text names file, field and remedy. */
MUST_CHECK enum err weights_open(struct weights **out, const char *path,
                                 const struct weights_options *o);
void weights_free(struct weights *w);

/* The tensor of that name, or NULL. */
const struct tensor_info *weights_find(const struct weights *w, const char *name);

/* out <- bytes [at, at + n) of the tensor as its rows lie in the file it was made from, whatever
 * its layout is. */
void tensor_bytes(const struct tensor_info *t, uint64_t at, uint64_t n, void *out);

/* sum [n_tensor] <- SHA-256 of those bytes of each tensor; false of `go_on`, which is called for
 * each MiB, ends it.  Errors: NOMEM, STOPPED. */
MUST_CHECK enum err weights_sums(uint8_t (*sum)[SHA256_BYTES], const struct weights *w,
                                 bool (*go_on)(void *arg), void *arg);

/* The entry of that key, or NULL. */
const struct meta *weights_meta(const struct weights *w, const char *key);

/* Scalars.  Absent: *out = fallback, OK.  Present with another type, out of range or not
 * finite: FORMAT, naming file and key.  Any integer width and sign is accepted for an integer;
 * an integer is accepted for a float. */
MUST_CHECK enum err weights_u64(const struct weights *w, const char *key, uint64_t fallback,
                                uint64_t min, uint64_t max, uint64_t *out);
MUST_CHECK enum err weights_f64(const struct weights *w, const char *key, double fallback,
                                double min, double max, double *out);
MUST_CHECK enum err weights_bool(const struct weights *w, const char *key, bool fallback,
                                 bool *out);

/* A string; absent: *out = fallback (may be NULL), *len its length.  The bytes are borrowed
 * from the weights and NOT NUL-terminated when they come from the file. */
MUST_CHECK enum err weights_str(const struct weights *w, const char *key, const char *fallback,
                                const char **out, size_t *len);

/* Elements of an array entry, i < m->n, of the entry's own type (checked by the caller). */
uint64_t meta_uint(const struct meta *m, uint64_t i);   /* UINT, or INT that is >= 0 */
int64_t meta_int(const struct meta *m, uint64_t i);     /* UINT or INT */
double meta_float(const struct meta *m, uint64_t i);    /* FLOAT, UINT or INT */

/* Strings have no fixed size: walk an array with a cursor that starts zeroed.  Returns false
 * after the last one.  Borrowed, not NUL-terminated. */
struct meta_cursor { uint64_t i; const uint8_t *at; };
bool meta_next_str(const struct meta *m, struct meta_cursor *c, const char **text, size_t *len);

#endif
