/* canary_chance.c - numbers that follow from the seed: SplitMix64. */
#include "canary.h"

uint64_t chance_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

unsigned chance_below(uint64_t *state, unsigned n_below)
{
    return (unsigned)((chance_next(state) >> 32) * n_below >> 32);
}

bool chance_of(uint64_t *state, unsigned percent)
{
    return chance_below(state, 100) < percent;
}

uint64_t chance_begin(uint64_t from, uint64_t number, uint64_t what)
{
    uint64_t state = from * UINT64_C(0xd1342543de82ef95) + number * 8 + what;

    chance_next(&state);
    return chance_next(&state);
}
