/* door_leave.c - the one way out: whatever is sent to an upstream, text and head, is sent here, and
 * policy is asked once more.
 *
 * client_send() stands in this file alone (tests/api/door.py looks). */
#include "door/door_form.h"

#include <stdio.h>
#include <string.h>

enum { FIELDS_MAX = 8, AUTH_BYTES_MAX = 4200 };

/* "http://host/v1/" and "/v1/messages" -> "http://host/v1/messages". */
static void put_url(struct buf *out, const char *base, const char *path)
{
    size_t n = strlen(base);

    while (n && base[n - 1] == '/')
        n--;
    if (n >= 3 && !memcmp(base + n - 3, "/v1", 3) && !strncmp(path, "/v1/", 4))
        path += 3;
    buf_add(out, base, n);
    buf_puts(out, path);
}

/* The routes of OpenAI stand behind a url that has its /v1, as its packages have it. */
static const char *path_of(const struct ask *a, const struct world_upstream *u)
{
    const char *in = wire_dialect_name(a->in), *to = wire_dialect_name(u->dialect);

    if (a->kind == PATH_count_tokens)
        return "/v1/messages/count_tokens";
    if (!strcmp(in, "completions"))
        return "/completions";
    if (!strcmp(in, "embeddings"))
        return "/embeddings";
    return !strcmp(to, "messages") ? "/v1/messages" : !strcmp(to, "responses") ? "/responses"
                                                                            : "/chat/completions";
}

struct leaving {
    struct client_field field[FIELDS_MAX];
    int n;
    char auth[AUTH_BYTES_MAX];
};

static void add(struct leaving *l, const char *name, const char *value)
{
    ASSERT(l->n < FIELDS_MAX);
    l->field[l->n++] = (struct client_field){ name, value };
}

static void add_key(struct leaving *l, const struct world_upstream *u, int key)
{
    bool messages = !strcmp(wire_dialect_name(u->dialect), "messages");

    if (messages)
        add(l, "anthropic-version", "2023-06-01");
    if (key >= u->n_key)
        return;
    snprintf(l->auth, sizeof(l->auth), "%s%s", messages ? "" : "Bearer ", u->key[key]);
    add(l, messages ? "x-api-key" : "Authorization", l->auth);
}

/* With the fields and the key of `l`, which is forgotten. */
static enum err send_to(struct client_req **out, struct client *client, struct client_ask *ask,
                        struct leaving *l, const struct config_upstream *u, const char *path)
{
    struct buf url = { 0 };
    enum err e;

    put_url(&url, u->url, path);
    ask->url = buf_text(&url);
    ask->field = l->field;
    ask->n_field = l->n;
    ask->proxy = u->proxy;
    ask->ca_file = u->ca_file;
    e = buf_ok(&url);
    if (!e)
        e = client_send(out, client, ask);
    explicit_bzero(l->auth, sizeof(l->auth));
    buf_release(&url);
    return e;
}

static enum err send_it(struct ask *a, const struct config_upstream *u,
                        const struct world_upstream *wu)
{
    const struct attempts_step *s = &a->try.step;
    struct leaving l = { .n = 0 };
    struct client_ask ask = {
        .method = "POST", .body = buf_text(&a->try.body), .body_len = a->try.body.len,
        .once = true,
        .connect_ms = (int)s->connect_ms, .first_byte_ms = (int)s->first_byte_ms,
        .idle_ms = (int)s->idle_ms, .total_ms = (int)s->total_ms,
        .body_max = a->r.stream ? 0 : WIRE_REPLY_BYTES_MAX, .arg = a, .on_head = reply_on_head,
        .on_body = reply_on_body, .on_event = a->r.stream ? reply_on_event : NULL,
        .on_end = reply_on_end,
    };

    add(&l, "Content-Type", "application/json");
    add(&l, "Accept", a->r.stream ? "text/event-stream" : "application/json");
    add(&l, "User-Agent", "croft/" CROFT_VERSION);
    add_key(&l, wu, s->key);
    if (a->beta && wu->dialect == a->in)
        add(&l, "anthropic-beta", a->beta);
    return send_to(&a->try.req, a->d->client, &ask, &l, u, path_of(a, wu));
}

enum err leave_to(struct ask *a)
{
    const struct attempts_step *s = &a->try.step;
    const struct world *w = a->w;
    struct verdict v = policy_decide(w->policy, a->labels, s->model, s->kind);
    enum err e;

    if (!policy_lets(v)) {
        wire_error_set(&a->try.why, WIRE_E_FORBIDDEN, NULL, "This text may not go there.");
        return err_set(ERR_ARG, "DOOR-16", "a text with forbidden labels was held back at model "
                       "%s", w->c->models[s->model].name);
    }
    e = send_it(a, &w->c->upstreams[s->upstream], &w->upstream[s->upstream]);
    if (e)
        wire_error_set(&a->try.why, e == ERR_NOMEM ? WIRE_E_NO_MEMORY : WIRE_E_SERVER, NULL,
                       NULL);
    return e;
}

enum err leave_empty(struct client_req **out, struct world *w, const struct circuit_pass *pass,
                     void *arg, void (*on_end)(void *arg, enum client_end end))
{
    const struct config_upstream *u = &w->c->upstreams[pass->upstream];
    const struct world_upstream *wu = &w->upstream[pass->upstream];
    struct leaving l = { .n = 0 };
    struct client_ask ask = { .method = "GET", .connect_ms = 5000, .first_byte_ms = 10000,
                              .idle_ms = 10000, .total_ms = 20000, .body_max = 16 << 20,
                              .arg = arg, .on_end = on_end };
    bool messages = !strcmp(wire_dialect_name(wu->dialect), "messages");

    add(&l, "User-Agent", "croft/" CROFT_VERSION);
    add_key(&l, wu, pass->key);
    return send_to(out, w->d->client, &ask, &l, u, messages ? "/v1/models" : "/models");
}
