/* fuzz_wire_chat_carry.c - any bytes as the body of a chat request that is carried elsewhere. */
#include "wire_carry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz_carry("chat", data, size);
}
