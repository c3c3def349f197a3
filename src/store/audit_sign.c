/* audit_sign.c - rows and heads as text; Ed25519 by libcrypto. */
#include "store/audit_form.h"

#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void to_hex(char *out, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool from_hex(uint8_t *out, const char *hex, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_value((unsigned char)hex[2 * i]);
        int low = high < 0 ? -1 : hex_value((unsigned char)hex[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Written beside, then linked: of two processes that begin at once one makes the key. */
static enum err make_key(const char *path)
{
    uint8_t secret[AUDIT_KEY_BYTES];
    char hex[AUDIT_KEY_HEX + 1], tmp[512];
    int fd;

    snprintf(tmp, sizeof(tmp), "%.480s.new-%ld", path, (long)getpid());
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        return err_set(ERR_IO, "AUDIT-01", "the system gave no random numbers");
    to_hex(hex, secret, sizeof(secret));
    hex[AUDIT_KEY_HEX - 1] = '\n';
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, hex, AUDIT_KEY_HEX) == AUDIT_KEY_HEX && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (good && link(tmp, path) && errno != EEXIST) {
        good = false;
        why = errno;
    }
    unlink(tmp);
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(hex, sizeof(hex));
    return good ? OK : err_set(ERR_IO, "AUDIT-02", "%s: the key of the audit log cannot be made: "
                               "%s", path, strerror(why));
}

enum err audit_key_load(struct audit_key *key, const char *state)
{
    char path[512], *text = NULL;
    uint8_t open_key[AUDIT_KEY_BYTES];
    size_t len, n = sizeof(open_key);
    EVP_PKEY *pkey;
    enum err e = OK;

    snprintf(path, sizeof(path), "%.480s/audit.key", state);
    if (access(path, F_OK) && errno == ENOENT)
        e = make_key(path);
    if (!e)
        e = file_read_text(&text, &len, path, 256);
    if (e)
        return e;
    bool good = len >= 2 * AUDIT_KEY_BYTES && from_hex(key->secret, text, AUDIT_KEY_BYTES);
    explicit_bzero(text, len);
    free(text);
    if (!good)
        return err_set(ERR_FORMAT, "AUDIT-03", "%s: is no key of an audit log, which is 64 "
                       "hexadecimal digits; put the old one back", path);
    pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, AUDIT_KEY_BYTES);
    good = pkey && EVP_PKEY_get_raw_public_key(pkey, open_key, &n) == 1;
    EVP_PKEY_free(pkey);
    to_hex(key->open, open_key, good ? AUDIT_KEY_BYTES : 0);
    return good ? OK : err_set(ERR_NOMEM, "AUDIT-04", "no memory for the key of the audit log");
}

/* What is signed: every field, each ended by a line feed. */
static int signed_text(char out[512], const struct audit_head *h)
{
    return snprintf(out, 512, "croft audit head\n%s\n%lld\n%s\n%lld\n", h->chain, (long long)h->n,
                    h->hash, (long long)h->made_ms);
}

static void write_line(struct audit_head *h, const char *key, const char *sig)
{
    snprintf(h->line, sizeof(h->line), "{\"chain\":\"%s\",\"n\":%lld,\"hash\":\"%s\",\"t\":%lld,"
             "\"key\":\"%s\",\"sig\":\"%s\"}", h->chain, (long long)h->n, h->hash,
             (long long)h->made_ms, key, sig);
}

bool audit_head_sign(struct audit_head *h, const struct audit_key *key)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret,
                                                  AUDIT_KEY_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[AUDIT_SIG_BYTES];
    char text[512], hex[AUDIT_SIG_HEX];
    size_t n = sizeof(sig);
    int len = signed_text(text, h);
    bool good = pkey && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestSign(ctx, sig, &n, (const uint8_t *)text, (size_t)len) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    to_hex(hex, sig, good ? sizeof(sig) : 0);
    if (good)
        write_line(h, key->open, hex);
    return good;
}

static bool signature_fits(const struct audit_head *h, const char *key, const char *sig)
{
    uint8_t open_key[AUDIT_KEY_BYTES], bytes[AUDIT_SIG_BYTES];
    char text[512];
    int len = signed_text(text, h);
    EVP_PKEY *pkey = NULL;
    EVP_MD_CTX *ctx = NULL;
    bool good = from_hex(open_key, key, sizeof(open_key)) && from_hex(bytes, sig, sizeof(bytes));

    if (good) {
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, open_key, sizeof(open_key));
        ctx = EVP_MD_CTX_new();
        good = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
               EVP_DigestVerify(ctx, bytes, sizeof(bytes), (const uint8_t *)text,
                                (size_t)len) == 1;
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return good;
}

bool audit_head_read(struct audit_head *h, char key[AUDIT_KEY_HEX], const char *line, size_t len)
{
    const char *chain, *hash, *open_key, *sig;
    json_int_t n, t;
    json_t *object = NULL;
    bool good;

    *h = (struct audit_head){ .n = -1 };
    if (len >= sizeof(h->line) || json_parse(&object, line, len, AUDIT_LINE_MAX, "head") != OK)
        return false;
    good = json_unpack(object, "{s:s, s:I, s:s, s:I, s:s, s:s}", "chain", &chain, "n", &n, "hash",
                       &hash, "t", &t, "key", &open_key, "sig", &sig) == 0 &&
           strlen(chain) < sizeof(h->chain) && strlen(hash) == SHA256_HEX_BYTES - 1 &&
           strlen(open_key) == AUDIT_KEY_HEX - 1 && strlen(sig) == AUDIT_SIG_HEX - 1 && n >= 0;
    if (good) {
        h->n = n;
        h->made_ms = t;
        snprintf(h->chain, sizeof(h->chain), "%s", chain);
        snprintf(h->hash, sizeof(h->hash), "%s", hash);
        snprintf(key, AUDIT_KEY_HEX, "%s", open_key);
        write_line(h, key, sig);        /* the one way to write it */
        good = strlen(h->line) == len && !memcmp(h->line, line, len) &&
               signature_fits(h, key, sig);
    }
    json_decref(object);
    return good;
}

bool audit_hash(uint8_t hash[SHA256_BYTES], const void *text, size_t len)
{
    struct sha256 s = { NULL };
    bool good = sha256_init(&s) && sha256_add(&s, hash, SHA256_BYTES) &&
                sha256_add(&s, text, len) && sha256_finish(&s, hash);

    sha256_release(&s);
    return good;
}

bool audit_row_read(const char *line, size_t len, uint8_t hash[SHA256_BYTES], const char **text,
                    size_t *text_len, int64_t *n)
{
    enum { HEX = SHA256_HEX_BYTES - 1 };
    size_t i = HEX + 6;

    if (len < HEX + 10 || line[HEX] != ' ' || memcmp(line + HEX + 1, "{\"n\":", 5) ||
        line[len - 1] != '}' || !from_hex(hash, line, SHA256_BYTES))
        return false;
    for (size_t at = 0; at < HEX; at++)
        if (line[at] >= 'A' && line[at] <= 'F')
            return false;
    *text = line + HEX + 1;
    *text_len = len - HEX - 1;
    for (*n = 0; i < len && line[i] >= '0' && line[i] <= '9' && *n < INT64_MAX / 20; i++)
        *n = *n * 10 + (line[i] - '0');
    return i > HEX + 6 && line[i] == ',';
}

const char *audit_row_object(const char *text, size_t len, size_t *object_len)
{
    const char *at = memmem(text, len, "\"row\":", 6);

    *object_len = at ? (size_t)(text + len - 1 - (at + 6)) : 0;
    return at ? at + 6 : NULL;
}
