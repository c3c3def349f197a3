/* numa.h - inside place: on which NUMA node the rows of a matrix should lie.
 *
 * Of G groups of 16 rows thread t of n reads [G * t / n, G * (t + 1) / n) (base/pool.h hands out
 * contiguous shares), and thread t runs on the t-th core in the machine's order.  So a share's
 * node is its thread's.
 */
#ifndef PLACE_NUMA_H
#define PLACE_NUMA_H

#include <hwloc.h>
#include <stdint.h>

/* node[t] <- the number (hwloc's logical index) of the NUMA node of thread t's core, for
 * n_thread threads; more threads than cores begin again at the first.  0 where it is unknown. */
void numa_thread_nodes(hwloc_topology_t topo, int n_thread, int *node);

/* The node of group g (0 <= g < n_group), and in *end the first group after it that lies on
 * another node, or n_group. */
int numa_node_of(int64_t n_group, int n_thread, const int *node, int64_t g, int64_t *end);

#endif
