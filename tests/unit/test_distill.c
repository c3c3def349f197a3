/* test_distill.c - DeepSeek-R1's dense distills in the shapes they are published in: of each a
 * folder and a GGUF file whose weights are a hole open, bind, and have the parameters their makers
 * count.  Nothing is computed: that the families compute rightly is for the golden models. */
#include <criterion/criterion.h>

#include "gguf_build.h"
#include "model/model.h"
#include "temp_file.h"

#include <inttypes.h>

enum family { LLAMA = 1, QWEN2 = 2, QWEN3 = 4, ANY = 7 };
enum dim { ONE, EMBD, FF, HEAD, QUERY, KEY, VOCAB, DIMS };

/* The rest of config.json and of a GGUF's metadata. */
#define LLAMA_CONFIG "\"model_type\": \"llama\", \"rope_theta\": 500000.0, \"rope_scaling\": {" \
    "\"factor\": 8.0, \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, " \
    "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}"
#define QWEN2_CONFIG(theta) "\"model_type\": \"qwen2\", \"use_sliding_window\": false, " \
    "\"sliding_window\": 4096, \"rope_theta\": " theta
#define QWEN3_CONFIG "\"model_type\": \"qwen3\", \"head_dim\": 128, \"rope_theta\": 1000000, " \
    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, " \
    "\"original_max_position_embeddings\": 32768, \"attn_factor\": 0.8782488562869419}"
#define THETA(family, theta) " \"" family ".rope.freq_base 4:6 f:" theta

static const struct shape {
    const char *name;
    enum family family;
    int64_t embd, ff, n_head, n_head_kv, n_layer, vocab, n_param;
    const char *config, *meta;
} shapes[] = {
    { "Qwen-1.5B", QWEN2, 1536, 8960, 12, 2, 28, 151936, 1777088000, QWEN2_CONFIG("10000"),
      THETA("qwen2", "10000") },
    { "Qwen-7B", QWEN2, 3584, 18944, 28, 4, 28, 152064, 7615616512, QWEN2_CONFIG("10000"),
      THETA("qwen2", "10000") },
    { "Llama-8B", LLAMA, 4096, 14336, 32, 8, 32, 128256, 8030261248, LLAMA_CONFIG,
      " u:llama.rope.dimension_count=128" THETA("llama", "500000") },
    { "0528-Qwen3-8B", QWEN3, 4096, 12288, 32, 8, 36, 151936, 8190735360, QWEN3_CONFIG,
      " u:qwen3.attention.key_length=128 u:qwen3.attention.value_length=128 "
      "s:qwen3.rope.scaling.type=yarn \"qwen3.rope.scaling.factor 4:6 f:4 "
      "u:qwen3.rope.scaling.original_context_length=32768" THETA("qwen3", "1000000") },
    { "Qwen-14B", QWEN2, 5120, 13824, 40, 8, 48, 152064, 14770033664, QWEN2_CONFIG("1000000.0"),
      THETA("qwen2", "1000000") },
    { "Qwen-32B", QWEN2, 5120, 27648, 40, 8, 64, 152064, 32763876352, QWEN2_CONFIG("1000000.0"),
      THETA("qwen2", "1000000") },
    { "Llama-70B", LLAMA, 8192, 28672, 64, 8, 80, 128256, 70553706496, LLAMA_CONFIG,
      " u:llama.rope.dimension_count=128" THETA("llama", "500000") },
};

