/* fuzz_wire_hear_messages.c - any bytes as what an upstream answers in the dialect "messages". */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz_hear("messages", data, size);
}
