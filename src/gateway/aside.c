/* aside.c - see aside.h.
 *
 * A table of lists by the first bytes of a digest; each entry is in its list, in the order of use
 * of all entries, and in that of its key.  An entry is one block of memory: what it says, its
 * parts, and their bytes behind them. */
#include "gateway/aside.h"

#include <stdlib.h>
#include <string.h>

struct link { struct link *next, *prev; };

struct owner {
    struct owner *next;                 /* of the same list */
    struct link order;                  /* of its entries: the last used first */
    size_t bytes, entries;
    char key[ASIDE_NAME_MAX + 1];
};

struct entry {
    struct entry *next;                 /* of the same list */
    struct link all, own;
    struct owner *owner;
    struct aside_handle handle;
    size_t bytes, n_part;
    uint64_t labels;
    int64_t until_ms;
    char upstream[ASIDE_NAME_MAX + 1], model[ASIDE_NAME_MAX + 1];
    struct aside_part part[];
};

enum { OWNER_LISTS = 1024 };

struct aside {
    struct aside_options o;
    struct link order;
    size_t bytes, entries, keys, n_list;
    uint64_t evicted;
    struct owner *owner[OWNER_LISTS];
    struct entry *list[];
};

/* ---- lists --------------------------------------------------------------------------------- */

static void link_init(struct link *l)
{
    l->next = l->prev = l;
}

static void link_first(struct link *head, struct link *l)
{
    l->next = head->next;
    l->prev = head;
    head->next->prev = l;
    head->next = l;
}

static void link_out(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
}

static struct entry *of_all(struct link *l)
{
    return (struct entry *)(void *)((char *)l - offsetof(struct entry, all));
}

static struct entry *of_own(struct link *l)
{
    return (struct entry *)(void *)((char *)l - offsetof(struct entry, own));
}

/* ---- who, where ---------------------------------------------------------------------------- */

static size_t power_of_two(size_t n)
{
    size_t p = 1;

    while (p < n && p < SIZE_MAX / 2)
        p *= 2;
    return p;
}

enum err aside_new(struct aside **out, const struct aside_options *o)
{
    struct aside_options set = *o;

    *out = NULL;
    set.bytes = set.bytes ? set.bytes : (size_t)64 << 20;
    set.entries = set.entries ? set.entries : 65536;
    set.key_bytes = set.key_bytes ? set.key_bytes : set.bytes / 4;
    set.key_entries = set.key_entries ? set.key_entries : (set.entries + 3) / 4;
    size_t n_list = power_of_two(set.entries < 1 << 20 ? set.entries : 1 << 20);
    struct aside *a = calloc(1, sizeof(*a) + n_list * sizeof(a->list[0]));
    if (!a)
        return err_set(ERR_NOMEM, "ASIDE-01", "no memory for what is kept aside");
    a->o = set;
    a->n_list = n_list;
    link_init(&a->order);
    *out = a;
    return OK;
}

static struct owner **owner_at(struct aside *a, const char *key)
{
    uint32_t h = 2166136261u;           /* FNV-1a */

    for (const char *s = key; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    struct owner **at = &a->owner[h % OWNER_LISTS];
    while (*at && strcmp((*at)->key, key))
        at = &(*at)->next;
    return at;
}

static struct entry **list_of(struct aside *a, const struct aside_handle *h)
{
    uint64_t first;

