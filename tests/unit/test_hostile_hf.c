/* test_hostile_hf.c - Hugging Face folders whose parts do not belong together: golden folders with
 * one word of config.json or of a tensor list changed.  Each is refused by its own message. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "model/model.h"
#include "temp_file.h"

#include <stdlib.h>
#include <string.h>

#define LLAMA  "tests/golden/llama31-nano"
#define SMOLLM "tests/golden/smollm-nano"
#define V3     "tests/golden/v3-nano"
#define FP8    "tests/golden/v3-fp8"

/* In every file of the folder that has `from`, its first place becomes `to`; in shards and the
 * index, where lengths count, every place, and both are of one length. */
struct lie { const char *name, *folder, *from, *to, *says; };

static const struct lie lies[] = {
    { "activation", LLAMA, "\"silu\"", "\"gelu\"", "hidden_act is 'gelu'" },
    { "activation-number", LLAMA, "\"silu\"", "3", "hidden_act is" },
    { "sliding-window", LLAMA, "{\n", "{ \"use_sliding_window\": true,\n", "use_sliding_window" },
    { "sliding-layers", LLAMA, "{\n", "{ \"layer_types\": [\"sliding_attention\"],\n",
      "layer_types has 'sliding_attention'" },
    { "llama3-factors", LLAMA, "\"high_freq_factor\": 4.0", "\"high_freq_factor\": 0.5",
      "must be below" },
    { "rope-parameters-number", LLAMA, "{\n", "{ \"rope_parameters\": 3,\n", "rope_parameters" },
    { "rope-type", LLAMA, "\"rope_type\": \"llama3\"", "\"rope_type\": \"longrope\"", "longrope" },
    { "vocabulary", LLAMA, "\"vocab_size\": 512", "\"vocab_size\": 513", "vocab_size is 513" },
    { "tied-text", LLAMA, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": \"no\"",
      "tie_word_embeddings is" },
    { "family", LLAMA, "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "'mamba'" },
    { "no-family", LLAMA, "\"model_type\"", "\"model_tape\"", "model_type is missing" },
    { "no-layers", LLAMA, "\"num_hidden_layers\"", "\"num_hidden_players\"",
      "num_hidden_layers is missing" },
    { "more-layers", LLAMA, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
      "model.layers.3.input_layernorm.weight" },
    { "fewer-layers", LLAMA, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", "no place" },
    { "untied-without-head", SMOLLM, "\"tie_word_embeddings\": true",
      "\"tie_word_embeddings\": false", "'lm_head.weight' is missing" },
    { "scoring", V3, "\"sigmoid\"", "\"tanh\"", "scoring_func is 'tanh'" },
    { "scoring-number", V3, "\"sigmoid\"", "5", "scoring_func is" },
    { "moe-frequency", V3, "\"moe_layer_freq\": 1", "\"moe_layer_freq\": 2", "moe_layer_freq" },
    { "moe-frequency-text", V3, "\"moe_layer_freq\": 1", "\"moe_layer_freq\": \"1\"",
      "moe_layer_freq is" },
    { "half-rotation", V3, "{\n", "{ \"rope_interleave\": false,\n", "rope_interleave" },
    { "more-experts", V3, "\"n_routed_experts\": 8", "\"n_routed_experts\": 12", "rows of" },
    { "fewer-experts", V3, "\"n_routed_experts\": 8", "\"n_routed_experts\": 4", "rows of" },
    { "expert-width", V3, "\"moe_intermediate_size\": 32", "\"moe_intermediate_size\": 31",
      "mlp.experts.0.gate_proj.weight" },
    { "nope-0", V3, "\"qk_nope_head_dim\": 16", "\"qk_nope_head_dim\": 0",
      "qk_nope_head_dim is 0" },
    { "rotation-odd", V3, "\"qk_rope_head_dim\": 8", "\"qk_rope_head_dim\": 7", "must be even" },
    { "mscale-text", V3, "\"mscale\": 1.0", "\"mscale\": \"1\"", "mscale is" },
    { "groups", V3, "\"n_group\": 4", "\"n_group\": 3", "3 groups" },
    { "no-expert", V3, "layers.1.mlp.experts.7.up_proj", "layers.1.mlp.experts.7.ux_proj",
      "model.layers.1.mlp.experts.7.up_proj.weight' is missing" },
    { "mtp-no-projection", V3, "layers.4.eh_proj.weight", "layers.4.eh_prox.weight",
      "model.layers.4.eh_proj.weight' is missing" },
    { "mtp-no-norm-of-the-head", V3, "layers.4.shared_head.norm", "layers.4.shared_head.nurm",
      "model.layers.4.shared_head.norm.weight' is missing" },
    { "mtp-unknown", V3, "layers.4.shared_head.head", "layers.4.shared_head.heed",
      "model.layers.4.shared_head.heed.weight' has no place" },
    { "mtp-no-expert", V3, "layers.4.mlp.experts.7.up_proj", "layers.4.mlp.experts.7.ux_proj",
      "model.layers.4.mlp.experts.7.up_proj.weight' is missing" },
    { "no-scale", FP8, "layers.0.mlp.up_proj.weight_scale_inv",
      "layers.0.mlp.up_proj.weight_scale_inx", "with its scales is missing" },
    { "scale-too-many", FP8, "layers.0.mlp.up_proj.weight_scale_inv",
      "layers.9.mlp.up_proj.weight_scale_inv", "with its scales is missing" },
};

static uint8_t *find(uint8_t *at, uint8_t *end, const char *text)
{
    return memmem(at, (size_t)(end - at), text, strlen(text));
}

static void copy_with_lie(struct temp *t, const struct lie *lie, const char *name)
{
    bool data = strstr(name, "safetensors") != NULL;
    size_t n_from = strlen(lie->from), n_to = strlen(lie->to);
    struct buf b = { 0 };
    struct file_map m;
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", lie->folder, name);
    cr_assert_eq(file_map_open(&m, path, true), OK, "%s", err_text());
    uint8_t *at = (uint8_t *)(uintptr_t)m.data, *end = at + m.bytes, *hit;
    for (; (!data || n_from == n_to) && (hit = find(at, end, lie->from)); at = hit + n_from) {
        buf_add(&b, at, (size_t)(hit - at));
        buf_add(&b, lie->to, n_to);
        if (!data) {
            at = hit + n_from;
            break;
        }
    }
    buf_add(&b, at, (size_t)(end - at));
    cr_assert_eq(buf_ok(&b), OK);
    temp_write(t, name, b.data, b.len);
    buf_release(&b);
    file_map_close(&m);
}

static void copy_folder(struct temp *t, const struct lie *lie)
{
    DIR *dir = opendir(lie->folder);
    struct dirent *d;

    cr_assert(dir);
    while ((d = readdir(dir)))
        if (!strcmp(d->d_name, "config.json") || !strncmp(d->d_name, "model", 5))
            if (!strstr(d->d_name, ".gguf"))
                copy_with_lie(t, lie, d->d_name);
    closedir(dir);
}

static enum err open_folder(const char *folder)
{
    struct model_options o = { .n_thread = 1, .kv_type = QTYPE_f32, .n_batch_max = 1,
                               .mtp = true };
    struct weights *w;
    struct model *m;
    enum err e = weights_open(&w, folder, NULL);

    if (e)
        return e;
    e = model_open(&m, w, &o);
    model_free(m);
    weights_free(w);
    return e;
}

Test(hostile_hf, every_part_that_does_not_belong_is_refused_by_its_own_message)
{
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        struct temp t;

        temp_init(&t);
        copy_folder(&t, &lies[i]);
        cr_expect_neq(open_folder(t.folder), OK, "%s: opened", lies[i].name);
        cr_expect(strstr(err_text(), lies[i].says), "%s: \"%s\" is not in: %s", lies[i].name,
                  lies[i].says, err_text());
        temp_release(&t);
    }
}

Test(hostile_hf, experts_chosen_without_groups_need_none_that_fit)
{
    static const struct lie greedy = { "greedy", V3, "\"noaux_tc\"", "\"greedy\"", "" };
    struct temp t;

    temp_init(&t);
    copy_folder(&t, &greedy);
    cr_expect_eq(open_folder(t.folder), OK, "%s", err_text());
    temp_release(&t);
}
