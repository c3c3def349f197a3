/* numa.c - see numa.h. */
#include "place/numa.h"

void numa_thread_nodes(hwloc_topology_t topo, int n_thread, int *node)
{
    int n_core = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_CORE);
    int n_node = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_NUMANODE);

    for (int t = 0; t < n_thread; t++) {
        hwloc_obj_t core = n_core > 0 ? hwloc_get_obj_by_type(topo, HWLOC_OBJ_CORE,
                                                              (unsigned)(t % n_core)) : NULL;
        node[t] = 0;
        for (int i = 0; core && i < n_node; i++) {
            hwloc_obj_t of = hwloc_get_obj_by_type(topo, HWLOC_OBJ_NUMANODE, (unsigned)i);
            if (hwloc_bitmap_isincluded(core->cpuset, of->cpuset)) {
                node[t] = i;
                break;
            }
        }
    }
}

/* The thread whose share group g is in: the largest t with n_group * t / n_thread <= g. */
static int64_t thread_of(int64_t n_group, int n_thread, int64_t g)
{
    return ((g + 1) * n_thread - 1) / n_group;
}

int numa_node_of(int64_t n_group, int n_thread, const int *node, int64_t g, int64_t *end)
{
    int64_t t = thread_of(n_group, n_thread, g);
    int own = node[t];

    while (t < n_thread && node[t] == own)
        t++;
    *end = t < n_thread ? n_group * t / n_thread : n_group;
    return own;
}
