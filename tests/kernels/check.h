/* check.h - what the files of the kernel check share. */
#ifndef TESTS_KERNELS_CHECK_H
#define TESTS_KERNELS_CHECK_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdint.h>

extern bool check_bench;                /* --bench was given */

uint64_t check_random(void);

/* An ordinary row also has zeros, small and large values, and runs of 16 that are all tiny: where
 * rounding bugs live. */
enum kind { ORDINARY, ZERO, TINY, HUGE_, N_KINDS };
void check_fill(float *x, int64_t n, enum kind kind);

/* Any bits at all: NaN, infinity, subnormals. */
void check_fill_bytes(void *p, size_t n);

/* Memory whose end touches an unreadable page.  Never freed: a check is a short process. */
void *check_guarded(size_t bytes);
float *check_guarded_f32(int64_t n);

enum { CHECK_N_MAX = 4096 };

/* The l-th length for a type, l < 8, at most CHECK_N_MAX. */
int64_t check_length(enum qtype q, int l);

/* A row of blocks of random bytes, whose values are finite and not absurd if `valid`. */
void check_fill_weights(enum qtype q, void *row, int64_t n, bool valid, const struct kernels *ref);

/* What one check found: the first difference, and the times where --bench asks for them. */
struct found {
    bool bad;
    int64_t n;
    const char *what;
    double want, got, ns_ref, ns_new, read_gb_s;
};

/* Note a difference if `bad`; true once there was one. */
bool check_differ(struct found *f, bool bad, const char *what, double want, double got);

/* The same bits, or both NaN. */
bool check_same_f32(float a, float b);

double check_now_ns(void);

/* Best of nine batches: the least disturbed one is the honest one. */
#define BENCH_NS_N(n, call) __extension__ ({                              \
    double best_ = 1e30;                                                  \
    for (int b_ = 0; b_ < 9; b_++) {                                      \
        double t0_ = check_now_ns();                                      \
        for (int i_ = 0; i_ < (n); i_++) { call; }                        \
        double dt_ = (check_now_ns() - t0_) / (n);                        \
        best_ = dt_ < best_ ? dt_ : best_;                                \
    }                                                                     \
    best_; })
#define BENCH_NS(call) BENCH_NS_N(300, call)

/* check_tile.c */
struct found check_mul(enum qtype q, tile_mul_fn *fast, const struct kernels *ref);
struct found check_mul_bf16(tile_mul_fn *fast, const struct kernels *ref);
struct found check_mul_ref(enum qtype q, const struct kernels *ref);
struct found check_pack(enum qtype q);

/* check_mat.c */
struct found check_mat_mul(mat_mul_fn *fast, const struct kernels *ref);
struct found check_mat_mul_bf16(mat_mul_fn *fast, const struct kernels *ref);
struct found check_transpose(transpose_fn *fast, const struct kernels *ref);
struct found check_softmax(softmax_fn *fast, const struct kernels *ref);

/* check_kv.c */
struct found check_kv(enum qtype type, kv_fn *fast, const struct kernels *ref, bool value);

#endif
