/* placed.c - a model's weights moved from the mapped file to where place keeps them. */
#include "model/arch.h"

static void move(const struct place *p, struct weight *w)
{
    enum layout ignored;

    if (w->data)
        w->data = place_find(p, w->data, &w->layout);
    if (w->scale)
        w->scale = place_find(p, w->scale, &ignored);
}

/* The matrices of one table; stacked experts are moved with all others. */
static void move_table(const struct place *p, const struct weight_spec *spec, void *base)
{
    for (; spec->gguf || spec->hf; spec++)
        if (spec->kind == MATRIX || spec->kind == PAIRS)
            move(p, (struct weight *)(void *)((char *)base + spec->field));
}

void bind_move(struct binding *b, const struct place *p)
{
    move_table(p, b->arch->global, &b->global);
    for (int32_t i = 0; i < bind_layers(b); i++)
        move_table(p, b->arch->layer, &b->layer[i]);
    if (b->mtp)
        move_table(p, b->arch->mtp, &b->layer[b->hp.n_layer]);
    for (int64_t i = 0; i < b->n_expert_weight; i++)
        move(p, &b->experts[i]);
}
