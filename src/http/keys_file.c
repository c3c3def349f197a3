/* keys_file.c - the key file read and written: JSON, described in docs/key-file.md.
 *
 * Read strictly: a field that is not known could be a limit that is not kept. */
#include "http/keys.h"

#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1 };
static const int64_t limit_max = 1000000000000;

bool key_time_of(const char *text, int64_t *out)
{
    struct tm tm = { 0 }, back;
    int y, mon, d, h = 0, min = 0, s = 0, n = 0, n_date = 0;
    time_t t;

    if (sscanf(text, "%4d-%2d-%2d%nT%2d:%2d:%2dZ%n", &y, &mon, &d, &n_date, &h, &min, &s, &n) < 3)
        return false;
    if (!(n_date == 10 && !text[10]) && !(n == 20 && !text[20]))
        return false;
    tm.tm_year = y - 1900, tm.tm_mon = mon - 1, tm.tm_mday = d;
    tm.tm_hour = h, tm.tm_min = min, tm.tm_sec = s;
    t = timegm(&tm);
    if (t <= 0 || !gmtime_r(&t, &back) || back.tm_mon != mon - 1 || back.tm_mday != d ||
        back.tm_hour != h || back.tm_min != min || back.tm_sec != s)
        return false;
    *out = t;
    return true;
}

void key_time_text(char out[KEY_TIME_BYTES], int64_t t)
{
    time_t seconds = (time_t)t;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(out, KEY_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

bool key_mac_of(uint8_t mac[SHA256_BYTES], const char *hex)
{
    if (strlen(hex) != 2 * SHA256_BYTES || strspn(hex, "0123456789abcdef") != 2 * SHA256_BYTES)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++)
        mac[i] = (uint8_t)(hex_value(hex[2 * i]) * 16 + hex_value(hex[2 * i + 1]));
    return true;
}

static bool read_hex(uint8_t out[SHA256_BYTES], const json_t *j)
{
    return json_is_string(j) && key_mac_of(out, json_string_value(j));
}

static bool read_id(char out[KEY_ID_MAX + 1], const json_t *j)
{
    const char *s = json_string_value(j);

    if (!s || !key_id_ok(s, json_string_length(j)))
        return false;
    memcpy(out, s, json_string_length(j) + 1);
    return true;
}

static bool read_scopes(unsigned *out, const json_t *j)
{
    const json_t *one;
    size_t i;

    json_array_foreach (j, i, one) {
        unsigned scope = json_is_string(one) ? key_scope_of(json_string_value(one)) : 0;
        if (!scope)
            return false;
        *out |= scope;
    }
    return json_is_array(j);
}

static bool read_time(int64_t *out, const json_t *j)
{
    return json_is_string(j) && key_time_of(json_string_value(j), out);
}

static bool read_limit(int64_t *out, const json_t *j)
{
    *out = json_integer_value(j);
    return json_is_integer(j) && *out > 0 && *out <= limit_max;
}

/* One field; false when it is unknown or its value cannot be. */
static bool read_field(struct key *k, const char *name, const json_t *j)
{
    if (!strcmp(name, "id"))
        return read_id(k->id, j);
    if (!strcmp(name, "group"))
        return read_id(k->group, j);
    if (!strcmp(name, "hmac"))
        return read_hex(k->mac, j);
    if (!strcmp(name, "scopes"))
        return read_scopes(&k->scopes, j);
    if (!strcmp(name, "created"))
        return read_time(&k->created, j);
    if (!strcmp(name, "expires"))
        return read_time(&k->expires, j);
    if (!strcmp(name, "revoked"))
        return k->revoked = json_is_true(j), json_is_boolean(j);
    if (!strcmp(name, "requests_per_minute"))
        return read_limit(&k->requests_per_minute, j);
    if (!strcmp(name, "tokens_per_minute"))
        return read_limit(&k->tokens_per_minute, j);
    return !strcmp(name, "in_flight") && read_limit(&k->in_flight, j);
}

static enum err read_key(struct keys *k, json_t *j, size_t i, const char *path)
{
    static const char *const needed[] = { "id", "hmac", "scopes", "created" };
    struct key key = { 0 };
    const char *name;
    json_t *value;

    if (!json_is_object(j))
        return err_set(ERR_FORMAT, "KEYS-10", "%s: key %zu is not an object", path, i);
    json_object_foreach (j, name, value)
        if (!read_field(&key, name, value))
            return err_set(ERR_FORMAT, "KEYS-11",
                           "%s: key %zu: field \"%.40s\" is unknown or has a "
                           "value that cannot be; docs/key-file.md lists the fields", path, i,
                           name);
    for (size_t n = 0; n < sizeof(needed) / sizeof(*needed); n++)
        if (!json_object_get(j, needed[n]))
            return err_set(ERR_FORMAT, "KEYS-12", "%s: key %zu has no \"%s\"", path, i, needed[n]);
    if (keys_find(k, key.id, strlen(key.id)))
        return err_set(ERR_FORMAT, "KEYS-13", "%s: two keys are named %s", path, key.id);
    return keys_put(k, &key);
}

static enum err read_file(struct keys *k, json_t *root, const char *path)
{
    json_t *keys = json_object_get(root, "keys"), *one;
    enum err e = OK;
    size_t i;

    if (json_integer_value(json_object_get(root, "croft_keys")) != VERSION ||
        json_object_size(root) != 3 || !json_is_array(keys) ||
        !read_hex(k->salt, json_object_get(root, "salt")))
        return err_set(ERR_FORMAT, "KEYS-14", "%s: is not a key file of version %d: an object of "
                       "croft_keys, salt and keys; croft key add makes one", path, VERSION);
    json_array_foreach (keys, i, one)
        if ((e = read_key(k, one, i, path)))
            break;
    return e;
}

/* Who could write to it could give himself a key. */
static enum err check_mode(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 022))
        return err_set(ERR_ARG, "KEYS-15", "%s: others may write to it; chmod 600 it, and renew "
                       "keys if somebody may have", path);
    return OK;
}

