/* test_hostile.c - GGUF files that are well-formed and lie about the model or tokenizer in them. */
#include <criterion/criterion.h>

#include "formats/gguf.h"
#include "gguf_build.h"
#include "model/model.h"
#include "model_cases.h"
#include "temp_file.h"
#include "text/tokenizer.h"

#include <math.h>

struct file { struct buf meta, info, data; uint64_t n_meta, n_tensor; };

/* Does a word begin an entry or a tensor, and under which name? */
static bool begins(const char *word, const char **name, size_t *len)
{
    if (word[0] != '"' && word[0] != '-' && !(word[1] == ':' && strchr("usT", word[0])))
        return false;
    *name = word + (word[1] == ':' && word[0] != '"' && word[0] != '-' ? 2 : 1);
    *len = strcspn(*name, "=, ");
    return true;
}

/* The next word of a line, cut off; false at its end. */
static bool next_word(const char **line, char word[256])
{
    size_t len;

    *line += strspn(*line, " ");
    len = strcspn(*line, " ");
    ASSERT(len < 256);
    memcpy(word, *line, len);
    word[len] = '\0';
    *line += len;
    return len > 0;
}

static bool replaced(const char *words, const char *name, size_t len)
{
    const char *other;
    char word[256];
    size_t n;

    while (next_word(&words, word))
        if (begins(word, &other, &n) && n == len && !memcmp(other, name, len))
            return true;
    return false;
}

static void add_tensor(struct file *f, const char *word, const char *name, size_t len)
{
    char full[300];
    float nan = NAN;
    uint64_t n = 1;

    snprintf(full, sizeof(full), "%.*s,0,%zu%s", (int)len, name, f->data.len, name + len);
    build_tensor(&f->info, full);
    for (const char *at = name + len; *at == ',';) {
        char *end;
        n *= strtoull(at + 1, &end, 10);
        at = end;
    }
    size_t start = f->data.len;
    build_zeros(&f->data, (size_t)(n * sizeof(float) + 31) / 32 * 32);
    if (word[strlen(word) - 1] == '!')
        memcpy(f->data.data + start, &nan, sizeof(nan));
    f->n_tensor++;
}

/* The words of a line, without what the second line has another word for. */
static void add_words(struct file *f, const char *line, const char *but)
{
    bool keep = true;
    const char *name;
    char word[256];
    size_t len;

    while (next_word(&line, word)) {
        if (begins(word, &name, &len))
            keep = word[0] != '-' && !replaced(but, name, len);
        if (!keep)
            continue;
        if (word[0] == 'T') {
            add_tensor(f, word, name, len);
            continue;
        }
        f->n_meta += begins(word, &name, &len);
        build_word(&f->meta, word);
    }
}

static enum err open_file(struct weights **w, enum tiny base, const char *words)
{
    struct file f = { 0 };
    struct buf all = { 0 };
    char head[64];
    enum err e;

    add_words(&f, tiny_file[base], words);
    add_words(&f, words, "");
    snprintf(head, sizeof(head), "h:%d,%d", (int)f.n_tensor, (int)f.n_meta);
    build_gguf(&all, head);
    buf_add(&all, f.meta.data, f.meta.len);
    buf_add(&all, f.info.data, f.info.len);
    build_gguf(&all, "p:32");
    buf_add(&all, f.data.data, f.data.len);
    e = weights_open_bytes(w, "tiny.gguf", all.data, all.len);
    buf_release(&f.meta);
    buf_release(&f.info);
    buf_release(&f.data);
    buf_release(&all);
    return e;
}

/* Use the file for what it is there for. */
static enum err use(const struct weights *w, enum tiny base)
{
    struct model_options o = { .n_thread = 1, .kv_type = QTYPE_f16, .n_batch_max = 1,
                               .mtp = true };
    struct tokenizer *t = NULL;
    struct model *m = NULL;
    enum err e = base <= MTP_FILE ? model_open(&m, w, &o) : tokenizer_new(&t, w);

    cr_expect(!e == (m || t), "an object without success, or success without one");
    cr_expect(!m || model_info(m)->mtp == (base == MTP_FILE), "%s",
              base == MTP_FILE ? "no MTP layer" : "an MTP layer");
    model_free(m);
    tokenizer_free(t);
    return e;
}

