/* tile_few.h - products of tiles with few activation rows with AVX-512: tiles are opened into
 * registers, a panel in memory would cost more than it saves.
 *
 * Numbers are multiplied as they are stored, so a sum starts at minus the center times the
 * activations' sum.  A matrix is one linear run, asked for ahead. */
#ifndef KERNELS_X86_TILE_FEW_H
#define KERNELS_X86_TILE_FEW_H

/* FEW_AHEAD: how far ahead tiles are asked for.  The scales of a chunk of two groups are opened
 * before its first product, so a chunk's bytes beyond them would be late; SmolLM2 Q4_1, 4 and 16
 * rows: 4 KiB 1300 and 2300 tok/s, 8 KiB 2500 at 16, 12 to 20 KiB 1570 and 2700. */
enum { FEW_TOK = 4, FEW_GROUPS = 2, FEW_AHEAD = 16384 };

/* How many 32s of a tile are written out: shifts must be constants, but code that is too long for
 * the decoder's cache runs at half the speed. */
enum {
    q4_0_OUT = 1, q4_1_OUT = 1, q5_0_OUT = 1, q5_1_OUT = 1, q8_0_OUT = 1,
    q2_k_OUT = 4, q3_k_OUT = 4, q4_k_OUT = 2, q5_k_OUT = 2, q6_k_OUT = 4,
};

TILE_INLINE __m512i first_sum(int32_t bias, int center)
{
    __m512i v = _mm512_set1_epi32(bias);
    return center == 0 ? _mm512_setzero_si512() :
           _mm512_srai_epi32(v, (unsigned)(7 - __builtin_ctz((unsigned)center)));
}

/* Up to 256 columns of one or two groups, about to meet a few activation rows. */
struct few {
    tile_scales scale[FEW_GROUPS][16], offset[FEW_GROUPS][16];  /* of 32-element tiles in a row */
    const uint8_t *tile[FEW_GROUPS], *next[FEW_GROUPS];         /* next: what to ask for */
    int n_tile;
    bool ask;
    int64_t ld;
} __attribute__((aligned(64)));

/* Half h of the s-th 32 elements of the b-th tile.  Four elements of a group meet the rows while
 * they are in a register, and are forgotten. */
