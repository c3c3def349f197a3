/* test_hex.c - hexadecimal digits. */
#include "base/hex.h"

#include <criterion/criterion.h>
#include <string.h>

Test(hex, of_all_bytes_twenty_two_are_digits)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    int n = 0;

    for (int c = -1; c < 256; c++) {
        const char *at = c > 0 ? strchr(digits, c) : NULL;
        int want = !at ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
        cr_expect_eq(hex_value(c), want, "%d", c);
        n += want >= 0;
    }
    cr_expect_eq(n, 22);
}
