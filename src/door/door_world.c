/* door_world.c - one loaded configuration and all that follows from it: rules, prices, patterns,
 * secrets, breakers, lanes, books. */
#include "door/door_form.h"

#include "base/file.h"
#include "gateway/prove.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECRET_BYTES_MAX = 4096 };

/* Half of it would be worse than none: what the file asks for and is not done is refused. */
static enum err check_done(const struct config *c)
{
    if (c->listen.log.text || c->listen.trace.file)
        return err_set(ERR_ARG, "DOOR-03", "listen: this version writes no prompts and answers to "
                       "a log or trace; set text: false and leave trace out");
    return OK;
}

static enum err check_proof(const struct config *c, const struct policy *p, const char *path)
{
    struct proof *proof = malloc(sizeof(*proof));
    enum err e = proof ? prove(proof, c, p) : err_set(ERR_NOMEM, "DOOR-05",
                                                      "no memory for a proof");

    if (!e && proof->n_counter)
        e = err_set(ERR_FORMAT, "DOOR-06", "%s is refuted: its rules let happen what never %s says "
                    "must not; croft gateway check -c %s shows how", path,
                    c->never[proof_shortest(proof)->never].name, path);
    free(proof);
    return e;
}

/* "env:NAME", "file:PATH": what stands there, without white space at its end. */
static enum err read_secret(char **out, const char *ref, const char *whose)
{
    const char *from_env = strncmp(ref, "env:", 4) ? NULL : getenv(ref + 4);
    size_t len = 0;
    enum err e = OK;

    *out = NULL;
    if (!strncmp(ref, "file:", 5))
        e = file_read_text(out, &len, ref + 5, SECRET_BYTES_MAX);
    else if (from_env && !(*out = strdup(from_env)))
        e = err_set(ERR_NOMEM, "DOOR-07", "no memory for a key");
    if (e)
        return e;
    if (*out)
        for (len = strlen(*out); len && strchr(" \t\r\n", (*out)[len - 1]);)
            (*out)[--len] = '\0';
    for (size_t i = 0; *out && i < len; i++)
        if ((*out)[i] <= ' ' || (*out)[i] > '~')
            return err_set(ERR_FORMAT, "DOOR-08", "the key %.80s of %s has white space or "
                           "characters that no header can hold", ref, whose);
    if (!*out || !len)
        return err_set(ERR_MISSING, "DOOR-09", "the key %.80s of %s is not there; set it, or take "
                       "it out of the file", ref, whose);
    return OK;
}

const struct wire_dialect *world_dialect(const struct config_upstream *u)
{
    static const char *const dialects[DIALECT_N] = { "chat", "responses", "messages" };

    return wire_dialect_find(dialects[u->dialect]);
}

static enum err make_upstream(struct world *w, unsigned i)
{
    const struct config_upstream *u = &w->c->upstreams[i];
    struct world_upstream *to = &w->upstream[i];
    enum err e = OK;

    to->dialect = world_dialect(u);
    to->lane = lane_take(&w->d->lanes, u->name, u->max_in_flight);
    to->key = calloc(u->keys_count + 1, sizeof(char *));
    if (!to->lane || !to->key)
        return err_set(ERR_NOMEM, "DOOR-10", "no memory for upstream %s", u->name);
    for (unsigned k = 0; !e && k < u->keys_count; k++, to->n_key++)
        e = read_secret(&to->key[k], u->keys[k], u->name);
    return e;
}

/* Secrets are forgotten when the sealer has them. */
static enum err make_sealer(struct world *w)
{
    const struct config *c = w->c;
    char *secret[KEPT_KEYS_MAX] = { NULL };
    enum err e = OK;
    int n = 0;

    for (; !e && n < (int)c->state.kept_keys_count; n++)
        e = read_secret(&secret[n], c->state.kept_keys[n], "state.kept_keys");
    if (!e && n)
        e = sealer_new(&w->sealer, (const char *const *)secret, n);
    for (int i = 0; i < n; i++) {
        if (secret[i])
            explicit_bzero(secret[i], strlen(secret[i]));
        free(secret[i]);
    }
    return e;
}

static enum err make_label(struct world *w, unsigned i)
{
    const struct config_label *l = &w->c->labels[i];
    struct world_label *to = &w->label[i];
    enum err e = OK;

