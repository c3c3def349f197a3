/* audit.c - writes a chain of the audit log, on a thread of its own.
 *
 * The thread takes all rows that wait and writes them with one call; on disk they are by one
 * fdatasync() for many.  What could not be written whole is cut off again before anything else is
 * written, and its rows fail.  After a failed fdatasync() nobody knows what is on disk, and the
 * system may not say it twice: the chain takes no more rows. */
#include "store/audit_form.h"
#include "store/outbox.h"

#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TAIL_BYTES = 2 * (AUDIT_ROW_MAX + 512), PATH_MAX_ = 768 };

struct row {
    struct outbox_item item;            /* first */
    struct row *next;
    audit_fn *fn;
    void *arg;
    int error;                          /* errno; 0: written */
    bool strict;
    size_t len;
    char text[];
};

struct head_item { struct outbox_item item; struct audit *audit; struct audit_head head; };

struct audit {
    struct audit_options o;
    struct audit_key key;
    char folder[PATH_MAX_];
    int fd, sync_ms;
    struct outbox outbox;

    pthread_mutex_t lock;               /* of the next five */
    pthread_cond_t filled;
    struct row *first, **last;
    size_t waiting;
    bool closing;

    pthread_t thread;                   /* its own is the rest */
    bool running, dirty, broken;
    uint8_t hash[SHA256_BYTES];
    int64_t n, bytes;                   /* next row; of the file, whole rows */
    int64_t headed_n, headed_ms, dirty_ms;
    struct buf out;
};

static int64_t now_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return false;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* The text of the next row behind `out`; the chain goes on.  False: no memory. */
static bool add_row(struct audit *a, const char *object, size_t len)
{
    uint8_t hash[SHA256_BYTES];
    char hex[SHA256_HEX_BYTES];
    struct buf text = { 0 };
    bool good;

    buf_printf(&text, "{\"n\":%lld,\"t\":%lld,\"row\":", (long long)a->n,
               (long long)now_ms(CLOCK_REALTIME));
    buf_add(&text, object, len);
    buf_puts(&text, "}");
    memcpy(hash, a->hash, sizeof(hash));
    good = !text.broken && audit_hash(hash, buf_text(&text), text.len);
    if (good) {
        sha256_hex(hex, hash);
        buf_printf(&a->out, "%s %s\n", hex, buf_text(&text));
        good = !a->out.broken;
    }
    if (good) {
        memcpy(a->hash, hash, sizeof(hash));
        a->n++;
    }
    buf_release(&text);
    return good;
}

/* Write what add_row() put together: 0, or errno; then the chain is what it was. */
static int flush_rows(struct audit *a, int64_t n, const uint8_t hash[SHA256_BYTES])
{
    int error = 0;

    if (a->broken)
        error = EIO;
    else if (ftruncate(a->fd, a->bytes) || !write_all(a->fd, buf_text(&a->out), a->out.len))
        error = errno ? errno : EIO;
    if (error) {
        if (ftruncate(a->fd, a->bytes))
            error = errno;              /* tried again before the next row */
        memcpy(a->hash, hash, SHA256_BYTES);
        a->n = n;
    } else {
        a->bytes += (int64_t)a->out.len;
        if (!a->dirty)
            a->dirty_ms = now_ms(CLOCK_MONOTONIC);
        a->dirty = true;
    }
    buf_release(&a->out);
    return error;
}

static int sync_rows(struct audit *a)
{
    if (a->broken)
        return EIO;
    if (a->dirty && fdatasync(a->fd)) {
        a->broken = true;
        return errno;
    }
    a->dirty = false;
    return 0;
}

static void append_line(const char *path, const char *line)
{
    struct buf text = { 0 };
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    buf_printf(&text, "%s\n", line);
    if (fd >= 0 && !text.broken && write_all(fd, buf_text(&text), text.len))
        fdatasync(fd);
    if (fd >= 0)
        close(fd);
    buf_release(&text);
}

static void write_head(const struct audit *a, const struct audit_head *h)
{
    char path[PATH_MAX_ + 8];

    snprintf(path, sizeof(path), "%s/heads", a->folder);
    append_line(path, h->line);
    if (a->o.head_file)
        append_line(a->o.head_file, h->line);
}

static void head_ready(struct outbox_item *item)
{
    struct head_item *h = (struct head_item *)item;

    if (h->audit->o.head)
        h->audit->o.head(h->audit->o.arg, &h->head);
    free(h);
}

