/* pace.c - expected tokens against expected time.
 *
 * The cost of one row is a mean of its own, for one row has kernels of its own.  That of more rows
 * is a line through all of them, so that a length that was never tried is judged by the others;
 * two points of weight PRIOR_WEIGHT hold the line until steps were timed.  A neighbour's busy
 * moment must not decide for long: seconds far from what was expected are cut to CLIP times it. */
#include "engine/pace.h"

#include <string.h>

#define DECAY_SEEN   0.97
#define DECAY_STEP   0.95
#define PRIOR_WEIGHT 0.3
#define PRIOR_ROW    0.12               /* of a step's time, for each further row */
#define CLIP         3.0

enum { PRIOR_ROWS = 17 };

void pace_init(struct pace *p)
{
    memset(p, 0, sizeof(*p));
    for (int d = 0; d < DRAFT_COUNT; d++)
        p->gap[d] = PACE_PROBE_FIRST;
}

static int strength_class(int strength)
{
    static const int last[] = { 1, 2, 3, 5, 8, 16, 32 };
    int i = 0;

    while (i < PACE_STRENGTHS - 1 && strength > last[i])
        i++;
    return i;
}

/* Before anything was seen, a stronger guess is likelier right; four observations outweigh it. */
static double chance(const struct pace *p, enum draft_kind kind, int strength)
{
    int c = strength_class(strength);
    double first = (c + 1.0) / (c + 2.0);

    return (p->right[kind][c] + 2 * first) / (p->seen[kind][c] + 2);
}

double pace_cost(const struct pace *p, int rows)
{
    const double w = PRIOR_WEIGHT, far = p->one * (1 + PRIOR_ROW * (PRIOR_ROWS - 1));
    const double near = p->one * (1 + PRIOR_ROW);
    double n = p->n + 2 * w, x = p->x + w * (2 + PRIOR_ROWS), y = p->y + w * (near + far);
    double xx = p->xx + w * (4 + PRIOR_ROWS * PRIOR_ROWS);
    double xy = p->xy + w * (2 * near + PRIOR_ROWS * far);

    if (rows <= 1)
        return p->one;
    double slope = (n * xy - x * y) / (n * xx - x * x), at = (y - slope * x) / n + slope * rows;
    return at > p->one ? at : p->one;
}

void pace_step(struct pace *p, int rows, double seconds)
{
    double expected = pace_cost(p, rows);

    p->n_step++;
    if (rows == 1) {
        p->step_one = p->n_step;
        p->n_one++;
    }
    if (expected > 0 && seconds > CLIP * expected)
        seconds = CLIP * expected;
    if (rows == 1) {
        p->one += (seconds - p->one) / (p->n_one < 8 ? (double)p->n_one : 8.0);
        return;
    }
    p->n = DECAY_STEP * p->n + 1;
    p->x = DECAY_STEP * p->x + rows;
    p->y = DECAY_STEP * p->y + seconds;
    p->xx = DECAY_STEP * p->xx + (double)rows * rows;
    p->xy = DECAY_STEP * p->xy + rows * seconds;
}

void pace_guess(struct pace *p, enum draft_kind kind, int n, double seconds)
{
    double each = seconds / n;

    if (p->guess[kind] > 0 && each > CLIP * p->guess[kind])
        each = CLIP * p->guess[kind];
    p->guess[kind] += p->guess[kind] > 0 ? (each - p->guess[kind]) / 8 : each;
}

void pace_seen(struct pace *p, enum draft_kind kind, int strength, bool right)
{
    int c = strength_class(strength);

    p->right[kind][c] = DECAY_SEEN * p->right[kind][c] + right;
    p->seen[kind][c] = DECAY_SEEN * p->seen[kind][c] + 1;
}

/* The best length, and its gain over a plain step. */
static int best_length(const struct pace *p, enum draft_kind kind, int strength, int n,
                       double *gain)
{
    double all = 1, tokens = 1;
    int best = 0;

    *gain = 1;
    for (int k = 1; k <= n; k++) {
        all *= chance(p, kind, strength + k - 1);
        tokens += all;
        double g = tokens * p->one / (pace_cost(p, k + 1) + k * p->guess[kind]);
        if (g > *gain && g > PACE_GAIN) {
            *gain = g;
            best = k;
        }
    }
    return best;
}

int pace_choose(struct pace *p, enum draft_kind kind, int strength, int n, double *gain)
{
    bool costless = drafter_def(kind)->costless;
    int best;

    *gain = 1;
    if (!p->n_one || p->n_step - p->step_one >= PACE_PLAIN_EVERY)
        return 0;
    best = best_length(p, kind, strength, n, gain);
    if (costless)
        return best;
    if (best) {
        p->gap[kind] = PACE_PROBE_FIRST;
    } else if (p->n_step - p->step_tried[kind] >= p->gap[kind]) {
        best = n < 2 ? n : 2;
        p->gap[kind] = p->gap[kind] < PACE_PROBE_LAST ? 2 * p->gap[kind] : PACE_PROBE_LAST;
    }
    if (best)
        p->step_tried[kind] = p->n_step;
    return best;
}
