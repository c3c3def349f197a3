/* detect_secret.c - private keys, and the API keys of providers, by how they begin. */
#include "gateway/detect.h"

#include <string.h>

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static const char *find(const char *text, size_t len, size_t from, const char *what)
{
    return from < len ? memmem(text + from, len - from, what, strlen(what)) : NULL;
}

/* "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----", PuTTY's, age's. */
bool detect_private_key(const char *text, size_t len, size_t from, struct find *out)
{
    static const char *const other[] = { "PuTTY-User-Key-File-", "AGE-SECRET-KEY-1" };
    const char *at;

    for (size_t i = from; (at = find(text, len, i, "-----BEGIN ")); i++) {
        i = (size_t)(at - text);
        size_t head = len - i < 80 ? len - i : 80;
        const char *key = memmem(at, head, "PRIVATE KEY", 11);
        if (key && !memchr(at, '\n', (size_t)(key - at))) {
            *out = (struct find){ i, (size_t)(key - text) + 11 };
            return true;
        }
    }
    for (size_t k = 0; k < sizeof(other) / sizeof(*other); k++)
        if ((at = find(text, len, from, other[k]))) {
            *out = (struct find){ (size_t)(at - text), (size_t)(at - text) + strlen(other[k]) };
            return true;
        }
    return false;
}

/* How a key begins, and how many characters follow at least; `upper`: capitals and digits alone. */
static const struct { const char *begin; size_t min; bool upper; } keys[] = {
    { "sk-ant-", 20, false },       { "sk-proj-", 20, false },     { "sk-or-v1-", 32, false },
    { "sk-svcacct-", 20, false },   { "sk-", 32, false },          { "AKIA", 16, true },
    { "ASIA", 16, true },           { "ghp_", 36, false },         { "gho_", 36, false },
    { "ghu_", 36, false },          { "ghs_", 36, false },         { "ghr_", 36, false },
    { "github_pat_", 22, false },   { "glpat-", 20, false },       { "xoxb-", 20, false },
    { "xoxp-", 20, false },         { "xoxa-", 20, false },        { "xoxr-", 20, false },
    { "xoxs-", 20, false },         { "AIza", 35, false },         { "hf_", 30, false },
    { "gsk_", 40, false },          { "sk_live_", 20, false },     { "rk_live_", 20, false },
    { "npm_", 36, false },          { "pypi-AgEI", 20, false },    { "ya29.", 30, false },
    { "dop_v1_", 64, false },       { "r8_", 36, false },          { "xai-", 40, false },
    { "pplx-", 40, false },         { "croft_", 64, false },       { "SG.", 40, false },
};

/* Characters of a key from `at` on; *mixed: digits and letters are both among them. */
static size_t key_length(const char *text, size_t len, size_t at, bool upper, bool *mixed)
{
    bool digit = false, letter = false;
    size_t i = at;

    for (; i < len && (is_word(text[i]) || text[i] == '-' || text[i] == '.'); i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        bool capital = text[i] >= 'A' && text[i] <= 'Z';
        if (upper && !is_digit && !capital)
            break;
        digit = digit || is_digit;
        letter = letter || capital || (text[i] >= 'a' && text[i] <= 'z');
    }
    *mixed = digit && letter;
    return i - at;
}

bool detect_provider_key(const char *text, size_t len, size_t from, struct find *out)
{
    for (size_t i = from; i < len; i++) {
        if (!memchr("sAgxhrnpydcS", text[i], 12) ||
            (i > 0 && (is_word(text[i - 1]) || text[i - 1] == '-')))
            continue;
        for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
            size_t n = strlen(keys[k].begin), more;
            bool mixed;
            if (len - i <= n || memcmp(text + i, keys[k].begin, n))
                continue;
            more = key_length(text, len, i + n, keys[k].upper, &mixed);
            if (more >= keys[k].min && mixed &&
                !(keys[k].upper && i + n + more < len && is_word(text[i + n + more]))) {
                *out = (struct find){ i, i + n + more };
                return true;
            }
        }
    }
    return false;
}
