/* door_small.c - the routes that ask nobody: names of models, health, an estimate of tokens. */
#include "door/door_form.h"

#include "refuse/refuse.h"

#include <stdlib.h>
#include <string.h>

static void reply(struct call *c, int status, struct buf *body)
{
    call_reply(c, status, "application/json", buf_text(body), body->len);
    buf_release(body);
}

/* ---- models --------------------------------------------------------------------------------- */

struct shelf {
    const struct world *w;
    const struct who *who;
    struct wire_model *row;
    size_t n;
};

static void add(struct shelf *s, const char *name, uint64_t context, uint64_t output)
{
    const struct config *c = s->w->c;

    if (choice_in_scope(c, &s->who->names, name) && choice_in_scope(c, &s->who->team_names, name))
        s->row[s->n++] = (struct wire_model){ .id = name, .owner = "croft", .created = s->w->made,
                                              .n_ctx = (int64_t)context,
                                              .n_out = (int64_t)output };
}

/* Groups, models, aliases: what the key may name. */
static enum err fill(struct shelf *s)
{
    const struct config *c = s->w->c;
    size_t n = c->groups_count + c->models_count;

    for (unsigned i = 0; i < c->models_count; i++)
        n += c->models[i].aliases_count;
    if (!(s->row = calloc(n + 1, sizeof(*s->row))))
        return err_set(ERR_NOMEM, "DOOR-20", "no memory for a list of models");
    for (unsigned i = 0; i < c->groups_count; i++)
        add(s, c->groups[i].name, 0, 0);
    for (unsigned i = 0; i < c->models_count; i++) {
        const struct config_model *m = &c->models[i];
        add(s, m->name, m->context, m->max_output);
        for (unsigned k = 0; k < m->aliases_count; k++)
            add(s, m->aliases[k], m->context, m->max_output);
    }
    return OK;
}

static bool list(struct shelf *s, struct who *who, const struct door *d, struct call *c)
{
    enum fault f = who_asks(who, d->world, c);

    *s = (struct shelf){ .w = d->world, .who = who };
    if (!f && fill(s))
        f = FAULT_memory;
    if (f)
        call_fail(c, f);
    return !f;
}

void door_models(struct call *c, void *door)
{
    struct buf body = { 0 };
    struct shelf s;
    struct who who;

    if (!list(&s, &who, door, c))
        return;
    wire_models_write(&body, s.row, s.n);
    free(s.row);
    reply(c, 200, &body);
}

void door_model(struct call *c, void *door)
{
    struct piece id = call_param(c, 0);
    struct buf body = { 0 };
    struct wire_error why;
    struct shelf s;
    struct who who;
    size_t i = 0;

    if (!list(&s, &who, door, c))
        return;
    while (i < s.n && !piece_is(id, s.row[i].id))
        i++;
    if (i < s.n) {
        wire_model_write(&body, &s.row[i]);
        reply(c, 200, &body);
    } else {
        wire_error_set(&why, WIRE_E_NO_MODEL, "model", "There is no such model here.");
        refuse_with(c, refuse_dialect(c), &why);
    }
    free(s.row);
}

/* A WebSocket is asked for, which nobody here speaks: its clients then send POST. */
void door_upgrade(struct call *c, void *door)
{
    struct wire_error why;

    (void)door;
    wire_error_set(&why, WIRE_E_UPGRADE, NULL, "There are no WebSockets here: send POST.");
    call_header(c, "Upgrade", "HTTP/1.1");
    refuse_with(c, wire_dialect_find("responses"), &why);
}

/* ---- health --------------------------------------------------------------------------------- */

void door_alive(struct call *c, void *door)
{
    (void)door;
    call_reply(c, 200, "application/json", "{\"status\":\"ok\"}", 15);
}

void door_able(struct call *c, void *door)
{
    struct door *d = door;
    bool gone = store_counts(d->world->books->store).gone || !d->world->books->keyring;
    const char *status = d->draining ? "draining" : gone ? "no ledger" : "ok";
    struct buf body = { 0 };

    buf_printf(&body, "{\"status\":\"%s\"}", status);
    if (gone || d->draining)
        call_header(c, "Retry-After", "2");
    reply(c, gone || d->draining ? 503 : 200, &body);
}

/* ---- tokens --------------------------------------------------------------------------------- */

void count_estimate(struct ask *a)
{
    struct call *c = a->call;
    struct buf body = { 0 };

    wire_count_write(&body, a->prompt_tok);
    call_header(c, "x-croft-note", "input_tokens is an estimate: no server of this model counts");
    a->call = NULL;
    reply(c, 200, &body);
    ask_count_end(a, DOOR_DONE);
    ask_end(a);
}
