/* prefix.c - see prefix.h.
 *
 * Whole pages are found by a hash of their parent and tokens, which begins with a random number, so
 * that nobody can send texts that collide; parts of pages, of which a parent has few, by going
 * through them.  Of whole pages that were given up the last hashes stay, to say so.  The list of
 * uses is touched from a page up to its first one, so a parent is always used later than what is
 * behind it, and the end of the list is a leaf. */
#include "engine/prefix.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Pages behind one that are tried for a part; hashes of pages given up, a power of two. */
enum { PART_TRIES = 64, GONE_MAX = 4096 };

struct prefix_node {
    struct prefix_node *parent;         /* NULL: an owner, which has no page */
    struct prefix_node *child, *prev, *next;    /* the latest child; its siblings */
    struct prefix_node *older, *newer;  /* by use */
    struct prefix_node *chain;          /* with the same hash */
    uint64_t hash;
    uint8_t *page;
    int64_t n_tok;
    struct prefix_owner owner;          /* of an owner's node */
    int32_t token[KV_PAGE_TOK];
    uint8_t kind[KV_PAGE_TOK];
};

struct prefix {
    struct kv_pool *pool;
    struct prefix_node **bucket;        /* [n_bucket]: owners and whole pages */
    uint64_t n_bucket;                  /* a power of two */
    struct prefix_node *oldest, *newest;
    int64_t n_page;
    uint64_t salt;
    uint64_t gone[GONE_MAX];            /* each at its place; 0: none */
};

enum err prefix_new(struct prefix **out, struct kv_pool *pool)
{
    struct prefix *p = calloc(1, sizeof(*p));

    *out = NULL;
    if (p) {
        p->pool = pool;
        if (getrandom(&p->salt, sizeof(p->salt), GRND_NONBLOCK) != sizeof(p->salt))
            p->salt = (uint64_t)(uintptr_t)p;
        for (p->n_bucket = 64; p->n_bucket < 2 * (uint64_t)kv_pool_total(pool); )
            p->n_bucket *= 2;
        p->bucket = calloc(p->n_bucket, sizeof(struct prefix_node *));
    }
    if (!p || !p->bucket) {
        free(p);
        return err_set(ERR_NOMEM, "PREFIX-01", "no memory to find prompts again; use a smaller "
                       "--ctx-size");
    }
    *out = p;
    return OK;
}

static uint64_t mix(uint64_t z)         /* splitmix64 */
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t owner_hash(const struct prefix *p, struct prefix_owner o)
{
    return mix(mix(p->salt + o.party + 0x9e3779b97f4a7c15u) + (uint64_t)o.adapter);
}

/* Of a page behind the one with hash h. */
static uint64_t page_hash(uint64_t h, const int32_t *token, const uint8_t *kind)
{
    for (int i = 0; i < KV_PAGE_TOK; i++)
        h = mix(h + (uint64_t)(uint32_t)token[i] * 2 + kind[i] + 0x9e3779b97f4a7c15u);
    return h;
}

static struct prefix_node **bucket_of(const struct prefix *p, uint64_t hash)
{
    return &p->bucket[hash & (p->n_bucket - 1)];
}

static struct prefix_node *find_owner(const struct prefix *p, struct prefix_owner o)
{
    struct prefix_node *n = *bucket_of(p, owner_hash(p, o));

    while (n && (n->parent || n->owner.party != o.party || n->owner.adapter != o.adapter))
        n = n->chain;
    return n;
}

static int64_t agree(const struct prefix_node *n, const int32_t *token, const uint8_t *kind,
                     int64_t most)
{
    int64_t i = 0;

    while (i < most && i < n->n_tok && n->token[i] == token[i] && n->kind[i] == kind[i])
        i++;
    return i;
}

static struct prefix_node *find_page(const struct prefix *p, const struct prefix_node *parent,
                                     const int32_t *token, const uint8_t *kind)
{
    struct prefix_node *n = *bucket_of(p, page_hash(parent->hash, token, kind));

    while (n && (n->parent != parent || agree(n, token, kind, KV_PAGE_TOK) < KV_PAGE_TOK))
        n = n->chain;
    return n;
}