enum err keys_load(struct keys **out, const char *path)
{
    struct keys *k = NULL;
    json_t *root = NULL;
    char *text = NULL;
    size_t len = 0;
    enum err e = check_mode(path);

    *out = NULL;
    if (e == OK)
        e = file_read_text(&text, &len, path, KEYS_FILE_BYTES_MAX);
    if (e == OK)
        e = json_parse(&root, text, len, KEYS_FILE_BYTES_MAX, path);
    if (e == OK && !(k = calloc(1, sizeof(*k))))
        e = err_set(ERR_NOMEM, "KEYS-16", "%s: out of memory", path);
    if (e == OK)
        e = read_file(k, root, path);
    json_decref(root);
    free(text);
    if (e)
        keys_free(k);
    else
        *out = k;
    return e;
}

static void put_limit(FILE *out, const char *name, int64_t value)
{
    if (value)
        fprintf(out, ", \"%s\": %lld", name, (long long)value);
}

/* Every text here is of the file's own alphabet, so nothing needs escaping. */
static void put_key(FILE *out, const struct key *k)
{
    char hex[SHA256_HEX_BYTES], when[KEY_TIME_BYTES];
    const char *comma = "";

    sha256_hex(hex, k->mac);
    fprintf(out, "  {\"id\": \"%s\", \"hmac\": \"%s\", \"scopes\": [", k->id, hex);
    for (unsigned s = 1; s <= KEY_ADMIN; s <<= 1)
        if (k->scopes & s) {
            fprintf(out, "%s\"%s\"", comma, key_scope_name((enum key_scope)s));
            comma = ", ";
        }
    key_time_text(when, k->created);
    fprintf(out, "], \"created\": \"%s\"", when);
    if (k->group[0])
        fprintf(out, ", \"group\": \"%s\"", k->group);
    put_limit(out, "requests_per_minute", k->requests_per_minute);
    put_limit(out, "tokens_per_minute", k->tokens_per_minute);
    put_limit(out, "in_flight", k->in_flight);
    key_time_text(when, k->expires);
    if (k->expires)
        fprintf(out, ", \"expires\": \"%s\"", when);
    fprintf(out, "%s}", k->revoked ? ", \"revoked\": true" : "");
}

enum err keys_write(const struct keys *k, const char *path)
{
    char hex[SHA256_HEX_BYTES];
    struct file_new f;
    enum err e = file_new_open(&f, path);

    if (e)
        return e;
    if (fchmod(fileno(f.out), 0600)) {
        file_new_abort(&f);
        return err_set(ERR_IO, "KEYS-17", "%s: cannot be kept from others", path);
    }
    sha256_hex(hex, k->salt);
    fprintf(f.out, "{\"croft_keys\": %d, \"salt\": \"%s\", \"keys\": [", VERSION, hex);
    for (int i = 0; i < k->n; i++) {
        fputs(i ? ",\n" : "\n", f.out);
        put_key(f.out, &k->key[i]);
    }
    fputs("\n]}\n", f.out);
    return file_new_commit(&f);
}
