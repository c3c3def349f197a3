/* fuzz_usage.c - any bytes as a usage: what is accepted has counts of at least 0, whose tokens add
 * up to those of prompt and completion. */
#include "gateway/cost.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t prompt = 0, completion = 0;
    struct usage u;

    if (usage_parse(&u, (const char *)data, size, "fuzz") != OK)
        return 0;
    for (int id = 0; id < PRICE_N; id++) {
        ASSERT(u.n[id] >= 0);
        if (id == PRICE_IMAGE || id == PRICE_AUDIO_SECOND || id == PRICE_VIDEO_SECOND)
            continue;
        if (cost_side((enum price_id)id) == COST_PROMPT)
            ASSERT(!__builtin_add_overflow(prompt, u.n[id], &prompt));
        if (cost_side((enum price_id)id) == COST_COMPLETION)
            ASSERT(!__builtin_add_overflow(completion, u.n[id], &completion));
    }
    ASSERT(prompt == u.prompt && completion == u.completion && u.n[PRICE_REQUEST] == 1);
    return 0;
}
