/* test_pretok.c - the lists of pretok.def cut as the expressions they were published with, written
 * here as they stand in tokenizer.json files and read as such, and every other name of a list. */
#include <criterion/criterion.h>

#include "text/utf8.h"
#include "text/vocab.h"

#define SPACES "\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" SPACES
#define QWEN_LIKE(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|" SPACES
#define CJK "[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+"
#define KANA_HAN "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define V3 "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?" \
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|" SPACES

enum { N_NAME = 10, N_REGEX = 5, TEXT_CHARS = 40, N_TEXT = 3000 };

static const struct { const char *name[N_NAME], *regex[N_REGEX]; int flags; } lists[] = {
    { { "gpt-2", "gpt2", "default", "phi-2", "mpt", "olmo" }, { GPT2 }, 0 },
    { { "smollm", "starcoder", "refact", "codeshell", "minerva-7b" }, { "\\p{N}", GPT2 }, 0 },
    { { "llama-bpe", "llama3", "llama-v3" }, { QWEN_LIKE("\\p{N}{1,3}") },
      PRE_WHOLE_FIRST | PRE_ADD_BOS },
    { { "qwen2", "deepseek-r1-qwen" }, { QWEN_LIKE("\\p{N}") }, PRE_NFC },
    { { "deepseek-v3" }, { "\\p{N}{1,3}", KANA_HAN, V3 }, 0 },
    { { "deepseek-coder" }, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}" }, 0 },
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

/* Words, contractions, numbers, white space of every sort, and any character. */
static size_t random_text(char *out, uint32_t *state)
{
    static const char common[] = "ssttrevmld'''AaZz019  \t\r\n\n_.,-+#";
    static const uint32_t odd[] = { 0x85, 0xA0, 0x180E, 0x2003, 0x2028, 0x3000, 0x17F, 0x212A,
                                    0x661, 0xBD, 0x301, 0x4E2D, 0x30A2, 0xAC00, 0x1F600, 0x800 };
    size_t len = 0;

    for (int i = 0; i < TEXT_CHARS; i++) {
        uint32_t sort = next_random(state) % 8, r = next_random(state), code;
        code = sort < 5 ? (uint32_t)common[r % (sizeof(common) - 1)] :
               sort < 7 ? odd[r % (sizeof(odd) / sizeof(*odd))] : r % 0x3000;
        len += (size_t)utf8_put(code ? code : 'a', out + len);
    }
    return len;
}

static struct pretok *published(size_t k)
{
    struct pretok *p = pretok_empty("published", 0);

    cr_assert(p);
    for (int i = 0; i < N_REGEX && lists[k].regex[i]; i++)
        cr_assert_eq(pretok_add_split(p, REGEX_FOREIGN, lists[k].regex[i],
                                      strlen(lists[k].regex[i]), PRETOK_ISOLATED, false), OK,
                     "%s", err_text());
    return p;
}

static void expect_same(const struct pretok *ours, const struct pretok *theirs, uint32_t seed)
{
    char text[TEXT_CHARS * UTF8_MAX];
    struct encoder a = { 0 }, b = { 0 };

    for (int i = 0; i < N_TEXT; i++) {
        size_t len = random_text(text, &seed), n, m;

        cr_assert_eq(pretok_split(ours, &a, text, len, &n, NULL), OK, "%s", err_text());
        cr_assert_eq(pretok_split(theirs, &b, text, len, &m, NULL), OK, "%s", err_text());
        cr_expect(n == m && !memcmp(a.end, b.end, n * sizeof(*a.end)), "%s: \"%.*s\"",
                  pretok_name(ours), (int)len, text);
    }
    encoder_release(&a);
    encoder_release(&b);
}

Test(pretok, every_list_and_every_other_name_of_it_cuts_as_the_published_expressions)
{
    for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++) {
        struct pretok *theirs = published(k);

        for (int i = 0; i < N_NAME && lists[k].name[i]; i++) {
            const char *name = lists[k].name[i];
            struct pretok *ours;

            cr_assert_eq(pretok_new(&ours, name, strlen(name), false), OK, "%s", err_text());
            cr_expect_eq(pretok_flags(ours), lists[k].flags, "%s", name);
            expect_same(ours, theirs, (uint32_t)k + 1);
            pretok_free(ours);
        }
        pretok_free(theirs);
    }
}
