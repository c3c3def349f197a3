/* kv.h - how keys and values lie in pages.
 *
 * A page holds KV_PAGE_TOK consecutive tokens of one sequence for all layers.  Within a layer a
 * token has up to two segments (K and V rows; for MLA the latent and the rotated key), and a
 * segment's rows stand together, so a page of one segment is one linear run:
 *
 *   page:  layer 0 [ seg 0: tok 0..63 | seg 1: tok 0..63 ]  layer 1 [ ... ]  ...
 */
#ifndef OPS_KV_H
#define OPS_KV_H

#include "kernels/kernels.h"

#include <stdint.h>

enum { KV_PAGE_TOK = 64, KV_SEGS_MAX = 2 };

/* The KV of one sequence: page i holds tokens [i*KV_PAGE_TOK, (i+1)*KV_PAGE_TOK).  The caller
 * owns the pages, each 64-byte aligned and as long as the model's kv_spec says. */
struct kv_view { uint8_t **page; int64_t n_page; };

/* Where one layer's rows are in every page. */
struct kv_layer {
    enum qtype type;
    uint64_t offset[KV_SEGS_MAX];       /* of the segment, from the start of the page */
    uint64_t row_bytes[KV_SEGS_MAX];
    int64_t n_elem[KV_SEGS_MAX];        /* per token; 0: no such segment */
};

/* The bytes of token `pos` in segment `seg`. */
static inline uint8_t *kv_row(const struct kv_view *v, const struct kv_layer *l, int seg,
                              int64_t pos)
{
    return v->page[pos / KV_PAGE_TOK] + l->offset[seg] +
           (uint64_t)(pos % KV_PAGE_TOK) * l->row_bytes[seg];
}

#endif
