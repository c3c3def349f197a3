/* identity.c - which model this is: a digest that costs a bounded number of reads.
 *
 * What goes in has a fixed order and fixed widths, little-endian; a text is preceded by its
 * length, so that no two models write the same bytes. */
#include "base/sha256.h"
#include "model/arch.h"

#include <string.h>

enum { SAMPLE_BYTES = 64, SAMPLED_TENSORS_MAX = 2048 };

/* Collects whether memory ran out, so that the walk reads like a list. */
struct identity { struct sha256 hash; bool ok; };

static void add(struct identity *id, const void *bytes, size_t len)
{
    id->ok = id->ok && sha256_add(&id->hash, bytes, len);
}

static void add_int(struct identity *id, int64_t value)
{
    add(id, &value, sizeof(value));
}

static void add_float(struct identity *id, double value)
{
    add(id, &value, sizeof(value));
}

static void add_text(struct identity *id, const char *text)
{
    add_int(id, (int64_t)strlen(text));
    add(id, text, strlen(text));
}

/* What changes the result of a step; shapes come again with the tensors.  DIM_EH, the last of
 * them, says how the model was opened and not which it is. */
static void add_hparams(struct identity *id, const struct hparams *hp)
{
    for (int d = 0; d < DIM_EH; d++)
        add_int(id, hp->dim[d]);
    add_int(id, hp->n_layer);
    add_int(id, hp->n_layer_dense);
    add_int(id, hp->n_head);
    add_int(id, hp->n_head_kv);
    add_int(id, hp->head_dim);
    add_float(id, (double)hp->eps);
    add_int(id, hp->n_rot);
    add_int(id, hp->rope_half);
    add_float(id, hp->rope_base);
    add_float(id, hp->rope_factor);
    add_int(id, hp->rope_scaling);
    add_int(id, hp->rope_ctx_orig);
    add_float(id, hp->yarn_beta_fast);
    add_float(id, hp->yarn_beta_slow);
    add_float(id, hp->llama3_low);
    add_float(id, hp->llama3_high);
    add_float(id, (double)hp->rope_mscale);
    add_float(id, (double)hp->attn_scale);
    add_int(id, hp->n_expert);
    add_int(id, hp->n_expert_used);
    add_int(id, hp->n_group);
    add_int(id, hp->n_group_used);
    add_int(id, hp->gating);
    add_int(id, hp->expert_norm);
    add_float(id, (double)hp->expert_scale);
}

/* The first bytes and the middle ones: a fine-tune moves them all.  A packed file has the
 * identity of the file it was made from. */
static void add_sample(struct identity *id, const struct tensor_info *t)
{
    uint64_t n = t->bytes < SAMPLE_BYTES ? t->bytes : SAMPLE_BYTES;
    uint8_t sample[SAMPLE_BYTES];

    tensor_bytes(t, 0, n, sample);
    add(id, sample, (size_t)n);
    tensor_bytes(t, (t->bytes - n) / 2, n, sample);
    add(id, sample, (size_t)n);
}

enum err model_identity(const struct model *m, uint8_t out[MODEL_IDENTITY_BYTES])
{
    _Static_assert((int)MODEL_IDENTITY_BYTES == (int)SHA256_BYTES, "an identity is one digest");
    const struct weights *w = model_weights(m);
    uint64_t every = 1 + w->n_tensor / SAMPLED_TENSORS_MAX;
    struct identity id = { 0 };

    memset(out, 0, MODEL_IDENTITY_BYTES);
    id.ok = sha256_init(&id.hash);
    add_text(&id, model_info(m)->arch);
    add_hparams(&id, model_hparams(m));
    for (uint64_t i = 0; i < w->n_tensor; i++) {
        const struct tensor_info *t = &w->tensor[i];
        add_text(&id, t->name);
        add_text(&id, qtype_info[t->type].name);
        for (int d = 0; d < TENSOR_DIMS_MAX; d++)
            add_int(&id, t->ne[d]);
        if (i % every == 0)
            add_sample(&id, t);
    }
    id.ok = id.ok && sha256_finish(&id.hash, out);
    sha256_release(&id.hash);
    return id.ok ? OK : err_set(ERR_NOMEM, "MODEL-60", "%s: no memory to tell which model it is; "
                                "close other programs", w->file[0].path);
}