/* Why n tokens were found `done` of, behind a page with hash h; `near`: what agrees longest of what
 * goes on from there, `best` tokens of it. */
static enum prefix_end why_ends(const struct prefix *p, uint64_t h, const struct prefix_node *near,
                                int64_t best, const int32_t *token, const uint8_t *kind, int64_t n)
{
    if (best == n)
        return PREFIX_WHOLE;
    if (n >= KV_PAGE_TOK) {
        h = page_hash(h, token, kind);
        if (h && p->gone[h % GONE_MAX] == h)
            return PREFIX_GIVEN_UP;
    }
    if (!near || best == near->n_tok)
        return PREFIX_ENDS;
    return near->token[best] == token[best] ? PREFIX_KIND : PREFIX_DIFFERS;
}

struct prefix_match prefix_find(const struct prefix *p, struct prefix_owner owner,
                                const int32_t *token, const uint8_t *kind, int64_t n)
{
    struct prefix_node *at = find_owner(p, owner), *next = at, *near = NULL;
    struct prefix_match m = { NULL, 0, PREFIX_WHOLE };
    int64_t best = -1;

    for (; at && n - m.n_tok >= KV_PAGE_TOK; at = next, m.n_tok += KV_PAGE_TOK)
        if (!(next = find_page(p, at, token + m.n_tok, kind + m.n_tok)))
            break;
    if (!at) {
        m.end = why_ends(p, owner_hash(p, owner), NULL, 0, token, kind, n);
        m.end = m.end == PREFIX_ENDS ? PREFIX_NONE : m.end;
        return m;
    }
    next = at->child;
    for (int i = 0; next && i < PART_TRIES; next = next->next, i++) {
        int64_t same = agree(next, token + m.n_tok, kind + m.n_tok, n - m.n_tok);
        if (same > best) {
            best = same;
            near = next;
        }
    }
    best = best > 0 ? best : 0;
    m.end = why_ends(p, at->hash, near, best, token + m.n_tok, kind + m.n_tok, n - m.n_tok);
    m.node = best ? near : at->parent ? at : NULL;
    m.n_tok += best;
    return m;
}

static void use_unlink(struct prefix *p, struct prefix_node *n)
{
    *(n->newer ? &n->newer->older : &p->newest) = n->older;
    *(n->older ? &n->older->newer : &p->oldest) = n->newer;
}

static void use_link(struct prefix *p, struct prefix_node *n)
{
    n->older = p->newest;
    n->newer = NULL;
    *(p->newest ? &p->newest->newer : &p->oldest) = n;
    p->newest = n;
}

static void use_path(struct prefix *p, struct prefix_node *n)
{
    for (; n->parent; n = n->parent) {
        use_unlink(p, n);
        use_link(p, n);
    }
}

void prefix_share(struct prefix *p, struct prefix_match m, struct kv_view *v)
{
    int64_t i = kv_pages(m.n_tok);

    ASSERT(v->n_page == 0);
    if (!m.node)
        return;
    use_path(p, m.node);
    v->n_page = i;
    for (struct prefix_node *n = m.node; n->parent; n = n->parent) {
        kv_pool_hold(p->pool, n->page);
        v->page[--i] = n->page;
    }
    ASSERT(i == 0);
}

static void chain_link(struct prefix *p, struct prefix_node *n)
{
    struct prefix_node **at = bucket_of(p, n->hash);

    n->chain = *at;
    *at = n;
}

static void chain_unlink(struct prefix *p, const struct prefix_node *n)
{
    struct prefix_node **at = bucket_of(p, n->hash);

    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
}

