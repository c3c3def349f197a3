/* prove.h - the proof that a configuration implies its `never`, or the shortest way to break it.
 *
 * What is enumerated: every set of labels that can matter, everything a request can name (models
 * and groups), every kind of path of path.def.  Key scopes, budgets and what a request needs of a
 * model are left out: they only take paths away.
 *
 * Which sets matter.  A line of `never` with labels W breaks when text with a set L of labels, W
 * in L, goes along a chain of at most PROVE_CHAIN_MAX decisions (a call, a fallback, a
 * continuation, what is kept of it) that all allow.  Each was made by a rule that allows, whose
 * `when` lies in L, or by none.  Take L' = W and those `when`s alone: a rule that held for L'
 * holds for L, and those that decided are still there, so the same rules decide.  Hence unions of
 * W and at most PROVE_CHAIN_MAX `when`s of rules that allow are enough, whatever the number of
 * labels, and a smallest counter-example is one of them.
 */
#ifndef GATEWAY_PROVE_H
#define GATEWAY_PROVE_H

#include "gateway/policy.h"

enum { PROVE_CHAIN_MAX = 4, PROVE_SETS_MAX = 1 << 14 };

/* What breaks a line of `never`: a request with these labels, in which these models fail or cannot
 * be had, in this order, sends text to `place` by a path of this kind. */
struct counter {
    int never;
    uint64_t labels;
    enum path_kind kind;
    int place;                          /* policy.h */
    int model, group;                   /* what the request names: one of them, the other -1; both
                                           -1 where any request will do */
    int n_failed, failed[MEMBERS_MAX + 1];
    int rule;                           /* that lets it: -1 when none held */
};

struct proof {
    int n_counter;                      /* 0: proved */
    struct counter counter[NEVER_MAX];  /* a shortest one for each line of `never` that breaks */
    uint64_t n_set;                     /* sets of labels looked at, over all lines of `never` */
    uint32_t n_path[PATH_N];            /* paths of each kind that the configuration has */
};

/* Errors: LIMIT (more than PROVE_SETS_MAX sets for a line of `never`, with what to do), NOMEM.  A
 * refuted configuration is no error. */
MUST_CHECK enum err prove(struct proof *out, const struct config *c, const struct policy *p);

/* The shortest: fewest labels, then fewest failures. */
const struct counter *proof_shortest(const struct proof *p);

#endif
