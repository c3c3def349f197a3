/* test_keyring.c - gateway/keyring.h over store/key_rows.h: a ledger's keys as a gateway sees
 * them. */
#include "gateway/keyring.h"

#include "store/store.h"

#include "gateway_cases.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/croft-keyring-XXXXXX", url[128], token[KEY_TOKEN_BYTES];
static struct db *db;

static void begin(void)
{
    cr_assert(mkdtemp(folder));
    snprintf(url, sizeof(url), "sqlite:%s/l.db", folder);
    cr_assert_eq(db_open(&db, url, true), OK, "%s", err_text());
}

static void end(void)
{
    char command[128];

    db_close(db);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* Make or change a key as a command does. */
static void put(const char *id, const struct key_may *may, bool revoked)
{
    struct keyring_room room = { 0 };
    struct key_rows *rows;
    struct keyring *k;
    struct key_row row;
    char salt[SHA256_HEX_BYTES];

    cr_assert_eq(db_begin(db, true), OK);
    cr_assert_eq(key_rows_read(&rows, db, -1), OK);
    cr_assert_eq(keyring_new(&k, rows), OK, "%s", err_text());
    struct keys *keys = keyring_keys(k);
    struct key *key = keys_find(keys, id, strlen(id)), like = { .scopes = KEY_INFER,
                                                                .created = 1000 };
    if (!rows->version)
        memset(keys->salt, 7, sizeof(keys->salt));
    if (!key) {
        snprintf(like.id, sizeof(like.id), "%s", id);
        cr_assert_eq(keys_add(keys, &like, token), OK);
        key = keys_find(keys, id, strlen(id));
    }
    key->revoked = revoked;
    sha256_hex(salt, keys->salt);
    cr_assert_eq(keyring_row(&row, key, may, &room), OK);
    cr_assert_eq(key_rows_put(db, &row, salt), OK, "%s", err_text());
    cr_assert_eq(db_commit(db), OK);
    keyring_room_release(&room);
    keyring_free(k);
    key_rows_free(rows);
}

static struct keyring *ring(void)
{
    struct key_rows *rows;
    struct keyring *k;

    cr_assert_eq(db_begin(db, false), OK);
    cr_assert_eq(key_rows_read(&rows, db, -1), OK);
    cr_assert_eq(db_commit(db), OK);
    cr_assert_eq(keyring_new(&k, rows), OK, "%s", err_text());
    key_rows_free(rows);
    return k;
}

static const char *const models[] = { "g", "near" }, *const labels[] = { "two" };
static const struct key_may some = { .team = "", .models = { models, 2, false }, .label = labels,
                                     .n_label = 1, .tags = "red blue" };
static const struct key_may none = { .team = "", .models.any = true, .tags = "" };

static struct piece piece(const char *s)
{
    return (struct piece){ s, strlen(s) };
}

Test(keyring, a_key_is_found_with_what_it_may, .init = begin, .fini = end)
{
    const struct key_may *may;
    const struct key *key;

    put("laptop", &some, false);
    put("other", &none, false);
    struct keyring *k = ring();
    cr_assert_eq(keyring_check(k, piece(token), 2000, &key, &may), KEY_OK);
    cr_assert_str_eq(key->id, "other");
    cr_assert(may->models.any && may->n_label == 0);
    key = keys_find(keyring_keys(k), "laptop", 6);
    may = keyring_may(k, key);
    cr_assert(!may->models.any && may->models.count == 2);
    cr_assert_str_eq(may->models.name[0], "g");
    cr_assert_str_eq(may->models.name[1], "near");
    cr_assert_str_eq(may->label[0], "two");
    cr_assert_str_eq(may->tags, "red blue");
    cr_assert_eq(key->created, 1000);
    cr_assert_eq(key->scopes, (unsigned)KEY_INFER);
    keyring_free(k);
}

Test(keyring, a_revoked_key_and_a_strange_one_have_nothing, .init = begin, .fini = end)
{
    const struct key_may *may;
    const struct key *key;

    put("laptop", &some, false);
    put("laptop", &some, true);
    struct keyring *k = ring();
    cr_assert_eq(keyring_check(k, piece(token), 2000, &key, &may), KEY_REVOKED);
    cr_assert(!key && !may);
    token[10] ^= 1;
    cr_assert_eq(keyring_check(k, piece(token), 2000, &key, &may), KEY_UNKNOWN);
    cr_assert(!key && !may);
    keyring_free(k);
}

Test(keyring, an_unchanged_table_is_not_read_again, .init = begin, .fini = end)
{
    struct key_rows *rows, *again;
    bool found;

    cr_assert_eq(db_begin(db, true), OK);
    cr_assert_eq(key_rows_read(&rows, db, -1), OK);
    cr_assert(rows->version == 0 && rows->n == 0);
    cr_assert_eq(db_commit(db), OK);
    key_rows_free(rows);
    put("a", &none, false);
    cr_assert_eq(db_begin(db, true), OK);
    cr_assert_eq(key_rows_read(&rows, db, 0), OK);
    cr_assert_eq(rows->n, 1);
    cr_assert_eq(key_rows_read(&again, db, rows->version), OK);
    cr_assert_null(again);
    cr_assert_eq(key_rows_remove(db, "a", &found), OK);
    cr_assert(found);
    cr_assert_eq(key_rows_remove(db, "a", &found), OK);
    cr_assert(!found);
    cr_assert_eq(key_rows_read(&again, db, rows->version), OK);
    cr_assert_eq(again->n, 0);
    cr_assert_str_eq(again->salt, rows->salt, "the salt stays");
    cr_assert_eq(db_commit(db), OK);
    key_rows_free(rows);
    key_rows_free(again);
}

Test(keyring, rows_that_cannot_be_are_refused)
{
    const char *const zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    const struct key_row good = { .id = "a", .hmac = zeros, .scopes = "infer metrics", .team = "",
                                  .models = "", .labels = "", .tags = "" };
    struct key_row bad[] = { good, good, good, good };
    struct keyring *k;

    bad[0].id = "A";
    bad[1].hmac = "00";
    bad[2].scopes = "infer everything";
    bad[3].scopes = "averyveryverylongscope";
    for (int i = 0; i < 4; i++) {
        struct key_rows rows = { .version = 1, .row = &bad[i], .n = 1 };
        memcpy(rows.salt, zeros, SHA256_HEX_BYTES);
        cr_assert_eq(keyring_new(&k, &rows), ERR_FORMAT);
        cr_assert_null(k);
    }
    struct key_row twice[] = { good, good };
    struct key_rows rows = { .version = 1, .row = twice, .n = 2 };
    cr_assert_eq(keyring_new(&k, &rows), ERR_FORMAT, "no salt");
    memcpy(rows.salt, zeros, SHA256_HEX_BYTES);
    cr_assert_eq(keyring_new(&k, &rows), ERR_ARG, "twice");
}

Test(keyring, team_and_labels_are_the_keys_and_the_configurations)
{
    const char *const wrong[] = { "gone" };
    struct key laptop = { .id = "laptop" }, other = { .id = "other" };
    struct key_may may = some;
    uint64_t set;

    case_open("teams:\n"
              "  - {name: t, keys: [laptop], labels: [one], models: [g]}\n"
              "  - {name: u, labels: [one]}\n");
    cr_assert_eq(keyring_team(case_config, &laptop, &may), 0);
    cr_assert_eq(keyring_team(case_config, &other, &may), -1);
    may.team = "u";
    cr_assert_eq(keyring_team(case_config, &other, &may), 1);
    cr_assert_eq(keyring_team(case_config, &laptop, &may), -2, "two teams");
    may.team = "v";
    cr_assert_eq(keyring_team(case_config, &other, &may), -2, "a team that is not");
    cr_assert(keyring_labels(case_config, &may, 0, &set));
    cr_assert_eq(set, 3);
    may.label = wrong;
    cr_assert(!keyring_labels(case_config, &may, -1, &set));
    cr_assert(keyring_team_scope(case_config, 1).any);
    cr_assert_eq(keyring_team_scope(case_config, 0).count, 1);
    case_close();
}

static struct key_rows *came;
static int n_came;

static void take_keys(void *arg, struct key_rows *taken)
{
    (void)arg;
    key_rows_free(came);
    came = taken;
    n_came++;
}

/* Polls until there are `n` pictures, or far too long. */
static void wait_for(struct store *s, int n)
{
    for (int i = 0; i < 2000 && n_came < n; i++) {
        struct pollfd fd = { .fd = store_fd(s), .events = POLLIN };
        cr_assert_geq(poll(&fd, 1, 10), 0);
        store_poll(s);
    }
    cr_assert_eq(n_came, n);
}

Test(keyring, a_running_store_hands_over_what_changed, .init = begin, .fini = end)
{
    struct store_options o = { .url = url, .state = folder, .keys = take_keys, .lease_ms = 600 };
    struct store *s;

    put("a", &none, false);
    cr_assert_eq(store_open(&s, &o), OK, "%s", err_text());
    wait_for(s, 1);
    cr_assert(came->n == 1 && !came->row[0].revoked);
    put("a", &none, true);
    wait_for(s, 2);
    cr_assert(came->n == 1 && came->row[0].revoked);
    store_close(s, 0);
    cr_assert_eq(n_came, 2, "what did not change does not come again");
    key_rows_free(came);
}
