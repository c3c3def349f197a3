/* keys.c - see keys.h.  HMAC-SHA-256 over the whole token, keyed by the file's salt: secrets are
 * 256 random bits, so a slow hash would protect nothing that a fast one does not. */
#include "http/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

static const char prefix[] = "croft_";
enum { PREFIX_LEN = sizeof(prefix) - 1 };

static const struct { const char *name; enum key_scope scope; } scopes[] = {
    { "infer", KEY_INFER }, { "metrics", KEY_METRICS }, { "admin", KEY_ADMIN },
};

unsigned key_scope_of(const char *name)
{
    for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++)
        if (!strcmp(name, scopes[i].name))
            return scopes[i].scope;
    return 0;
}

const char *key_scope_name(enum key_scope s)
{
    for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++)
        if (scopes[i].scope == s)
            return scopes[i].name;
    return "?";
}

bool key_id_ok(const char *id, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!((id[i] >= 'a' && id[i] <= 'z') || (id[i] >= '0' && id[i] <= '9') || id[i] == '-'))
            return false;
    return len > 0 && len <= KEY_ID_MAX;
}

static enum err random_bytes(uint8_t *out, size_t len)
{
    if (getrandom(out, len, 0) != (ssize_t)len)
        return err_set(ERR_IO, "KEYS-01", "the system gave no random numbers: %s",
                       strerror(errno));
    return OK;
}

enum err keys_new(struct keys **out)
{
    struct keys *k = calloc(1, sizeof(*k));
    enum err e;

    *out = NULL;
    if (!k)
        return err_set(ERR_NOMEM, "KEYS-02", "out of memory for the keys");
    if ((e = random_bytes(k->salt, sizeof(k->salt)))) {
        free(k);
        return e;
    }
    *out = k;
    return OK;
}

void keys_free(struct keys *k)
{
    if (k) {
        free(k->key);
        free(k->slot);
    }
    free(k);
}

enum err keys_reload(struct keys **k, const char *path)
{
    struct keys *fresh;
    enum err e = keys_load(&fresh, path);

    if (e)
        return e;
    keys_free(*k);
    *k = fresh;
    return OK;
}

enum err keys_lock(int *fd, const char *path)
{
    struct buf name = { 0 };
    int rc;

    *fd = -1;
    buf_printf(&name, "%s.lock", path);
    if (buf_ok(&name))
        return ERR_NOMEM;
    *fd = open(buf_text(&name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while ((rc = *fd < 0 ? -1 : flock(*fd, LOCK_EX)) && errno == EINTR)
        ;
    enum err e = rc ? err_set(errno == ENOENT ? ERR_MISSING : ERR_IO, "KEYS-03", "%s: cannot be "
                              "locked: %s", buf_text(&name), strerror(errno)) : OK;
    buf_release(&name);
    if (e && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return e;
}

void keys_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* ---- the set ------------------------------------------------------------------------------- */

/* The slot of an id, or the empty one where it would be; there is always an empty one. */
static unsigned slot_of(const struct keys *k, const char *id, size_t len)
{
    uint32_t h = 2166136261u;           /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)id[i]) * 16777619u;
    for (h &= k->n_slot - 1; k->slot[h]; h = (h + 1) & (k->n_slot - 1)) {
        const char *there = k->key[k->slot[h] - 1].id;
        if (strlen(there) == len && !memcmp(there, id, len))
            break;
    }
    return h;
}

static void fill_slots(struct keys *k)
{
    memset(k->slot, 0, k->n_slot * sizeof(*k->slot));
    for (int i = 0; i < k->n; i++)
        k->slot[slot_of(k, k->key[i].id, strlen(k->key[i].id))] = i + 1;
}

struct key *keys_find(const struct keys *k, const char *id, size_t len)
{
    unsigned at = k->n ? slot_of(k, id, len) : 0;

    return k->n && k->slot[at] ? &k->key[k->slot[at] - 1] : NULL;
}

/* Room for one more key and for twice as many slots. */
static enum err make_room(struct keys *k)
{
    size_t cap = k->n ? 2 * (size_t)k->n : 1;

    if (k->n == KEYS_MAX)
        return err_set(ERR_LIMIT, "KEYS-05", "there are %d keys, and more cannot be", KEYS_MAX);
    if (k->n & (k->n - 1))              /* grows at powers of two */
        return OK;
    struct key *key = realloc(k->key, cap * sizeof(*key));
    int *slot = key ? calloc(4 * cap, sizeof(*slot)) : NULL;
    if (key)
        k->key = key;
    if (!slot)
        return err_set(ERR_NOMEM, "KEYS-06", "out of memory for %d keys", k->n + 1);
    free(k->slot);
    k->slot = slot;
    k->n_slot = 4 * (unsigned)cap;
    fill_slots(k);
    return OK;
}

enum err keys_put(struct keys *k, const struct key *key)
{
    size_t len = strlen(key->id);
    enum err e;

