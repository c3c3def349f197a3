/* lookup.h - where the end of a text stood before in it, and what followed there.
 *
 * The index knows the last `window` tokens.  A place is looked for by its last LOOKUP_LONG tokens
 * and, where those never stood before, by its last LOOKUP_SHORT; of the LOOKUP_TRIES most recent
 * ones the longest match counts, compared up to LOOKUP_MATCH_MAX tokens back; of equals the most
 * recent.  Adding a token and finding take bounded time whatever the text is; memory is
 * 20 bytes a token of the window.
 */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include "base/err.h"

#include <stdint.h>

enum { LOOKUP_SHORT = 2, LOOKUP_LONG = 4, LOOKUP_TRIES = 32, LOOKUP_MATCH_MAX = 64,
       LOOKUP_WINDOW_MAX = 1 << 18 };

struct lookup;

/* For a text of n_ctx tokens; the window is the next power of two, at most LOOKUP_WINDOW_MAX.
 * Errors: NOMEM. */
MUST_CHECK enum err lookup_new(struct lookup **out, int64_t n_ctx);
void lookup_free(struct lookup *x);
void lookup_reset(struct lookup *x);

void lookup_add(struct lookup *x, int32_t id);

/* What may follow the text: up to n tokens to `out`, but not more than twice those that agree, for
 * a chance likeness is worth no long guess; how many is returned, 0 when its end never stood
 * before.  Where the earlier place reaches the end of the text, what was just proposed
 * goes on.  *match is the tokens before it that agree. */
int lookup_find(const struct lookup *x, int32_t *out, int n, int *match);

#endif
