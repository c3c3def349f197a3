/* place_load.c - readers that take piece after piece of the file and pack it where it will stay.
 *
 *   caller: start readers -> wait, ten times a second say how far it is -> join, first error
 *   reader: take the next piece -> read it into its room -> pack it into the place -> again
 *
 * The readers are plain threads with blocking reads: packing costs a quarter of a second per
 * gigabyte and core, so a reader is nearly always waiting for the disk, and six of them keep five
 * reads in its queue.  Pages of the place are touched first by the reader that fills them: on a
 * machine with several NUMA nodes it asks for the node of the piece before (a policy of the
 * thread; one of the area would cut the region into a mapping for each share of each expert).
 */
#include "kernels/tile.h"
#include "place/numa.h"
#include "place/place_form.h"
#include "place/source.h"

#include <hwloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { READERS_MIN = 6, READERS_MAX = 32, WAIT_MS = 100 };
enum { PIECE_BYTES = 4 << 20, PIECE_BYTES_MIN = 256 << 10, ROOM_SHARE = 64 };

struct loader {
    struct place *p;
    const struct weights *w;
    struct source *source;              /* [n_file] */
    uint8_t *rooms;                     /* [n_reader, room_bytes] */
    uint64_t room_bytes, piece_bytes;
    int n_reader;
    hwloc_topology_t topo;              /* NULL: nodes do not matter */
    const struct pool *pool;
    int n_thread;                       /* of the pool */
    pthread_mutex_t mutex;              /* guards what follows */
    struct numa_share *share;           /* [n_thread], of a loop of share_groups */
    int64_t share_groups;
    pthread_cond_t ended;
    uint64_t next, next_at;             /* tensor taken, and byte of it, of the next piece */
    uint64_t done;
    int running, started;               /* readers */
    bool stop;
    struct err_record error;            /* code OK: none */
};

struct piece { const struct taken *of; uint64_t at, bytes; int node; };

static void plan_shares(struct loader *l, int64_t n_group)
{
    if (l->share_groups == n_group)
        return;
    l->share_groups = n_group;
    for (int t = 0; t < l->n_thread; t++) {
        struct numa_share *s = &l->share[t];
        s->node = pool_node(l->pool, t);
        pool_share(l->pool, n_group, t, &s->begin, &s->end);
    }
}

/* A piece of tiles is whole groups of rows, on one node. */
static void cut_piece(struct loader *l, struct piece *c)
{
    const struct tensor_info *t = c->of->t;
    uint64_t group = TILE_ROWS * t->row_bytes, left = t->bytes - c->at;
    int64_t rows = t->ne[1] % TILE_ROWS ? t->n_row : t->ne[1], end;     /* of one matrix */

    c->node = -1;
    c->bytes = l->piece_bytes;
    if (c->of->layout == LAYOUT_tiles)
        c->bytes = group > c->bytes ? group : c->bytes / group * group;
    if (c->bytes > left)
        c->bytes = left;
    if (!l->topo || c->of->layout != LAYOUT_tiles)
        return;
    int64_t n_group = rows / TILE_ROWS, g = (int64_t)(c->at / group) % n_group;
    plan_shares(l, n_group);
    c->node = numa_node_of(l->share, l->n_thread, g, &end);
    if (c->bytes > (uint64_t)(end - g) * group)
        c->bytes = (uint64_t)(end - g) * group;
}

