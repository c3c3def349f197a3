/* prove_form.h - what the two files of the prover share: one request, and how far it can get. */
#ifndef GATEWAY_PROVE_FORM_H
#define GATEWAY_PROVE_FORM_H

#include "gateway/prove.h"

/* How text comes to the i-th member: `cost` failures before it, NO_WAY when it cannot.  The first
 * call went to member `first`, and the text was at member `via` just before. */
enum { NO_WAY = -1 };
struct way { int cost, first, via; };

/* A request that names a model or a group: the members in their order, and what the rules say. */
struct request {
    const struct config *c;
    const struct policy *p;             /* NULL: everything is allowed */
    uint64_t labels;
    int n, member[MEMBERS_MAX];         /* models */
    bool any_order;                     /* weighted: any member may be the first, any the next */
    bool may[PATH_N][MEMBERS_MAX];      /* the rules let text go there by a path of this kind */
    struct way call[MEMBERS_MAX], fallback[MEMBERS_MAX], tried[MEMBERS_MAX];    /* tried: either */
};

void request_init(struct request *r, const struct config *c, const struct policy *p,
                  uint64_t labels, int model, int group);

/* The paths of one kind.  Of those that end at a model: to member i; of the others i is 0 and n may
 * be 0 (a request that is refused). */
typedef struct way reach_fn(const struct request *r, int i);
extern reach_fn *const reach[PATH_N];

/* The models that fail on the way, in order; how many. */
int failures(const struct request *r, enum path_kind kind, int i, struct way w, int *failed);

#endif
