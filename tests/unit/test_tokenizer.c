/* test_tokenizer.c - vectors of other tokenizers, hostile vocabularies, hostile texts. */
#include "base/file.h"
#include "text/nfc.h"
#include "text/utf8.h"
#include "text/vocab.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#define DATA "tests/data/tokenizers/"

static struct tokenizer *load(const char *path, struct weights **w)
{
    struct tokenizer *t;

    cr_assert(weights_open(w, path, NULL) == OK, "%s", err_text());
    cr_assert(tokenizer_new(&t, *w) == OK, "%s", err_text());
    return t;
}

static void unload(struct tokenizer *t, struct weights *w)
{
    tokenizer_free(t);
    weights_free(w);
}

static struct tok_list encode(const struct tokenizer *t, const char *text, size_t len,
                              enum text_kind kind)
{
    struct tok_list l = {0};

    cr_assert(tokenizer_encode_text(t, text, len, kind, &l) == OK, "%s", err_text());
    return l;
}

static struct buf decode(const struct tokenizer *t, const struct tok_list *l)
{
    char out[DETOK_MAX];
    struct buf b = {0};
    struct detok d;
    size_t i;

    detok_init(&d, t, true);
    for (i = 0; i < l->n; i++)
        buf_add(&b, out, detok_push(&d, l->id[i], out));
    buf_add(&b, out, detok_end(&d, out));
    return b;
}

static bool is_added(const struct tokenizer *t, int32_t id)
{
    return tokenizer_type(t, id) != TOKEN_NORMAL && tokenizer_type(t, id) != TOKEN_BYTE;
}

static bool is_spelling(const struct tokenizer *t, int32_t id)
{
    size_t matched;

    return added_match(t, ADDED_SPELLING, t->token[id].text, t->token[id].len, &matched) == id;
}

/* Encodes and decodes to the same bytes; returns how many ids came up that plain text must not
 * give; of CONTROL text, how many added ones. */
static size_t round_trip(const struct tokenizer *t, const char *text, size_t len,
                         enum text_kind kind)
{
    struct tok_list l = encode(t, text, len, kind);
    struct buf b = decode(t, &l);
    size_t i, added = 0;

    cr_expect(b.len == len && !memcmp(buf_text(&b), text, len), "\"%.*s\" became \"%s\"",
              (int)len, text, buf_text(&b));
    for (i = 0; i < l.n; i++)
        added += is_added(t, l.id[i]) &&
                 (kind == TEXT_CONTROL || !is_spelling(t, l.id[i]));
    buf_release(&b);
    tok_list_release(&l);
    return added;
}

/* ---- vectors ---- */

static void check_case(const struct tokenizer *t, const char *text, size_t len, char *ids)
{
    struct tok_list l = encode(t, text, len, TEXT_CONTROL);
    char *save = NULL, *word = strtok_r(ids, " ", &save);
    size_t i;

    for (i = 0; i < l.n && word; i++, word = strtok_r(NULL, " ", &save))
        if (strtol(word, NULL, 10) != l.id[i])
            break;
    cr_expect(i == l.n && !word, "\"%.*s\": id %zu is %d, not %s", (int)len, text, i,
              i < l.n ? l.id[i] : -1, word ? word : "the end");
    tok_list_release(&l);
}

static void check_vectors(const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[128], *in, *out, *at, *end, *save = NULL, *line;
    struct weights *w;
    struct tokenizer *t;
    size_t len, n = 0;

    snprintf(path, sizeof(path), DATA "%s.gguf", name);
    t = load(path, &w);
    snprintf(path, sizeof(path), DATA "%s.out", name);
    cr_assert(file_read_text(&in, &len, DATA "llama_cpp.inp", 1 << 20) == OK);
    cr_assert(file_read_text(&out, &len, path, 1 << 20) == OK);
    for (at = in, line = out; at; n++) {
        end = strstr(at, separator);
        save = strchr(line, '\n');
        if (save)
            *save = '\0';
        cr_assert(save || !end, "fewer lines of ids than texts");
        check_case(t, at, end ? (size_t)(end - at) : strlen(at), line);
        line = save ? save + 1 : NULL;
        at = end ? end + sizeof(separator) - 1 : NULL;
    }
    cr_expect_eq(n, 47);
    free(in);
    free(out);
    unload(t, w);
}