/* A head of what is on disk. */
static void make_head(struct audit *a)
{
    struct head_item *h;

    if (a->n == a->headed_n || sync_rows(a) || !(h = calloc(1, sizeof(*h))))
        return;
    *h = (struct head_item){ .item.run = head_ready, .audit = a };
    snprintf(h->head.chain, sizeof(h->head.chain), "%s", a->o.chain);
    h->head.n = a->n - 1;
    h->head.made_ms = now_ms(CLOCK_REALTIME);
    sha256_hex(h->head.hash, a->hash);
    if (!audit_head_sign(&h->head, &a->key)) {
        free(h);
        return;
    }
    write_head(a, &h->head);
    a->headed_n = a->n;
    a->headed_ms = now_ms(CLOCK_MONOTONIC);
    outbox_put(&a->outbox, &h->item);
}

static void row_done(struct outbox_item *item)
{
    struct row *r = (struct row *)item;
    enum err e = OK;

    if (r->error)
        e = err_set(ERR_IO, "AUDIT-05", "the audit log cannot be written: %s; make room on its "
                    "disk, or look at it", strerror(r->error));
    if (r->fn)
        r->fn(r->arg, e);
    free(r);
}

static void write_rows(struct audit *a, struct row *rows)
{
    int64_t n = a->n;
    uint8_t hash[SHA256_BYTES];
    bool strict = false, good = true;
    int error = 0, sync_error = 0;

    memcpy(hash, a->hash, sizeof(hash));
    for (struct row *r = rows; r && good; r = r->next) {
        good = add_row(a, r->text, r->len);
        strict = strict || r->strict;
    }
    if (!good) {
        buf_release(&a->out);
        memcpy(a->hash, hash, sizeof(hash));
        a->n = n;
        error = ENOMEM;
    } else {
        error = flush_rows(a, n, hash);
    }
    if (strict && !error)
        sync_error = sync_rows(a);
    for (struct row *r = rows, *next; r; r = next) {
        next = r->next;
        r->error = error ? error : r->strict ? sync_error : 0;
        outbox_put(&a->outbox, &r->item);
    }
}

/* Milliseconds until something is due without a new row. */
static int64_t due_in(const struct audit *a)
{
    int64_t now = now_ms(CLOCK_MONOTONIC), left = 1000;

    if (a->dirty && !a->broken && a->dirty_ms + a->sync_ms - now < left)
        left = a->dirty_ms + a->sync_ms - now;
    return left > 0 ? left : 0;
}

static struct row *take(struct audit *a, bool *closing)
{
    struct row *rows;
    struct timespec t;

    pthread_mutex_lock(&a->lock);
    if (!a->first && !a->closing) {
        int64_t until = now_ms(CLOCK_MONOTONIC) + due_in(a);
        t = (struct timespec){ until / 1000, until % 1000 * 1000000 };
        pthread_cond_timedwait(&a->filled, &a->lock, &t);
    }
    rows = a->first;
    a->first = NULL;
    a->last = &a->first;
    a->waiting = 0;
    *closing = a->closing && !rows;
    pthread_mutex_unlock(&a->lock);
    return rows;
}

static void *writer(void *arg)
{
    struct audit *a = arg;
    struct row *rows;
    bool closing = false;

    while (!closing) {
        rows = take(a, &closing);
        if (rows)
            write_rows(a, rows);
        if (a->dirty && due_in(a) == 0)
            (void)sync_rows(a);
        if (a->n - a->headed_n >= AUDIT_HEAD_ROWS ||
            now_ms(CLOCK_MONOTONIC) - a->headed_ms >= AUDIT_HEAD_MS)
            make_head(a);
    }
    return NULL;
}

/* The last whole row of a chain: its place in `a`.  *end is where whole rows end. */
static bool last_row(struct audit *a, char *tail, int64_t *end, bool *ended)
{
    struct stat st;
    const char *text;
    size_t len, object_len;
    ssize_t n;

    if (fstat(a->fd, &st) || st.st_size == 0)
        return false;
    off_t from = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;
    if ((n = pread(a->fd, tail, TAIL_BYTES, from)) <= 0)
        return false;
    while (n > 0 && tail[n - 1] != '\n')
        n--;
    if (n == 0)
        return false;
    const char *before = n > 1 ? memrchr(tail, '\n', (size_t)n - 1) : NULL;
    const char *line = before ? before + 1 : tail;
    len = (size_t)(tail + n - 1 - line);
    if (!audit_row_read(line, len, a->hash, &text, &len, &a->n))
        return false;
    a->n++;
    *end = from + n;
    text = audit_row_object(text, len, &object_len);
    *ended = text && object_len > 7 && !memcmp(text, "{\"end\":", 7);
    return true;
}

