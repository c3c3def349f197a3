/* test_seats.c - which cores threads get, on made-up machines of hwloc. */
#include "base/seats.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A topology, and what of it is allowed: all, until a test takes something away. */
struct made { hwloc_topology_t topo; hwloc_bitmap_t allowed; struct seat_plan plan; };

static struct made make(const char *text)
{
    struct made m;

    cr_assert(!hwloc_topology_init(&m.topo));
    cr_assert(!hwloc_topology_set_synthetic(m.topo, text), "%s", text);
    cr_assert(!hwloc_topology_load(m.topo));
    m.allowed = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(m.topo));
    return m;
}

static void plan(struct made *m, int n)
{
    cr_assert(seats_plan(&m->plan, n, m->topo, m->allowed));
    cr_assert_eq(m->plan.n, n);
}

static void release(struct made *m)
{
    seats_release(&m->plan);
    hwloc_bitmap_free(m->allowed);
    hwloc_topology_destroy(m->topo);
}

static void expect_homes(const struct made *m, const int *home)
{
    for (int i = 0; i < m->plan.n; i++) {
        cr_expect_eq(m->plan.at[i].home, home[i], "thread %d on %d, not %d", i,
                     m->plan.at[i].home, home[i]);
        cr_expect(CPU_ISSET((size_t)m->plan.at[i].home, &m->plan.at[i].cpus));
    }
}

/* Kinds from the first to the last processor; `value` is their frequency in MHz. */
static void add_kind(struct made *m, int first, int last, int rank, const char *value,
                     const char *core_type)
{
    struct hwloc_info_s info[2] = { { (char *)(uintptr_t)"FrequencyMaxMHz",
                                      (char *)(uintptr_t)value },
                                    { (char *)(uintptr_t)"CoreType",
                                      (char *)(uintptr_t)core_type } };
    hwloc_bitmap_t set = hwloc_bitmap_alloc();

    hwloc_bitmap_set_range(set, (unsigned)first, last);
    cr_assert(!hwloc_cpukinds_register(m->topo, set, rank, core_type ? 2 : 1, info, 0));
    hwloc_bitmap_free(set);
}

Test(seats, one_thread_for_each_core_leaves_second_hardware_threads_alone)
{
    struct made m = make("numa:2 core:4 pu:2");

    plan(&m, 8);
    cr_expect(m.plan.kept);
    expect_homes(&m, (int[]){ 0, 2, 4, 6, 8, 10, 12, 14 });
    for (int i = 0; i < 8; i++) {
        cr_expect_eq(m.plan.at[i].node, i / 4);
        cr_expect_eq(m.plan.at[i].weight, m.plan.at[0].weight);
        cr_expect_eq(CPU_COUNT(&m.plan.at[i].cpus), 8, "all processors of its node");
        cr_expect_eq(m.plan.core_of[m.plan.at[i].home], m.plan.core_of[m.plan.at[i].home + 1]);
    }
    release(&m);
}

Test(seats, few_threads_are_spread_over_the_nodes_and_numbered_by_node)
{
    struct made m = make("numa:2 core:4 pu:2");

    plan(&m, 4);
    expect_homes(&m, (int[]){ 0, 2, 8, 10 });
    cr_expect_eq(m.plan.at[1].node, 0);
    cr_expect_eq(m.plan.at[2].node, 1);
    release(&m);
}

Test(seats, more_threads_than_cores_share_some_and_weigh_half_there)
{
    struct made m = make("core:3 pu:2");

    plan(&m, 4);
    expect_homes(&m, (int[]){ 0, 1, 2, 4 });
    cr_expect_eq(m.plan.at[0].weight, m.plan.at[3].weight / 2);
    cr_expect_eq(m.plan.at[1].weight, m.plan.at[3].weight / 2);
    cr_expect_neq(m.plan.core_of[0], m.plan.core_of[1], "hardware threads are shared out");
    release(&m);
}

Test(seats, more_threads_than_processors_are_not_kept)
{
    struct made m = make("core:2 pu:2");

    plan(&m, 5);
    cr_expect_not(m.plan.kept);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(m.plan.at[i].home, -1);
        cr_expect_eq(m.plan.at[i].weight, 1);
    }
    release(&m);
}

Test(seats, only_allowed_processors_are_used)
{
    struct made m = make("numa:2 core:4 pu:2");

    hwloc_bitmap_zero(m.allowed);
    hwloc_bitmap_set(m.allowed, 3);
    hwloc_bitmap_set_range(m.allowed, 12, 13);
    plan(&m, 2);
    expect_homes(&m, (int[]){ 3, 12 });
    cr_expect_eq(CPU_COUNT(&m.plan.at[0].cpus), 1);
    cr_expect_eq(CPU_COUNT(&m.plan.at[1].cpus), 2);
    cr_expect_eq(m.plan.core_of[2], -1);
    cr_expect_eq(m.plan.core_of[0], -1);
    plan(&m, 3);
    expect_homes(&m, (int[]){ 3, 12, 13 });
    release(&m);
}

Test(seats, fast_cores_come_first_and_weigh_more)
{
    struct made m = make("core:6 pu:1");

    add_kind(&m, 0, 3, 0, "2000", NULL);
    add_kind(&m, 4, 5, 1, "4000", NULL);
    plan(&m, 2);
    expect_homes(&m, (int[]){ 4, 5 });
    plan(&m, 6);
    expect_homes(&m, (int[]){ 0, 1, 2, 3, 4, 5 });
    cr_expect_eq(m.plan.at[5].weight, PLACE_WEIGHT_MAX);
    cr_expect_eq(m.plan.at[0].weight, PLACE_WEIGHT_MAX / 2);
    cr_expect_eq(CPU_COUNT(&m.plan.at[0].cpus), 4, "kept to cores of its own speed");
    cr_expect_eq(CPU_COUNT(&m.plan.at[5].cpus), 2);
    release(&m);
}

Test(seats, small_intel_cores_count_half_their_frequency)
{
    struct made m = make("core:4 pu:1");

    add_kind(&m, 0, 1, 1, "5000", "IntelCore");
    add_kind(&m, 2, 3, 0, "4000", "IntelAtom");
    plan(&m, 4);
    cr_expect_eq(m.plan.at[0].weight, PLACE_WEIGHT_MAX);
    cr_expect_eq(m.plan.at[3].weight, (uint32_t)(PLACE_WEIGHT_MAX * 0.4));
    release(&m);
}

Test(seats, a_topology_without_cores_is_planned_by_processors)
{
    struct made m = make("pu:4");

    plan(&m, 3);
    expect_homes(&m, (int[]){ 0, 1, 2 });
    release(&m);
}

Test(seats, this_machine_keeps_threads_within_its_mask)
{
    struct seat_plan p;
    cpu_set_t mask;
    int n;

    cr_assert(!sched_getaffinity(0, sizeof(mask), &mask));
    n = CPU_COUNT(&mask);
    cr_assert(seats_threads(&p, n, &mask, true));
    cr_expect(n < 2 || p.kept);
    for (int i = 0; i < n && p.kept; i++)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            cr_expect(!CPU_ISSET((size_t)cpu, &p.at[i].cpus) || CPU_ISSET((size_t)cpu, &mask));
    seats_release(&p);
    cr_assert(seats_threads(&p, n, &mask, false));
    cr_expect_not(p.kept);
    seats_release(&p);
}
