/* model.h - a model family behind one interface: open it, describe its KV pages, take a step.
 *
 * A step takes a ragged batch: rows of several sequences, each with its token, position, kind
 * and adapter, and says for which rows logits or hidden rows are wanted.  A row's result is the
 * same bits whatever is beside it in the batch, however a prompt was cut, and for any number of
 * threads (per instruction-set level).
 *
 * Kinds: attention of prompt tokens works on unpacked pages (MLA's expanded form), that of sampled
 * tokens on the cache's own rows (its absorbed form); the two round differently, so the kind
 * belongs to the token and is remembered with its KV.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/err.h"
#include "base/pool.h"
#include "formats/adapter.h"
#include "formats/weights.h"
#include "ops/kv.h"
#include "place/place.h"

#include <stdbool.h>
#include <stdint.h>

struct model;
struct profile;

enum tok_kind { TOK_PROMPT = 0, TOK_SAMPLED = 1 };

/* Which hidden row of the main model its MTP layer takes: after the final norm, as vLLM and SGLang
 * feed it (the default), or before it; DeepSeek has not said which.  The layer norms what it
 * takes, so the two differ by the final norm's gain. */
enum mtp_input { MTP_AFTER_NORM = 0, MTP_BEFORE_NORM = 1 };

struct model_options {
    int n_thread;                       /* at least 1; these three as struct pool_options */
    bool no_pin;
    double cpu_quota;
    unsigned isa;                       /* kernels allowed; see isa_detect() */
    bool exact;                         /* f32 arithmetic on dequantised weights */
    enum qtype kv_type;                 /* f32, f16, bf16 or q8_0 */
    int32_t n_batch_max;                /* rows a step may take; scratch is sized by it */
    bool mtp;                           /* bind the MTP layer, where the files hold one */
    enum mtp_input mtp_input;
};

/* What a model is, for people and programs.  Strings are borrowed from the model. */
struct model_info {
    const char *arch;                   /* "llama", "deepseek2" */
    const char *name;                   /* general.name, or "" */
    int32_t n_layer, n_layer_mtp;       /* n_layer: without MTP layers */
    int32_t n_embd, n_head, n_head_kv, n_vocab;
    int64_t n_ctx_train;
    int32_t n_expert, n_expert_used, n_expert_shared;       /* 0: dense */
    int64_t n_param, n_param_active;    /* without MTP; active: all but the routed experts a
                                           token does not use */
    int64_t n_param_mtp;
    uint64_t weight_bytes;              /* tensor data in the files */
    bool mla;
    bool mtp;                           /* the MTP layer is bound: model_draft() may be called */
};

/* What a KV page holds, see ops/kv.h. */
struct kv_spec {
    enum qtype type;
    int32_t n_layer;                    /* info.n_layer, and one more where info.mtp */
    uint64_t layer_tok_bytes;           /* of one token in one layer, all segments */
    uint64_t page_bytes;                /* n_layer * KV_PAGE_TOK * layer_tok_bytes */
    uint64_t row_bytes[KV_SEGS_MAX];    /* of one token in each segment of a layer; 0: none */
};

/* One row of a step.  Rows of one sequence stand together in rising positions without gaps, and
 * all tokens before the first of them are already in the sequence's KV. */
struct batch_row {
    int32_t token;                      /* 0 <= token < n_vocab */
    int32_t seq;                        /* index into batch.kv */
    int64_t pos;                        /* 0 for the first token of the sequence */
    uint8_t kind;                       /* enum tok_kind */
    uint8_t want_logits, want_hidden;
    int32_t adapter;                    /* of model_add_adapters(); 0: none */
};

struct batch {
    const struct batch_row *row;
    int32_t n_row;                      /* 1 .. n_batch_max */
    const struct kv_view *kv;           /* [n_seq]; pages for every position named */
    int32_t n_seq;
};

/* Where a step puts what was asked for; each may be NULL when no row wants it. */
struct step_out {
    float *logits;                      /* [rows that want them, n_vocab], in row order */
    float *hidden;                      /* [rows that want them, n_embd], after the final norm */
    float *draft_in;                    /* [rows that want hidden, n_embd], as model_draft() takes
                                           them for the position after; needs info.mtp */
    int32_t *expert;                    /* [n_row, n_layer_moe, n_expert_used], largest weight
                                           first; NULL: not recorded */
};

/* Bind a checkpoint's tensors to its family and check every shape.  Nothing big is read.
 * `w` is borrowed and must outlive the model.  On success *out is yours: model_free().
 * Errors: ARG (a family or type we do not have, by name), FORMAT (tensor, shape), NOMEM. */