/* End the chain of a process that died: cut off half a row, add its last row and a head. */
static void seal(const struct audit *ours, const char *name, char *tail, struct buf *sealed,
                 int64_t *torn)
{
    struct audit a = { .o = ours->o, .key = ours->key };
    struct head_item h = { .audit = &a };
    char path[PATH_MAX_ + 300], object[160], hex[SHA256_HEX_BYTES];
    struct stat st;
    bool ended = false;

    snprintf(path, sizeof(path), "%s/%s", ours->folder, name);
    if ((a.fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC)) < 0)
        return;
    if (flock(a.fd, LOCK_EX | LOCK_NB) || fstat(a.fd, &st) ||
        !last_row(&a, tail, &a.bytes, &ended) || ended) {
        close(a.fd);
        return;
    }
    int64_t cut = st.st_size - a.bytes, n = a.n;
    uint8_t hash[SHA256_BYTES];
    memcpy(hash, a.hash, sizeof(hash));
    snprintf(object, sizeof(object), "{\"end\":\"killed\",\"torn\":%lld,\"sealed_by\":\"%s\"}",
             (long long)cut, ours->o.chain);
    snprintf(h.head.chain, sizeof(h.head.chain), "%.*s", (int)strlen(name) - 4, name);
    if (add_row(&a, object, strlen(object)) && !flush_rows(&a, n, hash) && !sync_rows(&a)) {
        *torn += cut;
        h.head.n = a.n - 1;
        h.head.made_ms = now_ms(CLOCK_REALTIME);
        sha256_hex(hex, a.hash);
        memcpy(h.head.hash, hex, sizeof(hex));
        if (audit_head_sign(&h.head, &ours->key))
            write_head(ours, &h.head);
        buf_printf(sealed, "%s{\"chain\":\"%s\",\"n\":%lld,\"hash\":\"%s\"}",
                   sealed->len ? "," : "", h.head.chain, (long long)h.head.n, hex);
    }
    buf_release(&a.out);
    close(a.fd);
}

static enum err seal_all(const struct audit *a, struct buf *sealed, int64_t *torn)
{
    DIR *dir = opendir(a->folder);
    char *tail = malloc(TAIL_BYTES);
    struct dirent *d;
    enum err e = OK;

    if (!tail)
        e = err_set(ERR_NOMEM, "AUDIT-06", "no memory to look at older audit logs");
    else if (!dir)
        e = err_set(ERR_IO, "AUDIT-07", "%s: cannot be read: %s", a->folder, strerror(errno));
    while (!e && sealed->len < AUDIT_ROW_MAX / 2 && (d = readdir(dir))) {
        size_t n = strlen(d->d_name);
        if (n > 4 && n < 64 && !strcmp(d->d_name + n - 4, ".log"))
            seal(a, d->d_name, tail, sealed, torn);
    }
    if (dir)
        closedir(dir);
    free(tail);
    return e ? e : buf_ok(sealed);
}

/* The chain's file, locked while we live, with its first row. */
static enum err begin_chain(struct audit *a, const struct buf *sealed)
{
    char path[PATH_MAX_ + 80];
    const uint8_t zero[SHA256_BYTES] = { 0 };
    struct buf object = { 0 };
    bool good;
    int folder, error = 0;

    snprintf(path, sizeof(path), "%s/%s.log", a->folder, a->o.chain);
    a->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (a->fd < 0 || flock(a->fd, LOCK_EX | LOCK_NB))
        return err_set(ERR_IO, "AUDIT-08", "%s: cannot be made: %s", path, strerror(errno));
    buf_printf(&object, "{\"audit\":1,\"chain\":\"%s\",\"key\":\"%s\",\"sealed\":[%s]}",
               a->o.chain, a->key.open, buf_text(sealed));
    good = !object.broken && add_row(a, buf_text(&object), object.len);
    buf_release(&object);
    if (!good)
        return err_set(ERR_NOMEM, "AUDIT-09", "no memory to begin an audit log");
    if ((error = flush_rows(a, 0, zero)) || (error = sync_rows(a)))
        return err_set(ERR_IO, "AUDIT-10", "%s: cannot be written: %s", path, strerror(error));
    folder = open(a->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fsync(folder))
        error = errno;
    if (folder >= 0)
        close(folder);
    make_head(a);
    return error ? err_set(ERR_IO, "AUDIT-11", "%s: cannot be brought to disk: %s", a->folder,
                           strerror(error)) : OK;
}

