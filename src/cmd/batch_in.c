/* batch_in.c - the lines of a batch file, one at a time. */
#include "cmd/run_batch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { COUNT_BYTES = 1 << 16 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static enum err failed(const struct batch_in *in)
{
    return err_set(ERR_IO, "BATCH-01", "%s: cannot be read: %s; check the disk it is on", in->path,
                   strerror(errno));
}

static enum err count_lines(struct batch_in *in)
{
    char piece[COUNT_BYTES];
    bool something = false;
    size_t n;

    in->n_line = 0;
    while ((n = fread(piece, 1, sizeof(piece), in->file)) > 0)
        for (size_t i = 0; i < n; i++) {
            if (piece[i] == '\n') {
                in->n_line += something;
                something = false;
            } else {
                something = something || !is_blank(piece[i]);
            }
        }
    in->n_line += something;
    if (ferror(in->file))
        return failed(in);
    rewind(in->file);
    return OK;
}

enum err batch_in_open(struct batch_in *in, const char *path)
{
    struct stat st;

    *in = (struct batch_in){ .path = path, .is_stdin = !strcmp(path, "-"), .n_line = -1 };
    if (in->is_stdin) {
        in->path = "standard input";
        in->file = stdin;
        return OK;
    }
    in->file = fopen(path, "rbe");
    if (!in->file)
        return err_set(errno == ENOENT ? ERR_MISSING : ERR_IO, "BATCH-02", "%s: %s; name a file "
                       "of JSON lines", path, strerror(errno));
    if (fstat(fileno(in->file), &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(ERR_ARG, "BATCH-03", "%s: is a folder; name a file of JSON lines", path);
    return S_ISREG(st.st_mode) ? count_lines(in) : OK;
}

void batch_in_close(struct batch_in *in)
{
    if (in->file && !in->is_stdin)
        fclose(in->file);
    in->file = NULL;
}

enum err batch_in_next(struct batch_in *in, struct buf *line, bool *too_long, bool *end)
{
    bool something = false;
    int c = 0;

    *end = *too_long = false;
    while (!something && c != EOF) {
        buf_cut(line, 0);
        in->number++;
        while ((c = getc_unlocked(in->file)) != EOF && c != '\n') {
            char byte = (char)c;
            something = something || !is_blank(byte);
            *too_long = line->len == BATCH_LINE_MAX;
            if (something && !*too_long)
                buf_add(line, &byte, 1);
        }
    }
    *end = !something;
    if (ferror(in->file))
        return failed(in);
    return buf_ok(line);
}