static bool next_piece(struct loader *l, struct piece *c)
{
    bool more;

    pthread_mutex_lock(&l->mutex);
    more = !l->stop && l->next < l->p->n_taken;
    if (more) {
        *c = (struct piece){ .of = &l->p->taken[l->next], .at = l->next_at };
        cut_piece(l, c);
        l->next_at += c->bytes;
        if (l->next_at == c->of->t->bytes) {
            l->next++;
            l->next_at = 0;
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return more;
}

/* Pages that this thread touches first will lie on the node, where there is room. */
static void prefer_node(const struct loader *l, int node)
{
    hwloc_obj_t of = hwloc_get_numanode_obj_by_os_index(l->topo, (unsigned)node);

    if (of)                             /* advice: memory elsewhere is slower, not wrong */
        hwloc_set_membind(l->topo, of->nodeset, HWLOC_MEMBIND_BIND,
                          HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
}

static enum err take_piece(const struct loader *l, const struct piece *c, uint8_t *room)
{
    const struct tensor_info *t = c->of->t;
    uint64_t group = TILE_ROWS * t->row_bytes;
    uint8_t *to = l->p->memory + c->of->offset + c->at;
    const uint8_t *from;
    enum err e = source_read(&l->source[t->file], room, t->file_offset + c->at, c->bytes, &from);

    if (e)
        return e;
    if (c->of->layout == t->layout) {
        memcpy(to, from, (size_t)c->bytes);
        return OK;
    }
    for (uint64_t at = 0; at < c->bytes; at += group)
        tile_pack(t->type, to + at, from + at, t->row_bytes, TILE_ROWS, t->ne[0]);
    return OK;
}

static void *read_pieces(void *arg)
{
    struct loader *l = arg;
    struct piece c;
    int node = -1;
    enum err e = OK;

    pthread_mutex_lock(&l->mutex);
    uint8_t *room = l->rooms + (uint64_t)l->started++ * l->room_bytes;
    pthread_mutex_unlock(&l->mutex);
    while (e == OK && next_piece(l, &c)) {
        if (c.node != node && c.node >= 0)
            prefer_node(l, node = c.node);
        e = take_piece(l, &c, room);
        pthread_mutex_lock(&l->mutex);
        l->done += c.bytes;
        if (e && !l->error.code)
            err_save(&l->error, e);
        l->stop = l->stop || e;
        pthread_mutex_unlock(&l->mutex);
    }
    pthread_mutex_lock(&l->mutex);
    l->running--;
    pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* Until all readers have ended; called and left with the mutex held. */
static void wait_for_readers(struct loader *l, const struct place_options *o)
{
    struct timespec until;

    while (l->running > 0) {
        uint64_t done = l->done;
        pthread_mutex_unlock(&l->mutex);
        bool go_on = !o->on_progress || o->on_progress(o->arg, done, l->p->bytes);
        pthread_mutex_lock(&l->mutex);
        if (!go_on && !l->stop) {
            l->stop = true;
            err_save(&l->error, err_set(ERR_STOPPED, "PLACE-06", "interrupted while reading %s",
                                        l->w->file[0].path));
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (l->running > 0)
            pthread_cond_timedwait(&l->ended, &l->mutex, &until);
    }
}

static enum err run_readers(struct loader *l, const struct place_options *o)
{
    pthread_t thread[READERS_MAX];
    int n = 0;

    pthread_mutex_lock(&l->mutex);
    while (n < l->n_reader && !pthread_create(&thread[n], NULL, read_pieces, l))
        n++;
    l->running = n;                     /* none has ended: they wait for the mutex */
    if (n == 0)
        err_save(&l->error, err_set(ERR_NOMEM, "PLACE-07", "no thread can be started to read the "
                                    "weights; raise the limit of processes (ulimit -u)"));
    wait_for_readers(l, o);
    pthread_mutex_unlock(&l->mutex);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    return l->error.code ? err_restore(&l->error) : OK;
}

/* The readers' rooms together are a small share of the model. */
static void choose_sizes(struct loader *l, const struct place_options *o)
{
    uint64_t widest = 0;

    l->pool = o->pool;
    l->n_thread = o->pool ? pool_threads(o->pool) : 1;
    l->n_reader = l->n_thread < READERS_MIN ? READERS_MIN :
                  l->n_thread > READERS_MAX ? READERS_MAX : l->n_thread;
    l->piece_bytes = PIECE_BYTES;
    while (l->piece_bytes > PIECE_BYTES_MIN &&
           l->piece_bytes * (uint64_t)l->n_reader > l->p->bytes / ROOM_SHARE)
        l->piece_bytes /= 2;
    for (uint64_t i = 0; i < l->p->n_taken; i++) {
        const struct taken *k = &l->p->taken[i];
        uint64_t group = k->layout == LAYOUT_tiles ? TILE_ROWS * k->t->row_bytes : 0;
        widest = group > widest ? group : widest;
    }
    l->room_bytes = source_room(widest > l->piece_bytes ? widest : l->piece_bytes);
}

static void look_at_nodes(struct loader *l, const struct place_options *o)
{
    hwloc_topology_t topo;

    if (!o->nodes || !l->pool || hwloc_topology_init(&topo))
        return;
    if (hwloc_topology_load(topo) == 0)
        l->topo = topo;
    else
        hwloc_topology_destroy(topo);
}

enum err place_load(struct place *p, const struct weights *w, const struct place_options *o)
{
    struct loader l = { .p = p, .w = w };
    pthread_condattr_t attr;
    void *rooms = NULL;
    enum err e;

    choose_sizes(&l, o);
    l.source = calloc((size_t)w->n_file, sizeof(*l.source));
    l.share = calloc((size_t)l.n_thread, sizeof(*l.share));
    if (!l.source || !l.share ||
        posix_memalign(&rooms, SOURCE_ALIGN, (size_t)(l.room_bytes * (uint64_t)l.n_reader))) {
        free(l.source);
        free(l.share);
        return err_set(ERR_NOMEM, "PLACE-08", "%s: no memory for %d buffers of %.1f MB to read it; "
                       "close other programs", w->file[0].path, l.n_reader,
                       (double)l.room_bytes / 1e6);
    }
    l.rooms = rooms;
    for (int i = 0; i < w->n_file; i++)
        source_open(&l.source[i], &w->file[i]);
    look_at_nodes(&l, o);
    pthread_mutex_init(&l.mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l.ended, &attr);
    pthread_condattr_destroy(&attr);
    e = run_readers(&l, o);
    pthread_cond_destroy(&l.ended);
    pthread_mutex_destroy(&l.mutex);
    if (l.topo)
        hwloc_topology_destroy(l.topo);
    for (int i = 0; i < w->n_file; i++)
        source_close(&l.source[i]);
    free(l.share);
    free(l.source);
    free(rooms);
    return e;
}
