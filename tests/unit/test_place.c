/* test_place.c - weights packed into memory and into files: the same bytes in another order, read
 * in any way; failures that are said; rows on NUMA nodes. */
#include <criterion/criterion.h>

#include "base/seats.h"
#include "kernels/tile.h"
#include "model/model.h"

#include "place/numa.h"
#include "place/packed_file.h"
#include "temp_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIXED "tests/golden/v3-mixed/model.gguf"    /* 24 weight types */
#define STORY "models/stories260K.gguf"

static struct temp temp;
static void set_up(void)    { temp_init(&temp); }
static void tear_down(void) { temp_release(&temp); }
TestSuite(place, .init = set_up, .fini = tear_down);

static struct weights *must_open(const char *path)
{
    struct weights *w;

    cr_assert_eq(weights_open(&w, path, NULL), OK, "%s", err_text());
    return w;
}

static enum place_want *wants_of(const struct weights *w)
{
    enum place_want *want = calloc((size_t)w->n_tensor, sizeof(*want));

    for (uint64_t i = 0; want && i < w->n_tensor; i++)
        want[i] = w->tensor[i].n_row > 1 ? place_want(&w->tensor[i]) : PLACE_NOT;
    return want;
}

static struct model *model_of(const struct weights *w)
{
    struct model_options o = { .n_thread = 1, .kv_type = QTYPE_f32, .n_batch_max = 1 };
    struct model *m;

    cr_assert_eq(model_open(&m, w, &o), OK, "%s", err_text());
    return m;
}

/* Row r of what lies at `at` in a layout is the file's. */
static void expect_row(const struct tensor_info *t, int64_t r, const uint8_t *at,
                       enum layout layout)
{
    const uint8_t *want = t->data + (uint64_t)r * t->row_bytes;
    uint8_t *row = malloc(t->row_bytes);

    if (layout == LAYOUT_tiles)
        tile_unpack_row(t->type, row, at + (uint64_t)(r / TILE_ROWS * TILE_ROWS) * t->row_bytes,
                        (int)(r % TILE_ROWS), t->ne[0]);
    else
        memcpy(row, at + (uint64_t)r * t->row_bytes, t->row_bytes);
    cr_assert_eq(memcmp(row, want, t->row_bytes), 0, "%s, row %lld", t->name, (long long)r);
    free(row);
}

static void expect_placed(const struct weights *w, bool rows_too, bool nodes)
{
    enum place_want *want = wants_of(w);
    struct pool_options po = { .n_thread = 2 };
    struct pool *pool;
    cr_assert_eq(pool_new(&pool, &po), OK, "%s", err_text());
    struct place_options o = { .pool = pool, .nodes = nodes, .rows_too = rows_too };
    struct place *p;
    uint64_t bytes, n_tiles = 0;

    cr_assert_eq(place_open(&p, w, want, &o), OK, "%s", err_text());
    place_memory(p, &bytes);
    cr_assert_eq(bytes, place_bytes(w, want, rows_too));
    for (uint64_t i = 0; i < w->n_tensor; i++) {
        const struct tensor_info *t = &w->tensor[i];
        enum layout layout = LAYOUT_rows;
        const uint8_t *at = place_find(p, t->data, &layout);
        bool taken = want[i] == PLACE_TILES || (want[i] == PLACE_ROWS && rows_too);
        cr_assert_eq(at != t->data, taken, "%s", t->name);
        cr_assert_eq(layout, want[i] == PLACE_TILES ? LAYOUT_tiles : LAYOUT_rows);
        cr_assert(!taken || (uintptr_t)at % 64 == 0, "%s", t->name);
        n_tiles += layout == LAYOUT_tiles;
        for (int64_t r = 0; r < t->n_row; r++)
            expect_row(t, r, at, layout);
        if (layout == LAYOUT_tiles && t->n_row > TILE_ROWS)
            cr_assert_eq(place_find(p, t->data + TILE_ROWS * t->row_bytes, &layout),
                         at + TILE_ROWS * t->row_bytes);
    }
    cr_assert_gt(n_tiles, 10);
    place_free(p);
    pool_free(pool);
    free(want);
}

Test(place, packed_weights_are_the_files_bytes_in_another_order)
{
    struct weights *w = must_open(MIXED);

    expect_placed(w, false, false);
    expect_placed(w, true, false);
    expect_placed(w, true, true);          /* this machine's nodes are asked for, however many */
    weights_free(w);
}

Test(place, weights_that_were_read_into_memory_are_packed_from_there)
{
    struct weights_options in_memory = { .in_memory = true };
    struct weights *w;

    cr_assert_eq(weights_open(&w, MIXED, &in_memory), OK, "%s", err_text());
    expect_placed(w, false, false);
    weights_free(w);
}

Test(place, a_file_outside_the_page_cache_is_packed_alike)
{
    struct weights *w;
    char *bytes;
    size_t len;
    const char *path;
    int fd;

    cr_assert_eq(file_read_text(&bytes, &len, MIXED, 32 << 20), OK, "%s", err_text());
    path = temp_write(&temp, "cold.gguf", bytes, len);
    fd = open(path, O_RDONLY);
    cr_assert_eq(fsync(fd), 0);
    w = must_open(path);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    expect_placed(w, true, false);
    weights_free(w);
    free(bytes);
}

static bool refuse(void *arg, uint64_t done, uint64_t total)
{
    ++*(int *)arg;
    cr_assert(done <= total);
    return false;
}

