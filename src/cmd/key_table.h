/* key_table.h - where `croft key` keeps keys: a key file, or the ledger of a gateway (--config).
 *
 *   key_table_open -> a change of t.keys, one key -> key_table_save -> key_table_close
 *
 * Keys are made and checked by http/keys.h in both.  What only one of the two can keep is refused
 * for the other. */
#ifndef CMD_KEY_TABLE_H
#define CMD_KEY_TABLE_H

#include "base/opt.h"
#include "gateway/keyring.h"

enum key_open { KEY_READ, KEY_CHANGE, KEY_MAKE /* a table that is not there is begun */ };

struct key_table {
    const struct opt_set *o;
    const char *name;                   /* for messages: a file */
    struct keys *keys;                  /* of the table, in memory */
    struct buf path;                    /* of a file, as is the next */
    int lock;
    struct config *c;                   /* of a ledger, as are the next */
    struct db *db;
    struct keyring *ring;
    struct key_may may;                 /* of the key that is changed; lists in `list` */
    const char **list;
    struct buf tags;
};

/* As the options say.  Held alone while it may be changed.  Yours also after an error:
 * key_table_close().  Errors: those of the file or the database; ARG. */
MUST_CHECK enum err key_table_open(struct key_table *t, const struct opt_set *o,
                                   enum key_open how);
void key_table_close(struct key_table *t);

/* What the options say of a key, and only one of the two tables keeps: team,
 * models, labels and tags in a ledger; group and limits in a file, and those are set in `key`.
 * Errors: ARG, NOMEM. */
MUST_CHECK enum err key_table_apply(struct key_table *t, struct key *key, bool is_new);

/* Write the one key that was changed, or made; or that was removed, whose id it was. */
MUST_CHECK enum err key_table_save(struct key_table *t, const struct key *key);
MUST_CHECK enum err key_table_remove(struct key_table *t, struct key *key);

/* What a key may, NULL of a file. */
const struct key_may *key_table_may(const struct key_table *t, const struct key *key);

#endif
