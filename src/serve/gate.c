/* gate.c - see gate.h. */
#include "serve/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum err gate_open(struct gate *g, const char *path)
{
    *g = (struct gate){ .path = path };
    return path ? keys_load(&g->keys, path) : OK;
}

enum err gate_reload(struct gate *g)
{
    return g->path ? keys_reload(&g->keys, g->path) : OK;
}

void gate_close(struct gate *g)
{
    keys_free(g->keys);
    free(g->guest);
    *g = (struct gate){ 0 };
}

const struct key *gate_key(const struct gate *g, const struct head *h, unsigned scopes,
                           enum fault *f)
{
    const struct key *key = NULL;

    *f = FAULT_unauthorised;
    if (!g->keys || keys_check(g->keys, keys_token(h), time(NULL), &key) != KEY_OK)
        return NULL;
    *f = key->scopes & scopes ? FAULT_none : FAULT_forbidden;
    return key;
}

/* SIZE_MAX without memory. */
static size_t meet(struct gate *g, char kind, const char *id)
{
    char name[sizeof(g->guest->name)];
    struct gate_guest *grown;

    snprintf(name, sizeof(name), "%c:%s", kind, id);
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->guest[i].name, name))
            return i;
    if (g->n == g->cap) {
        grown = realloc(g->guest, (2 * g->cap + 16) * sizeof(*grown));
        if (!grown)
            return SIZE_MAX;
        g->guest = grown;
        g->cap = 2 * g->cap + 16;
    }
    g->guest[g->n] = (struct gate_guest){ 0 };
    memcpy(g->guest[g->n].name, name, sizeof(name));
    return g->n++;
}

static double fill(double level, double per_minute, double seconds)
{
    level += per_minute * seconds / 60;
    return level < per_minute ? level : per_minute;
}

static enum gate_verdict judge(struct gate_guest *v, const struct key *k, int64_t n_tok,
                               double now, double *wait_s)
{
    double rpm = (double)k->requests_per_minute, tpm = (double)k->tokens_per_minute;
    double seconds = v->met ? now - v->at : 60;

    v->n_request = v->met ? fill(v->n_request, rpm, seconds) : rpm;
    v->n_tok = v->met ? fill(v->n_tok, tpm, seconds) : tpm;
    v->at = now;
    v->met = true;
    *wait_s = 1;
    if (k->in_flight && v->in_flight >= k->in_flight)
        return GATE_IN_FLIGHT;
    if (k->requests_per_minute && v->n_request < 1) {
        *wait_s = (1 - v->n_request) * 60 / rpm;
        return GATE_REQUESTS;
    }
    /* a prompt larger than the bucket passes when the bucket is full, and leaves a debt */
    double need = (double)n_tok < tpm ? (double)n_tok : tpm;
    if (k->tokens_per_minute && v->n_tok < need) {
        *wait_s = (need - v->n_tok) * 60 / tpm;
        return GATE_TOKENS;
    }
    v->n_request -= 1;
    v->n_tok -= (double)n_tok;
    v->in_flight++;
    return GATE_OK;
}

enum gate_verdict gate_enter(struct gate *g, const char *id, int64_t n_tok, double now,
                             struct gate_pass *pass)
{
    const struct key *k = g->keys && *id ? keys_find(g->keys, id, strlen(id)) : NULL;
    size_t group;

    *pass = (struct gate_pass){ 0 };
    if (!k)
        return GATE_OK;
    pass->guest = meet(g, 'k', id);
    group = pass->guest != SIZE_MAX && *k->group ? meet(g, 'g', k->group) : pass->guest;
    if (group == SIZE_MAX)
        return GATE_NO_MEMORY;
    pass->party = group + 1;
    pass->has_guest = true;
    return judge(&g->guest[pass->guest], k, n_tok, now, &pass->wait_s);
}

void gate_leave(struct gate *g, const struct gate_pass *pass, int64_t n_tok)
{
    if (!pass->has_guest)
        return;
    g->guest[pass->guest].in_flight--;
    g->guest[pass->guest].n_tok -= (double)n_tok;
}