#define FEW_HALF(id, G, T, s, h)                                                            \
    do {                                                                                    \
        __m512i d[G][T];                                                                    \
        int at = b + (id##_KIND & 1 ? 2 * (s) + (h) : (s));                                 \
        UNROLL for (int t = 0; t < T; t++)                                                  \
            UNROLL for (int g = 0; g < G; g++)                                              \
                d[g][t] = first_sum(x[t][s].bias[h], id##_CENTER);                          \
        UNROLL for (int i = 0; i < 4; i++) {                                                \
            vec_u v[G];                                                                     \
            UNROLL for (int g = 0; g < G; g++) {                                            \
                v[g] = quad_##id(tile[g], 0, s, 4 * (h) + i);                               \
                v[g] = id##_CENTER == 128 ? v[g] ^ 0x80808080u : v[g];                      \
            }                                                                               \
            UNROLL for (int t = 0; t < T; t++) {                                            \
                __m512i q = words(x[t][s].q + 16 * (h) + 4 * i);                            \
                UNROLL for (int g = 0; g < G; g++)                                          \
                    d[g][t] = _mm512_dpbusd_epi32(d[g][t], (__m512i)v[g], q);               \
            }                                                                               \
        }                                                                                   \
        UNROLL for (int t = 0; t < T; t++) {                                                \
            __m512 by = _mm512_set1_ps(x[t][s].scale[h]);                                   \
            __m512 sums = _mm512_set1_ps(id##_KIND == 3 ? x[t][s].sum[h] : x[t][s].sum32);  \
            UNROLL for (int g = 0; g < G; g++) {                                            \
                __m512 y = _mm512_cvtepi32_ps(d[g][t]);                                     \
                if (id##_KIND & 1)                                                          \
                    sum[g][t] = _mm512_fmadd_ps(_mm512_load_ps(f->scale[g][at]),            \
                                                _mm512_mul_ps(y, by), sum[g][t]);           \
                else                                                                        \
                    half[g][t] = h ? _mm512_fmadd_ps(y, by, half[g][t]) : _mm512_mul_ps(y, by); \
                if (!(id##_KIND & 1) && h)                                                  \
                    sum[g][t] = _mm512_fmadd_ps(_mm512_load_ps(f->scale[g][at]),            \
                                                half[g][t], sum[g][t]);                     \
                if (id##_KIND == 3 || (id##_KIND == 2 && h))                                \
                    sum[g][t] = _mm512_fmadd_ps(_mm512_load_ps(f->offset[g][at]), sums,     \
                                                sum[g][t]);                                 \
            }                                                                               \
        }                                                                                   \
    } while (0)

/* One row has its sum in a register from the first column to the last. */
#define ONE_ROW(id)                                                                         \
TILE_INLINE void one_row_##id(const struct tile_mul *m)                                     \
{                                                                                           \
    enum { TILE_BYTES = TILE_ROWS * sizeof(struct block_##id), SUBS = id##_ELEMS / 32, b = 0 }; \
    const uint8_t *tile[1] = { m->group };                                                  \
    struct few own, *f = &own;                                                              \
                                                                                            \
    for (int group = 0; group < m->n_group; group++) {                                      \
        const struct block_q8a *x[1] = { m->x[0] };                                         \
        __m512 sum[1][1] = { { _mm512_setzero_ps() } }, half[1][1];                         \
        for (int64_t n = m->n; n > 0; n -= id##_ELEMS, tile[0] += TILE_BYTES, x[0] += SUBS) { \
            ask_ahead(tile[0], TILE_BYTES);                                                 \
            scales_##id(f->scale[0], f->offset[0], tile[0], 0);                             \
            UNROLL for (int s = 0; s < SUBS; s++)                                           \
                UNROLL for (int h = 0; h < 2; h++)                                          \
                    FEW_HALF(id, 1, 1, s, h);                                               \
        }                                                                                   \
        _mm512_storeu_ps(m->y[0] + group * TILE_ROWS, sum[0][0]);                           \
    }                                                                                       \
}

/* G groups times T activation rows.  The first rows ask for what comes later, little by little. */
#define FEW_CHUNK(id, G, T)                                                                 \
static __attribute__((noinline)) void few_chunk_##id##_##G##T(const struct few *f,          \
    const struct block_q8a *const *rows, float *acc)                                        \
{                                                                                           \
    enum { TILE_BYTES = TILE_ROWS * sizeof(struct block_##id), SUBS = id##_ELEMS / 32 };    \
    __m512 sum[G][T], half[G][T];                                                           \
    const struct block_q8a *x[T];                                                           \
    const uint8_t *tile[G], *next[G];                                                       \
                                                                                            \
    UNROLL for (int g = 0; g < G; g++)                                                      \
        UNROLL for (int t = 0; t < T; t++)                                                  \
            sum[g][t] = _mm512_loadu_ps(acc + t * f->ld + g * TILE_ROWS);                   \
    UNROLL for (int t = 0; t < T; t++)                                                      \
        x[t] = rows[t];                                                                     \
    UNROLL for (int g = 0; g < G; g++) {                                                    \
        tile[g] = f->tile[g];                                                               \
        next[g] = f->next[g];                                                               \
    }                                                                                       \
    for (int b = 0; b < f->n_tile; b++) {                                                   \
        for (int first = 0; first < SUBS; first += id##_OUT) {                              \
            for (int g = 0; g < G && f->ask; g++) {                                         \
                for (int at = 0; at < TILE_BYTES / SUBS * id##_OUT; at += 64)               \
                    __builtin_prefetch(next[g] + at, 0, 3);                                 \
                next[g] += TILE_BYTES / SUBS * id##_OUT;                                    \
            }                                                                               \
            UNROLL for (int s = 0; s < id##_OUT; s++)                                       \
                UNROLL for (int h = 0; h < 2; h++)                                          \
                    FEW_HALF(id, G, T, first + s, h);                                       \
        }                                                                                   \
        UNROLL for (int t = 0; t < T; t++)                                                  \
            x[t] += SUBS;                                                                   \
        UNROLL for (int g = 0; g < G; g++)                                                  \
            tile[g] += TILE_BYTES;                                                          \
    }                                                                                       \
    UNROLL for (int g = 0; g < G; g++)                                                      \
        UNROLL for (int t = 0; t < T; t++)                                                  \
            _mm512_storeu_ps(acc + t * f->ld + g * TILE_ROWS, sum[g][t]);                   \
}

/* All activation rows times the groups of f. */
#define FEW_GROUP(id, G)                                                                    \
TILE_INLINE void few_groups_##id##_##G(const struct tile_mul *m, struct few *f,             \
                                       int64_t at, float *acc)                              \
{                                                                                           \
    for (int64_t t = 0; t < m->n_x; t += FEW_TOK, acc += FEW_TOK * f->ld) {                 \
        const struct block_q8a *x[FEW_TOK];                                                 \
        int n_t = m->n_x - t < FEW_TOK ? (int)(m->n_x - t) : FEW_TOK;                       \
        f->ask = t == 0;                                                                    \
        for (int i = 0; i < n_t; i++)                                                       \
            x[i] = (const struct block_q8a *)m->x[t + i] + at;                              \
        switch (n_t) {                                                                      \
        case 1: few_chunk_##id##_##G##1(f, x, acc); break;                                  \
        case 2: few_chunk_##id##_##G##2(f, x, acc); break;                                  \
        case 3: few_chunk_##id##_##G##3(f, x, acc); break;                                  \
        default: few_chunk_##id##_##G##4(f, x, acc);                                        \
        }                                                                                   \
    }                                                                                       \
}

/* Few rows are bound by memory: one linear run.  More of them share what is read of them; what is
 * asked for at a group's end then belongs to the group after the next. */
#define FEW_ROWS(id)                                                                        \
FEW_CHUNK(id, 1, 1) FEW_CHUNK(id, 1, 2) FEW_CHUNK(id, 1, 3) FEW_CHUNK(id, 1, 4)             \
FEW_CHUNK(id, 2, 1) FEW_CHUNK(id, 2, 2) FEW_CHUNK(id, 2, 3) FEW_CHUNK(id, 2, 4)             \
FEW_GROUP(id, 1)                                                                            \
FEW_GROUP(id, 2)                                                                            \
TILE_INLINE void few_rows_##id(const struct tile_mul *m)                                    \
{                                                                                           \
    enum { TILE_BYTES = TILE_ROWS * sizeof(struct block_##id), SUBS = id##_ELEMS / 32 };    \
    const uint64_t group_bytes = tile_group_bytes(QTYPE_##id, m->n);                        \
    struct few f = { .ld = m->n_group * TILE_ROWS };                                        \
    int step = m->n_x > TILE_FEW ? FEW_GROUPS : 1;                                          \
                                                                                            \
    memset(m->acc, 0, (size_t)(m->n_x * f.ld) * sizeof(float));                             \
    for (int first = 0, n_g; first < m->n_group; first += n_g) {                            \
        n_g = m->n_group - first < step ? 1 : step;                                         \
        for (int64_t at = 0; at < m->n / 32; at += f.n_tile * SUBS) {                       \
            f.n_tile = m->n / 32 - at < 8 ? (int)(m->n / 32 - at) : 8 / SUBS;               \
            for (int g = 0; g < n_g; g++) {                                                 \
                const uint8_t *tile = m->group + (uint64_t)(first + g) * group_bytes +      \
                                      (uint64_t)(at / SUBS * TILE_BYTES);                   \
                f.tile[g] = tile;                                                           \
                f.next[g] = tile + FEW_AHEAD;                                               \
                if (at / SUBS * TILE_BYTES + FEW_AHEAD >= (int64_t)group_bytes)             \
                    f.next[g] += (uint64_t)(n_g - 1) * group_bytes;                         \
                for (int b = 0; b < f.n_tile; b++)                                          \
                    scales_##id(f.scale[g] + b, f.offset[g] + b, tile + b * TILE_BYTES, 0); \
            }                                                                               \
            if (n_g == 1)                                                                   \
                few_groups_##id##_1(m, &f, at, m->acc + first * TILE_ROWS);                 \
            else                                                                            \
                few_groups_##id##_2(m, &f, at, m->acc + first * TILE_ROWS);                 \
        }                                                                                   \
    }                                                                                       \
    store_acc(m);                                                                           \
}

/* Whether it did the product: one activation row, or at most `most`. */
#define DIRECT(id, most)                                                                    \
FEW_ROWS(id)                                                                                \
ONE_ROW(id)                                                                                 \
TILE_INLINE bool direct_##id(const struct tile_mul *m)                                      \
{                                                                                           \
    if (m->n_x == 1)                                                                        \
        one_row_##id(m);                                                                    \
    else if (m->n_x <= (most))                                                              \
        few_rows_##id(m);                                                                   \
    return m->n_x == 1 || m->n_x <= (most);                                                 \
}

#endif
