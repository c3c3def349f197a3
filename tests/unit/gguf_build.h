/* gguf_build.h - GGUF files for tests, from a line of words: broken ones are as easy as whole.
 *
 * Words, separated by spaces:
 *   h:T,M          magic, version 3, T tensors, M metadata entries
 *   'text          the bytes of text          "text        u64 length, then the bytes
 *   1:n 2:n 4:n 8:n  an integer of that many bytes (C notation, may be negative)
 *   f:1.5          an f32                     x:80ff       bytes in hexadecimal
 *   u:key=7        a u32 entry                s:key=text   a string entry
 *   t:name,type,offset,ne0,ne1..  a tensor    p:32         zeros to a multiple of 32
 *   z:100          100 zeros
 */
#ifndef TESTS_GGUF_BUILD_H
#define TESTS_GGUF_BUILD_H

#include "base/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline void build_int(struct buf *b, uint64_t value, size_t bytes)
{
    buf_add(b, &value, bytes);
}

static inline void build_text(struct buf *b, const char *text, size_t len)
{
    build_int(b, len, 8);
    buf_add(b, text, len);
}

static inline void build_entry(struct buf *b, char kind, const char *word)
{
    size_t key = strcspn(word, "=");

    build_text(b, word, key);
    build_int(b, kind == 'u' ? 4 : 8, 4);
    if (kind == 'u')
        build_int(b, strtoull(word + key + 1, NULL, 0), 4);
    else
        build_text(b, word + key + 1, strlen(word + key + 1));
}

static inline void build_tensor(struct buf *b, const char *word)
{
    size_t name = strcspn(word, ",");
    uint64_t number[16] = { 0 };
    uint32_t n = 0;

    build_text(b, word, name);
    for (const char *at = word + name; *at == ',' && n < 16; n++) {
        char *end;
        number[n] = strtoull(at + 1, &end, 0);
        at = end;
    }
    build_int(b, n - 2, 4);
    for (uint32_t d = 2; d < n; d++)
        build_int(b, number[d], 8);
    build_int(b, number[0], 4);
    build_int(b, number[1], 8);
}

static inline void build_zeros(struct buf *b, size_t n)
{
    while (n--)
        buf_add(b, "", 1);
}

static inline void build_hex(struct buf *b, const char *hex)
{
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = { hex[0], hex[1], '\0' };
        build_int(b, strtoull(pair, NULL, 16), 1);
    }
}

static inline void build_word(struct buf *b, const char *w)
{
    size_t to = strtoull(w + 1 + (w[1] == ':'), NULL, 0);
    char *end;
    float f;

    switch (w[0]) {
    case '\'': buf_puts(b, w + 1); break;
    case '"':  build_text(b, w + 1, strlen(w + 1)); break;
    case '1': case '2': case '4': case '8':
        build_int(b, w[2] == '-' ? (uint64_t)strtoll(w + 2, NULL, 0) : strtoull(w + 2, NULL, 0),
                  (size_t)(w[0] - '0'));
        break;
    case 'f':
        f = strtof(w + 2, NULL);
        buf_add(b, &f, sizeof(f));
        break;
    case 'h':
        buf_add(b, "GGUF\3\0\0", 8);
        build_int(b, strtoull(w + 2, &end, 0), 8);
        build_int(b, strtoull(end + 1, NULL, 0), 8);
        break;
    case 'x': build_hex(b, w + 2); break;
    case 'u': case 's': build_entry(b, w[0], w + 2); break;
    case 't': build_tensor(b, w + 2); break;
    case 'p': build_zeros(b, (to - b->len % to) % to); break;
    case 'z': build_zeros(b, to); break;
    default: abort();
    }
}

/* Append what the words say. */
static inline void build_gguf(struct buf *b, const char *words)
{
    char word[256];

    while (*words) {
        size_t len = strcspn(words, " ");
        ASSERT(len < sizeof(word));
        memcpy(word, words, len);
        word[len] = '\0';
        if (len)
            build_word(b, word);
        words += len + (words[len] == ' ');
    }
}

#endif
