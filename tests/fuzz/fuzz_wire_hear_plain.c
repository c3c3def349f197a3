/* fuzz_wire_hear_plain.c - any bytes as what an upstream answers where its answer passes as it came
 * (completions, embeddings) or is a number (count_tokens): what is read of it all the same. */
#include "door/door_form.h"

#include "wire_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf usage = { 0 };
    struct wire_error why;
    int64_t n;
    char *text = malloc(size);

    ASSERT(text || !size);
    if (size)
        memcpy(text, data, size);
    if (body_usage(&usage, text, size))
        wire_check_json(usage.data, usage.len);
    ASSERT(!usage.broken);
    body_fails(text, size);
    body_answers(wire_dialect_find("completions"), text, size);
    body_answers(wire_dialect_find("embeddings"), text, size);
    ASSERT(wire_count_read(&n, text, size) == OK);
    ASSERT(wire_error_read(&why, wire_dialect_find("chat"), size & 1 ? 0 : 400, text, size) == OK &&
           why.text[0]);
    buf_release(&usage);
    free(text);
    return 0;
}
