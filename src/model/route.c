/* route.c - which experts a token goes to. */
#include "model/arch.h"

#include <math.h>

static void scores(const struct hparams *hp, const float *logit, float *score)
{
    int32_t n = hp->n_expert;
    float max = logit[0], sum = 0;

    if (hp->gating == GATING_SIGMOID) {
        for (int32_t e = 0; e < n; e++)
            score[e] = 1 / (1 + expf(-logit[e]));
        return;
    }
    for (int32_t e = 1; e < n; e++)
        max = logit[e] > max ? logit[e] : max;
    for (int32_t e = 0; e < n; e++)
        sum += score[e] = expf(logit[e] - max);
    for (int32_t e = 0; e < n; e++)
        score[e] /= sum;
}

/* DeepSeek-V3 scores a group by its two best experts, V2 by its best one. */
static float group_score(const struct hparams *hp, const float *choice)
{
    float best = -INFINITY, second = -INFINITY;

    for (int32_t e = 0; e < hp->n_expert / hp->n_group; e++) {
        if (choice[e] > best) {
            second = best;
            best = choice[e];
        } else if (choice[e] > second) {
            second = choice[e];
        }
    }
    return hp->gating == GATING_SIGMOID ? best + second : best;
}

/* Experts outside the best groups can no longer be chosen.  Ties: the lower group. */
static void limit_groups(const struct hparams *hp, float *choice)
{
    int32_t size = hp->n_expert / hp->n_group;

    for (int32_t g = 0; g < hp->n_group; g++) {
        float mine = group_score(hp, choice + g * size);
        int32_t better = 0;
        for (int32_t other = 0; other < hp->n_group; other++) {
            /* groups already masked score -inf, and were worse: they still count as worse */
            float s = group_score(hp, choice + other * size);
            better += s > mine || (s == mine && other < g);
        }
        if (better >= hp->n_group_used)
            for (int32_t e = 0; e < size; e++)
                choice[g * size + e] = -INFINITY;
    }
}

void route(const struct hparams *hp, const float *logit, const float *bias, float *score,
           int32_t *expert, float *weight)
{
    float *choice = score + hp->n_expert, sum = 0;

    scores(hp, logit, score);
    for (int32_t e = 0; e < hp->n_expert; e++)
        choice[e] = score[e] + (bias ? bias[e] : 0);
    if (hp->n_group > 1)
        limit_groups(hp, choice);
    for (int32_t i = 0; i < hp->n_expert_used; i++) {
        int32_t best = -1;
        for (int32_t e = 0; e < hp->n_expert; e++)
            if (choice[e] > -INFINITY && (best < 0 || choice[e] > choice[best]))
                best = e;
        if (best < 0)                   /* logits that are not finite: any choice, no crash */
            best = i;
        choice[best] = -INFINITY;
        float w = score[best];
        sum += w;
        int32_t at = i;                 /* insert so that the largest weight comes first */
        for (; at > 0 && (weight[at - 1] < w || (weight[at - 1] == w && expert[at - 1] > best));
             at--) {
            weight[at] = weight[at - 1];
            expert[at] = expert[at - 1];
        }
        weight[at] = w;
        expert[at] = best;
    }
    for (int32_t i = 0; i < hp->n_expert_used; i++) {
        if (hp->expert_norm)
            weight[i] /= sum + 1e-20f;
        weight[i] *= hp->expert_scale;
    }
}
