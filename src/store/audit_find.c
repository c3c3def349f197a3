/* audit_find.c - rows of the audit log by a part of their text. */
#include "store/audit.h"

#include "base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = AUDIT_ROW_MAX + 256 };

struct walk { const char *part; audit_row_fn *fn; void *arg; char line[LINE_MAX_BYTES]; };

/* HASH {"n":N,"t":MS,"row":{...}} with a line feed: what is not whole is passed over. */
static enum err take_line(struct walk *w, const char *chain)
{
    size_t len = strlen(w->line);
    struct audit_row row = { .chain = chain };
    int at = 0;

    if (len < SHA256_HEX_BYTES || w->line[len - 1] != '\n' || !strstr(w->line, w->part))
        return OK;
    if (sscanf(w->line + SHA256_HEX_BYTES, "{\"n\":%" SCNd64 ",\"t\":%" SCNd64 ",\"row\":%n",
               &row.n, &row.made_ms, &at) != 2 || !at || w->line[len - 2] != '}')
        return OK;
    w->line[len - 2] = '\0';
    row.row = w->line + SHA256_HEX_BYTES + at;
    row.len = len - 2 - SHA256_HEX_BYTES - (size_t)at;
    return w->fn(w->arg, &row);
}

static enum err walk_chain(struct walk *w, const char *folder, const char *name)
{
    struct buf path = { 0 };
    char chain[64];
    FILE *in = NULL;
    bool whole = true;
    enum err e;

    snprintf(chain, sizeof(chain), "%.*s", (int)(strlen(name) - 4), name);
    buf_printf(&path, "%s/%s", folder, name);
    e = buf_ok(&path);
    if (!e && !(in = fopen(buf_text(&path), "re")))
        e = err_set(ERR_IO, "AFIND-01", "%s: cannot be read: %s", buf_text(&path),
                    strerror(errno));
    while (!e && fgets(w->line, sizeof(w->line), in)) {
        bool begins = whole;            /* the rest of a line that is too long is no row */
        whole = strchr(w->line, '\n') != NULL;
        if (begins)
            e = take_line(w, chain);
    }
    if (!e && ferror(in))
        e = err_set(ERR_IO, "AFIND-02", "%s: cannot be read to its end", buf_text(&path));
    if (in)
        fclose(in);
    buf_release(&path);
    return e;
}

static int is_chain(const struct dirent *d)
{
    size_t len = strlen(d->d_name);

    return len > 4 && len < 64 && !strcmp(d->d_name + len - 4, ".log");
}

enum err audit_find(const char *folder, const char *part, audit_row_fn *fn, void *arg)
{
    struct walk *w = malloc(sizeof(*w));
    struct dirent **name = NULL;
    enum err e = OK;
    int n;

    if (!w)
        return err_set(ERR_NOMEM, "AFIND-03", "no memory to read an audit log");
    w->part = part;
    w->fn = fn;
    w->arg = arg;
    n = scandir(folder, &name, is_chain, alphasort);
    if (n < 0)
        e = err_set(errno == ENOENT ? ERR_MISSING : ERR_IO, "AFIND-04", "%s: is no folder of an "
                    "audit log: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!e)
            e = walk_chain(w, folder, name[i]->d_name);
        free(name[i]);
    }
    free(name);
    free(w);
    return e;
}
