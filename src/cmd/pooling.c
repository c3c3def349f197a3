/* pooling.c - see pooling.h. */
#include "cmd/pooling.h"

#include "cmd/cmd_table.h"

#include <stdio.h>
#include <string.h>

/* llama.cpp's numbers of pooling_type; what is not here (4 ranks, it embeds nothing) is refused. */
static const struct { const char *name; uint64_t gguf; const char *hf; enum serve_pool pool; }
ways[] = {
    { "mean", 1, "pooling.pooling_mode_mean_tokens", SERVE_POOL_MEAN },
    { "cls",  2, "pooling.pooling_mode_cls_token",   SERVE_POOL_CLS },
    { "last", 3, "pooling.pooling_mode_lasttoken",   SERVE_POOL_LAST },
};
enum { N_WAY = sizeof(ways) / sizeof(*ways) };

static enum err unknown(const struct loaded *l, const char *what)
{
    return err_set(ERR_ARG, "POOLING-01", "%s: makes embeddings in a way that croft has not (%s); "
                   "--pooling last, mean or cls makes them all the same", l->path, what);
}

static enum err of_file(enum serve_pool *out, const struct loaded *l)
{
    char key[96], what[40];
    uint64_t type;
    enum err e;

    snprintf(key, sizeof(key), "%s.pooling_type", model_info(l->model)->arch);
    e = weights_u64(l->weights, key, 0, 0, UINT32_MAX, &type);
    for (int i = 0; i < N_WAY && e == OK; i++)
        if (ways[i].gguf == type) {
            *out = ways[i].pool;
            return OK;
        }
    snprintf(what, sizeof(what), "pooling_type %llu", (unsigned long long)type);
    return e == OK && type ? unknown(l, what) : e;
}

/* Exactly one way may be on. */
static enum err of_folder(enum serve_pool *out, const struct loaded *l)
{
    static const char prefix[] = "pooling.pooling_mode_";
    enum err e = OK;
    int n_on = 0;

    for (uint64_t i = 0; i < l->weights->n_meta && e == OK; i++) {
        const char *key = l->weights->meta[i].key;
        bool on = false, found = false;
        if (strncmp(key, prefix, sizeof(prefix) - 1) || l->weights->meta[i].type != META_BOOL)
            continue;
        e = weights_bool(l->weights, key, false, &on);
        for (int k = 0; k < N_WAY && on; k++)
            if (!strcmp(key, ways[k].hf)) {
                *out = ways[k].pool;
                found = true;
            }
        n_on += on;
        if (e == OK && ((on && !found) || n_on > 1))
            e = unknown(l, key);
    }
    return e;
}

enum err pooling_choose(enum serve_pool *out, const struct loaded *l, const struct opt_set *o)
{
    const char *asked = opt_text(o, OPT_pooling);

    *out = SERVE_POOL_LAST;
    for (int i = 0; i < N_WAY; i++)
        if (!strcmp(asked, ways[i].name)) {
            *out = ways[i].pool;
            return OK;
        }
    return l->weights->hf ? of_folder(out, l) : of_file(out, l);
}