Test(tokenizer, gpt_2_gives_the_recorded_ids)          { check_vectors("gpt-2"); }
Test(tokenizer, deepseek_coder_gives_the_recorded_ids) { check_vectors("deepseek-coder"); }
Test(tokenizer, llama_spm_gives_the_recorded_ids)      { check_vectors("llama-spm"); }

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static size_t random_text(char *out, size_t n_char, uint32_t *state)
{
    size_t len = 0;

    while (n_char-- > 0) {
        uint32_t r = next_random(state), code = next_random(state);
        code = r % 4 == 0 ? code % 0x80 : r % 4 == 1 ? code % 0x800 : r % 4 == 2 ?
               code % 0xD800 : 0x10000 + code % 0x100000;
        if (code == 0x2581)             /* SPM's own sign for a space does not come back */
            code = 'x';
        len += (size_t)utf8_put(code, out + len);
    }
    return len;
}

/* ---- what must never arise from text ---- */

static const char *const vocab_file[] = {
    DATA "gpt-2.gguf", DATA "deepseek-coder.gguf", DATA "llama-spm.gguf",
};

Test(tokenizer, an_added_token_spelled_in_plain_text_stays_text)
{
    size_t f;

    for (f = 0; f < sizeof(vocab_file) / sizeof(vocab_file[0]); f++) {
        struct weights *w;
        struct tokenizer *t = load(vocab_file[f], &w);
        int32_t id, n = 0;
        for (id = 0; id < tokenizer_info(t)->n_vocab; id++) {
            const struct token *token = &t->token[id];
            if (!is_added(t, id))
                continue;
            cr_expect_eq(round_trip(t, token->text, token->len, TEXT_PLAIN), 0);
            cr_expect_eq(round_trip(t, token->text, token->len, TEXT_CONTROL), 1);
            n++;
        }
        cr_expect_geq(n, tokenizer_info(t)->n_added);
        unload(t, w);
    }
}

Test(tokenizer, a_marker_put_together_from_two_segments_stays_text)
{
    struct weights *w;
    struct tokenizer *t = load(DATA "gpt-2.gguf", &w);
    struct text_seg seg[] = { { TEXT_CONTROL, "<|endof", 7 }, { TEXT_PLAIN, "text|>", 6 },
                              { TEXT_CONTROL, "<|endoftext|>", 13 } };
    struct tok_list l = {0}, whole = encode(t, "<|endoftext|>", 13, TEXT_PLAIN);

    cr_assert(tokenizer_encode(t, seg, 3, &l) == OK);
    cr_assert_eq(l.n, whole.n + 1);
    cr_expect(!memcmp(l.id, whole.id, whole.n * sizeof(*l.id)));
    cr_expect_eq(l.id[whole.n], 50256);
    tok_list_release(&l);
    tok_list_release(&whole);
    unload(t, w);
}

Test(tokenizer, text_cut_into_segments_gives_the_ids_of_the_whole)
{
    static const char text[] = "Hello  world,\n\n it's 12345 o'clock";
    struct weights *w;
    struct tokenizer *t = load(DATA "deepseek-coder.gguf", &w);
    struct tok_list whole = encode(t, text, sizeof(text) - 1, TEXT_PLAIN);
    size_t cut;

    for (cut = 0; cut < sizeof(text); cut++) {
        struct text_seg seg[] = { { TEXT_CONTROL, text, cut },
                                  { TEXT_PLAIN, text + cut, sizeof(text) - 1 - cut } };
        struct tok_list l = {0};
        cr_assert(tokenizer_encode(t, seg, 2, &l) == OK);
        cr_expect(l.n == whole.n && !memcmp(l.id, whole.id, l.n * sizeof(*l.id)), "cut %zu", cut);
        tok_list_release(&l);
    }
    tok_list_release(&whole);
    unload(t, w);
}

