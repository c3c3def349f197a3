/* audit_check.c - verifies audit logs: chains by their hashes, their ends by heads. */
#include "store/audit_form.h"

#include "base/file.h"
#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS_MAX = 256 << 20, PROBLEMS_MAX = 100, NAME_BYTES = 80 };

/* A row that a head, or the first row of a later chain, says there is. */
struct promise { char chain[64], hash[SHA256_HEX_BYTES], key[AUDIT_KEY_HEX]; int64_t n; };

struct verify {
    struct promise *promise;
    size_t n_promise, cap;
    char (*name)[NAME_BYTES];           /* of the folder's chains, sorted */
    size_t n_name;
    audit_problem_fn *fn;
    void *arg;
    struct audit_totals *t;
};

static void problem(struct verify *v, const char *file, int64_t row, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void problem(struct verify *v, const char *file, int64_t row, const char *fmt, ...)
{
    char what[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (v->t->problems++ < PROBLEMS_MAX)
        v->fn(v->arg, file, row, what);
}

static enum err promise_add(struct verify *v, const char *chain, int64_t n, const char *hash,
                            const char *key)
{
    if (v->n_promise == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 256;
        struct promise *more = realloc(v->promise, cap * sizeof(*more));
        if (!more)
            return err_set(ERR_NOMEM, "CHAIN-01", "no memory for %zu heads", cap);
        v->promise = more;
        v->cap = cap;
    }
    struct promise *p = &v->promise[v->n_promise++];
    *p = (struct promise){ .n = n };
    snprintf(p->chain, sizeof(p->chain), "%s", chain);
    snprintf(p->hash, sizeof(p->hash), "%s", hash);
    snprintf(p->key, sizeof(p->key), "%s", key);
    return OK;
}

/* A line without its line feed was being written. */
static enum err read_heads(struct verify *v, const char *file, const char *text, size_t len)
{
    const char *end = text + len, *feed;
    struct audit_head h;
    char key[AUDIT_KEY_HEX];
    int64_t line = 0;
    enum err e = OK;

    for (; !e && text < end && (feed = memchr(text, '\n', (size_t)(end - text))); text = feed + 1) {
        line++;
        if (!audit_head_read(&h, key, text, (size_t)(feed - text))) {
            problem(v, file, line, "line %lld is no head, or its signature does not fit",
                    (long long)line);
            continue;
        }
        v->t->heads++;
        e = promise_add(v, h.chain, h.n, h.hash, key);
    }
    return e;
}

static int by_place(const void *a, const void *b)
{
    const struct promise *p = a, *q = b;
    int order = strcmp(p->chain, q->chain);

    return order ? order : (p->n > q->n) - (p->n < q->n);
}

/* The first row: whose chain, whose key, which chains it sealed (for `sealed`). */
static enum err read_first(struct verify *v, const char *chain, const char *text, size_t len,
                           char key[AUDIT_KEY_HEX], bool sealed)
{
    const char *named = "", *open_key = "", *other, *hash;
    json_t *object = NULL, *list = NULL, *item;
    json_int_t version = 0, n;
    size_t i;
    enum err e = OK;

    key[0] = '\0';
    text = audit_row_object(text, len, &len);
    if (text && json_parse(&object, text, len, AUDIT_ROW_MAX, "row 0"))
        object = NULL;
    if (object)
        json_unpack(object, "{s:I, s:s, s:s, s:o}", "audit", &version, "chain", &named, "key",
                    &open_key, "sealed", &list);
    if (!sealed && (version != 1 || strcmp(named, chain) || strlen(open_key) >= AUDIT_KEY_HEX))
        problem(v, chain, 0, "row 0 does not begin the chain of this file's name");
    else
        snprintf(key, AUDIT_KEY_HEX, "%.64s", open_key);
    json_array_foreach(list, i, item)
        if (sealed && !e && json_unpack(item, "{s:s, s:I, s:s}", "chain", &other, "n", &n, "hash",
                                        &hash) == 0 &&
            strlen(other) < 64 && strlen(hash) == SHA256_HEX_BYTES - 1)
            e = promise_add(v, other, n, hash, "");
    json_decref(object);
    return e;
}

struct walk {
    const char *chain;
    struct promise *next, *end;         /* those of this chain that were not met yet */
    char key[AUDIT_KEY_HEX];
    uint8_t before[SHA256_BYTES];
    int64_t row;                        /* the number that comes next */
    bool ended;
};

static void keep_promises(struct verify *v, struct walk *w, int64_t n,
                          const uint8_t hash[SHA256_BYTES])
{
    char hex[SHA256_HEX_BYTES];

    for (; w->next < w->end && w->next->n <= n; w->next++) {
        sha256_hex(hex, hash);
        if (w->next->n == n && strcmp(w->next->hash, hex))
            problem(v, w->chain, n, "row %lld is not the one that its head names: the chain was "
                    "written anew", (long long)n);
        if (w->next->key[0] && strcmp(w->next->key, w->key))
            problem(v, w->chain, w->next->n, "the head of row %lld was signed by another key than "
                    "the chain's", (long long)w->next->n);
    }
}

static enum err check_row(struct verify *v, struct walk *w, const char *line, size_t len)
{
    uint8_t stated[SHA256_BYTES];
    size_t text_len, object_len;
    const char *text, *object;
    int64_t n;
    enum err e = OK;

    if (!audit_row_read(line, len, stated, &text, &text_len, &n)) {
        problem(v, w->chain, w->row, "row %lld was changed: it is no row", (long long)w->row);
        w->row++;
        return OK;
    }
    if (w->ended)
        problem(v, w->chain, n, "row %lld stands behind the end of the chain", (long long)n);
    if (n != w->row)
        problem(v, w->chain, w->row, "row %lld stands where row %lld should: rows were removed, "
                "added or moved", (long long)n, (long long)w->row);
    if (!audit_hash(w->before, text, text_len))
        return err_set(ERR_NOMEM, "CHAIN-02", "no memory to compute a hash");
    if (memcmp(w->before, stated, SHA256_BYTES))
        problem(v, w->chain, n, "row %lld was changed, or is not the one that followed the row "
                "before it", (long long)n);
    memcpy(w->before, stated, SHA256_BYTES);
    if (n == 0 && w->row == 0)
        e = read_first(v, w->chain, text, text_len, w->key, false);
    keep_promises(v, w, n, stated);
    object = audit_row_object(text, text_len, &object_len);
    w->ended = object && object_len > 7 && !memcmp(object, "{\"end\":", 7);
    w->row = n < INT64_MAX / 20 ? n + 1 : 0;
    v->t->rows++;
    return e;
}

static enum err check_chain(struct verify *v, const char *chain, const char *data, size_t len)
{
    struct walk w = { .chain = chain };
    struct promise none, *all = v->promise ? v->promise : &none;
    const char *end = data + len, *feed;
    size_t i = 0;
    enum err e = OK;

    while (i < v->n_promise && strcmp(all[i].chain, chain) < 0)
        i++;
    w.next = w.end = all + i;
    while (w.end < all + v->n_promise && !strcmp(w.end->chain, chain))
        w.end++;
    v->t->chains++;
    for (; !e && data < end && (feed = memchr(data, '\n', (size_t)(end - data))); data = feed + 1)
        e = check_row(v, &w, data, (size_t)(feed - data));
    if (e)
        return e;
    if (data < end && w.ended)
        problem(v, chain, w.row, "%zu bytes stand behind the end of the chain",
                (size_t)(end - data));
    else
        v->t->torn += data < end;
    v->t->open += !w.ended;
    if (w.next < w.end)
        problem(v, chain, w.row, "the file ends before row %lld, and a head names row %lld: it was "
                "cut off", (long long)w.row, (long long)w.end[-1].n);
    return OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static enum err read_names(struct verify *v, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *d;
    enum err e = OK;

    if (!dir)
        return err_set(errno == ENOENT || errno == ENOTDIR ? ERR_MISSING : ERR_IO, "CHAIN-03",
                       "%s: cannot be read: %s; name the folder audit/ of a gateway's state",
                       folder, strerror(errno));
    while (!e && (d = readdir(dir))) {
        size_t n = strlen(d->d_name);
        if (n <= 4 || n >= 68 || strcmp(d->d_name + n - 4, ".log"))
            continue;
        void *more = realloc(v->name, (v->n_name + 1) * sizeof(*v->name));
        if (!more) {
            e = err_set(ERR_NOMEM, "CHAIN-04", "no memory for the names of a folder");
            break;
        }
        v->name = more;
        snprintf(v->name[v->n_name++], NAME_BYTES, "%.*s", (int)n - 4, d->d_name);
    }
    closedir(dir);
    if (v->n_name)
        qsort(v->name, v->n_name, sizeof(*v->name), by_text);
    return e;
}

static enum err read_head_file(struct verify *v, const char *path, const char *name)
{
    char *text;
    size_t len;
    enum err e = file_read_text(&text, &len, path, HEADS_MAX);

    if (e)
        return e;
    e = read_heads(v, name, text, len);
    free(text);
    return e;
}

/* `sealed`: only what its first row says of others. */
static enum err one_file(struct verify *v, const char *folder, const char *chain, bool sealed)
{
    char path[1200], key[AUDIT_KEY_HEX];
    uint8_t hash[SHA256_BYTES];
    struct file_map m;
    const char *feed, *text;
    size_t len;
    int64_t n;
    enum err e;

    snprintf(path, sizeof(path), "%.1000s/%s.log", folder, chain);
    if ((e = file_map_open(&m, path, false)))
        return e;
    const char *data = m.data ? (const char *)m.data : "";
    if (!sealed)
        e = check_chain(v, chain, data, (size_t)m.bytes);
    else if ((feed = memchr(data, '\n', (size_t)m.bytes)) &&
             audit_row_read(data, (size_t)(feed - data), hash, &text, &len, &n))
        e = read_first(v, chain, text, len, key, true);
    file_map_close(&m);
    return e;
}

static void missing_chains(struct verify *v)
{
    for (size_t i = 0; i < v->n_promise; i++) {
        const char *chain = v->promise[i].chain;
        if (i && !strcmp(chain, v->promise[i - 1].chain))
            continue;
        if (!v->n_name || !bsearch(chain, v->name, v->n_name, sizeof(*v->name), by_text))
            problem(v, chain, -1, "the file was removed: a head names its chain");
    }
}

enum err audit_verify(const char *folder, const char *head_file, audit_problem_fn *fn, void *arg,
                      struct audit_totals *totals)
{
    struct verify v = { .fn = fn, .arg = arg, .t = totals };
    char path[1200];
    enum err e;

    *totals = (struct audit_totals){ 0 };
    snprintf(path, sizeof(path), "%.1000s/heads", folder);
    e = read_names(&v, folder);
    if (!e && (e = read_head_file(&v, path, "heads")) == ERR_MISSING) {
        e = OK;
        if (v.n_name)
            problem(&v, "heads", -1, "the folder's file of heads was removed");
    }
    if (!e && head_file)
        e = read_head_file(&v, head_file, "head file");
    for (size_t i = 0; i < v.n_name && !e; i++)
        e = one_file(&v, folder, v.name[i], true);
    if (v.n_promise)
        qsort(v.promise, v.n_promise, sizeof(*v.promise), by_place);
    for (size_t i = 0; i < v.n_name && !e; i++)
        e = one_file(&v, folder, v.name[i], false);
    if (!e)
        missing_chains(&v);
    free(v.promise);
    free(v.name);
    return e;
}

enum err audit_verify_bytes(const char *chain, const void *data, size_t len, const char *heads,
                            size_t heads_len, audit_problem_fn *fn, void *arg,
                            struct audit_totals *totals)
{
    struct verify v = { .fn = fn, .arg = arg, .t = totals };
    enum err e;

    *totals = (struct audit_totals){ 0 };
    e = read_heads(&v, "heads", heads, heads_len);
    if (v.n_promise)
        qsort(v.promise, v.n_promise, sizeof(*v.promise), by_place);
    if (!e)
        e = check_chain(&v, chain, data, len);
    free(v.promise);
    return e;
}
