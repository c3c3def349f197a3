/* hex.h - one hexadecimal digit. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

/* 0 .. 15, or -1 when c is none. */
static inline int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