/* Text is cut before a line feed that a letter follows; a long text keeps the ids of its pieces. */
Test(tokenizer, a_long_text_gives_the_ids_of_its_lines)
{
    enum { LINES = 4000, LINE_BYTES = 12 };
    char *text = malloc(LINES * (LINE_BYTES * UTF8_MAX + 2));
    size_t f, i, from, len;
    uint32_t state = 11;

    for (f = 0; f < 2; f++) {
        struct weights *w;
        struct tokenizer *t = load(f ? DATA "deepseek-coder.gguf" : DATA "gpt-2.gguf", &w);
        struct tok_list lines = {0}, whole;
        for (i = 0, len = 0; i < LINES; i++) {
            from = len;
            text[len++] = '\n';
            text[len++] = (char)('a' + next_random(&state) % 4);
            while (len - from < LINE_BYTES && next_random(&state) % 8)
                text[len++] = "abcde fg  '1.\t(sS"[next_random(&state) % 17];
            if (i % 8 == 0)
                len += random_text(text + len, 4, &state);
            cr_assert(tokenizer_encode_text(t, text + from, len - from, TEXT_PLAIN, &lines) == OK);
        }
        whole = encode(t, text, len, TEXT_PLAIN);
        cr_expect(whole.n == lines.n && !memcmp(whole.id, lines.id, lines.n * sizeof(*lines.id)));
        tok_list_release(&whole);
        tok_list_release(&lines);
        unload(t, w);
    }
    free(text);
}

/* ---- round trips and streaming ---- */

Test(tokenizer, random_text_comes_back_as_it_was)
{
    char text[64 * UTF8_MAX];
    uint32_t state = 7;
    size_t f, i;

    for (f = 0; f < sizeof(vocab_file) / sizeof(vocab_file[0]); f++) {
        struct weights *w;
        struct tokenizer *t = load(vocab_file[f], &w);
        for (i = 0; i < 2000; i++) {
            size_t len = random_text(text, next_random(&state) % 64, &state);
            cr_expect_eq(round_trip(t, text, len, TEXT_PLAIN), 0);
        }
        unload(t, w);
    }
}

/* The byte a letter of the byte-level alphabet stands for: what prints is itself, the others are
 * counted from U+0100 on. */
static char byte_of_letter(uint32_t code)
{
    uint32_t next = 0x100;

    for (uint32_t byte = 0; byte < 0x100; byte++) {
        bool prints = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        if (code == (prints ? byte : next))
            return (char)byte;
        next += !prints;
    }
    cr_assert(false, "U+%04X is no letter of the alphabet", code);
    return 0;
}

/* What a token of the file stands for, from its text there. */
static void add_meaning(struct buf *out, const char *text, size_t len, enum token_type type,
                        bool spm)
{
    if (type == TOKEN_BYTE) {
        char byte = (char)strtol(text + 3, NULL, 16);
        buf_add(out, &byte, 1);
        return;
    }
    for (size_t at = 0; at < len;) {
        uint32_t code = 0;
        size_t n = (size_t)utf8_next(text + at, len - at, &code);
        char byte = ' ';
        if (type != TOKEN_NORMAL || (spm && code != 0x2581))
            buf_add(out, text + at, n);
        else if (spm)
            buf_add(out, &byte, 1);
        else
            buf_add(out, &(char){ byte_of_letter(code) }, 1);
        at += n;
    }
}

