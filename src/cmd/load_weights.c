/* load_weights.c - where a command's weights will be: packed in memory, or mapped from the file.
 *
 *   --pack auto   packed where they and the KV cache fit into the memory that is available, and
 *                 not with --exact, which has no use for tiles
 *   --no-mmap     packed whatever is available, and what cannot be packed is read as well; with
 *                 --pack off the file is read into memory as it is
 */
#include "cmd/load.h"

#include "base/term.h"
#include "cmd/cmd_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READ_BYTES = 4 << 20, COLD_MIN_BYTES = 32 << 20, CTX_LEAST = 4096 };

bool load_may_pack(const struct opt_set *o)
{
    const char *pack = opt_text(o, OPT_pack);

    return !strcmp(pack, "on") || (!strcmp(pack, "auto") && !opt_flag(o, OPT_exact));
}

/* --- weights that stay mapped ------------------------------------------------------------ */

/* A tensor that steps read from a mapping: not placed, no vector, used at all. */
static bool stays_mapped(const struct loaded *l, uint64_t i)
{
    const struct tensor_info *t = &l->weights->tensor[i];
    const struct place *p = model_placed(l->model);
    enum layout ignored = t->layout;

    return !l->weights->file[t->file].in_memory && model_wants(l->model)[i] != PLACE_NOT &&
           (!p || place_find(p, t->data, &ignored) == t->data);
}

/* Bytes of a tensor that are not in memory yet. */
static uint64_t cold_bytes(const struct tensor_info *t)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = (uintptr_t)t->data % page;
    uint64_t n = (t->bytes + skip + page - 1) / page, cold = 0;
    unsigned char *in = malloc(n);

    if (in && mincore((void *)(uintptr_t)(t->data - skip), t->bytes + skip, in) == 0)
        for (uint64_t i = 0; i < n; i++)
            cold += in[i] & 1 ? 0 : page;
    free(in);
    return cold;
}

/* Read a tensor once from start to end: page faults in random order would read it at a tenth of
 * the disk's speed, and silently. */
static enum err read_through(const struct file_map *f, const struct tensor_info *t,
                             uint8_t *chunk, struct progress *p, int64_t *done)
{
    enum err e = OK;

    for (uint64_t at = 0; at < t->bytes && e == OK;) {
        uint64_t want = t->bytes - at < READ_BYTES ? t->bytes - at : READ_BYTES;
        unsigned long long from = t->file_offset + at;
        ssize_t got = pread(f->fd, chunk, want, (off_t)from);
        if (got < 0 && errno == EINTR)
            got = 0;
        else if (got < 0)
            e = err_set(ERR_IO, "LOAD-05", "%s: cannot read at byte %llu: %s", f->path, from,
                        strerror(errno));
        else if (got == 0)
            e = err_set(ERR_IO, "LOAD-06", "%s ends at byte %llu of %llu: it was changed while "
                        "it was read; start again", f->path, from,
                        (unsigned long long)f->bytes);
        if (e == OK && term_interrupted())
            e = err_set(ERR_STOPPED, "LOAD-07", "interrupted while reading %s", f->path);
        if (e == OK) {
            at += (uint64_t)got;
            *done += got;
            progress_update(p, *done);
        }
    }
    return e;
}

static enum err read_mapped(const struct loaded *l, uint64_t total)
{
    const struct weights *w = l->weights;
    uint8_t *chunk = malloc(READ_BYTES);
    int64_t done = 0;
    struct progress p;
    enum err e = OK;

    if (!chunk)
        return err_set(ERR_NOMEM, "LOAD-04", "no memory for a read buffer of %d MB",
                       READ_BYTES >> 20);
    progress_begin(&p, "reading the model", "B", (int64_t)total);
    for (uint64_t i = 0; i < w->n_tensor && e == OK; i++)
        if (stays_mapped(l, i))
            e = read_through(&w->file[w->tensor[i].file], &w->tensor[i], chunk, &p, &done);
    progress_end(&p);
    free(chunk);
    return e;
}

static uint64_t mapped_bytes(const struct loaded *l)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < l->weights->n_tensor; i++)
        sum += stays_mapped(l, i) ? l->weights->tensor[i].bytes : 0;
    return sum;
}

static uint64_t placed_bytes(const struct loaded *l)
{
    uint64_t bytes = 0;

    if (model_placed(l->model))
        place_memory(model_placed(l->model), &bytes);
    return bytes;
}

/* The weights of a packed file are used as they are mapped: in 2 MiB pages, where the file system
 * has them (else the advice changes nothing). */
static void ask_huge_pages(const struct weights *w)
{
    bool packed = false;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        packed = packed || w->tensor[i].layout == LAYOUT_tiles;
    if (packed && !w->file[0].in_memory)
        madvise((void *)(uintptr_t)w->file[0].data, w->file[0].bytes, MADV_HUGEPAGE);
}

/* Weights that stay mapped and fit into memory are read now.  `said`: that they may be slow. */
static enum err warm(const struct loaded *l, bool said)
{
    uint64_t cold = 0, total = mapped_bytes(l), need = total + placed_bytes(l);
    char size[16], have[16];

