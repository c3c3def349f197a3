/* tile_drive.h - the loop around opening and multiplying, the same for every instruction set.
 *
 * Included after tile_open.h by a file that defines
 *   add_panels(m, p, n_p, col, x_at, n, acc, kind, center)   for all activation rows of m: acc +=
 *       the products of the n elements in the n_p (1 or 2) panels; x_at is where they begin; `col`
 *       is the panels' first group in acc; kind is a constant 0 .. 3 (bit 0: a scale per 16,
 *       bit 1: an offset), center as in tile.def
 *   add_floats(m, w, n_p, col, x_at, n, acc)         the same for a float type: w [n_p][n][16] f32
 *   vec_float_<type>(p)                              VEC_ROWS values of a float type as f32
 *   direct_<type>(m)                                 true when it has done a product with few
 *       activation rows without a panel; NO_DIRECT(type) where that is not worth it
 * Panels hold 256 columns, opened once for all activation rows: the opening costs what two or
 * three rows' products do, so a matrix-vector product bound by memory can afford it too.
 */
#ifndef KERNELS_TILE_DRIVE_H
#define KERNELS_TILE_DRIVE_H

/* Ask for the tiles that come after these. */
TILE_INLINE void ask_ahead(const uint8_t *tile, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(tile + TILE_PREFETCH_BYTES + at, 0, 3);
}

/* So many activation rows hide the time of reading. */
enum { ROWS_HIDE = 64 };

#define NO_DIRECT(id) \
TILE_INLINE bool direct_##id(const struct tile_mul *m) { (void)m; return false; }

static void store_acc(const struct tile_mul *m)
{
    int64_t n = m->n_group * TILE_ROWS;

    for (int64_t i = 0; i < m->n_x; i++)
        memcpy(m->y[i], m->acc + i * n, (size_t)n * sizeof(float));
}

/* The groups that are opened side by side: all of them, so that an activation row is read once
 * for many weights; or one, so that the weights are one linear run where they are what is read. */
TILE_INLINE int groups_at_once(const struct tile_mul *m)
{
    return m->n_x > TILE_FEW ? m->n_group : 1;
}

#define DRIVE_INTEGER(id, isa)                                                              \
TILE_INLINE void open_groups_##id(const struct tile_mul *m, struct panel *p, int first,     \
                                  int n_group, int64_t at, int n)                           \
{                                                                                           \
    enum { BLOCK = sizeof(struct block_##id), ELEMS = id##_ELEMS };                         \
                                                                                            \
    for (int g = 0; g < n_group; g++) {                                                     \
        const uint8_t *tile = m->group + (uint64_t)(at / ELEMS * 16 * BLOCK) +              \
                              (uint64_t)(first + g) * tile_group_bytes(QTYPE_##id, m->n);   \
        if (m->n_x <= ROWS_HIDE)                                                            \
            ask_ahead(tile, n / ELEMS * 16 * BLOCK);                                        \
        for (int b = 0; b < n / ELEMS; b++)                                                 \
            for (int r = 0; r < TILE_ROWS; r += VEC_ROWS)                                   \
                open_##id(&p[g], b * ELEMS / 32, tile + b * 16 * BLOCK, r);                 \
    }                                                                                       \
}                                                                                           \
static void tile_mul_##id##_##isa(const struct tile_mul *m)                                 \
{                                                                                           \
    int step = groups_at_once(m);                                                           \
    struct panel p[TILE_GROUPS_MAX];                                                        \
                                                                                            \
    if (direct_##id(m))                                                                     \
        return;                                                                             \
    memset(m->acc, 0, (size_t)(m->n_x * m->n_group * TILE_ROWS) * sizeof(float));           \
    for (int first = 0; first < m->n_group; first += step)                                  \
        for (int64_t at = 0; at < m->n; at += TILE_CHUNK) {                                 \
            int n = m->n - at < TILE_CHUNK ? (int)(m->n - at) : TILE_CHUNK;                 \
            open_groups_##id(m, p, first, step, at, n);                                     \
            for (int g = 0; g < step; g += 2)                                               \
                add_panels(m, p + g, step - g < 2 ? 1 : 2, first + g, at, n, m->acc,        \
                           id##_KIND, id##_CENTER);                                         \
        }                                                                                   \
    store_acc(m);                                                                           \
}

#define DRIVE_FLOAT(id, isa)                                                                \
static void tile_mul_##id##_##isa(const struct tile_mul *m)                                 \
{                                                                                           \
    const int64_t size = qtype_info[QTYPE_##id].block_bytes;                                \
    const uint64_t group_bytes = tile_group_bytes(QTYPE_##id, m->n);                        \
    int step = groups_at_once(m) < 2 ? 1 : 2;                                               \
    float w[2 * TILE_CHUNK * TILE_ROWS] __attribute__((aligned(64)));                       \
                                                                                            \
    if (direct_##id(m))                                                                     \
        return;                                                                             \
    memset(m->acc, 0, (size_t)(m->n_x * m->n_group * TILE_ROWS) * sizeof(float));           \
    for (int g = 0; g < m->n_group; g += step)                                              \
        for (int64_t at = 0; at < m->n; at += TILE_CHUNK) {                                 \
            int n = m->n - at < TILE_CHUNK ? (int)(m->n - at) : TILE_CHUNK;                 \
            int n_p = m->n_group - g < step ? m->n_group - g : step;                        \
            for (int i = 0; i < n_p; i++) {                                                 \
                const uint8_t *tile = m->group + (uint64_t)(g + i) * group_bytes +          \
                                      (uint64_t)(at * TILE_ROWS * size);                    \
                if (m->n_x <= ROWS_HIDE)                                                    \
                    ask_ahead(tile, n * TILE_ROWS * size);                                  \
                for (int k = 0; k < n * TILE_ROWS; k += VEC_ROWS)                           \
                    put_f(w + i * n * TILE_ROWS + k, vec_float_##id(tile + k * size));      \
            }                                                                               \
            add_floats(m, w, n_p, g, at, n, m->acc);                                        \
        }                                                                                   \
    store_acc(m);                                                                           \
}

#endif
