/* test_hf.c - Hugging Face folders: what they give, and what is refused. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "formats/hf.h"
#include "hf_cases.h"
#include "temp_file.h"

#include <sys/stat.h>

static struct temp temp;
static void set_up(void)    { temp_init(&temp); }
static void tear_down(void) { temp_release(&temp); }
TestSuite(hf, .init = set_up, .fini = tear_down);

static void put_file(const struct hf_file *f)
{
    struct buf b = { 0 };
    uint64_t len = strlen(f->text);

    if (f->data == HF_GONE) {
        cr_assert_eq(unlink(temp_path(&temp, f->name)), 0);
        return;
    }
    if (f->data >= 0)
        buf_add(&b, &len, sizeof(len));
    buf_puts(&b, f->text);
    for (int i = 0; i < f->data; i++)
        buf_add(&b, "", 1);
    temp_write(&temp, f->name, buf_text(&b), b.len);
    buf_release(&b);
}

static void put_text(const char *name, const char *text)
{
    put_file(&(struct hf_file){ name, text, HF_TEXT });
}

static void put_default(void)
{
    for (size_t i = 0; i < sizeof(hf_default) / sizeof(*hf_default); i++)
        put_file(&hf_default[i]);
}

static enum err open_close(const char *path)
{
    struct weights *w;
    enum err e = weights_open(&w, path, NULL);

    cr_expect_eq(w == NULL, e != OK);
    weights_free(w);
    return e;
}

/* Open, or fail the test. */
static struct weights *opened(const char *path)
{
    struct weights *w;
    enum err e = weights_open(&w, path, NULL);

    cr_assert_eq(e, OK, "%s", err_text());
    return w;
}

static const char *str_of(const struct weights *w, const char *key)
{
    static char text[8][256];
    static int next;
    const char *value;
    size_t len;
    char *out = text[next++ % 8];

    cr_assert_eq(weights_str(w, key, "(none)", &value, &len), OK, "%s", err_text());
    snprintf(out, sizeof(text[0]), "%.*s", (int)len, value);
    return out;
}

Test(hf, configurations_become_metadata)
{
    int64_t wide;
    uint64_t u;
    double f;
    bool t;

    put_default();
    put_text("config.json", "{\"model_type\":\"llama\",\"n\":-7,\"eps\":1e-06,\"tied\":true,"
             "\"rope_scaling\":{\"factor\":8.0,\"deep\":{\"x\":3}},\"none\":null,"
             "\"list\":[1,2.5,-3],\"ints\":[4,-5],\"flags\":[true,false],"
             "\"texts\":[\"ab\",\"\"],\"mixed\":[1,\"a\"],"
             "\"nested\":[[1]],\"objects\":[{}],\"nothing\":[],\"big\":9223372036854775807,"
             "\"huge\":1000000000000000019884624838656,\"low\":-1000000000000000019884624838656,"
             "\"in text\":\"\\\"10000000000000000000000\","
             "\"list of huge\":[99999999999999999999]}");
    put_text("generation_config.json", "{\"temperature\":0.6,\"eos_token_id\":[1,2]}");
    put_text("tokenizer_config.json", "{\"added_tokens_decoder\":{\"0\":{\"content\":\"x\"}},"
             "\"bos_token\":{\"content\":\"<s>\"},\"chat_template\":\"{{ x }}\"}");
    struct weights *w = opened(temp.folder);
    cr_assert(w->hf && !strcmp(w->container, "Hugging Face") && !w->tokenizer.data);
    cr_assert_str_eq(str_of(w, "model_type"), "llama");
    wide = meta_int(weights_meta(w, "n"), 0);
    cr_expect_eq(wide, -7);
    cr_expect(weights_f64(w, "eps", 0, 0, 1, &f) == OK && f == 1e-6);
    cr_expect(weights_bool(w, "tied", false, &t) == OK && t);
    cr_expect(weights_f64(w, "rope_scaling.factor", 0, 0, 99, &f) == OK && f == 8);
    cr_expect(weights_u64(w, "rope_scaling.deep.x", 0, 0, 9, &u) == OK && u == 3);
    static const char *const absent[] = { "none", "mixed", "nested", "objects", "nothing",
        "rope_scaling", "tokenizer_config.chat_template",
        "tokenizer_config.added_tokens_decoder.0.content" };
    for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
        cr_expect_null(weights_meta(w, absent[i]), "%s", absent[i]);
    const struct meta *m = weights_meta(w, "list");
    cr_assert(m && m->is_array && m->type == META_FLOAT && m->n == 3 && m->elem_bytes == 8);
    cr_expect(meta_float(m, 0) == 1 && meta_float(m, 1) == 2.5 && meta_float(m, 2) == -3);
    m = weights_meta(w, "ints");
    cr_assert(m && m->type == META_INT && m->n == 2 && meta_int(m, 1) == -5);
    m = weights_meta(w, "flags");
    cr_assert(m && m->type == META_BOOL && m->elem_bytes == 1 && m->raw[0] == 1 && !m->raw[1]);
    m = weights_meta(w, "texts");
    struct meta_cursor c = { 0 };
    const char *text;
    size_t len;
    cr_assert(m && m->type == META_STRING && m->elem_bytes == 0);
    cr_expect(meta_next_str(m, &c, &text, &len) && len == 2 && !memcmp(text, "ab", 2));
    cr_expect(meta_next_str(m, &c, &text, &len) && len == 0);
    cr_expect(!meta_next_str(m, &c, &text, &len));
    cr_expect(weights_u64(w, "big", 0, 0, UINT64_MAX, &u) == OK && u == INT64_MAX);
    cr_expect(weights_f64(w, "huge", 0, 0, 1e300, &f) == OK && f == 1e30);
    cr_expect(weights_f64(w, "low", 0, -1e300, 0, &f) == OK && f == -1e30);
    cr_expect_str_eq(str_of(w, "in text"), "\"10000000000000000000000");
    m = weights_meta(w, "list of huge");
    cr_expect(m && m->type == META_FLOAT && meta_float(m, 0) > 9.9e19);
    cr_expect(weights_f64(w, "generation_config.temperature", 0, 0, 1, &f) == OK && f == 0.6);
    cr_expect_str_eq(str_of(w, "tokenizer_config.bos_token.content"), "<s>");
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template"), "{{ x }}");
    weights_free(w);
}

