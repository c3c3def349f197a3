/* key_rows.h - the table of a gateway's keys, as rows: it knows no tokens.  Blocking.
 *
 * All functions run inside a transaction of the caller's (db_begin); those that say "alone" in one
 * that is alone.  Every change raises a number, by which a reader sees that there is one. */
#ifndef STORE_KEY_ROWS_H
#define STORE_KEY_ROWS_H

#include "store/db.h"

#include "base/sha256.h"

enum { KEY_ROWS_MAX = 10000, KEY_ROW_TEXT_MAX = 4096 };

/* Lists are separated by spaces.  Of a read row texts are borrowed from the set. */
struct key_row {
    const char *id, *hmac;              /* hmac: 64 hexadecimal digits */
    const char *scopes, *team, *models, *labels, *tags;
    bool revoked;
    int64_t created, expires;           /* Unix seconds; expires 0: never */
};

struct key_rows {
    int64_t version;                    /* 0: there was never a key */
    char salt[SHA256_HEX_BYTES];        /* "" with version 0 */
    struct key_row *row;
    int n;
    char *text;
};

/* The table, or, where its version is `known` still (-1: none is), *out NULL.  *out is yours:
 * key_rows_free().  Errors: FORMAT, LIMIT (more than KEY_ROWS_MAX), NOMEM; of the database. */
MUST_CHECK enum err key_rows_read(struct key_rows **out, struct db *db, int64_t known);
void key_rows_free(struct key_rows *k);

/* Put a row in place of the one of its id, or beside the others.  `salt`: of a table that has none
 * yet.  Alone.  Errors: ARG (a text too long), LIMIT; of the database. */
MUST_CHECK enum err key_rows_put(struct db *db, const struct key_row *row, const char *salt);

/* *found: there was one.  Alone. */
MUST_CHECK enum err key_rows_remove(struct db *db, const char *id, bool *found);

#endif
