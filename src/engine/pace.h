/* pace.h - how many tokens to draft: as many as are expected to pay.
 *
 * Known from what was seen so far: how often the next guess is right, for each drafter and by how
 * strong the guess is, and what a step costs by its rows.  A proposal of strength s is taken to
 * have strength s + i at its token i.  Then k drafts in one step are expected to give
 * 1 + p1 + p1 p2 + .. tokens for the cost of k + 1 rows and of the drafting, and the best k counts,
 * if it beats one row by PACE_GAIN.
 *
 * What is decided here changes the speed alone.  Nothing here reads a clock.
 */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include "engine/draft.h"

#define PACE_GAIN 1.05

enum { PACE_STRENGTHS = 8,              /* 1, 2, 3, 4 .. 5, 6 .. 8, 9 .. 16, 17 .. 32, more */
       PACE_SIZES = 12,                 /* of steps: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 */
       PACE_PROBE_FIRST = 8, PACE_PROBE_LAST = 256, PACE_PLAIN_EVERY = 128 };

struct pace {
    double right[DRAFT_COUNT][PACE_STRENGTHS], seen[DRAFT_COUNT][PACE_STRENGTHS];  /* decayed */
    double one;                         /* seconds of a step of one row; 0: not known */
    int64_t n_one;
    double cost[PACE_SIZES];            /* of larger ones, in steps of one row: mean */
    double weight[PACE_SIZES];          /* and of how many steps, decayed */
    double guess[DRAFT_COUNT];          /* seconds a proposed token takes to propose */
    int64_t n_step, step_one;           /* steps; the last of one row */
    int64_t step_tried[DRAFT_COUNT];    /* the last step that proposal was asked of it */
    int64_t gap[DRAFT_COUNT];           /* steps until it is tried although it may not pay */
};

void pace_init(struct pace *p);

/* How many of n offered tokens to draft, 0 when that is not expected to pay; *gain is what is
 * expected of it, in tokens for the time of a plain one.  For a drafter that is not costless it is
 * asked before proposing, with strength 1, and now and then answers a few although it may not pay,
 * to learn. */
int pace_choose(struct pace *p, enum draft_kind kind, int strength, int n, double *gain);

/* What one of several sequences offers: n tokens of this strength, and how many to draft. */
struct pace_offer { int strength, n, take; };

/* Set the takes of a step of `rows` sequences, at most `most` together: those from which the most
 * tokens a second are expected of the step as a whole, none unless they beat the step without by
 * PACE_GAIN.  Of a costless drafter. */
void pace_share(const struct pace *p, enum draft_kind kind, struct pace_offer *offer, int n_offer,
                int rows, int most);

/* A step of so many rows took so long. */
void pace_step(struct pace *p, int rows, double seconds);

/* Proposing n tokens took so long. */
void pace_guess(struct pace *p, enum draft_kind kind, int n, double seconds);

/* A guess of this strength was right or wrong. */
void pace_seen(struct pace *p, enum draft_kind kind, int strength, bool right);

/* What a step of so many rows is expected to take, in steps of one row. */
double pace_cost(const struct pace *p, int rows);

#endif