Test(hf, tensors_have_the_types_shapes_and_bytes_of_the_shard)
{
    struct weights_options o = { .in_memory = true };
    struct weights *w;

    put_default();
    put_file(&(struct hf_file)SINGLE("{\"m\":" ST("BF16", "[2,3]", "[8,20]") ",\"h\":"
             ST("F16", "[4]", "[0,8]") ",\"w\":" ST("F8_E4M3", "[2,1,5]", "[20,30]")
             ",\"one\":" ST("F32", "[]", "[30,34]") ",\"l.rotary_emb.inv_freq\":"
             ST("I64", "[1]", "[34,42]") "}", 42));
    put_text("tokenizer.json", "{\"x\":1}");
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        o.in_memory = in_memory;
        cr_assert_eq(weights_open(&w, temp.folder, &o), OK, "%s", err_text());
        cr_assert_eq(w->n_tensor, 4);
        cr_expect_str_eq(w->tensor[0].name, "h", "not in file order");
        const struct tensor_info *t = weights_find(w, "m");
        cr_assert(t && t->type == QTYPE_bf16 && t->n_dim == 2 && t->file == 1);
        cr_assert(t->ne[0] == 3 && t->ne[1] == 2 && t->ne[2] == 1 && t->ne[3] == 1);
        cr_assert(t->n_elem == 6 && t->n_row == 2 && t->row_bytes == 6 && t->bytes == 12);
        cr_assert(t->data == w->file[1].data + t->file_offset);
        t = weights_find(w, "w");
        cr_assert(t && t->type == QTYPE_f8_e4m3 && t->n_dim == 3 && t->ne[0] == 5);
        cr_assert(t->ne[1] == 1 && t->ne[2] == 2 && t->bytes == 10 && t->n_row == 2);
        t = weights_find(w, "one");
        cr_assert(t && t->n_dim == 1 && t->ne[0] == 1 && t->n_row == 1 && t->type == QTYPE_f32);
        cr_expect_null(weights_find(w, "l.rotary_emb.inv_freq"));
        cr_assert_eq(w->n_file, 2);
        cr_expect(strstr(w->file[0].path, "/config.json"));
        cr_expect(w->tokenizer.bytes == 7 && w->tokenizer.data[0] == '{');
        weights_free(w);
    }
}

