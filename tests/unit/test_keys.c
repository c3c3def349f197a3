/* test_keys.c - http/keys.h: whose token it is, and what a key file may hold. */
#include "http/keys.h"

#include "temp_file.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

static struct piece text(const char *s)
{
    return (struct piece){ s, strlen(s) };
}

static const struct key like = { .id = "lap-top1", .group = "team",
                                 .scopes = KEY_INFER | KEY_ADMIN,
                                 .created = 1800000000, .expires = 1900000000, .in_flight = 4,
                                 .requests_per_minute = 60 };

Test(keys, a_token_is_known_until_it_is_revoked_or_ends)
{
    char token[KEY_TOKEN_BYTES], again[KEY_TOKEN_BYTES];
    const struct key *key;
    struct keys *k;

    cr_assert_eq(keys_new(&k), OK);
    cr_assert_eq(keys_add(k, &like, token), OK);
    cr_assert_eq(strncmp(token, "croft_lap-top1_", 15), 0);
    cr_assert_eq(keys_check(k, text(token), 1899999999, &key), KEY_OK);
    cr_assert_str_eq(key->id, "lap-top1");
    cr_assert_eq(keys_check(k, text(token), 1900000000, &key), KEY_EXPIRED);
    cr_assert_null(key);
    cr_assert_eq(keys_add(k, &like, again), ERR_ARG);
    cr_assert_eq(keys_renew(k, &k->key[0], again), OK);
    cr_assert_eq(keys_check(k, text(token), 0, &key), KEY_UNKNOWN);
    cr_assert_eq(keys_check(k, text(again), 0, &key), KEY_OK);
    k->key[0].revoked = true;
    cr_assert_eq(keys_check(k, text(again), 0, &key), KEY_REVOKED);
    keys_free(k);
}

Test(keys, nothing_but_the_whole_token_will_do)
{
    char token[KEY_TOKEN_BYTES], other[KEY_TOKEN_BYTES + 8];
    const struct key *key;
    struct keys *k;
    size_t len;

    cr_assert_eq(keys_new(&k), OK);
    cr_assert_eq(keys_add(k, &like, token), OK);
    len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        memcpy(other, token, len + 1);
        other[i] = other[i] == 'a' ? 'b' : 'a';
        cr_assert_eq(keys_check(k, text(other), 0, &key), KEY_UNKNOWN, "byte %zu", i);
        cr_assert_eq(keys_check(k, (struct piece){ token, i }, 0, &key), KEY_UNKNOWN);
    }
    snprintf(other, sizeof(other), "%sa", token);
    cr_assert_eq(keys_check(k, text(other), 0, &key), KEY_UNKNOWN);
    cr_assert_eq(keys_check(k, text(""), 0, &key), KEY_UNKNOWN);
    k->n = 0;
    cr_assert_eq(keys_check(k, text(token), 0, &key), KEY_UNKNOWN);
    keys_free(k);
}

Test(keys, a_key_with_a_mac_of_zeros_admits_nobody)
{
    char token[KEY_TOKEN_BYTES];
    const struct key *key;
    struct keys *k;

    cr_assert_eq(keys_new(&k), OK);
    cr_assert_eq(keys_add(k, &like, token), OK);
    memset(k->key[0].mac, 0, sizeof(k->key[0].mac));
    cr_assert_eq(keys_check(k, text(token), 0, &key), KEY_UNKNOWN);
    keys_free(k);
}

