/* dot_offset.h - the parts of Q4_K and Q5_K products that AVX2 and AVX-512 write alike.
 *
 * Included once by each variant, behind its own dot_u8i8(): 32 products of unsigned and signed
 * bytes, summed in groups of four. */
#ifndef KERNELS_X86_DOT_OFFSET_H
#define KERNELS_X86_DOT_OFFSET_H

static inline void q4_k_scales(struct scales_min *s, const struct block_q4_k *a)
{
    scales_min_k8(s, a->scales, _cvtsh_ss(a->d), _cvtsh_ss(a->dmin));
}

static inline __m256 q4_k_part(__m256 sum, const struct block_q4_k *a, const struct block_q8a *b,
                               int j, const struct scales_min *s)
{
    __m256i p = dot_u8i8(q4_k_nibbles(a->qs, j), load32(b->q));
    sum = add_scaled(sum, s->scale[j], b, p);
    return add_scaled(sum, s->offset[j], b, offset_sum(b, 1));
}

static inline void q5_k_scales(struct scales_min *s, const struct block_q5_k *a)
{
    scales_min_k8(s, a->scales, _cvtsh_ss(a->d), _cvtsh_ss(a->dmin));
}

static inline __m256 q5_k_part(__m256 sum, const struct block_q5_k *a, const struct block_q8a *b,
                               int j, const struct scales_min *s)
{
    __m256i q = _mm256_or_si256(q4_k_nibbles(a->qs, j), bit_of_part(a->qh, j, 16));
    sum = add_scaled(sum, s->scale[j], b, dot_u8i8(q, load32(b->q)));
    return add_scaled(sum, s->offset[j], b, offset_sum(b, 1));
}

#endif