static const struct { const char *hf, *gguf; enum dim row, col; enum family who; } global[] = {
    { NULL, "rope_freqs.weight", HEAD, ONE, LLAMA },        /* the first: its values are there */
    { "model.embed_tokens.weight", "token_embd.weight", VOCAB, EMBD, ANY },
    { "model.norm.weight", "output_norm.weight", EMBD, ONE, ANY },
    { "lm_head.weight", "output.weight", VOCAB, EMBD, ANY },
}, layer[] = {
    { "input_layernorm.weight", "attn_norm.weight", EMBD, ONE, ANY },
    { "self_attn.q_proj.weight", "attn_q.weight", QUERY, EMBD, ANY },
    { "self_attn.k_proj.weight", "attn_k.weight", KEY, EMBD, ANY },
    { "self_attn.v_proj.weight", "attn_v.weight", KEY, EMBD, ANY },
    { "self_attn.o_proj.weight", "attn_output.weight", EMBD, QUERY, ANY },
    { "self_attn.q_proj.bias", "attn_q.bias", QUERY, ONE, QWEN2 },
    { "self_attn.k_proj.bias", "attn_k.bias", KEY, ONE, QWEN2 },
    { "self_attn.v_proj.bias", "attn_v.bias", KEY, ONE, QWEN2 },
    { "self_attn.q_norm.weight", "attn_q_norm.weight", HEAD, ONE, QWEN3 },
    { "self_attn.k_norm.weight", "attn_k_norm.weight", HEAD, ONE, QWEN3 },
    { "post_attention_layernorm.weight", "ffn_norm.weight", EMBD, ONE, ANY },
    { "mlp.gate_proj.weight", "ffn_gate.weight", FF, EMBD, ANY },
    { "mlp.up_proj.weight", "ffn_up.weight", FF, EMBD, ANY },
    { "mlp.down_proj.weight", "ffn_down.weight", EMBD, FF, ANY },
};

/* A list of tensors as it grows, and how many bytes they have. */
struct list { struct buf text; int n; uint64_t at; };

