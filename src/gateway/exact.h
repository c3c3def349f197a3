/* exact.h - numbers as they are written: JSON whose numbers stay text, amounts of 10^-12. */
#ifndef GATEWAY_EXACT_H
#define GATEWAY_EXACT_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One whole in the unit of all amounts and factors: 10^12 parts. */
#define EXACT_ONE INT64_C(1000000000000)

/* json_parse(), but every number comes as a string: '=' and the number's text.  A double would
 * change it, and 1e-07 dollars has to be 100000 parts, not 99999.999.  Errors as json_parse(). */
MUST_CHECK enum err exact_json(json_t **out, const char *text, size_t len, size_t max,
                               const char *what);

enum exact { EXACT_OK, EXACT_ROUNDED, EXACT_NO_NUMBER, EXACT_NEGATIVE, EXACT_TOO_SMALL,
             EXACT_TOO_LARGE };

/* Decimal text ("2.5e-06", "0.01") in parts of 10^-12, in integers alone.  More than 12 decimals
 * are rounded, halves up (EXACT_ROUNDED); what is not 0 and would become 0 is EXACT_TOO_SMALL.
 * *out is set for the first two results, else 0. */
enum exact exact_amount(int64_t *out, const char *text, size_t len);

/* Parts of 10^-12 as decimal text, without zeros at the end: "0.0000025". */
enum { EXACT_TEXT_BYTES = 24 };
void exact_text(char out[EXACT_TEXT_BYTES], int64_t amount);

#endif
