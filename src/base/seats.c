/* seats.c - see seats.h.
 *
 * A slot is one hardware thread of an allowed core.  Slots are taken by rank (first hardware
 * thread of every core, then the second), then speed, then in turn over the nodes.
 */
#include "base/seats.h"

#include <stdlib.h>
#include <string.h>

struct slot { int rank, in_node, node, core, cpu; uint32_t weight; };

struct slots { struct slot *at; int n, n_core; };

/* --- speed of a core ---------------------------------------------------------------------- */

/* A number that the system gives for a kind of core, 0 when it gives none. */
static double kind_info(struct hwloc_info_s *info, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(info[i].name, name))
            return strtod(info[i].value, NULL);
    return 0;
}

/* Small cores of a hybrid Intel CPU have vector units of half the width. */
static double kind_width(struct hwloc_info_s *info, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(info[i].name, "CoreType") && !strcmp(info[i].value, "IntelAtom"))
            return 0.5;
    return 1;
}

/* Speed of the core by one kind of number, relative to the fastest of all kinds; 0 when a kind
 * lacks the number. */
static double speed_by(hwloc_topology_t topo, int kind, const char *name)
{
    int n_kind = hwloc_cpukinds_get_nr(topo, 0);
    double own = 0, most = 0;

    for (int i = 0; i < n_kind; i++) {
        struct hwloc_info_s *info;
        unsigned n_info;
        if (hwloc_cpukinds_get_info(topo, (unsigned)i, NULL, NULL, &n_info, &info, 0))
            return 0;
        double value = kind_info(info, n_info, name) * kind_width(info, n_info);
        if (!(value > 0))
            return 0;
        most = value > most ? value : most;
        own = i == kind ? value : own;
    }
    return own / most;
}

static uint32_t core_weight(hwloc_topology_t topo, hwloc_obj_t core)
{
    static const char *const numbers[] = { "LinuxCapacity", "FrequencyMaxMHz",
                                           "FrequencyBaseMHz" };
    int kind = hwloc_cpukinds_get_by_cpuset(topo, core->cpuset, 0);
    double speed = 0;

    for (size_t i = 0; kind >= 0 && i < sizeof(numbers) / sizeof(*numbers) && !(speed > 0); i++)
        speed = speed_by(topo, kind, numbers[i]);
    if (!(speed > 0 && speed <= 1))
        speed = 1;
    speed *= PLACE_WEIGHT_MAX;
    return speed < 1 ? 1 : (uint32_t)speed;
}

/* --- the plan ----------------------------------------------------------------------------- */

static int by_choice(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank - y->rank;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    if (x->in_node != y->in_node)
        return x->in_node - y->in_node;
    return x->node != y->node ? x->node - y->node : x->core - y->core;
}

static int by_node(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    if (x->node != y->node)
        return x->node - y->node;
    return x->core != y->core ? x->core - y->core : x->rank - y->rank;
}

/* The slots of one core (or of a processor, where cores are not known). */
static void add_core(struct slots *s, hwloc_topology_t topo, hwloc_obj_t core,
                     hwloc_const_bitmap_t allowed)
{
    int node = core->nodeset ? hwloc_bitmap_first(core->nodeset) : 0, rank = 0, in_node = 0;
    uint32_t weight = core_weight(topo, core);

    node = node < 0 ? 0 : node;
    for (int i = 0; i < s->n; i++)
        in_node += s->at[i].node == node && s->at[i].rank == 0 && s->at[i].weight == weight;
    for (int cpu = -1; (cpu = hwloc_bitmap_next(core->cpuset, cpu)) >= 0;)
        if (hwloc_bitmap_isset(allowed, (unsigned)cpu) && cpu < CPU_SETSIZE)
            s->at[s->n++] = (struct slot){ rank++, in_node, node, s->n_core, cpu, weight };
    s->n_core += rank > 0;
}

static void find_slots(struct slots *s, hwloc_topology_t topo, hwloc_const_bitmap_t allowed)
{
    bool cores = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_CORE) > 0;
    hwloc_obj_type_t type = cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    hwloc_obj_t core = NULL;
    int n = hwloc_get_nbobjs_by_type(topo, HWLOC_OBJ_PU);

    *s = (struct slots){ calloc(n > 0 ? (size_t)n : 1, sizeof(*s->at)), 0, 0 };
    while (s->at && (core = hwloc_get_next_obj_by_type(topo, type, core)))
        add_core(s, topo, core, allowed);
}

static void fill(struct seat_plan *out, const struct slots *s)
{
    for (int k = 0; k < s->n; k++)
        out->core_of[s->at[k].cpu] = out->n <= s->n_core ? s->at[k].core : s->at[k].cpu;
    for (int i = 0; i < out->n; i++) {
        const struct slot *own = &s->at[i];
        struct seat *p = &out->at[i];
        uint32_t sharing = 0;
        *p = (struct seat){ .home = own->cpu, .node = own->node };
        for (int k = 0; k < s->n; k++) {
            sharing += k < out->n && s->at[k].core == own->core;
            if (s->at[k].node == own->node && s->at[k].weight == own->weight)
                CPU_SET((size_t)s->at[k].cpu, &p->cpus);
        }
        p->weight = own->weight / sharing ? own->weight / sharing : 1;
    }
    out->kept = true;
}

static bool plan_none(struct seat_plan *out, int n)
{
    out->n = n;
    out->kept = false;
    out->at = calloc((size_t)n, sizeof(*out->at));
    for (int i = 0; i < CPU_SETSIZE; i++)
        out->core_of[i] = -1;
    for (int i = 0; out->at && i < n; i++)
        out->at[i] = (struct seat){ .home = -1, .weight = 1 };
    return out->at;
}

bool seats_plan(struct seat_plan *out, int n, hwloc_topology_t topo, hwloc_const_bitmap_t allowed)
{
    struct slots s;

    if (!plan_none(out, n))
        return false;
    find_slots(&s, topo, allowed);
    if (s.at && n <= s.n) {
        qsort(s.at, (size_t)s.n, sizeof(*s.at), by_choice);
        qsort(s.at, (size_t)n, sizeof(*s.at), by_node);
        fill(out, &s);
    }
    free(s.at);
    return true;
}

bool seats_threads(struct seat_plan *out, int n, const cpu_set_t *mask, bool keep)
{
    hwloc_topology_t topo;
    hwloc_bitmap_t allowed = NULL;
    bool ok;

    if (!keep || n < 2 || hwloc_topology_init(&topo))
        return plan_none(out, n);
    ok = !hwloc_topology_load(topo) && (allowed = hwloc_bitmap_alloc());
    for (int cpu = 0; ok && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, mask))
            hwloc_bitmap_set(allowed, (unsigned)cpu);
    ok = ok ? seats_plan(out, n, topo, allowed) : plan_none(out, n);
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topo);
    return ok;
}

void seats_release(struct seat_plan *p)
{
    free(p->at);
    p->at = NULL;
}

void seats_move(const struct seat *p, pid_t thread, int cpu)
{
    cpu_set_t there;

    CPU_ZERO(&there);
    CPU_SET((size_t)cpu, &there);
    if (sched_setaffinity(thread, sizeof(there), &there) == 0)
        sched_setaffinity(thread, sizeof(p->cpus), &p->cpus);
}