static void put_two_shards(void)
{
    put_default();
    put_file(&(struct hf_file)GONE("model.safetensors"));
    put_file(&(struct hf_file){ "m-00002-of-000002.safetensors", ST_A, 8 });
    put_file(&(struct hf_file){ "m-00001-of-000002.safetensors", ST_B, 12 });
    put_file(&(struct hf_file)INDEX("{\"metadata\":{\"total_size\":\"any\"},\"weight_map\":{"
             "\"a\":\"m-00002-of-000002.safetensors\",\"b\":\"m-00001-of-000002.safetensors\"}}"));
}

Test(hf, shards_are_found_through_the_index)
{
    put_two_shards();
    struct weights *w = opened(temp.folder);
    cr_assert(w->n_file == 3 && w->n_tensor == 2);
    cr_expect(strstr(w->file[1].path, "/m-00001-of-000002.safetensors"));
    cr_expect(strstr(w->file[2].path, "/m-00002-of-000002.safetensors"));
    cr_expect_eq(weights_find(w, "a")->file, 2);
    cr_expect_eq(weights_find(w, "b")->file, 1);
    weights_free(w);
}

Test(hf, any_file_of_the_model_names_it)
{
    static const char *const names[] = { "config.json", "model.safetensors.index.json",
        "m-00001-of-000002.safetensors", "", "." };
    char cwd[512];

    put_two_shards();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        cr_expect_eq(open_close(temp_path(&temp, names[i])), OK, "%s: %s", names[i], err_text());
    cr_assert(getcwd(cwd, sizeof(cwd)) && chdir(temp.folder) == 0);
    cr_expect_eq(open_close("config.json"), OK, "%s", err_text());
    cr_expect_eq(open_close("."), OK, "%s", err_text());
    cr_assert_eq(chdir(cwd), 0);
    put_file(&(struct hf_file){ "stray.safetensors", ST_A, 8 });
    cr_expect_eq(open_close(temp_path(&temp, "stray.safetensors")), ERR_ARG);
    cr_expect(strstr(err_text(), "not part of the model"), "%s", err_text());
    cr_expect_eq(open_close(temp_path(&temp, "absent.safetensors")), ERR_ARG);
    cr_expect_eq(unlink(temp_path(&temp, "config.json")), 0);
    cr_expect_eq(open_close(temp_path(&temp, "stray.safetensors")), ERR_FORMAT);
    cr_expect(strstr(err_text(), "without its model's config.json"), "%s", err_text());
    cr_expect_eq(open_close(temp_path(&temp, "config.json")), ERR_MISSING, "%s", err_text());
}

Test(hf, links_are_followed_as_in_the_cache_of_the_hub)
{
    struct weights *w;

    put_two_shards();
    cr_assert_eq(rename(temp_path(&temp, "m-00001-of-000002.safetensors"),
                        temp_path(&temp, "blob")), 0);
    cr_assert_eq(symlink("blob", temp_path(&temp, "m-00001-of-000002.safetensors")), 0);
    w = opened(temp.folder);
    cr_expect_eq(w->n_tensor, 2);
    weights_free(w);
    cr_assert_eq(unlink(temp_path(&temp, "blob")), 0);
    cr_expect_eq(open_close(temp.folder), ERR_MISSING);
    cr_expect(strstr(err_text(), "1 of the 2"), "a link to nothing: %s", err_text());
}

Test(hf, the_chat_template_comes_from_the_first_place_that_has_one)
{
    struct weights *w;

    put_default();
    put_text("tokenizer_config.json", "{\"chat_template\":["
             "{\"name\":\"tool_use\",\"template\":\"T\"},"
             "{\"name\":\"default\",\"template\":\"D\"}]}");
    w = opened(temp.folder);
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template"), "D");
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template.tool_use"), "T");
    weights_free(w);
    put_text("chat_template.json", "{\"chat_template\":\"J\"}");
    w = opened(temp.folder);
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template"), "J");
    cr_expect_null(weights_meta(w, "tokenizer.chat_template.tool_use"));
    weights_free(w);
    put_text("chat_template.jinja", "X\n");
    w = opened(temp.folder);
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template"), "X\n");
    weights_free(w);
    put_text("chat_template.jinja", "");
    w = opened(temp.folder);
    cr_expect_str_eq(str_of(w, "tokenizer.chat_template"), "");
    weights_free(w);
}

