/* cpu.h - what this process may use: cores, memory, and what they are called. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdint.h>

struct machine {
    char cpu_name[128];                 /* "AMD EPYC ..." */
    int n_core_physical, n_core_logical;
    int n_thread_default;               /* physical cores allowed by affinity, cut to the cgroup
                                           CPU quota (v2 and v1), at least 1 */
    double cpu_quota;                   /* cores the cgroup allows; 0: no limit */
    uint64_t mem_total, mem_available;  /* bytes; available is cut to the cgroup's limit */
    uint64_t mem_limit;                 /* cgroup memory limit; 0: none */
    int n_numa;
    char gpu[128];                      /* first GPU's name from the kernel driver, or "" */
};

/* Threads to compute with on n_core cores under a quota (cores; 0: none), at least 1.  A part of a
 * core counts from a quarter on: the thread that has it stands still for the rest of each period,
 * and the others take over what it has not begun. */
int cpu_threads(int n_core, double quota);

/* Look once (hwloc, /proc, /sys/fs/cgroup).  Never fails: what cannot be read is 0 or "". */
void machine_detect(struct machine *m);

#endif
