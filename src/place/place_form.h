/* place_form.h - inside place: what place.c lays out and place_load.c fills. */
#ifndef PLACE_FORM_H
#define PLACE_FORM_H

#include "place/place.h"

struct taken {
    const struct tensor_info *t;
    enum layout layout;                 /* it gets */
    uint64_t offset;                    /* in the place's memory */
};

struct place {
    void *map;                          /* of mmap(), map_bytes */
    size_t map_bytes;
    uint8_t *memory;                    /* [bytes], in it */
    uint64_t bytes;
    struct taken *taken;                /* [n_taken], by the address of t->data */
    uint64_t n_taken;
};

/* Read all that is taken into its place. */
MUST_CHECK enum err place_load(struct place *p, const struct weights *w,
                               const struct place_options *o);

#endif
