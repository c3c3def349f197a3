/* audit_form.h - what the writer and the verifier of audit logs share: rows and signed heads. */
#ifndef STORE_AUDIT_FORM_H
#define STORE_AUDIT_FORM_H

#include "store/audit.h"

#include "base/buf.h"

enum { AUDIT_KEY_BYTES = 32, AUDIT_SIG_BYTES = 64, AUDIT_KEY_HEX = 65, AUDIT_SIG_HEX = 129 };

struct audit_key { uint8_t secret[AUDIT_KEY_BYTES]; char open[AUDIT_KEY_HEX]; };

/* STATE/audit.key, made when it is not there. */
MUST_CHECK enum err audit_key_load(struct audit_key *key, const char *state);

/* Fill in h->line.  False: no memory. */
bool audit_head_sign(struct audit_head *h, const struct audit_key *key);

/* Read a line; `key` gets the public key that it was signed by.  False: no head, or its signature
 * is none of that key. */
bool audit_head_read(struct audit_head *h, char key[AUDIT_KEY_HEX], const char *line, size_t len);

/* SHA-256 of the hash before and the text.  False: no memory. */
bool audit_hash(uint8_t hash[SHA256_BYTES], const void *text, size_t len);

/* "HASH {...}" without line feed: its hash; *text is what stands behind, *n its number.  False:
 * not of that form. */
bool audit_row_read(const char *line, size_t len, uint8_t hash[SHA256_BYTES], const char **text,
                    size_t *text_len, int64_t *n);

/* The object of a row, of its text. */
const char *audit_row_object(const char *text, size_t len, size_t *object_len);

#endif
