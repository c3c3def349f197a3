/* seats.h - the cores of a pool's threads, and how fast those are.
 *
 * Threads get one physical core each, the fastest first and the nodes in turn; second hardware
 * threads only when there are more threads than cores.  Thread numbers rise with the nodes.
 * A thread is kept to the cores of its node and speed, not to one of them: beside a neighbour
 * that is busy on its core it can go to another, and two programs that plan the same way do not
 * meet on the same few cores.
 */
#ifndef BASE_SEATS_H
#define BASE_SEATS_H

#include <hwloc.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct seat {
    cpu_set_t cpus;                     /* where it may run: all of its node and speed */
    int home;                           /* the processor planned for it alone */
    int node;                           /* NUMA node, the system's number */
    uint32_t weight;                    /* relative speed, 1 .. PLACE_WEIGHT_MAX */
};

enum { PLACE_WEIGHT_MAX = 1 << 20 };

struct seat_plan {
    int n;
    bool kept;                          /* false: threads run wherever the system likes, all
                                           `home` are -1 and all weights equal */
    struct seat *at;                   /* [n] */
    int core_of[CPU_SETSIZE];           /* two threads on one core take turns; -1: not ours.
                                           A core is a hardware thread when those are shared out */
};

/* Plan for the processors `allowed` of a topology; kept is false when there are more threads
 * than processors.  False: no memory.  seats_release(). */
bool seats_plan(struct seat_plan *out, int n, hwloc_topology_t topo, hwloc_const_bitmap_t allowed);

/* The same for this machine and the affinity mask; `keep` false keeps no thread anywhere. */
bool seats_threads(struct seat_plan *out, int n, const cpu_set_t *mask, bool keep);

void seats_release(struct seat_plan *p);

/* Move a thread of this process (0: the calling one) to one of its processors, from where the
 * system may move it again. */
void seats_move(const struct seat *p, pid_t thread, int cpu);

#endif
