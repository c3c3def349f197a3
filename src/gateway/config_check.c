/* config_check.c - what a schema cannot say of a configuration: names that exist, values that mean
 * something.  Names, servers and models here; labels and rules in config_policy.c, money in
 * config_money.c. */
#include "gateway/config_form.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_at(struct checking *k, const char *fmt, ...)
{
    char path[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(path, sizeof(path), fmt, args);
    va_end(args);
    buf_cut(&k->path, 0);
    buf_puts(&k->path, path);
}

/* "croft.yaml:12: models[3].upstream"; a value that is not there has the line of its parent. */
const char *check_where(struct checking *k)
{
    struct buf parent = { 0 };
    uint32_t line = 0;
    size_t len = k->path.len;

    buf_add(&parent, buf_text(&k->path), len);
    while (len && !parent.broken && !(line = yaml_line(k->places, buf_text(&parent)))) {
        while (len && !strchr(".[", parent.data[--len]))
            ;
        buf_cut(&parent, len);
    }
    buf_release(&parent);
    char path[512];
    snprintf(path, sizeof(path), "%s", buf_text(&k->path));
    buf_cut(&k->path, 0);
    buf_printf(&k->path, "%s:%u: %s", k->name, line ? line : 1, path);
    return buf_text(&k->path);
}

bool config_duration(const char *text, int64_t *ms)
{
    static const struct { const char *unit; int64_t ms; } unit[] = {
        { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
    };
    char *end;
    long n = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : 0;

    if (n <= 0 || n > 86400000)
        return false;
    for (size_t i = 0; i < sizeof(unit) / sizeof(*unit); i++)
        if (!strcmp(end, unit[i].unit)) {
            *ms = n * unit[i].ms;
            return *ms <= 86400000;
        }
    return false;
}

enum err check_name(struct checking *k, const char *name, const char *what)
{
    size_t len = strlen(name);
    bool ok = len <= CONFIG_NAME_MAX;

    for (size_t i = 0; ok && i < len; i++)
        ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
             (name[i] >= '0' && name[i] <= '9') || strchr("._:/@+-", name[i]);
    if (ok)
        return OK;
    return err_set(ERR_FORMAT, "GREF-01", "%s: '%.40s' is no %s; use 1 to %d of letters, digits "
                   "and . _ : / @ + -", check_where(k), name, what, CONFIG_NAME_MAX);
}

/* Never says what stands there: it may be the secret itself. */
enum err check_secret(struct checking *k, const char *text)
{
    bool env = !strncmp(text, "env:", 4), file = !strncmp(text, "file:", 5);
    const char *rest = text + (env ? 4 : 5);

    if ((env && *rest && !strpbrk(rest, "= ")) || (file && *rest))
        return OK;
    return err_set(ERR_FORMAT, "GREF-02", "%s: a secret does not stand in this file; put it into "
                   "the environment or a file, and write env:NAME or file:PATH", check_where(k));
}

static enum err check_url(struct checking *k, const char *url)
{
    const char *rest = strncmp(url, "https://", 8) ? url + 7 : url + 8;
    bool scheme = !strncmp(url, "https://", 8) || !strncmp(url, "http://", 7);

    if (scheme && *rest && !strchr("/:?#@", *rest) && !strpbrk(url, " @?#"))
        return OK;
    return err_set(ERR_FORMAT, "GREF-03", "%s: is no address of a server; write https://HOST/PATH, "
                   "or http://HOST:PORT on a network of yours, without a user, ? or #",
                   check_where(k));
}

static enum err check_upstream(struct checking *k, unsigned i)
{
    static const char *const name[] = { "connect", "first_byte", "idle", "total" };
    static const int64_t usual[] = { 10000, 120000, 120000, 1800000 };
    struct config_upstream *u = &k->c->upstreams[i];
    enum err e;

    check_at(k, "upstreams[%u].name", i);
    if ((e = check_name(k, u->name, "name")))
        return e;
    for (int s = 0; s < SINK_N; s++)
        if (!strcmp(u->name, sink_word((enum sink)s)))
            return err_set(ERR_FORMAT, "GREF-04", "%s: '%s' is what rules call the gateway's own; "
                           "give the upstream another name", check_where(k), u->name);
    for (unsigned j = 0; j < i; j++)
        if (!strcmp(u->name, k->c->upstreams[j].name))
            return err_set(ERR_FORMAT, "GREF-05", "%s: '%s' is the name of upstreams[%u] too; "
                           "rename one", check_where(k), u->name, j);
    check_at(k, "upstreams[%u].url", i);
    if ((e = check_url(k, u->url)))
        return e;
    check_at(k, "upstreams[%u].proxy", i);
    if (u->proxy && (e = check_url(k, u->proxy)))
        return e;
    for (unsigned j = 0; j < u->keys_count; j++) {
        check_at(k, "upstreams[%u].keys[%u]", i, j);
        if ((e = check_secret(k, u->keys[j])))
            return e;
    }
    for (int t = 0; t < TIMEOUT_N; t++) {
        u->timeouts.ms[t] = usual[t];
        check_at(k, "upstreams[%u].timeouts.%s", i, name[t]);
        if (u->timeouts.text[t] && !config_duration(u->timeouts.text[t], &u->timeouts.ms[t]))
            return err_set(ERR_FORMAT, "GREF-06", "%s: '%.20s' is no time from 1ms to 24h; write "
                           "500ms, 10s, 2m or 1h", check_where(k), u->timeouts.text[t]);
    }
    u->attr[ATTR_upstream] = u->name;
    return OK;
}

/* A name that a request may give: of a model, an alias or a group, and of one thing alone. */
static enum err check_alone(struct checking *k, const char *name)
{
    const struct config *c = k->c;
    enum err e = check_name(k, name, "name");
    unsigned n = 0;

    for (unsigned i = 0; !e && i < c->models_count; i++) {
        n += !strcmp(c->models[i].name, name);
        for (unsigned j = 0; j < c->models[i].aliases_count; j++)
            n += !strcmp(c->models[i].aliases[j], name);
    }
    for (unsigned i = 0; !e && i < c->groups_count; i++)
        n += !strcmp(c->groups[i].name, name);
    if (e || n == 1)
        return e;
    return err_set(ERR_FORMAT, "GREF-07", "%s: '%s' is the name, alias or group of %u things; "
                   "each name means one", check_where(k), name, n);
}

static bool is_sha256(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static enum err check_model(struct checking *k, unsigned i)
{
    struct config *c = k->c;
    struct config_model *m = &c->models[i];
    enum err e;

    check_at(k, "models[%u].name", i);
    if ((e = check_alone(k, m->name)))
        return e;
    for (unsigned j = 0; j < m->aliases_count; j++) {
        check_at(k, "models[%u].aliases[%u]", i, j);
        if ((e = check_alone(k, m->aliases[j])))
            return e;
    }
    m->at_upstream = -1;
    for (unsigned j = 0; j < c->upstreams_count; j++)
        if (!strcmp(c->upstreams[j].name, m->upstream))
            m->at_upstream = (int)j;
    check_at(k, "models[%u].upstream", i);
    if (m->at_upstream < 0)
        return err_set(ERR_FORMAT, "GREF-08", "%s: there is no upstream '%.80s'; add it, or name "
                       "one that is there ('%s')", check_where(k), m->upstream,
                       c->upstreams[0].name);
    check_at(k, "models[%u].weights_sha256", i);
    if (m->weights_sha256 && !is_sha256(m->weights_sha256))
        return err_set(ERR_FORMAT, "GREF-09", "%s: a SHA-256 is 64 of 0-9 and a-f, as sha256sum "
                       "prints it", check_where(k));
    check_at(k, "models[%u].max_output", i);
    if (m->context && m->max_output > m->context)
        return err_set(ERR_FORMAT, "GREF-10", "%s: %llu tokens do not fit a context of %llu; make "
                       "one smaller", check_where(k), (unsigned long long)m->max_output,
                       (unsigned long long)m->context);
    check_at(k, "models[%u].accepts", i);
    if ((m->accepts & (ACCEPTS_COMPLETIONS | ACCEPTS_EMBEDDINGS)) &&
        c->upstreams[m->at_upstream].dialect != DIALECT_CHAT)
        return err_set(ERR_FORMAT, "GREF-11", "%s: completions and embeddings are of upstreams "
                       "whose dialect is chat; '%s' is %s", check_where(k), m->upstream,
                       dialect_word(c->upstreams[m->at_upstream].dialect));
    m->as = m->as ? m->as : m->name;
    m->price = m->price ? m->price : m->as;
    m->attr[ATTR_model] = m->name;
    return OK;
}

static enum err add_member(struct checking *k, struct config_group *g, int model)
{
    for (int i = 0; i < g->n_model; i++)
        if (g->model[i] == model)
            return OK;
    if (g->n_model == MEMBERS_MAX)
        return err_set(ERR_LIMIT, "GREF-12", "%s: more than %d models with those of its groups",
                       check_where(k), MEMBERS_MAX);
    g->model[g->n_model++] = model;
    return OK;
}

/* A weight: 1 when none is given, none where it would not count. */
static enum err check_weight(struct checking *k, const struct config_group *into, int group,
                             unsigned i)
{
    struct config_member *m = &k->c->groups[group].members[i];
    bool given;

    check_at(k, "groups[%d].members[%u].weight", group, i);
    given = yaml_line(k->places, buf_text(&k->path)) != 0;
    if (given && (!into->weighted || m->weight < 1 || m->weight > 1000000))
        return err_set(ERR_FORMAT, "GREF-15", "%s: a weight is 1 to 1000000, in a group with "
                       "order: weighted alone", check_where(k));
    m->weight = given ? m->weight : 1;
    return OK;
}

/* Groups being opened, and those that are done: bit i is group i. */
struct opened { uint64_t open, done; };

/* The models of a group, its groups opened where they stand. */
static enum err open_group(struct checking *k, struct config_group *into, int group,
                           struct opened *o)
{
    struct config *c = k->c;
    const struct config_group *g = &c->groups[group];
    enum err e = OK;

    o->open |= UINT64_C(1) << group;
    for (unsigned i = 0; !e && i < g->members_count; i++) {
        const char *name = g->members[i].model;
        int inner = config_group_find(c, name), model = config_model_find(c, name);
        if ((e = check_weight(k, into, group, i)))
            return e;
        check_at(k, "groups[%d].members[%u].model", group, i);
        if (inner >= 0 && o->open >> inner & 1)
            return err_set(ERR_FORMAT, "GREF-13", "%s: the group '%.80s' holds itself; take it out",
                           check_where(k), name);
        if (inner < 0 && model < 0)
            return err_set(ERR_FORMAT, "GREF-14", "%s: there is no model, alias or group '%.80s'; "
                           "add it under models", check_where(k), name);
        if (inner >= 0 && (into->weighted || c->groups[inner].weighted))
            return err_set(ERR_FORMAT, "GREF-16", "%s: '%.80s' is a group, and only ordered groups "
                           "stand in ordered groups; name its models", check_where(k), name);
        if (inner < 0)
            e = add_member(k, into, model);
        else if (!(o->done >> inner & 1))
            e = open_group(k, into, inner, o);
    }
    o->open &= ~(UINT64_C(1) << group);
    o->done |= UINT64_C(1) << group;
    return e;
}

static enum err check_address(struct checking *k)
{
    const char *address = k->c->listen.address, *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;

    check_at(k, "listen.address");
    if (colon && colon > address && end > colon + 1 && !*end && port > 0 && port < 65536)
        return OK;
    return err_set(ERR_FORMAT, "GREF-17", "%s: '%.60s' is no address and port; write "
                   "127.0.0.1:4010", check_where(k), address);
}

static enum err check_kept(struct checking *k)
{
    struct config *c = k->c;
    enum err e = OK;

    c->state.kept_ms = 24 * 3600000;
    check_at(k, "state.kept_for");
    if (c->state.kept_for && !config_duration(c->state.kept_for, &c->state.kept_ms))
        return err_set(ERR_FORMAT, "GREF-34", "%s: '%.20s' is no time from 1ms to 24h; write 30m "
                       "or 12h", check_where(k), c->state.kept_for);
    check_at(k, "state.kept_keys");
    if (c->state.kept_in_ledger != (c->state.kept_keys_count > 0))
        return err_set(ERR_FORMAT, "GREF-35", "%s: kept: ledger and kept_keys belong together: a "
                       "list of env:NAME or file:PATH, each 64 hexadecimal digits (openssl rand "
                       "-hex 32), the first of which seals", check_where(k));
    for (unsigned i = 0; !e && i < c->state.kept_keys_count; i++) {
        check_at(k, "state.kept_keys[%u]", i);
        e = check_secret(k, c->state.kept_keys[i]);
    }
    return e;
}

static enum err check_server(struct checking *k)
{
    struct config *c = k->c;
    enum err e = check_address(k);

    if (e)
        return e;
    check_at(k, "listen.tls_key");
    if (!c->listen.tls_cert != !c->listen.tls_key)
        return err_set(ERR_FORMAT, "GREF-18", "%s: tls_cert and tls_key are files that belong "
                       "together; give both or none", check_where(k));
    c->listen.log.attr[ATTR_upstream] = (char *)(uintptr_t)sink_word(SINK_LOG);
    c->listen.trace.attr[ATTR_upstream] = (char *)(uintptr_t)sink_word(SINK_TRACE);
    c->state.attr[ATTR_upstream] = (char *)(uintptr_t)sink_word(SINK_STATE);
    c->ledger.attr[ATTR_upstream] = (char *)(uintptr_t)sink_word(SINK_LEDGER);
    check_at(k, "audit.sync_ms");
    if (c->audit.sync_ms > 10000)
        return err_set(ERR_FORMAT, "GREF-19", "%s: decisions wait at most 10000 ms for the disk",
                       check_where(k));
    return check_kept(k);
}

enum err config_check(struct checking *k)
{
    struct config *c = k->c;
    enum err e = check_server(k);

    for (unsigned i = 0; !e && i < c->upstreams_count; i++)
        e = check_upstream(k, i);
    for (unsigned i = 0; !e && i < c->models_count; i++)
        e = check_model(k, i);
    for (unsigned i = 0; !e && i < c->groups_count; i++) {
        check_at(k, "groups[%u].name", i);
        e = check_alone(k, c->groups[i].name);
        if (!e)
            e = open_group(k, &c->groups[i], (int)i, &(struct opened){ 0 });
    }
    if (!e)
        e = config_check_policy(k);
    return e ? e : config_check_money(k);
}
