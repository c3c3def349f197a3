/* price.h - LiteLLM's price file: what models cost, in whole numbers of 10^-12 dollar.
 *
 * A file holds thousands of models and all their oddities, so reading it fails for what is no JSON
 * object of objects alone.  What a model's entry has that is not understood is kept, and is an
 * error of cost_of() for that model. */
#ifndef GATEWAY_PRICE_H
#define GATEWAY_PRICE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* LiteLLM's own file has 3 MB. */
enum { PRICE_FILE_MAX = 16 << 20, PRICE_NAME_MAX = 512 };

enum price_tier {
#define TIER(id, ...) TIER_##id,
#define RATE(...)
#define TIMES(...)
#define REFUSE(...)
#define WORD(...)
#define PLAIN(...)
#include "gateway/price.def"
#undef TIER
#undef RATE
    TIER_N
};

enum price_id {
#define TIER(...)
#define RATE(id, ...) PRICE_##id,
#include "gateway/price.def"
#undef TIER
#undef RATE
#undef TIMES
#undef REFUSE
#undef WORD
#undef PLAIN
    PRICE_N, PRICE_NONE = PRICE_N
};

enum price_times { TIMES_SPEED, TIMES_GEO, TIMES_RESIDENCY };

/* One amount: of what, for which tier, for prompts longer than `above` tokens (0: all). */
struct price_rate { enum price_id id; enum price_tier tier; int64_t above, amount; };

struct price_factor { enum price_times id; const char *key; int64_t factor; };

/* All borrowed from the table. */
struct price {
    const char *model, *provider, *search_unit, *mode;  /* "" where the entry has none */
    const struct price_rate *rate;
    const struct price_factor *factor;
    int n_rate, n_factor;
    uint64_t refused;                   /* bit i: has the i-th REFUSE field of price.def */
    const char *bad, *why;              /* a field that is not understood, and why; or NULL */
};

struct prices;

/* Read a table.  *out is yours: prices_free().  Errors: LIMIT, FORMAT, NOMEM; and of the file. */
MUST_CHECK enum err prices_parse(struct prices **out, const char *text, size_t len,
                                 const char *what);
MUST_CHECK enum err prices_load(struct prices **out, const char *path);
void prices_free(struct prices *t);

/* The entry of that name; else of "provider/name" the entry "name" of that provider.  NULL: none.
 * Borrowed while the table lives. */
const struct price *prices_find(const struct prices *t, const char *model);

int prices_n(const struct prices *t);
const struct price *prices_at(const struct prices *t, int i);

/* How many amounts had more than 12 decimals and were rounded to 12. */
int prices_rounded(const struct prices *t);

/* A tier by its name or another word for it, -1: none; its name. */
int price_tier_of(const char *word, size_t len);
const char *price_tier_name(enum price_tier tier);

/* A rate's field in the file ("input_cost_per_token"), and what a list of costs calls it. */
const char *price_field(enum price_id id);
const char *price_part(enum price_id id);

#endif
