/* sealed.c - see sealed.h.
 *
 *   sealed = base64(salt [16] nonce [12] cipher [n] tag [16])
 *   key    = HMAC(secret, "seal" salt)       name = HMAC(HMAC(secret, "name"), key id, handle)
 *   plain  = version [1], model, labels, parts; numbers are 32 bits, little end first, and each
 *            text has its length before it
 *
 * A salt for each turn: no limit on how many may be sealed under one secret is ever near. */
#include "gateway/sealed.h"

#include "base/hex.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    VERSION = 1, SECRET_BYTES = 32, SALT_BYTES = 16, NONCE_BYTES = 12, TAG_BYTES = 16,
    HEAD_BYTES = SALT_BYTES + NONCE_BYTES, TEXTS = 5,
};

struct secret {
    uint8_t key[SECRET_BYTES], name[SHA256_BYTES];
    char id[SEALED_KEY_ID_BYTES];
};

struct sealer { int n; struct secret at[SEALER_KEYS_MAX]; };

/* ---- keys ----------------------------------------------------------------------------------- */

static bool hmac(uint8_t out[SHA256_BYTES], const uint8_t key[SHA256_BYTES], const void *text,
                 size_t len)
{
    return HMAC(EVP_sha256(), key, SHA256_BYTES, text, len, out, NULL) != NULL;
}

static bool read_secret(uint8_t out[SECRET_BYTES], const char *hex)
{
    if (strlen(hex) != 2 * SECRET_BYTES)
        return false;
    for (int i = 0; i < SECRET_BYTES; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static enum err add_secret(struct sealer *s, const char *hex)
{
    struct secret *to = &s->at[s->n];
    uint8_t id[SHA256_BYTES];
    char text[SHA256_HEX_BYTES];

    if (!read_secret(to->key, hex))
        return err_set(ERR_FORMAT, "SEALED-01", "state.kept_keys[%d]: is not 64 hexadecimal "
                       "digits; openssl rand -hex 32 makes a key", s->n);
    if (!hmac(to->name, to->key, "name", 4) || !hmac(id, to->key, "id", 2))
        return err_set(ERR_NOMEM, "SEALED-02", "no memory for a key");
    sha256_hex(text, id);
    snprintf(to->id, sizeof(to->id), "%.16s", text);
    s->n++;
    return OK;
}

enum err sealer_new(struct sealer **out, const char *const *secret, int n)
{
    struct sealer *s = calloc(1, sizeof(*s));
    enum err e = OK;

    ASSERT(n >= 1 && n <= SEALER_KEYS_MAX);
    *out = NULL;
    if (!s)
        return err_set(ERR_NOMEM, "SEALED-03", "no memory for the keys of what is kept aside");
    for (int i = 0; i < n && !e; i++)
        e = add_secret(s, secret[i]);
    if (e)
        sealer_free(s);
    else
        *out = s;
    return e;
}

void sealer_free(struct sealer *s)
{
    if (s)
        explicit_bzero(s, sizeof(*s));
    free(s);
}

int sealer_keys(const struct sealer *s)
{
    return s->n;
}

static const struct secret *find_secret(const struct sealer *s, const char *id)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->at[i].id, id))
            return &s->at[i];
    return NULL;
}

/* ---- plain ---------------------------------------------------------------------------------- */

static void put_number(struct buf *out, uint32_t n)
{
    const uint8_t b[4] = { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };

    buf_add(out, b, sizeof(b));
}

static void put_text(struct buf *out, const char *text, size_t len)
{
    put_number(out, (uint32_t)len);
    buf_add(out, text, len);
}

static void put_labels(struct buf *out, const struct config *c, uint64_t labels)
{
    put_number(out, (uint32_t)__builtin_popcountll(labels));
    for (int i = 0; i < config_labels(c); i++)
        if (labels >> i & 1)
            put_text(out, config_label_name(c, i), strlen(config_label_name(c, i)));
}

static void put_part(struct buf *out, const struct aside_part *p)
{
    const struct aside_text text[TEXTS] = { p->text, p->id, p->name, p->item, p->seal };

    put_number(out, (uint32_t)p->kind);
    put_number(out, (uint32_t)p->sealed);
    for (int i = 0; i < TEXTS; i++)
        put_text(out, text[i].len ? text[i].at : "", text[i].len);
}

static enum err write_plain(struct buf *out, const struct config *c, const struct aside_entry *e)
{
    const uint8_t version = VERSION;

    buf_add(out, &version, 1);
    put_text(out, e->model, strlen(e->model));
    put_labels(out, c, e->labels);
    put_number(out, (uint32_t)e->n_part);
    for (size_t i = 0; i < e->n_part && out->len <= ASIDE_ENTRY_BYTES_MAX; i++)
        put_part(out, &e->part[i]);
    if (out->len > ASIDE_ENTRY_BYTES_MAX)
        return err_set(ERR_LIMIT, "SEALED-04", "a turn of %zu parts is too large to be kept aside",
                       e->n_part);
    return out->broken ? err_set(ERR_NOMEM, "SEALED-05", "no memory to seal a turn") : OK;
}