    memcpy(&first, h->digest, sizeof(first));
    return &a->list[first & (a->n_list - 1)];
}

/* Where it is, or the end of its list. */
static struct entry **entry_at(struct aside *a, const struct owner *owner,
                               const struct aside_handle *h)
{
    struct entry **at = list_of(a, h);

    while (*at && ((*at)->owner != owner ||
                   memcmp(&(*at)->handle, h, sizeof(*h))))
        at = &(*at)->next;
    return at;
}

static void drop_owner(struct aside *a, struct owner *owner)
{
    struct owner **at = owner_at(a, owner->key);

    *at = owner->next;
    a->keys--;
    free(owner);
}

static void drop_entry(struct aside *a, struct entry *e)
{
    struct owner *owner = e->owner;
    struct entry **at = entry_at(a, owner, &e->handle);

    *at = e->next;
    link_out(&e->all);
    link_out(&e->own);
    a->bytes -= e->bytes;
    a->entries--;
    owner->bytes -= e->bytes;
    owner->entries--;
    explicit_bzero(e, e->bytes);
    free(e);
    if (!owner->entries)
        drop_owner(a, owner);
}

void aside_reset(struct aside *a)
{
    while (a->order.next != &a->order)
        drop_entry(a, of_all(a->order.next));
}

void aside_free(struct aside *a)
{
    if (a)
        aside_reset(a);
    free(a);
}

void aside_forget(struct aside *a, const char *key)
{
    struct owner *owner = *owner_at(a, key);

    for (size_t n = owner ? owner->entries : 0; n > 0; n--)
        drop_entry(a, of_own(owner->order.next));
}

/* ---- handles ------------------------------------------------------------------------------- */

enum err aside_handle(struct aside_handle *out, enum aside_by by, const struct aside_text *text,
                      size_t n)
{
    uint64_t head[2] = { (uint64_t)by, n };
    struct sha256 sha = { 0 };
    bool ok = sha256_init(&sha) && sha256_add(&sha, head, sizeof(head));

    for (size_t i = 0; i < n && ok; i++) {
        uint64_t len = text[i].len;
        ok = sha256_add(&sha, &len, sizeof(len)) &&
             (!len || sha256_add(&sha, text[i].at, text[i].len));
    }
    ok = ok && sha256_finish(&sha, out->digest);
    sha256_release(&sha);
    return ok ? OK : err_set(ERR_NOMEM, "ASIDE-02", "no memory for a digest");
}

/* ---- kept ---------------------------------------------------------------------------------- */

static size_t bytes_of(const struct aside_part *p)
{
    return p->text.len + p->id.len + p->name.len + p->item.len + p->seal.len;
}

/* All bytes that an entry takes, 0: more than one may. */
static size_t size_of(const struct aside_entry *from)
{
    size_t n = sizeof(struct entry) + from->n_part * sizeof(struct aside_part);

    for (size_t i = 0; i < from->n_part && n <= ASIDE_ENTRY_BYTES_MAX; i++) {
        const struct aside_part *p = &from->part[i];
        const size_t len[] = { p->text.len, p->id.len, p->name.len, p->item.len, p->seal.len };
        for (size_t k = 0; k < sizeof(len) / sizeof(*len); k++)
            if (len[k] > ASIDE_ENTRY_BYTES_MAX)
                return 0;
        n += bytes_of(p);
    }
    return n <= ASIDE_ENTRY_BYTES_MAX ? n : 0;
}

static struct aside_text copy(char **to, struct aside_text from)
{
    struct aside_text t = { from.at ? *to : NULL, from.len };

    if (from.len)
        memcpy(*to, from.at, from.len);
    *to += from.len;
    return t;
}

static void fill(struct entry *e, const struct aside_entry *from)
{
    char *to = (char *)(e->part + from->n_part);

    e->n_part = from->n_part;
    e->labels = from->labels;
    e->until_ms = from->until_ms;
    memcpy(e->upstream, from->upstream, strlen(from->upstream) + 1);
    memcpy(e->model, from->model, strlen(from->model) + 1);
    for (size_t i = 0; i < from->n_part; i++) {
        const struct aside_part *p = &from->part[i];
        e->part[i] = (struct aside_part){
            .kind = p->kind, .sealed = p->sealed, .text = copy(&to, p->text),
            .id = copy(&to, p->id), .name = copy(&to, p->name), .item = copy(&to, p->item),
            .seal = copy(&to, p->seal),
        };
    }
}

/* The owner's order is found, or begun. */
static struct owner *owner_get(struct aside *a, const char *key)
{
    struct owner **at = owner_at(a, key), *owner = *at;