    if (keys_find(k, key->id, len))
        return err_set(ERR_ARG, "KEYS-08", "there is a key %s already; croft key renew gives it a "
                       "new secret", key->id);
    if ((e = make_room(k)))
        return e;
    k->key[k->n] = *key;
    k->slot[slot_of(k, key->id, len)] = k->n + 1;
    k->n++;
    return OK;
}

void keys_remove(struct keys *k, struct key *key)
{
    int i = (int)(key - k->key);

    memmove(key, key + 1, (size_t)(k->n - i - 1) * sizeof(*key));
    k->n--;
    fill_slots(k);
}

/* ---- secrets ------------------------------------------------------------------------------- */

static bool mac_of(const struct keys *k, const char *token, size_t len, uint8_t mac[SHA256_BYTES])
{
    unsigned n = SHA256_BYTES;

    return HMAC(EVP_sha256(), k->salt, sizeof(k->salt), (const unsigned char *)token, len, mac,
                &n);
}

enum err keys_renew(struct keys *k, struct key *key, char token[KEY_TOKEN_BYTES])
{
    char hex[SHA256_HEX_BYTES];
    uint8_t secret[SHA256_BYTES];
    enum err e = random_bytes(secret, sizeof(secret));

    token[0] = '\0';
    if (e)
        return e;
    sha256_hex(hex, secret);
    snprintf(token, KEY_TOKEN_BYTES, "%s%s_%s", prefix, key->id, hex);
    if (!mac_of(k, token, strlen(token), key->mac))
        e = err_set(ERR_NOMEM, "KEYS-04", "the HMAC could not be computed: out of memory");
    OPENSSL_cleanse(hex, sizeof(hex));
    OPENSSL_cleanse(secret, sizeof(secret));
    return e;
}

enum err keys_add(struct keys *k, const struct key *like, char token[KEY_TOKEN_BYTES])
{
    struct key key = *like;
    enum err e;

    token[0] = '\0';
    if (!key_id_ok(like->id, strlen(like->id)))
        return err_set(ERR_ARG, "KEYS-07", "'%.80s' is no key id: 1 to %d of a-z, 0-9 and -",
                       like->id, KEY_ID_MAX);
    if (!(e = keys_renew(k, &key, token)))
        e = keys_put(k, &key);
    if (e)
        token[0] = '\0';
    return e;
}

/* The id inside "croft_<id>_<secret>"; at NULL when it is not of that form. */
static struct piece id_of(struct piece token)
{
    struct piece id = { NULL, 0 };
    const char *end;

    if (token.len >= KEY_TOKEN_BYTES || token.len <= PREFIX_LEN + KEY_SECRET_HEX + 1 ||
        memcmp(token.at, prefix, PREFIX_LEN))
        return id;
    end = token.at + token.len - KEY_SECRET_HEX - 1;
    if (*end != '_' || !key_id_ok(token.at + PREFIX_LEN, (size_t)(end - token.at) - PREFIX_LEN))
        return id;
    return (struct piece){ token.at + PREFIX_LEN, (size_t)(end - token.at) - PREFIX_LEN };
}

enum key_verdict keys_check(const struct keys *k, struct piece token, int64_t now,
                            const struct key **key)
{
    static const struct key nobody;
    struct piece id = id_of(token);
    const struct key *found = id.at ? keys_find(k, id.at, id.len) : NULL;
    uint8_t mac[SHA256_BYTES];

    *key = NULL;
    if (!id.at || !mac_of(k, token.at, token.len, mac))
        return KEY_UNKNOWN;
    bool same = !CRYPTO_memcmp(mac, found ? found->mac : nobody.mac, sizeof(mac));
    if (!same || !found)
        return KEY_UNKNOWN;
    if (found->revoked)
        return KEY_REVOKED;
    if (found->expires && now >= found->expires)
        return KEY_EXPIRED;
    *key = found;
    return KEY_OK;
}

struct piece keys_token(const struct head *h)
{
    static const char bearer[] = "bearer ";
    struct piece p = head_find(h, "authorization");

    if (!p.at)
        return head_find(h, "x-api-key");
    if (p.len < sizeof(bearer) - 1 ||
        !piece_is_nocase((struct piece){ p.at, sizeof(bearer) - 1 }, bearer))
        return (struct piece){ NULL, 0 };
    return (struct piece){ p.at + sizeof(bearer) - 1, p.len - (sizeof(bearer) - 1) };
}
