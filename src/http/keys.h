/* keys.h - the key file: who may use a server, for what, how much, until when.
 *
 * A key is shown once, when it is made: croft_<id>_<secret>, the secret being 256 random bits.
 * The file keeps an HMAC-SHA-256 of it alone; docs/key-file.md describes the file.  A loaded set
 * is not changed by checks, so that threads may share it; a reload makes another set. */
#ifndef HTTP_KEYS_H
#define HTTP_KEYS_H

#include "http/head.h"

#include "base/sha256.h"

enum { KEYS_MAX = 10000, KEYS_FILE_BYTES_MAX = 8 << 20, KEY_ID_MAX = 64, KEY_SECRET_HEX = 64,
       KEY_TOKEN_BYTES = 6 + KEY_ID_MAX + 1 + KEY_SECRET_HEX + 1 };

/* What a key may do; a set of bits. */
enum key_scope { KEY_INFER = 1, KEY_METRICS = 2, KEY_ADMIN = 4 };

struct key {
    char id[KEY_ID_MAX + 1];            /* [a-z0-9-]{1,64} */
    char group[KEY_ID_MAX + 1];         /* keys of one group may share what is cached; "": alone */
    uint8_t mac[SHA256_BYTES];
    unsigned scopes;
    bool revoked;
    int64_t created, expires;           /* Unix seconds; expires 0: never */
    int64_t requests_per_minute, tokens_per_minute, in_flight;  /* 0: no limit */
};

/* slot: a table by which keys_find() finds; keys_put() and keys_remove() alone change the set. */
struct keys { uint8_t salt[SHA256_BYTES]; struct key *key; int n; int *slot; unsigned n_slot; };

/* A new set without keys.  Errors: NOMEM, IO (no random numbers). */
MUST_CHECK enum err keys_new(struct keys **out);

/* Errors: MISSING, IO, ARG (others may write to the file), FORMAT with the key and its field,
 * LIMIT, NOMEM.  On failure *out is NULL. */
MUST_CHECK enum err keys_load(struct keys **out, const char *path);
void keys_free(struct keys *k);

/* The file again, in place of *k, which is freed; on failure *k stays as it was. */
MUST_CHECK enum err keys_reload(struct keys **k, const char *path);

/* Write the file so that it is the old or the new one at any moment; readable by its owner
 * alone. */
MUST_CHECK enum err keys_write(const struct keys *k, const char *path);

/* Hold the right to change the file at `path` among processes; *fd is given to keys_unlock. */
MUST_CHECK enum err keys_lock(int *fd, const char *path);
void keys_unlock(int fd);

/* The key of an id, or NULL. */
struct key *keys_find(const struct keys *k, const char *id, size_t len);

/* Add a key as it is, with its mac.  Errors: ARG (the id is there), LIMIT, NOMEM. */
MUST_CHECK enum err keys_put(struct keys *k, const struct key *key);

/* Take out a key of the set; those behind it move. */
void keys_remove(struct keys *k, struct key *key);

/* Add a key (its mac is set here) or give the one of that id a new secret.  `token` is what its
 * user gets.  Errors: ARG (a bad id; add: the id is there), LIMIT, NOMEM, IO. */
MUST_CHECK enum err keys_add(struct keys *k, const struct key *like, char token[KEY_TOKEN_BYTES]);
MUST_CHECK enum err keys_renew(struct keys *k, struct key *key, char token[KEY_TOKEN_BYTES]);

/* Whose token it is.  KEY_OK alone means yes, and then *key is borrowed from the set; otherwise
 * it is NULL.  The time taken does not depend on the secret, nor on whether the id exists. */
enum key_verdict { KEY_OK, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED };
enum key_verdict keys_check(const struct keys *k, struct piece token, int64_t now,
                            const struct key **key);

/* The token of a request: of "Authorization: Bearer", else of x-api-key; at NULL without. */
struct piece keys_token(const struct head *h);

/* "infer" -> KEY_INFER; 0 for none of them.  The name of one bit. */
unsigned key_scope_of(const char *name);
const char *key_scope_name(enum key_scope s);

bool key_id_ok(const char *id, size_t len);

/* 64 hexadecimal digits, lower case, and a NUL: what a key file and a ledger keep of a key. */
bool key_mac_of(uint8_t mac[SHA256_BYTES], const char *hex);

/* "2027-01-31", "2027-01-31T12:00:00Z" -> Unix seconds; false when it is neither. */
bool key_time_of(const char *text, int64_t *out);
enum { KEY_TIME_BYTES = 32 };
void key_time_text(char out[KEY_TIME_BYTES], int64_t t);

#endif
