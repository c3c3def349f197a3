/* batch_out.c - the output of a batch, which survives a kill.
 *
 *   (nothing) --(open)--> PATH.part + PATH.part.json --(commit)--> PATH
 *                             ^   |
 *                             '---'  killed, opened again: whole lines stay, a torn end is cut
 *
 * A lock on the part file keeps a second process away.  The line that is being written is the only
 * one that can be torn; after a crash of the machine the file may end in anything, so what is kept
 * ends before the first line that is not a JSON object. */
#include "cmd/run_batch.h"

#include "base/file.h"
#include "base/json.h"
#include "base/term.h"
#include "cmd/json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ABOUT_BYTES_MAX = 4096, OUT_LINE_MAX = 256 << 20 };

enum err batch_out_check(const char *path, bool force, bool is_stdin)
{
    struct buf part = { 0 };
    struct stat st;
    enum err e = OK;

    if (!path)
        return OK;
    buf_printf(&part, "%s.part", path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        e = err_set(ERR_ARG, "BATCH-40", "%s: is a folder; name the file to write in it", path);
    else if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && !force)
        e = err_set(ERR_ARG, "BATCH-41", "%s: is there already; --force replaces it", path);
    else if (is_stdin && stat(buf_text(&part), &st) == 0)
        e = err_set(ERR_ARG, "BATCH-42", "%s: an earlier job stopped there, and one that reads "
                    "standard input cannot go on with it; remove it, or name a file with --batch",
                    buf_text(&part));
    buf_release(&part);
    return e;
}

static char *with_end(const char *path, const char *end)
{
    size_t n = strlen(path) + strlen(end) + 1;
    char *out = malloc(n);

    if (out)
        snprintf(out, n, "%s%s", path, end);
    return out;
}

/* --- what job the part file is of ------------------------------------------------------------ */

static enum err write_about(const struct batch_out *out, const char *key, uint64_t seed)
{
    struct file_new f;
    struct buf text = { 0 };
    enum err e = file_new_open(&f, out->about);

    if (e != OK)
        return e;
    e = json_put(&text, json_pack("{s:i, s:s, s:I}", "croft_batch", 1, "job", key, "seed",
                                  (json_int_t)seed), true);
    buf_puts(&text, "\n");
    if (e == OK)
        fwrite(buf_text(&text), 1, text.len, f.out);
    buf_release(&text);
    if (e == OK)
        return file_new_commit(&f);
    file_new_abort(&f);
    return e;
}

static enum err read_about(const struct batch_out *out, const char *key, uint64_t *seed)
{
    json_t *about = NULL;
    const char *job;
    char *text = NULL;
    size_t len;
    enum err e = file_read_text(&text, &len, out->about, ABOUT_BYTES_MAX);

    if (e == OK)
        e = json_parse(&about, text, len, ABOUT_BYTES_MAX, out->about);
    job = json_string_value(json_object_get(about, "job"));
    if (e == OK && (!job || strcmp(job, key) != 0))
        e = err_set(ERR_ARG, "BATCH-43", "%s: was begun with another model, input or options; give "
                    "the same ones to go on, or remove it to begin anew", out->part);
    *seed = (uint64_t)json_integer_value(json_object_get(about, "seed"));
    json_decref(about);
    free(text);
    return e;
}

/* --- the lines of an earlier run ------------------------------------------------------------- */

static bool keep_line(struct batch_out *out, const char *line, size_t len)
{
    json_t *o = NULL, *error;
    bool ok = json_parse(&o, line, len, OUT_LINE_MAX, out->part) == OK && json_is_object(o);

    error = json_object_get(o, "error");
    if (ok) {
        out->n_kept++;
        out->n_kept_bad += error && !json_is_null(error);
    }
    json_decref(o);
    return ok;
}

/* Stand behind the last whole line, where the file ends from now on. */
static enum err keep_lines(struct batch_out *out)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    off_t end = 0;
    bool bad;

    while ((n = getline(&line, &cap, out->file)) > 0 && line[n - 1] == '\n' &&
           keep_line(out, line, (size_t)n - 1))
        end += n;
    bad = ferror(out->file) || fseeko(out->file, end, SEEK_SET) ||
          ftruncate(fileno(out->file), end);
    free(line);
    return bad ? err_set(ERR_IO, "BATCH-44", "%s: cannot be gone on with: %s; check the disk, or "
                         "remove it", out->part, strerror(errno)) : OK;
}

static enum err open_part(struct batch_out *out)
{
    int fd = open(out->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0)
        return err_set(errno == ENOENT ? ERR_MISSING : ERR_IO, "BATCH-45", "%s: cannot be written: "
                       "%s; name a place you may write to", out->part, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return err_set(ERR_BUSY, "BATCH-46", "%s: another process is writing it; wait for its end",
                       out->part);
    }
    out->file = fdopen(fd, "r+b");
    if (out->file)
        return OK;
    close(fd);
    return err_set(ERR_NOMEM, "BATCH-47", "%s: no memory to write it", out->part);
}

enum err batch_out_open(struct batch_out *out, const char *path, const char *key, uint64_t *seed)
{
    struct stat st;
    enum err e;

    *out = (struct batch_out){ 0 };
    if (!path)
        return OK;
    out->path = strdup(path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {     /* a pipe, /dev/null: no part file */
        out->file = fopen(path, "wbe");
        return out->file ? OK : err_set(ERR_IO, "BATCH-48", "%s: cannot be written: %s", path,
                                        strerror(errno));
    }
    out->part = with_end(path, ".part");
    out->about = with_end(path, ".part.json");
    if (!out->path || !out->part || !out->about)
        return err_set(ERR_NOMEM, "BATCH-49", "%s: no memory for its name", path);
    if ((e = open_part(out)))
        return e;
    /* without a byte there is nothing to go on with, whatever it was of */
    if (fstat(fileno(out->file), &st) || st.st_size == 0)
        return write_about(out, key, *seed);
    e = read_about(out, key, seed);
    if (e == ERR_MISSING)
        e = err_set(ERR_ARG, "BATCH-50", "%s: is there without %s, so it is not known what job it "
                    "is of; remove it, or name another file", out->part, out->about);
    return e == OK ? keep_lines(out) : e;
}

enum err batch_out_write(struct batch_out *out, const struct buf *line)
{
    enum err e;

    if (!out->file) {
        e = out_write(buf_text(line), line->len);
        return e == OK ? out_flush() : e;
    }
    if (fwrite(buf_text(line), 1, line->len, out->file) == line->len && !fflush(out->file))
        return OK;
    return err_set(errno == EPIPE ? ERR_PIPE : ERR_IO, "BATCH-51", "%s: writing failed: %s; make "
                   "room on the disk and give the same command again: whole lines are kept",
                   out->part ? out->part : out->path, strerror(errno));
}

enum err batch_out_commit(struct batch_out *out)
{
    if (!out->part)
        return OK;
    if (fsync(fileno(out->file)) || rename(out->part, out->path))
        return err_set(ERR_IO, "BATCH-52", "%s: is whole but cannot become %s: %s; rename it",
                       out->part, out->path, strerror(errno));
    unlink(out->about);
    return OK;
}

void batch_out_close(struct batch_out *out)
{
    if (out->file)
        fclose(out->file);
    free(out->path);
    free(out->part);
    free(out->about);
    *out = (struct batch_out){ 0 };
}
