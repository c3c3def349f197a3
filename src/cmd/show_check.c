/* show_check.c - the two parts of `croft show` that read every byte of a model.
 *
 * Files are mapped with random-access advice; reading one from end to end wants the opposite, so
 * hashing reads through the descriptor and checking advises each file first.
 */
#include "base/term.h"
#include "cmd/show.h"

#include <errno.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20, CHUNK_ELEMS = 4096 };     /* a multiple of every block */

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "SHOW-02", "out of memory while reading the model; close other "
                   "programs and try again");
}

static enum err stopped(void)
{
    return err_set(ERR_STOPPED, "SHOW-03", "interrupted");
}

/* ---- --hash ---- */

static enum err hash_bytes(EVP_MD_CTX *md, const struct file_map *f, uint8_t *room,
                           struct progress *p, int64_t before)
{
    for (uint64_t at = 0; at < f->bytes;) {
        uint64_t want = f->bytes - at < READ_BYTES ? f->bytes - at : READ_BYTES;
        const uint8_t *bytes = f->in_memory ? f->data + at : room;
        ssize_t n = (ssize_t)want;
        if (!f->in_memory)
            n = pread(f->fd, room, want, (off_t)at);
        if (n < 0 && errno == EINTR && !term_interrupted())
            continue;
        if (term_interrupted())
            return stopped();
        if (n <= 0)
            return err_set(ERR_IO, "SHOW-04", "%s: cannot read byte %llu: %s; check the disk",
                           f->path, (unsigned long long)at,
                           n ? strerror(errno) : "the file has become shorter");
        if (!EVP_DigestUpdate(md, bytes, (size_t)n))
            return no_memory();
        at += (uint64_t)n;
        progress_update(p, before + (int64_t)at);
    }
    return OK;
}

static enum err hash_file(char hex[SHA256_HEX_BYTES], const struct file_map *f, uint8_t *room,
                          struct progress *p, int64_t before)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    enum err e = OK;

    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
        e = no_memory();
    if (!e)
        e = hash_bytes(md, f, room, p, before);
    if (!e && (!EVP_DigestFinal_ex(md, digest, &n) || n != 32))
        e = no_memory();
    EVP_MD_CTX_free(md);
    for (unsigned i = 0; !e && i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return e;
}

enum err show_hash(struct show *s)
{
    const struct weights *w = s->w;
    struct progress p;
    int64_t total = 0, before = 0;
    uint8_t *room = malloc(READ_BYTES);
    enum err e = OK;

    s->sha256 = calloc((size_t)w->n_file, sizeof(*s->sha256));
    if (!room || !s->sha256)
        e = no_memory();
    for (int i = 0; i < w->n_file; i++)
        total += (int64_t)w->file[i].bytes;
    progress_begin(&p, "hashing", "B", total);
    for (int i = 0; !e && i < w->n_file; i++) {
        e = hash_file(s->sha256[i], &w->file[i], room, &p, before);
        before += (int64_t)w->file[i].bytes;
    }
    progress_end(&p);
    free(room);
    return e;
}

/* ---- --check ---- */

/* Widen the class's range; false when a value is not finite. */
static bool look_at(struct check_result *c, enum tensor_class class, const float *x, int64_t n)
{
    bool finite = true;

    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            finite = false;
            continue;
        }
        if (!c->seen[class] || x[i] < c->min[class])
            c->min[class] = x[i];
        if (!c->seen[class] || x[i] > c->max[class])
            c->max[class] = x[i];
        c->seen[class] = true;
    }
    return finite;
}

/* Rows are unpacked in pieces: their length comes from the file. */
static bool row_is_finite(struct check_result *c, enum tensor_class class, const struct kernels *k,
                          const struct tensor_info *t, int64_t row, float *room)
{
    const uint8_t *at = t->data + (uint64_t)row * t->row_bytes;
    bool finite = true;

    for (int64_t i = 0; i < t->ne[0]; i += CHUNK_ELEMS) {
        int64_t n = t->ne[0] - i < CHUNK_ELEMS ? t->ne[0] - i : CHUNK_ELEMS;
        k->dequant[t->type](room, at + qtype_row_bytes(t->type, i), n);
        finite = look_at(c, class, room, n) && finite;
    }
    return finite;
}

static void check_tensor(struct show *s, const struct kernels *k, const struct tensor_info *t,
                         float *room, struct progress *p, int64_t before)
{
    struct check_result *c = s->check;
    enum tensor_class class = tensor_class_of(t->name, s->info.n_layer);
    struct bad_tensor bad = { .name = t->name };

    for (int64_t row = 0; row < t->n_row && !term_interrupted(); row++) {
        if (!row_is_finite(c, class, k, t, row, room) && !bad.n_row++)
            bad.first_row = row;
        if (!(row & 63))
            progress_update(p, before + row * (int64_t)t->row_bytes);
    }
    if (!bad.n_row)
        return;
    if (c->n_bad < BAD_MAX)
        c->bad[c->n_bad] = bad;
    c->n_bad++;
}

enum err show_check(struct show *s)
{
    struct kernels k = { 0 };
    struct progress p;
    int64_t before = 0;
    float *room = malloc(CHUNK_ELEMS * sizeof(*room));

    s->check = calloc(1, sizeof(*s->check));
    if (!room || !s->check) {
        free(room);
        return no_memory();
    }
    for (int i = 0; i < s->w->n_file; i++)
        if (!s->w->file[i].in_memory && s->w->file[i].data)
            madvise((void *)(uintptr_t)s->w->file[i].data, s->w->file[i].bytes, MADV_SEQUENTIAL);
    kernels_init(&k, isa_detect());
    progress_begin(&p, "checking", "B", (int64_t)s->bytes_total);
    for (uint64_t i = 0; i < s->w->n_tensor && !term_interrupted(); i++) {
        check_tensor(s, &k, &s->w->tensor[i], room, &p, before);
        before += (int64_t)s->w->tensor[i].bytes;
    }
    progress_end(&p);
    free(room);
    return term_interrupted() ? stopped() : OK;
}
