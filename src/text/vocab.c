/* vocab.c - read a vocabulary out of a checkpoint's metadata and index it.
 *
 * Token texts stay in the file's mapping; what is built here are the table of tokens, a hash
 * table by text, one by pair of merged ids, and the trie of added tokens.  Every number of the
 * file is checked against the vocabulary before it is used as an index. */
#include "text/vocab.h"

#include "base/hex.h"
#include "base/term.h"
#include "text/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

static const char *file_name(const struct weights *w)
{
    return w->n_file > 0 && w->file[0].path ? w->file[0].path : "the model";
}

/* ---- alphabet and byte tokens ---- */

uint32_t byte_letter(uint8_t byte)
{
    if ((byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD))
        return byte;
    if (byte <= 0x20)
        return 0x100U + byte;
    return byte == 0xAD ? 0x143 : 0x121U + (byte - 0x7FU);
}

int letter_byte(uint32_t code)
{
    if (code > 0x143)
        return -1;
    if (code == 0x143)
        return 0xAD;
    if (code >= 0x121)
        return (int)(0x7F + code - 0x121);
    if (code >= 0x100)
        return (int)(code - 0x100);
    return byte_letter((uint8_t)code) == code ? (int)code : -1;
}

int byte_token_value(const char *text, size_t len)
{
    int high, low;

    if (len != 6 || memcmp(text, "<0x", 3) || text[5] != '>')
        return -1;
    high = hex_value(text[3]);
    low = hex_value(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* ---- hash tables ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The start value is an address: where texts collide differs from run to run, what is found
 * does not. */
static uint64_t hash_text(const struct tokenizer *t, const char *text, size_t len)
{
    uint64_t h = (uint64_t)(uintptr_t)t ^ 0x9E3779B97F4A7C15U ^ len, part;

    for (; len >= sizeof(part); text += sizeof(part), len -= sizeof(part)) {
        memcpy(&part, text, sizeof(part));
        h = mix(h ^ part, 0xD6E8FEB86659FD93U);
    }
    part = 0;
    if (len)
        memcpy(&part, text, len);
    return mix(h ^ part, 0xA0761D6478BD642FU);
}

static uint64_t hash_pair(const struct tokenizer *t, int32_t left, int32_t right)
{
    return mix(((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ (uint64_t)(uintptr_t)t,
               0x9E3779B97F4A7C15U);
}

static enum err slots_init(struct slots *s, uint64_t n)
{
    uint64_t size = 16;

    while (size < 2 * n)
        size *= 2;
    s->slot = calloc(size, sizeof(*s->slot));
    s->mask = (uint32_t)(size - 1);
    if (!s->slot)
        return err_set(ERR_NOMEM, "TOK-06", "no memory to index %llu tokens or merges",
                       (unsigned long long)n);
    return OK;
}

/* The slot that holds this text, or the free one where it belongs. */
static uint32_t *text_slot(const struct tokenizer *t, const char *text, size_t len)
{
    uint32_t at = (uint32_t)hash_text(t, text, len) & t->by_text.mask, held;

    while ((held = t->by_text.slot[at]) != 0) {
        const struct token *token = &t->token[held - 1];
        if (token->len == len && !memcmp(token->text, text, len))
            break;
        at = (at + 1) & t->by_text.mask;
    }
    return &t->by_text.slot[at];
}

int32_t vocab_find(const struct tokenizer *t, const char *text, size_t len)
{
    return (int32_t)*text_slot(t, text, len) - 1;
}

int32_t vocab_find_plain(const struct tokenizer *t, const char *text, size_t len)
{
    int32_t id;

    if (len > t->plain_bytes_max || len == 0)
        return -1;
    id = vocab_find(t, text, len);
    return id >= 0 && t->token[id].type == TOKEN_NORMAL ? id : -1;
}

int32_t vocab_unknown(const struct tokenizer *t)
{
    int32_t id = t->info.unk;

    if (id < 0 || t->token[id].type == TOKEN_CONTROL || t->token[id].type == TOKEN_USER)
        return -1;
    return id;
}

static uint32_t *pair_slot(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint32_t at = (uint32_t)hash_pair(t, left, right) & t->by_pair.mask, held;

    while ((held = t->by_pair.slot[at]) != 0) {
        const struct merge *m = &t->merge[held - 1];
        if (m->left == left && m->right == right)
            break;
        at = (at + 1) & t->by_pair.mask;
    }
    return &t->by_pair.slot[at];
}

int64_t vocab_find_merge(const struct tokenizer *t, int32_t left, int32_t right)
{
    return (int64_t)*pair_slot(t, left, right) - 1;
}

/* ---- reading arrays ---- */

/* The array of that key, or NULL when absent; of strings, or of n_vocab numbers. */
static enum err find_array(const struct weights *w, const char *key, bool strings, uint64_t n,
                           const struct meta **out)
{
    const struct meta *m = weights_meta(w, key);

    *out = NULL;
    if (!m)
        return OK;
    if (!m->is_array || (m->type == META_STRING) != strings || m->type == META_BOOL)
        return err_set(ERR_FORMAT, "TOK-07", "%s: %s is not an array of %s; the file is damaged "
                       "or was made by a faulty converter", file_name(w), key,
                       strings ? "strings" : "numbers");
    if (!strings && m->n != n)
        return err_set(ERR_FORMAT, "TOK-08", "%s: %s has %llu entries for %llu tokens; convert "
                       "the model again", file_name(w), key, (unsigned long long)m->n,
                       (unsigned long long)n);
    *out = m;
    return OK;
}

static enum err read_tokens(struct tokenizer *t, const struct weights *w)
{
    const struct meta *m;
    struct meta_cursor at = {0};
    const char *text;
    size_t len;
    int32_t id;
    enum err err = find_array(w, KEY("tokens"), true, 0, &m);

    if (err)
        return err;
    if (!m || m->n == 0)
        return err_set(ERR_MISSING, "TOK-09", "%s has no vocabulary (%s); croft logits --ids "
                       "works without one", file_name(w), KEY("tokens"));
    if (m->n > INT32_MAX)
        return err_set(ERR_LIMIT, "TOK-10", "%s: a vocabulary of %llu tokens; the most is %d",
                       file_name(w), (unsigned long long)m->n, INT32_MAX);
    t->token = calloc(m->n, sizeof(*t->token));
    if (!t->token)
        return err_set(ERR_NOMEM, "TOK-11", "no memory for %llu tokens",
                       (unsigned long long)m->n);
    t->info.n_vocab = (int32_t)m->n;
    for (id = 0; id < t->info.n_vocab && meta_next_str(m, &at, &text, &len); id++) {
        if (len > TOKEN_BYTES_MAX)
            return err_set(ERR_FORMAT, "TOK-12", "%s: token %d of %s is %zu bytes long; the "
                           "longest is %d", file_name(w), id, KEY("tokens"), len,
                           TOKEN_BYTES_MAX);
        t->token[id] = (struct token){ text, (uint16_t)len, TOKEN_NORMAL, false };
    }
    return OK;
}

/* Without types the tokens that the file names by id are control tokens all the same. */
static void guess_types(struct tokenizer *t)
{
    const int32_t named[] = { t->info.bos, t->info.eos, t->info.eot, t->info.eom, t->info.pad };
    int32_t id;
    size_t i;

    for (id = 0; t->spm && id < t->info.n_vocab; id++)
        if (byte_token_value(t->token[id].text, t->token[id].len) >= 0)
            t->token[id].type = TOKEN_BYTE;
    for (i = 0; i < sizeof(named) / sizeof(named[0]); i++)
        if (named[i] >= 0)
            t->token[named[i]].type = TOKEN_CONTROL;
    if (t->info.unk >= 0 && t->spm)
        t->token[t->info.unk].type = TOKEN_UNKNOWN;
}

static enum err read_types(struct tokenizer *t, const struct weights *w)
{
    const struct meta *m;
    int32_t id;
    enum err err = find_array(w, KEY("token_type"), false, (uint64_t)t->info.n_vocab, &m);

    if (err)
        return err;
    if (!m)
        guess_types(t);
    for (id = 0; m && id < t->info.n_vocab; id++) {
        int64_t type = m->type == META_FLOAT ? -1 : meta_int(m, (uint64_t)id);
        if (type < 0 || type > TOKEN_BYTE)
            return err_set(ERR_FORMAT, "TOK-13", "%s: %s gives token %d the type %lld; types "
                           "are 1 to 6", file_name(w), KEY("token_type"), id, (long long)type);
        t->token[id].type = (uint8_t)(type ? type : TOKEN_NORMAL);
    }
    return OK;
}

static enum err read_scores(struct tokenizer *t, const struct weights *w)
{
    const struct meta *m;
    int32_t id;
    enum err err = find_array(w, KEY("scores"), false, (uint64_t)t->info.n_vocab, &m);

    if (err || !t->spm)
        return err;
    if (!m)
        return err_set(ERR_FORMAT, "TOK-14", "%s has no %s, which a vocabulary of model "
                       "\"llama\" needs; convert the model again", file_name(w), KEY("scores"));
    t->score = malloc((size_t)t->info.n_vocab * sizeof(*t->score));
    if (!t->score)
        return err_set(ERR_NOMEM, "TOK-15", "no memory for %d scores", t->info.n_vocab);
    for (id = 0; id < t->info.n_vocab; id++) {
        t->score[id] = (float)meta_float(m, (uint64_t)id);
        if (isnan(t->score[id]))
            return err_set(ERR_FORMAT, "TOK-16", "%s: %s is not a number for token %d",
                           file_name(w), KEY("scores"), id);
    }
    return OK;
}

/* ---- ids with a meaning ---- */

/* Converters write "none" as -1, most often in an unsigned field of 32 bits. */
static bool says_none(const struct meta *m)
{
    if (m->is_array || (m->type != META_UINT && m->type != META_INT))
        return false;
    return (m->elem_bytes == 4 && (uint32_t)meta_int(m, 0) == UINT32_MAX) ||
           (m->type == META_INT && meta_int(m, 0) == -1);
}

static enum err read_id(const struct tokenizer *t, const struct weights *w, const char *key,
                        int32_t *id)
{
    const struct meta *m = weights_meta(w, key);
    uint64_t value;
    enum err err;

    *id = -1;
    if (!m || says_none(m))
        return OK;
    err = weights_u64(w, key, 0, 0, (uint64_t)t->info.n_vocab - 1, &value);
    if (!err)
        *id = (int32_t)value;
    return err;
}

/* model.md F.4's texts; a token that has one ends an answer, and is no ordinary text even when
 * the file says so. */
static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>",
    "<end_of_turn>", "<｜end▁of▁sentence｜>",
    "<EOT>", "_<EOT>", "<|EOT|>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
};

void vocab_mark_end(struct tokenizer *t, int32_t id)
{
    if (id >= 0)
        t->token[id].ends = true;
}

static enum err read_ids(struct tokenizer *t, const struct weights *w)
{
    struct tokenizer_info *i = &t->info;
    int32_t fim[3];
    struct { const char *key; int32_t *id; } row[] = {
        { KEY("bos_token_id"), &i->bos }, { KEY("eos_token_id"), &i->eos },
        { KEY("eot_token_id"), &i->eot }, { KEY("eom_token_id"), &i->eom },
        { KEY("unknown_token_id"), &i->unk }, { KEY("padding_token_id"), &i->pad },
        { KEY("fim_pad_token_id"), &fim[0] }, { KEY("fim_rep_token_id"), &fim[1] },
        { KEY("fim_sep_token_id"), &fim[2] },
    };
    enum err err = OK;
    size_t k;

    for (k = 0; k < sizeof(row) / sizeof(row[0]) && !err; k++)
        err = read_id(t, w, row[k].key, row[k].id);
    if (err)
        return err;
    if (t->spm && i->n_vocab > 2) {     /* SentencePiece's own places */
        i->unk = weights_meta(w, KEY("unknown_token_id")) ? i->unk : 0;
        i->bos = weights_meta(w, KEY("bos_token_id")) ? i->bos : 1;
        i->eos = weights_meta(w, KEY("eos_token_id")) ? i->eos : 2;
    }
    vocab_mark_end(t, i->eos);
    vocab_mark_end(t, i->eot);
    vocab_mark_end(t, i->eom);
    for (k = 0; k < 3; k++)
        vocab_mark_end(t, fim[k]);
    return OK;
}

static enum err read_flags(struct tokenizer *t, const struct weights *w)
{
    bool add_bos = t->spm || (pretok_flags(t->pretok) & PRE_ADD_BOS);
    enum err err = weights_bool(w, KEY("add_bos_token"), add_bos, &t->info.add_bos);

    if (!err)
        err = weights_bool(w, KEY("add_eos_token"), false, &t->info.add_eos);
    if (!err)
        err = weights_bool(w, KEY("add_space_prefix"), true, &t->space_prefix);
    t->space_prefix = t->space_prefix && t->spm;
    t->info.add_bos = t->info.add_bos && t->info.bos >= 0;
    t->info.add_eos = t->info.add_eos && t->info.eos >= 0;
    return err;
}

/* ---- indexes ---- */

enum err vocab_index_texts(struct tokenizer *t)
{
    enum err err = slots_init(&t->by_text, (uint64_t)t->info.n_vocab);
    int32_t id, held;
    size_t k;

    if (err)
        return err;
    for (id = 0; id < t->info.n_vocab; id++) {
        uint32_t *slot;
        if (t->token[id].len == 0)
            continue;
        slot = text_slot(t, t->token[id].text, t->token[id].len);
        held = (int32_t)*slot - 1;
        if (held < 0 || (t->token[held].type != TOKEN_NORMAL &&
                         t->token[id].type == TOKEN_NORMAL))
            *slot = (uint32_t)id + 1;
    }
    for (k = 0; k < sizeof(end_texts) / sizeof(end_texts[0]); k++) {
        id = vocab_find(t, end_texts[k], strlen(end_texts[k]));
        vocab_mark_end(t, id);
        if (id >= 0 && t->token[id].type == TOKEN_NORMAL)
            t->token[id].type = TOKEN_CONTROL;
    }
    for (id = 0; id < t->info.n_vocab; id++)
        if (t->token[id].type == TOKEN_NORMAL && t->token[id].len > t->plain_bytes_max)
            t->plain_bytes_max = t->token[id].len;
    return OK;
}

static enum err index_added(struct tokenizer *t)
{
    enum err err = OK;
    int32_t id;

    for (id = 0; id < t->info.n_vocab && !err; id++) {
        const struct token *token = &t->token[id];
        bool added = token->type == TOKEN_CONTROL || token->type == TOKEN_USER;
        if (added || token->type == TOKEN_UNKNOWN)
            err = added_insert(t, id);
        t->info.n_added += added;
    }
    return err;
}

void vocab_index_letters(struct tokenizer *t)
{
    int byte;

    for (byte = 0; byte < 256; byte++) {
        char letter[UTF8_MAX];
        int n = utf8_put(byte_letter((uint8_t)byte), letter);
        t->byte_id[byte] = vocab_find_plain(t, letter, (size_t)n);
    }
}

static enum err index_bytes(struct tokenizer *t, const struct weights *w)
{
    int32_t id;
    int byte;

    if (!t->spm) {
        vocab_index_letters(t);
        return OK;
    }
    for (byte = 0; byte < 256; byte++)
        t->byte_id[byte] = -1;
    for (id = 0; id < t->info.n_vocab; id++) {
        if (t->token[id].type != TOKEN_BYTE)
            continue;
        byte = byte_token_value(t->token[id].text, t->token[id].len);
        if (byte < 0)
            return err_set(ERR_FORMAT, "TOK-17", "%s: token %d is of type byte but its text is "
                           "\"%.*s\", not <0x00> to <0xFF>", file_name(w), id,
                           t->token[id].len > 32 ? 32 : t->token[id].len, t->token[id].text);
        if (t->byte_id[byte] < 0)
            t->byte_id[byte] = id;
    }
    return OK;
}

enum err vocab_reserve_merges(struct tokenizer *t, uint64_t n)
{
    t->merge = malloc((n + 1) * sizeof(*t->merge));
    if (!t->merge)
        return err_set(ERR_NOMEM, "TOK-22", "no memory for %llu merges", (unsigned long long)n);
    return slots_init(&t->by_pair, n);
}

/* A merge that reads or makes a token which plain text must not give is in no table. */
void vocab_add_merge(struct tokenizer *t, const struct merge *m, bool last)
{
    uint32_t *slot = pair_slot(t, m->left, m->right);

    t->merge[t->n_merge++] = *m;
    if ((last || !*slot) && t->token[m->left].type == TOKEN_NORMAL &&
        t->token[m->right].type == TOKEN_NORMAL && t->token[m->result].type == TOKEN_NORMAL)
        *slot = t->n_merge;
}

/* "left right" -> ids.  One whose texts are not in the vocabulary at all is an error, as it
 * is where these files come from. */
static enum err read_merge(struct tokenizer *t, const struct weights *w, uint64_t n,
                           const char *text, size_t len)
{
    const char *space = len > 1 ? memchr(text + 1, ' ', len - 1) : NULL;
    size_t left = space ? (size_t)(space - text) : 0, right = space ? len - left - 1 : 0;
    char joined[TOKEN_BYTES_MAX];
    struct merge m;

    if (!left || !right || left + right > sizeof(joined))
        return err_set(ERR_FORMAT, "TOK-18", "%s: entry %llu of %s is not two token texts with a "
                       "space between", file_name(w), (unsigned long long)n, KEY("merges"));
    memcpy(joined, text, left);
    memcpy(joined + left, space + 1, right);
    m.left = vocab_find(t, text, left);
    m.right = vocab_find(t, space + 1, right);
    m.result = vocab_find(t, joined, left + right);
    if (m.left < 0 || m.right < 0 || m.result < 0)
        return err_set(ERR_FORMAT, "TOK-19", "%s: entry %llu of %s (\"%.*s\") uses a text that "
                       "is not in the vocabulary; convert the model again", file_name(w),
                       (unsigned long long)n, KEY("merges"), len > 64 ? 64 : (int)len, text);
    vocab_add_merge(t, &m, false);
    return OK;
}

static enum err read_merges(struct tokenizer *t, const struct weights *w)
{
    const struct meta *m;
    struct meta_cursor at = {0};
    const char *text;
    size_t len;
    uint64_t n = 0;
    enum err err = find_array(w, KEY("merges"), true, 0, &m);

    if (err)
        return err;
    if (!m)
        return err_set(ERR_FORMAT, "TOK-20", "%s has no %s, which a vocabulary of model \"gpt2\" "
                       "needs; convert the model again", file_name(w), KEY("merges"));
    if (m->n > INT32_MAX)
        return err_set(ERR_LIMIT, "TOK-21", "%s: %llu merges; the most is %d", file_name(w),
                       (unsigned long long)m->n, INT32_MAX);
    err = vocab_reserve_merges(t, m->n);
    while (!err && n < m->n && meta_next_str(m, &at, &text, &len))
        err = read_merge(t, w, n++, text, len);
    return err;
}

/* ---- all of it ---- */

static enum err read_model(struct tokenizer *t, const struct weights *w)
{
    const char *model, *pre;
    size_t len, pre_len;
    enum err err = weights_str(w, KEY("model"), NULL, &model, &len);

    if (err)
        return err;
    if (!model)
        return err_set(ERR_MISSING, "TOK-23", "%s has no tokenizer (%s); croft logits --ids works "
                       "without one", file_name(w), KEY("model"));
    t->info.pre = "";
    t->spm = len == 5 && !memcmp(model, "llama", 5);
    t->info.model = t->spm ? "llama" : "gpt2";
    if (t->spm)
        return OK;
    if (len != 4 || memcmp(model, "gpt2", 4))
        return err_set(ERR_ARG, "TOK-24", "%s: tokenizer model \"%.*s\" is not supported, gpt2 "
                       "and llama are; ids work: croft logits --ids", file_name(w),
                       len > 64 ? 64 : (int)len, model);
    err = weights_str(w, KEY("pre"), "default", &pre, &pre_len);
    if (err)
        return err;
    if (!weights_meta(w, KEY("pre")))
        term_warn("%s does not name its pre-tokenizer (%s), as old files do not: gpt-2's is "
                  "used, and other models' text may be cut wrongly; convert the model again",
                  file_name(w), KEY("pre"));
    err = pretok_new(&t->pretok, pre, pre_len, false);
    if (err)
        return err_wrap(err, "%s", file_name(w));
    t->info.pre = pretok_name(t->pretok);
    return OK;
}

enum err vocab_load(struct tokenizer *t, const struct weights *w)
{
    enum err err = read_model(t, w);

    if (!err)
        err = read_tokens(t, w);
    if (!err)
        err = read_ids(t, w);
    if (!err)
        err = read_flags(t, w);
    if (!err)
        err = read_types(t, w);
    if (!err)
        err = read_scores(t, w);
    if (!err)
        err = vocab_index_texts(t);
    if (!err)
        err = index_added(t);
    if (!err)
        err = index_bytes(t, w);
    if (!err && !t->spm)
        err = read_merges(t, w);
    return err;
}
