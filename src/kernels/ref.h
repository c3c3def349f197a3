/* ref.h - the scalar references by name, for the files that define them. */
#ifndef KERNELS_REF_H
#define KERNELS_REF_H

#include "kernels/kernels.h"

/* The types of the KV cache. */
#define KV_TYPES(X) X(f32) X(f16) X(bf16) X(q8_0)

/* A line added to qtype.def without its function fails to link; so does one of tile.def. */
#define QTYPE(id, ...) dequant_fn dequant_##id;
#include "kernels/qtype.def"
#undef QTYPE
#define TILE(id, ...) tile_mul_fn tile_mul_##id;
#include "kernels/tile.def"
#undef TILE
dot_fn dot_f32;
quant_fn quant_f32, quant_f16, quant_bf16, quant_q8_0, quant_q8a;
rmsnorm_fn rmsnorm;
axpy_fn axpy;
scale_fn scale;
swiglu_fn swiglu;
mat_mul_fn mat_mul;
transpose_fn transpose;
softmax_fn softmax;
all_finite_fn all_finite;
#define KV(id) kv_fn kv_score_##id, kv_value_##id;
KV_TYPES(KV)
#undef KV

/* Each accelerated file offers one function that overwrites the slots it is good at. */
void kernels_add_dot_avx2(struct kernels *k);
void kernels_add_dequant_avx2(struct kernels *k);
void kernels_add_quant_avx2(struct kernels *k);
void kernels_add_vec_avx2(struct kernels *k);
void kernels_add_mat_avx2(struct kernels *k);
void kernels_add_kv_avx2(struct kernels *k);
void kernels_add_tile_avx2(struct kernels *k);
void kernels_add_tile_avx512(struct kernels *k);
void kernels_add_tile_avx512bf16(struct kernels *k);
void kernels_add_dequant_avx512(struct kernels *k);
void kernels_add_vec_avx512(struct kernels *k);
void kernels_add_mat_avx512(struct kernels *k);
void kernels_add_mat_avx512bf16(struct kernels *k);
void kernels_add_kv_avx512(struct kernels *k);
void kernels_add_dot_neon(struct kernels *k);
void kernels_add_dequant_neon(struct kernels *k);
void kernels_add_quant_neon(struct kernels *k);
void kernels_add_vec_neon(struct kernels *k);
void kernels_add_mat_neon(struct kernels *k);
void kernels_add_kv_neon(struct kernels *k);
void kernels_add_tile_neon(struct kernels *k);
void kernels_add_tile_dotprod(struct kernels *k);

#endif
