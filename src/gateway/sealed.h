/* sealed.h - what is kept aside, as rows of the ledger that only who has a key can read or make.
 *
 * Each turn is sealed by AES-256-GCM under a key of its own, made of the configuration's key and
 * 128 random bits, and bound to all that the row says of it: client key, name, upstream, key id,
 * expiry.  A row that was changed, or that lies in another's place, does not open.  A row's name
 * is an HMAC of the handle, so that who reads the table cannot try out words.
 *
 * The first key seals, all of them open: a new one is put in front, and the old one stays until
 * what it sealed has expired. */
#ifndef GATEWAY_SEALED_H
#define GATEWAY_SEALED_H

#include "base/buf.h"
#include "gateway/aside.h"
#include "gateway/config.h"
#include "store/kept_rows.h"

enum { SEALER_KEYS_MAX = KEPT_KEYS_MAX, SEALED_KEY_ID_BYTES = 17 };

struct sealer;

/* Of keys as text, 64 hexadecimal digits each, 1 to SEALER_KEYS_MAX.  *out is yours:
 * sealer_free().  Errors: FORMAT (none of that form, by its number), NOMEM. */
MUST_CHECK enum err sealer_new(struct sealer **out, const char *const *secret, int n);
void sealer_free(struct sealer *s);     /* memory is overwritten first */
int sealer_keys(const struct sealer *s);

/* The name of a client key's row for a handle, as the i-th of sealer_keys() names it.
 * Errors: NOMEM. */
MUST_CHECK enum err sealed_name(char out[KEPT_NAME_BYTES], const struct sealer *s, int i,
                                const char *key, const struct aside_handle *h);

/* Where texts of rows and entries lie; a zeroed struct is empty. */
struct sealed_room {
    char name[KEPT_NAME_BYTES], model[ASIDE_NAME_MAX + 1];
    struct buf plain, text;
    struct aside_part *part;
};
void sealed_room_release(struct sealed_room *room);     /* memory is overwritten first */

/* Seal an entry, whose labels are c's: they are kept by their names.  *row is borrowed from `room`,
 * s, key and entry.  Errors: LIMIT (larger than an entry may be), IO (no random numbers), NOMEM. */
MUST_CHECK enum err sealed_make(struct kept_row *row, struct sealed_room *room,
                                const struct sealer *s, const struct config *c, const char *key,
                                const struct aside_handle *h, const struct aside_entry *entry,
                                int64_t expires_ms);

/* Open a row: *out is borrowed from `room` and row.  Errors: FORMAT (it does not open, or has a
 * label that c has not), NOMEM. */
MUST_CHECK enum err sealed_open(struct aside_entry *out, struct sealed_room *room,
                                const struct sealer *s, const struct config *c,
                                const struct kept_row *row);

#endif
