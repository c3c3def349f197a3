/* bench_child.c - runs another program to its end, and sees who else used the processors.
 *
 * Both of its outputs go to files without names: nothing can block, however much it writes. */
#include "cmd/bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { OUT_MAX = 64 << 20, LAST_WORDS = 400 };

struct usage { double busy_s, own_s, wall_s; };

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec * 1e-6;
}

/* Processor time of the whole machine, of this process and its finished children, and the clock. */
static struct usage usage_now(void)
{
    struct usage u = { .wall_s = clock_s() };
    unsigned long long user = 0, nice = 0, sys = 0, idle = 0, wait = 0, irq = 0, soft = 0;
    FILE *in = fopen("/proc/stat", "r");

    if (in) {
        if (fscanf(in, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &wait,
                   &irq, &soft) == 7)
            u.busy_s = (double)(user + nice + sys + irq + soft) / (double)sysconf(_SC_CLK_TCK);
        fclose(in);
    }
    for (int i = 0; i < 2; i++) {
        struct rusage r;
        if (getrusage(i ? RUSAGE_CHILDREN : RUSAGE_SELF, &r) == 0)
            u.own_s += seconds(&r.ru_utime) + seconds(&r.ru_stime);
    }
    return u;
}

static double others_since(const struct usage *then)
{
    struct usage now = usage_now();
    double all = (now.wall_s - then->wall_s) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    double foreign = now.busy_s - then->busy_s - (now.own_s - then->own_s);

    if (!(all > 0) || !(foreign > 0))
        return 0;
    return foreign < all ? foreign / all : 1;   /* ticks are coarse beside a short run */
}

static enum err read_out(struct bench_child *r, FILE *out)
{
    long n = fseek(out, 0, SEEK_END) == 0 ? ftell(out) : -1;

    if (n < 0 || n > OUT_MAX)
        return err_set(ERR_LIMIT, "BENCH-30", "a process wrote %ld bytes of results; the limit is "
                       "%d", n, OUT_MAX);
    if (!(r->out = malloc((size_t)n + 1)))
        return err_set(ERR_NOMEM, "BENCH-31", "no memory for %ld bytes of results", n);
    rewind(out);
    r->len = fread(r->out, 1, (size_t)n, out);
    r->out[r->len] = 0;
    return OK;
}

static enum err failed(const char *program, int status, FILE *errors)
{
    char last[LAST_WORDS + 1] = "";
    struct buf shown = { 0 };
    long n = fseek(errors, 0, SEEK_END) == 0 ? ftell(errors) : 0;
    size_t got = 0;
    enum err e;

    if (fseek(errors, n > LAST_WORDS ? n - LAST_WORDS : 0, SEEK_SET) == 0)
        got = fread(last, 1, LAST_WORDS, errors);
    term_shown(&shown, last, got);
    e = err_set(ERR_IO, "BENCH-32", "%s ended with %s %d; its last words:\n%s", program,
                WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), buf_text(&shown));
    buf_release(&shown);
    return e;
}

static enum err run(struct bench_child *r, char *const *argv, FILE *out, FILE *errors)
{
    posix_spawn_file_actions_t actions;
    struct usage before = usage_now();
    int status = 0, failure;
    pid_t pid;

    if ((failure = posix_spawn_file_actions_init(&actions)) == 0) {
        failure = posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO);
        if (!failure)
            failure = posix_spawn_file_actions_adddup2(&actions, fileno(errors), STDERR_FILENO);
        if (!failure)
            failure = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    if (failure)
        return err_set(ERR_IO, "BENCH-33", "cannot start %s: %s", argv[0], strerror(failure));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_set(ERR_IO, "BENCH-34", "lost sight of %s: %s", argv[0], strerror(errno));
    r->others = others_since(&before);
    if (term_interrupted())             /* the terminal told the child too */
        return err_set(ERR_STOPPED, "BENCH-35", "interrupted");
    return status ? failed(argv[0], status, errors) : read_out(r, out);
}

enum err bench_child_run(struct bench_child *r, char *const *argv)
{
    FILE *out = tmpfile(), *errors = tmpfile();
    enum err e;

    *r = (struct bench_child){ 0 };
    if (!out || !errors)
        e = err_set(ERR_IO, "BENCH-36", "cannot make a temporary file: %s", strerror(errno));
    else
        e = run(r, argv, out, errors);
    if (out)
        fclose(out);
    if (errors)
        fclose(errors);
    return e;
}