    if (!(to->pattern = calloc(l->patterns_count + 1, sizeof(*to->pattern))))
        return err_set(ERR_NOMEM, "DOOR-11", "no memory for label %s", l->name);
    for (unsigned k = 0; !e && k < l->patterns_count; k++, to->n++)
        e = pattern_new(&to->pattern[k], l->patterns[k], strlen(l->patterns[k]));
    return e ? err_wrap(e, "label %s", l->name) : OK;
}

static enum err find_prices(struct world *w)
{
    const struct config *c = w->c;
    struct buf none = { 0 };
    enum err e = OK;

    for (; !e && w->n_prices < c->prices.files_count; w->n_prices++)
        e = prices_load(&w->prices[w->n_prices], c->prices.files[w->n_prices]);
    for (unsigned i = 0; !e && i < c->models_count; i++) {
        const struct config_model *m = &c->models[i];
        const char *name = m->price ? m->price : m->as ? m->as : m->name;
        for (unsigned k = 0; k < w->n_prices && !w->price[i]; k++)
            w->price[i] = prices_find(w->prices[k], name);
        if (!w->price[i])
            buf_printf(&none, "%s%s", none.len ? ", " : "", m->name);
    }
    if (!e && none.len)
        term_note("without a price, so that what they cost is not counted: %s", buf_text(&none));
    buf_release(&none);
    return e;
}

/* Upstreams have secrets and lanes: where nothing is sent, without a door, they are left out. */
static enum err make_parts(struct world *w)
{
    const struct config *c = w->c;
    enum err e = OK;

    w->prices = calloc(c->prices.files_count + 1, sizeof(*w->prices));
    w->price = calloc(c->models_count + 1, sizeof(*w->price));
    w->upstream = calloc(c->upstreams_count + 1, sizeof(*w->upstream));
    w->label = calloc(c->labels_count + 1, sizeof(*w->label));
    if (!w->prices || !w->price || !w->upstream || !w->label)
        return err_set(ERR_NOMEM, "DOOR-12", "no memory for a configuration");
    for (unsigned i = 0; !e && w->d && i < c->upstreams_count; i++)
        e = make_upstream(w, i);
    if (!e && w->d)
        e = make_sealer(w);
    for (unsigned i = 0; !e && i < c->labels_count; i++)
        e = make_label(w, i);
    return e ? e : find_prices(w);
}

static void world_free(struct world *w)
{
    struct config *c = w->c;

    books_drop(w->books);
    for (unsigned i = 0; w->d && w->upstream && c && i < c->upstreams_count; i++) {
        lane_drop(&w->d->lanes, w->upstream[i].lane);
        for (unsigned k = 0; w->upstream[i].key && k < c->upstreams[i].keys_count; k++)
            free(w->upstream[i].key[k]);
        free(w->upstream[i].key);
    }
    for (unsigned i = 0; w->label && c && i < c->labels_count; i++) {
        for (unsigned k = 0; k < w->label[i].n; k++)
            pattern_free(w->label[i].pattern[k]);
        free(w->label[i].pattern);
    }
    for (unsigned i = 0; w->prices && i < w->n_prices; i++)
        prices_free(w->prices[i]);
    free(w->prices);
    free(w->price);
    free(w->upstream);
    free(w->label);
    sealer_free(w->sealer);
    circuits_free(w->circuits);
    policy_free(w->policy);
    config_free(c);
    free(w);
}

enum err world_new(struct world **out, struct door *d, const char *path)
{
    struct world *w = calloc(1, sizeof(*w));
    enum err e;

    *out = NULL;
    if (!w)
        return err_set(ERR_NOMEM, "DOOR-13", "no memory for a configuration");
    w->d = d;
    w->refs = 1;
    w->made = (int64_t)time(NULL);
    e = config_load(&w->c, path);
    if (!e)
        e = check_done(w->c);
    if (!e)
        e = policy_new(&w->policy, w->c);
    if (!e)
        e = check_proof(w->c, w->policy, path);
    if (!e)
        e = make_parts(w);
    if (!e)
        e = circuits_new(&w->circuits, w->c, d && d->world ? d->world->circuits : NULL);
    if (!e && d)
        e = books_take(&w->books, d, w->c);
    if (e) {
        world_free(w);
        return e;
    }
    *out = w;
    return OK;
}

void world_drop(struct world *w)
{
    if (w && !--w->refs)
        world_free(w);
}
