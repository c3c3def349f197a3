/* numa.c - see numa.h. */
#include "place/numa.h"

int numa_node_of(const struct numa_share *share, int n, int64_t g, int64_t *end)
{
    int t = 0, node;

    while (t < n - 1 && share[t].end <= g)
        t++;
    node = share[t].node;
    while (t < n - 1 && (share[t + 1].node == node || share[t + 1].begin == share[t + 1].end))
        t++;
    *end = share[t].end;
    return node;
}
