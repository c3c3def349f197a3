/* temp_file.h - a folder of files for one test, removed at its end. */
#ifndef TESTS_TEMP_FILE_H
#define TESTS_TEMP_FILE_H

#include "base/err.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct temp { char folder[64]; char path[8][160]; int next; };

static inline void temp_init(struct temp *t)
{
    *t = (struct temp){ .folder = "/tmp/croft-test-XXXXXX" };
    ASSERT(mkdtemp(t->folder));
}

/* The path of a name in the folder; good for the next seven calls. */
static inline const char *temp_path(struct temp *t, const char *name)
{
    char *path = t->path[t->next++ % 8], full[sizeof(t->path[0])];

    snprintf(full, sizeof(full), "%s/%s", t->folder, name);
    return memcpy(path, full, sizeof(full));
}

static inline const char *temp_write(struct temp *t, const char *name, const void *bytes,
                                     size_t len)
{
    const char *path = temp_path(t, name);
    FILE *out = fopen(path, "wb");

    ASSERT(out && fwrite(bytes, 1, len, out) == len && fclose(out) == 0);
    return path;
}

/* How many entries a folder has, without "." and "..". */
static inline int count_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *d;
    int n = 0;

    ASSERT(dir);
    while ((d = readdir(dir)))
        n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
    closedir(dir);
    return n;
}

static inline void temp_release(struct temp *t)
{
    DIR *dir = opendir(t->folder);
    struct dirent *d;

    ASSERT(dir);
    while ((d = readdir(dir)))
        unlink(temp_path(t, d->d_name));
    closedir(dir);
    rmdir(t->folder);
}

#endif
