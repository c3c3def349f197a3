/* synth.c - writes GGUF models of real shapes with made-up weights.
 *
 *   synth KIND OUT.gguf [--seed N] [--no-expert]
 *
 * Random kinds fill every quantised block with random bits under finite scales, so that a model
 * computes without NaN and reads memory like a real one: they are for measuring.  Sparse kinds
 * have DeepSeek-R1's exact widths and are holes, except for a few planted tensors: everything
 * else is zero, every norm included, so a layer without planted tensors adds nothing.  They show
 * that offsets beyond 2^32 and 2^38 bytes are right: r2-two-layer has the same planted bytes in a
 * file of 7 GB, and the logits of both must be the same bits.
 *
 * What a block holds depends on the seed, the tensor's key and the block's number alone.
 */
#include "base/buf.h"
#include "base/f16.h"
#include "kernels/kernels.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { TENSORS_MAX = 2048, PLANTS_MAX = 128, ALIGN = 32, CHUNK_BYTES = 1 << 20 };
enum { R2_TOKENS = 4, R2_HEAD_ROWS = 64, R2_EXPERT = 255 };

/* The tokens whose embedding rows are planted; tests/api/big.py names the same ones. */
static const uint64_t r2_token[R2_TOKENS] = { 5, 777, 64000, 129279 };

static const struct { int gguf_id; uint64_t elems, bytes; } type_of[] = {
#define QTYPE(id, gguf, elems, bytes, ...) [QTYPE_##id] = { gguf, elems, bytes },
#include "kernels/qtype.def"
#undef QTYPE
};

/* `std` is the standard deviation of random weights; 0 means ones (a norm's gain). */
struct tensor {
    char name[64];
    enum qtype type;
    int n_dim;
    uint64_t ne[3], bytes, offset;      /* offset: from the start of the data */
    double std;
    uint64_t key;
};

/* A piece of a sparse file that is not a hole: `n_block` blocks of a tensor from `first` on. */
struct plant { int tensor; uint64_t first, n_block, key; };

struct synth {
    struct buf meta;                    /* the key-value section */
    uint64_t n_meta;
    struct tensor tensor[TENSORS_MAX];
    struct plant plant[PLANTS_MAX];
    int n_tensor, n_plant;
    uint64_t data_bytes, n_param, seed;
    const char *arch;
    bool sparse, no_expert, mtp;        /* mtp: one more layer, for multi-token prediction */
    int fd;
    const char *path;
};

/* deepseek2 and llama shapes, one line each below. */
struct ds_shape {
    const char *kind, *name, *pre;
    uint32_t n_vocab, n_layer, n_dense, d, n_head, q_lora, ff;
    uint32_t n_expert, n_used, moe_ff, n_shared, n_group, n_group_used;
    double weights_scale, log_mul;
    bool sigmoid, mix;                  /* mix: Q6_K or Q8_0 for part of the down projections */
    enum qtype embd, head;
    bool sparse;
};

struct llama_shape {
    const char *kind, *name;
    uint32_t n_vocab, n_layer, d, n_head, n_head_kv, ff;
    enum qtype type;
};

/*    kind           name               pre             vocab layers dense  d  heads q_lora  ff */
/*    experts used moe_ff shared groups used   scale  log_mul sigmoid mix   embd, head, sparse  */
static const struct ds_shape ds_shapes[] = {
    { "nano",         "ds-nano",         "deepseek-v3",   32000,  4, 1,  256,   4,  256,   512,
      16, 4, 256, 1, 4, 2, 2.5, 0.1, true, true, QTYPE_q4_k, QTYPE_q6_k, false },
    { "v2-lite",      "ds-v2-lite-shape", "deepseek-llm", 102400, 27, 1, 2048,  16,    0, 10944,
      64, 6, 1408, 2, 0, 0, 1.0, 0.0707, false, true, QTYPE_q4_k, QTYPE_q6_k, false },
    { "v3-slice",     "ds-v3-slice",     "deepseek-v3",  129280,  2, 1, 7168, 128, 1536, 18432,
      256, 8, 2048, 1, 8, 4, 2.5, 0.1, true, false, QTYPE_q4_k, QTYPE_q6_k, false },
    { "r2-sparse",    "r2-shape",        "deepseek-v3",  129280, 61, 3, 7168, 128, 1536, 18432,
      256, 8, 2048, 1, 8, 4, 2.5, 0.1, true, false, QTYPE_q4_k, QTYPE_q6_k, true },
    { "r2-two-layer", "r2-two-layer",    "deepseek-v3",  129280,  2, 1, 7168, 128, 1536, 18432,
      256, 8, 2048, 1, 8, 4, 2.5, 0.1, true, false, QTYPE_q4_k, QTYPE_q6_k, true },
};