Test(place, an_interrupt_and_a_file_that_shrinks_are_errors)
{
    struct weights *w;
    enum place_want *want;
    struct place *p = (struct place *)&temp;
    char *bytes;
    size_t len;
    int calls = 0;
    struct place_options o = { .on_progress = refuse, .arg = &calls };

    cr_assert_eq(file_read_text(&bytes, &len, STORY, 8 << 20), OK, "%s", err_text());
    const char *path = temp_write(&temp, "m.gguf", bytes, len);
    w = must_open(path);
    want = wants_of(w);
    cr_assert_eq(place_open(&p, w, want, &o), ERR_STOPPED);
    cr_assert_null(p);
    cr_assert_gt(calls, 0);
    o.on_progress = NULL;
    cr_assert_eq(truncate(path, (off_t)len / 2), 0);
    cr_assert_eq(place_open(&p, w, want, &o), ERR_IO);
    cr_assert_null(p);
    cr_assert(strstr(err_text(), "m.gguf") && strstr(err_text(), "became shorter"), "%s",
              err_text());
    weights_free(w);
    free(want);
    free(bytes);
}

Test(place, a_packed_file_is_the_same_model)
{
    struct weights *w = must_open(MIXED), *packed;
    struct model *m = model_of(w), *again;
    uint8_t id[32], id_packed[32], a[300], b[300];
    char path[160];
    uint64_t n_tiles = 0;

    snprintf(path, sizeof(path), "%s/packed", temp.folder);
    cr_assert_eq(packed_write(path, w, model_wants(m), NULL, NULL), OK, "%s", err_text());
    packed = must_open(path);
    cr_assert_eq(packed->n_tensor, w->n_tensor);
    cr_assert_eq(packed->n_meta, w->n_meta + 3 + !weights_meta(w, "general.alignment"));
    for (uint64_t i = 0; i < w->n_tensor; i++) {
        const struct tensor_info *t = &w->tensor[i], *u = &packed->tensor[i];
        cr_assert_str_eq(t->name, u->name);
        cr_assert_eq(t->type, u->type);
        cr_assert_eq(t->bytes, u->bytes);
        n_tiles += u->layout == LAYOUT_tiles;
        for (int64_t r = 0; r < t->n_row; r++)
            expect_row(t, r, u->data, u->layout);
        for (uint64_t at = 0; at < t->bytes; at += 37) {    /* ranges that begin anywhere */
            uint64_t n = t->bytes - at < sizeof(a) ? t->bytes - at : sizeof(a);
            tensor_bytes(t, at, n, a);
            tensor_bytes(u, at, n, b);
            cr_assert_eq(memcmp(a, b, n), 0, "%s at %llu", t->name, (unsigned long long)at);
        }
    }
    cr_assert_eq(n_tiles, packed_count(w, model_wants(m)));
    cr_assert_gt(n_tiles, 10);
    again = model_of(packed);
    cr_assert_eq(model_identity(m, id), OK);
    cr_assert_eq(model_identity(again, id_packed), OK);
    cr_assert_arr_eq(id, id_packed, 32);
    model_free(again);
    weights_free(packed);
    model_free(m);
    weights_free(w);
}

Test(place, an_interrupted_packed_file_leaves_nothing)
{
    struct weights *w = must_open(STORY);
    enum place_want *want = wants_of(w);
    int calls = 0;
    char path[160];

    snprintf(path, sizeof(path), "%s/packed", temp.folder);
    cr_assert_eq(packed_write(path, w, want, refuse, &calls), ERR_STOPPED);
    cr_assert_eq(count_entries(temp.folder), 0);
    weights_free(w);
    free(want);
}

/* The shares of a loop over the groups by threads that are seated on a made-up machine. */
static void expect_shares(const char *shape, int n_thread, int64_t n_group, int n_node)
{
    struct numa_share share[16];
    struct seat_plan plan;
    hwloc_topology_t topo;
    int seen = 0;

    cr_assert_eq(hwloc_topology_init(&topo), 0);
    cr_assert_eq(hwloc_topology_set_synthetic(topo, shape), 0);
    cr_assert_eq(hwloc_topology_load(topo), 0);
    cr_assert(seats_plan(&plan, n_thread, topo, hwloc_topology_get_topology_cpuset(topo)));
    for (int t = 0; t < n_thread; t++)
        share[t] = (struct numa_share){ plan.at[t].node, n_group * t / n_thread,
                                        n_group * (t + 1) / n_thread };
    for (int64_t g = 0, end; g < n_group; g = end) {
        int node = numa_node_of(share, n_thread, g, &end);
        cr_assert(end > g && end <= n_group);
        cr_assert(g == 0 || node != seen, "a run was cut at group %lld", (long long)g);
        seen = node;
        n_node--;
        for (int t = 0; t < n_thread; t++)      /* every group has the node of its thread */
            for (int64_t i = share[t].begin; i < share[t].end; i++) {
                int64_t same;
                cr_assert(i < g || i >= end || share[t].node == node, "group %lld", (long long)i);
                cr_assert_eq(numa_node_of(share, n_thread, i, &same), share[t].node);
            }
    }
    cr_assert_eq(n_node, 0);
    seats_release(&plan);
    hwloc_topology_destroy(topo);
}

Test(place, rows_lie_on_the_node_of_the_thread_that_reads_them)
{
    expect_shares("numa:2 core:4 pu:2", 8, 448, 2);
    expect_shares("numa:2 core:4 pu:2", 8, 13, 2);
    expect_shares("numa:2 core:4 pu:2", 8, 2, 2);
    expect_shares("numa:2 core:4 pu:2", 8, 1, 1);       /* some shares are empty */
    expect_shares("numa:2 core:4 pu:2", 2, 448, 2);
    expect_shares("numa:2 core:4 pu:2", 1, 448, 1);
    expect_shares("numa:4 core:2 pu:1", 8, 448, 4);
    expect_shares("core:4 pu:2", 4, 448, 1);
}
