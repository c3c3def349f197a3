/* cpu.c - the machine as this process may use it: hwloc for its shape, the scheduler's mask and
 * the control groups for what is allowed.  See cpu.h.
 */
#include "base/cpu.h"

#include "base/cgroup.h"

#include <glob.h>
#include <hwloc.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "NAME : value" or "NAME: value kB" of a small file of lines. */
static bool field(const char *path, const char *name, char *out, size_t size)
{
    char line[512];
    size_t n = strlen(name);
    bool found = false;
    FILE *in = fopen(path, "r");

    while (in && !found && fgets(line, sizeof(line), in)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, name, n))
            continue;
        value++;
        value += strspn(value, " \t");
        value[strcspn(value, "\n")] = '\0';
        snprintf(out, size, "%s", value);
        found = true;
    }
    if (in)
        fclose(in);
    return found;
}

static uint64_t meminfo(const char *name)
{
    char value[64];

    if (!field("/proc/meminfo", name, value, sizeof(value)))
        return 0;
    return strtoull(value, NULL, 10) * 1024;
}

/* Cores of which this process may use at least one thread. */
static int count_cores(hwloc_topology_t topo, hwloc_const_cpuset_t allowed)
{
    int n = 0;
    hwloc_obj_t core = NULL;

    while ((core = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_CORE, core)))
        n += hwloc_bitmap_intersects(core->cpuset, allowed) != 0;
    return n;
}

/* Fills the counts; returns the physical cores the affinity mask allows, 0 when unknown. */
static int look_at_topology(struct machine *m)
{
    hwloc_topology_t topo;
    hwloc_bitmap_t allowed;
    int n = 0;

    if (hwloc_topology_init(&topo))
        return 0;
    /* All that the machine has: limits are applied below, and shown beside it. */
    hwloc_topology_set_flags(topo, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    if (hwloc_topology_load(topo)) {
        hwloc_topology_destroy(topo);
        return 0;
    }
    m->n_core_physical = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_CORE);
    m->n_core_logical = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_PU);
    m->n_numa = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_NUMANODE);
    allowed = hwloc_bitmap_alloc();
    if (allowed && !hwloc_get_cpubind(topo, allowed, HWLOC_CPUBIND_PROCESS))
        n = count_cores(topo, allowed);
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topo);
    return n;
}

/* Logical processors of the affinity mask, for machines whose topology cannot be read. */
static int affinity_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
}

static bool read_hex(const char *dir, const char *name, unsigned *out)
{
    char path[512];
    FILE *in;
    bool ok = false;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    in = fopen(path, "r");
    if (in) {
        ok = fscanf(in, "%x", out) == 1;
        fclose(in);
    }
    return ok;
}

/* NVIDIA's driver names its cards; the others are known by their PCI numbers. */
static void find_gpu(struct machine *m)
{
    static const struct { unsigned id; const char *name; } vendor[] = {
        { 0x10de, "NVIDIA" }, { 0x1002, "AMD" }, { 0x8086, "Intel" },
    };
    glob_t found;
    unsigned maker, device;

    if (!glob("/proc/driver/nvidia/gpus/*/information", 0, NULL, &found)) {
        field(found.gl_pathv[0], "Model", m->gpu, sizeof(m->gpu));
        globfree(&found);
    }
    if (*m->gpu || glob("/sys/class/drm/card[0-9]*/device", 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc && !*m->gpu; i++) {
        if (!read_hex(found.gl_pathv[i], "vendor", &maker) ||
            !read_hex(found.gl_pathv[i], "device", &device))
            continue;
        for (size_t v = 0; v < sizeof(vendor) / sizeof(*vendor); v++)
            if (vendor[v].id == maker)
                snprintf(m->gpu, sizeof(m->gpu), "%s %04x", vendor[v].name, device);
    }
    globfree(&found);
}

int cpu_threads(int n_core, double quota)
{
    if (quota > 0 && quota < n_core)
        n_core = (int)(quota + 0.75);
    return n_core < 1 ? 1 : n_core;
}

void machine_detect(struct machine *m)
{
    struct cgroup_limits limits;
    int n;

    *m = (struct machine){ 0 };
    if (!field("/proc/cpuinfo", "model name", m->cpu_name, sizeof(m->cpu_name)))
        field("/proc/cpuinfo", "Hardware", m->cpu_name, sizeof(m->cpu_name));
    n = look_at_topology(m);
    if (n < 1)
        n = affinity_count();
    cgroup_read(&limits, "");
    m->cpu_quota = limits.cpu_quota;
    m->n_thread_default = cpu_threads(n, limits.cpu_quota);
    m->mem_total = meminfo("MemTotal");
    m->mem_available = meminfo("MemAvailable");
    if (limits.mem_limit && (!m->mem_total || limits.mem_limit < m->mem_total))
        m->mem_limit = limits.mem_limit;
    if (limits.mem_free < m->mem_available)
        m->mem_available = limits.mem_free;
    find_gpu(m);
}
