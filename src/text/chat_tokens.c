/* chat_tokens.c - a rendered conversation as token ids: chat_tokenize() of chat.h. */
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

/* Encode the spans from `first` on that are alike in `sampled`, and set *next behind them.  They
 * go to the tokenizer together, so that words may join across spans of a prompt; a sampled
 * span's borders are borders of tokens by nature, and stay so. */
static enum err encode_run(const struct chat_text *c, const struct tokenizer *t, size_t first,
                           struct tok_list *out, size_t *next)
{
    struct text_seg *seg = calloc(c->n_span - first, sizeof(*seg));
    size_t n = 0;
    enum err e;

    if (!seg)
        return err_set(ERR_NOMEM, "CHAT-03", "out of memory for %zu pieces of a conversation; "
                       "close other programs and try again", c->n_span - first);
    for (; first + n < c->n_span && c->span[first + n].sampled == c->span[first].sampled; n++) {
        const struct text_span *s = &c->span[first + n];
        seg[n] = (struct text_seg){ s->kind, c->text.data + s->start, s->len };
    }
    e = tokenizer_encode(t, seg, n, out);
    free(seg);
    *next = first + n;
    return e;
}

/* Make the kinds reach `to`, those from `from` on being `sampled`. */
static enum err kind_fill(unsigned char **kind, size_t from, size_t to, bool sampled)
{
    unsigned char *grown = realloc(*kind, to + 1);

    if (!grown)
        return err_set(ERR_NOMEM, "CHAT-04", "out of memory for %zu tokens of a conversation; "
                       "close other programs and try again", to);
    memset(grown + from, sampled, to - from);
    *kind = grown;
    return OK;
}

enum err chat_tokenize(const struct chat_text *c, const struct tokenizer *t, struct tok_list *out,
                       unsigned char **kind)
{
    const struct tokenizer_info *info = tokenizer_info(t);
    bool add_bos = info->add_bos && info->bos >= 0;
    unsigned char *k = NULL;
    enum err e = OK;

    ASSERT(out->n == 0);
    if (kind)
        *kind = NULL;
    if (add_bos)
        e = tok_list_add(out, info->bos);
    if (!e)
        e = kind_fill(&k, 0, out->n, false);
    for (size_t i = 0, n; !e && i < c->n_span; ) {
        bool sampled = c->span[i].sampled, first = i == 0;

        n = out->n;
        e = encode_run(c, t, i, out, &i);
        /* The rendering has its own BOS: the one that was added goes.  A BOS that a person
         * spelled out is ordinary text and does not count. */
        if (!e && first && add_bos && out->n > 1 && c->span[0].kind == TEXT_CONTROL &&
            out->id[1] == info->bos) {
            memmove(out->id, out->id + 1, --out->n * sizeof(*out->id));
            n = 0;
        }
        if (!e)
            e = kind_fill(&k, n, out->n, sampled);
    }
    if (!e && kind) {
        *kind = k;
        return OK;
    }
    free(k);
    if (e)
        out->n = 0;
    return e;
}
