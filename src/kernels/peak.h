/* peak.h - what the processor can do at most: reading memory, and arithmetic in registers.
 *
 * Ceilings to hold measurements against, nothing else is built on them.  Each function exists in
 * a version per instruction-set level; what a level has no instruction for is NULL.
 */
#ifndef KERNELS_PEAK_H
#define KERNELS_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* The arithmetic of products: eight-bit integers into 32 bits, bfloat16 into f32, f32. */
enum peak_type { PEAK_int8, PEAK_bf16, PEAK_f32, PEAK_COUNT };
extern const char *const peak_name[PEAK_COUNT];

/* At least n operations (a multiplication and an addition are two), each a 1 * 1 added to one of
 * the running sums; returns how many were done, *sum is what all sums add up to: half as many,
 * as long as f32 can count them one by one. */
typedef int64_t peak_mul_fn(int64_t n, double *sum);

/* The exclusive or of all 64-bit words of `bytes` bytes, a multiple of 256; `p` is 64-byte
 * aligned. */
typedef uint64_t peak_read_fn(const void *p, size_t bytes);

struct peaks {
    peak_mul_fn *mul[PEAK_COUNT];
    peak_read_fn *read;                 /* leaves prefetching to the hardware */
    peak_read_fn *read_ahead;           /* asks for what lies PEAK_AHEAD bytes ahead */
};
enum { PEAK_AHEAD = 2048 };

/* Fill the table with the best version allowed by `isa`; 0 gives the references. */
void peaks_init(struct peaks *p, unsigned isa);

/* What peaks_init() puts over the references. */
void peaks_add_avx2(struct peaks *p);
void peaks_add_avx512(struct peaks *p);
void peaks_add_avx512bf16(struct peaks *p);

#endif