/* A leaf, and its owner when it was the last page. */
static void remove_leaf(struct prefix *p, struct prefix_node *n)
{
    struct prefix_node *parent = n->parent;

    ASSERT(!n->child);
    use_unlink(p, n);
    if (n->n_tok == KV_PAGE_TOK) {
        chain_unlink(p, n);
        p->gone[n->hash % GONE_MAX] = n->hash;
    }
    *(n->prev ? &n->prev->next : &parent->child) = n->next;
    if (n->next)
        n->next->prev = n->prev;
    kv_pool_drop(p->pool, n->page);
    p->n_page--;
    free(n);
    if (!parent->parent && !parent->child) {
        chain_unlink(p, parent);
        free(parent);
    }
}

static struct prefix_node *add_owner(struct prefix *p, struct prefix_owner o)
{
    struct prefix_node *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->owner = o;
    n->hash = owner_hash(p, o);
    chain_link(p, n);
    return n;
}

static struct prefix_node *add_page(struct prefix *p, struct prefix_node *parent,
                                    const int32_t *token, const uint8_t *kind, int64_t n_tok,
                                    uint8_t *page)
{
    struct prefix_node *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->parent = parent;
    n->n_tok = n_tok;
    memcpy(n->token, token, (size_t)n_tok * sizeof(*token));
    memcpy(n->kind, kind, (size_t)n_tok);
    n->page = page;
    kv_pool_hold(p->pool, page);
    n->next = parent->child;
    if (n->next)
        n->next->prev = n;
    parent->child = n;
    if (n_tok == KV_PAGE_TOK) {
        n->hash = page_hash(parent->hash, token, kind);
        chain_link(p, n);
        if (p->gone[n->hash % GONE_MAX] == n->hash)
            p->gone[n->hash % GONE_MAX] = 0;
    }
    use_link(p, n);
    p->n_page++;
    return n;
}

/* The page of these tokens behind a parent.  One that begins it is given up for it, and one that
 * it begins stands for it. */
static struct prefix_node *put(struct prefix *p, struct prefix_node *parent, const int32_t *token,
                               const uint8_t *kind, int64_t n_tok, uint8_t *page)
{
    struct prefix_node *n = n_tok == KV_PAGE_TOK ? find_page(p, parent, token, kind) : NULL, *next;

    if (n)
        return n;
    n = parent->child;
    for (int i = 0; n && i < PART_TRIES; n = n->next, i++)
        if (agree(n, token, kind, n_tok) == n_tok)
            return n;
    n = add_page(p, parent, token, kind, n_tok, page);
    if (!n)
        return NULL;
    next = n->next;
    for (int i = 0; next && i < PART_TRIES; i++) {
        struct prefix_node *o = next;
        next = next->next;
        if (o->n_tok < n_tok && agree(o, token, kind, n_tok) == o->n_tok)
            remove_leaf(p, o);
    }
    return n;
}

void prefix_keep(struct prefix *p, struct prefix_owner owner, const int32_t *token,
                 const uint8_t *kind, int64_t n, const struct kv_view *v)
{
    struct prefix_node *at = find_owner(p, owner), *next;

    if (!at && n)
        at = add_owner(p, owner);
    for (int64_t i = 0; at && i < n; at = next, i += KV_PAGE_TOK) {
        int64_t n_tok = n - i < KV_PAGE_TOK ? n - i : KV_PAGE_TOK;
        next = put(p, at, token + i, kind + i, n_tok, v->page[i / KV_PAGE_TOK]);
        if (!next)
            break;
    }
    if (at && at->parent)
        use_path(p, at);
    else if (at && !at->child) {        /* no memory for its first page */
        chain_unlink(p, at);
        free(at);
    }
}

bool prefix_drop(struct prefix *p)
{
    if (!p->oldest)
        return false;
    remove_leaf(p, p->oldest);
    return true;
}

bool prefix_can_free(const struct prefix *p, int64_t n)
{
    for (const struct prefix_node *at = p->oldest; at && n > 0; at = at->newer)
        n -= kv_pool_held(p->pool, at->page) == 1;
    return n <= 0;
}

int64_t prefix_n_page(const struct prefix *p)
{
    return p->n_page;
}

void prefix_free(struct prefix *p)
{
    if (!p)
        return;
    while (prefix_drop(p))
        ;
    free(p->bucket);
    free(p);
}
