/* fuzz_wire_hear_chat.c - any bytes as what an upstream answers in the dialect "chat". */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz_hear("chat", data, size);
}