static void expect_good(enum tiny base, const char *words)
{
    struct weights *w;

    cr_assert_eq(open_file(&w, base, words), OK, "%s: %s", words, err_text());
    cr_expect_eq(use(w, base), OK, "%s: %s", words, err_text());
    weights_free(w);
}

Test(hostile, the_files_that_cases_change_are_good_ones)
{
    for (int base = 0; base < TINY_COUNT; base++)
        expect_good((enum tiny)base, "");
}

Test(hostile, every_lie_about_a_model_is_refused_by_its_own_message)
{
    for (int i = 0; i < MODEL_BAD_COUNT; i++) {
        const struct model_case *c = &model_bad[i];
        struct weights *w;
        cr_assert_eq(open_file(&w, c->base, c->words), OK, "%s: %s", c->name, err_text());
        enum err e = use(w, c->base);
        cr_expect_eq(e, c->code, "%s: got %s: %s", c->name, err_name(e), e ? err_text() : "");
        cr_expect(!e || strstr(err_text(), c->say), "%s: \"%s\" is not in: %s", c->name, c->say,
                  err_text());
        cr_expect(!e || strstr(err_text(), "tiny.gguf"), "%s: no file in: %s", c->name,
                  err_text());
        weights_free(w);
    }
}

/* 4 GiB of a hole. */
Test(hostile, an_embedding_of_2_31_rows_is_beyond_the_limit)
{
    struct file f = { 0 };
    struct weights *w;
    struct temp temp;
    struct buf b = { 0 };
    char head[64];

    temp_init(&temp);
    add_words(&f, tiny_file[LLAMA_FILE], "T:token_embd.weight");
    snprintf(head, sizeof(head), "h:1,%d", (int)f.n_meta);
    build_gguf(&b, head);
    buf_add(&b, f.meta.data, f.meta.len);
    build_gguf(&b, "t:token_embd.weight,1,0,1,2147483648 p:32");
    const char *path = temp_write(&temp, "tall.gguf", b.data, b.len);
    cr_assert_eq(truncate(path, (off_t)b.len + ((off_t)1 << 32)), 0);
    cr_assert_eq(weights_open(&w, path, NULL), OK, "%s", err_text());
    cr_expect_eq(use(w, LLAMA_FILE), ERR_LIMIT);
    cr_expect(strstr(err_text(), "has 2147483648 rows"), "%s", err_text());
    weights_free(w);
    temp_release(&temp);
    buf_release(&f.meta);
    buf_release(&f.info);
    buf_release(&f.data);
    buf_release(&b);
}

Test(hostile, odd_files_that_are_right_are_accepted)
{
    expect_good(LLAMA_FILE, "T:output.weight,8,4 u:llama.attention.key_length=4");
    expect_good(LLAMA_FILE, "s:llama.rope.scaling.type=yarn \"llama.rope.scaling.factor 4:6 f:4");
    expect_good(LLAMA_FILE, "T:blk.0.attn_norm.weight,8,1 \"llama.rope.freq_base 4:6 f:2");
    expect_good(DEEPSEEK_FILE, "u:deepseek2.expert_gating_func=0 T:blk.1.exp_probs_b.bias,4");
    expect_good(DEEPSEEK_FILE, "-deepseek2.expert_shared_count -blk.1.ffn_gate_shexp.weight "
                "-blk.1.ffn_up_shexp.weight -blk.1.ffn_down_shexp.weight");
    expect_good(DEEPSEEK_FILE, "u:deepseek2.block_count=3 u:deepseek2.nextn_predict_layers=1");
    expect_good(MTP_FILE, "T:blk.2.nextn.embed_tokens.weight,8,4 "
                "T:blk.2.nextn.shared_head_head.weight,8,4");
    expect_good(MTP_FILE, "u:deepseek2.block_count=4 u:deepseek2.nextn_predict_layers=2 "
                "T:blk.3.nextn.enorm.weight,9");
    expect_good(SPM_FILE, "-tokenizer.ggml.token_type");
    expect_good(SPM_FILE, "u:tokenizer.ggml.eos_token_id=4294967295");
    expect_good(BPE_FILE, "\"tokenizer.ggml.bos_token_id 4:5 4:-1");
}
