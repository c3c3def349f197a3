/* kept_rows.h - the table of what gateways keep aside, as rows: sealed elsewhere
 * (gateway/sealed.h), so that nothing here can be read.  Blocking.
 *
 * All functions run inside a transaction of the caller's (db_begin); those that say "alone" in one
 * that is alone, so that two of them never wait for each other's rows. */
#ifndef STORE_KEPT_ROWS_H
#define STORE_KEPT_ROWS_H

#include "store/db.h"

enum {
    KEPT_NAME_BYTES = 65,               /* a row's name: 64 hexadecimal digits and a NUL */
    KEPT_NAMES_MAX = 1024,              /* of one question */
    KEPT_ROW_BYTES_MAX = 3 << 19,       /* of `sealed` */
    KEPT_KEY_BYTES_MAX = 16 << 20,      /* of all rows of a key ... */
    KEPT_KEY_ROWS_MAX = 4096,           /* ... which are no more than that */
    KEPT_EXPIRE_STEP = 64,              /* rows that are deleted at once, and two for each put */
};

/* A row is found by key and name.  Texts are borrowed. */
struct kept_row {
    const char *key;                    /* id of the client's key, "" without */
    const char *name, *upstream, *seal_key, *sealed;
    int64_t expires_ms;                 /* UTC: from then on it is not there */
};

/* Put a row in place of the one of its name; the key's oldest ones go where it has too much.  A key
 * that is revoked or not in the table gets none.  Alone. */
MUST_CHECK enum err kept_rows_put(struct db *db, const struct kept_row *row, int64_t now_ms);

/* Call `fn` with each row of the key that has one of the names and has not expired. */
typedef void kept_row_fn(void *arg, const struct kept_row *row);
MUST_CHECK enum err kept_rows_get(struct db *db, const char *key,
                                  const char (*name)[KEPT_NAME_BYTES], int n, int64_t now_ms,
                                  kept_row_fn *fn, void *arg);

/* Delete expired rows, at most n_max.  Alone. */
MUST_CHECK enum err kept_rows_expire(struct db *db, int64_t now_ms, int n_max);

/* Delete what a key has.  Alone. */
MUST_CHECK enum err kept_rows_forget(struct db *db, const char *key);

#endif