/*    kind             name               vocab layers  d  heads kv   ff    type  */
static const struct llama_shape llama_shapes[] = {
    { "smollm2-q4_1", "smollm2-135m-shape", 49152, 30, 576, 9, 3, 1536, QTYPE_q4_1 },
    { "smollm2-q8_0", "smollm2-135m-shape", 49152, 30, 576, 9, 3, 1536, QTYPE_q8_0 },
    { "tiny-llama",   "tiny-llama",           512,  2,  64, 4, 2,  128, QTYPE_q8_0 },
    { "layer",        "one-layer",           1024,  1, 4096, 32, 8, 14336, QTYPE_q4_0 },
};

/* The type whose name is `name` in any case, or QTYPE_COUNT. */
static enum qtype type_named(const char *name)
{
    static const char *const names[] = {
#define QTYPE(id, gguf, elems, bytes, act, name) name,
#include "kernels/qtype.def"
#undef QTYPE
    };
    int q = 0;

    while (q < QTYPE_COUNT && (type_of[q].gguf_id < 0 || strcasecmp(name, names[q])))
        q++;
    return (enum qtype)q;
}

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "synth: %s: %s: %s\n", path, what, strerror(errno));
    exit(1);
}

static void put(struct buf *b, uint64_t value, size_t bytes)
{
    buf_add(b, &value, bytes);          /* little-endian machines only, as the whole program */
}

static void put_str(struct buf *b, const char *text)
{
    put(b, strlen(text), 8);
    buf_puts(b, text);
}

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STR = 8, GGUF_ARRAY = 9 };

/* Start an entry; a key that begins with '.' gets the architecture in front. */
static void meta_key(struct synth *s, const char *key, int type)
{
    char full[128];

    snprintf(full, sizeof(full), "%s%s", key[0] == '.' ? s->arch : "", key);
    put_str(&s->meta, full);
    put(&s->meta, (uint64_t)type, 4);
    s->n_meta++;
}

static void meta_u32(struct synth *s, const char *key, uint32_t value)
{
    meta_key(s, key, GGUF_U32);
    put(&s->meta, value, 4);
}

static void meta_f32(struct synth *s, const char *key, double value)
{
    float f = (float)value;

    meta_key(s, key, GGUF_F32);
    buf_add(&s->meta, &f, 4);
}

static void meta_bool(struct synth *s, const char *key, bool value)
{
    meta_key(s, key, GGUF_BOOL);
    put(&s->meta, value, 1);
}

static void meta_str(struct synth *s, const char *key, const char *value)
{
    meta_key(s, key, GGUF_STR);
    put_str(&s->meta, value);
}

static void meta_array(struct synth *s, const char *key, int elem_type, uint64_t n)
{
    meta_key(s, key, GGUF_ARRAY);
    put(&s->meta, (uint64_t)elem_type, 4);
    put(&s->meta, n, 8);
}

/* The character that byte-level BPE writes for a byte: printable ones stand for themselves. */
static void byte_token(char out[4], unsigned byte)
{
    unsigned code = byte, below = 0;

    for (unsigned b = 0; b <= byte; b++) {
        bool plain = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        if (b == byte && !plain)
            code = 256 + below;
        below += !plain;
    }
    int n = code < 128 ? 1 : 2;
    out[0] = (char)(n == 1 ? code : 0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 63));
    out[n] = '\0';
}

/* A vocabulary that can say anything byte by byte: control tokens, 256 bytes, unused padding. */
static void vocabulary(struct synth *s, const char *pre, uint32_t n_vocab,
                       const char *const *control, uint32_t n_control, uint32_t eos)
{
    char text[32];

    meta_u32(s, ".vocab_size", n_vocab);
    meta_str(s, "tokenizer.ggml.model", "gpt2");
    meta_str(s, "tokenizer.ggml.pre", pre);
    meta_array(s, "tokenizer.ggml.tokens", GGUF_STR, n_vocab);
    for (uint32_t i = 0; i < n_vocab; i++) {
        snprintf(text, sizeof(text), "[PAD%u]", i);
        if (i >= n_control && i < n_control + 256)
            byte_token(text, i - n_control);
        put_str(&s->meta, i < n_control ? control[i] : text);
    }
    meta_array(s, "tokenizer.ggml.token_type", GGUF_I32, n_vocab);
    for (uint32_t i = 0; i < n_vocab; i++)
        put(&s->meta, i < n_control ? 3 : i < n_control + 256 ? 1 : 5, 4);
    meta_array(s, "tokenizer.ggml.merges", GGUF_STR, 0);
    meta_u32(s, "tokenizer.ggml.bos_token_id", 0);
    meta_u32(s, "tokenizer.ggml.eos_token_id", eos);
    meta_bool(s, "tokenizer.ggml.add_bos_token", true);
    meta_bool(s, "tokenizer.ggml.add_eos_token", false);
}

