/* prefix.h - pages of texts that were computed, found again by the tokens they hold.
 *
 * A tree: a node is a page, and its path the text before it.  Whole pages have pages behind them;
 * a page that is not full has none, and gives a text as much of it as agrees.
 *
 *   owner (party, adapter) -- page -- page -- page
 *                                \            `-- part of a page
 *                                 `-- page
 *
 * Texts are compared by tokens and kinds, and meet only those of the same owner: a hash finds where
 * to look and never decides.  The page used longest ago is given up first; a page is used whenever
 * what is behind it is, so it outlives that.
 */
#ifndef ENGINE_PREFIX_H
#define ENGINE_PREFIX_H

#include "engine/kv_pool.h"

struct prefix;
struct prefix_node;

struct prefix_owner { uint64_t party; int32_t adapter; };

/* For pages of `pool`, borrowed.  On success *out is yours: prefix_free().  Errors: NOMEM. */
MUST_CHECK enum err prefix_new(struct prefix **out, struct kv_pool *pool);
void prefix_free(struct prefix *p);     /* gives all pages up */

/* Why a text was not found any further. */
enum prefix_end {
    PREFIX_WHOLE,                       /* all of it is here */
    PREFIX_NONE,                        /* nothing of its owner is */
    PREFIX_ENDS,                        /* nothing that goes on from there */
    PREFIX_DIFFERS,                     /* what goes on from there has another token */
    PREFIX_KIND,                        /* ... the same token, of another kind */
    PREFIX_GIVEN_UP,                    /* its next page was here, and made room for others */
};

/* The longest beginning of a text that is here, n_tok of its n tokens, and why no more; the node,
 * borrowed until something is kept or given up, is that of the last page, NULL: nothing. */
struct prefix_match { struct prefix_node *node; int64_t n_tok; enum prefix_end end; };
struct prefix_match prefix_find(const struct prefix *p, struct prefix_owner owner,
                                const int32_t *token, const uint8_t *kind, int64_t n);

/* Those pages into an empty view, and they are used. */
void prefix_share(struct prefix *p, struct prefix_match m, struct kv_view *v);

/* The first n tokens of a view are computed: keep their pages, those that are not here yet, and use
 * all of them.  Without memory for a node the rest is not kept. */
void prefix_keep(struct prefix *p, struct prefix_owner owner, const int32_t *token,
                 const uint8_t *kind, int64_t n, const struct kv_view *v);

/* Give up the page that was used longest ago; it is free unless a sequence holds it.  False: there
 * was none. */
bool prefix_drop(struct prefix *p);

/* Whether giving pages up can free n of them. */
bool prefix_can_free(const struct prefix *p, int64_t n);

int64_t prefix_n_page(const struct prefix *p);

#endif