    if (owner)
        return owner;
    if (!(owner = calloc(1, sizeof(*owner))))
        return NULL;
    memcpy(owner->key, key, strlen(key) + 1);
    link_init(&owner->order);
    a->keys++;
    return *at = owner;
}

/* Room for an entry of `bytes`: the key's own go first, then anybody's.  The owner stays. */
static void make_room(struct aside *a, struct owner *owner, size_t bytes)
{
    while (owner->entries && (owner->entries >= a->o.key_entries ||
                              owner->bytes + bytes > a->o.key_bytes)) {
        bool last = owner->entries == 1;
        if (last)
            owner->entries++;           /* it is needed still */
        drop_entry(a, of_own(owner->order.prev));
        if (last)
            owner->entries--;
        a->evicted++;
    }
    while (a->entries && (a->entries >= a->o.entries || a->bytes + bytes > a->o.bytes)) {
        struct entry *oldest = of_all(a->order.prev);
        bool last = oldest->owner == owner && owner->entries == 1;
        if (last)
            owner->entries++;
        drop_entry(a, oldest);
        if (last)
            owner->entries--;
        a->evicted++;
    }
}

static void put(struct aside *a, struct owner *owner, struct entry *e)
{
    struct entry **list = list_of(a, &e->handle);

    e->owner = owner;
    e->next = *list;
    *list = e;
    link_first(&a->order, &e->all);
    link_first(&owner->order, &e->own);
    a->bytes += e->bytes;
    a->entries++;
    owner->bytes += e->bytes;
    owner->entries++;
}

enum err aside_put(struct aside *a, const char *key, const struct aside_handle *h,
                   const struct aside_entry *from)
{
    struct owner *owner = *owner_at(a, key);
    struct entry *old = owner ? *entry_at(a, owner, h) : NULL, *e;
    size_t bytes = size_of(from);

    if (old)
        drop_entry(a, old);
    if (strlen(key) > ASIDE_NAME_MAX || strlen(from->upstream) > ASIDE_NAME_MAX ||
        strlen(from->model) > ASIDE_NAME_MAX)
        return err_set(ERR_ARG, "ASIDE-03", "a name of more than %d bytes", ASIDE_NAME_MAX);
    if (!bytes || from->n_part > ASIDE_PARTS_MAX || bytes > a->o.key_bytes || bytes > a->o.bytes)
        return err_set(ERR_LIMIT, "ASIDE-04", "a turn of %zu parts is too large to be kept aside",
                       from->n_part);
    e = calloc(1, bytes);
    owner = e ? owner_get(a, key) : NULL;
    if (!owner) {
        free(e);
        return err_set(ERR_NOMEM, "ASIDE-05", "no memory to keep a turn of %zu bytes aside", bytes);
    }
    e->bytes = bytes;
    e->handle = *h;
    fill(e, from);
    make_room(a, owner, bytes);
    put(a, owner, e);
    return OK;
}

bool aside_find(struct aside *a, const char *key, const struct aside_handle *h,
                const char *upstream, int64_t now_ms, struct aside_entry *out, bool *foreign)
{
    struct owner *owner = *owner_at(a, key);
    struct entry *e = owner ? *entry_at(a, owner, h) : NULL;

    *out = (struct aside_entry){ 0 };
    *foreign = false;
    if (e && e->until_ms && now_ms >= e->until_ms) {
        drop_entry(a, e);
        e = NULL;
    }
    if (!e)
        return false;
    link_out(&e->all);
    link_out(&e->own);
    link_first(&a->order, &e->all);
    link_first(&owner->order, &e->own);
    bool maker = upstream && !strcmp(upstream, e->upstream);
    *foreign = upstream && !maker;
    *out = (struct aside_entry){ .upstream = e->upstream, .model = e->model, .labels = e->labels,
                                 .until_ms = e->until_ms, .part = maker ? e->part : NULL,
                                 .n_part = maker ? e->n_part : 0 };
    return true;
}

void aside_relabel(struct aside *a, const int to[64])
{
    struct link *next;

    for (struct link *l = a->order.next; l != &a->order; l = next) {
        struct entry *e = of_all(l);
        uint64_t labels = 0;
        bool lost = false;
        next = l->next;
        for (int i = 0; i < 64; i++) {
            if (!(e->labels >> i & 1))
                continue;
            lost |= to[i] < 0;
            labels |= to[i] < 0 ? 0 : UINT64_C(1) << to[i];
        }
        e->labels = labels;
        if (lost)
            drop_entry(a, e);
    }
}

struct aside_counts aside_counts(const struct aside *a)
{
    return (struct aside_counts){ a->bytes, a->entries, a->keys, a->evicted };
}