Test(hf, block_scaled_fp8_is_accepted)
{
    put_default();
    put_text("config.json", "{\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\","
             "\"activation_scheme\":\"dynamic\",\"weight_block_size\":[128,128]}}");
    cr_expect_eq(open_close(temp.folder), OK, "%s", err_text());
    put_text("config.json", "{\"quantization_config\":null}");
    cr_expect_eq(open_close(temp.folder), OK, "%s", err_text());
}

Test(hf, broken_folders_are_refused)
{
    int before = count_entries("/proc/self/fd");

    for (size_t i = 0; i < sizeof(hf_bad) / sizeof(*hf_bad); i++) {
        const struct hf_case *c = &hf_bad[i];
        temp_release(&temp);
        temp_init(&temp);
        put_default();
        for (int k = 0; k < HF_CASE_FILES && c->file[k].name; k++)
            put_file(&c->file[k]);
        enum err e = open_close(temp.folder);
        cr_expect_eq(e, c->code, "%s: %s: %s", c->what, err_name(e), err_text());
        cr_expect(strstr(err_text(), c->say), "%s: \"%s\" is not in: %s", c->what, c->say,
                  err_text());
        cr_expect(strstr(err_text(), temp.folder), "%s: %s", c->what, err_text());
    }
    cr_assert_eq(count_entries("/proc/self/fd"), before, "a descriptor was left open");
}

/* Open with one file of `head`, `n` times `part` (each # in it the number), and `tail`. */
static enum err open_with(const char *name, const char *head, const char *part, int n,
                          const char *tail)
{
    struct buf b = { 0 };
    enum err e;

    buf_puts(&b, head);
    for (int i = 0; i < n; i++)
        for (const char *c = part; *c; c++)
            if (*c == '#')
                buf_printf(&b, "%d", i);
            else
                buf_add(&b, c, 1);
    buf_puts(&b, tail);
    cr_assert_eq(buf_ok(&b), OK);
    temp_write(&temp, name, b.data, b.len);
    buf_release(&b);
    e = open_close(temp.folder);
    unlink(temp_path(&temp, name));
    return e;
}

Test(hf, files_beyond_the_limits_are_refused)
{
    static const char index[] = "model.safetensors.index.json", map[] = "{\"weight_map\":{";
    static const struct {
        const char *name, *head, *part;
        int n;
        const char *tail, *say;
    } big[] = {
        { "tokenizer_config.json", "{\"a\":\"", "0123456789", 900000, "\"}", "the limit is" },
        { "tokenizer_config.json", "{\"a\":[", "{},", 200000, "{}]}", "too many values" },
        { "tokenizer_config.json", "{\"", "0123456789", 110, "\":1}", "more than 1024 bytes" },
        { "tokenizer_config.json", "{", "\"#\":1,", 65536, "\"x\":1}", "more than 65536" },
        { "chat_template.jinja", "", "0123456789", 110000, "", "the limit is" },
        { index, map, "\"#\":\"#.safetensors\",", 513, "\"x\":\"x.safetensors\"}}", "514 files" },
        { index, map, "\"#\":\"x.safetensors\",", 200000, "\"x\":\"x.safetensors\"}}",
          "200001 tensors" },
        { index, "{\"metadata\":[", "{},", 600000, "{}]}", "more values" },
        { index, "{\"metadata\":\"", "01234567890123456789012345678901", 1 << 21, "\"}",
          "bytes of JSON" },
    };

    put_default();
    for (size_t i = 0; i < sizeof(big) / sizeof(*big); i++) {
        enum err e = open_with(big[i].name, big[i].head, big[i].part, big[i].n, big[i].tail);
        cr_expect_eq(e, ERR_LIMIT, "%s: %s", big[i].say, err_text());
        cr_expect(strstr(err_text(), big[i].say), "%s: %s", big[i].say, err_text());
    }
    cr_expect_eq(open_with("tokenizer_config.json", "{\"a\":", "1", 500, "}"), ERR_FORMAT);
    cr_expect(strstr(err_text(), "not valid JSON"), "%s", err_text());
    cr_expect_eq(open_with(index, map, "1", 0, "\"a\":\"\"}}"), ERR_FORMAT);
    cr_expect_eq(open_with(index, "{\"weight_map\":{\"a\":\"", "x", 300, ".safetensors\"}}"),
                 ERR_FORMAT);
    cr_expect(strstr(err_text(), "1 to 255"), "%s", err_text());
    cr_expect_eq(open_with(index, "{\"weight_map\":{\"", "x", 300, "\":\"a.safetensors\"}}"),
                 ERR_FORMAT);
    cr_expect(strstr(err_text(), "longer than 255"), "%s", err_text());
    cr_expect_eq(open_with("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"", "x", 300,
                           "\",\"template\":\"\"}]}"), ERR_FORMAT);
    cr_expect(strstr(err_text(), "longer than 255"), "%s", err_text());
}