Test(tokenizer, every_id_stands_for_the_bytes_the_file_says)
{
    for (size_t f = 0; f < sizeof(vocab_file) / sizeof(*vocab_file); f++) {
        struct weights *w;
        struct tokenizer *t = load(vocab_file[f], &w);
        const struct meta *m = weights_meta(w, "tokenizer.ggml.tokens");
        struct meta_cursor c = { 0 };
        bool spm = strstr(vocab_file[f], "spm") != NULL;
        const char *text;
        char got[TOKEN_BYTES_MAX];
        int32_t id = 0;
        size_t len;

        for (; meta_next_str(m, &c, &text, &len); id++) {
            struct buf want = { 0 };
            size_t n = tokenizer_bytes(t, id, true, got, sizeof(got));
            add_meaning(&want, text, len, tokenizer_type(t, id), spm);
            cr_expect(n == want.len && !memcmp(got, want.data, n), "%s, id %d: %.*s", vocab_file[f],
                      id, (int)n, got);
            buf_release(&want);
        }
        cr_expect_eq(id, tokenizer_info(t)->n_vocab);
        unload(t, w);
    }
}

/* The id of the token that is exactly one byte. */
static int32_t byte_id(const struct tokenizer *t, uint8_t byte)
{
    return t->byte_id[byte];
}

static void check_stream(const struct tokenizer *t, const char *bytes, const char *want)
{
    struct buf b = {0};
    struct detok d;
    char out[DETOK_MAX];

    detok_init(&d, t, false);
    for (; *bytes; bytes++) {
        size_t n = detok_push(&d, byte_id(t, (uint8_t)*bytes), out);
        cr_expect_eq(utf8_check(out, n), n, "half a character was shown");
        buf_add(&b, out, n);
    }
    buf_add(&b, out, detok_end(&d, out));
    cr_expect_str_eq(buf_text(&b), want);
    buf_release(&b);
}

#define BAD "\xEF\xBF\xBD"

Test(detok, whole_characters_only_and_one_replacement_for_each_maximal_subpart)
{
    struct weights *w;
    struct tokenizer *t = load(DATA "gpt-2.gguf", &w);

    check_stream(t, "a\xF0\x9F\xA6\x99z", "a\xF0\x9F\xA6\x99z");
    check_stream(t, "\xF0\x9F\xA6", BAD);
    check_stream(t, "\xF0\x9F" "A", BAD "A");
    check_stream(t, "\xC0\xAF", BAD BAD);
    check_stream(t, "\xE0\x80\x41", BAD BAD "A");
    check_stream(t, "\xED\xA0\x80", BAD BAD BAD);
    check_stream(t, "\xF4\x90\x80\x80", BAD BAD BAD BAD);
    check_stream(t, "\xE2\x82\xE2\x82\xAC", BAD "\xE2\x82\xAC");
    check_stream(t, "\x80" "a\xFF", BAD "a" BAD);
    cr_expect_eq(tokenizer_bytes(t, -1, true, NULL, 0), 0);
    cr_expect_eq(tokenizer_bytes(t, 50257, true, NULL, 0), 0);
    cr_expect_eq(tokenizer_bytes(t, 50256, true, NULL, 0), 13);
    cr_expect_eq(tokenizer_bytes(t, 50256, false, NULL, 0), 0);
    unload(t, w);
}

Test(tokenizer, invalid_utf_8_is_refused_with_its_offset)
{
    struct weights *w;
    struct tokenizer *t = load(DATA "gpt-2.gguf", &w);
    struct tok_list l = {0};

    cr_assert(tok_list_add(&l, 5) == OK);
    cr_expect_eq(tokenizer_encode_text(t, "Hello\xC3(", 7, TEXT_PLAIN, &l), ERR_FORMAT);
    cr_expect(strstr(err_text(), "byte 5") != NULL, "%s", err_text());
    cr_expect(l.n == 1 && l.id[0] == 5);
    tok_list_release(&l);
    unload(t, w);
}

/* ---- work ---- */

static void fill(char *text, size_t n, const char *unit)
{
    size_t i, len = strlen(unit);

    for (i = 0; i < n; i++)
        text[i] = unit[i % len];
}

static const char *const unit_text[] = {
    "a", " ", "\n", "\r\n", " \n", "ab", "7", "!", "'s", "\t", "<", "\xF0\x9F\x99\x82", "a b",
    "\xC2\xA0", "\xCC\x81", "\xE4\xB8\xAD", "          x", "\n         ",
};
enum { N_UNIT = sizeof(unit_text) / sizeof(unit_text[0]), WORK_BYTES = 49152 };

