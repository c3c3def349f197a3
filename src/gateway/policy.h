/* policy.h - who may see a text: the one decision of the gateway.
 *
 * Labels are a set of bits, by config_label_find(); they are only ever added.  A place is where
 * text may go: place i < models_count is model i at its upstream, the others are the gateway's own
 * sinks.
 * A condition (a rule, a line of `never`) holds for text at a place by a kind of path when
 *     every label of `when` is there, `paths` has the kind,
 *     for every attribute of `where` the place has one of its values, and
 *     not (`except` is given, and for every attribute of it the place has one of its values).
 * An attribute that is not set has no value: `where` does not hold, nor does `except`.
 * The first rule that holds decides; where none does, text may go. */
#ifndef GATEWAY_POLICY_H
#define GATEWAY_POLICY_H

#include "gateway/config.h"

struct policy;

/* The rules of a configuration, which stays as it is while the policy lives.  *out is yours:
 * policy_free().  Errors: NOMEM. */
MUST_CHECK enum err policy_new(struct policy **out, const struct config *c);
void policy_free(struct policy *p);

/* rule: the one that decided, -1 when none held.  never: the first line of `never` that holds, -1
 * when none does.  Text goes where policy_lets(); a loaded configuration is one in which a verdict
 * that allows what `never` names cannot be reached (prove.h), and this asks all the same. */
struct verdict { bool allow; int rule, never; };
struct verdict policy_decide(const struct policy *p, uint64_t labels, int place,
                             enum path_kind kind);
static inline bool policy_lets(struct verdict v) { return v.allow && v.never < 0; }

/* Does line `never` hold?  policy_decide() says the first; the prover asks for each. */
bool policy_never(const struct policy *p, int never, uint64_t labels, int place,
                  enum path_kind kind);

int place_of_sink(const struct config *c, enum sink sink);

/* Where a kind of path ends: SINK_MODEL for those that end at a model. */
enum sink path_sink(enum path_kind kind);

#endif