static enum err start_writer(struct audit *a)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->filled, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&a->lock, NULL);
    a->last = &a->first;
    if (pthread_create(&a->thread, NULL, writer, a))
        return err_set(ERR_NOMEM, "AUDIT-12", "cannot start the audit log's thread; the limit on "
                       "threads (ulimit -u) may be reached");
    a->running = true;
    return OK;
}

enum err audit_open(struct audit **out, const struct audit_options *o, int64_t *torn)
{
    struct audit *a = calloc(1, sizeof(*a));
    struct buf sealed = { 0 };
    enum err e = OK;

    *out = NULL;
    *torn = 0;
    if (!a)
        return err_set(ERR_NOMEM, "AUDIT-13", "no memory to open an audit log");
    a->o = *o;
    a->fd = -1;
    a->sync_ms = o->sync_ms ? o->sync_ms : 50;
    a->headed_ms = now_ms(CLOCK_MONOTONIC);
    snprintf(a->folder, sizeof(a->folder), "%.700s/audit", o->state);
    if ((mkdir(o->state, 0700) && errno != EEXIST) || (mkdir(a->folder, 0700) && errno != EEXIST))
        e = err_set(ERR_IO, "AUDIT-14", "%s: cannot be made: %s", a->folder, strerror(errno));
    if (e || (e = outbox_init(&a->outbox)) || (e = audit_key_load(&a->key, o->state)) ||
        (e = seal_all(a, &sealed, torn)) || (e = begin_chain(a, &sealed)) ||
        (e = start_writer(a))) {
        audit_close(a);
        a = NULL;
    }
    buf_release(&sealed);
    *out = a;
    return e;
}

void audit_close(struct audit *a)
{
    static const char end[] = "{\"end\":\"closed\"}";
    uint8_t hash[SHA256_BYTES];

    if (!a)
        return;
    if (a->running) {
        pthread_mutex_lock(&a->lock);
        a->closing = true;
        pthread_cond_signal(&a->filled);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
        pthread_cond_destroy(&a->filled);
        pthread_mutex_destroy(&a->lock);
        memcpy(hash, a->hash, sizeof(hash));
        int64_t n = a->n;
        if (add_row(a, end, sizeof(end) - 1) && !flush_rows(a, n, hash))
            make_head(a);
        while (outbox_run(&a->outbox))
            ;
    }
    if (a->fd >= 0)
        close(a->fd);
    outbox_release(&a->outbox);
    buf_release(&a->out);
    explicit_bzero(&a->key, sizeof(a->key));
    free(a);
}

int audit_fd(const struct audit *a)
{
    return a->outbox.fd;
}

void audit_poll(struct audit *a)
{
    outbox_run(&a->outbox);
}

static enum err check_object(const char *object, size_t len)
{
    json_t *value;
    enum err e;

    if (len > AUDIT_ROW_MAX)
        return err_set(ERR_LIMIT, "AUDIT-15", "a row of the audit log has %zu bytes; at most %d "
                       "are taken", len, AUDIT_ROW_MAX);
    if (memchr(object, '\n', len) || (len >= 6 && !memcmp(object, "{\"end\"", 6)) ||
        len < 2 || object[0] != '{' || object[len - 1] != '}')
        return err_set(ERR_ARG, "AUDIT-16", "a row of the audit log is no object on one line, or "
                       "one that would end the chain");
    if (!(e = json_parse(&value, object, len, AUDIT_ROW_MAX, "a row of the audit log")))
        json_decref(value);
    return e;
}

enum err audit_put(struct audit *a, const char *object, size_t len, bool strict, audit_fn *fn,
                   void *arg)
{
    enum err e = check_object(object, len);
    struct row *r;
    bool full;

    if (e)
        return e;
    if (!(r = malloc(sizeof(*r) + len)))
        return err_set(ERR_NOMEM, "AUDIT-17", "no memory for a row of the audit log");
    *r = (struct row){ .item.run = row_done, .fn = fn, .arg = arg, .strict = strict, .len = len };
    memcpy(r->text, object, len);
    pthread_mutex_lock(&a->lock);
    full = a->waiting + len > AUDIT_WAITING_MAX;
    if (!full) {
        *a->last = r;
        a->last = &r->next;
        a->waiting += len + sizeof(*r);
        pthread_cond_signal(&a->filled);
    }
    pthread_mutex_unlock(&a->lock);
    if (full)
        free(r);
    return full ? err_set(ERR_BUSY, "AUDIT-18", "%d bytes of rows wait for the audit log's disk "
                          "already", AUDIT_WAITING_MAX) : OK;
}
