/*
 * strings.c - texts that end with a zero, and numbers as digits.
 */
#include "strings.h"

SIZE_T Length(const char *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

SIZE_T WideLength(const WCHAR *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

BOOL StartsWith(const char *text, const char *start)
{
    while (*start && *text == *start) {
        text++;
        start++;
    }
    return !*start;
}

int Order(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (int)(U8)*a - (int)(U8)*b;
}

char *Digits(U64 value, char *end)
{
    *--end = 0;
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return end;
}