/* BF16 in a folder. */
static void add_hf(struct list *l, const char *name, int64_t row, int64_t col)
{
    uint64_t end = l->at + (uint64_t)(row * col) * 2;

    buf_printf(&l->text, "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[%" PRId64, l->n ? ',' : '{',
               name, row);
    if (col > 1)
        buf_printf(&l->text, ",%" PRId64, col);
    buf_printf(&l->text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", l->at, end);
    l->at = end;
    l->n++;
}

/* Q4_K in a GGUF file, vectors in F32. */
static void add_gguf(struct list *l, const char *name, int64_t row, int64_t col)
{
    char word[160];
    uint64_t bytes = col > 1 ? (uint64_t)(col / 256 * 144 * row) : (uint64_t)row * sizeof(float);

    if (col > 1)
        snprintf(word, sizeof(word), "%s,12,%" PRIu64 ",%" PRId64 ",%" PRId64, name, l->at, col,
                 row);
    else
        snprintf(word, sizeof(word), "%s,0,%" PRIu64 ",%" PRId64, name, l->at, row);
    build_tensor(&l->text, word);
    l->at += (bytes + 31) / 32 * 32;
    l->n++;
}

static struct list list_tensors(const struct shape *s, bool hf)
{
    int64_t head = s->family == QWEN3 ? 128 : s->embd / s->n_head;
    int64_t dim[DIMS] = { 1, s->embd, s->ff, head, s->n_head * head, s->n_head_kv * head,
                          s->vocab };
    void (*add)(struct list *, const char *, int64_t, int64_t) = hf ? add_hf : add_gguf;
    struct list l = { 0 };
    char name[120];

    for (size_t i = 0; i < sizeof(global) / sizeof(*global); i++)
        if (hf ? global[i].hf != NULL : (global[i].who & s->family) != 0)
            add(&l, hf ? global[i].hf : global[i].gguf,
                global[i].row == HEAD ? head / 2 : dim[global[i].row], dim[global[i].col]);
    for (int64_t k = 0; k < s->n_layer; k++)
        for (size_t i = 0; i < sizeof(layer) / sizeof(*layer); i++) {
            if (!(layer[i].who & s->family))
                continue;
            snprintf(name, sizeof(name), hf ? "model.layers.%d.%s" : "blk.%d.%s", (int)k,
                     hf ? layer[i].hf : layer[i].gguf);
            add(&l, name, dim[layer[i].row], dim[layer[i].col]);
        }
    return l;
}

/* Write the beginning of a file and make it as long as its data. */
static const char *write_sparse(struct temp *t, const char *name, struct buf *head, uint64_t bytes)
{
    cr_assert_eq(buf_ok(head), OK);
    const char *path = temp_write(t, name, head->data, head->len);
    cr_assert_eq(truncate(path, (off_t)(head->len + bytes)), 0);
    buf_release(head);
    return path;
}

static void write_folder(struct temp *t, const struct shape *s)
{
    struct list l = list_tensors(s, true);
    struct buf head = { 0 }, config = { 0 };

    buf_puts(&l.text, "}");
    build_int(&head, l.text.len, 8);
    buf_add(&head, l.text.data, l.text.len);
    write_sparse(t, "model.safetensors", &head, l.at);
    buf_printf(&config, "{\"hidden_size\": %" PRId64 ", \"intermediate_size\": %" PRId64
               ", \"num_attention_heads\": %" PRId64 ", \"num_key_value_heads\": %" PRId64,
               s->embd, s->ff, s->n_head, s->n_head_kv);
    buf_printf(&config, ", \"num_hidden_layers\": %" PRId64 ", \"vocab_size\": %" PRId64
               ", \"hidden_act\": \"silu\", \"max_position_embeddings\": 131072, "
               "\"rms_norm_eps\": 1e-06, \"tie_word_embeddings\": false, %s}", s->n_layer,
               s->vocab, s->config);
    temp_write(t, "config.json", config.data, config.len);
    buf_release(&config);
    buf_release(&l.text);
}

static const char *write_gguf(struct temp *t, const struct shape *s)
{
    static const float one[64] = { [0 ... 63] = 1 };
    const char *family = s->family == LLAMA ? "llama" : s->family == QWEN2 ? "qwen2" : "qwen3";
    struct list l = list_tensors(s, false);
    struct buf head = { 0 }, meta = { 0 };
    const struct { const char *key; int64_t value; } number[] = {
        { "block_count", s->n_layer }, { "embedding_length", s->embd },
        { "feed_forward_length", s->ff }, { "attention.head_count", s->n_head },
        { "attention.head_count_kv", s->n_head_kv }, { "context_length", 131072 },
    };
    uint64_t n_meta = 0;
    char words[40];

    buf_printf(&meta, "s:general.architecture=%s%s", family, s->meta);
    for (int k = 0; k < 6; k++)
        buf_printf(&meta, " u:%s.%s=%" PRId64, family, number[k].key, number[k].value);
    buf_printf(&meta, " \"%s.attention.layer_norm_rms_epsilon 4:6 f:1e-6", family);
    for (const char *at = buf_text(&meta); at; at = strchr(at + 1, ' '))
        n_meta += strchr("us\"", at[at > buf_text(&meta)]) != NULL;
    snprintf(words, sizeof(words), "h:%d,%d", l.n, (int)n_meta);
    build_gguf(&head, words);
    build_gguf(&head, buf_text(&meta));
    buf_add(&head, l.text.data, l.text.len);
    build_gguf(&head, "p:32");
    buf_add(&head, one, sizeof(one));
    buf_release(&meta);
    buf_release(&l.text);
    return write_sparse(t, "model.gguf", &head, l.at - sizeof(one));
}

static void expect_whole(const char *path, const struct shape *s)
{
    struct model_options o = { .n_thread = 1, .kv_type = QTYPE_f16, .n_batch_max = 1 };
    struct weights *w;
    struct model *m;

    cr_assert_eq(weights_open(&w, path, NULL), OK, "%s: %s", s->name, err_text());
    cr_assert_eq(model_open(&m, w, &o), OK, "%s: %s", s->name, err_text());
    const struct model_info *i = model_info(m);
    cr_expect_eq(i->n_param, s->n_param, "%s: %" PRId64 " parameters, not %" PRId64, s->name,
                 i->n_param, s->n_param);
    cr_expect_eq(i->n_layer, s->n_layer);
    cr_expect_eq(i->n_ctx_train, 131072);
    model_free(m);
    weights_free(w);
}

Test(distill, every_published_shape_is_whole_as_a_folder_and_as_a_file)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct temp t;

        temp_init(&t);
        write_folder(&t, &shapes[i]);
        expect_whole(t.folder, &shapes[i]);
        expect_whole(write_gguf(&t, &shapes[i]), &shapes[i]);
        temp_release(&t);
    }
}