static uint64_t elements(const struct tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2];
}

/* Append a tensor; dimensions fastest first, 0 for those it has not. */
static void add(struct synth *s, enum qtype type, double std, uint64_t ne0, uint64_t ne1,
                uint64_t ne2, const char *name)
{
    struct tensor *t = &s->tensor[s->n_tensor];

    ASSERT(s->n_tensor < TENSORS_MAX && ne0 % type_of[type].elems == 0);
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->type = type;
    t->n_dim = ne2 ? 3 : ne1 ? 2 : 1;
    t->ne[0] = ne0;
    t->ne[1] = ne1 ? ne1 : 1;
    t->ne[2] = ne2 ? ne2 : 1;
    t->std = std;
    t->key = (uint64_t)s->n_tensor;
    t->bytes = elements(t) / type_of[type].elems * type_of[type].bytes;
    t->offset = s->data_bytes;
    s->data_bytes += (t->bytes + ALIGN - 1) / ALIGN * ALIGN;
    s->n_param += elements(t);
    s->n_tensor++;
}

/* The same for tensors of a layer, weights with the standard deviation 1/sqrt(inputs). */
static void add_layer(struct synth *s, uint32_t layer, const char *part, enum qtype type,
                      uint64_t ne0, uint64_t ne1, uint64_t ne2)
{
    char name[64];
    bool gain = ne1 == 0;

    snprintf(name, sizeof(name), "blk.%u.%s", layer, part);
    add(s, type, gain ? 0 : fmax(1 / sqrt((double)ne0), 0.03), ne0, ne1, ne2, name);
}

/* The down projections that a Q4_K_M file keeps at more bits. */
static enum qtype down_type(const struct ds_shape *h, uint32_t layer, uint32_t n)
{
    uint32_t l = h->n_layer;
    bool more = layer < l / 8 || layer >= 7 * l / 8 || (layer - l / 8) % 3 == 2;

    if (n % 256)
        return more ? QTYPE_q8_0 : QTYPE_q5_0;
    return h->mix && more ? QTYPE_q6_k : QTYPE_q4_k;
}

static void ds_attention(struct synth *s, const struct ds_shape *h, uint32_t i)
{
    enum { LATENT = 512, NOPE = 128, ROPE = 64, VALUE = 128 };

    add_layer(s, i, "attn_norm.weight", QTYPE_f32, h->d, 0, 0);
    if (h->q_lora) {
        add_layer(s, i, "attn_q_a.weight", QTYPE_q4_k, h->d, h->q_lora, 0);
        add_layer(s, i, "attn_q_a_norm.weight", QTYPE_f32, h->q_lora, 0, 0);
        add_layer(s, i, "attn_q_b.weight", QTYPE_q4_k, h->q_lora, h->n_head * (NOPE + ROPE), 0);
    } else {
        add_layer(s, i, "attn_q.weight", QTYPE_q4_k, h->d, h->n_head * (NOPE + ROPE), 0);
    }
    add_layer(s, i, "attn_kv_a_mqa.weight", QTYPE_q4_k, h->d, LATENT + ROPE, 0);
    add_layer(s, i, "attn_kv_a_norm.weight", QTYPE_f32, LATENT, 0, 0);
    add_layer(s, i, "attn_k_b.weight", QTYPE_q8_0, NOPE, LATENT, h->n_head);
    add_layer(s, i, "attn_v_b.weight", QTYPE_q8_0, LATENT, VALUE, h->n_head);
    add_layer(s, i, "attn_output.weight", QTYPE_q4_k, h->n_head * VALUE, h->d, 0);
    add_layer(s, i, "ffn_norm.weight", QTYPE_f32, h->d, 0, 0);
}

