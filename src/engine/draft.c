/* draft.c - the list of drafters. */
#include "engine/draft.h"

#include "engine/draft_form.h"

static const struct drafter_def drafters[DRAFT_COUNT] = {
#define DRAFTER(id, name, most, costless) [DRAFT_##id] = { name, most, costless, \
    draft_##id##_new, draft_##id##_free, draft_##id##_read, draft_##id##_add, \
    draft_##id##_propose },
#include "engine/draft.def"
#undef DRAFTER
};

const struct drafter_def *drafter_def(enum draft_kind kind)
{
    return &drafters[kind];
}