/* What is left to read; `bad` once it was too short. */
struct rest { const char *at, *end; bool bad; };

static uint32_t get_number(struct rest *r)
{
    const unsigned char *b = (const unsigned char *)r->at;

    if (r->bad || r->end - r->at < 4) {
        r->bad = true;
        return 0;
    }
    r->at += 4;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static struct aside_text get_text(struct rest *r)
{
    uint32_t len = get_number(r);
    struct aside_text t = { r->at, len };

    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return (struct aside_text){ NULL, 0 };
    }
    r->at += len;
    return t;
}

static void get_name(struct rest *r, char out[ASIDE_NAME_MAX + 1])
{
    struct aside_text t = get_text(r);

    r->bad |= t.len > ASIDE_NAME_MAX || (t.len && memchr(t.at, '\0', t.len));
    snprintf(out, ASIDE_NAME_MAX + 1, "%.*s", r->bad ? 0 : (int)t.len, r->bad ? "" : t.at);
}

static uint64_t get_labels(struct rest *r, const struct config *c)
{
    uint32_t n = get_number(r);
    uint64_t labels = 0;

    for (uint32_t i = 0; i < n && !r->bad; i++) {
        char name[ASIDE_NAME_MAX + 1];
        get_name(r, name);
        int label = r->bad ? -1 : config_label_find(c, name);
        if (label < 0)
            r->bad = true;              /* its rules cannot be kept */
        else
            labels |= UINT64_C(1) << label;
    }
    return labels;
}

static enum err does_not_open(const struct kept_row *row)
{
    return err_set(ERR_FORMAT, "SEALED-06", "what the ledger keeps under %.16s does not open",
                   row->name);
}

static enum err read_plain(struct aside_entry *out, struct sealed_room *room,
                           const struct config *c, const struct kept_row *row)
{
    struct rest r = { room->plain.data, room->plain.data + room->plain.len, false };
    bool known = *r.at++ == VERSION;

    get_name(&r, room->model);
    out->labels = get_labels(&r, c);
    out->n_part = get_number(&r);
    if (!known || r.bad || out->n_part > ASIDE_PARTS_MAX)
        return does_not_open(row);
    free(room->part);
    room->part = calloc(out->n_part + 1, sizeof(*room->part));
    if (!room->part)
        return err_set(ERR_NOMEM, "SEALED-07", "no memory for a turn");
    for (size_t i = 0; i < out->n_part; i++) {
        struct aside_part *p = &room->part[i];
        p->kind = (int)get_number(&r);
        p->sealed = (int)get_number(&r);
        struct aside_text *to[TEXTS] = { &p->text, &p->id, &p->name, &p->item, &p->seal };
        for (int t = 0; t < TEXTS; t++)
            *to[t] = get_text(&r);
    }
    out->upstream = row->upstream;
    out->model = room->model;
    out->part = room->part;
    return r.bad || r.at != r.end ? does_not_open(row) : OK;
}

/* ---- sealed --------------------------------------------------------------------------------- */

/* All that a row says beside its seal, unmistakably. */
static void put_bound(struct buf *out, const struct kept_row *row)
{
    char expires[32];
    const char *text[] = { "croft kept aside", row->seal_key, row->key, row->upstream, row->name,
                           expires };

    snprintf(expires, sizeof(expires), "%" PRId64, row->expires_ms);
    for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++)
        put_text(out, text[i], strlen(text[i]));
}

/* Seal or open `n` bytes in place; the tag stands behind them.  *memory false: there is none. */
static bool gcm(bool seal, const struct secret *secret, const struct kept_row *row,
                uint8_t *packed, size_t n, bool *memory)
{
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    uint8_t *text = packed + HEAD_BYTES, *tag = text + n, key[SHA256_BYTES];
    uint8_t salted[4 + SALT_BYTES] = "seal";
    struct buf bound = { 0 };
    int len = 0, rest = 0;
    bool ok;

    memcpy(salted + 4, packed, SALT_BYTES);
    put_bound(&bound, row);
    *memory = x && !bound.broken && hmac(key, secret->key, salted, sizeof(salted));
    ok = *memory &&
         EVP_CipherInit_ex(x, EVP_aes_256_gcm(), NULL, key, packed + SALT_BYTES, seal) == 1 &&
         (seal || EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1) &&
         EVP_CipherUpdate(x, NULL, &len, (const uint8_t *)bound.data, (int)bound.len) == 1 &&
         EVP_CipherUpdate(x, text, &len, text, (int)n) == 1 &&
         EVP_CipherFinal_ex(x, text + len, &rest) == 1 &&
         (!seal || EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) == 1);
    explicit_bzero(key, sizeof(key));
    buf_release(&bound);
    EVP_CIPHER_CTX_free(x);
    return ok;
}