MUST_CHECK enum err model_open(struct model **out, const struct weights *w,
                               const struct model_options *o);
void model_free(struct model *m);

/* Read the weights into memory, packed for the kernels, in place of the mapped file: at most
 * once, before adapters are added.  Every result keeps its bits.  With o->rows_too what cannot be
 * packed is copied as it is; o->pool is the model's own, whatever it says.
 * Errors: NOMEM, IO, STOPPED; the model is then as before. */
MUST_CHECK enum err model_place(struct model *m, const struct place_options *o);

/* The memory that takes; and what holds it, or NULL. */
uint64_t model_place_bytes(const struct model *m, bool rows_too);
const struct place *model_placed(const struct model *m);

/* How the bytes of each tensor may lie, [n_tensor]; borrowed. */
const enum place_want *model_wants(const struct model *m);

const struct model_info *model_info(const struct model *m);
const struct kv_spec *model_kv_spec(const struct model *m);
struct pool *model_pool(const struct model *m);

/* The KV row of a token for a type, without opening for compute: for `show`'s memory table. */
uint64_t model_kv_tok_bytes(const struct model *m, enum qtype type);

/* Adapters a row may ask for, each applied with its own scale beside the unchanged weights. */
struct model_lora { const struct adapter *adapter; float scale; };
enum { MODEL_MIXES_MAX = 64 };

/* Make a combination of adapters known; *id is what batch_row.adapter names it by.  A row
 * without it has the same bits as before.  The adapters are borrowed and must outlive the model.
 * Errors: ARG (an adapter of another model or family: names the tensor), FORMAT (shapes), LIMIT
 * (rank above 1024; more than MODEL_MIXES_MAX combinations), NOMEM. */
MUST_CHECK enum err model_add_adapters(struct model *m, const struct model_lora *part, int n_part,
                                       int32_t *id);

/* Compute the rows and write their KV.  Errors: FORMAT (a weight row that is not finite, by
 * tensor and row), ARG (a token or position out of range).  After an error the KV of the rows is
 * unspecified, everything before them is untouched. */
MUST_CHECK enum err model_step(struct model *m, const struct batch *b, const struct step_out *out);

/* One step of the MTP layer: guess the token after next.  Source: arXiv 2412.19437, section 2.2.
 *
 * Row i is the token at position p >= 1, with seq, pos = p, kind and adapter as model_step() has
 * or will have it, and hidden [n_row, n_embd] holds in row i the draft_in row of position p - 1.
 * Logits, where wanted, are the layer's for position p + 1, as model_step()'s of row p would be;
 * of out, logits, hidden and draft_in may be set, each with the rows that want it.
 *
 * The layer attends to what it wrote before: positions 1 .. p - 1 of the sequence were given to
 * model_draft() in this batch or earlier, whatever was wanted then (a row that wants nothing only
 * writes its KV and takes no FFN: a prompt's rows).  The KV of position p is written at p - 1 in
 * the layer's part of the pages, for it belongs to the pair of p - 1 and p: a sequence cut to n
 * tokens keeps n - 1 pairs, and a page may be shared only by sequences that agree in the token
 * after it too.
 *
 * More than one token ahead: the layer feeds itself.  The row of position p + 1 is the guessed
 * token with the draft_in row that model_draft() gave for p.  What such steps write is replaced
 * when position p + 1 is drafted again from the main model's row, as it must be.
 *
 * Bits, errors and adapters as model_step(); only with info.mtp. */
MUST_CHECK enum err model_draft(struct model *m, const struct batch *b, const float *hidden,
                                const struct step_out *out);

/* Count the steps from now on in `p` (ops/profile.h), of as many layers as the KV has, which is
 * the caller's; NULL: no longer. */
void model_profile(struct model *m, struct profile *p);

/* FORMAT when a file of the checkpoint is no longer what was opened: replaced or rewritten. */
MUST_CHECK enum err model_check_files(const struct model *m);

/* Layers with routed experts, for the shape of step_out.expert. */
int32_t model_moe_layers(const struct model *m);

enum { MODEL_IDENTITY_BYTES = 32 };

/* What tells one model from another, whatever it is called and wherever it lies: SHA-256 over the
 * family, its hyperparameters, and each tensor's name, type, shape and a sample of its bytes.
 * Limits: at most a few thousand samples of 64 bytes are read (671 B parameters take no longer
 * than 8 B), so a file changed in a few values alone may keep its identity; the tokenizer is not
 * part of it; the same weights in another container or under other tensor names are another
 * model.  Errors: NOMEM. */
MUST_CHECK enum err model_identity(const struct model *m, uint8_t out[MODEL_IDENTITY_BYTES]);

#endif
