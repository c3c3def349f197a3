/* fuzz_wire_messages.c - any bytes as the body of a request in the dialect "messages". */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wire_fuzz("messages", data, size);
    return wire_fuzz_carry("messages", data, size);
}