enum err sealed_name(char out[KEPT_NAME_BYTES], const struct sealer *s, int i, const char *key,
                     const struct aside_handle *h)
{
    struct buf text = { 0 };
    uint8_t mac[SHA256_BYTES];
    bool ok;

    put_text(&text, key, strlen(key));
    buf_add(&text, h->digest, sizeof(h->digest));
    ok = !text.broken && hmac(mac, s->at[i].name, text.data, text.len);
    buf_release(&text);
    if (!ok)
        return err_set(ERR_NOMEM, "SEALED-08", "no memory for a row's name");
    sha256_hex(out, mac);
    return OK;
}

/* salt, nonce, plain, room for the tag -> base64. */
static enum err seal(struct sealed_room *room, const struct secret *secret, struct kept_row *row,
                     const struct buf *plain)
{
    size_t packed_len = HEAD_BYTES + plain->len + TAG_BYTES;
    uint8_t *packed = malloc(packed_len);
    char *text = packed ? malloc((packed_len + 2) / 3 * 4 + 1) : NULL;
    enum err e = OK;
    bool memory = text != NULL;

    if (memory && getrandom(packed, HEAD_BYTES, 0) != HEAD_BYTES)
        e = err_set(ERR_IO, "SEALED-09", "the system gave no random numbers");
    if (memory && !e) {
        memcpy(packed + HEAD_BYTES, plain->data, plain->len);
        if (gcm(true, secret, row, packed, plain->len, &memory)) {
            int n = EVP_EncodeBlock((unsigned char *)text, packed, (int)packed_len);
            buf_cut(&room->text, 0);
            buf_add(&room->text, text, (size_t)n);
            memory = !room->text.broken;
        } else {
            memory = false;             /* sealing fails for want of memory alone */
        }
    }
    free(packed);
    free(text);
    row->sealed = buf_text(&room->text);
    return memory ? e : err_set(ERR_NOMEM, "SEALED-10", "no memory to seal a turn");
}

enum err sealed_make(struct kept_row *row, struct sealed_room *room, const struct sealer *s,
                     const struct config *c, const char *key, const struct aside_handle *h,
                     const struct aside_entry *entry, int64_t expires_ms)
{
    enum err e = sealed_name(room->name, s, 0, key, h);

    *row = (struct kept_row){ .key = key, .name = room->name, .upstream = entry->upstream,
                              .seal_key = s->at[0].id, .expires_ms = expires_ms };
    buf_cut(&room->plain, 0);
    if (!e)
        e = write_plain(&room->plain, c, entry);
    return e ? e : seal(room, &s->at[0], row, &room->plain);
}

/* base64 -> salt, nonce, cipher, tag; 0: it is none, or not as it is written here. */
static size_t unpack(uint8_t *out, const char *text, size_t len)
{
    int n = len % 4 || !len ? -1 : EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
    unsigned char last[5] = "";

    if (n < 0)
        return 0;
    n -= (text[len - 1] == '=') + (text[len - 2] == '=');
    if (n % 3 && (EVP_EncodeBlock(last, out + n - n % 3, n % 3) != 4 ||
                  memcmp(last, text + len - 4, 4)))
        return 0;
    return n > HEAD_BYTES + TAG_BYTES ? (size_t)n : 0;
}

enum err sealed_open(struct aside_entry *out, struct sealed_room *room, const struct sealer *s,
                     const struct config *c, const struct kept_row *row)
{
    const struct secret *secret = find_secret(s, row->seal_key);
    size_t len = strlen(row->sealed), n = 0;
    uint8_t *packed = NULL;
    bool memory = true, ok = false;

    *out = (struct aside_entry){ 0 };
    buf_cut(&room->plain, 0);
    if (!secret || len > KEPT_ROW_BYTES_MAX)
        return does_not_open(row);
    if (!(packed = malloc(len + 4)))
        return err_set(ERR_NOMEM, "SEALED-11", "no memory to open a turn");
    if ((n = unpack(packed, row->sealed, len))) {
        n -= HEAD_BYTES + TAG_BYTES;
        if ((ok = gcm(false, secret, row, packed, n, &memory)))
            buf_add(&room->plain, packed + HEAD_BYTES, n);
        explicit_bzero(packed, len + 4);
    }
    free(packed);
    if (!memory || room->plain.broken)
        return err_set(ERR_NOMEM, "SEALED-12", "no memory to open a turn");
    return ok ? read_plain(out, room, c, row) : does_not_open(row);
}

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_release(b);
}

void sealed_room_release(struct sealed_room *room)
{
    wipe(&room->plain);
    buf_release(&room->text);
    free(room->part);
    room->part = NULL;
}
