/* fake_clock.c - loaded before a program (LD_PRELOAD), it adds to the monotonic clock of the main
 * thread what the file FAKE_CLOCK says, eight bytes of nanoseconds, so that a test can let minutes
 * pass at once.
 *
 * Other threads keep the real clock, for they sleep by the kernel's.  The main thread looks up at
 * least every POLL_MS, or it would sleep through what was set while it slept. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 2 };

static _Atomic int64_t *ahead;
static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_wait)(int, struct epoll_event *, int, int);

static void *find(const char *name)
{
    void *at = dlsym(RTLD_NEXT, name);

    if (!at)
        abort();
    return at;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAKE_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED)
        abort();
    close(fd);
    ahead = at;
}

static int is_ours(void)
{
    return ahead && gettid() == getpid();
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    int e;

    if (!real_clock)
        *(void **)&real_clock = find("clock_gettime");
    e = real_clock(which, t);
    if (!e && is_ours() && (which == CLOCK_MONOTONIC || which == CLOCK_MONOTONIC_RAW ||
                            which == CLOCK_MONOTONIC_COARSE)) {
        int64_t ns = t->tv_nsec + atomic_load(ahead);
        t->tv_sec += (time_t)(ns / 1000000000);
        t->tv_nsec = (long)(ns % 1000000000);
    }
    return e;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int ms)
{
    if (!real_wait)
        *(void **)&real_wait = find("epoll_wait");
    return real_wait(fd, events, max, is_ours() && (ms < 0 || ms > POLL_MS) ? POLL_MS : ms);
}
