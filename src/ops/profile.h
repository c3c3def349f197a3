/* profile.h - where the time of steps goes: a record per layer and kind of operation.
 *
 *   profile_new -> ops_profile(ops, p) -> steps -> ops_profile(ops, NULL) -> read p->record
 *
 * The model names what it is about to compute with ops_at(); the time until the next name belongs
 * to that record, so the records add up to the step.  Operations add what they had to read from
 * memory and to compute: weights, KV and adapters once per call, never activations, which lie in
 * the caches.  Norms, rope and the like therefore count nothing.
 */
#ifndef OPS_PROFILE_H
#define OPS_PROFILE_H

#include "base/err.h"
#include "kernels/peak.h"

#include <stdint.h>

enum profile_op {
#define PROFILE(id, name) PROFILE_##id,
#include "ops/profile.def"
#undef PROFILE
    PROFILE_COUNT
};

/* The id and the name that people read. */
struct profile_op_info { const char *id, *name; };
extern const struct profile_op_info profile_op_info[PROFILE_COUNT];

/* Bytes read, and operations (an addition and a multiplication are two) by arithmetic. */
struct profile_work { uint64_t bytes, ops[PEAK_COUNT]; };

/* Operations that are several, one after the other, count them apart: latent attention carries
 * the query into the latent space (first), attends (main), and leaves it again (last). */
enum profile_part { PROFILE_FIRST, PROFILE_MAIN, PROFILE_LAST, PROFILE_PARTS };

struct profile_record { uint64_t ns; struct profile_work part[PROFILE_PARTS]; };

struct profile {
    int32_t n_layer;
    int64_t n_step;                     /* counted by the caller */
    struct profile_record *record;      /* [n_layer + 1, PROFILE_COUNT]; the last layer holds what
                                           belongs to none: embedding, final norm, head */
    struct profile_record *now;         /* what the clock runs for, or NULL */
    uint64_t since_ns;
};

/* All zero.  On success *out is yours: profile_free().  Errors: NOMEM. */
MUST_CHECK enum err profile_new(struct profile **out, int32_t n_layer);
void profile_free(struct profile *p);

/* The clock now runs for this record; PROFILE_COUNT stops it.  Layer -1 is the one of none. */
void profile_at(struct profile *p, int32_t layer, enum profile_op op);

/* Add work to the current record; without one (the clock stands) nothing is counted. */
void profile_add(struct profile *p, enum profile_part part, uint64_t bytes, enum peak_type type,
                 int64_t ops);

struct profile_record *profile_get(const struct profile *p, int32_t layer, enum profile_op op);

/* *sum += part, field by field. */
void profile_sum(struct profile_record *sum, const struct profile_record *part);

/* The sum of a record's parts. */
struct profile_work profile_total(const struct profile_record *r);

#endif
