/* fuzz_wire_responses.c - any bytes as the body of a request in the dialect "responses". */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wire_fuzz("responses", data, size);
    return wire_fuzz_carry("responses", data, size);
}
