/* test_cpu.c - limits of control groups read from made-up folders, and the real machine. */
#include "base/cgroup.h"
#include "base/cpu.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/croft-cgroup-XXXXXX");
    cr_assert(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void teardown(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    char full[512];
    FILE *out;

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    out = fopen(full, "w");
    cr_assert(out, "%s", full);
    fputs(text, out);
    fclose(out);
}

static struct cgroup_limits look(void)
{
    struct cgroup_limits l;
    cgroup_read(&l, root);
    return l;
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" \
                  "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

Test(cpu, without_control_groups_there_is_no_limit, .init = setup, .fini = teardown)
{
    struct cgroup_limits l = look();
    cr_expect_eq(l.cpu_quota, 0);
    cr_expect_eq(l.mem_limit, 0);
    cr_expect_eq(l.mem_free, UINT64_MAX);
}

Test(cpu, version_2_limits_are_read, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "0::/user/me\n");
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" V2_MOUNT);
    put("/sys/fs/cgroup/user/me/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user/me/memory.max", "1000000\n");
    put("/sys/fs/cgroup/user/me/memory.current", "600000\n");
    put("/sys/fs/cgroup/user/me/memory.stat", "anon 1\ninactive_file 100000\nactive_file 50000\n");
    struct cgroup_limits l = look();
    cr_expect_float_eq(l.cpu_quota, 1.5, 1e-9);
    cr_expect_eq(l.mem_limit, 1000000);
    cr_expect_eq(l.mem_free, 550000);
}

Test(cpu, the_tightest_limit_on_the_way_up_counts, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/memory.max", "9000\n");
    put("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "5000\n");
    put("/sys/fs/cgroup/cpu.max", "800000 100000\n");
    struct cgroup_limits l = look();
    cr_expect_float_eq(l.cpu_quota, 4, 1e-9);
    cr_expect_eq(l.mem_limit, 5000);
}

Test(cpu, max_is_no_limit, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/memory.max", "max\n");
    struct cgroup_limits l = look();
    cr_expect_eq(l.cpu_quota, 0);
    cr_expect_eq(l.mem_limit, 0);
}

Test(cpu, version_1_limits_are_read, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/m/n\n2:cpuacct,cpu:/c\n0::/\n");
    put("/proc/self/mountinfo", V1_MOUNTS);
    put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "4096000\n");
    put("/sys/fs/cgroup/memory/m/memory.usage_in_bytes", "5000000\n");
    struct cgroup_limits l = look();
    cr_expect_float_eq(l.cpu_quota, 2.5, 1e-9);
    cr_expect_eq(l.mem_limit, 4096000);
    cr_expect_eq(l.mem_free, 0);
}

Test(cpu, a_container_sees_a_part_of_the_tree, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "4:memory:/docker/abc/job\n");
    put("/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "7000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8000\n");
    cr_expect_eq(look().mem_limit, 7000);
}

Test(cpu, a_group_outside_the_mount_falls_back_to_its_root, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "0::/../../elsewhere\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/memory.max", "8000\n");
    cr_expect_eq(look().mem_limit, 8000);
}

Test(cpu, nonsense_is_no_limit, .init = setup, .fini = teardown)
{
    put("/proc/self/cgroup", "\n:\n::\n0::/x\n4:memory\n");
    put("/proc/self/mountinfo", "- \n - \n" V2_MOUNT);
    put("/sys/fs/cgroup/x/cpu.max", "-5 0\n");
    put("/sys/fs/cgroup/x/memory.max", "nan\n");
    struct cgroup_limits l = look();
    cr_expect_eq(l.cpu_quota, 0);
    cr_expect_eq(l.mem_limit, 0);
}

Test(cpu, threads_use_the_part_of_a_core_that_a_quota_leaves)
{
    cr_expect_eq(cpu_threads(8, 0), 8);
    cr_expect_eq(cpu_threads(8, 12), 8);
    cr_expect_eq(cpu_threads(8, 8), 8);
    cr_expect_eq(cpu_threads(2, 1.5), 2);
    cr_expect_eq(cpu_threads(8, 1.2), 1);
    cr_expect_eq(cpu_threads(8, 3.3), 4);
    cr_expect_eq(cpu_threads(8, 0.1), 1);
    cr_expect_eq(cpu_threads(0, 0), 1);
}

Test(cpu, the_machine_has_a_core_and_memory)
{
    struct machine m;
    machine_detect(&m);
    cr_expect_geq(m.n_thread_default, 1);
    cr_expect_geq(m.n_core_logical, m.n_core_physical);
    cr_expect_gt(m.mem_total, 0);
    cr_expect_leq(m.mem_available, m.mem_total);
}