static void ds_ffn(struct synth *s, const struct ds_shape *h, uint32_t i)
{
    uint32_t n = h->moe_ff, shared = h->moe_ff * h->n_shared;
    char name[64];

    if (i < h->n_dense) {
        add_layer(s, i, "ffn_gate.weight", QTYPE_q4_k, h->d, h->ff, 0);
        add_layer(s, i, "ffn_up.weight", QTYPE_q4_k, h->d, h->ff, 0);
        add_layer(s, i, "ffn_down.weight", down_type(h, i, h->ff), h->ff, h->d, 0);
        return;
    }
    add_layer(s, i, "ffn_gate_inp.weight", QTYPE_f32, h->d, h->n_expert, 0);
    snprintf(name, sizeof(name), "blk.%u.exp_probs_b.bias", i);
    if (h->sigmoid)
        add(s, QTYPE_f32, 0.02, h->n_expert, 0, 0, name);
    add_layer(s, i, "ffn_gate_exps.weight", QTYPE_q4_k, h->d, n, h->n_expert);
    add_layer(s, i, "ffn_up_exps.weight", QTYPE_q4_k, h->d, n, h->n_expert);
    add_layer(s, i, "ffn_down_exps.weight", down_type(h, i, n), n, h->d, h->n_expert);
    add_layer(s, i, "ffn_gate_shexp.weight", QTYPE_q4_k, h->d, shared, 0);
    add_layer(s, i, "ffn_up_shexp.weight", QTYPE_q4_k, h->d, shared, 0);
    add_layer(s, i, "ffn_down_shexp.weight", down_type(h, i, shared), shared, h->d, 0);
}

static void ds_meta(struct synth *s, const struct ds_shape *h)
{
    static const char *const control[] = { "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>" };

    s->arch = "deepseek2";
    meta_str(s, "general.architecture", s->arch);
    meta_str(s, "general.name", h->name);
    meta_u32(s, "general.file_type", 15);
    meta_u32(s, "general.quantization_version", 2);
    meta_u32(s, ".block_count", h->n_layer + s->mtp);
    if (s->mtp)
        meta_u32(s, ".nextn_predict_layers", 1);
    meta_u32(s, ".context_length", 163840);
    meta_u32(s, ".embedding_length", h->d);
    meta_u32(s, ".feed_forward_length", h->ff);
    meta_u32(s, ".attention.head_count", h->n_head);
    meta_u32(s, ".attention.head_count_kv", 1);
    meta_f32(s, ".attention.layer_norm_rms_epsilon", 1e-6);
    if (h->q_lora)
        meta_u32(s, ".attention.q_lora_rank", h->q_lora);
    meta_u32(s, ".attention.kv_lora_rank", 512);
    meta_u32(s, ".attention.key_length", 576);
    meta_u32(s, ".attention.value_length", 512);
    meta_u32(s, ".attention.key_length_mla", 192);
    meta_u32(s, ".attention.value_length_mla", 128);
    meta_u32(s, ".rope.dimension_count", 64);
    meta_f32(s, ".rope.freq_base", 10000);
    meta_str(s, ".rope.scaling.type", "yarn");
    meta_f32(s, ".rope.scaling.factor", 40);
    meta_u32(s, ".rope.scaling.original_context_length", 4096);
    meta_f32(s, ".rope.scaling.yarn_log_multiplier", h->log_mul);
    meta_u32(s, ".leading_dense_block_count", h->n_dense);
    meta_u32(s, ".expert_count", h->n_expert);
    meta_u32(s, ".expert_used_count", h->n_used);
    meta_u32(s, ".expert_shared_count", h->n_shared);
    meta_u32(s, ".expert_feed_forward_length", h->moe_ff);
    meta_f32(s, ".expert_weights_scale", h->weights_scale);
    meta_bool(s, ".expert_weights_norm", h->sigmoid);
    meta_u32(s, ".expert_gating_func", h->sigmoid ? 2 : 1);
    if (h->n_group) {
        meta_u32(s, ".expert_group_count", h->n_group);
        meta_u32(s, ".expert_group_used_count", h->n_group_used);
    }
    vocabulary(s, h->pre, h->n_vocab, control, 2, 1);
}

/* The layer for multi-token prediction; it shares the model's embedding and head. */
static void ds_mtp(struct synth *s, const struct ds_shape *h)
{
    add_layer(s, h->n_layer, "nextn.eh_proj.weight", QTYPE_q4_k, 2 * (uint64_t)h->d, h->d, 0);
    add_layer(s, h->n_layer, "nextn.enorm.weight", QTYPE_f32, h->d, 0, 0);
    add_layer(s, h->n_layer, "nextn.hnorm.weight", QTYPE_f32, h->d, 0, 0);
    add_layer(s, h->n_layer, "nextn.shared_head_norm.weight", QTYPE_f32, h->d, 0, 0);
    ds_attention(s, h, h->n_layer);
    ds_ffn(s, h, h->n_layer);
}

