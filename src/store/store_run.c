/* store_run.c - which processes of a state folder live: each holds a lock on STATE/run/ID.
 *
 * The system drops the lock however the process ends, so that its successor knows at once, by no
 * clock.  A file is removed by who holds its lock. */
#include "store/store_form.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err run_folder(const struct store *s, char out[STORE_RUN_PATH_MAX])
{
    if (snprintf(out, STORE_RUN_PATH_MAX, "%s/run", s->o.state) >= STORE_RUN_PATH_MAX - 40)
        return err_set(ERR_ARG, "LIVES-01", "%.80s...: the state folder's name is too long",
                       s->o.state);
    if ((mkdir(s->o.state, 0700) && errno != EEXIST) || (mkdir(out, 0700) && errno != EEXIST))
        return err_set(ERR_IO, "LIVES-02", "%s: cannot be made: %s; name a state folder that can",
                       out, strerror(errno));
    return OK;
}

enum err store_run_lock(struct store *s)
{
    char folder[STORE_RUN_PATH_MAX];
    struct stat st;
    enum err e;

    s->run_fd = -1;
    if (!s->o.state)
        return OK;
    if ((e = run_folder(s, folder)))
        return e;
    snprintf(s->run_path, sizeof(s->run_path), "%.470s/%s", folder, s->process);
    for (int i = 0; i < 10; i++) {      /* another that starts may have taken it for a dead one's */
        s->run_fd = open(s->run_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (s->run_fd < 0 || flock(s->run_fd, LOCK_EX) || fstat(s->run_fd, &st))
            break;
        if (st.st_nlink)
            return OK;
        close(s->run_fd);
    }
    return err_set(ERR_IO, "LIVES-03", "%s: cannot be made and locked: %s", s->run_path,
                   strerror(errno));
}

static enum err look_at(struct store *s, const char *folder, const char *name, store_dead_fn *fn)
{
    char path[STORE_RUN_PATH_MAX];
    enum err e = OK;
    int fd;

    snprintf(path, sizeof(path), "%.470s/%.31s", folder, name);
    if ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return OK;                      /* its owner has just left */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && !(e = fn(s, name)))
        unlink(path);
    close(fd);
    return e;
}

/* A process between making its file and locking it has not joined the ledger yet. */
enum err store_run_dead(struct store *s, store_dead_fn *fn)
{
    char folder[STORE_RUN_PATH_MAX];
    struct dirent *d;
    enum err e = OK;
    DIR *dir;

    if (!s->o.state || (e = run_folder(s, folder)))
        return e;
    if (!(dir = opendir(folder)))
        return err_set(ERR_IO, "LIVES-04", "%s: cannot be read: %s", folder, strerror(errno));
    while (!e && (d = readdir(dir)))
        if (d->d_name[0] == 'g' && strlen(d->d_name) < sizeof(s->process) &&
            strcmp(d->d_name, s->process))
            e = look_at(s, folder, d->d_name, fn);
    closedir(dir);
    return e;
}

void store_run_unlock(struct store *s, bool remove)
{
    if (s->run_fd < 0)
        return;
    if (remove)
        unlink(s->run_path);
    close(s->run_fd);
    s->run_fd = -1;
}
