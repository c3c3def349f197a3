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

/* [n] whose end touches an unreadable page.  Never freed: a check is a short process. */
float *check_guarded_f32(int64_t n);

/* What one check found: the first difference, and the times where --bench asks for them. */
struct found { bool bad; int64_t n; const char *what; double want, got, ns_ref, ns_new; };

/* Note a difference if `bad`; true once there was one. */
bool check_differ(struct found *f, bool bad, const char *what, double want, double got);

/* The same bits, or both NaN. */
bool check_same_f32(float a, float b);

double check_now_ns(void);

/* Best of nine batches: the least disturbed one is the honest one. */
#define BENCH_NS(call) __extension__ ({                                   \
    double best_ = 1e30;                                                  \
    for (int b_ = 0; b_ < 9; b_++) {                                      \
        double t0_ = check_now_ns();                                      \
        for (int i_ = 0; i_ < 300; i_++) { call; }                        \
        double dt_ = (check_now_ns() - t0_) / 300;                        \
        best_ = dt_ < best_ ? dt_ : best_;                                \
    }                                                                     \
    best_; })

/* check_mat.c */
struct found check_mat_mul(mat_mul_fn *fast, const struct kernels *ref);
struct found check_transpose(transpose_fn *fast, const struct kernels *ref);
struct found check_softmax(softmax_fn *fast, const struct kernels *ref);

#endif
