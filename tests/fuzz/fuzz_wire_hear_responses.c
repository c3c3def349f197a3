/* fuzz_wire_hear_responses.c - any bytes as what an upstream answers in the dialect "responses". */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz_hear("responses", data, size);
}
