/* iq_grids.h - the lattice points of the IQ types, packed; see iq_grids.c. */
#ifndef KERNELS_IQ_GRIDS_H
#define KERNELS_IQ_GRIDS_H

#include <stdint.h>

/* 8 elements of 2 bits: an index into {8, 25, 43}. */
extern const uint16_t grid_iq2_xxs[256], grid_iq2_xs[512], grid_iq2_s[1024];

/* 4 elements of 3 bits: an index into {4, 12, 20, 28, 36, 44, 52, 62} and {1, 3, .. 15}. */
extern const uint16_t grid_iq3_xxs[256], grid_iq3_s[512];

/* 8 elements of 2 bits: an index into {-1, 0, 1}; IQ1_S and IQ1_M. */
extern const uint16_t grid_iq1[2048];

#endif
