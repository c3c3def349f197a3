/* fuzz_wire_embeddings.c - any bytes as the body of a request in the dialect "embeddings". */
#include "wire_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return wire_fuzz("embeddings", data, size);
}
