/* added.c - added tokens in CONTROL text: a trie of their literal texts.
 *
 * A lookup walks at most the longest added text, so splitting is linear in the text. */
#include "text/vocab.h"

#include <stdlib.h>

static uint32_t *find_link(struct tokenizer *t, uint32_t parent, uint8_t byte)
{
    uint32_t *link = parent ? &t->trie[parent].child : &t->trie_root[byte];

    while (*link && t->trie[*link].byte != byte)
        link = &t->trie[*link].sibling;
    return link;
}

static enum err trie_grow(struct tokenizer *t)
{
    uint32_t cap = t->cap_trie ? t->cap_trie * 2 : 1024;
    struct trie_node *grown;

    if (t->n_trie + 1 < t->cap_trie)
        return OK;
    grown = cap > t->cap_trie ? realloc(t->trie, cap * sizeof(*grown)) : NULL;
    if (!grown)
        return err_set(ERR_NOMEM, "TOK-02", "no memory for the added tokens");
    t->trie = grown;
    t->cap_trie = cap;
    return OK;
}

enum err added_insert(struct tokenizer *t, int32_t id)
{
    const struct token *token = &t->token[id];
    uint32_t node = 0, *link;
    size_t i;

    for (i = 0; i < token->len; i++) {
        uint8_t byte = (uint8_t)token->text[i];
        enum err err = trie_grow(t);
        if (err)
            return err;
        link = find_link(t, node, byte);
        if (!*link) {
            *link = ++t->n_trie;
            t->trie[t->n_trie] = (struct trie_node){ .id = -1, .byte = byte };
        }
        node = *link;
    }
    if (node && t->trie[node].id < 0)
        t->trie[node].id = id;
    return OK;
}

int32_t added_match(const struct tokenizer *t, const char *text, size_t len, size_t *matched)
{
    uint32_t node = len ? t->trie_root[(uint8_t)text[0]] : 0;
    int32_t id = -1;
    size_t at = 1;

    while (node) {
        if (t->trie[node].id >= 0) {
            id = t->trie[node].id;
            *matched = at;
        }
        if (at == len)
            break;
        node = t->trie[node].child;
        while (node && t->trie[node].byte != (uint8_t)text[at])
            node = t->trie[node].sibling;
        at++;
    }
    return id;
}