Test(tokenizer, merging_pushes_and_pops_a_few_times_per_byte_at_most)
{
    char *text = malloc(WORK_BYTES);
    size_t f, u;

    for (f = 0; f < sizeof(vocab_file) / sizeof(vocab_file[0]); f++) {
        struct weights *w;
        struct tokenizer *t = load(vocab_file[f], &w);
        for (u = 0; u < N_UNIT; u++) {
            struct tok_list l = {0};
            struct encoder e = { .t = t, .out = &l };
            struct text_seg seg = { TEXT_PLAIN, text, WORK_BYTES / 12 * 12 };
            fill(text, WORK_BYTES, unit_text[u]);
            seg.len -= seg.len % strlen(unit_text[u]);
            cr_assert(encoder_run(&e, &seg, 1) == OK, "%s", err_text());
            /* SPM writes a space as three bytes, one symbol all the same. */
            cr_expect_leq(e.steps, 6 * (uint64_t)WORK_BYTES, "%s: \"%s\": %llu", vocab_file[f],
                          unit_text[u], (unsigned long long)e.steps);
            encoder_release(&e);
            tok_list_release(&l);
        }
        unload(t, w);
    }
    free(text);
}

Test(pretok, the_matcher_moves_a_few_times_per_byte_at_most)
{
    static const char *const name[] = { "smollm", "gpt-2", "llama-bpe", "qwen2",
                                        "deepseek-v3", "deepseek-coder", "deepseek-llm",
                                        "kimi-k2" };
    char *text = malloc(WORK_BYTES + 1);
    size_t p, u;

    for (p = 0; p < sizeof(name) / sizeof(name[0]); p++) {
        struct pretok *pre;
        cr_assert(pretok_new(&pre, name[p], strlen(name[p]), true) == OK, "%s", err_text());
        for (u = 0; u < 3 * N_UNIT; u++) {      /* as it is, with a letter, with a digit */
            struct encoder e = {0};
            uint64_t steps = 0;
            size_t n, len = WORK_BYTES - WORK_BYTES % strlen(unit_text[u / 3]);
            fill(text, len, unit_text[u / 3]);
            text[len] = u % 3 == 1 ? 'x' : '7';
            len += u % 3 > 0;
            cr_assert(pretok_split(pre, &e, text, len, &n, &steps) == OK);
            cr_expect_gt(steps, 0);
            cr_expect_leq(steps, 64 * (uint64_t)WORK_BYTES, "%s: \"%s\": %llu", name[p],
                          unit_text[u / 3], (unsigned long long)steps);
            cr_expect_eq(e.end[n - 1], len);
            encoder_release(&e);
        }
        pretok_free(pre);
    }
    free(text);
}

/* [[text, [end, ...]], ...] of another implementation. */
Test(pretok, kimi_k2_cuts_as_its_own_pattern_does)
{
    struct pretok *pre;
    struct encoder e = {0};
    json_t *all = json_load_file(DATA "kimi_pieces.json", 0, NULL), *one;
    size_t i, k, n;

    cr_assert(pretok_new(&pre, "kimi-k2", 7, false) == OK, "%s", err_text());
    cr_assert_eq(json_array_size(all), 400);
    json_array_foreach(all, i, one) {
        const char *text = json_string_value(json_array_get(one, 0));
        const json_t *end = json_array_get(one, 1);
        cr_assert(pretok_split(pre, &e, text, strlen(text), &n, NULL) == OK, "%s", err_text());
        for (k = 0; k < n && e.end[k] == (size_t)json_integer_value(json_array_get(end, k)); k++)
            ;
        cr_expect(k == n && n == json_array_size(end), "\"%s\": piece %zu", text, k);
    }
    json_decref(all);
    encoder_release(&e);
    pretok_free(pre);
}

/* ---- UTF-8 and NFC ---- */

