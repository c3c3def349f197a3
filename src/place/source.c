/* source.c - see source.h.
 *
 * A piece whose pages are all in the page cache is copied from there; any other is read with
 * O_DIRECT, which is as fast as the disk and leaves nothing behind in the cache: the weights
 * would be in memory twice.  What direct reads cannot do (a file system without them, the end of
 * a file) falls back to ordinary ones.
 */
#include "place/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ASK_PAGES = 4096 };              /* pages asked about in one call */

void source_open(struct source *s, const struct file_map *file)
{
    char name[32];
    struct stat st;

    *s = (struct source){ .file = file, .fd_direct = -1 };
    if (file->in_memory || file->fd < 0)
        return;
    /* The same file whatever its path has become. */
    snprintf(name, sizeof(name), "/proc/self/fd/%d", file->fd);
    s->fd_direct = open(name, O_RDONLY | O_CLOEXEC | O_DIRECT);
    /* For files of others mincore() says that everything is cached. */
    s->cache_known = fstat(file->fd, &st) == 0 &&
                     (st.st_uid == geteuid() || access(name, W_OK) == 0);
}

void source_close(struct source *s)
{
    if (s->fd_direct >= 0)
        close(s->fd_direct);
    *s = (struct source){ .fd_direct = -1 };
}

static bool is_cached(const struct source *s, uint64_t at, uint64_t n)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = at + n;
    unsigned char in[ASK_PAGES];

    if (!s->cache_known)
        return false;
    for (at -= at % page; at < end; at += ASK_PAGES * page) {
        uint64_t bytes = end - at < ASK_PAGES * page ? end - at : ASK_PAGES * page;
        if (mincore((void *)(uintptr_t)(s->file->data + at), (size_t)bytes, in))
            return false;
        for (uint64_t i = 0; i < (bytes + page - 1) / page; i++)
            if (!(in[i] & 1))
                return false;
    }
    return true;
}

/* to <- bytes [at, at + n) by ordinary reads. */
static enum err read_buffered(const struct source *s, uint8_t *to, uint64_t at, uint64_t n)
{
    const char *path = s->file->path;

    while (n > 0) {
        ssize_t got = pread(s->file->fd, to, (size_t)n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(ERR_IO, "PLACE-01", "%s: reading at byte %llu failed: %s; check the "
                           "disk and copy the file again", path, (unsigned long long)at,
                           strerror(errno));
        if (got == 0)
            return err_set(ERR_IO, "PLACE-02", "%s: ends at byte %llu of %llu: it became shorter "
                           "while it was being read; wait until whatever writes it is done, and "
                           "start again", path, (unsigned long long)at,
                           (unsigned long long)s->file->bytes);
        to += got;
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return OK;
}

enum err source_read(const struct source *s, uint8_t *room, uint64_t at, uint64_t n,
                     const uint8_t **data)
{
    uint64_t skip = at % SOURCE_ALIGN, want = (skip + n + SOURCE_ALIGN - 1) / SOURCE_ALIGN *
                                              SOURCE_ALIGN, done = 0;
    ssize_t got = 1;

    if (s->file->in_memory) {
        *data = s->file->data + at;
        return OK;
    }
    *data = room + skip;
    if (s->fd_direct >= 0 && !is_cached(s, at, n))
        while (done < skip + n && got > 0 && done % SOURCE_ALIGN == 0) {
            got = pread(s->fd_direct, room + done, (size_t)(want - done),
                        (off_t)(at - skip + done));
            done += got > 0 ? (uint64_t)got : 0;
        }
    /* Nothing came, or an odd number of bytes: ordinary reads get the rest, or say why not. */
    if (done >= skip + n)
        return OK;
    done = done > skip ? done : skip;
    return read_buffered(s, room + done, at - skip + done, skip + n - done);
}