    if (l->machine.mem_available && total && need > l->machine.mem_available) {
        if (said)
            return OK;
        term_note("the model is %s and %s of memory is free: weights are read from disk as they "
                  "are needed, which is slow", bytes_text(size, sizeof(size), need),
                  bytes_text(have, sizeof(have), l->machine.mem_available));
        return OK;
    }
    if (total)
        ask_huge_pages(l->weights);
    for (uint64_t i = 0; i < l->weights->n_tensor; i++)
        cold += stays_mapped(l, i) ? cold_bytes(&l->weights->tensor[i]) : 0;
    return cold < COLD_MIN_BYTES ? OK : read_mapped(l, total);
}

/* --- packing ----------------------------------------------------------------------------- */

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)total;
    progress_update(arg, (int64_t)done);
    return !term_interrupted();
}

static enum err pack(struct loaded *l, bool rows_too)
{
    uint64_t bytes = model_place_bytes(l->model, rows_too);
    struct progress p;
    struct place_options po = {
        .nodes = l->machine.n_numa > 1, .rows_too = rows_too,
        .on_progress = on_progress, .arg = &p,
    };
    double start = clock_s();
    char size[16];

    progress_begin(&p, "reading and packing the model", "B", (int64_t)bytes);
    enum err e = model_place(l->model, &po);
    progress_end(&p);
    if (e == OK && bytes)
        term_verbose("weights: %s read and packed in %.2f s, %.0f MB/s",
                     bytes_text(size, sizeof(size), bytes), clock_s() - start,
                     (double)bytes / 1e6 / (clock_s() - start));
    return e;
}

/* Whether all weights, packed or not, leave room for scratch and the KV cache of a context that was
 * asked for, or of a moderate one: where they do not, the system should choose what it keeps. */
static bool fits(const struct loaded *l, const struct opt_set *o)
{
    uint64_t room = l->machine.mem_available, bytes = model_place_bytes(l->model, true);
    int64_t own = model_info(l->model)->n_ctx_train, n_ctx = opt_int(o, OPT_ctx_size);

    if (n_ctx <= 0)
        n_ctx = own > 0 && own < CTX_LEAST ? own : CTX_LEAST;
    return !room || (bytes < room && room - bytes > LOAD_RESERVE_BYTES &&
                     (room - bytes - LOAD_RESERVE_BYTES) / (uint64_t)n_ctx >=
                     kv_tok_bytes(l->model));
}

/* Keep weights in memory: the packed ones, and those that no memory of ours stands in for. */
static void lock_weights(const struct loaded *l)
{
    const struct place *p = model_placed(l->model);
    const struct weights *w = l->weights;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = 0, total = mapped_bytes(l);
    const uint8_t *memory = p ? place_memory(p, &bytes) : NULL;
    bool ok = !memory || mlock(memory, bytes) == 0;
    char size[16];

    for (int i = 0; i < w->n_file && ok; i++)
        if (w->file[i].in_memory && w->file[i].data) {
            total += w->file[i].bytes;
            ok = mlock(w->file[i].data, w->file[i].bytes) == 0;
        }
    for (uint64_t i = 0; i < w->n_tensor && ok; i++) {
        const struct tensor_info *t = &w->tensor[i];
        uintptr_t in_page = (uintptr_t)t->data % page;
        if (stays_mapped(l, i))
            ok = mlock(t->data - in_page, t->bytes + in_page) == 0;
    }
    if (!ok)
        term_warn("--mlock: cannot keep all %s in memory: %s; raise the limit of `ulimit -l` "
                  "(going on without)", bytes_text(size, sizeof(size), total + bytes),
                  strerror(errno));
}

/* With --pack auto: pack where it fits; the file as it is where it does not, or where the memory
 * that is available is not to be had.  *said: that it is so. */
static enum err pack_if_it_fits(struct loaded *l, const struct opt_set *o, bool *said)
{
    bool fit = fits(l, o);
    char need[16], have[16];
    enum err e = fit ? pack(l, false) : ERR_NOMEM;

    *said = e == ERR_NOMEM;
    if (e != ERR_NOMEM)
        return e;
    bytes_text(need, sizeof(need), model_place_bytes(l->model, !fit));
    if (fit)
        term_note("the system refuses the %s for packed weights (see `ulimit -v`): the file is "
                  "used as it is, which is slower", need);
    else
        term_note("the weights need %s beside a context, and %s of memory is free: the file is "
                  "used as it is, which is slower; --pack on packs them anyway", need,
                  bytes_text(have, sizeof(have), l->machine.mem_available));
    return OK;
}

enum err load_weights(struct loaded *l, const struct opt_set *o)
{
    bool no_mmap = opt_flag(o, OPT_no_mmap), may = load_may_pack(o), said = false;
    bool must = may && (no_mmap || !strcmp(opt_text(o, OPT_pack), "on"));
    enum err e = OK;

    if (must)
        e = pack(l, no_mmap);
    else if (may && model_place_bytes(l->model, false))
        e = pack_if_it_fits(l, o, &said);
    if (e == OK && !(may && no_mmap))
        e = warm(l, said);
    if (e == OK && opt_flag(o, OPT_mlock))
        lock_weights(l);
    return e;
}