Test(utf8, every_code_point_is_written_and_read_back)
{
    uint32_t code, back;
    char out[UTF8_MAX];

    for (code = 0; code <= 0x10FFFF; code++) {
        int n = utf8_put(code, out);
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        cr_assert_eq(utf8_next(out, (size_t)n, &back), surrogate ? 0 : n, "U+%04X", code);
        cr_assert(surrogate || back == code, "U+%04X", code);
        cr_assert_eq(utf8_next(out, (size_t)n - 1, &back), 0);
    }
    cr_expect_eq(utf8_check("12345678\xC0\xAF", 10), 8);
    cr_expect_eq(utf8_check("\xF4\x90\x80\x80", 4), 0);
}

/* Long runs are ordered by counting, short ones by insertion: both as utf8proc does it. */
Test(nfc, marks_of_any_number_are_put_in_the_order_of_their_classes)
{
    static const char *const mark[] = { "\xCC\x81", "\xCC\xA3", "\xCC\xA7", "\xCC\xB8" };
    static const size_t counts[] = { 1, 2, 7, 40, 1000 };

    for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
        struct buf text = { 0 }, out = { 0 };

        for (int word = 0; word < 2; word++) {
            buf_puts(&text, "a");
            for (size_t i = 0; i < counts[k]; i++)
                buf_puts(&text, mark[i * 7 % 4]);
        }
        buf_puts(&text, "\xC4\x8E z");
        char *want = (char *)utf8proc_NFC((const utf8proc_uint8_t *)buf_text(&text));
        cr_assert_eq(nfc_add(&out, buf_text(&text), text.len), OK);
        cr_expect_str_eq(buf_text(&out), want, "%zu marks", counts[k]);
        free(want);
        buf_release(&text);
        buf_release(&out);
    }
}

/* U+1AC5 is a mark of Unicode 14, of a higher class than the cedilla behind it. */
Test(nfc, what_came_after_unicode_9_is_left_alone_where_its_tables_are_meant)
{
    static const char text[] = "e\xE1\xAB\x85\xCC\xA7 e\xCC\x81";
    struct buf old = { 0 }, new = { 0 };

    cr_assert_eq(norm_add(&old, text, sizeof(text) - 1, NORM_NFC, true), OK);
    cr_expect_str_eq(buf_text(&old), "e\xE1\xAB\x85\xCC\xA7 \xC3\xA9");
    cr_assert_eq(norm_add(&new, text, sizeof(text) - 1, NORM_NFC, false), OK);
    cr_expect_str_eq(buf_text(&new), "\xC8\xA9\xE1\xAB\x85 \xC3\xA9");
    buf_release(&old);
    buf_release(&new);
}

Test(nfc, equals_utf8proc_on_random_text_and_orders_a_long_run_of_marks)
{
    char text[64 * UTF8_MAX + 1];
    struct buf out = {0};
    uint32_t state = 3;
    int i, k;

    for (i = 0; i < 4000; i++) {
        size_t len = 0;
        utf8proc_uint8_t *want;
        for (k = 0; k < 60; k++) {
            uint32_t r = next_random(&state), code = next_random(&state);
            code = r % 3 == 0 ? 0x300 + code % 0x70 : r % 3 == 1 ? 0x41 + code % 0x400 :
                   0x900 + code % 0xC000;
            len += (size_t)utf8_put(code >= 0xD800 && code < 0xE000 ? 'a' : code, text + len);
        }
        text[len] = '\0';
        want = utf8proc_NFC((utf8proc_uint8_t *)text);
        buf_cut(&out, 0);
        cr_assert(nfc_add(&out, text, len) == OK);
        cr_expect_str_eq(buf_text(&out), (char *)want);
        free(want);
    }
    buf_cut(&out, 0);
    cr_assert(nfc_add(&out, "e\xCC\xA7\xCC\x81 \xE2\x84\xA6", 9) == OK);
    cr_expect_str_eq(buf_text(&out), "\xC8\xA9\xCC\x81 \xCE\xA9");
    buf_release(&out);
}
