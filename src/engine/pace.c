/* pace.c - expected tokens against expected time.
 *
 * Costs are in steps of one row, so that they hold when the machine is busier or the context
 * longer.  Kernels take other ways from some number of rows on, so each size of step has a mean of
 * its own; it is forgotten slowly, and between and beyond sizes that are known a line counts: a
 * size that one busy moment made look dear comes to be tried again. */
#include "engine/pace.h"

#include <string.h>

#define DECAY_SEEN  0.97
#define DECAY_STEP  0.997               /* of a size's weight, with every step */
#define WEIGHT_MAX  6.0
#define WEIGHT_LINE 0.3                 /* of the line through the neighbours */
#define ROW_COST    0.12                /* of a further row, before it is known */
#define CLIP        3.0                 /* times what was expected, and no more, counts */

static const int size_rows[PACE_SIZES] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 };

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

/* Before anything was seen; two observations weigh as much. */
static double chance(const struct pace *p, enum draft_kind kind, int strength)
{
    static const double likeness[PACE_STRENGTHS] = { 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 0.9 };
    int c = strength_class(strength);
    double first = drafter_def(kind)->costless ? likeness[c] : 0.7;

    return (p->right[kind][c] + 2 * first) / (p->seen[kind][c] + 2);
}

static double line(double x, double x0, double y0, double x1, double y1)
{
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

/* Between the sizes below and above size i that are known, the first of which is one row. */
static double from_neighbours(const struct pace *p, int i)
{
    int lo = i - 1, hi = i + 1;

    while (lo > 0 && p->weight[lo] < 0.5)
        lo--;
    while (hi < PACE_SIZES && p->weight[hi] < 0.5)
        hi++;
    double y = lo ? p->cost[lo] : 1;
    if (hi < PACE_SIZES)
        return line(size_rows[i], size_rows[lo], y, size_rows[hi], p->cost[hi]);
    return y + ROW_COST * (size_rows[i] - size_rows[lo]);
}

static double size_cost(const struct pace *p, int i)
{
    double w = p->weight[i];

    return i ? (w * p->cost[i] + WEIGHT_LINE * from_neighbours(p, i)) / (w + WEIGHT_LINE) : 1;
}

double pace_cost(const struct pace *p, int rows)
{
    int i = 0;

    while (size_rows[i] < rows)
        i++;
    if (size_rows[i] == rows)
        return size_cost(p, i);
    return line(rows, size_rows[i - 1], size_cost(p, i - 1), size_rows[i], size_cost(p, i));
}

static void take_one(struct pace *p, double seconds)
{
    if (p->n_one && seconds > CLIP * p->one)
        seconds = CLIP * p->one;
    p->step_one = p->n_step;
    p->n_one++;
    p->one += (seconds - p->one) / (p->n_one < 8 ? (double)p->n_one : 8.0);
}

void pace_step(struct pace *p, int rows, double seconds)
{
    double expected = pace_cost(p, rows), cost = p->one > 0 ? seconds / p->one : expected;
    int i = 0;

    ASSERT(rows >= 1 && rows <= size_rows[PACE_SIZES - 1]);
    p->n_step++;
    if (rows == 1) {
        take_one(p, seconds);
        return;
    }
    if (!(p->one > 0)) {                /* of several sequences: a step of one row may never come */
        p->one = seconds / expected;
        cost = expected;
    }
    if (cost > CLIP * expected)
        cost = CLIP * expected;
    while (size_rows[i] < rows)
        i++;
    for (int j = 1; j < PACE_SIZES; j++)
        p->weight[j] *= DECAY_STEP;
    if (p->weight[i] < WEIGHT_MAX)
        p->weight[i] += 1;
    p->cost[i] += (cost - p->cost[i]) / (p->weight[i] > 1 ? p->weight[i] : 1);
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
        double g = tokens / (pace_cost(p, k + 1) + k * p->guess[kind] / p->one);
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

void pace_share(const struct pace *p, enum draft_kind kind, struct pace_offer *offer, int n_offer,
                int rows, int most)
{
    enum { ROWS_MAX = 64 };
    double all[ROWS_MAX], tokens = rows, best = PACE_GAIN * rows / pace_cost(p, rows);
    int picked[ROWS_MAX], n_best = 0, n = 0;

    ASSERT(rows >= 1 && n_offer <= rows && rows <= ROWS_MAX);
    most = most < ROWS_MAX - rows ? most : ROWS_MAX - rows;
    for (int i = 0; i < n_offer; i++) {
        offer[i].take = 0;
        all[i] = 1;
    }
    for (; n < most; n++) {
        double gain = 0;
        for (int i = 0; i < n_offer; i++) {
            const struct pace_offer *o = &offer[i];
            double g = o->take < o->n ? all[i] * chance(p, kind, o->strength + o->take) : 0;
            if (g > gain) {
                gain = g;
                picked[n] = i;
            }
        }
        if (gain <= 0)
            break;
        all[picked[n]] = gain;
        offer[picked[n]].take++;
        tokens += gain;
        if (tokens / pace_cost(p, rows + n + 1) > best) {
            best = tokens / pace_cost(p, rows + n + 1);
            n_best = n + 1;
        }
    }
    while (n > n_best)
        offer[picked[--n]].take--;
}
