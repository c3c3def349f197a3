/* door_aside.c - what a client's dialect has no place for: thinking under its upstream's seal, who
 * made a call; kept when an answer ends, found again by the calls' ids or the turn's words.
 *
 *   answer: kept_hear() -> kept_put()
 *   request: kept_ask() -> kept_find() -> (choice) -> kept_return()
 *
 * It lies in memory; with state.kept: ledger also sealed in the database, where other gateways find
 * it.  What memory has not is asked for there before anything is chosen, and waited for no longer
 * than KEPT_WAIT_MS: without an answer the turn goes without thinking.
 *
 * In one dialect the client has the seals itself; then it is remembered whose they are, for a seal
 * goes to nobody but who made it (kept_strip()). */
#include "door/door_form.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 64, CALLS_MAX = 64, TEXT_MAX = 1 << 20 };

struct span_of { size_t at, len; };

struct kept_part { enum wire_seal sealed; struct span_of text, id, seal; };

struct kept {
    struct buf text;                    /* all that the spans are of */
    struct buf words;                   /* visible */
    struct kept_part part[PARTS_MAX];
    struct span_of call[CALLS_MAX];
    size_t n_part, n_call;
    bool lost;                          /* too much of it: only who made it is kept */
};

void kept_free(struct kept *k)
{
    if (!k)
        return;
    buf_release(&k->text);
    buf_release(&k->words);
    free(k);
}

/* Bits of labels in memory are those of the newest configuration. */
bool kept_has_labels_of(const struct ask *a)
{
    const struct config *mine = a->w->c, *newest = a->d->world->c;
    bool same = config_labels(mine) == config_labels(newest);

    for (int i = 0; same && mine != newest && i < config_labels(mine); i++)
        same = !strcmp(config_label_name(mine, i), config_label_name(newest, i));
    return same;
}

/* ---- an answer ------------------------------------------------------------------------------ */

static struct span_of add(struct kept *k, const char *text, size_t len)
{
    struct span_of s = { k->text.len, len };

    if (k->text.len + len > TEXT_MAX) {
        k->lost = true;
        return (struct span_of){ 0, 0 };
    }
    buf_add(&k->text, text, len);
    return s;
}

/* The thinking that an event belongs to: the last, if nothing has closed it. */
static struct kept_part *part_of(struct kept *k, const struct wire_event *e)
{
    struct kept_part *p = k->n_part ? &k->part[k->n_part - 1] : NULL;

    if (p && !p->sealed && !e->apart && !(e->kind == WIRE_SEAL && e->seal == WIRE_SEAL_REDACTED))
        return p;
    if (k->n_part == PARTS_MAX) {
        k->lost = true;
        return NULL;
    }
    p = &k->part[k->n_part++];
    *p = (struct kept_part){ .text = { k->text.len, 0 } };
    return p;
}

static void hear_thinking(struct kept *k, const struct wire_event *e)
{
    struct kept_part *p = part_of(k, e);

    if (!p)
        return;
    if (e->kind == WIRE_SEAL) {
        p->sealed = e->seal;
        p->seal = add(k, e->text, e->len);
        if (e->id)
            p->id = add(k, e->id, strlen(e->id));
    } else if (p->text.at + p->text.len == k->text.len) {
        p->text.len += add(k, e->text, e->len).len;
    } else {
        k->lost = true;                 /* calls came between its pieces */
    }
}

void kept_hear(struct ask *a, const struct wire_event *e)
{
    struct kept *k = a->kept;

    if (e->choice || (e->kind != WIRE_THINK && e->kind != WIRE_SEAL && e->kind != WIRE_CALL &&
                      e->kind != WIRE_TEXT))
        return;
    if (!k && e->kind != WIRE_TEXT)
        k = a->kept = calloc(1, sizeof(*k));
    if (!k)
        return;                         /* the turn goes without thinking */
    if (e->kind == WIRE_TEXT && k->words.len + e->len <= TEXT_MAX)
        buf_add(&k->words, e->text, e->len);
    else if (e->kind == WIRE_TEXT)
        k->lost = true;
    else if (e->kind == WIRE_CALL && k->n_call < CALLS_MAX)
        k->call[k->n_call++] = add(k, e->id, strlen(e->id));
    else if (e->kind != WIRE_CALL)
        hear_thinking(k, e);
}

static struct aside_text text_of(const struct kept *k, struct span_of s)
{
    return (struct aside_text){ buf_text(&k->text) + s.at, s.len };
}

/* What of a turn may lie where: so many of the parts. */
struct keeping { const struct aside_part *part; size_t n_memory, n_ledger; };

static void not_kept(void *arg, enum err e)
{
    (void)arg;
    if (e)
        term_verbose("nothing is kept aside in the ledger: %s", err_text());
}

static enum err put_ledger(struct ask *a, const struct aside_handle *h,
                           const struct aside_entry *entry)
{
    struct store *s = a->w->books->store;
    struct sealed_room room = { 0 };
    struct kept_row row;
    enum err e = sealed_make(&row, &room, a->w->sealer, a->w->c, a->who.key, h, entry,
                             store_now_ms(s) + a->w->c->state.kept_ms);

    if (!e)
        e = store_keep(s, &row, not_kept, NULL);
    sealed_room_release(&room);
    return e;
}

