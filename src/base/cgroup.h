/* cgroup.h - the processor and memory limits of the control groups a process lives in. */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdint.h>

struct cgroup_limits {
    double cpu_quota;                   /* cores; 0: no limit */
    uint64_t mem_limit;                 /* bytes; 0: no limit */
    uint64_t mem_free;                  /* least room below any limit, reclaimable cache counted
                                           as free; UINT64_MAX: no limit */
};

/* Read what /proc/self/cgroup and /proc/self/mountinfo name, version 2 and version 1 hierarchies,
 * from the process' own group up to the mount's root: the tightest limit on the way counts.
 * `root` is put before every path, "" for the real machine.  What cannot be read is no limit. */
void cgroup_read(struct cgroup_limits *out, const char *root);

#endif
