/* batch_in.c - the lines of a batch file, one at a time; of a pipe as they come. */
#include "cmd/run_batch.h"

#include "base/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* More bytes into the piece; *n is how many, 0 at the end. */
static enum err refill(struct batch_in *in, size_t *n)
{
    ssize_t got;

    while ((got = read(in->fd, in->piece, BATCH_PIECE)) < 0 && errno == EINTR)
        if (term_interrupted())
            return err_set(ERR_STOPPED, "BATCH-04", "interrupted while waiting for %s", in->path);
    if (got < 0)
        return err_set(ERR_IO, "BATCH-01", "%s: cannot be read: %s; check the disk it is on",
                       in->path, strerror(errno));
    in->at = 0;
    *n = in->n = (size_t)got;
    return OK;
}

enum err batch_in_rewind(struct batch_in *in)
{
    in->n = in->at = 0;
    in->number = 0;
    if (lseek(in->fd, 0, SEEK_SET) == 0)
        return OK;
    return err_set(ERR_IO, "BATCH-05", "%s: cannot be read again: %s", in->path, strerror(errno));
}

static enum err count_lines(struct batch_in *in)
{
    bool something = false;
    size_t n = 1;
    enum err e = OK;

    in->n_line = 0;
    while (n && (e = refill(in, &n)) == OK)
        for (size_t i = 0; i < n; i++) {
            if (in->piece[i] == '\n') {
                in->n_line += something;
                something = false;
            } else {
                something = something || !is_blank(in->piece[i]);
            }
        }
    in->n_line += something;
    return e == OK ? batch_in_rewind(in) : e;
}

enum err batch_in_open(struct batch_in *in, const char *path)
{
    struct stat st;

    *in = (struct batch_in){ .path = path, .is_stdin = !strcmp(path, "-"), .n_line = -1 };
    in->piece = malloc(BATCH_PIECE);
    if (!in->piece)
        return err_set(ERR_NOMEM, "BATCH-06", "%s: no memory to read it", path);
    if (in->is_stdin) {
        in->path = "standard input";
        in->fd = STDIN_FILENO;
        return OK;
    }
    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return err_set(errno == ENOENT ? ERR_MISSING : ERR_IO, "BATCH-02", "%s: %s; name a file "
                       "of JSON lines", path, strerror(errno));
    if (fstat(in->fd, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(ERR_ARG, "BATCH-03", "%s: is a folder; name a file of JSON lines", path);
    return S_ISREG(st.st_mode) ? count_lines(in) : OK;
}

void batch_in_close(struct batch_in *in)
{
    if (in->piece && !in->is_stdin && in->fd >= 0)
        close(in->fd);
    free(in->piece);
    buf_release(&in->line);
    *in = (struct batch_in){ 0 };
}

/* Take bytes up to the end of a line, or of the piece; true: a line is whole. */
static bool take(struct batch_in *in)
{
    while (in->at < in->n) {
        char c = in->piece[in->at++];
        if (c == '\n') {
            in->number++;
            if (in->something)
                return true;
            continue;
        }
        in->something = in->something || !is_blank(c);
        in->too_long = in->too_long || in->line.len == BATCH_LINE_MAX;
        if (in->something && !in->too_long)
            buf_add(&in->line, &c, 1);
    }
    return false;
}

static enum err hand_over(struct batch_in *in, struct buf *line, bool *too_long)
{
    buf_cut(line, 0);
    buf_add(line, in->line.data, in->line.len);
    *too_long = in->too_long;
    buf_cut(&in->line, 0);
    in->something = in->too_long = false;
    return in->line.broken ? buf_ok(&in->line) : buf_ok(line);
}

enum err batch_in_next(struct batch_in *in, bool wait, struct buf *line, bool *too_long,
                       enum batch_got *got)
{
    struct pollfd ready = { .fd = in->fd, .events = POLLIN };
    size_t n;
    enum err e;

    *got = BATCH_LINE;
    while (!take(in)) {
        *got = BATCH_LATER;
        if (!wait && poll(&ready, 1, 0) == 0)
            return OK;
        if ((e = refill(in, &n)))
            return e;
        *got = BATCH_END;
        if (!n && !in->something)
            return OK;
        *got = BATCH_LINE;
        if (!n) {                       /* without a line feed at its end */
            in->number++;
            break;
        }
    }
    return hand_over(in, line, too_long);
}
