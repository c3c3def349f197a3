/* numa.h - inside place: on which NUMA node the rows of a matrix should lie.
 *
 * A loop over the groups of a matrix is cut into shares, one for each thread, in rising order
 * (pool_share() in base/pool.h); a share should lie on the node its thread is kept on.
 */
#ifndef PLACE_NUMA_H
#define PLACE_NUMA_H

#include <stdint.h>

/* Groups [begin, end) are read by a thread on `node`. */
struct numa_share { int node; int64_t begin, end; };

/* The node of group g, and in *end the first group after it that lies on another node, or the
 * end of the last share.  The n shares follow each other and may be empty; g is in one. */
int numa_node_of(const struct numa_share *share, int n, int64_t g, int64_t *end);

#endif