Test(keys, the_file_gives_back_what_was_written)
{
    char token[3][KEY_TOKEN_BYTES];
    const struct key *key;
    struct keys *k, *back;
    struct key other = { .id = "b", .scopes = KEY_METRICS, .created = 1800000000,
                         .revoked = true };
    struct temp temp;
    struct stat st;

    temp_init(&temp);
    const char *path = temp_path(&temp, "keys.json");
    cr_assert_eq(keys_load(&k, path), ERR_MISSING);
    cr_assert_null(k);
    cr_assert_eq(keys_new(&k), OK);
    cr_assert_eq(keys_write(k, path), OK);
    cr_assert_eq(keys_load(&back, path), OK);
    cr_assert_eq(back->n, 0);
    cr_assert_eq(keys_add(k, &like, token[0]), OK);
    cr_assert_eq(keys_add(k, &other, token[1]), OK);
    snprintf(other.id, sizeof(other.id), "c");
    cr_assert_eq(keys_add(k, &other, token[2]), OK);
    cr_assert_eq(keys_write(k, path), OK);
    cr_assert(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    cr_assert_eq(keys_reload(&back, path), OK);
    cr_assert_eq(back->n, 3);
    cr_assert_eq(memcmp(back->key, k->key, 3 * sizeof(*k->key)), 0);
    cr_assert_eq(keys_check(back, text(token[0]), 0, &key), KEY_OK);
    cr_assert_eq(keys_check(back, text(token[2]), 0, &key), KEY_REVOKED);
    cr_assert_eq(count_entries(temp.folder), 1);

    chmod(path, 0622);
    cr_assert_eq(keys_reload(&back, path), ERR_ARG);
    cr_assert_eq(back->n, 3);
    keys_free(k);
    keys_free(back);
    temp_release(&temp);
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define FILE_OF(keys) "{\"croft_keys\": 1, \"salt\": \"" HEX "\", \"keys\": [" keys "]}"
#define KEY_OF(more) "{\"id\": \"a\", \"hmac\": \"" HEX "\", \"scopes\": [\"infer\"], " \
                     "\"created\": \"2026-11-27T23:34:55Z\"" more "}"

Test(keys, a_file_that_cannot_be_right_is_refused)
{
    static const char *const no[] = {
        "", "{}", "[]", "{\"croft_keys\": 2, \"salt\": \"" HEX "\", \"keys\": []}",
        "{\"croft_keys\": 1, \"salt\": \"00\", \"keys\": []}",
        "{\"croft_keys\": 1, \"salt\": \"" HEX "\", \"keys\": [], \"more\": 1}",
        "{\"croft_keys\": 1, \"salt\": \"" HEX "\", \"keys\": {}}", FILE_OF("1"), FILE_OF("{}"),
        FILE_OF(KEY_OF("") ", " KEY_OF("")), FILE_OF(KEY_OF(", \"unknown\": 1")),
        FILE_OF(KEY_OF(", \"in_flight\": 0")), FILE_OF(KEY_OF(", \"in_flight\": -1")),
        FILE_OF(KEY_OF(", \"in_flight\": 1.5")), FILE_OF(KEY_OF(", \"in_flight\": \"1\"")),
        FILE_OF(KEY_OF(", \"tokens_per_minute\": 1000000000001")),
        FILE_OF(KEY_OF(", \"revoked\": \"true\"")), FILE_OF(KEY_OF(", \"revoked\": null")),
        FILE_OF(KEY_OF(", \"expires\": \"2026-02-30\"")), FILE_OF(KEY_OF(", \"expires\": 5")),
        FILE_OF(KEY_OF(", \"group\": \"\"")), FILE_OF(KEY_OF(", \"group\": \"A\"")),
        FILE_OF("{\"id\": \"\", \"hmac\": \"" HEX "\", \"scopes\": [], "
                "\"created\": \"2026-11-27\"}"),
        FILE_OF("{\"id\": \"a\", \"hmac\": \"" HEX "\", \"created\": \"2026-11-27\"}"),
        FILE_OF("{\"id\": \"a\", \"scopes\": [], \"created\": \"2026-11-27\"}"),
        FILE_OF("{\"id\": \"a\", \"hmac\": \"" HEX "\", \"scopes\": \"infer\", "
                "\"created\": \"2026-11-27\"}"),
        FILE_OF("{\"id\": \"a\", \"hmac\": \"" HEX "\", \"scopes\": [\"all\"], "
                "\"created\": \"2026-11-27\"}"),
    };
    struct temp temp;
    struct keys *k;

    temp_init(&temp);
    const char *good = FILE_OF(KEY_OF(", \"in_flight\": 1, \"expires\": \"2028-02-29\""));
    cr_assert_eq(keys_load(&k, temp_write(&temp, "k", good, strlen(good))), OK, "%s", err_text());
    cr_assert(k->n == 1 && k->key[0].in_flight == 1 && k->key[0].expires == 1835395200);
    keys_free(k);
    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
        cr_assert_eq(keys_load(&k, temp_write(&temp, "k", no[i], strlen(no[i]))), ERR_FORMAT, "%s",
                     no[i]);
        cr_assert_null(k);
    }
    temp_release(&temp);
}

Test(keys, the_token_of_a_request_is_found_in_both_fields)
{
    static const struct { const char *field, *want; } row[] = {
        { "Authorization: Bearer abc", "abc" }, { "authorization: bearer abc", "abc" },
        { "x-api-key: abc", "abc" }, { "Authorization: Basic abc", NULL }, { "X: y", NULL },
        { "Authorization: Basic abc\r\nx-api-key: def", NULL },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        struct head h = { 0 };
        char bytes[256];
        size_t used, n = (size_t)snprintf(bytes, sizeof(bytes),
                                          "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"
                                          "\r\n", row[i].field);
        cr_assert_eq(head_feed(&h, bytes, n, &used), HEAD_DONE);
        struct piece token = keys_token(&h);
        cr_assert_eq(token.at != NULL, row[i].want != NULL, "%s", row[i].field);
        cr_assert(!token.at || piece_is(token, row[i].want));
        head_release(&h);
    }
}
