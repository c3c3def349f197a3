/* fuzz_wire_completions.c - any bytes as the body of a request in the dialect "completions". */
#include "wire_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz("completions", data, size);
}