/* Neither shard has too many tensors by itself, and the index tells of one of the second alone. */
enum { HALF = GGUF_TENSORS_MAX / 2 + 1 };

static void write_half(const char *name, char first)
{
    struct buf b = { 0 };
    uint64_t len = 0;

    buf_add(&b, &len, sizeof(len));
    for (int i = 0; i < HALF; i++)
        buf_printf(&b, "%c\"%c%d\":" ST("F32", "[1]", "[%d,%d]"), i ? ',' : '{', first, i, 4 * i,
                   4 * i + 4);
    buf_puts(&b, "}");
    len = b.len - sizeof(len);
    for (int i = 0; i < HALF; i++)
        buf_add(&b, &(float){ 0 }, sizeof(float));
    cr_assert_eq(buf_ok(&b), OK);
    memcpy(b.data, &len, sizeof(len));
    temp_write(&temp, name, b.data, b.len);
    buf_release(&b);
}

Test(hf, shards_have_the_limit_of_one_file_together)
{
    put_default();
    unlink(temp_path(&temp, "model.safetensors"));
    write_half("1.safetensors", 'a');
    write_half("2.safetensors", 'b');
    cr_expect_eq(open_with("model.safetensors.index.json", "{\"weight_map\":{",
                           "\"a#\":\"1.safetensors\",", HALF, "\"b0\":\"2.safetensors\"}}"),
                 ERR_LIMIT, "%s", err_text());
    cr_expect(strstr(err_text(), "200002 tensors"), "%s", err_text());
}

Test(hf, long_tensor_names_are_refused)
{
    char header[600], name[301];

    put_default();
    memset(name, 'n', 300);
    name[300] = '\0';
    snprintf(header, sizeof(header), "{\"%s\":" ST("F32", "[1]", "[0,4]") "}", name);
    put_file(&(struct hf_file){ "model.safetensors", header, 4 });
    cr_expect_eq(open_close(temp.folder), ERR_FORMAT);
    cr_expect(strstr(err_text(), "has 300 bytes"), "%s", err_text());
}

Test(hf, pipes_and_folders_in_place_of_files_are_refused)
{
    static const char *const names[] = { "chat_template.jinja", "chat_template.json",
        "generation_config.json", "tokenizer_config.json", "tokenizer.json",
        "model.safetensors.index.json", "model.safetensors", "config.json" };

    put_default();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *path = temp_path(&temp, names[i]);
        unlink(path);
        cr_assert_eq(mkfifo(path, 0600), 0);
        cr_expect_eq(open_close(temp.folder), ERR_ARG, "%s: %s", names[i], err_text());
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(mkdir(path, 0700), 0);
        cr_expect_eq(open_close(temp.folder), ERR_ARG, "%s: %s", names[i], err_text());
        cr_assert_eq(rmdir(path), 0);
        put_default();
    }
    cr_expect_eq(open_close(temp.folder), OK, "%s", err_text());
}

Test(hf, cut_and_flipped_configurations_never_crash)
{
    char text[] = "{\"a\":{\"b\":[1,2.5]},\"c\":\"d\",\"e\":99999999999999999999999}";
    size_t len = strlen(text);

    put_default();
    for (size_t n = 0; n < len; n++) {
        temp_write(&temp, "config.json", text, n);
        cr_expect_eq(open_close(temp.folder), ERR_FORMAT, "cut to %zu", n);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        temp_write(&temp, "config.json", text, len);
        enum err e = open_close(temp.folder);
        cr_expect(e == OK || e == ERR_FORMAT || e == ERR_LIMIT, "bit %zu: %s", bit, err_name(e));
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
}