/* What finds no room is lost, which is no error.  By its words a turn is found for its parts. */
static void put(struct ask *a, enum aside_by by, struct aside_text what, const struct keeping *k)
{
    const struct config *c = a->w->c;
    const struct attempts_step *s = &a->try.step;
    struct aside_entry entry = { c->upstreams[s->upstream].name, c->models[s->model].name,
                                 a->labels, k->part, k->n_memory,
                                 door_now_ms() + c->state.kept_ms };
    struct aside_handle h;

    if (aside_handle(&h, by, &what, 1))
        return;
    bool ledger = a->w->sealer && k->n_ledger;  /* memory alone would hide what it has */
    if ((k->n_memory || (by != ASIDE_BY_TURN && !ledger)) && kept_has_labels_of(a) &&
        aside_put(a->d->aside, a->who.key, &h, &entry))
        term_verbose("request %s: nothing is kept aside: %s", a->id, err_text());
    entry.n_part = k->n_ledger;
    if (a->w->sealer && (by != ASIDE_BY_TURN || ledger) && put_ledger(a, &h, &entry))
        term_verbose("request %s: nothing is kept aside in the ledger: %s", a->id, err_text());
}

/* Who was revoked while the answer came has nothing kept. */
static bool is_revoked(const struct ask *a)
{
    const struct keyring *ring = a->w->books->keyring;
    const struct key *key = ring ? keys_find(keyring_keys(ring), a->who.key, strlen(a->who.key))
                                 : NULL;

    return *a->who.key && (!key || key->revoked);
}

static bool may_lie(const struct ask *a, enum sink sink, enum path_kind kind, uint64_t labels)
{
    return policy_lets(policy_decide(a->w->policy, labels, place_of_sink(a->w->c, sink), kind));
}

void kept_put(struct ask *a)
{
    struct kept *k = a->kept;
    struct aside_part part[PARTS_MAX];
    const struct keeping nothing = { part, 0, 0 };
    struct keeping all = { part, 0, 0 };
    size_t n = 0;

    if (!k || k->text.broken || k->words.broken || is_revoked(a))
        return;
    for (size_t i = 0; i < k->n_part; i++) {
        const struct kept_part *p = &k->part[i];
        if (p->sealed && a->try.raw)
            put(a, ASIDE_BY_ITEM, text_of(k, p->seal), &nothing);
        if (p->sealed && !a->try.raw)
            part[n++] = (struct aside_part){
                .kind = WIRE_PART_THINK, .sealed = (int)p->sealed,
                .text = text_of(k, p->text),
                .item = text_of(k, p->id), .seal = text_of(k, p->seal) };
    }
    if (!k->lost && may_lie(a, SINK_STATE, PATH_kept_aside, a->labels))
        all.n_memory = n;
    if (!k->lost && may_lie(a, SINK_LEDGER, PATH_kept_ledger, a->labels))
        all.n_ledger = n;
    for (size_t i = 0; i < k->n_call; i++)
        put(a, ASIDE_BY_CALL, text_of(k, k->call[i]), &all);
    if (n && !k->n_call && k->words.len)
        put(a, ASIDE_BY_TURN, (struct aside_text){ buf_text(&k->words), k->words.len }, &all);
}

/* ---- a request ------------------------------------------------------------------------------ */

bool kept_handle(const struct wire_message *m, struct aside_handle *h)
{
    struct buf words = { 0 };
    struct aside_text what = { NULL, 0 };
    enum aside_by by = ASIDE_BY_TURN;
    bool ok;

    for (size_t i = 0; i < m->n_part && !what.at; i++)
        if (m->part[i].kind == WIRE_PART_CALL && m->part[i].id.at) {
            what = (struct aside_text){ m->part[i].id.at, m->part[i].id.len };
            by = ASIDE_BY_CALL;
        }
    for (size_t i = 0; i < m->n_part && !what.at; i++)
        if (m->part[i].kind == WIRE_PART_TEXT)
            buf_add(&words, m->part[i].text.at, m->part[i].text.len);
    if (!what.at)
        what = (struct aside_text){ buf_text(&words), words.len };
    ok = !words.broken && what.len && !aside_handle(h, by, &what, 1);
    buf_release(&words);
    return ok;
}

/* In memory, where the request may look there, and among what the ledger gave it. */
static bool find(const struct ask *a, bool in_memory, const struct aside_handle *h,
                 const char *upstream, struct aside_entry *out, bool *foreign)
{
    int64_t now = door_now_ms();

    return (in_memory && aside_find(a->d->aside, a->who.key, h, upstream, now, out, foreign)) ||
           (a->found && aside_find(a->found, a->who.key, h, upstream, now, out, foreign));
}

/* Labels of what is kept of the conversation are the request's.  *model: who made the calls whose
 * results stand at its end, -1: nobody that is known. */
