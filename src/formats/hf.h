/* hf.h - inside formats: how a Hugging Face folder becomes one `struct weights`.
 *
 *   weights_open -> hf_find -> hf_open_all -> config.json and its companions (hf_config.c)
 *                                          -> model.safetensors.index.json (hf_index.c)
 *                                          -> safetensors_read (each shard) -> tensors
 *
 * Invariant: names in a folder's files are never paths: a shard is a plain file name, looked for
 * in the folder alone (links in it are followed: the hub's cache is made of them).
 */
#ifndef FORMATS_HF_H
#define FORMATS_HF_H

#include "base/json.h"
#include "formats/gguf.h"

/* Limits, each several times what the largest known release needs. */
enum {
    HF_CONFIG_BYTES_MAX   = 8 << 20,    /* tokenizer_config.json lists its added tokens */
    HF_CONFIG_COST_MAX    = 1 << 20,    /* json_cost() of it */
    HF_TEMPLATE_BYTES_MAX = 1 << 20,
    HF_KEY_BYTES_MAX      = 1024,
    HF_DEPTH_MAX          = 16,
    HF_INDEX_BYTES_MAX    = 64 << 20,   /* DeepSeek-V3: 9 MB */
    HF_INDEX_COST_MAX     = 4 << 20,
};

/* A `struct weights` while its metadata grows; `path` names the JSON being read. */
struct hf_meta { struct weights *w; uint64_t room; const char *path; };

/* config.json, which says whether the weights are stored in a way that is read here. */
MUST_CHECK enum err hf_config_read(struct hf_meta *h, const char *text, size_t len);

/* generation_config.json, tokenizer_config.json or 1_Pooling/config.json under a prefix.  A chat
 * template in it is taken when `with_template` is set. */
MUST_CHECK enum err hf_extra_read(struct hf_meta *h, const char *text, size_t len,
                                  const char *prefix, bool with_template);

/* chat_template.json: {"chat_template": ...}. */
MUST_CHECK enum err hf_template_json(struct hf_meta *h, const char *text, size_t len);

/* A text under a key. */
MUST_CHECK enum err hf_meta_text(struct hf_meta *h, const char *key, const char *text, size_t len);

/* Which file each tensor is in. */
struct hf_place { const char *tensor; int shard; bool found; };
struct hf_index {
    json_t *json;                       /* owned; all names below point into it */
    const char **shard;                 /* [n_shard] file names, sorted */
    int n_shard;
    struct hf_place *place;             /* [n_place], sorted by tensor */
    uint64_t n_place;
};

/* Read and validate an index; on failure *x is zeroed. */
MUST_CHECK enum err hf_index_read(struct hf_index *x, const char *path, const char *text,
                                  size_t len);
void hf_index_release(struct hf_index *x);

/* The entry of a tensor, or NULL; `found` is the caller's to set. */
struct hf_place *hf_index_find(const struct hf_index *x, const char *tensor);

/* *folder is the Hugging Face folder that `path` is or is in, yours: free(); NULL when it is none
 * (then `path` is a matter for the GGUF reader). */
MUST_CHECK enum err hf_find(char **folder, const char *path);

/* Open the folder into w.  `path` is what was named: it must be part of the model. */
MUST_CHECK enum err hf_open_all(struct weights *w, const char *folder, const char *path,
                                bool in_memory);

#endif