/* The embedding and the head stand after the first layers, so that in the sparse file of 380 GB
 * they begin beyond 2^32 bytes, and the last layer beyond 2^38. */
static void ds_tensors(struct synth *s, const struct ds_shape *h)
{
    uint32_t tables_at = h->n_dense + 1 < h->n_layer ? h->n_dense + 1 : 0;

    for (uint32_t i = 0; i < h->n_layer; i++) {
        if (i == tables_at) {
            add(s, h->embd, 0.03, h->d, h->n_vocab, 0, "token_embd.weight");
            add(s, h->head, 0.03, h->d, h->n_vocab, 0, "output.weight");
        }
        ds_attention(s, h, i);
        ds_ffn(s, h, i);
    }
    add(s, QTYPE_f32, 0, h->d, 0, 0, "output_norm.weight");
    if (s->mtp)
        ds_mtp(s, h);
}

static void llama_model(struct synth *s, const struct llama_shape *h)
{
    static const char *const control[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
    uint32_t hd = h->d / h->n_head;

    s->arch = "llama";
    meta_str(s, "general.architecture", s->arch);
    meta_str(s, "general.name", h->name);
    meta_u32(s, "general.quantization_version", 2);
    meta_u32(s, ".block_count", h->n_layer);
    meta_u32(s, ".context_length", 8192);
    meta_u32(s, ".embedding_length", h->d);
    meta_u32(s, ".feed_forward_length", h->ff);
    meta_u32(s, ".attention.head_count", h->n_head);
    meta_u32(s, ".attention.head_count_kv", h->n_head_kv);
    meta_f32(s, ".attention.layer_norm_rms_epsilon", 1e-5);
    meta_f32(s, ".rope.freq_base", 100000);
    meta_u32(s, ".rope.dimension_count", hd);
    vocabulary(s, "smollm", h->n_vocab, control, 3, 2);
    add(s, QTYPE_q8_0, 0.03, h->d, h->n_vocab, 0, "token_embd.weight");
    add(s, QTYPE_f32, 0, h->d, 0, 0, "output_norm.weight");
    for (uint32_t i = 0; i < h->n_layer; i++) {
        add_layer(s, i, "attn_norm.weight", QTYPE_f32, h->d, 0, 0);
        add_layer(s, i, "attn_q.weight", h->type, h->d, h->n_head * hd, 0);
        add_layer(s, i, "attn_k.weight", h->type, h->d, h->n_head_kv * hd, 0);
        add_layer(s, i, "attn_v.weight", h->type, h->d, h->n_head_kv * hd, 0);
        add_layer(s, i, "attn_output.weight", h->type, h->n_head * hd, h->d, 0);
        add_layer(s, i, "ffn_norm.weight", QTYPE_f32, h->d, 0, 0);
        add_layer(s, i, "ffn_gate.weight", h->type, h->d, h->ff, 0);
        add_layer(s, i, "ffn_up.weight", h->type, h->d, h->ff, 0);
        add_layer(s, i, "ffn_down.weight", h->type, h->ff, h->d, 0);
    }
}

/* Blocks [first, first + n) of one row of a tensor; `key` names the data, not the place. */
static void plant(struct synth *s, const char *name, uint64_t row, uint64_t n_row, uint64_t key)
{
    for (int i = 0; i < s->n_tensor; i++) {
        const struct tensor *t = &s->tensor[i];
        uint64_t row_blocks = t->ne[0] / type_of[t->type].elems;
        if (strcmp(t->name, name))
            continue;
        ASSERT(s->n_plant < PLANTS_MAX && (row + n_row) * t->ne[0] <= elements(t));
        s->plant[s->n_plant++] = (struct plant){ i, row * row_blocks, n_row * row_blocks, key };
        return;
    }
    ASSERT(false);                      /* every planted tensor is in the file */
}

static void plant_layer(struct synth *s, uint32_t layer, const char *part, uint64_t row,
                        uint64_t n_row, uint64_t key)
{
    char name[64];

    snprintf(name, sizeof(name), "blk.%u.%s", layer, part);
    plant(s, name, row, n_row, key);
}

/* What is not zero in a sparse file.  The keys do not depend on the layer's number, so both
 * sparse kinds hold the same bytes. */
static void r2_plants(struct synth *s, const struct ds_shape *h)
{
    enum { KEY = 1 << 20 };
    uint32_t last = h->n_layer - 1;

    for (uint64_t i = 0; i < R2_TOKENS; i++)
        plant(s, "token_embd.weight", r2_token[i], 1, KEY + i);
    for (uint64_t i = 0; i < R2_HEAD_ROWS; i++)
        plant(s, "output.weight", i * 2000 + 7, 1, KEY + 100 + i);
    plant(s, "output_norm.weight", 0, 1, KEY + 10);
    plant_layer(s, last, "ffn_norm.weight", 0, 1, KEY + 11);
    plant_layer(s, last, "exp_probs_b.bias", 0, 1, KEY + 12);
    if (s->no_expert)
        return;
    plant_layer(s, last, "ffn_gate_exps.weight", (uint64_t)R2_EXPERT * h->moe_ff, h->moe_ff,
                KEY + 13);
    plant_layer(s, last, "ffn_up_exps.weight", (uint64_t)R2_EXPERT * h->moe_ff, h->moe_ff,
                KEY + 14);
    plant_layer(s, last, "ffn_down_exps.weight", (uint64_t)R2_EXPERT * h->d, h->d, KEY + 15);
}

/* splitmix64: https://prng.di.unimi.it/splitmix64.c */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void put_f16(uint8_t *at, double value)
{
    uint16_t h = f16_from_f32((float)value);

    memcpy(at, &h, 2);
}

/* Give a block of random bits the scales that make its values' deviation about `std`. */
static void set_scales(uint8_t *b, enum qtype type, double std)
{
    switch (type) {
    case QTYPE_q4_k:                    /* 6-bit scales are random: about 258 d when min = 7.5 d */
        put_f16(b, std / 258);
        put_f16(b + 2, 7.5 * std / 258);
        break;
    case QTYPE_q6_k:                    /* scales of magnitude 16 to 31, either sign */
        for (int i = 192; i < 208; i++) {
            int magnitude = 16 + (b[i] & 15);
            b[i] = (uint8_t)(b[i] & 0x80 ? -magnitude : magnitude);
        }
        put_f16(b + 208, std / (24 * 18.5));
        break;
    case QTYPE_q8_0:
        put_f16(b, std / 74);
        break;
    case QTYPE_q5_0:
        put_f16(b, std / 9.2);
        break;
    case QTYPE_q4_1:
        put_f16(b, std / 4.6);
        put_f16(b + 2, -7.5 * std / 4.6);
        break;
    case QTYPE_q5_k:
        put_f16(b, std / 517);
        put_f16(b + 2, 15.5 * std / 517);
        break;
    case QTYPE_q2_k:
        put_f16(b + 80, std / 9);
        put_f16(b + 82, 1.5 * std / 9);
        break;
    case QTYPE_q5_1:
        put_f16(b, std / 9.2);
        put_f16(b + 2, -15.5 * std / 9.2);
        break;
    case QTYPE_iq1_m:                   /* the half's nibbles lie on top of four words */
        for (int i = 0; i < 4; i++)
            b[49 + 2 * i] = (uint8_t)((b[49 + 2 * i] & 15) |
                                      (f16_from_f32((float)(std / 6)) >> 4 * i & 15) << 4);
        break;
    case QTYPE_mxfp4:                   /* a power of two, near enough */
        b[0] = (uint8_t)(127 + ilogb(std / 3));
        break;
    case QTYPE_q3_k:   put_f16(b + 108, std / 40); break;
    case QTYPE_tq1_0:  put_f16(b + 52, std); break;
    case QTYPE_tq2_0:  put_f16(b + 64, std); break;
    case QTYPE_q4_0:   put_f16(b, std / 4.6); break;
    case QTYPE_iq4_nl: put_f16(b, std / 60); break;
    case QTYPE_iq4_xs: put_f16(b, std / 1100); break;
    case QTYPE_iq2_xxs: case QTYPE_iq2_xs: case QTYPE_iq2_s: put_f16(b, std / 45); break;
    case QTYPE_iq3_xxs: put_f16(b, std / 130); break;
    case QTYPE_iq3_s:  put_f16(b, std / 130); break;
    case QTYPE_iq1_s:  put_f16(b, std / 6); break;
    default:
        ASSERT(false);                  /* a type that no kind uses */
    }
}

/* One f32: 1 for gains, else about normal (the sum of four uniform numbers). */
static float random_f32(uint64_t *state, double std)
{
    uint64_t bits = next(state);
    double sum = 0;

    if (std == 0)
        return 1;
    for (int i = 0; i < 4; i++)
        sum += (double)(bits >> 16 * i & 0xffff) / 65535 - 0.5;
    return (float)(sum * std * sqrt(3));
}

static void make_blocks(uint8_t *out, const struct tensor *t, uint64_t seed, uint64_t key,
                        uint64_t first, uint64_t n)
{
    uint64_t bytes = type_of[t->type].bytes;

    for (uint64_t i = 0; i < n; i++, out += bytes) {
        uint64_t state = seed * 0xd1342543de82ef95u ^ key << 40 ^ (first + i);
        state = next(&state);
        if (type_of[t->type].elems == 1) {
            float f = random_f32(&state, t->std);
            uint16_t h = t->type == QTYPE_f16 ? f16_from_f32(f) : bf16_from_f32(f);
            memcpy(out, t->type == QTYPE_f32 ? (const void *)&f : &h, bytes);
            continue;
        }
        for (uint64_t at = 0; at < bytes; at += 8) {
            uint64_t bits = next(&state);
            memcpy(out + at, &bits, bytes - at < 8 ? bytes - at : 8);
        }
        set_scales(out, t->type, t->std);
    }
}

static void write_at(const struct synth *s, const void *data, uint64_t bytes, uint64_t at)
{
    const uint8_t *p = data;

    while (bytes) {
        ssize_t n = pwrite(s->fd, p, bytes, (off_t)at);
        if (n < 0)
            die("cannot write", s->path);
        p += n;
        at += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
}

/* Blocks of a tensor to their place, in pieces of a fixed size. */
static void write_blocks(const struct synth *s, uint64_t data_at, const struct plant *p)
{
    static uint8_t chunk[CHUNK_BYTES];
    const struct tensor *t = &s->tensor[p->tensor];
    uint64_t block = type_of[t->type].bytes, step = CHUNK_BYTES / block;

    for (uint64_t done = 0, n; done < p->n_block; done += n) {
        n = p->n_block - done < step ? p->n_block - done : step;
        make_blocks(chunk, t, s->seed, p->key, p->first + done, n);
        if (s->sparse && strstr(t->name, "exp_probs_b")) {      /* select one expert, no other */
            float bias = 10;
            memset(chunk, 0, n * block);
            memcpy(chunk + R2_EXPERT * sizeof(bias), &bias, sizeof(bias));
        }
        write_at(s, chunk, n * block, data_at + t->offset + (p->first + done) * block);
    }
}

static void write_header(struct synth *s, uint64_t *data_at)
{
    struct buf b = { 0 };

    buf_add(&b, "GGUF", 4);
    put(&b, 3, 4);
    put(&b, (uint64_t)s->n_tensor, 8);
    put(&b, s->n_meta, 8);
    buf_add(&b, s->meta.data, s->meta.len);
    for (int i = 0; i < s->n_tensor; i++) {
        const struct tensor *t = &s->tensor[i];
        put_str(&b, t->name);
        put(&b, (uint64_t)t->n_dim, 4);
        for (int k = 0; k < t->n_dim; k++)
            put(&b, t->ne[k], 8);
        put(&b, (uint64_t)type_of[t->type].gguf_id, 4);
        put(&b, t->offset, 8);
    }
    if (buf_ok(&s->meta) != OK || buf_ok(&b) != OK)
        die("out of memory", s->path);
    *data_at = (b.len + ALIGN - 1) / ALIGN * ALIGN;
    write_at(s, b.data, b.len, 0);
    buf_release(&b);
}

/* One line; of a sparse file also between which offsets the planted bytes lie. */
static void report(const struct synth *s, uint64_t data_at)
{
    uint64_t first = UINT64_MAX, last = 0;

    for (int i = 0; i < s->n_plant; i++) {
        const struct plant *p = &s->plant[i];
        const struct tensor *t = &s->tensor[p->tensor];
        uint64_t at = data_at + t->offset + p->first * type_of[t->type].bytes;
        first = at < first ? at : first;
        last = at > last ? at : last;
    }
    printf("%s: %llu parameters, %llu bytes", s->path, (unsigned long long)s->n_param,
           (unsigned long long)(data_at + s->data_bytes));
    if (s->n_plant)
        printf(", planted from %llu to %llu", (unsigned long long)first, (unsigned long long)last);
    putchar('\n');
}

static void write_model(struct synth *s)
{
    uint64_t data_at, shown = 0;
    bool person = isatty(2);

    if ((s->fd = open(s->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        die("cannot create", s->path);
    write_header(s, &data_at);
    if (ftruncate(s->fd, (off_t)(data_at + s->data_bytes)))
        die("cannot set the size", s->path);
    for (int i = 0; i < s->n_plant; i++)
        write_blocks(s, data_at, &s->plant[i]);
    for (int i = 0; !s->sparse && i < s->n_tensor; i++) {
        const struct tensor *t = &s->tensor[i];
        struct plant all = { i, 0, elements(t) / type_of[t->type].elems, t->key };
        write_blocks(s, data_at, &all);
        if (person && t->offset - shown > 200 << 20) {
            shown = t->offset;
            fprintf(stderr, "\rsynth: %.1f of %.1f GB", (double)shown / 1e9,
                    (double)s->data_bytes / 1e9);
        }
    }
    if (close(s->fd))
        die("cannot write", s->path);
    if (person && shown)
        fputc('\n', stderr);
    report(s, data_at);
}

/* What stands behind the colon of `nano:mtp`, `v3-slice:D+M` and `v3-slice:D+M+mtp`: D dense and M
 * expert layers, and an MTP layer. */
static bool vary(struct synth *s, struct ds_shape *h, const char *how)
{
    unsigned dense, moe;
    int end = 0;

    if (!strcmp(h->kind, "nano"))
        return s->mtp = !strcmp(how, "mtp");
    if (strcmp(h->kind, "v3-slice"))
        return false;
    if (sscanf(how, "%2u+%2u%n", &dense, &moe, &end) != 2 || dense + moe < 1 || dense + moe > 61)
        return false;
    h->n_dense = dense;
    h->n_layer = dense + moe;
    s->mtp = !strcmp(how + end, "+mtp") && moe;     /* the layer has experts: it follows one */
    return s->mtp || !how[end];
}

/* Lay out the model of that kind; false when there is none. */
static bool lay_out(struct synth *s, const char *kind)
{
    size_t base = strcspn(kind, ":");

    for (size_t i = 0; i < sizeof(ds_shapes) / sizeof(*ds_shapes); i++) {
        struct ds_shape h = ds_shapes[i];
        if (strlen(h.kind) != base || strncmp(kind, h.kind, base))
            continue;
        if (kind[base] && !vary(s, &h, kind + base + 1))
            return false;
        s->sparse = h.sparse;
        ds_meta(s, &h);
        ds_tensors(s, &h);
        if (h.sparse)
            r2_plants(s, &h);
        return true;
    }
    for (size_t i = 0; i < sizeof(llama_shapes) / sizeof(*llama_shapes); i++) {
        struct llama_shape h = llama_shapes[i];
        if (strlen(h.kind) != base || strncmp(kind, h.kind, base))
            continue;
        if (kind[base]) {               /* layer:TYPE */
            if (strcmp(h.kind, "layer") || (h.type = type_named(kind + base + 1)) == QTYPE_COUNT)
                return false;
        }
        llama_model(s, &h);
        return true;
    }
    return false;
}

static int usage(void)
{
    fprintf(stderr, "usage: synth KIND OUT.gguf [--seed N] [--no-expert]\nkinds:");
    for (size_t i = 0; i < sizeof(ds_shapes) / sizeof(*ds_shapes); i++)
        fprintf(stderr, " %s", ds_shapes[i].kind);
    for (size_t i = 0; i < sizeof(llama_shapes) / sizeof(*llama_shapes); i++)
        fprintf(stderr, " %s", llama_shapes[i].kind);
    fprintf(stderr, "\nv3-slice:D+M has D dense and M expert layers, nano:mtp and "
            "v3-slice:D+M+mtp one more for multi-token prediction; layer:TYPE is one layer of a "
            "type (layer:IQ4_XS); --no-expert leaves expert 255 of a sparse kind zero\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct synth *s = calloc(1, sizeof(*s));

    if (!s)
        die("out of memory", "start");
    s->seed = 1;
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--no-expert"))
            s->no_expert = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            s->seed = strtoull(argv[++i], NULL, 10);
        else
            return usage();
    }
    if (argc < 3 || !lay_out(s, argv[1]))
        return usage();
    s->path = argv[2];
    write_model(s);
    buf_release(&s->meta);
    free(s);
    return 0;
}