void kept_find(struct ask *a, int *model)
{
    bool known = kept_has_labels_of(a);
    struct aside_handle h;
    struct aside_entry entry;
    bool foreign, waits = false;

    *model = -1;
    for (size_t i = a->r.n_message; i-- > 0;) {
        const struct wire_message *m = &a->r.message[i];
        bool last = waits && m->role == WIRE_ASSISTANT;
        waits = m->role == WIRE_TOOL || (waits && m->role != WIRE_ASSISTANT);
        if (m->role != WIRE_ASSISTANT || !kept_handle(m, &h) ||
            !find(a, known, &h, NULL, &entry, &foreign))
            continue;
        a->labels |= entry.labels;
        if (last && *model < 0)
            *model = config_model_find(a->w->c, entry.model);
    }
}

static bool copy(struct ask *a, struct wire_text *out, struct aside_text t)
{
    *out = (struct wire_text){ 0 };
    if (!t.len)
        return true;
    *out = (struct wire_text){ arena_copy(&a->r.arena, t.at, t.len), t.len };
    return out->at;
}

/* The parts that are kept before those of the message, but for thinking without a seal. */
static bool return_parts(struct ask *a, struct wire_message *m, const struct aside_entry *entry)
{
    struct wire_part *part = arena_alloc(&a->r.arena, entry->n_part + m->n_part, sizeof(*part));
    size_t n = 0;

    if (!part)
        return false;
    for (size_t i = 0; i < entry->n_part; i++) {
        const struct aside_part *from = &entry->part[i];
        struct wire_part *p = &part[n++];
        p->kind = WIRE_PART_THINK;
        p->sealed = (enum wire_seal)from->sealed;
        if (!copy(a, &p->text, from->text) || !copy(a, &p->seal, from->seal) ||
            !copy(a, &p->item, from->item))
            return false;
        if (!p->text.at)
            p->text = (struct wire_text){ "", 0 };
    }
    for (size_t i = 0; i < m->n_part; i++)
        if (m->part[i].kind != WIRE_PART_THINK)
            part[n++] = m->part[i];
    m->part = part;
    m->n_part = n;
    return true;
}

static bool has_seal(const struct wire_message *m)
{
    for (size_t i = 0; i < m->n_part; i++)
        if (m->part[i].kind == WIRE_PART_THINK && m->part[i].sealed)
            return true;
    return false;
}

/* `r` is a copy of a->r: its messages get back what is kept of them for this upstream, but for text
 * with labels that were not known when it was decided who may have the request.  False: no memory,
 * or more than a request may hold. */
bool kept_return(struct ask *a, struct wire_request *r)
{
    bool known = kept_has_labels_of(a);
    const char *upstream = a->w->c->upstreams[a->try.step.upstream].name;
    struct wire_message *list = NULL;
    struct aside_entry entry;
    struct aside_handle h;
    bool foreign;

    for (size_t i = 0; i < r->n_message; i++) {
        const struct wire_message *m = &r->message[i];
        if (m->role != WIRE_ASSISTANT || has_seal(m) || !kept_handle(m, &h) ||
            !find(a, known, &h, upstream, &entry, &foreign) || !entry.n_part ||
            (entry.labels & ~a->labels))
            continue;
        if (!list) {
            list = arena_alloc(&a->r.arena, r->n_message, sizeof(*list));
            if (!list)
                return false;
            memcpy(list, r->message, r->n_message * sizeof(*list));
            r->message = list;
        }
        if (!return_parts(a, &list[i], &entry))
            return false;
    }
    return true;
}

/* ---- seals in the client's own hands -------------------------------------------------------- */

/* Whose it is does not hang on labels: memory is asked under every configuration. */
static bool is_anothers(const struct ask *a, const json_t *seal)
{
    struct aside_text what = { json_string_value(seal), json_string_length(seal) };
    const char *upstream = a->w->c->upstreams[a->try.step.upstream].name;
    struct aside_entry entry;
    struct aside_handle h;
    bool foreign = false;

    return what.at && !aside_handle(&h, ASIDE_BY_ITEM, &what, 1) &&
           find(a, true, &h, upstream, &entry, &foreign) && foreign;
}

static const json_t *seal_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));

    return !type ? NULL : !strcmp(type, "thinking") ? json_object_get(part, "signature")
           : !strcmp(type, "redacted_thinking") ? json_object_get(part, "data")
           : !strcmp(type, "reasoning") ? json_object_get(part, "encrypted_content") : NULL;
}

static void strip(const struct ask *a, json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;)
        if (is_anothers(a, seal_of(json_array_get(list, i))))
            json_array_remove(list, i);
}

/* Take thinking that another upstream sealed out of a body that stays in its dialect. */
bool kept_strip(struct ask *a, json_t *body)
{
    json_t *messages = json_object_get(body, "messages");
    size_t i;
    json_t *m;

    json_array_foreach(messages, i, m)
        strip(a, json_object_get(m, "content"));
    strip(a, json_object_get(body, "input"));
    return true;
}
