/* lookup.c - chains of places by the hash of the tokens before them, newest first.
 *
 * Place p stands behind token p - 1.  A chain's links point to older places; one that fell out of
 * the window, or whose slot was used again, is not older than the one before it or not within the
 * window, and ends the chain. */
#include "engine/lookup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { N_KEY = 2, WINDOW_MIN = 256 };

static const int key_len[N_KEY] = { LOOKUP_LONG, LOOKUP_SHORT };

struct lookup {
    int64_t n, window;                  /* tokens added; a power of two */
    int32_t *id;                        /* [window], token p at p % window */
    int32_t *head[N_KEY];               /* [window], by hash: the newest place; 0: none */
    int32_t *older[N_KEY];              /* [window], by place % window */
};

static int64_t slot(const struct lookup *x, int64_t p)
{
    return p & (x->window - 1);
}

/* Of the n tokens before place p. */
static int64_t hash_before(const struct lookup *x, int64_t p, int n)
{
    uint64_t h = 0;

    for (int i = 1; i <= n; i++)
        h = (h ^ (uint32_t)x->id[slot(x, p - i)]) * 0x9e3779b97f4a7c15u;
    return slot(x, (int64_t)(h >> 40));
}

enum err lookup_new(struct lookup **out, int64_t n_ctx)
{
    struct lookup *x = calloc(1, sizeof(*x));
    bool whole = x != NULL;

    *out = NULL;
    if (x) {
        x->window = WINDOW_MIN;
        while (x->window < n_ctx && x->window < LOOKUP_WINDOW_MAX)
            x->window *= 2;
        x->id = calloc((size_t)x->window, sizeof(*x->id));
        whole = x->id != NULL;
        for (int k = 0; k < N_KEY; k++) {
            x->head[k] = calloc((size_t)x->window, sizeof(*x->head[k]));
            x->older[k] = calloc((size_t)x->window, sizeof(*x->older[k]));
            whole = whole && x->head[k] && x->older[k];
        }
    }
    if (!whole) {
        lookup_free(x);
        return err_set(ERR_NOMEM, "LOOKUP-01", "no memory to index the text; use --draft off");
    }
    *out = x;
    return OK;
}

void lookup_free(struct lookup *x)
{
    if (!x)
        return;
    for (int k = 0; k < N_KEY; k++) {
        free(x->head[k]);
        free(x->older[k]);
    }
    free(x->id);
    free(x);
}

void lookup_reset(struct lookup *x)
{
    for (int k = 0; k < N_KEY && x->n; k++)
        memset(x->head[k], 0, (size_t)x->window * sizeof(*x->head[k]));
    x->n = 0;
}

/* The place before this token is found by what stands before it: it is entered with the token. */
void lookup_add(struct lookup *x, int32_t id)
{
    int64_t p = x->n;

    if (p == INT32_MAX)                 /* a text of 2^31 tokens: begin anew */
        lookup_reset(x);
    for (int k = 0; k < N_KEY && p < INT32_MAX; k++) {
        if (p < key_len[k])
            continue;
        int64_t h = hash_before(x, p, key_len[k]);
        x->older[k][slot(x, p)] = x->head[k][h];
        x->head[k][h] = (int32_t)p;
    }
    x->id[slot(x, x->n)] = id;
    x->n++;
}

/* Tokens that agree before place p and before the end. */
static int match_before(const struct lookup *x, int64_t p)
{
    int64_t oldest = x->n > x->window ? x->n - x->window : 0;
    int most = p - oldest < LOOKUP_MATCH_MAX ? (int)(p - oldest) : LOOKUP_MATCH_MAX, i = 0;

    while (i < most && x->id[slot(x, p - 1 - i)] == x->id[slot(x, x->n - 1 - i)])
        i++;
    return i;
}

static int64_t find_place(const struct lookup *x, int k, int *match)
{
    int64_t best = -1, last = x->n;

    if (x->n < key_len[k])
        return -1;
    int64_t p = x->head[k][hash_before(x, x->n, key_len[k])];
    for (int i = 0; i < LOOKUP_TRIES && p > 0 && p < last && p > x->n - x->window; i++) {
        int m = match_before(x, p);
        if (m >= key_len[k] && m > *match) {
            best = p;
            *match = m;
        }
        if (m == LOOKUP_MATCH_MAX)
            break;
        last = p;
        p = x->older[k][slot(x, p)];
    }
    return best;
}

int lookup_find(const struct lookup *x, int32_t *out, int n, int *match)
{
    int64_t p = -1;

    *match = 0;
    for (int k = 0; k < N_KEY && p < 0; k++)
        p = find_place(x, k, match);
    if (p < 0)
        return 0;
    n = n < 2 * *match ? n : 2 * *match;
    for (int i = 0; i < n; i++)
        out[i] = p + i < x->n ? x->id[slot(x, p + i)] : out[p + i - x->n];
    return n;
}
