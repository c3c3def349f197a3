/* keyring.h - the keys of a gateway, as its ledger has them: who asks, and what he may.
 *
 * A keyring is a picture of the table: made by the store's thread's rows (store/key_rows.h), never
 * changed, so that the loop looks up without waiting.  A new picture comes by store_open()'s `keys`
 * within KEYS_FRESH_MS of a change in the database; the one before is freed by whom it was given.
 * Secrets are made and checked by http/keys.h alone, as for a key file. */
#ifndef GATEWAY_KEYRING_H
#define GATEWAY_KEYRING_H

#include "gateway/choose.h"
#include "http/keys.h"
#include "store/key_rows.h"

/* What a key may and is; texts are borrowed from the keyring. */
struct key_may {
    const char *team;                   /* "": the team of the configuration that lists the key */
    struct choice_scope models;         /* of names: models, aliases, groups */
    const char *const *label;           /* names: all its requests have these */
    unsigned n_label;
    const char *tags;                   /* separated by spaces, "" */
};

struct keyring;

/* Made of rows, which stay the caller's.  *out is yours: keyring_free().  Errors: FORMAT (a row
 * that cannot be: it is named), NOMEM. */
MUST_CHECK enum err keyring_new(struct keyring **out, const struct key_rows *rows);
void keyring_free(struct keyring *k);

/* The keys as http/keys.h has them, borrowed: for keys_check(), logs, and commands. */
struct keys *keyring_keys(const struct keyring *k);

/* What a key of keyring_keys() may; never NULL. */
const struct key_may *keyring_may(const struct keyring *k, const struct key *key);

/* keys_check(), and what the key may; both NULL where the verdict is not KEY_OK. */
enum key_verdict keyring_check(const struct keyring *k, struct piece token, int64_t now,
                               const struct key **key, const struct key_may **may);

/* The team of a key in a configuration: its index, -1: none; -2: the row names a team that the
 * configuration has not, or one while another team lists the key: refuse (403). */
int keyring_team(const struct config *c, const struct key *key, const struct key_may *may);

/* The models that a key's team may name, for choose(); any, where it has no team or names none.
 * Borrowed from the configuration. */
struct choice_scope keyring_team_scope(const struct config *c, int team);

/* The labels that a key and its team put on every request.  False: the configuration has not a
 * label that the key names: refuse, for its rules cannot be kept. */
bool keyring_labels(const struct config *c, const struct key_may *may, int team, uint64_t *labels);

/* A key and what it may as a row of the ledger.  Texts are borrowed from `may` and `room`, which is
 * overwritten; models and labels are joined there.  Errors: NOMEM. */
struct keyring_room { char hmac[SHA256_HEX_BYTES], scopes[64]; struct buf models, labels; };
MUST_CHECK enum err keyring_row(struct key_row *row, const struct key *key,
                                const struct key_may *may, struct keyring_room *room);
void keyring_room_release(struct keyring_room *room);

#endif
