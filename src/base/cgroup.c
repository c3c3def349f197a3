/* cgroup.c - see cgroup.h.
 *
 *   /proc/self/cgroup     which group of each hierarchy:   4:memory:/user/me    0::/user/me
 *   /proc/self/mountinfo  where a hierarchy is mounted, and which of its groups is the mount's
 *                         root (a container sees a part of the tree)
 *
 * A group's folder is the mount point plus the group's path below the mount's root.
 */
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 256 * 1024, PATH_BYTES = 4096 };

/* A file below /proc or /sys, whose size is not known before: at most FILE_BYTES_MAX bytes of it,
 * NUL-terminated; NULL when it cannot be read.  free() it. */
static char *read_small(const char *root, const char *path)
{
    char full[2 * PATH_BYTES], *text = NULL;
    FILE *in = NULL;
    size_t n;

    if (snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full))
        in = fopen(full, "r");
    if (in && (text = malloc(FILE_BYTES_MAX + 1))) {
        n = fread(text, 1, FILE_BYTES_MAX, in);
        text[n] = '\0';
    }
    if (in)
        fclose(in);
    return text;
}

/* The next line of a text, cut off in place; NULL at the end. */
static char *next_line(char **at)
{
    char *line = *at, *end;

    if (!line || !*line)
        return NULL;
    end = strchr(line, '\n');
    *at = end ? end + 1 : NULL;
    if (end)
        *end = '\0';
    return line;
}

static bool has_item(const char *list, const char *item)
{
    size_t n = strlen(item);

    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (!strncmp(list, item, n) && (!list[n] || list[n] == ','))
            return true;
    }
    return false;
}

/* The group of a v1 controller, or of the v2 hierarchy for "". */
static bool own_group(const char *root, const char *controller, char out[PATH_BYTES])
{
    char *text = read_small(root, "/proc/self/cgroup"), *at = text, *line;
    bool found = false;

    while (!found && (line = next_line(&at))) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        names++;
        if (*controller ? has_item(names, controller) : !*names)
            found = snprintf(out, PATH_BYTES, "%s", path) < PATH_BYTES;
    }
    free(text);
    return found;
}

struct mount { char root[PATH_BYTES], point[PATH_BYTES]; };

/* mountinfo: id parent dev ROOT POINT options [tags] - TYPE source SUPER_OPTIONS */
static bool find_mount(const char *root, const char *controller, struct mount *m)
{
    char *text = read_small(root, "/proc/self/mountinfo"), *at = text, *line;
    bool found = false;

    while (!found && (line = next_line(&at))) {
        char *dash = strstr(line, " - "), type[32], super[512];
        if (!dash || sscanf(dash + 3, "%31s %*s %511s", type, super) != 2 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", m->root, m->point) != 2)
            continue;
        if (*controller)
            found = !strcmp(type, "cgroup") && has_item(super, controller);
        else
            found = !strcmp(type, "cgroup2");
    }
    free(text);
    return found;
}

/* A number in a file of a group; false when there is none or it says "max". */
static bool read_number(const char *root, const char *dir, const char *name, double *out)
{
    char path[PATH_BYTES + 64], *text, *end;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    text = read_small(root, path);
    if (!text)
        return false;
    *out = strtod(text, &end);
    bool ok = end != text;
    free(text);
    return ok;
}

/* The value of a line "name value" of memory.stat, 0 when absent. */
static double read_stat(const char *root, const char *dir, const char *name)
{
    char path[PATH_BYTES + 64], *text, *at, *line;
    size_t n = strlen(name);
    double value = 0;

    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    at = text = read_small(root, path);
    while ((line = next_line(&at)))
        if (!strncmp(line, name, n) && line[n] == ' ')
            value = strtod(line + n, NULL);
    free(text);
    return value;
}

static void limit_cpu(struct cgroup_limits *out, double quota_us, double period_us)
{
    if (quota_us <= 0 || period_us <= 0)
        return;
    if (out->cpu_quota <= 0 || quota_us / period_us < out->cpu_quota)
        out->cpu_quota = quota_us / period_us;
}

/* Version 1 writes "no limit" as the largest multiple of a page. */
static void limit_memory(struct cgroup_limits *out, double limit, double used)
{
    uint64_t bytes;

    if (!(limit >= 0) || limit >= 0x1p62)
        return;
    bytes = (uint64_t)limit;
    if (!out->mem_limit || bytes < out->mem_limit)
        out->mem_limit = bytes;
    bytes = limit > used ? (uint64_t)(limit - (used > 0 ? used : 0)) : 0;
    if (bytes < out->mem_free)
        out->mem_free = bytes;
}

static void group_v2(struct cgroup_limits *out, const char *root, const char *dir)
{
    char path[PATH_BYTES + 64], *text;
    double quota, period, limit, used;

    snprintf(path, sizeof(path), "%s/cpu.max", dir);
    text = read_small(root, path);
    if (text && sscanf(text, "%lf %lf", &quota, &period) == 2)
        limit_cpu(out, quota, period);
    free(text);
    if (!read_number(root, dir, "memory.max", &limit))
        return;
    if (!read_number(root, dir, "memory.current", &used))
        used = 0;
    used -= read_stat(root, dir, "active_file") + read_stat(root, dir, "inactive_file");
    limit_memory(out, limit, used);
}

static void group_v1_cpu(struct cgroup_limits *out, const char *root, const char *dir)
{
    double quota, period;

    if (read_number(root, dir, "cpu.cfs_quota_us", &quota) &&
        read_number(root, dir, "cpu.cfs_period_us", &period))
        limit_cpu(out, quota, period);
}

static void group_v1_memory(struct cgroup_limits *out, const char *root, const char *dir)
{
    double limit, used;

    if (!read_number(root, dir, "memory.limit_in_bytes", &limit))
        return;
    if (!read_number(root, dir, "memory.usage_in_bytes", &used))
        used = 0;
    used -= read_stat(root, dir, "total_active_file") + read_stat(root, dir, "total_inactive_file");
    limit_memory(out, limit, used);
}

typedef void group_fn(struct cgroup_limits *out, const char *root, const char *dir);

/* Visit the group of a controller and every group above it, up to the mount point. */
static void walk_up(struct cgroup_limits *out, const char *root, const char *controller,
                    group_fn *visit)
{
    struct mount m;
    char group[PATH_BYTES], dir[2 * PATH_BYTES];
    const char *below = group;

    if (!own_group(root, controller, group) || !find_mount(root, controller, &m))
        return;
    size_t n = strlen(m.root);
    if (n > 1 && !strncmp(group, m.root, n) && (!group[n] || group[n] == '/'))
        below = group + n;
    else if (n > 1 || strstr(group, ".."))
        below = "";                     /* outside what is mounted here: only its root is seen */
    snprintf(dir, sizeof(dir), "%s%s", m.point, below);
    size_t top = strlen(m.point);
    while (strlen(dir) > top) {
        if (dir[strlen(dir) - 1] == '/') {
            dir[strlen(dir) - 1] = '\0';
            continue;
        }
        visit(out, root, dir);
        *strrchr(dir, '/') = '\0';
    }
    visit(out, root, m.point);
}

void cgroup_read(struct cgroup_limits *out, const char *root)
{
    *out = (struct cgroup_limits){ .mem_free = UINT64_MAX };
    walk_up(out, root, "", group_v2);
    walk_up(out, root, "cpu", group_v1_cpu);
    walk_up(out, root, "memory", group_v1_memory);
}
