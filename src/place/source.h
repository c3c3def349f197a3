/* source.h - inside place: reading large pieces of a model's file. */
#ifndef PLACE_SOURCE_H
#define PLACE_SOURCE_H

#include "base/file.h"

enum { SOURCE_ALIGN = 4096 };

/* A file to read from.  `fd_direct` is -1 where the file system has no direct reads. */
struct source {
    const struct file_map *file;
    int fd_direct;
    bool cache_known;                   /* may we ask which pages are in the page cache? */
};

void source_open(struct source *s, const struct file_map *file);
void source_close(struct source *s);

/* The room that source_read() needs for n bytes; a multiple of SOURCE_ALIGN. */
static inline uint64_t source_room(uint64_t n)
{
    return (n + 2 * SOURCE_ALIGN - 1) / SOURCE_ALIGN * SOURCE_ALIGN;
}

/* *data <- n bytes at offset `at`, inside `room` [source_room(n)], which begins at a multiple of
 * SOURCE_ALIGN; or in the file's own bytes when those are in memory.  Errors: IO. */
MUST_CHECK enum err source_read(const struct source *s, uint8_t *room, uint64_t at, uint64_t n,
                                const uint8_t **data);

#endif
