/* draft_form.h - inside the drafters: their functions, as draft.def names them. */
#ifndef ENGINE_DRAFT_FORM_H
#define ENGINE_DRAFT_FORM_H

#include "engine/draft.h"

#define DRAFTER(id, name, most, costless) \
    enum err draft_##id##_new(void **out, const struct draft_options *o); \
    void draft_##id##_free(void *d); \
    enum err draft_##id##_read(void *d, const struct draft_text *t, \
                               session_progress_fn *progress, void *arg); \
    void draft_##id##_add(void *d, const struct draft_text *t); \
    enum err draft_##id##_propose(void *d, const struct draft_text *t, int n, struct draft *out);
#include "engine/draft.def"
#undef DRAFTER

#endif
