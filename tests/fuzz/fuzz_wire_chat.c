/* fuzz_wire_chat.c - any bytes as the body of a request in the dialect "chat". */
#include "wire_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz("chat", data, size);
}
