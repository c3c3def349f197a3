/* dot.c - the product of two f32 rows: the definition, added in double. */
#include "kernels/ref.h"

#include <string.h>

float dot_f32(const void *w, const void *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        float a, b;
        memcpy(&a, (const uint8_t *)w + 4 * i, 4);
        memcpy(&b, (const uint8_t *)x + 4 * i, 4);
        sum += (double)a * b;
    }
    return (float)sum;
}
