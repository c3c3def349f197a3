/* show_check.c - the two parts of `croft show` that read every byte of a model.
 *
 * Files are mapped with random-access advice; reading one from end to end wants the opposite, so
 * hashing reads through the descriptor and checking advises each file first.
 */
#include "base/cpu.h"
#include "base/pool.h"
#include "base/term.h"
#include "cmd/show.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20, CHUNK_ELEMS = 4096 };     /* a multiple of every block */
enum { SCALE_BLOCK = 128 };             /* rows and columns that share a scale of an FP8 tensor */

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

static enum err hash_bytes(struct sha256 *sum, const struct file_map *f, uint8_t *room,
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
        if (!sha256_add(sum, bytes, (size_t)n))
            return no_memory();
        at += (uint64_t)n;
        progress_update(p, before + (int64_t)at);
    }
    return OK;
}

static enum err hash_file(char hex[SHA256_HEX_BYTES], const struct file_map *f, uint8_t *room,
                          struct progress *p, int64_t before)
{
    uint8_t digest[SHA256_BYTES];
    struct sha256 sum = { 0 };
    enum err e = OK;

    if (!sha256_init(&sum))
        e = no_memory();
    if (!e)
        e = hash_bytes(&sum, f, room, p, before);
    if (!e && !sha256_finish(&sum, digest))
        e = no_memory();
    sha256_release(&sum);
    if (!e)
        sha256_hex(hex, digest);
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

/* What one thread has seen of one tensor; ranges and the first row join in any order. */
struct part {
    float room[CHUNK_ELEMS];
    float low, high;                    /* low > high: nothing yet */
    int64_t n_bad, first_bad;
};

struct tensor_job {
    const struct kernels *k;
    const struct tensor_info *t;
    const struct tensor_info *scale;    /* one per block of an FP8 tensor, else NULL */
    struct part *part;                  /* [threads] */
    int64_t job_rows, first_job;
};

/* Widen the range; false when a value is not finite: those count for no range. */
static bool look_at(struct part *p, const struct kernels *k, int64_t n)
{
    bool finite = k->all_finite(p->room, n);
    float low = p->low, high = p->high;

    for (int64_t i = 0; i < n; i++) {
        float x = p->room[i];
        if (!finite && !isfinite(x))
            continue;
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    p->low = low;
    p->high = high;
    return finite;
}

/* p->room holds columns [from, from + n) of a row; `from` is a multiple of the block. */
static void apply_scales(struct part *p, const struct tensor_info *scale, int64_t row,
                         int64_t from, int64_t n)
{
    const uint8_t *at = scale->data + (uint64_t)(row / SCALE_BLOCK) * scale->row_bytes;
    float factor = 0;

    for (int64_t i = 0; i < n; i++) {
        if (i % SCALE_BLOCK == 0)       /* no alignment in a shard */
            memcpy(&factor, at + (from + i) / SCALE_BLOCK * (int64_t)sizeof(factor),
                   sizeof(factor));
        p->room[i] *= factor;
    }
}

/* Rows are unpacked in pieces: their length comes from the file. */
static bool row_is_finite(struct part *p, const struct tensor_job *j, int64_t row)
{
    const struct tensor_info *t = j->t;
    const uint8_t *at = t->data + (uint64_t)row * t->row_bytes;
    uint8_t blocks[CHUNK_ELEMS * sizeof(float)];
    bool finite = true;

    for (int64_t i = 0; i < t->ne[0]; i += CHUNK_ELEMS) {
        int64_t n = t->ne[0] - i < CHUNK_ELEMS ? t->ne[0] - i : CHUNK_ELEMS;
        uint64_t from = (uint64_t)qtype_row_bytes(t->type, i);
        if (t->layout != LAYOUT_rows)
            tensor_bytes(t, (uint64_t)row * t->row_bytes + from,
                         (uint64_t)qtype_row_bytes(t->type, n), blocks);
        j->k->dequant[t->type](p->room, t->layout == LAYOUT_rows ? at + from : blocks, n);
        if (j->scale)
            apply_scales(p, j->scale, row, i, n);
        finite = look_at(p, j->k, n) && finite;
    }
    return finite;
}

static void check_rows(void *arg, int64_t job, int thread)
{
    const struct tensor_job *j = arg;
    struct part *p = &j->part[thread];
    int64_t row = (j->first_job + job) * j->job_rows, end = row + j->job_rows;

    if (end > j->t->n_row)
        end = j->t->n_row;
    for (; row < end && !term_interrupted(); row++) {
        if (row_is_finite(p, j, row))
            continue;
        if (!p->n_bad++ || row < p->first_bad)
            p->first_bad = row;
    }
}

/* `in_range`: its values are weights, not how some are stored. */
static void join(struct check_result *c, enum tensor_class class, const char *name, bool in_range,
                 const struct part *part, int n_part)
{
    struct bad_tensor bad = { .name = name };

    for (int i = 0; i < n_part; i++) {
        const struct part *p = &part[i];
        if (in_range && p->low <= p->high) {
            if (!c->seen[class] || p->low < c->min[class])
                c->min[class] = p->low;
            if (!c->seen[class] || p->high > c->max[class])
                c->max[class] = p->high;
            c->seen[class] = true;
        }
        if (p->n_bad && (!bad.n_row || p->first_bad < bad.first_row))
            bad.first_row = p->first_bad;
        bad.n_row += p->n_bad;
    }
    if (!bad.n_row)
        return;
    if (c->n_bad < BAD_MAX)
        c->bad[c->n_bad] = bad;
    c->n_bad++;
}

/* In steps of some 256 MB, so that progress shows within a large tensor. */
static void check_tensor(struct show *s, struct tensor_job *j, struct pool *pool,
                         struct progress *p, int64_t before)
{
    const struct tensor_info *t = j->t;
    int n_part = pool_threads(pool);
    int64_t row_bytes = t->row_bytes ? (int64_t)t->row_bytes : 1, step, n_job;

    j->job_rows = row_bytes < READ_BYTES ? READ_BYTES / row_bytes : 1;
    n_job = t->n_row / j->job_rows + (t->n_row % j->job_rows != 0);
    step = row_bytes < READ_BYTES ? 256 : 256 * READ_BYTES / row_bytes + 1;
    for (int i = 0; i < n_part; i++) {
        j->part[i].low = FLT_MAX;
        j->part[i].high = -FLT_MAX;
        j->part[i].n_bad = 0;
    }
    for (int64_t at = 0; at < n_job && !term_interrupted(); at += step) {
        j->first_job = at;
        pool_run(pool, n_job - at < step ? n_job - at : step, check_rows, j);
        progress_update(p, before + at * j->job_rows * row_bytes);
    }
    join(s->check, tensor_class_of(s->w, t->name, s->n_layer_run), t->name,
         !s->w->hf || !show_is_scale(t->name), j->part, n_part);
}

/* The scales of an FP8 tensor, one for each block. */
static enum err find_scale(const struct weights *w, const struct tensor_info *t,
                           const struct tensor_info **scale)
{
    int64_t rows = (t->n_row - 1) / SCALE_BLOCK + 1, cols = (t->ne[0] - 1) / SCALE_BLOCK + 1;
    char name[512];

    *scale = NULL;
    if (t->type != QTYPE_f8_e4m3)
        return OK;
    snprintf(name, sizeof(name), "%s_scale_inv", t->name);
    *scale = weights_find(w, name);
    if (*scale && (*scale)->type == QTYPE_f32 && (*scale)->ne[0] == cols &&
        (*scale)->n_row == rows)
        return OK;
    return err_set(ERR_FORMAT, "HF-70", "%s: tensor %s is FP8 but %s is not there as %lld x %lld "
                   "F32 scales; get the model again", w->file[t->file].path, t->name, name,
                   (long long)rows, (long long)cols);
}

static enum err check_all(struct show *s, struct pool *pool)
{
    struct kernels k = { 0 };
    struct tensor_job j = { .k = &k };
    struct progress p;
    int64_t before = 0;
    enum err e = OK;

    j.part = calloc((size_t)pool_threads(pool), sizeof(*j.part));
    if (!j.part)
        return no_memory();
    kernels_init(&k, isa_detect());
    progress_begin(&p, "checking", "B", (int64_t)s->bytes_total);
    for (uint64_t i = 0; i < s->w->n_tensor && !e && !term_interrupted(); i++) {
        j.t = &s->w->tensor[i];
        e = find_scale(s->w, j.t, &j.scale);
        if (!e)
            check_tensor(s, &j, pool, &p, before);
        before += (int64_t)j.t->bytes;
    }
    progress_end(&p);
    free(j.part);
    return e ? e : term_interrupted() ? stopped() : OK;
}

enum err show_check(struct show *s)
{
    struct machine machine;
    struct pool_options po;
    struct pool *pool = NULL;
    enum err e;

    s->check = calloc(1, sizeof(*s->check));
    if (!s->check)
        return no_memory();
    for (int i = 0; i < s->w->n_file; i++)
        if (!s->w->file[i].in_memory && s->w->file[i].data)
            madvise((void *)(uintptr_t)s->w->file[i].data, s->w->file[i].bytes, MADV_SEQUENTIAL);
    machine_detect(&machine);
    po = (struct pool_options){ .n_thread = machine.n_thread_default,
                                .cpu_quota = machine.cpu_quota };
    e = pool_new(&pool, &po);
    if (!e)
        e = check_all(s, pool);
    pool_free(pool);
    return e;
}
